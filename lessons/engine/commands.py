"""The command line of the capstone: `python -m solutions.tinystories COMMAND`."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import CourseError, run_command
from .presets import PRESETS
from .process import keep_freed_memory, wait_politely

EXAMPLES = """\
examples:
  run                                          stories made here, the laptop preset, three minutes
  run --data stories.txt --minutes 20 --out runs/mine
  run --preset small --data tinystories        the real data set; needs a network and patience
  generate --out runs/mine --prompt "A cat"    tell a story
  generate --out runs/mine --interactive       tell stories until you have had enough
  presets                                      the shapes, and what each costs
"""

# Wishes that decide what a run computes; they are stored with it (`RunFolder.begin`).
WISHES = (
    *("preset", "data", "valid", "stories", "tokenizer", "steps", "epochs", "minutes"),
    *("batch_size", "accumulation", "peak_lr", "final_lr", "warmup", "weight_decay", "beta1"),
    *("beta2", "max_norm", "patience", "seed", "n_layer", "n_head", "n_embd", "n_inner"),
    *("block_size", "dropout", "optimizer", "precision", "evaluate_every", "compile"),
)
SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
DEFAULT_SAMPLING = {"temperature": 0.8, "top_p": 0.95}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 2 for misuse, 130 for Ctrl-C."""
    return run_command(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> None:
    options = build_parser().parse_args(arguments)
    wait_politely()
    keep_freed_memory()
    if getattr(options, "threads", None):
        import torch

        torch.set_num_threads(options.threads)
    options.command(options)


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options. What is not given is absent, so that presets can decide."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__.split('.')[0]}.tinystories",
        description="Train a GPT of your own that tells stories: prepare, train, evaluate, "
        "generate, report; `run` does all of it. Every command can be stopped and run again.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, function: Any, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            usage=f"{parser.prog} {name} [options]",
            argument_default=argparse.SUPPRESS,
        )
        command.set_defaults(command=function)
        return command

    run = add("run", run_all, "the whole way: prepare, train, evaluate, generate, report")
    prepare = add("prepare", prepare_only, "turn a text into train.bin and val.bin")
    train = add("train", train_only, "train the model, or go on where it stopped")
    for command in (run, train, prepare):
        _data_options(command)
    for command in (run, train):
        _training_options(command)
    evaluate = add("evaluate", evaluate_only, "measure the model on held-out text")
    generate = add("generate", generate_only, "let the model tell stories")
    report = add("report", report_only, "write report.html")
    for command in (evaluate, generate, report):
        command.add_argument("--out", metavar="DIR", help="the run's folder (default: the newest)")
        command.add_argument("--checkpoint", metavar="best|last|DIR", help="default: best")
    for command in (run, train, evaluate, generate, report):
        _machine_options(command)
    evaluate.add_argument("--text", metavar="PATH", help="measure on this text instead")
    for command in (run, evaluate):
        command.add_argument(
            "--stride", type=int, metavar="N", help="tokens between windows (default: block size)"
        )
    _generate_options(generate)
    add("presets", show_presets, "list the presets: shapes, recipes, what they cost")
    return parser


def _data_options(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("the run")
    group.add_argument("--out", metavar="DIR", help="its folder (default: runs/PRESET-DATA)")
    group.add_argument(
        "--preset", metavar="NAME", help=f"shape and recipe: {', '.join(PRESETS)} (default: laptop)"
    )
    group.add_argument(
        "--data",
        metavar="NAME|PATH",
        help="tinystories, wikipedia, ministories (stories made here, no network), or a .txt, "
        ".jsonl or .parquet file or a folder of them (default: the preset's)",
    )
    group.add_argument(
        "--valid", metavar="PATH", help="held-out text (default: a tenth of the documents)"
    )
    group.add_argument("--stories", type=int, metavar="N", help="how many ministories to make")
    group.add_argument(
        "--tokenizer",
        metavar="NAME|PATH",
        help="gpt2, bpe:N, sentencepiece:N (trained on the data), or a saved one",
    )
    group.add_argument("--seed", type=int, metavar="N", help="of everything random (default: 0)")
    group.add_argument("--processes", type=int, metavar="N", help="for tokenising")
    group.add_argument("--quiet", action="store_true", help="no progress bars")


def _training_options(command: argparse.ArgumentParser) -> None:
    length = command.add_argument_group("how long (default: the preset's steps)")
    length.add_argument("--steps", type=int, metavar="N", help="optimiser steps")
    length.add_argument("--epochs", type=float, metavar="N", help="readings of the whole text")
    length.add_argument(
        "--minutes", type=float, metavar="N", help="turned into steps after a few timed ones"
    )
    length.add_argument(
        "--patience",
        type=int,
        metavar="N",
        help="stop early after N evaluations without progress (default: never)",
    )
    length.add_argument(
        "--evaluate-every", type=int, metavar="STEPS", help="default: ten times a run"
    )
    length.add_argument("--yes", action="store_true", help="start also what will take days")
    recipe = command.add_argument_group("the recipe (default: the preset's)")
    recipe.add_argument("--recipe", action="store_true", help="lesson 14's recipe()")
    recipe.add_argument("--batch-size", type=int, metavar="N", help="windows in a micro-batch")
    recipe.add_argument("--accumulation", type=int, metavar="N", help="micro-batches in a step")
    recipe.add_argument("--lr", dest="peak_lr", type=float, metavar="X", help="the highest rate")
    recipe.add_argument("--final-lr", type=float, metavar="X", help="of the last step")
    recipe.add_argument("--warmup", type=int, metavar="STEPS", help="from 0 to the highest rate")
    recipe.add_argument(
        "--weight-decay", type=float, metavar="X", help="of matrices, not of vectors"
    )
    recipe.add_argument("--max-norm", type=float, metavar="X", help="clip gradients to this length")
    recipe.add_argument("--beta1", type=float, metavar="X", help="AdamW's memory of gradients")
    recipe.add_argument("--beta2", type=float, metavar="X", help="and of their squares")
    recipe.add_argument("--optimizer", metavar="adamw|muon", help="muon: for the hidden matrices")
    recipe.add_argument("--dropout", type=float, metavar="X", help="share of numbers left out")
    shape = command.add_argument_group("the shape (default: the preset's)")
    for name, text in (
        ("n-layer", "blocks"),
        ("n-head", "attention heads in each"),
        ("n-embd", "width of the stream"),
        ("n-inner", "inner width of the MLP (4 times n-embd)"),
        ("block-size", "context, in tokens"),
    ):
        shape.add_argument(f"--{name}", type=int, metavar="N", help=text)
    speed = command.add_argument_group("speed and logs")
    speed.add_argument(
        "--compile", metavar="auto|yes|no", help="torch.compile (auto: where it pays, on CUDA)"
    )
    speed.add_argument("--log", metavar="TRACKER", help="also to tensorboard, wandb or trackio")


def _machine_options(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("the machine")
    group.add_argument("--device", metavar="NAME", help="auto, cpu, cuda or mps (default: auto)")
    group.add_argument("--precision", metavar="NAME", help="auto, fp32, bf16 or fp16")
    group.add_argument("--threads", type=int, metavar="N", help="CPU threads")


def _generate_options(command: argparse.ArgumentParser) -> None:
    what = command.add_argument_group("what to continue")
    what.add_argument(
        "--prompt", action="append", metavar="TEXT", help="may be given several times"
    )
    what.add_argument("--file", metavar="PATH", help="prompts, one a line")
    what.add_argument("--interactive", action="store_true", help="ask for prompts until Ctrl-D")
    how = command.add_argument_group("how (default: --temperature 0.8 --top-p 0.95)")
    how.add_argument("--tokens", type=int, metavar="N", help="at most so many (default: 200)")
    how.add_argument("--temperature", type=float, metavar="X", help="below 1 bolder, above wilder")
    how.add_argument("--top-k", type=int, metavar="K", help="only the K most probable")
    how.add_argument("--top-p", type=float, metavar="P", help="the fewest that hold P together")
    how.add_argument("--min-p", type=float, metavar="P", help="none below P times the best")
    how.add_argument("--repetition-penalty", type=float, metavar="X", help="above 1: fewer repeats")
    how.add_argument("--greedy", action="store_true", help="always the most probable token")
    how.add_argument("--beams", type=int, metavar="N", help="search the most probable text")
    how.add_argument("--seed", type=int, metavar="N", help="the same seed tells the same story")
    look = command.add_argument_group("looking inside")
    look.add_argument("--top-predictions", type=int, metavar="K", help="the next token's table")
    look.add_argument("--trace", action="store_true", help="confidence and entropy, step by step")


def _run_folder(options: argparse.Namespace, wishes: dict[str, Any] | None = None) -> Any:
    from .pipeline import default_out
    from .run_folder import RunFolder

    out = getattr(options, "out", None)
    if out is None and wishes is None:  # a finished run is wanted: the newest
        runs = sorted(Path("runs").glob("*/config.json"), key=lambda file: file.stat().st_mtime)
        if not runs:
            raise CourseError("no run in runs/; name one with --out, or begin one with: run")
        out = runs[-1].parent
        print(f"({out})", file=sys.stderr)
    return RunFolder(out if out is not None else default_out(wishes or {}))


def _wishes(options: argparse.Namespace) -> dict[str, Any]:
    wishes = {name: value for name, value in vars(options).items() if name in WISHES}
    if hasattr(options, "recipe"):
        from ..tinystories import recipe

        wishes = recipe() | wishes
    return wishes


def prepare_only(options: argparse.Namespace) -> None:
    """`prepare`."""
    from .pipeline import prepare_run

    wishes = _wishes(options)
    run = _run_folder(options, wishes)
    settings = run.begin(wishes)
    quiet = hasattr(options, "quiet")
    meta = prepare_run(run, settings, getattr(options, "processes", None), quiet)
    print(
        f"{run.data}: {meta['train_tokens']:,} training and {meta['val_tokens']:,} validation "
        f"tokens, vocabulary {meta['vocab_size']:,}"
    )


def train_only(options: argparse.Namespace) -> None:
    """`train`, and the first half of `run`."""
    from .pipeline import train_run

    wishes = _wishes(options)
    train_run(
        _run_folder(options, wishes),
        wishes,
        device=getattr(options, "device", "auto"),
        tracker=getattr(options, "log", None),
        processes=getattr(options, "processes", None),
        accept_long=hasattr(options, "yes"),
        quiet=hasattr(options, "quiet"),
    )


def run_all(options: argparse.Namespace) -> None:
    """`run`."""
    import os

    from .pipeline import sample_stories

    train_only(options)
    if os.environ.get("RANK", "0") != "0":  # under torchrun the rest is the first process's work
        return
    options.out = _run_folder(options, _wishes(options)).path
    run, teller, _ = _measure(options)
    for story in sample_stories(run, teller):
        print(f"\n{story}")
    report_only(options, teller)


def _measure(options: argparse.Namespace) -> tuple[Any, Any, dict[str, Any]]:
    """Evaluate the run and print its measures."""
    from .pipeline import evaluate_run

    run, teller, precision = _load(options)
    metrics = evaluate_run(
        run, teller, getattr(options, "stride", None), precision, hasattr(options, "quiet")
    )
    _print_measures(metrics)
    return run, teller, metrics


def _load(options: argparse.Namespace) -> tuple[Any, Any, str]:
    from .devices import choose_precision
    from .pipeline import load_teller

    run = _run_folder(options)
    wanted = getattr(options, "precision", "auto")
    device = getattr(options, "device", "auto")
    teller = load_teller(run, getattr(options, "checkpoint", "best"), device)
    return run, teller, choose_precision(wanted, teller.device)


def _print_measures(metrics: dict[str, Any]) -> None:
    print(
        f"bits per byte {metrics['bits_per_byte']:.4f}   loss {metrics['val_loss']:.4f}   "
        f"perplexity {metrics['perplexity']:,.2f}   next token right "
        f"{metrics['next_token_accuracy']:.1%}   ({metrics['evaluated_tokens']:,} tokens)"
    )


def evaluate_only(options: argparse.Namespace) -> None:
    """`evaluate`."""
    if not hasattr(options, "text"):
        _measure(options)
        return
    from .pipeline import score_own_text

    _, teller, precision = _load(options)
    _print_measures(
        score_own_text(teller, options.text, getattr(options, "stride", None), precision)
    )


def report_only(options: argparse.Namespace, teller: Any = None) -> None:
    """`report`."""
    from .pipeline import report_run

    run = _run_folder(options)
    if teller is None:
        _, teller, _ = _load(options)
    print(f"\nreport: {report_run(run, teller)}")


def generate_only(options: argparse.Namespace) -> None:
    """`generate`."""
    sampling = {name: getattr(options, name) for name in SAMPLING if hasattr(options, name)}
    if hasattr(options, "beams") or hasattr(options, "greedy"):
        how: dict[str, Any] = {"greedily": True}
        if sampling:
            raise CourseError("--greedy and --beams leave nothing to chance: no sampler options")
    else:
        how = DEFAULT_SAMPLING | sampling
    tokens = getattr(options, "tokens", 200)
    if tokens < 1:
        raise CourseError(f"--tokens must be at least 1, not {tokens}")
    if getattr(options, "beams", 1) < 1:
        raise CourseError(f"--beams must be at least 1, not {options.beams}")
    from .stories import check_sampling

    check_sampling({k: v for k, v in how.items() if k != "greedily"})
    _, teller, _ = _load(options)
    how["seed"] = getattr(options, "seed", 0)
    for number, prompt in enumerate(_prompts(options)):
        if number:
            print()
        if hasattr(options, "top_predictions"):
            _show_predictions(teller, prompt, options.top_predictions)
        elif hasattr(options, "trace"):
            _show_trace(teller, prompt, tokens, how)
        elif hasattr(options, "beams"):
            print(teller.generate(prompt, tokens, beams=options.beams))
        else:
            _tell(teller, prompt, tokens, how)


def _prompts(options: argparse.Namespace) -> Any:
    if hasattr(options, "file"):
        path = Path(options.file)
        if not path.is_file():
            raise CourseError(f"no file {path}; --file takes a text file, a prompt a line")
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            raise CourseError(f"{path} is not UTF-8 text") from None
        yield from (line for line in lines if line.strip())
    if hasattr(options, "prompt"):
        yield from options.prompt
    if hasattr(options, "interactive"):
        while True:
            try:
                prompt = input("\nprompt> ")
            except EOFError:
                return
            if prompt.strip():
                yield prompt
    if not any(hasattr(options, name) for name in ("file", "prompt", "interactive")):
        yield "Once upon a time"


def _tell(teller: Any, prompt: str, tokens: int, how: dict[str, Any]) -> None:
    """Write the story to the terminal while it is being made."""
    try:
        for piece in teller.stream(prompt, tokens, **how):
            print(piece, end="", flush=True)
        print()
    except NotImplementedError:  # streaming is a stretch step of lesson 09
        print(teller.generate(prompt, tokens, **how)[len(prompt) :])


def _show_predictions(teller: Any, prompt: str, k: int) -> None:
    if k < 1:
        raise CourseError(f"--top-predictions must be at least 1, not {k}")
    print(f"after {prompt!r}:")
    width = max(10, shutil.get_terminal_size().columns - 40)
    for token, probability in teller.top_predictions(prompt, k):
        bar = "#" * round(probability * min(width, 40))
        print(f"  {token!r:<20} {probability:>7.2%}  {bar}")


def _show_trace(teller: Any, prompt: str, tokens: int, how: dict[str, Any]) -> None:
    print(f"{'step':>4}  {'token':<20} {'max probability':>15} {'entropy (nats)':>15}")
    for number, (text, step) in enumerate(teller.trace(prompt, tokens, **how), start=1):
        print(f"{number:>4}  {text!r:<20} {step.max_probability:>15.3f} {step.entropy:>15.3f}")


def show_presets(options: argparse.Namespace) -> None:
    """`presets`."""
    for name, preset in PRESETS.items():
        train = preset.train
        print(
            f"{name}: {preset.n_layer} layers, {preset.n_head} heads, width {preset.n_embd}, "
            f"context {preset.block_size}, tokenizer {preset.tokenizer} ({preset.origin})"
        )
        windows = train["batch_size"] * train.get("accumulation", 1)
        tokens = train["steps"] * windows * preset.block_size
        print(
            f"    recipe: {train['steps']:,} steps of {windows} x {preset.block_size} = "
            f"{tokens / 1e6:,.0f} M tokens, {preset.optimizer}, peak rate {train['peak_lr']:g}, "
            f"dropout {preset.dropout:g}"
        )
        for expect in preset.expect:
            quality = f", {expect.bits_per_byte} bits per byte" if expect.bits_per_byte else ""
            print(
                f"    {expect.basis}: {expect.tokens / 1e6:,.0f} M tokens on {expect.hardware}: "
                f"{expect.hours:,.1f} h, {expect.memory_gb:g} GB{quality}"
            )

"""The command line of the capstone: `python -m solutions.tinystories COMMAND`."""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .command_line import prepare_process
from .errors import CourseError, run_command
from .logs import duration
from .options import build_parser
from .presets import PRESETS

# Wishes that decide what a run computes; they are stored with it (`RunFolder.begin`).
WISHES = (
    *("preset", "data", "valid", "stories", "tokenizer", "steps", "epochs", "minutes"),
    *("batch_size", "accumulation", "peak_lr", "final_lr", "warmup", "weight_decay", "beta1"),
    *("beta2", "max_norm", "patience", "seed", "n_layer", "n_head", "n_embd", "n_inner"),
    *("block_size", "dropout", "optimizer", "precision", "evaluate_every", "compile"),
    *("arch", "n_kv_head", "rope_theta"),
)
GPT2_VOCABULARY = 50257
SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
DEFAULT_SAMPLING = {"temperature": 0.8, "top_p": 0.95}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 2 for misuse, 130 for Ctrl-C."""
    return run_command(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> None:
    options = build_parser().parse_args(arguments)
    prepare_process(options)
    COMMANDS[options.command](options)


def _run_folder(options: argparse.Namespace, wishes: dict[str, Any] | None = None) -> Any:
    from .pipeline import default_out
    from .run_folder import RunFolder

    out = getattr(options, "out", None)
    if out is None and wishes is None:  # a finished run is wanted: the newest
        runs = _runs_here()
        if not runs:
            raise CourseError("no run in runs/; name one with --out, or begin one with: run")
        out = runs[-1].parent
        print(f"({out})", file=sys.stderr)
    return RunFolder(out if out is not None else default_out(wishes or {}))


def _runs_here() -> list[Path]:
    return sorted(Path("runs").glob("*/config.json"), key=lambda file: file.stat().st_mtime)


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
    from .pipeline import sample_stories

    if hasattr(options, "beside"):  # said before the training, not after it
        from .beside import check_measured
        from .run_folder import RunFolder

        check_measured(RunFolder(options.beside), _run_folder(options, _wishes(options)))
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
    print(f"\nreport: {report_run(run, teller, getattr(options, 'beside', None))}")
    if hasattr(options, "share"):
        from .share import write_share

        path = write_share(run, teller)
        print(f"to send to friends: {path} ({path.stat().st_size / 1e6:.1f} MB)")


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
    teller = _storyteller(options)
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


def _storyteller(options: argparse.Namespace) -> Any:
    """The model of the run, or, where there is none yet, the course's own small one."""
    if hasattr(options, "out") or hasattr(options, "checkpoint") or _runs_here():
        return _load(options)[1]
    from .devices import choose_device
    from .stories import Storyteller
    from .storyteller import storyteller_folder

    folder = storyteller_folder()
    print("(no run of yours in runs/ yet: the course's own small model tells)", file=sys.stderr)
    return Storyteller.load(folder, choose_device(getattr(options, "device", "auto")))


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
    import torch

    from ..model import GPT
    from .settings import resolve

    for name, preset in PRESETS.items():
        train = preset.train
        vocab_size = int(preset.tokenizer.partition(":")[2] or GPT2_VOCABULARY)
        with torch.device("meta"):  # counted, not made
            parameters = GPT(resolve({"preset": name}).model_config(vocab_size)).num_parameters()
        print(
            f"{name}: {parameters:,} parameters: {preset.n_layer} layers, {preset.n_head} heads, "
            f"width {preset.n_embd}, context {preset.block_size}, {preset.tokenizer} vocabulary "
            f"({preset.origin})"
        )
        windows = train["batch_size"] * train.get("accumulation", 1)
        tokens = train["steps"] * windows * preset.block_size
        print(
            f"    recipe: {train['steps']:,} steps of {windows} x {preset.block_size} = "
            f"{tokens / 1e6:,.0f} M tokens, {preset.optimizer}, peak rate {train['peak_lr']:g}, "
            f"dropout {preset.dropout:g}"
        )
        for expect in preset.expect:
            print(
                f"    {expect.basis}: {expect.tokens / 1e6:,.0f} M tokens on {expect.hardware}: "
                f"{duration(expect.hours * 3600)}, {expect.memory_gb:g} GB, "
                f"{expect.bits_per_byte:.2f} bits per byte"
            )
    print(
        "\nderived: hours from one timed step (CPU) or from 6 x parameters x tokens at 30 % of the "
        "peak rate (GPU);\nbits per byte from published losses of models of that size"
    )


COMMANDS = {
    "run": run_all,
    "prepare": prepare_only,
    "train": train_only,
    "evaluate": evaluate_only,
    "generate": generate_only,
    "report": report_only,
    "presets": show_presets,
}

"""The options of the capstone's commands, and the help that explains them."""

import argparse

from .command_line import Program, add_machine_options
from .presets import PRESETS

EXAMPLES = """\
examples:
  run                                          stories made here, the laptop preset, three minutes
  run --data stories.txt --minutes 20 --out runs/mine
  run --preset small --data tinystories        the real data set; needs a network and patience
  generate --out runs/mine --prompt "A cat"    tell a story
  generate --out runs/mine --interactive       tell stories until you have had enough
  report --out runs/mine --share               your model in one page, to send to friends
  run --arch llama --out runs/llama --beside runs/mine     Llama's parts on the same tokens
  presets                                      the shapes, and what each costs
"""


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options. What is not given is absent, so that presets can decide."""
    program = Program(
        "tinystories",
        "Train a GPT of your own that tells stories: prepare, train, evaluate, "
        "generate, report; `run` does all of it. Every command can be stopped and run again.",
        EXAMPLES,
    )

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return program.add(name, text, argument_default=argparse.SUPPRESS)

    run = add("run", "the whole way: prepare, train, evaluate, generate, report")
    prepare = add("prepare", "turn a text into train.bin and val.bin")
    train = add("train", "train the model, or go on where it stopped")
    for command in (run, train, prepare):
        _data_options(command)
    for command in (run, train):
        _training_options(command)
    evaluate = add("evaluate", "measure the model on held-out text")
    generate = add("generate", "let the model tell stories")
    report = add("report", "write report.html")
    for command in (evaluate, generate, report):
        command.add_argument("--out", metavar="DIR", help="the run's folder (default: the newest)")
        command.add_argument("--checkpoint", metavar="best|last|DIR", help="default: best")
    for command in (run, train, evaluate, generate, report):
        add_machine_options(command)
    for command in (run, train, evaluate):
        command.add_argument(
            "--precision", metavar="NAME", help="auto, fp32, bf16 or fp16 (default: auto)"
        )
    evaluate.add_argument("--text", metavar="PATH", help="measure on this text instead")
    for command in (run, evaluate):
        command.add_argument(
            "--stride", type=int, metavar="N", help="tokens between windows (default: block size)"
        )
    _generate_options(generate)
    for command in (run, report):
        command.add_argument(
            "--beside", metavar="DIR", help="show another run of the same data in the report"
        )
    report.add_argument(
        "--share",
        action="store_true",
        help="also write share.html, a page that runs your model, to send to friends",
    )
    add("presets", "list the presets: shapes, recipes, what they cost")
    return program.parser


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
    shape.add_argument(
        "--arch", metavar="gpt2|llama", help="whose parts: GPT-2's (default) or lesson 11's"
    )
    for name, text in (
        ("n-layer", "blocks"),
        ("n-head", "attention heads in each"),
        ("n-embd", "width of the stream"),
        ("n-kv-head", "heads of keys and values (llama only; half of n-head)"),
        ("n-inner", "inner width of the MLP (4 times n-embd; llama: 8/3 times)"),
        ("block-size", "context, in tokens"),
    ):
        shape.add_argument(f"--{name}", type=int, metavar="N", help=text)
    shape.add_argument(
        "--rope-theta", type=float, metavar="X", help="base of the angles (llama only; 10000)"
    )
    speed = command.add_argument_group("speed and logs")
    speed.add_argument(
        "--compile", metavar="auto|yes|no", help="torch.compile (auto: where it pays, on CUDA)"
    )
    speed.add_argument("--log", metavar="TRACKER", help="also to tensorboard, wandb or trackio")


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

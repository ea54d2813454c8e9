"""The options of `python -m solutions.compression`, and the help that explains them."""

import argparse

from ..command_line import Program, add_machine_options

EXAMPLES = """\
examples:
  quantize                                   the course's own small model in int8, layer by layer
  quantize --model runs/mine --activations --out runs/mine-int8
  prune --sparsity 0.3 0.5 0.7 0.9           what pruning costs, before anything is decided
  prune --sparsity 2:4 --steps 200 --out runs/sparse
  distill --model runs/mine --steps 500      half the layers, taught by all of them
  table --out runs/table                     everything side by side, at equal steps
  generate --model runs/mine-int8 --prompt "A cat"
"""
EVALUATED, SPARSITY = 20_000, "0.5"
STEPS, BATCH_SIZE, LR, SCRATCH_LR = 300, 16, 2e-3, 5e-3
TEMPERATURE, MIX, OPTIMIZER = 2.0, 0.5, "muon"


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    program = Program(
        "compression",
        "Make a model small, and see what it costs: int8, pruning, distillation. Without "
        "--model it is the course's own small model; no network is used.",
        EXAMPLES,
    )

    def add(name: str, text: str) -> argparse.ArgumentParser:
        command = program.add(name, text)
        _common(command)
        return command

    quantize = add("quantize", "save a model in int8, with each layer's error beside its bound")
    quantize.add_argument("--activations", action="store_true", help="inputs in int8 as well")
    quantize.add_argument("--tables", action="store_true", help="the tables' rows too, in the file")
    prune = add("prune", "set the smallest weights to zero")
    prune.add_argument(
        "--sparsity", nargs="+", metavar="X|N:M", default=[SPARSITY],
        help="the share that goes, or N of every M that stay; several are only measured "
        f"(default: {SPARSITY})",
    )  # fmt: skip
    prune.add_argument(
        "--scope", choices=("global", "layer"), default="global",
        help="the smallest of all weights, or of each layer (default: global)",
    )  # fmt: skip
    distill = add("distill", "train a student of fewer layers to say what the model says")
    distill.add_argument(
        "--scratch", action="store_true", help="begin with random weights, not with the teacher's"
    )
    table = add("table", "full, int8, pruned, distilled, from scratch: size, bits per byte, speed")
    table.add_argument("--sparsity", metavar="X|N:M", default=SPARSITY, help="of the pruned rows")
    table.add_argument("--rows", nargs="+", metavar="ROW", help="some of the rows only")
    table.add_argument(
        "--teach", type=int, metavar="N",
        help="steps that the full model reads the text first (default: 0, or as many as --steps where "
        "the small model meets stories of a kind that it has not read)",
    )  # fmt: skip
    for command in (distill, table):
        command.add_argument(
            "--layers", metavar="I,J,...", help="the teacher's layers to begin with (default: 0,2,4,...)"
        )  # fmt: skip
        command.add_argument(
            "--temperature", type=float, default=TEMPERATURE, metavar="X",
            help=f"of both, in the teacher's part of the loss (default: {TEMPERATURE:g})",
        )  # fmt: skip
        command.add_argument(
            "--mix", type=float, default=MIX, metavar="X",
            help=f"share of the teacher's part; 0: the text alone (default: {MIX:g})",
        )  # fmt: skip
    for command in (prune, distill, table):
        _training(command, default=0 if command is prune else STEPS)
    add("evaluate", "measure a saved model: size, bits per byte, tokens per second")
    generate = add("generate", "let a saved model tell a story")
    generate.add_argument("--prompt", default="Once upon a time", metavar="TEXT")
    generate.add_argument(
        "--words", type=int, default=100, metavar="N", help="tokens (default: 100)"
    )
    return program.parser


def _common(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("the model and the text")
    group.add_argument(
        "--model", metavar="RUN|DIR|NAME",
        help="a run of the capstone, a model's folder (what these commands saved, too), or a name in "
        "the local cache such as distilgpt2 (default: the course's own small model)",
    )  # fmt: skip
    group.add_argument(
        "--text", metavar="PATH|NAME",
        help="held-out text to measure on (default: the run's; the stories of COURSE_DATA; ministories)",
    )  # fmt: skip
    group.add_argument(
        "--tokens", type=int, default=EVALUATED, metavar="N",
        help=f"how much of it (default: {EVALUATED:,})",
    )  # fmt: skip
    group.add_argument("--out", metavar="DIR", help="where the result goes (default: runs/...)")
    machine = add_machine_options(command, default="auto")
    machine.add_argument("--seed", type=int, default=0, metavar="N", help="of everything random")
    machine.add_argument("--quiet", action="store_true", help="no progress")


def _training(command: argparse.ArgumentParser, default: int) -> None:
    group = command.add_argument_group("training")
    group.add_argument(
        "--data", metavar="PATH|NAME", help="text to learn from (default: as --text)"
    )
    group.add_argument(
        "--steps", type=int, default=default, metavar="N", help=f"of each training (default: {default})"
    )  # fmt: skip
    group.add_argument("--batch-size", type=int, default=BATCH_SIZE, metavar="N",
                       help=f"windows in a step (default: {BATCH_SIZE})")  # fmt: skip
    group.add_argument(
        "--block-size", type=int, metavar="N", help="tokens in a window (the model's)"
    )
    group.add_argument("--lr", type=float, default=LR, metavar="X",
                       help=f"highest rate for trained weights (default: {LR:g})")  # fmt: skip
    group.add_argument("--scratch-lr", type=float, default=SCRATCH_LR, metavar="X",
                       help=f"and for random ones (default: {SCRATCH_LR:g})")  # fmt: skip
    group.add_argument("--optimizer", choices=("adamw", "muon"), default=OPTIMIZER,
                       help=f"default: {OPTIMIZER}")  # fmt: skip
    group.add_argument("--precision", default="auto", metavar="NAME",
                       help="of training: auto, fp32, bf16 or fp16 (default: auto)")  # fmt: skip

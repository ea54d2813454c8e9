"""`python -m solutions.compression`: from the command line to what is done."""

from collections.abc import Sequence

from ..errors import run_command
from ..process import keep_freed_memory, wait_politely
from .options import build_parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 2 for misuse, 130 for Ctrl-C."""
    return run_command(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> None:
    options = build_parser().parse_args(arguments)
    wait_politely()
    keep_freed_memory()
    from .actions import COMMANDS  # --help needs no torch
    from .wishes import check

    check(options)
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    COMMANDS[options.command](options)

"""`python -m solutions.compression`: from the command line to what is done."""

from collections.abc import Sequence

from ..command_line import prepare_process
from ..errors import run_command
from .options import build_parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 2 for misuse, 130 for Ctrl-C."""
    return run_command(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> None:
    options = build_parser().parse_args(arguments)
    prepare_process(options)
    from .actions import COMMANDS  # --help needs no torch
    from .wishes import check

    check(options)
    COMMANDS[options.command](options)

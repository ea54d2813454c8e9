"""`python -m grader COMMAND`: starts the command of that name in `grader/commands/`."""

import argparse
import importlib
import pkgutil
from collections.abc import Sequence

from lessons.engine.errors import run_command

from . import commands


def build_parser() -> argparse.ArgumentParser:
    """One subcommand for each file in `grader/commands/`."""
    parser = argparse.ArgumentParser(prog="python -m grader", description="The course's judge.")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for found in pkgutil.iter_modules(commands.__path__):
        command = importlib.import_module(f"{commands.__name__}.{found.name}")
        text = (command.__doc__ or "").partition("\n")[0]
        subparser = subparsers.add_parser(found.name, help=text, description=text)
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 2 for misuse, 130 for Ctrl-C, else the command's."""
    options = build_parser().parse_args(arguments)
    return run_command(lambda: options.run(options))


if __name__ == "__main__":
    raise SystemExit(main())

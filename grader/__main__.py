"""`python -m grader COMMAND`: starts the command of that name in `grader/commands/`."""

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Sequence

from lessons.engine.errors import CourseError, run_command

from . import commands

DEFAULT = "board"  # what `python -m grader` alone shows
OURS = ("grader", "lessons", "solutions")


def build_parser() -> argparse.ArgumentParser:
    """One subcommand for each file in `grader/commands/`; `grade_all.py` is `grade-all`."""
    parser = argparse.ArgumentParser(
        prog="python -m grader",
        description="The course's judge. Without a command: how far you are, and what comes next.",
    )
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    for found in pkgutil.iter_modules(commands.__path__):
        command = importlib.import_module(f"{commands.__name__}.{found.name}")
        text = (command.__doc__ or "").partition("\n")[0]
        name = found.name.replace("_", "-")
        subparser = subparsers.add_parser(name, help=text, description=text)
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 2 for misuse, 130 for Ctrl-C, else the command's."""
    for stream in (sys.stdout, sys.stderr):  # what a learner's code prints, on any terminal
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    parser = build_parser()
    options = parser.parse_args(arguments)
    if not hasattr(options, "run"):
        options = parser.parse_args([DEFAULT])
    return run_command(lambda: run(options))


def run(options: argparse.Namespace) -> int | None:
    """Run the command; a library that is not installed is one sentence."""
    try:
        return options.run(options)
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library in OURS or not library:
            raise
        raise CourseError(
            f"{library} is not installed: `pip install -r requirements.txt`, in the environment "
            "of the course; `python -m grader doctor` says what else is missing"
        ) from None


if __name__ == "__main__":
    raise SystemExit(main())

"""What the course promises: commands and Python calls that pages and people may rely on.

`promises.toml` lists them; every row is a test (grader/tests/test_promises.py), and a command shown on
a page must match a row. Words in capitals stand for anything: `python -m grader hint NN`.
"""

import re
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path

from .writing import table

FILE = Path(__file__).with_name("promises.toml")
BLANK = re.compile(r"(?<![\w.])[A-Z]+(?![\w.])")  # stands for anything: NN, DIR, lessons/NN


@dataclass(frozen=True)
class Command:
    """A command line that works."""

    line: str  # with capitals where anything may stand
    does: str
    run: str = ""  # a line of this form that is cheap enough to be run in a test
    exits: int = 0  # what that gives
    page: bool = True  # stands in the table for readers

    def fits(self, line: str) -> bool:
        """Say whether a line is this command, with options behind it or none."""
        promised, shown = words(self.line), words(line)
        more = shown[len(promised) :]
        if more and not (more[0].startswith("-") or BLANK.fullmatch(promised[-1])):
            return False
        return len(shown) >= len(promised) and all(
            re.fullmatch(BLANK.sub(".+", re.escape(each)), other)
            for each, other in zip(promised, shown, strict=False)
        )


@dataclass(frozen=True)
class Call:
    """A line of Python that works, after `setup`."""

    call: str
    does: str
    setup: str = ""
    shows: str = ""  # an expression over `result` that is then true


def read_commands(file: Path = FILE) -> list[Command]:
    """Return the promised commands."""
    return [Command(**row) for row in tomllib.loads(file.read_text(encoding="utf-8"))["command"]]


def read_calls(file: Path = FILE) -> list[Call]:
    """Return the promised Python calls."""
    return [Call(**row) for row in tomllib.loads(file.read_text(encoding="utf-8"))["call"]]


def words(line: str) -> list[str]:
    """Cut a command line as a shell does, without what follows a #."""
    return shlex.split(line, comments=True)


def commands(arguments: list[str], folder: Path) -> str:
    """Return the table of commands."""
    rows = [[f"`{command.line}`", command.does] for command in read_commands() if command.page]
    return table(["command", "what it does"], rows)


def calls(arguments: list[str], folder: Path) -> str:
    """Return the table of Python calls."""
    return table(["call", "what it does"], [[f"`{c.call}`", c.does] for c in read_calls()])

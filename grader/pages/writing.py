"""Markdown that several kinds of generated text have in common."""

from collections.abc import Sequence
from os.path import relpath
from pathlib import Path


def table(headings: Sequence[str], rows: Sequence[Sequence[object]], right: str = "") -> str:
    """Return a Markdown table. right: the headings of the columns of numbers, with blanks between."""
    numbers = right.split()
    marks = ["---:" if heading in numbers else "---" for heading in headings]
    lines = [headings, marks, *[[cell(each) for each in row] for row in rows]]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def cell(value: object) -> str:
    """Return what may stand in a table's cell: one line, with no bar that ends it."""
    return " ".join(str(value).split()).replace("|", "\\|")


def link(text: str, target: Path, folder: Path) -> str:
    """Return a link from a page in `folder` to a file."""
    return f"[{text}]({Path(relpath(target, folder)).as_posix()})"


def anchor(name: str) -> str:
    """Return the anchor of a step, a command or a term: lower case, one dash between words."""
    kept = "".join(letter if letter.isalnum() else " " for letter in name.lower())
    return "-".join(kept.split())

"""In which line of a TOML file each of its keys stands; tomllib itself does not tell."""

import tomllib
from typing import Any

Path = tuple[str | int, ...]  # ("lesson", 1, "due"): the key `due` of the second [[lesson]]


def lines_of(text: str) -> dict[Path, int]:
    """Return the line of every table and key of a valid TOML text.

    A statement ends with the first line at which tomllib can read it: so strings and lists over
    several lines need no grammar of our own. What such a list holds has the line of its key.
    """
    lines: dict[Path, int] = {}
    counts: dict[Path, int] = {}  # how many tables an array of tables has so far
    table: Path = ()
    statement, first = "", 0
    for number, line in enumerate(text.split("\n"), start=1):
        first = first if statement else number
        statement += line + "\n"
        try:
            found = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        if found and statement.lstrip().startswith("["):
            table = _table(found, counts)
            lines.setdefault(table, first)
        else:
            _note(found, table, first, lines)
        statement = ""
    return lines


def _table(found: Any, counts: dict[Path, int]) -> Path:
    """Return the path of the table that a heading opens; `found` is the heading, read alone."""
    path: Path = ()
    while found:
        if isinstance(found, list):  # [[...]]: one more table
            counts[path] = counts.get(path, 0) + 1
            return (*path, counts[path] - 1)
        if path in counts:
            path = (*path, counts[path] - 1)
        [(name, found)] = found.items()
        path = (*path, name)
    return path


def _note(found: Any, path: Path, line: int, lines: dict[Path, int]) -> None:
    """Write down the line of everything that a statement says."""
    if isinstance(found, dict):
        inside = list(found.items())
    elif isinstance(found, list):
        inside = list(enumerate(found))
    else:
        return
    for name, value in inside:
        lines.setdefault((*path, name), line)
        _note(value, (*path, name), line, lines)

"""Reads a TOML file of an instructor's; every complaint names the file and the line."""

import datetime as dt
import difflib
import math
import re
import tomllib
import zoneinfo
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lessons.engine.errors import CourseError

from . import toml_lines
from .dates import MIDNIGHT, read_moment

PLACE = re.compile(r" \(at line (\d+), column \d+\)$")
A_DATE = re.compile(r"\s*([\w-]+)\s*=\s*(\d{4}-[^#]*[^#\s])")


@dataclass(frozen=True)
class Table:
    """One table of the file, with what is needed to say where something is wrong."""

    values: dict[str, Any]
    path: toml_lines.Path
    file: str
    lines: dict[toml_lines.Path, int]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def error(self, key: str, message: str) -> CourseError:
        """Return an error about a key; an empty key is the table itself."""
        path = (*self.path, key) if key else self.path
        while path and path not in self.lines:
            path = path[:-1]
        return CourseError(f"{self.file}, line {self.lines.get(path, 1)}: {message}")

    def only(self, known: Sequence[str], what: str) -> None:
        """Refuse a key that is not known, and name the one that was probably meant."""
        for key in self.values:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
                hint = f'did you mean "{near[0]}"?' if near else f"it can have: {', '.join(known)}"
                raise self.error(key, f'"{key}" is nothing that {what} can have; {hint}')

    def get(self, key: str) -> Any:
        """Return a value, whatever it is; None where there is none."""
        return self.values.get(key)

    def text(self, key: str) -> str:
        """Return a text; empty where there is none."""
        value = self.values.get(key, "")
        if not isinstance(value, str):
            raise self.error(key, f"{key} must be a text in quotes, not {value}")
        if key in self.values and not value.strip():
            raise self.error(key, f"{key} is empty")
        return value

    def number(self, key: str, default: float, most: float = math.inf) -> float:
        """Return a number from 0 to `most`."""
        value = self.values.get(key, default)
        if type(value) not in (int, float) or not 0 <= value <= most or math.isinf(value):
            end = "up" if math.isinf(most) else f"to {most:g}"
            raise self.error(key, f"{key} must be a number from 0 {end}, not {value!r}")
        return value

    def moment(self, key: str, zone: zoneinfo.ZoneInfo, time: dt.time = MIDNIGHT) -> Any:
        """Return a date as a moment; None where there is none. `time` is for a day alone."""
        value = self.values.get(key)
        try:
            return None if value is None else read_moment(value, zone, time)
        except ValueError as error:
            raise self.error(key, f"{key} {value} {error}") from None

    def zone(self, key: str, name: str) -> zoneinfo.ZoneInfo:
        """Return the time zone of this name."""
        known = zoneinfo.available_timezones()
        if name in known:
            return zoneinfo.ZoneInfo(name)
        by_city = {zone.rpartition("/")[2].lower(): zone for zone in sorted(known)}
        wanted = name.rpartition("/")[2].lower().replace(" ", "_")
        near = difflib.get_close_matches(wanted, by_city, n=1)
        hint = f'; did you mean "{by_city[near[0]]}"?' if near else ""
        raise self.error(key, f"no time zone {name!r}{hint}")

    def table(self, key: str) -> "Table | None":
        """Return a table inside this one; None where there is none."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.error(key, f"{key} must be a table, not {value!r}")
        return Table(value, (*self.path, key), self.file, self.lines)

    def tables(self, key: str) -> "list[Table]":
        """Return the tables of a list, written [[key]] each."""
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            raise self.error(key, f"each {key} is a table of its own, headed [[{key}]]")
        return [
            Table(entry, (*self.path, key, i), self.file, self.lines)
            for i, entry in enumerate(value)
        ]


def read_table(path: Path) -> Table:
    """Return what is in a file. Raises CourseError, with the line, where it is no TOML."""
    try:
        text = path.read_text(encoding="utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise CourseError(f"{path.name}, line {_bad_line(path)}: no text in UTF-8") from None
    except OSError as error:
        raise CourseError(f"{path} cannot be read ({error.strerror})") from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CourseError(_explain(str(error), text, path.name)) from None
    return Table(values, (), path.name, toml_lines.lines_of(text))


def _bad_line(path: Path) -> int:
    data = path.read_bytes()
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return data[: error.start].count(b"\n") + 1
    return 1


def _explain(message: str, text: str, name: str) -> str:
    """Return what is wrong with a text that is no TOML."""
    place = PLACE.search(message)
    lines = text.split("\n")
    number = int(place[1]) if place else len(text.rstrip("\n").split("\n"))
    what = message[: place.start()] if place else message.removesuffix(" (at end of document)")
    if date := A_DATE.match(lines[number - 1]):
        return f"{name}, line {number}: {date[1]} {date[2]} is no date"
    return f"{name}, line {number}: {what[:1].lower()}{what[1:]}"

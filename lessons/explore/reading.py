"""The small files that explore reads: options, texts, decoding settings. Mistakes are named by line."""

import csv
import io
import json
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..engine.errors import CourseError

# Decoding settings: what each may be.
SETTINGS: dict[str, tuple[type, Any, str]] = {
    "temperature": (float, lambda x: 0 < x < 1e6, "a number above 0"),
    "top_k": (int, lambda x: x >= 1, "a whole number, at least 1"),
    "top_p": (float, lambda x: 0 < x <= 1, "a number above 0, at most 1"),
    "min_p": (float, lambda x: 0 <= x <= 1, "a number from 0 to 1"),
    "repetition_penalty": (float, lambda x: 0 < x < 1e6, "a number above 0"),
    "greedy": (bool, lambda x: True, "true or false"),
}
DEFAULT_SETTINGS: dict[str, dict[str, Any]] = {
    "greedy": {"greedy": True},
    "temperature 0.5": {"temperature": 0.5},
    "temperature 1": {"temperature": 1.0},
    "temperature 1.5": {"temperature": 1.5},
    "top-k 20": {"top_k": 20},
    "top-p 0.9": {"top_p": 0.9},
    "top-p 0.9, temperature 0.7": {"top_p": 0.9, "temperature": 0.7},
    "top-k 20, repetition penalty 1.3": {"top_k": 20, "repetition_penalty": 1.3},
}
MOST_SETTINGS, MOST_TEXTS = 24, 24  # a picture shows no more
MOST_BYTES = 20_000_000


def read_text_file(path: str | Path, option: str) -> str:
    """The text of a file. Raises CourseError where it cannot be read, is no UTF-8 or too large."""
    path = Path(path)
    if not path.is_file():
        raise CourseError(f"no file {path}; {option} takes the path of a file")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise CourseError(f"{path} has more than {MOST_BYTES:,} bytes; take a part of it")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CourseError(f"{path} is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise CourseError(f"{path} cannot be read ({error.strerror}); {option}") from None


def read_toml(path: str | Path, option: str) -> tuple[dict[str, Any], str]:
    """A TOML file as a dictionary, and its text (for the numbers of lines)."""
    text = read_text_file(path, option)
    try:
        return tomllib.loads(text), text
    except tomllib.TOMLDecodeError as error:
        raise CourseError(f"{path}: {error}") from None


def line_of(text: str, key: str, table: str | None = None) -> int:
    """The line on which `key` (or [table], where key is "") is set in a TOML file."""
    inside = table is None
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[+\s*(.+?)\s*\]+\s*(#.*)?$", line)
        if header and "=" not in line.split("#")[0]:
            inside = table is not None and header[1].strip("\"'") == table
            if inside and not key:
                return number
        elif inside and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line):
            return number
    return 1


def read_settings(path: str | Path) -> dict[str, dict[str, Any]]:
    """Decoding settings by name, from CSV (a row each) or TOML (a table each)."""
    if str(path).lower().endswith(".toml"):
        found = _settings_of_toml(path)
    else:
        found = _settings_of_csv(path)
    if not found:
        raise CourseError(f"{path} holds no settings; --settings takes a table of them")
    if len(found) > MOST_SETTINGS:
        raise CourseError(f"{path} holds {len(found)} settings, and at most {MOST_SETTINGS} fit")
    return found


def _settings_of_toml(path: str | Path) -> dict[str, dict[str, Any]]:
    tables, text = read_toml(path, "--settings")
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise CourseError(
                f"{path}, line {line_of(text, name)}: {name} stands outside of a table; begin each "
                "setting with its name, [careful], and below it temperature = 0.7"
            )
        for key, value in table.items():
            _check(key, value, f"{path}, line {line_of(text, key, name)}")
        _check_together(table, f"{path}, line {line_of(text, '', name)}")
    return tables


def _settings_of_csv(path: str | Path) -> dict[str, dict[str, Any]]:
    text = read_text_file(path, "--settings")
    delimiter = ";" if text.split("\n")[0].count(";") > text.split("\n")[0].count(",") else ","
    rows = csv.reader(io.StringIO(text), delimiter=delimiter)
    columns = [column.strip() for column in next(rows, [])]
    for column in columns:
        if column != "name" and column not in SETTINGS:
            raise CourseError(
                f"{path}, line 1: no setting {column!r}; the columns are name, {', '.join(SETTINGS)}"
            )
    if len(set(columns)) != len(columns):
        raise CourseError(f"{path}, line 1: a column stands there twice")
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        where = f"{path}, line {rows.line_num}"
        if not any(cell.strip() for cell in row):
            continue
        if len(row) > len(columns):
            raise CourseError(f"{where}: {len(row)} cells, but line 1 names {len(columns)} columns")
        cells = {c: cell.strip() for c, cell in zip(columns, row, strict=False) if cell.strip()}
        name = cells.pop("name", "")
        setting = {key: _number(key, cell, where) for key, cell in cells.items()}
        for key, value in setting.items():
            _check(key, value, where)
        _check_together(setting, where)
        name = name or ", ".join(f"{k} {v}" for k, v in cells.items()) or "plain"
        if name in found:
            raise CourseError(f"{where}: there is a setting {name!r} already")
        found[name] = setting
    return found


def _number(key: str, cell: str, where: str) -> Any:
    kind, _, wanted = SETTINGS[key]
    if kind is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if cell.lower() not in words:
            raise CourseError(f"{where}: {key} must be {wanted}, not {cell!r}")
        return words[cell.lower()]
    try:
        return kind(cell)
    except ValueError:
        raise CourseError(f"{where}: {key} must be {wanted}, not {cell!r}") from None


def _check(key: str, value: Any, where: str) -> None:
    if key not in SETTINGS:
        raise CourseError(f"{where}: no setting {key!r}; there are {', '.join(SETTINGS)}")
    kind, fits, wanted = SETTINGS[key]
    right = type(value) is kind or (kind is float and type(value) is int)
    if not right or not fits(value):
        raise CourseError(f"{where}: {key} must be {wanted}, not {value!r}")


def _check_together(setting: dict[str, Any], where: str) -> None:
    if setting.get("greedy") and len(setting) > 1:
        others = ", ".join(key for key in setting if key != "greedy")
        raise CourseError(f"{where}: greedy leaves nothing to chance; take out {others}")


def read_texts(path: str | Path) -> dict[str, str]:
    """Several texts by name, from JSON, TOML or plain lines (see --help)."""
    kind = Path(path).suffix.lower()
    if kind == ".toml":
        found, text = read_toml(path, "--texts")
        pairs: Iterable[tuple[str, Any]] = found.items()
        where = {name: f"line {line_of(text, name)}" for name in found}
    elif kind == ".json":
        pairs = _pairs_of_json(path)
        where = {}
    else:
        pairs, where = _pairs_of_lines(read_text_file(path, "--texts")), {}
    texts: dict[str, str] = {}
    for name, value in pairs:
        if not isinstance(value, str):
            place = f", {where[name]}" if name in where else ""
            raise CourseError(f"{path}{place}: the text {name!r} is not text but {value!r:.40}")
        if not value.strip():
            raise CourseError(f"{path}: the text {name!r} is empty")
        if name in texts:
            raise CourseError(f"{path}: there are two texts with the name {name!r}")
        texts[name] = value
    if not texts:
        raise CourseError(f'{path} holds no texts; write one a line, or as name = "text" in TOML')
    if len(texts) > MOST_TEXTS:
        raise CourseError(f"{path} holds {len(texts)} texts, and at most {MOST_TEXTS} fit")
    return texts


def _pairs_of_json(path: str | Path) -> list[tuple[str, Any]]:
    text = read_text_file(path, "--texts")
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise CourseError(f"{path}, line {error.lineno}: no JSON ({error.msg})") from None
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, list):
        pairs = []
        for number, entry in enumerate(value, start=1):
            if isinstance(entry, dict) and {"text"} <= entry.keys() <= {"name", "text"}:
                pairs.append((str(entry.get("name", f"text {number}")), entry["text"]))
            elif isinstance(entry, str):
                pairs.append((f"text {number}", entry))
            else:
                raise CourseError(f'{path}: entry {number} must be {{"name": ..., "text": ...}}')
        return pairs
    raise CourseError(f'{path} must hold {{"name": "text", ...}}')


def _pairs_of_lines(text: str) -> list[tuple[str, str]]:
    pairs = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            name, tab, rest = line.partition("\t")
            pairs.append((name.strip(), rest) if tab else (f"line {number}", line))
    return pairs

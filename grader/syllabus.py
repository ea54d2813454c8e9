"""Reads `syllabus.toml`, the only list of lessons."""

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lessons.engine.errors import CourseError

SYLLABUS = Path(__file__).with_name("syllabus.toml")
KINDS = ("core", "stretch")


@dataclass(frozen=True)
class Step:
    """One function that the learner writes."""

    name: str  # `softmax`; `GPT.forward` for a method
    kind: str  # "core", or "stretch": extra points, needed by nothing


@dataclass(frozen=True)
class Lesson:
    """One lesson: a module, and what is to be written in it."""

    number: str  # two digits, the name of the folder in `lessons/`
    module: str  # `attention` is `solutions/attention.py` and `lessons/03/attention.py`
    title: str
    needs: tuple[str, ...]  # numbers of the earlier lessons whose modules it imports or builds on
    steps: tuple[Step, ...]  # in the order in which the learner writes them


def read_syllabus(path: Path = SYLLABUS) -> tuple[Lesson, ...]:
    """Return the lessons in order. Raises CourseError, a sentence, for anything that is wrong."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CourseError(f"no file {path}, the list of lessons") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CourseError(f"{path.name} is no valid TOML: {error}") from None
    lessons: list[Lesson] = []
    for position, entry in enumerate(_tables(table, "lesson", path.name), start=1):
        lesson = _read_lesson(entry, f"{path.name}, lesson {entry.get('number', f'#{position}')}")
        _check_place(lesson, lessons, path.name)
        lessons.append(lesson)
    return tuple(lessons)


def _read_lesson(entry: dict[str, Any], where: str) -> Lesson:
    steps = []
    for table in _tables(entry, "step", where):
        step = Step(**_texts(table, Step, f"{where}, step {table.get('name', '(no name)')}"))
        if step.kind not in KINDS:
            raise CourseError(f"{where}: {step.name} is {step.kind!r}, not core or stretch")
        steps.append(step)
    names = [step.name for step in steps]
    for name in names:
        if names.count(name) > 1:
            raise CourseError(f"{where}: the step {name} stands there twice")
    needs = entry.get("needs")
    if not isinstance(needs, list) or not all(isinstance(number, str) for number in needs):
        raise CourseError(f'{where}: needs must be a list of numbers in quotes, such as ["00"]')
    rest = {key: value for key, value in entry.items() if key not in ("needs", "step")}
    return Lesson(**_texts(rest, Lesson, where), needs=tuple(needs), steps=tuple(steps))


def _check_place(lesson: Lesson, earlier: list[Lesson], file: str) -> None:
    """Refuse a lesson that repeats an earlier one or needs one that does not stand before it."""
    where = f"{file}, lesson {lesson.number}"
    if len(lesson.number) != 2 or not (lesson.number.isascii() and lesson.number.isdigit()):
        raise CourseError(f'{where}: the number must be two digits in quotes, such as "05"')
    if earlier and lesson.number <= earlier[-1].number:
        raise CourseError(f"{where}: it stands after lesson {earlier[-1].number}")
    if not lesson.module.isidentifier() or lesson.module in [other.module for other in earlier]:
        raise CourseError(f"{where}: {lesson.module!r} cannot be its module's name, or is taken")
    for number in lesson.needs:
        if number not in [other.number for other in earlier]:
            raise CourseError(f"{where}: it needs {number}, which is no earlier lesson")


def _tables(table: dict[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    entries = table.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise CourseError(f"{where}: there must be at least one {key}, each as a table")
    return entries


def _texts(table: dict[str, Any], kind: type, where: str) -> dict[str, str]:
    """Return the entries of `table`, which must be exactly the fields of `kind` that are text."""
    wanted = [field.name for field in fields(kind) if field.type is str]
    for name in wanted:
        if not isinstance(table.get(name), str) or not table[name]:
            raise CourseError(f"{where}: no {name} (a text in quotes)")
    for name in table:
        if name not in wanted:
            raise CourseError(f"{where}: {name!r} is nothing that it can have")
    return table

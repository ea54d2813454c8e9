"""Reads `syllabus.toml`, the only list of lessons."""

import tomllib
from dataclasses import MISSING, dataclass, field, fields
from functools import lru_cache
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
    points: int = 0  # the sum over its checks; 0 as long as the lesson has none
    prediction: str = ""  # asked in the stub, before the learner writes
    reveals: str = ""  # its answer, shown when the step's checks pass
    hints: dict[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # check -> idea, direction, line
    forbids: tuple[str, ...] = ()  # library functions that would do it; see judge/forbidden.py


@dataclass(frozen=True)
class Lesson:
    """One lesson: a module, and what is to be written in it."""

    number: str  # two digits, the name of the folder in `lessons/`
    module: str  # `attention` is `solutions/attention.py` and `lessons/03/attention.py`
    title: str
    needs: tuple[str, ...]  # numbers of the earlier lessons whose modules it imports or builds on
    steps: tuple[Step, ...]  # in the order in which the learner writes them

    @property
    def points(self) -> int:
        """How many points there are to get, core and stretch."""
        return sum(step.points for step in self.steps)

    def step(self, name: str) -> Step:
        """Return the step of this name. Raises KeyError."""
        return {step.name: step for step in self.steps}[name]


def find_lesson(number: str, lessons: tuple[Lesson, ...] | None = None) -> Lesson:
    """Return the lesson with this number; "3" and "lessons/03" mean "03". Raises CourseError."""
    lessons = read_syllabus() if lessons is None else lessons
    wanted = Path(number).name.zfill(2)
    for lesson in lessons:
        if wanted in (lesson.number, lesson.module):
            return lesson
    numbers = ", ".join(lesson.number for lesson in lessons)
    raise CourseError(f"no lesson {number!r}; there are: {numbers}")


def read_syllabus(path: Path = SYLLABUS) -> tuple[Lesson, ...]:
    """Return the lessons in order. Raises CourseError, a sentence, for anything that is wrong."""
    try:
        return parse_syllabus(path.read_text(encoding="utf-8"), path.name)
    except FileNotFoundError:
        raise CourseError(f"no file {path}, the list of lessons") from None
    except UnicodeDecodeError as error:
        raise CourseError(f"{path.name} is no valid TOML: {error}") from None


@lru_cache(maxsize=8)
def parse_syllabus(text: str, name: str) -> tuple[Lesson, ...]:
    """Return the lessons of a syllabus; `name` is what messages call it. Raises CourseError.

    Numbers rise, unless it says `order = "own"`: an instructor's order (see instructor/course.py).
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CourseError(f"{name} is no valid TOML: {error}") from None
    lessons: list[Lesson] = []
    for position, entry in enumerate(_tables(table, "lesson", name), start=1):
        lesson = _read_lesson(entry, f"{name}, lesson {entry.get('number', f'#{position}')}")
        _check_place(lesson, lessons, name, rising=table.get("order") != "own")
        lessons.append(lesson)
    return tuple(lessons)


def _read_lesson(entry: dict[str, Any], where: str) -> Lesson:
    steps = []
    for table in _tables(entry, "step", where):
        step = _read_step(table, f"{where}, step {table.get('name', '(no name)')}")
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


def _read_step(table: dict[str, Any], where: str) -> Step:
    optional = ("points", "prediction", "reveals", "hints", "forbids")
    texts = _texts({key: v for key, v in table.items() if key not in optional}, Step, where)
    points, hints = table.get("points", 0), table.get("hints", {})
    if type(points) is not int or points < 0:
        raise CourseError(f"{where}: points must be a number from 0 up, not {points!r}")
    prediction, reveals = table.get("prediction", ""), table.get("reveals", "")
    if not (isinstance(prediction, str) and isinstance(reveals, str)):
        raise CourseError(f"{where}: prediction and reveals must be texts in quotes")
    if bool(prediction) != bool(reveals):
        raise CourseError(f"{where}: a prediction needs what it reveals, and the other way round")
    if not isinstance(hints, dict):
        raise CourseError(f"{where}: hints must be a table: check = [three texts]")
    for check, three in hints.items():
        if not isinstance(three, list) or [type(text) for text in three] != [str] * 3:
            raise CourseError(f"{where}: the hints for {check} must be three texts")
    pairs = {check: tuple(three) for check, three in hints.items()}
    forbids = table.get("forbids", [])
    if not isinstance(forbids, list) or not all(isinstance(name, str) for name in forbids):
        raise CourseError(f"{where}: forbids must be a list of names in quotes")
    told = {"prediction": prediction, "reveals": reveals, "hints": pairs}
    return Step(**texts, points=points, **told, forbids=tuple(forbids))


def _check_place(lesson: Lesson, earlier: list[Lesson], file: str, rising: bool) -> None:
    """Refuse a lesson that repeats an earlier one or needs one that does not stand before it."""
    where = f"{file}, lesson {lesson.number}"
    if len(lesson.number) != 2 or not (lesson.number.isascii() and lesson.number.isdigit()):
        raise CourseError(f'{where}: the number must be two digits in quotes, such as "05"')
    taken = [other.number for other in earlier]
    if lesson.number in taken or (rising and lesson.number < max(taken, default="")):
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
    wanted = [f.name for f in fields(kind) if f.type is str and f.default is MISSING]
    for name in wanted:
        if not isinstance(table.get(name), str) or not table[name]:
            raise CourseError(f"{where}: no {name} (a text in quotes)")
    for name in table:
        if name not in wanted:
            raise CourseError(f"{where}: {name!r} is nothing that it can have")
    return table

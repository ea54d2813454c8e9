"""The learners' repository: what of the course they get, and how it is written.

Everything is chosen by name, nothing is left out by name: a file that nobody thought of stays here.
Stubs are made from the solutions, so an instructor's own work in `lessons/` cannot slip through. At the
end leaks.py looks through what was written; if it finds anything, nothing stays.
"""

import dataclasses
import datetime as dt
import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from lessons.engine.errors import CourseError

from ...judge.paths import needed_lessons
from ...stub_store import packed
from ...stubs import make_stub
from ...syllabus import SYLLABUS, Lesson, parse_syllabus
from ...updating import Release
from ..course.course import Course, CourseLesson, all_lessons
from .course_files import course_files
from .leaks import Secrets, secrets_of

COMMANDS = "__init__ board check doctor hint hunt reset stuck update watch".split()  # noqa: SIM905
LEARNERS = re.compile(
    r"LICENSE|\.gitignore|conftest\.py|lessons/__init__\.py|lessons/(engine|explore)/.+"
    r"|site/widgets/(course|story)\.js"  # `tinystories report --share` puts them into its page
    r"|grader/\w+\.py|grader/judge/.+|grader/answers/baseline/.+"
    rf"|grader/commands/({'|'.join(COMMANDS)})\.py"
)
BESIDE_A_MODULE = r"README\.md|test_\w+\.py|[\w-]+\.(txt|json|csv|png|svg|safetensors)"
FOR_TEACHERS = "nbgrader mkdocs-material cosmic-ray check-jsonschema mypy".split()  # noqa: SIM905
CAPSTONE = "14"
README = Path(__file__).with_name("learners_readme.md.j2")


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A release, what must not be in it, and what the instructor should know."""

    release: Release
    secrets: Secrets
    remarks: tuple[str, ...]


def prepare(course: Course, wanted: Sequence[str] | None, now: dt.datetime) -> Prepared:
    """Return the release of some lessons (None: of those whose date has come). Writes nothing."""
    chosen = choose(course, wanted, now)
    every = all_lessons(course.own)
    by_number = {lesson.number: lesson for lesson in every}
    opened = _opened(course, chosen, every, now)
    paths = course_files(course.own)
    solutions = {lesson.number: _solution(paths, lesson) for lesson in every}
    numbers = [each.number for each in chosen]
    stubs = {number: make_stub(solutions[number], by_number[number]) for number in numbers}

    files = {name: path.read_bytes() for name, path in paths.items() if LEARNERS.fullmatch(name)}
    for each in chosen:
        files |= _files_of(each, paths)
        module = f"lessons/{each.number}/{each.lesson.module}.py"
        files[module] = stubs[each.number].encode()
    files["grader/answers/stubs.json"] = packed(stubs).encode()
    files["grader/syllabus.toml"] = _syllabus(course, chosen).encode()
    for number in opened:
        files["solutions/__init__.py"] = paths["solutions/__init__.py"].read_bytes()
        files[f"solutions/{by_number[number].module}.py"] = solutions[number].encode()
    requirements = paths["requirements.txt"].read_text(encoding="utf-8")
    files["requirements.txt"] = _for_learners(requirements).encode()
    files["pyproject.toml"] = _settings(
        paths["pyproject.toml"].read_text(encoding="utf-8")
    ).encode()
    files["README.md"] = _readme(course, chosen, opened, requirements).encode()

    closed = [(lesson, solutions[lesson.number]) for lesson in every if lesson.number not in opened]
    return Prepared(
        Release(files, tuple(numbers), tuple(opened), course.name),
        secrets_of(closed, [solutions[number] for number in opened]),
        (*course.remarks, *_remarks(chosen, files)),
    )


def read_numbers(text: str, course: Course) -> list[str]:
    """Return the lessons of a course that "00-05,07" names. Raises CourseError."""
    numbers: list[str] = []
    for part in text.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or not (last.isdecimal() or not dash):
            raise CourseError(f"{part!r} names no lessons; write --lessons 00-05 or 00,01,07")
        if not dash:
            numbers.append(course.lesson(first).number)
        numbers += [
            e.number for e in course.lessons if dash and int(first) <= int(e.number) <= int(last)
        ]
    return numbers


def choose(
    course: Course, wanted: Sequence[str] | None, now: dt.datetime
) -> tuple[CourseLesson, ...]:
    """Return the lessons of a release, in the course's order. Raises CourseError."""
    if wanted is None:
        chosen = tuple(each for each in course.lessons if each.released(now))
    else:
        chosen = tuple(each for each in course.lessons if each.number in wanted)
    if not chosen:
        there = ", ".join(each.number for each in course.lessons)
        raise CourseError(f"there is no lesson to release (the course has: {there})")
    return chosen


def _opened(
    course: Course, chosen: Sequence[CourseLesson], every: tuple[Lesson, ...], now: dt.datetime
) -> list[str]:
    """Return the lessons whose reference goes out. Raises CourseError where one would be missing."""
    numbers = {each.number for each in chosen}
    needed = {other.number for each in chosen for other in needed_lessons(each.lesson, every)}
    open_now = {each.number for each in course.lessons if each.opened(now)} | set(course.given)
    for each in chosen:
        for other in needed_lessons(each.lesson, every):
            if other.number not in numbers | open_now:
                raise CourseError(
                    f"lesson {each.number} needs lesson {other.number}, which is neither in this "
                    "release nor open: name both in --lessons"
                )
    return [n.number for n in every if n.number in open_now & (numbers | needed)]


def _solution(paths: dict[str, Path], lesson: Lesson) -> str:
    path = paths.get(f"solutions/{lesson.module}.py")
    if path is None:
        raise CourseError(f"no solutions/{lesson.module}.py: a release is made of the solutions")
    return path.read_text(encoding="utf-8")


def _files_of(each: CourseLesson, paths: dict[str, Path]) -> dict[str, bytes]:
    """Return what stands in a lesson's folder, its notebooks and its recorded answers."""
    mine = re.compile(
        rf"lessons/{each.number}/({BESIDE_A_MODULE})|grader/answers/{each.number}\.safetensors"
        rf"|lessons/notebooks/({each.number}-.+{'|capstone-t4' if each.number == CAPSTONE else ''})\.ipynb"
    )
    return {name: path.read_bytes() for name, path in paths.items() if mine.fullmatch(name)}


def whole_syllabus(own: Path | None) -> str:
    """Return the text of the syllabus, with that of own lessons behind it."""
    text = SYLLABUS.read_text(encoding="utf-8")
    return f"{text}\n{(own / 'syllabus.toml').read_text(encoding='utf-8-sig')}" if own else text


def _syllabus(course: Course, chosen: Sequence[CourseLesson]) -> str:
    """Return the syllabus of these lessons alone, in the course's order."""
    entries = {}
    for entry in re.split(r"(?m)^(?=\[\[lesson\]\])", whole_syllabus(course.own))[1:]:
        if number := re.search(r'(?m)^number\s*=\s*["\'](\d\d)', entry):
            entries[number[1]] = entry.strip()
    numbers = [each.number for each in chosen]
    order = "" if numbers == sorted(numbers) else 'order = "own"\n'
    lessons, texts = [], [f"# The lessons of this course.\n{order}"]
    for each in chosen:
        needs = tuple(number for number in each.lesson.needs if number in numbers)
        listed = ", ".join(f'"{number}"' for number in needs)
        texts.append(
            re.sub(
                r"(?m)^needs\s*=\s*\[[^]]*\]", f"needs = [{listed}]", entries[each.number], count=1
            )
        )
        lessons.append(dataclasses.replace(each.lesson, needs=needs))
    text = "\n\n".join(texts) + "\n"
    assert parse_syllabus(text, "the release's syllabus") == tuple(lessons)
    return text


def _for_learners(requirements: str) -> str:
    """Return the packages without those that only teachers and maintainers need."""
    lines = requirements.splitlines()
    return "\n".join(n for n in lines if n.partition("==")[0].lower() not in FOR_TEACHERS) + "\n"


def _settings(pyproject: str) -> str:
    """Return the settings: `pytest` alone runs the lessons, where there are no other tests."""
    changed = pyproject.replace('testpaths = ["grader/tests"]', 'testpaths = ["lessons"]')
    assert changed != pyproject
    return changed


def _readme(
    course: Course, chosen: Sequence[CourseLesson], opened: Sequence[str], requirements: str
) -> str:
    torch = re.search(r"(?m)^torch==\S+", requirements)
    template = Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(
        README.read_text(encoding="utf-8")
    )
    return template.render(
        name=course.name,
        site=course.site,
        zone=course.zone.key,
        dated=any(each.due for each in chosen),
        lessons=chosen,
        opened=opened,
        torch=torch[0] if torch else "torch",
    )


def _remarks(chosen: Sequence[CourseLesson], files: dict[str, bytes]) -> list[str]:
    """Say what is missing of an own lesson; the course's own tests see to ours."""
    remarks = []
    for each in chosen if any(each.own for each in chosen) else ():
        folder = f"lessons/{each.number}"
        if each.own and not any(name.startswith(f"{folder}/test_") for name in files):
            remarks.append(f"lesson {each.number} has no checks: there is no {folder}/test_*.py")
        if each.own and f"grader/answers/{each.number}.safetensors" not in files:
            remarks.append(
                f"lesson {each.number} has no recorded answers: `release DIR --whole`, then in DIR "
                f"`python -m grader record {each.number}`"
            )
    return remarks

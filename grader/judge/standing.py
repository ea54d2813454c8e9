"""How far the learner is in every lesson, from the notes of past runs and the files. No torch."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lessons.engine.errors import CourseError

from ..stubs import is_untouched
from ..syllabus import Lesson, find_lesson
from .paths import ROOT, file_of, shown
from .progress import Progress, hash_of
from .reading import place_of_step
from .report import in_order, next_line, score

CHECK = re.compile(r"^@check\(.*?^def (test_\w+)", re.MULTILINE | re.DOTALL)
BANK = ROOT / "grader" / "bank"  # not in what learners get
BLOCKED = re.compile(r"next: blocked by lesson (\d\d)")


class State(StrEnum):
    """How a lesson stands."""

    WITHOUT = "no checks yet"
    MISSING = "file missing"
    UNTOUCHED = "untouched"
    BEGUN = "begun"
    CHANGED = "changed since the last run"
    FINISHED = "finished"


@dataclass(frozen=True)
class Standing:
    """One lesson as the learner has left it."""

    lesson: Lesson
    state: State
    score: dict[str, int]  # see report.py
    results: list[dict[str, Any]]  # of the last run, by step
    own: list[str]  # the earlier lessons of which it used the learner's own modules
    whole: bool  # whether every check has been run on the file as it is now

    @property
    def core_done(self) -> bool:
        """Whether the last runs gave all core points."""
        return 0 < self.score["core_of"] == self.score["core"]


def read_standing(lesson: Lesson, progress: Progress) -> Standing:
    """Return how a lesson stands."""
    entry = progress.get(lesson.number, {"own": [], "checks": {}})
    names, file = check_names(lesson), file_of(lesson)
    now = hash_of(file)
    untouched = file.is_file() and is_untouched(file.read_text("utf-8", errors="replace"))
    known = {} if untouched else entry["checks"]
    results = [{"check": n, **known[n]} for n in names if known.get(n, {}).get("verdict")]
    fresh = [result for result in results if result["file"] == now]
    points = score(lesson, results)
    whole = len(fresh) == len(names)
    if not names or not lesson.points:
        state = State.WITHOUT
    elif not file.is_file():
        state = State.MISSING
    elif untouched:
        state = State.UNTOUCHED
    elif len(fresh) < len(results):
        state = State.CHANGED
    elif points["core"] == points["core_of"]:
        state = State.FINISHED
    else:
        state = State.BEGUN
    return Standing(lesson, state, points, in_order(lesson, results), entry["own"], whole)


def check_names(lesson: Lesson) -> list[str]:
    """Return the names of a lesson's checks without importing them (that would import torch)."""
    files = sorted((ROOT / "lessons" / lesson.number).glob("test_*.py"))
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in files]
    return [name for text in texts for name in CHECK.findall(text)]


def checked_lesson(number: str) -> Lesson:
    """Return a lesson that has checks. Raises CourseError for any other, before torch is needed."""
    lesson = find_lesson(number)
    if not check_names(lesson):
        raise CourseError(f"lesson {lesson.number} has no checks yet (lessons/{lesson.number})")
    return lesson


def next_step(standings: Sequence[Standing]) -> str:
    """Return what to do next, with the command to type.

    Goes on where the learner is: the first lesson that is begun and not finished, else the first
    one after the last that is finished.
    """
    judged = [s for s in standings if s.state is not State.WITHOUT]
    done = [place for place, s in enumerate(judged) if s.state is State.FINISHED]
    begun = [s for s in judged if s.state in (State.BEGUN, State.CHANGED)]
    after = judged[done[-1] + 1 :] if done else judged
    waiting = [s for s in after if s.state is not State.FINISHED]
    before = [s for s in judged if s.state is not State.FINISHED]
    for candidates in (begun, waiting, before):
        if candidates:
            return _do(candidates[0], [s.lesson for s in judged])
    if not judged:
        return "next: no lesson has checks yet"
    last = judged[-1].lesson.number
    hunt = f"; python -m grader hunt {last} turns the tables" if BANK.is_dir() else ""
    return f"everything that has checks is finished{hunt}"


def _do(standing: Standing, lessons: Sequence[Lesson]) -> str:
    lesson, command = standing.lesson, f"pytest lessons/{standing.lesson.number}"
    if standing.state is State.MISSING:
        file = shown(file_of(lesson))
        return f"next: {file} is not there; python -m grader reset {lesson.number} brings it back"
    if standing.state is State.UNTOUCHED:
        place = place_of_step(file_of(lesson), lesson.steps[0].name)
        return (
            f"next: lesson {lesson.number}, {lesson.title}: read lessons/{lesson.number}/README.md, "
            f"write {lesson.steps[0].name} ({place}), then type: {command}"
        )
    if not standing.whole:
        return f"next: lesson {lesson.number} has not been checked as it is now; type: {command}"
    line = next_line(lesson, standing.results, lessons)
    if blocked := BLOCKED.match(line):
        command = f"pytest lessons/{blocked[1]}"
    return f"{line}; then type: {command}"

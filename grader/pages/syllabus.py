"""Tables of the syllabus: all lessons, and the steps of one."""

from pathlib import Path

from ..judge.paths import ROOT
from ..syllabus import Lesson, find_lesson, read_syllabus
from .writing import link, table


def lessons(arguments: list[str], folder: Path) -> str:
    """Return one row per lesson: number, title, module, what is written, needs."""
    return table(
        ["lesson", "title", "module", "what you write", "stretch", "needs", "points"],
        [_row(lesson, folder) for lesson in read_syllabus()],
        right="points",
    )


def _row(lesson: Lesson, folder: Path) -> list[object]:
    names = {kind: [s.name for s in lesson.steps if s.kind == kind] for kind in ("core", "stretch")}
    return [
        lesson.number,
        link(lesson.title, ROOT / "site" / "lessons" / f"{lesson.number}.md", folder),
        f"`{lesson.module}`",
        *(", ".join(f"`{name}`" for name in names[kind]) for kind in ("core", "stretch")),
        needs(lesson),
        lesson.points,
    ]


def needs(lesson: Lesson) -> str:
    """Return the numbers of the lessons that this one needs; a long unbroken row is shortened."""
    if len(lesson.needs) > 5:
        return f"{lesson.needs[0]} to {lesson.needs[-1]}"
    return " ".join(lesson.needs) or "nothing"


def steps(arguments: list[str], folder: Path) -> str:
    """Return one row per step of a lesson. arguments: its number."""
    lesson = find_lesson(arguments[0])
    rows = [
        [f"`{step.name}`", step.kind, step.points, step.prediction or " "] for step in lesson.steps
    ]
    return table(["step", "kind", "points", "predict first"], rows, right="points")

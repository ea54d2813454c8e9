"""Finds the submissions of a class: in nbgrader's course folder, or in a folder of anything.

COURSE/submitted/ada/05/model.py        nbgrader's: a student, then an assignment
DIR/ada/model.py   DIR/ada.zip   DIR/ada.py   DIR/ada_05.zip      one thing per student
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lessons.engine.errors import CourseError

from ..syllabus import Lesson, find_lesson, read_syllabus
from .taking import take_submission

OURS = ("reports", "source", "release", "autograded", "feedback", "exchange", "submitted")


@dataclass(frozen=True)
class Submission:
    """What one student has handed in for one lesson."""

    student: str
    number: str  # of the lesson
    path: Path  # a file, a folder or a zip

    def report(self, reports: Path) -> Path:
        """Return where the report on it stands."""
        return reports / self.number / f"{self.student}.json"


def find_submissions(folder: Path, lessons: Sequence[Lesson] = ()) -> list[Submission]:
    """Return all submissions in a folder, by lesson and student.

    lessons: those to look for, by default all. Raises CourseError where there is nothing.
    """
    if not folder.is_dir():
        raise CourseError(
            f"{folder} is no folder; it should hold `submitted/`, or one entry a student"
        )
    nbgraders = folder / "submitted"
    if nbgraders.is_dir():
        found = _in_course(nbgraders, lessons or read_syllabus())
    elif len(lessons) == 1:
        found = [
            Submission(_student(entry, lessons[0]), lessons[0].number, entry)
            for entry in sorted(folder.iterdir())
            if not entry.name.startswith(".") and entry.name not in OURS and _can_be(entry)
        ]
    else:
        raise CourseError(
            f"{folder} holds no `submitted/` as nbgrader's course folder does; "
            "name the lesson that its entries are for: --lesson 05"
        )
    if not found:
        raise CourseError(f"no submissions in {folder}")
    _refuse_twins(found)
    return sorted(found, key=lambda one: (one.number, one.student))


def lessons_in(path: Path) -> list[Lesson]:
    """Return the lessons of which a submission holds the module. Raises CourseError for none."""
    if not path.exists() and not path.is_symlink():
        raise CourseError(f"no file or folder {path}")
    found = [lesson for lesson in read_syllabus() if not take_submission(path, lesson).refused]
    if not found:
        raise CourseError(
            f"{path.name} holds no lesson's module that can be taken; with --lesson 05 you get "
            "a report that says why"
        )
    return found


def _in_course(submitted: Path, lessons: Sequence[Lesson]) -> list[Submission]:
    wanted = {lesson.number for lesson in lessons}
    return [
        Submission(student.name, find_lesson(assignment.name).number, assignment)
        for student in submitted.iterdir()
        if student.is_dir() and not student.name.startswith(".")
        for assignment in student.iterdir()
        if assignment.is_dir() and assignment.name in wanted
    ]


def _can_be(entry: Path) -> bool:
    return entry.is_symlink() or entry.is_dir() or entry.suffix.lower() in (".py", ".zip", ".ipynb")


def _student(entry: Path, lesson: Lesson) -> str:
    """Return whose submission an entry is: its name, without the lesson's number or module."""
    name = entry.name if entry.is_dir() else entry.stem
    for ending in (lesson.number, lesson.module):
        name = name.removesuffix(f"_{ending}").removesuffix(f"-{ending}")
    return name


def _refuse_twins(found: Sequence[Submission]) -> None:
    """Refuse two submissions of one student: no rule could say which of them counts."""
    first: dict[tuple[str, str], Path] = {}
    for one in found:
        other = first.setdefault((one.number, one.student), one.path)
        if other != one.path:
            raise CourseError(
                f"{one.student} has handed in {other.name} and {one.path.name}: leave one of them"
            )

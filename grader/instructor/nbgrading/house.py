"""An nbgrader course folder: made from nothing, filled from the syllabus, and configured.

    COURSE/nbgrader_config.py    calls `configure`, below
    COURSE/gradebook.db          students, assignments, due dates
    COURSE/source/05/model.ipynb, model.py      written by `build`
    COURSE/rubrics/05.md         for graders; learners never get it

nbgrader reads the configuration at each of its commands, so nothing slow is imported up here.
"""

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lessons.engine.errors import CourseError
from lessons.engine.files import write_atomically

from ...judge.paths import ROOT
from ...syllabus import Lesson, read_syllabus
from ..course.course import FILE, Course, read_course
from ..course.roster import read_roster
from .written import STUB

HERE = "grader.instructor.nbgrading"
CONFIG = "nbgrader_config.py"
FOLDERS = ("source", "release", "submitted", "autograded", "feedback", "reports", "rubrics")
COURSE_ID = re.compile(r"[A-Za-z0-9][\w.-]*")
LINE_IN_CONFIG = re.compile(r"""^c\.CourseDirectory\.course_id = ["'](.*)["']""", re.MULTILINE)
KILOBYTES = 20_000  # of one file in a hand-in

CONFIG_TEXT = '''\
"""nbgrader's configuration for this course; what is not said here is as nbgrader has it."""

import sys
from pathlib import Path

sys.path.insert(0, {root!r})  # where the course's own code is
from grader.instructor.nbgrading.house import configure  # noqa: E402

c = get_config()  # noqa: F821
c.CourseDirectory.course_id = {course_id!r}
c.CourseDirectory.root = str(Path(__file__).resolve().parent)
c.Exchange.root = {exchange!r}
configure(c)
'''


def configure(config: Any) -> None:
    """Plug the course into nbgrader."""
    ours, nbgraders = f"{HERE}.preprocessing", "nbgrader.preprocessors"
    config.Autograde.exporter_class = f"{HERE}.handing_in.HandedIn"
    config.Autograde.pre_convert_hook = f"{HERE}.handing_in.before_grading"
    config.Autograde.sanitize_preprocessors = [
        f"{ours}.PutBackCells",
        *(f"{nbgraders}.{name}" for name in ("ClearOutput", "DeduplicateIds")),
        *(f"{nbgraders}.{name}" for name in ("OverwriteKernelspec", "OverwriteCells")),
        f"{nbgraders}.CheckCellMetadata",
    ]
    config.Autograde.autograde_preprocessors = [
        f"{ours}.JudgeSubmission",
        f"{ours}.RunOthers",
        *(f"{nbgraders}.{name}" for name in ("IgnorePattern", "LimitOutput", "SaveAutoGrades")),
        *(f"{nbgraders}.{name}" for name in ("AssignLatePenalties", "CheckCellMetadata")),
    ]
    config.Autograde.exclude_overwriting = {  # else the stub takes the submission's place
        lesson.number: [f"{lesson.module}.py"] for lesson in read_syllabus()
    }
    config.AssignLatePenalties.plugin_class = f"{HERE}.marks.LatePenalty"
    config.ExportApp.plugin_class = f"{HERE}.marks.MarksTable"
    config.GenerateFeedback.exporter_class = f"{HERE}.feedback.Feedback"
    config.GenerateFeedback.preprocessors = [
        f"{ours}.HideSamples",
        f"{HERE}.marks.RenewPenalty",
        f"{nbgraders}.GetGrades",
    ]
    config.ExchangeFactory.collect = f"{HERE}.handing_in.Collect"
    config.ClearSolutions.text_stub = STUB  # for questions that instructors add
    config.CourseDirectory.max_file_size = KILOBYTES


@dataclass(frozen=True)
class Made:
    """What `init` did, and what it had to leave out."""

    lines: list[str]
    troubles: list[str]


def make_course(
    folder: Path, roster: Path | None = None, exchange: Path | None = None, course_id: str = ""
) -> Made:
    """Make a course folder, or complete one; what is there already stays as it is."""
    course = read_course(folder / FILE)
    lines, troubles = list(course.remarks), []
    existing = course_id_of(folder)
    name = existing or course_id or re.sub(r"[^\w.-]+", "-", folder.resolve().name).strip("-._")
    if not COURSE_ID.fullmatch(name):
        raise CourseError(
            f"{name!r} cannot be a course's id; --id takes letters, digits, . _ and -"
        )
    for each in FOLDERS:
        (folder / each).mkdir(parents=True, exist_ok=True)
    (folder / "reports").chmod(0o700)  # the class's marks, and the secret seeds
    place = (exchange or folder / "exchange").resolve()
    if existing:
        lines.append(f"{folder / CONFIG} is there already and stays as it is")
    else:
        make_exchange(place)
        with write_atomically(folder / CONFIG) as file:
            file.write(
                CONFIG_TEXT.format(
                    root=str(ROOT),
                    course_id=name,
                    exchange=str(place),
                )
            )
        lines.append(f"{folder / CONFIG}: course {name!r}, exchange in {place}")
    people: list[dict[str, str]] = []
    if roster is None and (folder / "roster.csv").is_file():
        roster = folder / "roster.csv"
    if roster:
        people, troubles = read_roster(roster)
    with gradebook_of(folder, name) as gradebook:
        known = {student.id for student in gradebook.students}
        new = [person for person in people if person["id"] not in known]
        for person in new:
            details = {key: value for key, value in person.items() if key != "id" and value}
            gradebook.add_student(person["id"], **details)
        if roster:
            lines.append(f"{len(new)} students added, {len(people) - len(new)} were there already")
        lines += enter_dates(gradebook, course)
    return Made(lines, troubles)


def make_exchange(place: Path) -> None:
    """Make the folder through which work goes to and fro. Raises CourseError without the right to."""
    try:
        if not place.is_dir():
            place.mkdir(parents=True)
            place.chmod(0o777)  # nbgrader wants it so
        probe = place / ".may-i-write"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise CourseError(
            f"the exchange folder {place} cannot be used ({error.strerror}); choose another one with "
            "--exchange, or ask whoever runs the machine for the right to write there"
        ) from None


def course_id_of(folder: Path) -> str:
    """Return the id in a course folder's configuration; empty where there is none."""
    path = folder / CONFIG
    if not path.is_file():
        return ""
    found = LINE_IN_CONFIG.search(path.read_text(encoding="utf-8"))
    if not found:
        raise CourseError(
            f"{path} sets no c.CourseDirectory.course_id: write it in, or move the file away"
        )
    return found[1]


@contextlib.contextmanager
def gradebook_of(folder: Path, course_id: str) -> Iterator[Any]:
    """Open the gradebook. Raises CourseError where it cannot be had."""
    import sqlalchemy.exc
    from nbgrader.api import Gradebook

    path = (folder / "gradebook.db").resolve()
    programs = str(Path(sys.executable).parent)  # nbgrader calls alembic by its name
    if programs not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([programs, os.environ.get("PATH", "")])
    try:
        with Gradebook(f"sqlite:///{path}", course_id) as gradebook:
            yield gradebook
    except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.DatabaseError) as error:
        raise CourseError(
            f"the gradebook {path} cannot be used ({error.orig}); end whatever else has it open, and "
            "run the same command again"
        ) from None


def enter_dates(gradebook: Any, course: Course) -> list[str]:
    """Put assignments and due dates into the gradebook, as `course.toml` has them."""
    lines = []
    for each in course.lessons:
        if each.due is None:
            continue
        gradebook.update_or_create_assignment(each.number, duedate=each.due)
        lines.append(f"lesson {each.number} is due {each.due:%Y-%m-%d %H:%M %Z}")
    return lines


def build(folder: Path, numbers: Iterable[str] = ()) -> list[str]:
    """Write the source of assignments; the same bytes on every run. Returns what was written."""
    from ...judge.runner import load_checks
    from ...stub_store import stub_of
    from .cells import lesson_notebook, write_notebook
    from .written import as_page, read_written

    course_id = course_id_of(folder)
    if not course_id:
        raise CourseError(
            f"{folder} is no course folder yet: python -m grader nbgrader init {folder}"
        )
    course = read_course(folder / FILE)
    lines = []
    for each in chosen(course, list(numbers)):
        lesson = each.lesson
        questions = read_written(lesson, folder / "written")
        notebook = lesson_notebook(lesson, load_checks(lesson), questions, course_id, each.points)
        home = folder / "source" / lesson.number
        write_notebook(notebook, home / f"{lesson.module}.ipynb")
        with write_atomically(home / f"{lesson.module}.py") as file:
            file.write(stub_of(lesson))
        if questions:
            with write_atomically(folder / "rubrics" / f"{lesson.number}.md") as file:
                file.write(as_page(lesson, questions))
        written = sum(question.points for question in questions)
        lines.append(f"{home}: {each.points:g} points for checks, {written} for written answers")
    with gradebook_of(folder, course_id) as gradebook:
        enter_dates(gradebook, course)
    return lines


def chosen(course: Course, numbers: Sequence[str]) -> list[Any]:
    """Return the lessons to build: those named, or all that have checks here."""
    if numbers:
        taught = [course.lesson(number) for number in numbers]
        if own := next((each for each in taught if each.own), None):
            raise CourseError(
                f"lesson {own.number} is your own: `python -m grader release DIR --whole` writes a "
                "course in which it is one like the others; build it there"
            )
        return taught
    return [each for each in course.lessons if not each.own and _has_checks(each.lesson)]


def _has_checks(lesson: Lesson) -> bool:
    return any((ROOT / "lessons" / lesson.number).glob("test_*.py"))

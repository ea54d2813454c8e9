"""Deletes what a course folder knows of one learner: every place, and none of anybody else's.

What the learner has at home, what was sent to another system, and backups are out of reach; the
page on privacy says so.
"""

import csv
import io
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lessons.engine.errors import CourseError
from lessons.engine.files import write_atomically

from ..course.people import read_people
from ..course.roster import read_roster
from ..nbgrading.house import CONFIG, course_id_of, gradebook_of
from .pseudonyms import NAMES

OF_STUDENTS = ("submitted", "autograded", "feedback")  # nbgrader's: one folder a student in each
# Made of everybody's data; made anew without this person by the same command as before.
MADE = ("class", "class-pseudonyms", "marks-*.csv", "grades.csv")
EXCHANGE = re.compile(r"""^c\.Exchange\.root = ["'](.*)["']""", re.MULTILINE)


@dataclass(frozen=True)
class Traces:
    """What there is of somebody."""

    student: str
    paths: list[Path]  # files and folders to delete
    tables: list[Path]  # CSV files with a line on them
    in_gradebook: bool
    remarks: list[str]

    @property
    def any(self) -> bool:
        """Whether there is anything."""
        return bool(self.paths or self.tables or self.in_gradebook)


def traces_of(course: Path, student: str) -> Traces:
    """Return all that a course folder holds of a student. Raises CourseError."""
    if not course.is_dir():
        raise CourseError(f"no folder {course}; name the course folder")
    if not student or student in (".", "..") or re.search(r"[\\/*?\[\]\0]", student):
        raise CourseError(f"{student!r} is no student's id")
    personal = [course / room / student for room in OF_STUDENTS]
    personal += (course / "reports").glob(f"*/{student}.json")
    personal += in_exchange(course, student)
    paths = [path for path in personal if path.is_symlink() or path.exists()]
    tables = [path for path in (course / "roster.csv", course / NAMES) if student in ids_in(path)]
    in_gradebook = student in read_people(course).by_id and (course / "gradebook.db").is_file()
    if paths or tables or in_gradebook:
        paths += [path for pattern in MADE for path in sorted(course.glob(pattern))]
    overlay, remarks = course / "course.toml", []
    if overlay.is_file() and re.search(
        rf"(?<![\w.-]){re.escape(student)}(?![\w.-])", overlay.read_text(encoding="utf-8")
    ):
        remarks.append(f"{overlay} names {student} (an extension?): take that line out by hand")
    return Traces(student, sorted(paths), tables, in_gradebook, remarks)


def in_exchange(course: Path, student: str) -> Iterator[Path]:
    """Yield what lies in nbgrader's exchange: hand-ins, and feedback, whose names are hashes."""
    config = course / CONFIG
    found = EXCHANGE.search(config.read_text(encoding="utf-8")) if config.is_file() else None
    if not found:
        return
    home = Path(found[1]) / course_id_of(course)
    if (home / "inbound").is_dir():
        yield from (p for p in (home / "inbound").iterdir() if p.name.startswith(f"{student}+"))
    for secret in (course / "feedback" / student).glob("*/submission_secret.txt"):
        from nbgrader.utils import notebook_hash

        text = secret.read_text(encoding="utf-8")
        for page in secret.parent.glob("*.html"):
            name = notebook_hash(secret=text, notebook_id=page.stem)
            yield home / "feedback" / f"{name}.html"


def ids_in(table: Path) -> set[str]:
    """Return the ids in the roster or the list of pseudonyms."""
    return {row["id"] for row in read_roster(table)[0]} if table.is_file() else set()


def forget(course: Path, traces: Traces) -> None:
    """Delete them. What is deleted first is least: stopped in the middle, it can be run again."""
    if traces.in_gradebook:
        with gradebook_of(course, course_id_of(course)) as gradebook:
            if traces.student in {student.id for student in gradebook.students}:
                gradebook.remove_student(traces.student)
    for table in traces.tables:
        without_line(table, traces.student)
    for path in traces.paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def without_line(table: Path, student: str) -> None:
    """Write a table anew without the line of one student; the others stay as they are."""
    text = table.read_bytes().decode("utf-8-sig")
    kept = []
    for line in text.splitlines(keepends=True):
        cells = next(csv.reader(io.StringIO(line), delimiter=max(",;\t", key=line.count)), [])
        if student not in [cell.strip() for cell in cells]:
            kept.append(line)
    mode = table.stat().st_mode
    with write_atomically(table) as file:
        file.write("".join(kept))
    table.chmod(mode & 0o777)

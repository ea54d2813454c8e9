"""Marks for Canvas and Moodle: tables that their gradebooks import.

Canvas' Instructor Guide, "How do I import grades in the Gradebook?" (https://community.canvaslms.com),
and, for what it leaves open, the importer itself (lib/gradebook_importer.rb of
https://github.com/instructure/canvas-lms): the first columns are `Student`, `ID`, `SIS User ID`, `SIS Login ID`, `Section`, in that
order; a second line, `Points Possible`, has the maximum of every assignment; a student is found by ID,
else by SIS id, by login, and last by name; an empty cell would take away a mark that is there, so
there is one table per assignment, of those who have a mark in it.

Moodle, https://docs.moodle.org/en/Grade_import: one column that identifies the person (ID number,
username or email, chosen on import), one column per grade item; `-` leaves a grade as it is.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lessons.engine.errors import CourseError

from ..course.looking import rows_of
from ..course.people import Person, read_people
from ..nbgrading.house import course_id_of, gradebook_of
from ..reports.class_pages import plain_cell
from ..reports.pages import lesson_title
from ..reports.reports import Unread, read_reports

CANVAS, MOODLE, PLAIN = "canvas", "moodle", "plain"
HOUSES = (CANVAS, MOODLE, PLAIN)


@dataclass(frozen=True)
class Mark:
    """What somebody has in one assignment."""

    score: float  # after lateness
    late: float = 0.0  # what lateness has taken
    waits: bool = False  # for somebody to mark a written answer


@dataclass(frozen=True)
class Marks:
    """All marks of a course."""

    people: dict[str, Person]
    most: dict[str, float]  # assignment -> points to be had
    by_cell: dict[tuple[str, str], Mark]  # (student, assignment) -> mark
    remarks: list[str]

    def of(self, student: str, assignment: str) -> Mark | None:
        """Return a mark; None for who has handed in nothing that was graded."""
        return self.by_cell.get((student, assignment))


def read_marks(course: Path) -> Marks:
    """Return the marks of a course folder: nbgrader's, or where it has graded nothing, the reports'.

    Raises CourseError where there are neither.
    """
    if not course.is_dir():
        raise CourseError(f"no folder {course}; name the course folder")
    if _has_graded(course / "gradebook.db"):
        return _from_gradebook(course)
    return _from_reports(course)


def _has_graded(path: Path) -> bool:
    """Say whether nbgrader has graded something."""
    return bool(rows_of(path, "select 1 from submitted_assignment limit 1"))


def _from_gradebook(course: Path) -> Marks:
    from ..course.course import FILE, read_course
    from ..nbgrading.marks import renew_penalties, taught

    overlay = read_course(course / FILE) if (course / FILE).is_file() else None
    most: dict[str, float] = {}
    marks: dict[tuple[str, str], Mark] = {}
    with gradebook_of(course, course_id_of(course)) as gradebook:
        for assignment in gradebook.assignments:
            most[assignment.name] = assignment.max_score
            for submission in assignment.submissions:
                renew_penalties(submission, taught(overlay, assignment.name))
                late = sum(each.late_submission_penalty or 0.0 for each in submission.notebooks)
                score = max(0.0, submission.score - late)
                cell = (submission.student_id, assignment.name)
                marks[cell] = Mark(score, late, bool(submission.needs_manual_grade))
        gradebook.db.rollback()  # nothing is changed here
    people = read_people(course, [student for student, _ in marks])
    remarks = list(people.troubles)
    for name in most:
        waiting = sum(mark.waits for (_, other), mark in marks.items() if other == name)
        if waiting:
            remarks.append(f"{name}: {waiting} still wait for a mark by hand; theirs are not final")
    return Marks(people.by_id, most, marks, remarks)


def _from_reports(course: Path) -> Marks:
    most: dict[str, float] = {}
    marks: dict[tuple[str, str], Mark] = {}
    remarks = []
    for report in read_reports(course):
        if isinstance(report, Unread):
            remarks.append(report.sentence)
            continue
        most[report["lesson"]] = report["of"]
        marks[report["student"], report["lesson"]] = Mark(report["points"])
    if not marks:
        raise CourseError(
            f"no marks in {course}: `python -m grader grade-all {course}` or nbgrader's autograde"
        )
    people = read_people(course, [student for student, _ in marks])
    remarks.append(
        "from the reports: points of the checks alone, without written answers and late rules"
    )
    return Marks(people.by_id, most, marks, [*people.troubles, *remarks])


def table_for(house: str, marks: Marks, assignments: Sequence[str] = ()) -> str:
    """Return the marks as CSV in the form that a house imports. assignments: by default all."""
    unknown = [name for name in assignments if name not in marks.most]
    if unknown:
        raise CourseError(f"no marks for {unknown[0]}; there are: {', '.join(sorted(marks.most))}")
    names = sorted(assignments or marks.most)
    rows = {CANVAS: canvas_rows, MOODLE: moodle_rows, PLAIN: plain_rows}[house](marks, names)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([plain_cell(cell) for cell in row] for row in rows)
    return text.getvalue()


def number(value: float) -> str:
    """Return a mark as both houses read it: a point, no more than two places."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def canvas_rows(marks: Marks, names: Sequence[str]) -> Iterable[Sequence[str]]:
    """Yield Canvas' rows, of the people who have a mark in every one of the assignments."""
    titles = [lesson_title(name) for name in names]
    yield ("Student", "ID", "SIS User ID", "SIS Login ID", "Section", *titles)
    yield ("    Points Possible", "", "", "", "", *(number(marks.most[name]) for name in names))
    for person in marks.people.values():
        cells = [marks.of(person.id, name) for name in names]
        if all(cells):
            whole = f"{person.last_name}, {person.first_name}".strip(", ") or person.id
            scores = [number(cell.score) for cell in cells if cell]
            yield (whole, person.lms_user_id, "", person.id, "", *scores)


def moodle_rows(marks: Marks, names: Sequence[str]) -> Iterable[Sequence[str]]:
    """Yield Moodle's rows; who has no mark keeps what they have."""
    yield ("username", "idnumber", "email", *map(lesson_title, names))
    for person in marks.people.values():
        cells = [marks.of(person.id, name) for name in names]
        if any(cells):
            scores = [number(cell.score) if cell else "-" for cell in cells]
            yield (person.id, person.lms_user_id, person.email, *scores)


def plain_rows(marks: Marks, names: Sequence[str]) -> Iterable[Sequence[str]]:
    """Yield one row per person and assignment, for a spreadsheet."""
    yield (
        "student",
        "last_name",
        "first_name",
        "email",
        "assignment",
        "score",
        "of",
        "late",
        "final",
    )
    for person in marks.people.values():
        for name in names:
            cell = marks.of(person.id, name)
            who = (person.id, person.last_name, person.first_name, person.email)
            score = number(cell.score) if cell else ""
            late = number(cell.late) if cell else ""
            final = "" if cell is None else "no" if cell.waits else "yes"
            yield (*who, name, score, number(marks.most[name]), late, final)

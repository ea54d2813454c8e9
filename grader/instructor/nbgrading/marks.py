"""What lateness takes from a mark, and the marks as a table. Plugged into nbgrader by its config.

nbgrader works a penalty out when it grades, before anybody has marked the written answers. So it
is worked out again with the whole score when feedback and tables are made.
"""

import csv
import datetime as dt
from pathlib import Path
from typing import Any

from nbgrader.api import Gradebook, MissingEntry
from nbgrader.plugins import BasePlugin, CsvExportPlugin
from nbgrader.preprocessors import NbGraderPreprocessor

from lessons.engine.errors import CourseError

from ..course.course import FILE, Course, CourseLesson, read_course

COLUMNS = (
    *("assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email"),
    *("raw_score", "late_submission_penalty", "score", "max_score"),
)
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what spreadsheets take for a formula


def course_of(root: str) -> Course | None:
    """Return the course that an instructor has described in `course.toml`; None without one."""
    path = Path(root) / FILE
    return read_course(path) if path.is_file() else None


def taught(course: Course | None, number: str) -> CourseLesson | None:
    """Return a lesson of a course, if it has such a one."""
    try:
        return course.lesson(number) if course else None
    except CourseError:
        return None


def penalty(submission: Any, score: float, lesson: CourseLesson | None) -> float | None:
    """Return what lateness takes from a score. submission: the gradebook's, with any extension.

    None: `course.toml` says nothing of it, so nobody loses anything.
    """
    if lesson is None or submission.timestamp is None or submission.duedate is None:
        return None
    if not submission.total_seconds_late:
        return None
    handed_in, due = (  # the gradebook holds UTC without saying so
        moment.replace(tzinfo=dt.UTC).astimezone(lesson.zone)
        for moment in (submission.timestamp, submission.duedate)
    )
    return score * (1 - lesson.late.factor(handed_in, due))


class LatePenalty(BasePlugin):
    """The late rule of `course.toml`."""

    def late_submission_penalty(self, student_id: str, score: float, late: float) -> float | None:
        """Return what a late submission loses."""
        grading = self.parent
        submission = grading.gradebook.find_submission(grading.assignment_id, student_id)
        course = grading.parent.parent.coursedir
        return penalty(submission, score, taught(course_of(course.root), grading.assignment_id))


def renew_penalties(submission: Any, lesson: CourseLesson | None) -> None:
    """Work the penalty out again, from the scores as they are now."""
    for notebook in submission.notebooks if lesson else []:
        late = penalty(submission, notebook.score, lesson)
        notebook.late_submission_penalty = late


class RenewPenalty(NbGraderPreprocessor):
    """Before feedback is made: the penalty for the marks as they are now."""

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        """Put it into the gradebook; the notebook stays as it is."""
        about, course = resources["nbgrader"], self.parent.parent.coursedir
        lesson = taught(course_of(course.root), about["assignment"])
        with Gradebook(about["db_url"], course.course_id) as gradebook:
            submission = gradebook.find_submission(about["assignment"], about["student"])
            renew_penalties(submission, lesson)
            gradebook.db.commit()
        return nb, resources


class MarksTable(CsvExportPlugin):
    """nbgrader's table of marks, with commas and quotes in names put right."""

    def export(self, gradebook: Any) -> None:
        """Write the table."""
        dest = self.to or "grades.csv"
        students, assignments = map(str, self.student), [str(each) for each in self.assignment]
        wanted = set(students)
        course = course_of(self.parent.coursedir.root)
        with open(dest, "w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(COLUMNS)
            for assignment in gradebook.assignments:
                if assignments and assignment.name not in assignments:
                    continue
                for student in gradebook.students:
                    if not wanted or student.id in wanted:
                        row = self.row(gradebook, assignment, student, course)
                        table.writerow([safe(value) for value in row])
        gradebook.db.commit()
        self.log.info("Marks written to %s", dest)

    def row(self, gradebook: Any, assignment: Any, student: Any, course: Any) -> list[Any]:
        """Return one student's line; who has handed in nothing has 0."""
        about = [student.id, student.last_name, student.first_name, student.email]
        try:
            submission = gradebook.find_submission(assignment.name, student.id)
        except MissingEntry:
            scores = ["", *about, 0.0, 0.0, 0.0, assignment.max_score]
            return [assignment.name, assignment.duedate, *scores]
        renew_penalties(submission, taught(course, assignment.name))
        gradebook.db.flush()
        score = submission.score
        late = sum(notebook.late_submission_penalty or 0.0 for notebook in submission.notebooks)
        marks = [score, late, max(0.0, score - late), assignment.max_score]
        return [assignment.name, assignment.duedate, submission.timestamp, *about, *marks]


def safe(value: Any) -> Any:
    """Return a value that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    if isinstance(value, float):
        return round(value, 6)
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA) else text

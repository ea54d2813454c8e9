"""Judges again after a check was corrected, and says which marks that changes.

A report carries the version of its checks. What was judged by an older one is judged anew, on the
same seed, so that nothing but the correction can change a mark. Marks given by hand stand in
nbgrader's gradebook, which this does not touch.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lessons.engine.errors import CourseError
from lessons.engine.files import read_json, write_atomically

from ..judge.backends import Backend
from ..syllabus import find_lesson
from .exam import Exam, version_of
from .submissions import Submission
from .supervisor import judge, write_report

COLUMNS = ("lesson", "student", "old", "new", "of", "old_version", "new_version", "checks")
BEFORE = "before"  # beside the reports: those that a correction has replaced


@dataclass(frozen=True)
class Regraded:
    """One submission, with its report before and after."""

    submission: Submission
    old: dict[str, Any]
    new: dict[str, Any]

    @property
    def changed(self) -> bool:
        """Whether the mark is another one."""
        return self.old["points"] != self.new["points"]

    def checks(self) -> list[str]:
        """Return what changed: "test_x: failed, now passed"."""
        before = {result["check"]: result["verdict"] for result in self.old["checks"]}
        return [
            f"{result['check']}: {before.get(result['check'], 'not there')}, now {result['verdict']}"
            for result in self.new["checks"]
            if before.get(result["check"]) != result["verdict"]
        ]


def regrade(
    submissions: Sequence[Submission], reports: Path, backend: Backend, dry: bool = False
) -> Iterator[Regraded]:
    """Judge what was judged by older checks; yields every one, changed or not.

    dry: write nothing. Submissions without a report are left to `grade-all`.
    """
    exams: dict[tuple[str, int], Exam] = {}
    for one in submissions:
        old = _report(one, reports)
        lesson = find_lesson(one.number)
        if old is None or old["version"] == version_of(lesson):
            continue
        key = (one.number, old["seed"])
        exam = exams.setdefault(key, Exam(lesson, old["seed"]))
        new = judge(one.path, exam, backend, one.student)
        if not dry:
            kept = reports / one.number / BEFORE / f"{one.student}.{old['version']}.json"
            write_report(old, kept)
            write_report(new, one.report(reports))
        yield Regraded(one, old, new)


def _report(one: Submission, reports: Path) -> dict[str, Any] | None:
    path = one.report(reports)
    if not path.is_file():
        return None
    report = read_json(path)
    if not isinstance(report, dict) or not report.keys() >= {"version", "seed", "points", "checks"}:
        raise CourseError(f"{path} is no report of ours; `grade-all` makes it anew")
    return report


def write_changes(every: Sequence[Regraded], path: Path) -> None:
    """Write the changed marks as CSV."""
    with write_atomically(path) as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for one in every:
            old, new = one.old, one.new
            rows.writerow(
                [
                    *(one.submission.number, one.submission.student),
                    *(old["points"], new["points"], new["of"]),
                    *(old["version"], new["version"], "; ".join(one.checks())),
                ]
            )

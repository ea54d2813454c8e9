"""Judges what lies in a learner's repository, on the public seed, and tells GitHub.

    COURSE_SUBMISSION=. COURSE_RESULTS=. python -m grader.instructor.houses.actions_run 05

Written into COURSE_RESULTS: report.json, report.html, junit.xml; for Classroom 50 also result.json and
release-body.md. Into GitHub's files, where they are: the step's output `result`, and the summary.
"""

import os
import sys
from pathlib import Path

from lessons.engine.errors import run_command
from lessons.engine.files import write_atomically

from ...judge.answers import PUBLIC_SEED
from ...judge.backends import InAChild
from ...judge.paths import ROOT, needed_lessons
from ...syllabus import Lesson, find_lesson, read_syllabus
from ..reports.reports import Report, json_of, junit_of
from ..sandbox import InASandbox, sandbox_or_reason
from ..supervisor import judge_submission
from ..taking import take_submission
from .actions import classroom50_result, classroom_result, summary_of


def main() -> int:
    """Judge and write. A submission that fails is no failure of this program."""
    import torch

    torch.set_num_threads(1)
    lesson = find_lesson(sys.argv[1])
    submission = Path(os.environ.get("COURSE_SUBMISSION", "."))
    take_earlier(submission, lesson)
    backend = sandbox_or_reason()
    if not isinstance(backend, InASandbox):
        print(f"NOT ISOLATED: {backend}")
        backend = InAChild()
    try:
        report = judge_submission(submission, lesson, backend, PUBLIC_SEED)
    finally:
        backend.stop()
    write_results(report, Path(os.environ.get("COURSE_RESULTS", ".")))
    print(f"lesson {lesson.number}: {report['points']} of {report['of']} points")
    return 0


def take_earlier(submission: Path, lesson: Lesson) -> None:
    """Take the learner's own earlier modules, where the kit holds no reference of them."""
    for other in needed_lessons(lesson, read_syllabus()):
        name = f"{other.module}.py"
        if (ROOT / "solutions" / name).is_file():
            continue
        taken = take_submission(submission, other)
        home = ROOT / "lessons" / other.number
        if taken.source is not None:
            home.mkdir(parents=True, exist_ok=True)
            (home / name).write_bytes(taken.source)
        else:
            print(f"lesson {lesson.number} needs lesson {other.number}: {taken.refused}")


def write_results(report: Report, folder: Path) -> None:
    """Write every form that somebody here may want."""
    texts = {"report.json": json_of(report), "junit.xml": junit_of(report)}
    if "SUBMISSION_TAG" in os.environ:
        texts["result.json"] = json_of(classroom50_result(report, os.environ))
        texts["release-body.md"] = summary_of(report)
    for name, text in texts.items():
        with write_atomically(folder / name) as file:
            file.write(text)
    for variable, text in (
        ("GITHUB_OUTPUT", f"result={classroom_result(report)}\npoints={report['points']}\n"),
        ("GITHUB_STEP_SUMMARY", summary_of(report)),
    ):
        if path := os.environ.get(variable):
            with open(path, "a", encoding="utf-8") as file:
                file.write(text)


if __name__ == "__main__":
    sys.exit(run_command(main))

"""Judge a whole class: nbgrader's course folder, or a folder with one file, folder or zip a student.

Run it again after an interruption: what is judged already stays as it is.
"""

import argparse
import sys
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("folder", type=Path, help="the course folder, or the submissions")
    parser.add_argument(
        "--lesson", metavar="NN", action="append", default=[], help="only this one; may be repeated"
    )
    parser.add_argument("--jobs", type=int, default=0, help="side by side (default: one a core)")
    parser.add_argument(
        "--out", type=Path, help="the folder for the reports (default: reports/ in the course)"
    )
    parser.add_argument("--again", action="store_true", help="judge also what is judged already")
    parser.add_argument(
        "--not-isolated",
        action="store_true",
        help="where there is no sandbox: run them as they are",
    )


def run(options: argparse.Namespace) -> int:
    """Judge every submission, say what came of each, and sum up."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from grader.instructor.workers import begin_importing

    begin_importing()
    from grader.instructor.grading import grade_class
    from grader.instructor.submissions import find_submissions
    from grader.syllabus import find_lesson

    lessons = [find_lesson(number) for number in options.lesson]
    submissions = find_submissions(options.folder, lessons)
    reports = options.out or options.folder / "reports"
    every = []
    graded = grade_class(
        submissions, reports, options.jobs, not options.not_isolated, options.again
    )
    console = Console(highlight=False, soft_wrap=True)
    with Progress(
        *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()),
        TimeRemainingColumn(),
        console=console,
        disable=not sys.stdout.isatty(),
    ) as bar:
        task = bar.add_task("grading", total=len(submissions))
        for one in graded:
            every.append(one)
            bar.advance(task)
            if not one.again:
                console.print(line_of(one.report), markup=False)
    before = sum(one.again for one in every)
    refused = sum(bool(one.report["submission"]["refused"]) for one in every)
    print(
        f"{len(every)} submissions graded"
        + (f", {before} of them in an earlier run" if before else "")
        + (
            f"; {refused} could not be taken (0 points, the reason stands in the report)"
            if refused
            else ""
        )
    )
    if not all(one.report["isolated"] for one in every):
        print("NOT ISOLATED: these programs could do anything on this machine")
    print(f"reports: {reports}; `python -m grader class {options.folder}` sums them up")
    return 0


def line_of(report: dict[str, Any]) -> str:
    """Return "05  ada  12/20" and, where there is one, why a submission could not be taken."""
    reason = report["submission"]["refused"]
    points = f"{report['lesson']}  {report['student']}  {report['points']}/{report['of']}"
    return f"{points}  {reason}" if reason else points

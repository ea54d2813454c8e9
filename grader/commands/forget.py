"""Delete what a course folder holds of one learner; without --yes it only lists it."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("course", type=Path, metavar="COURSE_DIR", help="nbgrader's course folder")
    parser.add_argument("student", metavar="STUDENT", help="the learner's id")
    parser.add_argument("--yes", action="store_true", help="delete it; there is no way back")


def run(options: argparse.Namespace) -> int:
    """List, and delete where that was said."""
    from grader.instructor.reports.forgetting import forget, traces_of

    traces = traces_of(options.course, options.student)
    if not traces.any:
        print(f"{options.course} holds nothing of {options.student}")
    for path in traces.paths:
        print(path)
    for table in traces.tables:
        print(f"{table}: the line of {options.student}")
    if traces.in_gradebook:
        print(f"{options.course / 'gradebook.db'}: {options.student}, with all marks")
    for remark in traces.remarks:
        print(remark)
    if traces.any and options.yes:
        forget(options.course, traces)
        print("deleted. Tables and pages of the whole class went too: make them anew.")
    elif traces.any:
        print("nothing is deleted yet: the same command with --yes does it")
    return 0

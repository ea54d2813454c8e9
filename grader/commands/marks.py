"""Write the marks of a course as a table that Canvas or Moodle imports."""

import argparse
import sys
from pathlib import Path

from lessons.engine.files import write_atomically


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("course", type=Path, metavar="COURSE_DIR", help="nbgrader's course folder")
    parser.add_argument(
        "--for", dest="house", choices=("canvas", "moodle", "plain"), default="plain"
    )
    parser.add_argument(
        "--lesson", action="append", default=[], metavar="NN", help="only this one; may be repeated"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: the course folder")


def run(options: argparse.Namespace) -> int:
    """Write the tables: one for all lessons, for Canvas one per lesson."""
    from grader.instructor.houses.lms import CANVAS, read_marks, table_for

    marks = read_marks(options.course)
    names = options.lesson or sorted(marks.most)
    tables = [(f"-{name}", [name]) for name in names] if options.house == CANVAS else [("", names)]
    for ending, chosen in tables:
        text = table_for(options.house, marks, chosen)
        out = (options.out or options.course) / f"marks-{options.house}{ending}.csv"
        with write_atomically(out) as file:
            file.write(text)
        out.chmod(0o600)
        print(f"written: {out}")
    for remark in marks.remarks:
        print(remark, file=sys.stderr)
    return 0

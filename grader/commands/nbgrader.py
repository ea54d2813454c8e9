"""nbgrader: make a course folder (init), and write the assignments from the syllabus (build).

Everything else is nbgrader's own: generate_assignment, release_assignment, collect, autograde, ...
"""

import argparse
import sys
from pathlib import Path

from lessons.engine.errors import CourseError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the two commands."""
    commands = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    init = commands.add_parser("init", help="make a course folder; what is there stays as it is")
    init.add_argument("folder", type=Path, metavar="COURSE_DIR")
    init.add_argument(
        "--roster",
        type=Path,
        metavar="CSV",
        help="id,first_name,last_name,email,lms_user_id; default: roster.csv in the course folder",
    )
    init.add_argument("--exchange", type=Path, metavar="DIR", help="default: COURSE_DIR/exchange")
    init.add_argument("--id", default="", help="the course's id; default: the folder's name")
    build = commands.add_parser("build", help="write source/NN from the syllabus")
    build.add_argument("folder", type=Path, metavar="COURSE_DIR")
    build.add_argument("lessons", nargs="*", metavar="NN", help="default: all of the course")


def run(options: argparse.Namespace) -> int:
    """Make or fill the course folder."""
    from grader.instructor.nbgrading.house import build, make_course

    if options.folder.exists() and not options.folder.is_dir():
        raise CourseError(f"{options.folder} is a file; name a folder")
    if options.what == "build":
        print("\n".join(build(options.folder, options.lessons)))
        return 0
    made = make_course(options.folder, options.roster, options.exchange, options.id)
    print("\n".join(made.lines))
    for trouble in made.troubles:
        print(trouble, file=sys.stderr)
    print(f"next: python -m grader nbgrader build {options.folder}")
    return 1 if made.troubles else 0

"""Walk the learner's way in a copy of the course: nothing written, everything written, each way.

For the maintainer and for CI on machines of other kinds. The course itself stays as it is.
"""

import argparse

BROKEN = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("lessons", nargs="*", metavar="NN", help="lessons; by default all")


def run(options: argparse.Namespace) -> int:
    """Walk, print a line per stage, and say what went wrong."""
    import tempfile
    from pathlib import Path

    from grader.audit.walking import copy_course, stages
    from grader.syllabus import find_lesson, read_syllabus

    every = [lesson for lesson in read_syllabus() if lesson.points]
    chosen = [find_lesson(number) for number in options.lessons] or every
    broken = 0
    with tempfile.TemporaryDirectory(prefix="course-walk-") as folder:
        course = copy_course(Path(folder) / "course")
        for name, complaints in stages(course, chosen):
            print(f"{name}: {'as it should be' if not complaints else ''}", flush=True)
            for complaint in complaints:
                print(f"  {complaint}")
            broken += len(complaints)
    return BROKEN if broken else 0

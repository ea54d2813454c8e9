"""Walk the learner's way in a copy of the course: nothing written, everything written, each way.

For the maintainer and for CI on machines of other kinds. The course itself stays as it is.
"""

import argparse

BROKEN = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "lessons",
        nargs="*",
        metavar="NN",
        help="lessons, and with them what they need; by default all",
    )


def run(options: argparse.Namespace) -> int:
    """Walk, print a line per stage, and say what went wrong."""
    import tempfile
    from pathlib import Path

    from grader.audit.walking import copy_course, stages
    from grader.judge.paths import needed_lessons
    from grader.syllabus import find_lesson, read_syllabus

    every = [lesson for lesson in read_syllabus() if lesson.points]
    chosen = [find_lesson(number) for number in options.lessons] or every
    needed = [other for lesson in chosen for other in needed_lessons(lesson, every)]
    if more := {lesson.number for lesson in needed if lesson not in chosen}:
        print(f"walked as well, since they are needed: {' '.join(sorted(more))}", flush=True)
    chosen = [lesson for lesson in every if lesson in chosen or lesson in needed]
    broken = 0
    with tempfile.TemporaryDirectory(prefix="course-walk-") as folder:
        course = copy_course(Path(folder) / "course")
        for name, complaints in stages(course, chosen):
            print(f"{name}: {'as it should be' if not complaints else ''}", flush=True)
            for complaint in complaints:
                print(f"  {complaint}")
            broken += len(complaints)
    return BROKEN if broken else 0

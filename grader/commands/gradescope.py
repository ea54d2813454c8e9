"""Write the autograder of a lesson for Gradescope: one zip to upload."""

import argparse
from pathlib import Path

from lessons.engine.files import write_atomically


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("lesson", metavar="NN", help="the lesson")
    parser.add_argument("--out", type=Path, metavar="ZIP", help="default: gradescope-NN.zip")


def run(options: argparse.Namespace) -> int:
    """Write the zip."""
    from grader.instructor.houses.gradescope import autograder_zip
    from grader.syllabus import find_lesson

    lesson = find_lesson(options.lesson)
    content = autograder_zip(lesson)
    out = options.out or Path(f"gradescope-{lesson.number}.zip")
    with write_atomically(out, "wb") as file:
        file.write(content)
    print(f"written: {out} ({len(content) / 1e6:.1f} MB)")
    print(
        f"It holds the solutions and hidden checks of lesson {lesson.number}: upload it under "
        "Configure Autograder, and show it to nobody."
    )
    print(f"Set the assignment to {lesson.points} autograder points.")
    return 0

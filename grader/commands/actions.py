"""Write what judges a lesson in GitHub Actions: Classroom 50, GitHub Classroom, or plain workflows."""

import argparse
from pathlib import Path

from lessons.engine.errors import CourseError
from lessons.engine.files import write_atomically

HOUSES = ("classroom50", "classroom", "plain", "spread")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("lesson", metavar="NN", help="the lesson")
    parser.add_argument(
        "--for", dest="house", choices=HOUSES, default="plain", help="where it is to run"
    )
    parser.add_argument(
        "--references",
        default="",
        metavar="NN,NN",
        help="earlier solutions that learners have anyway",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: actions-NN")


def run(options: argparse.Namespace) -> int:
    """Write the files."""
    from grader.instructor.houses.actions import kit
    from grader.syllabus import find_lesson

    lesson = find_lesson(options.lesson)
    references = [find_lesson(n).number for n in options.references.split(",") if n.strip()]
    out = options.out or Path(f"actions-{lesson.number}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CourseError(f"{out} is there already; name an empty folder with --out")
    files = kit(lesson, options.house, references)
    for name, content in files.items():
        with write_atomically(out / name, "wb") as file:
            file.write(content)
    print(f"written: {out} ({len(files)} files, {sum(map(len, files.values())) / 1e6:.1f} MB)")
    for name in files:
        if name.endswith(".yml") or "/" not in name:
            print(f"how it is used stands at the head of {out / name}")
    return 0

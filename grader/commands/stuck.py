"""Write one text file that you can show to a person: what fails, and your code. Nothing is sent.

It holds no solution, no user name, no path of yours. It is shown before it is written.
"""

import argparse
import datetime
import platform
import sys

from grader.judge.paths import ROOT, file_of, shown
from grader.judge.standing import checked_lesson
from grader.syllabus import Lesson
from lessons.engine.errors import CourseError
from lessons.engine.files import write_atomically

VERSIONS = ("torch", "numpy", "pytest")
LONGEST = 100_000  # characters of code; a module of the course has a tenth of it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("lesson", metavar="NN", help="the lesson")
    parser.add_argument("--yes", action="store_true", help="write the file without asking")
    parser.add_argument(
        "--mine", action="store_true", help="use your own earlier lessons, not the reference"
    )


def run(options: argparse.Namespace) -> int:
    """Show the text, ask, write it."""
    lesson = checked_lesson(options.lesson)
    from grader.anonymous import anonymous

    text = anonymous(report(lesson, options.mine), ordinary=ordinary_words(lesson))
    print(text, flush=True)
    if not options.yes and not (sys.stdin.isatty() and sys.stdout.isatty()):
        tell("nothing was written: nobody can be asked here; --yes writes the file")
        return 0
    if not options.yes and not confirmed():
        tell("nothing was written")
        return 0
    day = datetime.date.today().isoformat()
    file = ROOT / ".course" / f"stuck-{lesson.number}-{day}.txt"
    try:
        with write_atomically(file) as opened:
            opened.write(text)
    except OSError as error:
        raise CourseError(f"{shown(file)} could not be written ({error.strerror})") from None
    tell(f"written: {shown(file)}. It goes nowhere by itself; give it to whom you like.")
    return 0


def report(lesson: Lesson, mine: bool) -> str:
    """Return what somebody needs to know who is to help."""
    from grader.judge.progress import failures_before, hints_given
    from grader.judge.report import failure_block, points_line
    from grader.judge.runner import load_checks
    from grader.judge.session import Session, as_dicts
    from grader.machine import version_of

    with Session(mine=mine) as session:
        found, passed = session.first_open(lesson, load_checks(lesson, mine=mine))
    versions = ", ".join(f"{name} {version_of(name)}" for name in VERSIONS)
    lines = [
        f"Stuck in lesson {lesson.number}, {lesson.title}",
        f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {versions}",
        "",
    ]
    if found is None:
        lines += [points_line(lesson, as_dicts(passed)), "Every check passes."]
    else:
        failures = failures_before(lesson, found.check)
        lines += [
            f"{len(passed)} checks pass before this one: {found.check}",
            f"runs in which it failed so far: {failures}; hints taken: {hints_given(lesson, found.check)}",
            "",
            failure_block(found.as_dict(), lesson, failures + 1),
        ]
    return "\n".join([*lines, "", f"--- {shown(file_of(lesson))}", "", code(lesson), ""])


def ordinary_words(lesson: Lesson) -> str:
    """Return the words of the course and of torch, which name nobody."""
    import torch

    from grader.stub_store import stub_of

    places = (torch, torch.Tensor, torch.nn, torch.nn.functional)
    return " ".join([stub_of(lesson), *(name for place in places for name in dir(place))])


def code(lesson: Lesson) -> str:
    """Return the learner's module, or why it is not here."""
    try:
        text = file_of(lesson).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"(could not be read: {error.strerror})"
    left_out = len(text) - LONGEST
    return text[:LONGEST] + (f"\n({left_out:,} characters more)" if left_out > 0 else "")


def confirmed() -> bool:
    """Ask whether the file is to be written."""
    try:
        return input("write this to a file in .course/? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def tell(sentence: str) -> None:
    """Say something beside the text, which alone goes to standard output."""
    print(sentence, file=sys.stderr, flush=True)

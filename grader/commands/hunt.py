"""After a lesson: write an assertion that rejects wrong versions of it and accepts right ones."""

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from grader.judge.paths import ROOT, shown
from grader.judge.progress import read_progress
from grader.judge.standing import BANK, checked_lesson, read_standing
from grader.syllabus import Lesson
from lessons.engine.errors import CourseError
from lessons.engine.files import write_atomically

NOT_YET = 1
TEMPLATE = '''"""Hunt in lesson {number}: reject what is wrong, accept what is right, however it is written.

`lesson` is somebody's {module}.py. Call what is in it, and assert something that holds for every
right answer. `draw.normal(2, 3)` gives numbers, the same in every run; `expect(answer)` compares
with the reference (the better hunters do without).

    python -m grader hunt {number} {file}
"""

import torch


def catches(lesson, expect, draw):
    """What must be true of every right version? These are the steps:

    {steps}
    """
    # answer = lesson.{first}(...)
    # assert answer ..., "what is wrong with it"
'''


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("lesson", metavar="NN", help="the lesson")
    parser.add_argument("file", metavar="FILE.py", nargs="?", help="your hunt; without: a template")


def run(options: argparse.Namespace) -> int:
    """Try the learner's assertions on everything in the bank."""
    lesson = checked_lesson(options.lesson)
    if not BANK.is_dir():  # before anybody finishes a lesson for it
        raise withheld(lesson)
    if not read_standing(lesson, read_progress()).core_done:
        raise CourseError(
            f"hunting in lesson {lesson.number} opens when its core is finished: "
            f"pytest lessons/{lesson.number}"
        )
    right, wrong = bank(lesson)
    if options.file is None:
        return write_template(lesson)
    file = Path(options.file).absolute()
    import torch  # noqa: F401 - before the clock of the first module runs

    from grader.judge.hunting import load_hunt, place, try_on_reference
    from grader.judge.runner import reference_target

    hunt = load_hunt(file)
    entries, error = try_on_reference(hunt, reference_target(lesson))
    if error:
        print(f"your hunt rejects the reference itself, at {place(error, file)}")
        return NOT_YET
    innocent = {v.name: place(e, file) for v, e in verdicts(hunt, lesson, right, entries) if e}
    missed = [v for v, e in verdicts(hunt, lesson, wrong, entries) if e is None]
    print(
        f"lesson {lesson.number}: it rejects {len(wrong) - len(missed)} of {len(wrong)} wrong ones"
    )
    if missed:
        steps = Counter(variant.step for variant in missed)
        found = (f"{s.name} {steps[s.name]}" for s in lesson.steps if steps[s.name])
        print(f"missed, by step: {', '.join(found)}")
    for name, where in innocent.items():
        print(f"wrongly rejected: the right version `{name}`, at {where}")
    if not innocent:
        print(f"all {len(right)} right ones pass")
    return NOT_YET if innocent or len(missed) == len(wrong) else 0


def bank(lesson: Lesson) -> tuple[list[Any], list[Any]]:
    """Return the right and the wrong versions of a lesson. Raises CourseError without them."""
    try:
        from grader.audit.jobs import placed  # noqa: F401 - needed below, may be withheld too
        from grader.bank import right_variants, wrong_variants

        right, wrong = right_variants(lesson), wrong_variants(lesson)
    except (ModuleNotFoundError, CourseError):
        right, wrong = [], []
    if not right or not wrong:
        raise withheld(lesson)
    return right, wrong


def withheld(lesson: Lesson) -> CourseError:
    """Return what is said where there is nothing to hunt."""
    return CourseError(
        f"the right and wrong versions of lesson {lesson.number} are withheld here, so there is "
        "nothing to hunt"
    )


def verdicts(hunt: Any, lesson: Lesson, variants: list[Any], entries: list[Any]) -> list[Any]:
    """Return (variant, why the hunt rejects it or None) for each of them."""
    from grader.audit.jobs import placed
    from grader.judge.backends import InThisProcess
    from grader.judge.hunting import rejection

    found = []
    for variant in variants:
        with placed(variant, lesson, InThisProcess()) as target:
            found.append((variant, rejection(hunt, target, entries)))
    return found


def write_template(lesson: Lesson) -> int:
    """Write a file to begin with, unless there is one."""
    file = ROOT / ".course" / f"hunt_{lesson.number}.py"
    command = f"python -m grader hunt {lesson.number} {shown(file)}"
    if file.exists():
        print(f"{shown(file)} is there already: {command}")
        return 0
    text = TEMPLATE.format(
        number=lesson.number,
        module=lesson.module,
        file=shown(file),
        first=lesson.steps[0].name,
        steps="\n    ".join(step.name for step in lesson.steps),
    )
    try:
        with write_atomically(file) as opened:
            opened.write(text)
    except OSError as error:
        raise CourseError(f"{shown(file)} could not be written ({error.strerror})") from None
    print(f"{shown(file)} is a template; fill it in, then: {command}")
    return 0

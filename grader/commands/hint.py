"""Give a hint for the check that fails now: an idea, then a direction, then nearly the line."""

import argparse
from typing import Any

from grader.judge.progress import hints_given, note_hints, read_progress
from grader.judge.standing import checked_lesson
from grader.syllabus import Lesson

KINDS = ("an idea", "a direction", "nearly the line")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("lesson", metavar="NN", help="the lesson")
    parser.add_argument("--name", action="store_true", help="say which mistake it is, if known")
    parser.add_argument("--all", action="store_true", help="give all three hints at once")
    parser.add_argument(
        "--mine", action="store_true", help="use your own earlier lessons, not the reference"
    )


def run(options: argparse.Namespace) -> int:
    """Find the check that fails now, and help with it."""
    lesson = checked_lesson(options.lesson)
    read_progress()  # which hints were given stands there: a damaged file is told of, not replaced
    from grader.judge.runner import load_checks
    from grader.judge.session import Session

    checks = load_checks(lesson, mine=options.mine)
    with Session(mine=options.mine) as session:
        found, passed = session.first_open(lesson, checks)
    if found is None:
        print(f"every check of lesson {lesson.number} passes; no hint is needed")
        return 0
    print(f"{found.check}: {found.symptom}")
    if options.name:
        print("\n".join(name(found)))
    elif found.verdict == "blocked" and found.where[8:10] not in ("", lesson.number):
        print(f"python -m grader hint {found.where[8:10]} helps with that one")
    elif found.verdict == "blocked":
        print("no other hint is needed as long as the file cannot be imported")
    else:
        check = next(check for check in checks if check.name == found.check)
        three = lesson.step(check.step).hints.get(check.name, ())
        names = [result.check for result in passed]
        print("\n".join(give(lesson, found, check.gain, three, names, options.all)))
    return 0


def give(
    lesson: Lesson, found: Any, gain: str, three: tuple[str, ...], passed: list[str], every: bool
) -> list[str]:
    """Return the next hint (or all), and note that it was given."""
    if not three:
        question = f"\nA question instead: {found.ask}" if found.ask else ""
        return [f"There are no hints for this check yet. What it is about: {gain}{question}"]
    given = min(hints_given(lesson, found.check), len(three) - 1)
    shown = range(len(three)) if every else [given]
    lines = [f"hint {n + 1} of {len(three)}, {KINDS[n]}: {three[n]}" for n in shown]
    note_hints(lesson, passed, found.check, shown[-1] + 1)
    if shown[-1] + 1 < len(three):
        lines.append(f"python -m grader hint {lesson.number} once more gives the next one")
    else:
        lines.append(f"that was the last one; python -m grader stuck {lesson.number} asks a person")
    return lines


def name(found: Any) -> list[str]:
    """Return which mistake it is, if it is one that the judge knows."""
    if found.verdict != "failed":
        return ["There is no mistake to name before something is written."]
    if not found.mistake:
        return ["This is not one of the mistakes that the judge knows.", found.details]
    return [found.mistake["says"], f"Look at {found.mistake['look'].rstrip('?.')}."]

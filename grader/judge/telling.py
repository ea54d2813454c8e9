"""Judges a whole lesson outside pytest, notes the results, and says the same about them."""

from collections.abc import Sequence
from typing import Any

from ..syllabus import Lesson, read_syllabus
from .paths import own_lessons
from .progress import failures_before, note_results
from .report import closing_lines, failure_block, in_order, next_line, points_line, revealed
from .runner import FAILED, load_checks
from .session import Session, as_dicts

Results = Sequence[dict[str, Any]]


def judge_lesson(lesson: Lesson, session: Session) -> tuple[list[dict[str, Any]], list[str]]:
    """Run the checks of a lesson and note the results; return them, and a block per failure."""
    checks = load_checks(lesson, mine=session.mine)
    results = in_order(lesson, as_dicts(list(session.judge_all(lesson, checks))))
    blocks = failure_blocks(lesson, results)  # they depend on the failures before this run
    note_results(lesson, results, own_lessons(lesson, read_syllabus(), session.mine))
    return results, blocks


def failure_blocks(lesson: Lesson, results: Results) -> list[str]:
    """Return what is to be read about each check that failed, under its name."""
    failed = [result for result in results if result["verdict"] == FAILED]
    times = [1 + failures_before(lesson, result["check"]) for result in failed]
    return [
        f"--- {result['check']}\n{failure_block(result, lesson, n)}\n"
        for result, n in zip(failed, times, strict=True)
    ]


def long_lines(lesson: Lesson, results: Results, blocks: list[str]) -> list[str]:
    """Return everything about a run, as pytest prints it."""
    return [*blocks, *closing_lines(lesson, results, read_syllabus())]


def short_lines(lesson: Lesson, results: Results, blocks: list[str]) -> list[str]:
    """Return the first failure whole, the others by name, and what comes next."""
    failed = [result for result in results if result["verdict"] == FAILED]
    lines = [*blocks[:1], *(f"{r['check']}: {r['symptom']}" for r in failed[1:])]
    if text := revealed(lesson, results):
        lines.append(text)
    return [*lines, points_line(lesson, results), next_line(lesson, results, read_syllabus())]

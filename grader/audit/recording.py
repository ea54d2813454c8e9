"""The recorded answers of a lesson: what the reference and every known mistake give."""

import os
from functools import partial
from typing import Any

from lessons.engine.errors import CourseError

from ..bank import Variant, solution_of, wrong_pairs, wrong_variants
from ..checks import Check
from ..judge.answers import CHANCE, PUBLIC_SEED, Answers, same_sketch
from ..judge.naming import sketches
from ..judge.runner import load_checks, record, reference_target
from ..syllabus import Lesson
from .forks import run_jobs
from .jobs import fingerprint

BROKEN = {"crashed", "stopped", "stumbled", "not written", "notice"}  # no answer to be recorded


def record_lesson(lesson: Lesson, workers: int | None = None) -> tuple[Answers, list[str]]:
    """Return the answers for the public seed, and remarks on mistakes that look alike."""
    checks = load_checks(lesson)
    answers = Answers()
    for check in checks:
        entries = record(check, reference_target(lesson), PUBLIC_SEED)
        if broken := next((e for e in entries if e.keys() & BROKEN), None):
            (what, kind), *_ = broken.items()
            raise CourseError(
                f"lesson {lesson.number}: the solution itself {what} in {check.name}: {kind}"
            )
        again = record(check, reference_target(lesson), PUBLIC_SEED, chance=PUBLIC_SEED + 1)
        both = zip(sketches(entries), sketches(again), strict=True)
        answers.sketches[check.name] = [a if same_sketch(a, b) else CHANCE for a, b in both]
        answers.reference[check.name] = [_needed(entry) for entry in entries]
    singles, pairs = wrong_variants(lesson), wrong_pairs(lesson)
    everyone = [*singles, *pairs]
    found = fingerprints(everyone, lesson, checks, workers)
    for variant, whole in zip(everyone, found, strict=True):
        whole = {c: without_chance(e, answers.sketches[c]) for c, e in whole.items()}
        wrong = {c: e for c, e in whole.items() if not same_sketch(e, answers.sketches[c])}
        if variant.parts and any(_alike(wrong, answers.wrong[other]) for other in answers.wrong):
            continue  # one of the two hides the other, or together they look like a third
        answers.wrong[variant.name] = wrong
        texts = {key: getattr(variant, key) for key in ("step", "says", "ask", "look")}
        answers.mistakes[variant.name] = texts
    return answers, list(remarks_on(answers, singles))


def without_chance(mine: list[Any], right: list[Any]) -> list[Any]:
    """Return sketches without those at which the reference's hangs on chance."""
    chance = {i for i, entry in enumerate(right) if entry == CHANCE}
    return [CHANCE if i in chance else entry for i, entry in enumerate(mine)]


def fingerprints(
    variants: list[Variant], lesson: Lesson, checks: list[Check], workers: int | None = None
) -> list[dict[str, Any]]:
    """Return what each variant gives in every check."""
    jobs = [partial(fingerprint, variant, lesson, checks) for variant in variants]
    done = dict(run_jobs(jobs, workers or os.cpu_count() or 1))
    return [done[number] or {} for number in range(len(variants))]


def remarks_on(answers: Answers, singles: list[Variant]):
    """Yield a sentence for each mistake that no check shows, or that looks like another one."""
    for place, variant in enumerate(singles):
        mine = answers.wrong[variant.name]
        if not mine:
            yield f"{variant.name}: every check gives what is right"
        for other in singles[:place]:
            if mine and _alike(mine, answers.wrong[other.name]) and variant.says != other.says:
                yield f"{variant.name} and {other.name} give the same answers in every check"


def is_fresh(old: Answers, new: Answers) -> bool:
    """Say whether two records hold the same, up to the rounding of another machine."""
    return same_sketch(
        [old.sketches, old.wrong, old.mistakes, sketches_of(old)],
        [new.sketches, new.wrong, new.mistakes, sketches_of(new)],
    )


def sketches_of(answers: Answers) -> dict[str, Any]:
    """Return the reference's full answers, to be compared."""
    return {check: sketches(entries) for check, entries in answers.reference.items()}


def _needed(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry of the reference without what the check knows from elsewhere."""
    return entry if "answer" in entry else {}


def _alike(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and same_sketch(list(a.values()), [b[key] for key in a])


def reference_variant(lesson: Lesson) -> Variant:
    """Return the solution itself, as a variant."""
    return Variant("solution", solution_of(lesson))

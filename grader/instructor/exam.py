"""What the submissions of one lesson are judged by: its checks, the hidden ones, and one seed.

The right answers are worked out here, in the judge's own process, once for all submissions: only
the reference runs in it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

from ..checks import Check
from ..judge.answers import answers_file, read_answers
from ..judge.paths import ROOT
from ..judge.runner import load_checks, record, reference_target, right_answers
from ..syllabus import Lesson
from .guards import guard_file, load_guards


class Exam:
    """The checks of a lesson on one seed, with the right answers."""

    def __init__(self, lesson: Lesson, seed: int, checks: Sequence[Check] | None = None) -> None:
        self.lesson = lesson
        self.seed = seed
        self.checks = list(load_checks(lesson) if checks is None else checks)
        self.guards = load_guards(lesson, self.checks)
        self.answers = read_answers(lesson.number)
        self._right: dict[str, list[dict[str, Any]]] = {}

    def right(self, check: Check) -> list[dict[str, Any]]:
        """Return what the reference gives in a check."""
        if check.name not in self._right:
            hidden = any(check in guards for guards in self.guards.values())  # not recorded
            self._right[check.name] = (
                record(check, reference_target(self.lesson), self.seed)
                if hidden
                else right_answers(check, self.lesson, self.answers, self.seed)
            )
        return self._right[check.name]

    @cached_property
    def version(self) -> str:
        """Stands for everything that a verdict hangs on, but for the judge's own machinery."""
        return version_of(self.lesson)


def version_of(lesson: Lesson) -> str:
    """Return twelve hexadecimal digits that change with a lesson's checks, answers or reference."""
    files = [
        *sorted((ROOT / "lessons" / lesson.number).glob("test_*.py")),
        *[guard_file(lesson), answers_file(lesson.number)],
        ROOT / "solutions" / f"{lesson.module}.py",
    ]
    digest = hashlib.sha256(repr([asdict(step) for step in lesson.steps]).encode())
    for file in files:
        digest.update(file.read_bytes() if file.is_file() else b"-")
    return digest.hexdigest()[:12]

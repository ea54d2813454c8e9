"""One run of checks, whoever asked for it: pytest, a command, a notebook.

A session holds what the checks of a run share, judges them one by one, and names the mistake where
one fails. How the results become points and an exit code stands in `report.py`.
"""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from ..checks import Check
from ..syllabus import Lesson, read_syllabus
from .answers import Answers, read_answers
from .backends import Backend, InAChild, InThisProcess
from .causes import Causes
from .naming import name_mistake
from .paths import judged_path, needed_lessons, own_among
from .progress import hash_of
from .reading import is_used
from .report import is_open
from .runner import BLOCKED, FAILED, SKIPPED, Result, Target, run_check

CAN_END_LOOPS = hasattr(signal, "setitimer")  # in this process; a child can be ended everywhere


class Session:
    """Judges checks of any lessons, all in one way.

    apart: the learner's module runs in a process of its own. mine: with their own earlier lessons.
    """

    def __init__(self, apart: bool = False, mine: bool = False) -> None:
        self.mine = mine
        self.backend: Backend = InAChild() if apart else InThisProcess()
        self.answers: dict[str, Answers] = {}
        self.causes = Causes(self.backend, self.answers_of)
        self.endless: set[tuple[str, str]] = set()  # where a check ran into its time limit
        self.failing: dict[tuple[str, str], set[str]] = {}  # steps with a check that failed
        self.named: dict[tuple[str, str, str], dict[str, str]] = {}
        self.given: dict[tuple[str, str], dict[str, list[Any]]] = {}  # to name mistakes by

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the other process, if there is one."""
        if isinstance(self.backend, InAChild):
            self.backend.stop()

    def judge(self, lesson: Lesson, check: Check, checks: Sequence[Check]) -> Result:
        """Judge one check, and name the mistake if it fails. checks: all those of the lesson."""
        answers = self.answers_of(lesson)
        target = Target(lesson, judged_path(lesson.number, self.mine), self.backend)
        file = (lesson.number, hash_of(target.file))
        if file in self.endless:  # one wait is enough; a slow machine needs a tenth of the time
            check = replace(check, seconds=check.seconds / 10)
        result = run_check(check, target, answers.right(check.name))
        if can_be_anothers(result) and (earlier := self.own_lessons(lesson, check)):
            result = self.causes.explain(check, lesson, result, earlier)
            target = replace(target, folders=judged_path(lesson.number))  # to name the mistake by
        order = [step.name for step in lesson.steps]
        if result.verdict == FAILED:
            failing = self.failing.setdefault(file, set())
            result.first = next(
                (
                    name
                    for name in order[: order.index(check.step)]
                    if name in failing and is_used(name, target.file, check.step, check.function)
                ),
                "",
            )
            failing.add(check.step)
        if result.too_long:
            self.endless.add(file)
        elif result.verdict == FAILED and not check.mine:
            key = (*file, check.step)
            if key not in self.named:
                quick = [replace(other, seconds=other.seconds / 10) for other in checks]
                given = self.given.setdefault(file, {})
                self.named[key] = name_mistake(check.step, quick, target, answers, given)
            result.mistake = self.named[key]
        return result

    def answers_of(self, lesson: Lesson) -> Answers:
        """Return the recorded answers of a lesson; they are read once."""
        if lesson.number not in self.answers:
            self.answers[lesson.number] = read_answers(lesson.number)
        return self.answers[lesson.number]

    def own_lessons(self, lesson: Lesson, check: Check) -> list[Lesson]:
        """Return the earlier lessons of which a check uses the learner's own modules."""
        every = read_syllabus()
        before = [other for other in every if other.number < lesson.number]
        used = before if check.mine else needed_lessons(lesson, every)
        return own_among(used, lesson, self.mine)

    def judge_all(self, lesson: Lesson, checks: Sequence[Check]) -> Iterator[Result]:
        """Judge the checks of a lesson in their order."""
        for check in checks:
            yield self.judge(lesson, check, checks)

    def first_open(
        self, lesson: Lesson, checks: Sequence[Check]
    ) -> tuple[Result | None, list[Result]]:
        """Return the check to work on next, and those that passed on the way to it.

        That is the first one that is open; where there is none, the first stretch one that is not
        written; where all pass, None.
        """
        passed: list[Result] = []
        unwritten: Result | None = None
        for result in self.judge_all(lesson, checks):
            if result.passed:
                passed.append(result)
            elif is_open(result.as_dict()):
                return result, passed
            elif result.verdict != SKIPPED:
                unwritten = unwritten or result
        return unwritten, passed


def can_be_anothers(result: Result) -> bool:
    """Say whether an earlier lesson can be the cause: what is not written yet is known already."""
    return result.verdict == FAILED or (
        result.verdict == BLOCKED and "not written yet" not in result.symptom
    )


def as_dicts(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return results as the plain values that `report.py` and `progress.py` take."""
    return [result.as_dict() for result in results]

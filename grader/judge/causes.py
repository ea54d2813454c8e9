"""Whose mistake it is, where a lesson is judged with the learner's own earlier lessons.

A check of lesson 05 that fails on top of the learner's own lesson 03 says little about lesson 05.
Where the reference is there, it takes the place of one earlier lesson after the other: the one with
whose reference the check passes is the cause. Where it is withheld, the earlier lessons' own checks
tell.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..checks import Check
from ..syllabus import Lesson
from .answers import Answers
from .backends import Backend
from .paths import ROOT, file_of, judged_path
from .progress import hash_of
from .runner import BLOCKED, FAILED, Result, Target, load_checks, run_check


class Causes:
    """Finds the earlier lesson by which a check fails, and remembers what it has found out."""

    def __init__(self, backend: Backend, answers_of: Callable[[Lesson], Answers]) -> None:
        self.backend = backend
        self.answers_of = answers_of
        self.own: dict[tuple[str, str], Result | None] = {}  # a lesson's first failing check
        self.last: Lesson | None = None  # most checks of a run fail by the same lesson

    def explain(
        self, check: Check, lesson: Lesson, result: Result, earlier: Sequence[Lesson]
    ) -> Result:
        """Return the result of a check that failed: blocked by an earlier lesson, or its own.

        earlier: the lessons of which the learner's own modules were used.
        """
        if result.too_long:
            running = [other for other in earlier if _stands_in(result.where, other)]
            return (
                self.blame(result, running[0], "it does not come to an end") if running else result
            )
        if all((ROOT / "solutions" / f"{other.module}.py").is_file() for other in earlier):
            alone = self.with_reference(check, lesson, earlier)
            if not alone.passed:
                return alone
            cause = self.culprit(check, lesson, earlier)
            return self.blame(result, cause, f"with the reference's {cause.module}.py this passes")
        for other in earlier:
            if self.own_failure(other):
                return self.blame(result, other, "its own checks fail")
        return result

    def culprit(self, check: Check, lesson: Lesson, earlier: Sequence[Lesson]) -> Lesson:
        """Return the lesson with whose reference the check passes."""
        likely = [self.last] if self.last in earlier and self.last else []
        for other in [*likely, *earlier]:
            if self.with_reference(check, lesson, [other]).passed:
                self.last = other
                return other
        return next(filter(self.own_failure, earlier), earlier[0])  # several at once

    def with_reference(self, check: Check, lesson: Lesson, of: Iterable[Lesson]) -> Result:
        """Judge a check with the reference in the place of some of the earlier lessons."""
        with tempfile.TemporaryDirectory(prefix="course-reference-") as folder:
            for other in of:
                shutil.copy(ROOT / "solutions" / f"{other.module}.py", folder)
            module, *rest = judged_path(lesson.number, mine=True)
            target = Target(lesson, [module, Path(folder), *rest], self.backend)
            return run_check(check, target, self.answers_of(lesson).right(check.name))

    def own_failure(self, lesson: Lesson) -> Result | None:
        """Return the first of a lesson's own checks that fails, if one does."""
        key = (lesson.number, hash_of(file_of(lesson)))
        if key not in self.own:
            target = Target(lesson, judged_path(lesson.number, mine=True), self.backend)
            answers = self.answers_of(lesson)
            checks = load_checks(lesson) if lesson.points else []
            results = (run_check(each, target, answers.right(each.name)) for each in checks)
            bad = (result for result in results if result.verdict in (FAILED, BLOCKED))
            self.own[key] = next(bad, None)
        return self.own[key]

    def blame(self, result: Result, lesson: Lesson, why: str) -> Result:
        """Return the result as one that an earlier lesson is the cause of."""
        said = f"blocked by lesson {lesson.number}: "
        if result.verdict == BLOCKED and result.symptom.startswith(said):
            return result  # it says more precisely what went wrong there
        result.verdict, result.details, result.ask = BLOCKED, "", ""
        result.where = f"lessons/{lesson.number}/{lesson.module}.py"
        result.symptom = f"{said}{why}; pytest lessons/{lesson.number} finds nothing wrong there"
        if result.too_long:
            result.symptom = f"{said}{why}; pytest lessons/{lesson.number} tells more"
        elif failing := self.own_failure(lesson):
            result.where = failing.where or result.where
            result.symptom = f"{said}{why}; {failing.check} says there: {failing.symptom}"
        return result


def _stands_in(where: str, lesson: Lesson) -> bool:
    return where.startswith(f"lessons/{lesson.number}/")

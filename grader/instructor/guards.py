"""Hidden checks, called guards: they see through work that was fitted to the checks in plain sight.

    @guard("test_attention_is_torchs_attention")
    def guard_sizes_nobody_has_seen(lesson, expect, draw):
        '''The same at sizes that stand in no check.'''

A guard looks like a check (see `grader/checks.py`), and asks for nothing that the docstring of the
step does not promise. It has no points of its own: it belongs to one visible check, and takes that
check's points away when it fails. Guards run on secret seeds only, so nothing of theirs is recorded;
`expect(mine)` without a right answer asks the reference live. They stand in `hidden/guard_NN.py`,
which no learner gets.
"""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lessons.engine.errors import CourseError

from ..checks import SECONDS, Check
from ..judge.paths import shown
from ..syllabus import Lesson

HIDDEN = Path(__file__).with_name("hidden")


@dataclass(frozen=True)
class Guard:
    """A check function, and the visible check to which it belongs."""

    of: str  # "test_attention_is_torchs_attention"
    seconds: float
    function: Callable[..., None]


def guard(
    of: str, seconds: float = SECONDS
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a guard of a function. of: the name of the visible check that it stands behind."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        function.guard = Guard(of, seconds, function)  # type: ignore[attr-defined]
        return function

    return decorate


def guard_file(lesson: Lesson, folder: Path = HIDDEN) -> Path:
    """Return where the guards of a lesson stand."""
    return folder / f"guard_{lesson.number}.py"


def load_guards(
    lesson: Lesson, checks: Sequence[Check], folder: Path = HIDDEN
) -> dict[str, list[Check]]:
    """Return the guards behind each visible check that has some: its name -> its guards, in order.

    checks: the visible ones of the lesson. The file is read afresh, so that a corrected guard counts
    at once. Raises CourseError for a missing or broken file, and for a guard of no visible check.
    """
    file = guard_file(lesson, folder)
    steps = {check.name: check.step for check in checks}
    guards: dict[str, list[Check]] = {}
    for name, found in _guards_in(file).items():
        if found.of not in steps:
            raise CourseError(
                f"{shown(file)}: {name} belongs to {found.of}, which is no check of lesson "
                f"{lesson.number}; name one of lessons/{lesson.number}/test_{lesson.module}.py"
            )
        made = Check(name, steps[found.of], 0, found.seconds, found.function)
        guards.setdefault(found.of, []).append(made)
    return guards


def _guards_in(file: Path) -> dict[str, Guard]:
    if not file.is_file():
        raise CourseError(
            f"no file {shown(file)}: the hidden checks are missing, and nothing is judged without "
            f"them; `git checkout {shown(file)}` brings them back"
        )
    spec = importlib.util.spec_from_file_location(f"grader.hidden_{file.stem}", file)
    assert spec
    assert spec.loader
    module: Any = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise CourseError(
            f"{shown(file)} cannot be loaded ({type(error).__name__}: {error})"
        ) from None
    guards = [
        f.guard for f in vars(module).values() if isinstance(getattr(f, "guard", None), Guard)
    ]
    return {each.function.__name__: each for each in guards}

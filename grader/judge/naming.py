"""Names the mistake: compares what wrong code gives with what each known mistake gives.

The checks of one step, and of the steps before it, are run once more, to the end, and everything
that they look at is compared. A mistake is named only if all of it agrees, and only with that one:
a name that is not sure is worse than none. The steps before it count because a slip there can look
like another one here.
"""

import math
import time
from collections.abc import Iterable
from typing import Any

from ..checks import Check
from ..syllabus import Lesson
from .answers import PUBLIC_SEED, Answers, same_sketch, sketch
from .runner import Target, record


def name_mistake(
    step: str,
    checks: Iterable[Check],
    target: Target,
    answers: Answers,
    given: dict[str, list[Any]] | None = None,
    until: float = math.inf,
) -> dict[str, str]:
    """Return the mistake that the target makes in the checks of a step; empty if it is unknown.

    given: check -> what this target gave in it already; what is found out here is added. until: on
    the monotonic clock; a mistake that takes longer to find has no name.
    """
    given = {} if given is None else given
    seen = steps_up_to(step, target.lesson)
    mine = {}
    for check in checks:
        if check.step in seen:
            if time.monotonic() > until:
                return {}
            if check.name not in given:
                given[check.name] = sketches(record(check, target, PUBLIC_SEED))
            mine[check.name] = given[check.name]
    return recognise(mine, answers)


def steps_up_to(step: str, lesson: Lesson) -> list[str]:
    """Return the steps of a lesson up to one of them, with it."""
    order = [other.name for other in lesson.steps]
    return order[: order.index(step) + 1]


def recognise(mine: dict[str, list[Any]], answers: Answers) -> dict[str, str]:
    """Return the one mistake that gives exactly these answers; empty if none does, or several do.

    mine: check -> sketches of what was looked at. Checks that ran into a step which is not written
    yet say nothing.
    """
    telling = {c: e for c, e in mine.items() if not any("not written" in entry for entry in e)}
    if not any(
        _differs_in_value(entries, answers.sketches.get(c, [])) for c, entries in telling.items()
    ):
        return {}
    wrong = {c for c, e in telling.items() if not same_sketch(e, answers.sketches.get(c, []))}
    found = [
        mistake
        for mistake, known in answers.wrong.items()  # known: the checks in which it shows
        if known.keys() & telling.keys() == wrong
        and all(same_sketch(known[c], telling[c]) for c in wrong)
    ]
    if not found:
        return {}
    # Two mistakes at once may show no more here than one of them, which is made in any case. Single
    # mistakes are recorded before the pairs that hold them.
    named = found[0]
    says = {answers.mistakes[m]["says"] for m in found if named not in m.split("+") or m == named}
    return {"name": named, **answers.mistakes[named]} if len(says) == 1 else {}


def sketches(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the sketch of everything that a check looked at."""
    return [{kind: sketch(value) for kind, value in entry.items()} for entry in entries]


def _differs_in_value(mine: list[Any], right: list[Any]) -> bool:
    """Say whether there is a wrong answer to recognise a mistake by; a crash alone says little."""
    return any(
        bool(entry.keys() & {"value", "answer", "raised", "notice"})
        and (i >= len(right) or not same_sketch(entry, right[i]))
        for i, entry in enumerate(mine)
    )

"""`expect`: one call serves the learner, the recording and the audit.

While a lesson is judged, `expect(actual, right)` compares and complains. `expect(actual)` without a
right answer compares with the reference's: recorded for the public seed, asked for live on any
other. While answers are recorded nothing is compared; everything that a check would have looked at
is written down in order, also of wrong code, and can be recognised later.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import Any, NoReturn

from .difference import compare
from .verdicts import LearnerError, NotWrittenError, SkippedError, WrongError

RECORDED: Any = type("Recorded", (), {"__repr__": lambda self: "the recorded answer"})()
TOLERANCE = 1e-5  # relative, for one module in float32; audit compares it with real deviations


class Expect:
    """Compares what the learner's code gives with what is right.

    right: what the reference gave at each call of this check, in order; None while recording. An
    entry is {"answer": ...} where only the reference knows what is right, {"value": ...} where the
    check knows it from elsewhere.
    """

    def __init__(self, right: list[Any] | None) -> None:
        self.right = right
        self.entries: list[Any] = []  # what was looked at, in order
        self.margin = 0.0  # the largest deviation that was accepted, in tolerances

    def __call__(
        self,
        actual: Any,
        right: Any = RECORDED,
        *,
        of: str = "the result",
        ask: str | None = None,
        tolerance: float = TOLERANCE,
    ) -> None:
        """Expect `actual` to be the right answer.

        right: from an independent source (torch, a closed form); left out, the reference's.
        of: what this is, for the message. ask: a question that leads to the likely slip.
        tolerance: relative to the largest right number.
        """
        number = self._enter({"answer" if right is RECORDED else "value": actual})
        if self.right is None:
            return
        if right is RECORDED:
            right = self._recorded(number)
        difference = compare(actual, right, tolerance)
        if not difference and (off := compare(actual, right, 0.0)):
            self.margin = max(self.margin, off.size / tolerance)
        if difference:
            off = difference.size / tolerance if tolerance else math.inf
            raise WrongError(f"not right yet: {of}", difference.text, ask, off)

    def true(
        self, condition: Any, symptom: str, *, details: str = "", ask: str | None = None
    ) -> None:
        """Expect a condition to hold; `symptom` says what is the matter where it does not."""
        self._enter({"value": bool(condition)})
        if self.right is not None and not condition:
            raise WrongError(symptom, details, ask)

    @contextlib.contextmanager
    def raises(self, kind: type[Exception], when: str, ask: str | None = None) -> Iterator[None]:
        """Expect what stands inside to raise an error of this kind. when: "for an empty text"."""
        found: LearnerError | None = None
        try:
            yield
        except NotWrittenError:
            raise
        except LearnerError as error:
            if error.missing:  # nothing ran that could have raised
                raise
            found = error
        self._enter({"raised": found.kinds[0] if found else None})
        if self.right is None:
            return
        if found is None:
            raise WrongError(f"{when}, {_a(kind.__name__)} should be raised; nothing was", "", ask)
        if kind.__name__ not in found.kinds:
            place = f"{found.where}: {found.line}" if found.where else ""
            raise WrongError(
                f"{when}, {_a(kind.__name__)} should be raised, not {_a(found.kinds[0])}",
                "\n".join(filter(None, [found.message, place])),
                ask,
            )

    def skip(self, reason: str) -> NoReturn:
        """End the check here, neither right nor wrong: `reason` says what this machine lacks.

        Only for checks of 0 points, so that a total means the same everywhere.
        """
        raise SkippedError(reason)

    def complain(self, sentence: str) -> None:
        """Take note of something that is wrong beside the answer."""
        self.entries.append({"notice": sentence})
        if self.right is not None:
            raise WrongError(sentence)

    def _enter(self, entry: dict[str, Any]) -> int:
        self.entries.append(entry)
        return len(self.entries) - 1

    def _recorded(self, number: int) -> Any:
        assert self.right is not None
        if number >= len(self.right) or "answer" not in self.right[number]:
            raise MissingAnswerError
        return self.right[number]["answer"]


def _a(name: str) -> str:
    """Return "an IndexError", "a ValueError"."""
    return f"{'an' if name[:1] in 'AEIOU' else 'a'} {name}"


class MissingAnswerError(Exception):
    """There is no recorded answer; `python -m grader record` writes it."""

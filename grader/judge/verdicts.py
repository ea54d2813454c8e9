"""How a check can end, other than well."""

import math
from typing import Any


class WrongError(Exception):
    """The learner's code gives a wrong answer.

    symptom: one sentence, what was seen. details: lines with places and numbers. ask: a question
    that leads to the mistake. size: how far the answer is off, in tolerances; inf where it is no
    matter of size.
    """

    def __init__(
        self, symptom: str, details: str = "", ask: str | None = None, size: float = math.inf
    ) -> None:
        super().__init__(symptom)
        self.symptom = symptom
        self.details = details
        self.ask = ask
        self.size = size


class TooLongError(WrongError):
    """The learner's code was still running when its time was up; `where`, if that is known."""

    def __init__(self, symptom: str, where: str = "") -> None:
        super().__init__(symptom)
        self.where = where


class SkippedError(Exception):
    """The check needs something that is not on this machine. The message says what."""


class LearnerError(Exception):
    """The learner's code raised something."""

    def __init__(self, raised: dict[str, Any]) -> None:
        super().__init__(": ".join(filter(None, [raised["kinds"][0], raised["message"]])))
        self.kinds: list[str] = raised["kinds"]  # the class and those it is derived from
        self.message: str = raised["message"]
        self.where: str = raised["where"]  # "lessons/03/attention.py:57"
        self.line: str = raised["line"]  # the text of that line
        self.inside: str = raised["inside"]  # the line of another lesson that raised it, or ""
        self.trail: list[list[str]] = raised["trail"]  # place, function, line: the module's own
        self.called = ""  # how the check called it: "gelu(a tensor (2, 3))"
        self.loading: bool = raised["loading"]  # whether the module could not even be imported

    @property
    def missing(self) -> bool:
        """Whether nothing ran: the module or the part that was called is not there."""
        return self.loading or "PartMissingError" in self.kinds


class NotWrittenError(LearnerError):
    """A step that is still as the stub has it."""

    def __init__(self, raised: dict[str, Any], number: str, step: str) -> None:
        super().__init__(raised)
        self.number = number
        self.step = step

"""What a lesson's test file imports: `check`, and gradients to compare with.

    @check("softmax", points=2)
    def test_probabilities_sum_to_one(lesson, expect, draw):
        '''Every row of probabilities sums to 1, also where the table is not square.'''
        logits = draw.normal(3, 5)
        expect(lesson.softmax(logits), torch.softmax(logits, dim=-1), ask="Along which dimension?")

`lesson` is the learner's module (grader/judge/proxies.py), `expect` compares (expecting.py), `draw`
makes inputs (drawing.py), and `baseline` is DistilGPT-2 or its small stand-in (baseline.py).
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SECONDS = 20.0  # for one check; a slow machine needs a tenth of it


@dataclass(frozen=True)
class Check:
    """One check: a function of `lesson`, `expect` and `draw`, and what it is worth."""

    name: str  # "test_probabilities_sum_to_one"
    step: str  # the step of the lesson that turns it green
    points: int
    seconds: float  # how long the learner's code may take in it
    function: Callable[..., None]
    mine: bool = False  # a checkpoint: it runs with the learner's own library alone

    @property
    def wants(self) -> list[str]:
        """The names of what the function asks for: "lesson", "expect", ..."""
        return list(inspect.signature(self.function).parameters)

    @property
    def gain(self) -> str:
        """What the learner gains by it: the docstring, one sentence."""
        return " ".join((self.function.__doc__ or "").split())


def check(
    step: str, points: int = 1, seconds: float = SECONDS
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a check of a function: it belongs to `step` and is worth `points`."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        name = function.__name__
        function.check = Check(name, step, points, seconds, function)  # type: ignore[attr-defined]
        return function

    return decorate


def checkpoint(
    step: str, seconds: float = 6 * SECONDS
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a check of the learner's whole library, for `--mine`; it is worth no points.

    step: the last one of the lesson that it needs.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        name = function.__name__
        function.check = Check(name, step, 0, seconds, function, mine=True)  # type: ignore[attr-defined]
        return function

    return decorate


def grad(function: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Return what `lesson.grad` returns, for a function of torch's."""
    from .judge.gradients import gradients  # not above: commands that list checks need no torch

    return gradients(function, *args, **kwargs)

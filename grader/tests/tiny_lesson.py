"""A made-up lesson of three steps, to judge the judge by."""

import copy
import dataclasses
import shutil
from pathlib import Path
from typing import Any

import torch

from grader.checks import Check, check, grad
from grader.judge.answers import PUBLIC_SEED, Answers, same_sketch
from grader.judge.backends import Backend, InThisProcess
from grader.judge.naming import sketches
from grader.judge.paths import ROOT
from grader.judge.runner import Result, Target, record, run_check
from grader.syllabus import Lesson, Step

RIGHT = '''
import torch
from torch import nn


def double(x):
    """Return 2 x."""
    return 2 * x


def names(n):
    return [f"a{i}" for i in range(n)]


class Scale(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(size))

    def forward(self, x):
        return double(x) * self.factor / 2
'''
DOUBLE = "    return 2 * x\n"
NAMES = '    return [f"a{i}" for i in range(n)]\n'


@check("double", points=2)
def test_double(lesson, expect, draw):
    """Twice as much."""
    x = draw.normal(3, 4)
    expect(lesson.double(x), 2 * x, of="the double", ask="How often is x in it?")


@check("double", points=1)
def test_double_of_more(lesson, expect, draw):
    """Twice as much of other shapes; the right answer is the recorded one."""
    for shape in [(2,), (1, 2, 3)]:
        expect(lesson.double(draw.normal(*shape)))


@check("names", points=1)
def test_names(lesson, expect, draw):
    """Names are counted from 0, and there are no fewer than none."""
    expect(lesson.names(3), ["a0", "a1", "a2"], of="names(3)")


@check("Scale.forward", points=2)
def test_scale(lesson, expect, draw):
    """The layer scales, and its factor learns."""
    factor, x = draw.normal(4), draw.normal(2, 4)
    layer = lesson.Scale(4).load({"factor": factor})
    expect(layer(x), x * factor, of="the layer")
    mine, right = lesson.grad(layer, x), grad(lambda x, w: x * w, x, factor)
    expect(mine["arguments"][0], right["arguments"][0], of="the gradient of x")
    expect(mine["parameters"]["factor"], right["arguments"][1], of="the gradient of the factor")


CHECKS: list[Check] = [f.check for f in (test_double, test_double_of_more, test_names, test_scale)]
LESSON = Lesson(
    number="03",
    module="tiny",
    title="Tiny",
    needs=(),
    steps=(
        Step("double", "core", 3),
        Step("names", "stretch", 1),
        Step("Scale.forward", "core", 2),
    ),
)


def place(folder: Path, source: str | bytes | None, backend: Backend | None = None) -> Target:
    """Put a module into a folder and return it, to be judged."""
    folder.mkdir(exist_ok=True)
    if source is not None:
        # as old and as long as the last one, it would be taken for that one's compiled form
        shutil.rmtree(folder / "__pycache__", ignore_errors=True)
        data = source if isinstance(source, bytes) else source.encode()
        (folder / "tiny.py").write_bytes(data)
    return Target(LESSON, [folder, ROOT / "lessons"], backend or InThisProcess())


def right_answers(folder: Path, each: Check = CHECKS[0]) -> list[dict[str, Any]]:
    """Return what the right module gives in a check."""
    return record(each, place(folder / "right", RIGHT), PUBLIC_SEED)


def judged(
    folder: Path,
    source: str | bytes | None,
    backend: Backend | None = None,
    each: Check = CHECKS[0],
    seconds: float = 5.0,
) -> Result:
    """Judge a module by one check."""
    each = dataclasses.replace(each, seconds=seconds)
    return run_check(each, place(folder / "own", source, backend), right_answers(folder, each))


def with_double(body: str) -> str:
    """Return the right module with another body of `double`."""
    return RIGHT.replace(DOUBLE, "".join(f"    {line}\n" for line in body.splitlines()))


def fingerprint(folder: Path, source: str) -> dict[str, Any]:
    """Return what a module gives in every check, as sketches."""
    target = place(folder / "own", source)
    return {each.name: sketches(record(each, target, PUBLIC_SEED)) for each in CHECKS}


def recorded(folder: Path, mistakes: dict[str, tuple[str, str]]) -> Answers:
    """Return recorded answers. mistakes: name -> (what it is, the wrong module)."""
    answers = Answers()
    for each in CHECKS:
        entries = right_answers(folder, each)
        answers.reference[each.name], answers.sketches[each.name] = entries, sketches(entries)
    for name, (says, source) in mistakes.items():
        whole = fingerprint(folder, source)
        answers.wrong[name] = {
            check_name: found
            for check_name, found in whole.items()
            if not same_sketch(found, answers.sketches[check_name])
        }
        answers.mistakes[name] = {"says": says, "ask": "?", "look": "there", "step": "double"}
    return answers


def without(answers: Answers, name: str) -> Answers:
    """Return the same answers, but for those of one mistake."""
    left = copy.copy(answers)
    left.wrong = {other: found for other, found in answers.wrong.items() if other != name}
    return left


def state_of_torch() -> list[Any]:
    """Return everything about torch that a module could change for all others."""
    return [
        *(torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()),
        *(torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()),
        *(
            torch.initial_seed(),
            torch.get_rng_state().tolist(),
            torch.softmax,
            torch.Tensor.__add__,
        ),
    ]

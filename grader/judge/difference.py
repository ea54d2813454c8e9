"""Compares an answer with the right one, and says in words how they differ."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from .proxies import Part, Thing, brief


@dataclass(frozen=True)
class Difference:
    """Where two answers differ first, and what kind of difference it is."""

    text: str  # what to tell the learner
    size: float  # relative to the largest right number; inf where it is no matter of size


def compare(actual: Any, expected: Any, tolerance: float, place: str = "") -> Difference | None:
    """Return how `actual` differs from `expected`, or None if it does not.

    Tensors must agree in shape and dtype, and in their numbers up to `tolerance` times the largest
    of the right ones. Everything else must be equal; numbers in Python up to the same tolerance.
    """
    if isinstance(expected, torch.Tensor):
        return _compare_tensors(actual, expected, tolerance, place)
    if isinstance(actual, torch.Tensor) and isinstance(expected, int | float):
        return Difference(
            f"{_at(place)}a tensor came back where a plain number is wanted", math.inf
        )
    if isinstance(expected, float) and type(actual) in (int, float):
        numbers = torch.tensor([[float(actual)], [expected]], dtype=torch.float64)
        return _compare_tensors(numbers[0], numbers[1], tolerance, place, number=True)
    if kind_of(actual) != kind_of(expected):
        return Difference(
            f"{_at(place)}{kind_of(actual)} came back, {kind_of(expected)} is wanted", math.inf
        )
    if isinstance(expected, list | tuple):
        return _compare_sequences(actual, expected, tolerance, place)
    if isinstance(expected, dict):
        return _compare_dicts(actual, expected, tolerance, place)
    if actual != expected:
        return Difference(f"{_at(place)}yours {_short(actual)}, right {_short(expected)}", math.inf)
    return None


def deviation(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the largest difference, relative to the largest right number."""
    if actual.numel() == 0:
        return 0.0
    a, e = actual.double(), expected.double()
    special = ~e.isfinite()
    if not bool((((a == e) | (a.isnan() & e.isnan())) | ~special).all()):
        return math.inf
    a, e = a[~special], e[~special]
    if e.numel() == 0:
        return 0.0
    if not bool(a.isfinite().all()):
        return math.inf
    scale = float(e.abs().max())
    return float((a - e).abs().max()) / (scale or 1.0)


def _compare_tensors(
    actual: Any, expected: torch.Tensor, tolerance: float, place: str, number: bool = False
) -> Difference | None:
    if not isinstance(actual, torch.Tensor):
        return Difference(f"{_at(place)}{kind_of(actual)} came back, a tensor is wanted", math.inf)
    if actual.shape != expected.shape:
        text = f"{_at(place)}your shape is {_shape(actual)}, the right one {_shape(expected)}"
        return Difference(text + _shape_remark(actual, expected), math.inf)
    if actual.dtype != expected.dtype:
        names = str(actual.dtype).removeprefix("torch."), str(expected.dtype).removeprefix("torch.")
        return Difference(
            f"{_at(place)}your dtype is {names[0]}, the right one {names[1]}", math.inf
        )
    size = deviation(actual, expected)
    if size <= tolerance:
        return None
    lines = [] if number else [_first_place(actual, expected, tolerance)]
    if number:
        lines.append(f"yours {_number(actual[0])}, right {_number(expected[0])}")
    lines += list(_remarks(actual, expected))[:2]
    return Difference(_at(place) + "\n".join(lines), size)


def _first_place(actual: torch.Tensor, expected: torch.Tensor, tolerance: float) -> str:
    a, e = actual.double(), expected.double()
    finite = e[e.isfinite()]
    allowed = tolerance * (float(finite.abs().max()) if finite.numel() else 1.0)
    same = (a == e) | (a.isnan() & e.isnan()) | ((a - e).abs() <= allowed)
    wrong = int((~same).sum())
    index = tuple((~same).nonzero()[0].tolist()) if wrong else ()
    where = f"first at [{', '.join(map(str, index))}]: " if index else ""
    share = f"{wrong} of {a.numel()} numbers differ; " if a.numel() > 1 else ""
    mine, right = _number(a[index]), _number(e[index])
    if mine == right:
        mine, right = f"{float(a[index]):.9g}", f"{float(e[index]):.9g}"
    return f"{share}{where}yours {mine}, right {right}"


def _remarks(actual: torch.Tensor, expected: torch.Tensor) -> Iterator[str]:
    """Yield what the wrong numbers look like: scaled, turned, shifted, ..."""
    a, e = actual.double(), expected.double()
    if a.isnan().any() and not e.isnan().any():
        rows = "all" if a.isnan().all() else str(int(a.isnan().sum()))
        yield f"yours has nan ({rows} of {a.numel()} numbers)"
        return
    if a.isinf().any() and not e.isinf().any():
        yield "yours has inf where the right numbers are finite"
        return
    if not (e.isfinite().all() and a.isfinite().all()) or a.numel() < 2:
        return
    if not a.any():
        yield "yours is all zeros"
        return

    def close(x: torch.Tensor, y: torch.Tensor) -> bool:
        return x.shape == y.shape and deviation(x, y) < 1e-4

    if close(a, e):
        yield f"nearly right: off by {deviation(a, e):.1g} of the largest number"
        return
    if close(-a, e):
        yield "yours is right but for its sign"
        return
    factor = float((a * e).sum() / (e * e).sum()) if e.any() else 0.0
    if factor and close(a / factor, e) and 30 * deviation(a / factor, e) < deviation(a, e):
        yield f"yours is the right answer times {factor:.5g} (1 / {1 / factor:.5g})"
        return
    offset = float((a - e).mean())
    if close(a - offset, e):
        yield f"yours is the right answer plus {offset:.5g} everywhere"
        return
    if a.dim() >= 2:
        n = a.dim()
        for i in range(n):
            for j in range(i + 1, n):
                if a.shape[i] == a.shape[j] and close(a.transpose(i, j), e):
                    yield f"yours is right with dimensions {i} and {j} swapped"
                    return
    for dim in range(a.dim()):
        for shift in (1, -1):
            if a.shape[dim] > 2 and close(a.roll(shift, dim), e):
                yield f"yours is right, but shifted by one along dimension {dim}"
                return
    if a.dim() and torch.equal(a.flatten().sort()[0], e.flatten().sort()[0]):
        yield "the numbers are right, but in another order"
        return
    for dim in range(a.dim()):
        wrong = [i for i in range(a.shape[dim]) if not close(a.select(dim, i), e.select(dim, i))]
        if a.shape[dim] > 1 and len(wrong) == 1:
            yield f"only index {wrong[0]} of dimension {dim} is wrong"
            return


def _shape_remark(actual: torch.Tensor, expected: torch.Tensor) -> str:
    if actual.numel() != expected.numel():
        return ""
    if sorted(actual.shape) == sorted(expected.shape):
        return " (the same sizes in another order)"
    return " (as many numbers, in other dimensions)"


def _compare_sequences(actual: Any, expected: Any, tolerance: float, place: str):
    for i, (mine, right) in enumerate(zip(actual, expected, strict=False)):
        found = compare(mine, right, tolerance, f"{place}[{i}]")
        if found:
            if all(type(item) in (int, str, bytes) for item in expected) and len(expected) > 1:
                both = f"\nyours {_short(actual)}\nright {_short(expected)}"
                return Difference(found.text + both, found.size)
            return found
    if len(actual) != len(expected):
        text = f"{_at(place)}yours has {len(actual)} items, the right one {len(expected)}"
        return Difference(f"{text}\nyours {_short(actual)}\nright {_short(expected)}", math.inf)
    return None


def _compare_dicts(actual: Any, expected: Any, tolerance: float, place: str):
    missing = [key for key in expected if key not in actual]
    if missing:
        return Difference(f"{_at(place)}{_short(missing[0])} is missing in yours", math.inf)
    extra = [key for key in actual if key not in expected]
    if extra:
        return Difference(f"{_at(place)}{_short(extra[0])} should not be in yours", math.inf)
    for key, right in expected.items():
        found = compare(actual[key], right, tolerance, f"{place}[{_short(key)}]")
        if found:
            return found
    return None


def kind_of(value: Any) -> str:
    """Return what a learner would call this."""
    if isinstance(value, Thing):
        return f"an object of the class {value._kind}"
    if isinstance(value, Part):
        return "a function"
    if isinstance(value, torch.Tensor):
        return "a tensor"
    names = {
        **{type(None): "None (is the `return` missing?)", bool: "True or False", int: "an int"},
        **{float: "a float", str: "text", bytes: "bytes", list: "a list", tuple: "a tuple"},
        **{dict: "a dictionary", set: "a set"},
    }
    return names.get(type(value), f"a {type(value).__name__}")


def _shape(tensor: torch.Tensor) -> str:
    return str(tuple(tensor.shape))


def _number(value: Any) -> str:
    return f"{float(value):.6g}"


def _short(value: Any) -> str:
    text = brief(value)
    return text if len(text) <= 160 else f"{text[:157]}..."


def _at(place: str) -> str:
    return f"at {place}: " if place else ""

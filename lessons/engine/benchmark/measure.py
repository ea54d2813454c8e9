"""Medians of interleaved runs.

Two programs timed one after the other are timed on two different machines: the clock changes, a
neighbour wakes up. Here every round runs each side once, in turns the other way round, and a ratio
is taken within its round, so that a slow minute slows both. What is reported is the median with the
middle half of the rounds (the two quartiles); no best time is picked.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles


@dataclass(frozen=True)
class Spread:
    """The median of some measurements, and between which values the middle half of them lies."""

    median: float
    low: float
    high: float
    rounds: int


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of at least one value."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0], 1)
    low, _, high = quantiles(values, n=4, method="inclusive")
    return Spread(median(values), low, high, len(values))


def ratios(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Return the spread of above / below, each taken within its round."""
    return spread([a / b for a, b in zip(above, below, strict=True)])


def interleave(
    sides: Mapping[str, Callable[[], float]], rounds: int, warmup: int = 1
) -> dict[str, list[float]]:
    """Run every side once a round and return the seconds that each gave, round by round.

    sides: each runs its work once and returns what it took. warmup: rounds that are not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(warmup + rounds):
        order = list(sides) if number % 2 == 0 else list(sides)[::-1]
        for name in order:
            took = sides[name]()
            if number >= warmup:
                seconds[name].append(took)
    return seconds


def forget_peak() -> float:
    """Begin a new peak of this process's memory; return what it holds now, in MB."""
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS")
    import psutil

    return psutil.Process().memory_info().rss / 1e6


def peak() -> float:
    """The most memory that this process held since `forget_peak`, in MB (elsewhere than on Linux:
    since it began)."""
    if sys.platform == "linux":  # not ru_maxrss, which a child inherits from its parent
        return _status("VmHWM")
    import torch

    from ..devices import peak_memory_mb

    return peak_memory_mb(torch.device("cpu"))


def _status(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"no {field} in /proc/self/status")

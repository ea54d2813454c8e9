"""Written another way: asserts and names for every unit; a conclusion that weighs chance."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

BYTES_PER_WEIGHT = 16  # fp32 weight, gradient and AdamW's two moments: 4 x 4 bytes


@dataclass(frozen=True)
class Budget:
    """What a run costs before it has begun."""

    tokens_per_step: int
    steps: int
    memory_bytes: int


def batch_budget(
    train_tokens: int,
    *,
    batch_size: int,
    accumulation: int,
    block_size: int,
    n_parameters: int,
    vocab_size: int,
) -> Budget:
    """Return how many steps these tokens are, and what memory a step needs."""
    bytes_per_number = 4
    windows_per_step = accumulation * batch_size
    tokens_per_step = windows_per_step * block_size
    steps = 0 if train_tokens == 0 else 1 + (train_tokens - 1) // tokens_per_step
    assert steps * tokens_per_step >= train_tokens
    numbers_kept = 4 * n_parameters + 2 * batch_size * block_size * vocab_size
    return Budget(tokens_per_step, steps, bytes_per_number * numbers_kept)


def recipe() -> dict[str, Any]:
    """Return the hyper-parameters of a run."""
    peak = 1e-2
    return {
        "peak_lr": peak,
        "final_lr": peak / 100,
        "warmup": 25,
        "weight_decay": 0.05,
        "batch_size": 10,
        "dropout": 0.05,
        "optimizer": "muon",
    }


@dataclass(frozen=True)
class Comparison:
    """Two models on the same text. Below 1, `ratio` says that ours is the better one."""

    ours: float  # bits per byte
    other: float  # bits per byte
    ratio: float  # ours / other


def compare(our_nats: float, other_nats: float, n_bytes: int) -> Comparison:
    """Compare two models by bits per byte."""
    bits = {name: n / math.log(2) for name, n in (("ours", our_nats), ("other", other_nats))}
    per_byte = {name: value / n_bytes for name, value in bits.items()}
    return Comparison(**per_byte, ratio=per_byte["ours"] / per_byte["other"])


@dataclass(frozen=True)
class Ablation:
    """One thing changed, everything else equal, and what came of it."""

    setting: str
    before: float  # bits per byte with the recipe
    after: float  # bits per byte with the one change
    conclusion: str


def ablation(bits_per_byte_of: Callable[[dict[str, Any]], float]) -> Ablation:
    """Run the recipe twice, once with one change, and draw a conclusion."""
    noise = 0.5  # per cent between two seeds
    before = float(bits_per_byte_of(recipe()))
    without = recipe()
    without.update(weight_decay=0)
    after = float(bits_per_byte_of(without))
    change = (after / before - 1) * 100
    if abs(change) < noise:
        what = "nothing that chance could not do"
    elif change > 0:
        what = "harm"
    else:
        what = "good"
    return Ablation(
        "weight_decay",
        before,
        after,
        f"Taking away the weight decay did {what} ({abs(change):.1f} per cent of {before:.2f} bits).",
    )


def train(out: str | None = None, **settings: Any) -> Any:
    """Train a model and return it, ready to tell stories (given).

    The settings are the command line's options with underscores: `train(data="stories.txt",
    minutes=3)`, then `model.generate("Once upon a time", max_new_tokens=100)`. Run again with the
    same settings it goes on, or returns the finished model at once.
    """
    from .engine.pipeline import train_from_python

    return train_from_python(out, settings)


def load(folder: str) -> Any:
    """Load the best model of a run folder, or a checkpoint folder (given)."""
    from .engine.pipeline import load_from_python

    return load_from_python(folder)


if __name__ == "__main__":
    from .engine.commands import main

    raise SystemExit(main())

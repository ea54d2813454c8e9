"""Written another way: NumPy inside, converted back; a slow and careful recipe."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

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
    shape = np.array([batch_size, accumulation, block_size], dtype=np.int64)
    step = int(shape.prod())
    steps = int(np.ceil(np.float64(train_tokens) / step))
    logits = int(np.prod(np.array([batch_size, block_size, vocab_size], dtype=np.int64)))
    return Budget(step, steps, int(16 * n_parameters + 8 * logits))


def recipe() -> dict[str, Any]:
    """Return the hyper-parameters of a run."""
    low, high = np.array([3.0, 30.0]) * 1e-4
    return {
        "peak_lr": float(high),
        "final_lr": float(low),
        "warmup": 50,
        "weight_decay": 0.05,
        "batch_size": 12,
        "dropout": 0.1,
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
    both = np.array([our_nats, other_nats], dtype=np.float64) / np.log(2) / n_bytes
    return Comparison(float(both[0]), float(both[1]), float(both[0] / both[1]))


@dataclass(frozen=True)
class Ablation:
    """One thing changed, everything else equal, and what came of it."""

    setting: str
    before: float  # bits per byte with the recipe
    after: float  # bits per byte with the one change
    conclusion: str


def ablation(bits_per_byte_of: Callable[[dict[str, Any]], float]) -> Ablation:
    """Run the recipe twice, once with one change, and draw a conclusion."""
    settings = [recipe(), recipe() | {"warmup": 0}]
    bits = np.array([bits_per_byte_of(each) for each in settings])
    change = float(np.diff(bits)[0])
    return Ablation(
        "warmup",
        float(bits[0]),
        float(bits[1]),
        f"Leaving out the warm-up moves the held-out bits per byte by {change:+.3f}, from "
        f"{bits[0]:.3f}. One run each: I would not bet on the third decimal.",
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

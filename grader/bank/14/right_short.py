"""Written another way: as few lines as can be; both results in the conclusion."""

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
    step = batch_size * accumulation * block_size
    memory = 16 * n_parameters + 8 * batch_size * block_size * vocab_size
    return Budget(step, math.ceil(train_tokens / step), memory)


def recipe() -> dict[str, Any]:
    """Return the hyper-parameters of a run."""
    adamw = {"optimizer": "adamw", "peak_lr": 5e-4, "final_lr": 0, "weight_decay": 0.1}
    return adamw | {"warmup": 30, "batch_size": 24, "dropout": 0.0}


@dataclass(frozen=True)
class Comparison:
    """Two models on the same text. Below 1, `ratio` says that ours is the better one."""

    ours: float  # bits per byte
    other: float  # bits per byte
    ratio: float  # ours / other


def compare(our_nats: float, other_nats: float, n_bytes: int) -> Comparison:
    """Compare two models by bits per byte."""
    a, b = (n / n_bytes / math.log(2) for n in (our_nats, other_nats))
    return Comparison(a, b, a / b)


@dataclass(frozen=True)
class Ablation:
    """One thing changed, everything else equal, and what came of it."""

    setting: str
    before: float  # bits per byte with the recipe
    after: float  # bits per byte with the one change
    conclusion: str


def ablation(bits_per_byte_of: Callable[[dict[str, Any]], float]) -> Ablation:
    """Run the recipe twice, once with one change, and draw a conclusion."""
    a = bits_per_byte_of(recipe())
    b = bits_per_byte_of(recipe() | {"batch_size": 48})
    return Ablation(
        "batch_size",
        a,
        b,
        f"24 windows in a batch: {a:.2f} bits. 48 of them: {b:.2f} bits, same tokens.",
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

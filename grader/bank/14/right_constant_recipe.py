"""Written another way: the recipe is a constant of which copies are given away."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

BYTES_PER_WEIGHT = 16  # fp32 weight, gradient and AdamW's two moments: 4 x 4 bytes


RECIPE = {
    "peak_lr": 2e-3,
    "final_lr": 2e-4,
    "warmup": 20,
    "weight_decay": 0.1,
    "batch_size": 8,
    "dropout": 0.05,
    "optimizer": "adamw",
}


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
    whole = train_tokens // step
    steps = whole if whole * step == train_tokens else whole + 1
    return Budget(step, steps, 4 * 4 * n_parameters + 8 * vocab_size * batch_size * block_size)


def recipe() -> dict[str, Any]:
    """Return the hyper-parameters of a run."""
    return dict(RECIPE)


@dataclass(frozen=True)
class Comparison:
    """Two models on the same text. Below 1, `ratio` says that ours is the better one."""

    ours: float  # bits per byte
    other: float  # bits per byte
    ratio: float  # ours / other


def compare(our_nats: float, other_nats: float, n_bytes: int) -> Comparison:
    """Compare two models by bits per byte."""
    one_bit = n_bytes * math.log(2.0)
    return Comparison(our_nats / one_bit, other_nats / one_bit, our_nats / other_nats)


@dataclass(frozen=True)
class Ablation:
    """One thing changed, everything else equal, and what came of it."""

    setting: str
    before: float  # bits per byte with the recipe
    after: float  # bits per byte with the one change
    conclusion: str


def ablation(bits_per_byte_of: Callable[[dict[str, Any]], float]) -> Ablation:
    """Run the recipe twice, once with one change, and draw a conclusion."""
    before, after = [bits_per_byte_of(s) for s in (recipe(), recipe() | {"weight_decay": 0.0})]
    if after > before:
        text = f"Without weight decay the loss rises by {(after / before - 1) * 100:.0f} per cent"
    else:
        text = f"Without weight decay the loss falls by {(1 - after / before) * 100:.0f} per cent"
    return Ablation(
        "weight_decay", before, after, text + ", in one run each; two seeds may differ."
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

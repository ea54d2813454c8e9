"""Written another way: exact fractions, small helpers, an optimiser in question."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
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
    step = math.prod((batch_size, accumulation, block_size))
    logits = math.prod((batch_size, block_size, vocab_size))
    return Budget(
        steps=math.ceil(Fraction(train_tokens, step)),
        tokens_per_step=step,
        memory_bytes=sum((4, 4, 4, 4)) * n_parameters + sum((4, 4)) * logits,
    )


def recipe() -> dict[str, Any]:
    """Return the hyper-parameters of a run."""
    return {
        "optimizer": "muon",
        "dropout": 0.0,
        "batch_size": 64,
        "weight_decay": 0.2,
        "warmup": 0,
        "final_lr": 2e-3,
        "peak_lr": 2e-3,
    }


@dataclass(frozen=True)
class Comparison:
    """Two models on the same text. Below 1, `ratio` says that ours is the better one."""

    ours: float  # bits per byte
    other: float  # bits per byte
    ratio: float  # ours / other


def compare(our_nats: float, other_nats: float, n_bytes: int) -> Comparison:
    """Compare two models by bits per byte."""

    def bits_per_byte(nats: float) -> float:
        return nats / n_bytes / math.log(2)

    ours, other = bits_per_byte(our_nats), bits_per_byte(other_nats)
    return Comparison(ours, other, ours / other)


@dataclass(frozen=True)
class Ablation:
    """One thing changed, everything else equal, and what came of it."""

    setting: str
    before: float  # bits per byte with the recipe
    after: float  # bits per byte with the one change
    conclusion: str


def ablation(bits_per_byte_of: Callable[[dict[str, Any]], float]) -> Ablation:
    """Run the recipe twice, once with one change, and draw a conclusion."""
    mine = recipe()
    theirs = mine | {"optimizer": "adamw"}
    before = bits_per_byte_of(mine)
    after = bits_per_byte_of(theirs)
    ratio = after / before
    saved = "Muon is worth its trouble" if ratio > 1 else "AdamW alone does as well or better"
    return Ablation(
        "optimizer",
        before,
        after,
        f"{saved}: AdamW needs {ratio:.3f} times the bits per byte at the same rate, "
        "and its own best rate may be another one.",
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

"""Written another way: logarithms to base 2, keyword arguments, Muon at a high rate."""

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
    windows = batch_size * accumulation
    tokens = windows * block_size
    return Budget(
        tokens_per_step=tokens,
        steps=(train_tokens - 1) // tokens + 1,
        memory_bytes=n_parameters * BYTES_PER_WEIGHT + (batch_size * block_size * vocab_size << 3),
    )


def recipe() -> dict[str, Any]:
    """Return the hyper-parameters of a run."""
    names = ["peak_lr", "final_lr", "warmup", "weight_decay", "batch_size", "dropout", "optimizer"]
    return dict(zip(names, (2e-2, 1e-3, 10, 0.2, 8, 0.2, "muon"), strict=True))


@dataclass(frozen=True)
class Comparison:
    """Two models on the same text. Below 1, `ratio` says that ours is the better one."""

    ours: float  # bits per byte
    other: float  # bits per byte
    ratio: float  # ours / other


def compare(our_nats: float, other_nats: float, n_bytes: int) -> Comparison:
    """Compare two models by bits per byte."""
    ours = our_nats * math.log2(math.e) / n_bytes
    other = other_nats * math.log2(math.e) / n_bytes
    return Comparison(ours, other, our_nats / other_nats)


@dataclass(frozen=True)
class Ablation:
    """One thing changed, everything else equal, and what came of it."""

    setting: str
    before: float  # bits per byte with the recipe
    after: float  # bits per byte with the one change
    conclusion: str


def ablation(bits_per_byte_of: Callable[[dict[str, Any]], float]) -> Ablation:
    """Run the recipe twice, once with one change, and draw a conclusion."""
    base = recipe()
    changed = base.copy()
    changed["peak_lr"] = base["peak_lr"] / 3
    runs = {"before": bits_per_byte_of(base), "after": bits_per_byte_of(changed)}
    gain = (runs["before"] - runs["after"]) / runs["before"]
    verdict = "helps" if gain > 0 else "hurts"
    return Ablation(
        "peak_lr",
        **runs,
        conclusion=f"A third of the learning rate {verdict}: {gain:.2%} of the bits are saved. "
        "With a single run for each I can not say how much of it is luck.",
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

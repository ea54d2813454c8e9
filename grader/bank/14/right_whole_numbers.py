"""Written another way: integers only, AdamW, the dropout in question."""

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
    tokens_per_step = block_size * batch_size * accumulation
    steps, rest = divmod(train_tokens, tokens_per_step)
    if rest:
        steps += 1
    weights = gradients = 4 * n_parameters
    moments = 2 * 4 * n_parameters
    logits = 4 * batch_size * block_size * vocab_size
    return Budget(tokens_per_step, steps, weights + gradients + moments + logits + logits)


def recipe() -> dict[str, Any]:
    """Return the hyper-parameters of a run."""
    return dict(
        optimizer="adamw",
        peak_lr=1e-3,
        final_lr=1e-4,
        warmup=100,
        weight_decay=0.01,
        batch_size=32,
        dropout=0.1,
    )


@dataclass(frozen=True)
class Comparison:
    """Two models on the same text. Below 1, `ratio` says that ours is the better one."""

    ours: float  # bits per byte
    other: float  # bits per byte
    ratio: float  # ours / other


def compare(our_nats: float, other_nats: float, n_bytes: int) -> Comparison:
    """Compare two models by bits per byte."""
    nats_per_bit = math.log(2)
    ours = our_nats / (nats_per_bit * n_bytes)
    other = other_nats / (nats_per_bit * n_bytes)
    return Comparison(ours=ours, other=other, ratio=ours / other)


@dataclass(frozen=True)
class Ablation:
    """One thing changed, everything else equal, and what came of it."""

    setting: str
    before: float  # bits per byte with the recipe
    after: float  # bits per byte with the one change
    conclusion: str


def ablation(bits_per_byte_of: Callable[[dict[str, Any]], float]) -> Ablation:
    """Run the recipe twice, once with one change, and draw a conclusion."""
    settings = recipe()
    before = bits_per_byte_of(settings)
    settings["dropout"] = 0.0
    after = bits_per_byte_of(settings)
    if after < before:
        word = "better"
    else:
        word = "worse"
    text = f"I took the dropout away and the model became {word}: {before:.3f} bits per byte "
    text += f"with it, {after:.3f} without. I would want a second seed before I believe it."
    return Ablation("dropout", before, after, text)


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

"""Written another way: counting instead of dividing, a loop over both runs."""

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
    tokens_per_step = sum(block_size for _ in range(batch_size * accumulation))
    steps = -(-train_tokens // tokens_per_step)
    memory = 0
    for what in ("weight", "gradient", "first moment", "second moment"):
        assert what
        memory += 4 * n_parameters
    for _ in ("logits", "their gradient"):
        memory += 4 * vocab_size * block_size * batch_size
    return Budget(tokens_per_step, steps, memory)


def recipe() -> dict[str, Any]:
    """Return the hyper-parameters of a run."""
    settings: dict[str, Any] = {}
    settings["batch_size"] = 64
    settings["peak_lr"] = 3e-3
    settings["final_lr"] = settings["peak_lr"] / 10
    settings["warmup"] = 200
    settings["weight_decay"] = 0
    settings["dropout"] = 0
    settings["optimizer"] = "adamw"
    return settings


@dataclass(frozen=True)
class Comparison:
    """Two models on the same text. Below 1, `ratio` says that ours is the better one."""

    ours: float  # bits per byte
    other: float  # bits per byte
    ratio: float  # ours / other


def compare(our_nats: float, other_nats: float, n_bytes: int) -> Comparison:
    """Compare two models by bits per byte."""
    bits = [nats / math.log(2) for nats in (our_nats, other_nats)]
    ours, other = (b / n_bytes for b in bits)
    return Comparison(ours, other, bits[0] / bits[1])


@dataclass(frozen=True)
class Ablation:
    """One thing changed, everything else equal, and what came of it."""

    setting: str
    before: float  # bits per byte with the recipe
    after: float  # bits per byte with the one change
    conclusion: str


def ablation(bits_per_byte_of: Callable[[dict[str, Any]], float]) -> Ablation:
    """Run the recipe twice, once with one change, and draw a conclusion."""
    results = []
    for change in ({}, {"batch_size": 16}):
        results.append(bits_per_byte_of({**recipe(), **change}))
    before, after = results
    percent = round(abs(after - before) / before * 100)
    way = "less" if after < before else "more"
    return Ablation(
        setting="batch_size",
        before=before,
        after=after,
        conclusion=f"A quarter of the batch size costs {percent}% {way} bits per byte. Since each "
        "setting ran only once, small differences may well be chance.",
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

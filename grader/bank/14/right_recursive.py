"""Written another way: steps counted by halving, a late and small change, two sentences."""

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
    per_step = batch_size * block_size * accumulation

    def steps_for(tokens: int) -> int:
        if tokens <= per_step:
            return 1 if tokens > 0 else 0
        half = tokens // per_step // 2 + 1
        return half + steps_for(max(0, tokens - half * per_step))

    bytes_of_logits = 4 * batch_size * block_size * vocab_size
    bytes_of_weights = 4 * n_parameters
    return Budget(per_step, steps_for(train_tokens), 4 * bytes_of_weights + 2 * bytes_of_logits)


def recipe() -> dict[str, Any]:
    """Return the hyper-parameters of a run."""
    steps_per_reading, readings = 1000, 1
    return {
        "peak_lr": 4e-3,
        "final_lr": 4e-5,
        "warmup": steps_per_reading * readings // 10,
        "weight_decay": 1e-1,
        "batch_size": 2**4,
        "dropout": 0.0,
        "optimizer": ("adamw", "muon")[1],
    }


@dataclass(frozen=True)
class Comparison:
    """Two models on the same text. Below 1, `ratio` says that ours is the better one."""

    ours: float  # bits per byte
    other: float  # bits per byte
    ratio: float  # ours / other


def compare(our_nats: float, other_nats: float, n_bytes: int) -> Comparison:
    """Compare two models by bits per byte."""
    ratio = our_nats / other_nats
    other = other_nats / math.log(2) / n_bytes
    return Comparison(ratio * other, other, ratio)


@dataclass(frozen=True)
class Ablation:
    """One thing changed, everything else equal, and what came of it."""

    setting: str
    before: float  # bits per byte with the recipe
    after: float  # bits per byte with the one change
    conclusion: str


def ablation(bits_per_byte_of: Callable[[dict[str, Any]], float]) -> Ablation:
    """Run the recipe twice, once with one change, and draw a conclusion."""
    first = recipe()
    second = {key: 0.2 if key == "dropout" else value for key, value in first.items()}
    before = bits_per_byte_of(dict(first))
    after = bits_per_byte_of(dict(second))
    setting = next(key for key in first if first[key] != second[key])
    per_cent = (after - before) / before * 100
    sentences = [
        f"The {setting} of 0.2 changes the loss on unseen stories by {per_cent:+.2f} %.",
        "Both runs had the same seed, so a part of that may be luck.",
    ]
    return Ablation(setting, before, after, " ".join(sentences))


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

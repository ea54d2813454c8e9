# lesson 14, stub bdb125009cd1 (yours to fill in)
"""Lesson 14: the capstone. A model of your own that tells stories.

    python -m lessons.tinystories run          # with your own library: the whole way
    python -m solutions.tinystories run        # with the reference library
    python -m solutions.tinystories --help     # everything else

Everything written in the lessons before is used here: `engine/` trains it, keeps it safe and
measures it. What is left to write are the decisions of whoever trains a model: how much fits into
the time and the memory there is (`batch_budget`), with which hyper-parameters (`recipe`), whether
it is any good (`compare`), and what one change is worth (`ablation`).

Papers: TinyStories (Eldan and Li 2023), scaling laws and 6 N D (Kaplan et al. 2020).
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("run this instead: pytest lessons/14, or python -m lessons.tinystories")

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
    """Return how many steps `train_tokens` tokens are, and the memory that one step needs.

    Tokens per step: windows in a micro-batch, times micro-batches, times tokens in a window. Steps:
    as many as it takes to see at least `train_tokens`. Memory: weights, gradients and AdamW's two
    moments (16 bytes a parameter), and the largest single thing in a forward pass, the logits of
    one micro-batch in fp32 with their gradient. Accumulation costs time, not memory.

    Predict first: A million training tokens; a micro-batch of 8 windows of 256 tokens, 3
    micro-batches to a step. About how many steps is that: 40, 160 or 490?

    1. Multiply for the tokens of a step; divide, rounding up, for the steps. (`math.ceil` rounds up;
       it needs `import math` at the top of the file.)
    2. 16 bytes for each parameter.
    3. 2 x 4 bytes for each of batch_size x block_size x vocab_size logits.
    """
    raise NotImplementedError("lesson 14: batch_budget")


def recipe() -> dict[str, Any]:
    """Return your hyper-parameters for the `laptop` shape, as the command line names them.

    Exactly these keys: "peak_lr", the highest learning rate (above 0, below 1); "final_lr", that of
    the last step (0 to peak_lr); "warmup", in steps (a whole number, 0 or more); "weight_decay" (0
    to 1); "batch_size", in windows (a whole number, 1 or more); "dropout" (0 or more, below 1);
    "optimizer" ("adamw" or "muon", which takes Muon for the hidden matrices).

    `run --recipe` trains with them. A short run judges them: a small model, 64 wide, reads
    ministories byte by byte, at most 140 steps and at most 100,000 bytes, so a huge batch gets few
    steps. The warm-up is cut to a quarter of the run, and the rates are multiplied by 256 / 64, as
    narrow models bear more. On stories that it has not seen it must come to 4.2 bits per byte;
    knowing only how often each letter occurs costs 4.5. Many recipes do.

    Predict first: A short run reads 100,000 bytes in windows of 16. With a batch_size of 64, how
    many steps are that: about 10, 100 or 1,000?

    1. Begin with the learning rate: try three, a factor of three apart, for a minute each.
    2. Small batches give more steps in the same time; too small ones give noisy gradients.
    3. A text that is read only once or twice needs little dropout.
    """
    raise NotImplementedError("lesson 14: recipe")


@dataclass(frozen=True)
class Comparison:
    """Two models on the same text. Below 1, `ratio` says that ours is the better one."""

    ours: float  # bits per byte
    other: float  # bits per byte
    ratio: float  # ours / other


def compare(our_nats: float, other_nats: float, n_bytes: int) -> Comparison:
    """Compare two models on the same text of `n_bytes` bytes by their summed losses in nats.

    Losses per token cannot be compared between tokenizers: one that cuts the text into fewer
    pieces has fewer, harder guesses. Bits per byte can: both models paid for the same bytes.

    Predict first: On the same 200 bytes, our model's losses sum to 208 nats, another one's to 277.
    How many bits per byte is ours: 0.7, 1.04 or 1.5?

    1. Nats to bits: divide by ln 2, which is `math.log(2)`. Then per byte.
    2. The ratio of the two.
    """
    raise NotImplementedError("lesson 14: compare")


@dataclass(frozen=True)
class Ablation:
    """One thing changed, everything else equal, and what came of it."""

    setting: str
    before: float  # bits per byte with the recipe
    after: float  # bits per byte with the one change
    conclusion: str


def ablation(bits_per_byte_of: Callable[[dict[str, Any]], float]) -> Ablation:
    """Run the recipe twice, once with one change, and say in words what the change is worth.

    `bits_per_byte_of(settings)` trains for a minute with these settings, which have all the keys of
    a recipe and no others, and returns the held-out bits per byte. Ask it twice and no more: a
    minute is a minute. `setting` is the key that you changed; where another one had to follow
    (another optimiser at its own learning rate), the one that it is about.

    The conclusion is one or two sentences, at least eight words: what you changed, what it did, and
    how sure you can be after one run each. It says what came of these two runs, whichever they are:
    write the change in per cent into it, or both results (two decimals), with an f-string.

    Predict first: The recipe gives 1.250 bits per byte, with one change it gives 1.300. By how many
    per cent did the loss change, and which of the two settings is better?

    1. Train with your `recipe()` as it is; train again with one entry changed.
    2. By how many per cent did the loss change? Is that more than chance would do?
    """
    raise NotImplementedError("lesson 14: ablation")


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

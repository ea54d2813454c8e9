"""The presets: shapes that people publish, each with the recipe that trains it."""

from dataclasses import dataclass, field
from typing import Any

from .errors import CourseError


@dataclass(frozen=True)
class Expectation:
    """What a recipe costs and brings. `basis` says how we know: "measured" or "derived"."""

    hardware: str
    tokens: float  # training tokens
    hours: float
    memory_gb: float
    bits_per_byte: float | None  # on held-out TinyStories; None where nobody has looked
    basis: str


@dataclass(frozen=True)
class Preset:
    """One shape of model and the way to train it."""

    origin: str
    n_layer: int
    n_head: int
    n_embd: int
    block_size: int
    tokenizer: str = "gpt2"
    n_inner: int | None = None  # None: 4 * n_embd
    dropout: float = 0.0
    data: str = "ministories"
    train: dict[str, Any] = field(default_factory=dict)  # TrainConfig's fields that differ
    optimizer: str = "adamw"
    expect: tuple[Expectation, ...] = ()


# What several presets have in common: a big batch of 32 x 32 windows, as in the story models that
# people publish, and the learning rates usual for that size.
_usual = {"steps": 20_000, "batch_size": 32, "accumulation": 32, "warmup": 1000}

PRESETS: dict[str, Preset] = {
    "laptop": Preset(
        origin="ours: small enough for two CPU cores, with a vocabulary of its own",
        n_layer=4,
        n_head=4,
        n_embd=256,
        block_size=256,
        tokenizer="bpe:4096",
        train={"steps": 1000, "batch_size": 16, "peak_lr": 5e-3, "warmup": 60, "final_lr": 0.0},
        optimizer="muon",
    ),
    "nano": Preset(
        origin="the smallest of the GPT-style TinyStories models that people publish",
        n_layer=4,
        n_head=4,
        n_embd=128,
        block_size=64,
        dropout=0.1,
        train=_usual | {"peak_lr": 1e-3},
    ),
    "small": Preset(
        origin="the usual default of the published TinyStories models",
        n_layer=6,
        n_head=6,
        n_embd=384,
        block_size=128,
        dropout=0.1,
        train=_usual | {"peak_lr": 6e-4},
    ),
    "medium": Preset(
        origin="the usual 50-60M story model",
        n_layer=8,
        n_head=8,
        n_embd=512,
        block_size=256,
        dropout=0.1,
        train=_usual | {"peak_lr": 6e-4, "accumulation": 16},
    ),
    "large": Preset(
        origin="GPT-2's smallest shape with half its context",
        n_layer=12,
        n_head=12,
        n_embd=768,
        block_size=512,
        dropout=0.1,
        train=_usual | {"peak_lr": 6e-4, "accumulation": 16},
    ),
    "notebook-tiny": Preset(
        origin="notebook-sized GPTs",
        n_layer=4,
        n_head=4,
        n_embd=256,
        block_size=1024,
        train={"steps": 5000, "batch_size": 16, "warmup": 200, "peak_lr": 1e-3},
    ),
    "notebook-small": Preset(
        origin="notebook-sized GPTs",
        n_layer=6,
        n_head=8,
        n_embd=512,
        block_size=1024,
        train={"steps": 5000, "batch_size": 16, "warmup": 200, "peak_lr": 6e-4},
    ),
    "notebook-medium": Preset(
        origin="notebook-sized GPTs",
        n_layer=12,
        n_head=12,
        n_embd=768,
        block_size=1024,
        train={"steps": 5000, "batch_size": 8, "warmup": 200, "peak_lr": 6e-4, "accumulation": 4},
    ),
    "wikipedia": Preset(
        origin="an educational 19M Wikipedia model; its heads do not divide its width",
        n_layer=7,
        n_head=7,
        n_embd=384,
        n_inner=6 * 384,
        block_size=512,
        tokenizer="sentencepiece:8000",
        dropout=0.1,
        data="wikipedia",
        train={"steps": 20_000, "batch_size": 16, "warmup": 500, "peak_lr": 6e-4},
    ),
    "distilgpt2": Preset(
        origin="DistilGPT-2",
        n_layer=6,
        n_head=12,
        n_embd=768,
        block_size=1024,
        dropout=0.1,
        train={"steps": 20_000, "batch_size": 8, "accumulation": 8, "warmup": 500, "peak_lr": 6e-4},
    ),
}


def get_preset(name: str) -> Preset:
    """Return the preset called `name`. Raises CourseError with the list of the right names."""
    if name not in PRESETS:
        raise CourseError(f"no preset {name!r}; --preset takes one of: {', '.join(PRESETS)}")
    return PRESETS[name]

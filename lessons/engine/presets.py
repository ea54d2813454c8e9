"""The presets: shapes that people publish, each with the recipe that trains it."""

from dataclasses import dataclass, field
from typing import Any

from .errors import CourseError


@dataclass(frozen=True)
class Expectation:
    """What a recipe costs and brings. `basis` says how we know.

    "measured": the run was made. "derived": hours from one timed step (CPU) or from 6 x parameters
    x tokens at 30 % of the peak rate (GPU), memory from that step on the CPU (no GPU was at
    hand: there it is a guess); bits per byte from the losses
    published for story models of that size (Karpathy's llama2.c: 1.07, 0.85 and 0.76 nats per token
    of about 3.9 bytes at 15, 42 and 110 million parameters) and our own curve below 10 million
    tokens, for `wikipedia` from the fit of Hoffmann et al. (2022).
    """

    hardware: str
    tokens: float  # training tokens
    hours: float
    memory_gb: float
    bits_per_byte: float  # on held-out text of the kind it was trained on (TinyStories, Wikipedia)
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
# With GPT-2's vocabulary a micro-batch holds 4,096 tokens: their logits alone are 0.8 GB, a step's
# memory 6 to 8 GB, which a laptop has. A GPU takes more at once with --batch-size.
_notebook = {"steps": 5000, "batch_size": 4, "accumulation": 4, "warmup": 200}

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
        expect=(
            Expectation("2 CPU cores (bf16)", 7.2e6, 0.14, 1.2, 0.79, "measured"),
            Expectation("2 CPU cores (bf16)", 3.3e6, 0.07, 1.2, 0.88, "measured"),
        ),
    ),
    "nano": Preset(
        origin="the smallest of the GPT-style TinyStories models that people publish",
        n_layer=4,
        n_head=4,
        n_embd=128,
        block_size=64,
        dropout=0.1,
        train=_usual | {"peak_lr": 1e-3},
        expect=(
            Expectation("2 CPU cores (bf16)", 1.3e9, 71, 2.5, 0.60, "derived"),
            Expectation("one H200", 1.3e9, 0.1, 3, 0.60, "derived"),
        ),
    ),
    "small": Preset(
        origin="the usual default of the published TinyStories models",
        n_layer=6,
        n_head=6,
        n_embd=384,
        block_size=128,
        dropout=0.1,
        train=_usual | {"peak_lr": 6e-4},
        expect=(
            Expectation("2 CPU cores (bf16)", 2.6e9, 253, 5.5, 0.40, "derived"),
            Expectation("one H200", 2.6e9, 0.6, 6, 0.40, "derived"),
        ),
    ),
    "medium": Preset(
        origin="the usual 50-60M story model",
        n_layer=8,
        n_head=8,
        n_embd=512,
        block_size=256,
        dropout=0.1,
        train=_usual | {"peak_lr": 6e-4, "batch_size": 16},
        expect=(
            Expectation("2 CPU cores (bf16)", 2.6e9, 700, 7.2, 0.32, "derived"),
            Expectation("one H200", 2.6e9, 0.9, 7, 0.32, "derived"),
        ),
    ),
    "large": Preset(
        origin="GPT-2's smallest shape with half its context",
        n_layer=12,
        n_head=12,
        n_embd=768,
        block_size=512,
        dropout=0.1,
        train=_usual | {"peak_lr": 6e-4, "batch_size": 8, "accumulation": 64},
        expect=(
            Expectation("2 CPU cores (bf16)", 5.2e9, 4506, 8.3, 0.29, "derived"),
            Expectation("one H200", 5.2e9, 4.6, 8, 0.29, "derived"),
        ),
    ),
    "notebook-tiny": Preset(
        origin="notebook-sized GPTs",
        n_layer=4,
        n_head=4,
        n_embd=256,
        block_size=1024,
        train=_notebook | {"peak_lr": 1e-3},
        expect=(Expectation("2 CPU cores (bf16)", 8.2e7, 8.4, 5.3, 0.55, "derived"),),
    ),
    "notebook-small": Preset(
        origin="notebook-sized GPTs",
        n_layer=6,
        n_head=8,
        n_embd=512,
        block_size=1024,
        train=_notebook | {"peak_lr": 6e-4},
        expect=(Expectation("2 CPU cores (bf16)", 8.2e7, 12.9, 7.1, 0.50, "derived"),),
    ),
    "notebook-medium": Preset(
        origin="notebook-sized GPTs",
        n_layer=12,
        n_head=12,
        n_embd=768,
        block_size=1024,
        train=_notebook | {"peak_lr": 6e-4, "accumulation": 8},
        expect=(Expectation("2 CPU cores (bf16)", 1.6e8, 92, 8.7, 0.45, "derived"),),
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
        expect=(Expectation("2 CPU cores (bf16)", 1.6e8, 18, 4.6, 1.65, "derived"),),
    ),
    "distilgpt2": Preset(
        origin="DistilGPT-2",
        n_layer=6,
        n_head=12,
        n_embd=768,
        block_size=1024,
        dropout=0.1,
        train={
            "steps": 20_000,
            "batch_size": 4,
            "accumulation": 16,
            "warmup": 500,
            "peak_lr": 6e-4,
        },
        expect=(Expectation("2 CPU cores (bf16)", 1.3e9, 1620, 9.2, 0.31, "derived"),),
    ),
}


def get_preset(name: str) -> Preset:
    """Return the preset called `name`. Raises CourseError with the list of the right names."""
    if name not in PRESETS:
        raise CourseError(f"no preset {name!r}; --preset takes one of: {', '.join(PRESETS)}")
    return PRESETS[name]

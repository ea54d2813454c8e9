"""What a run is made of: the person's wishes over the preset's recipe, and how long it trains."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from ..trainer import TrainConfig
from .architectures import LLAMA_ONLY, NAMES, llama_shape, make_config
from .errors import CourseError
from .presets import get_preset

MODEL_WISHES = ("n_layer", "n_head", "n_embd", "n_inner", "block_size", "dropout")
TRAIN_WISHES = tuple(field.name for field in fields(TrainConfig) if field.name != "steps")
LENGTHS = ("steps", "epochs", "minutes")
OPTIMIZERS = ("adamw", "muon")


@dataclass
class Settings:
    """Everything that decides what a run computes. Stored in `config.json`; plain values only."""

    preset: str
    data: str
    valid: str | None
    stories: int | None  # how many ministories
    tokenizer: str
    model: dict[
        str, Any
    ]  # the configuration's fields but the vocabulary, which the tokenizer decides
    train: dict[str, Any]  # TrainConfig's fields; "steps" is the recipe's until decided
    optimizer: str
    precision: str
    length: dict[str, float]  # {"steps": n}, {"epochs": n} or {"minutes": n}
    evaluate_every: int | None  # steps; None: twenty times a run
    compile: str  # "auto", "yes" or "no"
    arch: str = "gpt2"  # or "llama"; runs begun before there was a choice do not say

    def model_config(self, vocab_size: int) -> Any:
        """The model's configuration for a tokenizer of that size: a GPTConfig or a LlamaConfig."""
        return make_config(self.arch, vocab_size, self.model)

    def train_config(self, steps: int) -> TrainConfig:
        """The trainer's configuration for a run of that many steps."""
        values = self.train | {"steps": steps}
        # A short run keeps its shape: the warm-up is never more than a fifth of it.
        return TrainConfig(**values | {"warmup": max(1, min(values["warmup"], steps // 5))})


def resolve(wishes: dict[str, Any]) -> Settings:
    """Lay the wishes (those that a person really uttered) over the preset. Raises CourseError."""
    preset = get_preset(wishes.get("preset", "laptop"))
    model = {name: wishes.get(name, getattr(preset, name)) for name in MODEL_WISHES}
    arch = wishes.get("arch", "gpt2")
    if arch not in NAMES:
        raise CourseError(f"no architecture {arch!r}; --arch takes {' or '.join(NAMES)}")
    if arch == "llama":
        model = llama_shape(model, wishes)
    elif other := [name for name in LLAMA_ONLY if name in wishes]:
        raise CourseError(f"--{other[0].replace('_', '-')} is for --arch llama: GPT-2 has none")
    train = asdict(TrainConfig(**preset.train))
    if "peak_lr" in wishes and "final_lr" not in wishes:  # keep the ratio of the recipe
        train["final_lr"] *= wishes["peak_lr"] / train["peak_lr"]
    train |= {name: wishes[name] for name in TRAIN_WISHES if name in wishes}
    lengths = {name: wishes[name] for name in LENGTHS if name in wishes}
    if len(lengths) > 1:
        raise CourseError(f"choose one of --{' and --'.join(lengths)}, not several")
    settings = Settings(
        preset=wishes.get("preset", "laptop"),
        data=wishes.get("data", preset.data),
        valid=wishes.get("valid"),
        stories=wishes.get("stories"),
        tokenizer=wishes.get("tokenizer", preset.tokenizer),
        model=model,
        train=train,
        optimizer=wishes.get("optimizer", preset.optimizer),
        precision=wishes.get("precision", "auto"),
        length=lengths or {"steps": train["steps"]},
        evaluate_every=wishes.get("evaluate_every"),
        compile=wishes.get("compile", "auto"),
        arch=arch,
    )
    check(settings)
    if arch == "llama":
        settings.model_config(vocab_size=256)  # what a LlamaConfig refuses is said now
    return settings


def check(settings: Settings) -> None:
    """Refuse numbers that cannot work, each with a sentence."""
    positive = {
        "--n-layer": settings.model["n_layer"],
        "--n-head": settings.model["n_head"],
        "--n-embd": settings.model["n_embd"],
        "--block-size": settings.model["block_size"],
        **{
            f"--{name.replace('_', '-')}": settings.model[name]
            for name in ("n_inner", *LLAMA_ONLY)
            if settings.model.get(name) is not None
        },
        "--batch-size": settings.train["batch_size"],
        "--accumulation": settings.train["accumulation"],
        "--lr": settings.train["peak_lr"],
        "--max-norm": settings.train["max_norm"],
        **{f"--{name}": value for name, value in settings.length.items()},
    }
    if settings.evaluate_every is not None:
        positive["--evaluate-every"] = settings.evaluate_every
    for flag, value in positive.items():
        if not value > 0:
            raise CourseError(f"{flag} must be above 0, not {value}")
    if settings.model["n_embd"] < settings.model["n_head"]:
        raise CourseError("--n-embd must be at least --n-head: every head needs a width")
    if not 0 <= settings.model["dropout"] < 1:
        raise CourseError(f"--dropout must be in [0, 1), not {settings.model['dropout']}")
    if settings.compile not in ("auto", "yes", "no"):
        raise CourseError(f"--compile takes auto, yes or no, not {settings.compile!r}")
    if settings.optimizer not in OPTIMIZERS:
        raise CourseError(
            f"no optimiser {settings.optimizer!r}; --optimizer takes {', '.join(OPTIMIZERS)}"
        )

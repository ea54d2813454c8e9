"""What a fine-tuning run is asked for, and its folder.

    finetuning.json  metrics.json  log.jsonl  report.html
    adapter/         LoRA alone, in PEFT's layout           (--method lora)
    model/           the whole model with its tokenizer     (--method full)

The settings are fixed when the folder is begun: the same command goes on, or finds all done; another
one is refused with the difference named.
"""

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..errors import CourseError
from ..files import read_json, write_json
from .examples import BUILT_IN

KINDS = ("supervised", "preferences")
METHODS = ("lora", "full")
# Peak learning rates, found on the small model: a detour bears more than the weights themselves.
RATES = {
    ("supervised", "lora"): 2e-3,
    ("supervised", "full"): 3e-4,
    ("preferences", "lora"): 5e-4,
    ("preferences", "full"): 3e-5,
}
STEPS = {"supervised": 200, "preferences": 150}
BATCH = {"supervised": 16, "preferences": 8}


@dataclass
class Settings:
    """Everything that decides what a run computes; plain values only."""

    kind: str
    base: str = "storyteller"
    data: str = ""  # "": the built-in one
    valid: str | None = None
    ordinary: str | None = None  # what the model could do before; None: the base's own kind of text
    examples: int | None = None  # at most so many
    method: str = "lora"
    rank: int = 8
    alpha: float = 16.0
    lora_dropout: float = 0.0
    layers: list[str] = field(default_factory=list)  # []: every matrix inside the blocks
    steps: int = 0  # 0: as usual for the kind
    batch_size: int = 0
    peak_lr: float = 0.0
    weight_decay: float = 0.0
    max_norm: float = 1.0
    seed: int = 0
    precision: str = "auto"
    beta: float = 0.1
    label_smoothing: float = 0.0
    reference_free: bool = False
    prefer: str = "happy"

    def __post_init__(self) -> None:
        self.data = self.data or BUILT_IN[self.kind]
        self.steps = self.steps or STEPS[self.kind]
        self.batch_size = self.batch_size or BATCH[self.kind]
        self.peak_lr = self.peak_lr or RATES[self.kind, self.method]


def settle(wishes: dict[str, Any]) -> Settings:
    """Wishes over what is usual. Raises CourseError for numbers that cannot work."""
    if wishes.get("method", "lora") not in METHODS:
        raise CourseError(f"no method {wishes['method']!r}; --method takes {' or '.join(METHODS)}")
    # 0 is what a Settings has where nobody said a number, so it is refused before it gets there
    for name in ("steps", "batch_size", "peak_lr", "examples", "rank", "alpha", "max_norm", "beta"):
        if name in wishes and not wishes[name] > 0:
            raise CourseError(f"{_flag(name)} must be above 0, not {wishes[name]}")
    settings = Settings(**wishes)
    if not 0 <= settings.lora_dropout < 1:
        raise CourseError(f"--lora-dropout must be in [0, 1), not {settings.lora_dropout}")
    if not 0 <= settings.label_smoothing <= 0.5:
        raise CourseError(f"--label-smoothing must be in [0, 0.5], not {settings.label_smoothing}")
    if settings.weight_decay < 0:
        raise CourseError(f"--weight-decay must be 0 or more, not {settings.weight_decay}")
    if settings.prefer not in ("happy", "sad"):
        raise CourseError(f"--prefer takes happy or sad, not {settings.prefer!r}")
    if settings.method == "full" and (lora := wishes.keys() & {"rank", "alpha", "layers"}):
        raise CourseError(
            f"{_flag(sorted(lora)[0])} is for --method lora; --method full has no adapter"
        )
    return settings


def _flag(name: str) -> str:
    return "--lr" if name == "peak_lr" else f"--{name.replace('_', '-')}"


class TuningFolder:
    """The paths of a run, and its `finetuning.json`."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config_file = self.path / "finetuning.json"
        self.metrics = self.path / "metrics.json"
        self.log = self.path / "log.jsonl"
        self.report = self.path / "report.html"
        self.adapter = self.path / "adapter"
        self.model = self.path / "model"
        self.state = self.path / "state"  # to go on from; gone when the run is done

    def begin(self, wishes: dict[str, Any]) -> Settings:
        """The settings of this run: new ones, or the stored ones where they are the same."""
        if self.path.is_file():
            raise CourseError(f"{self.path} is a file; --out takes a folder")
        if (self.path / "config.json").exists():
            raise CourseError(f"{self.path} holds a run of another command; choose another --out")
        settings = settle(wishes)
        if not self.config_file.exists():
            self.path.mkdir(parents=True, exist_ok=True)
            write_json(self.config_file, asdict(settings))
            return settings
        stored = self.settings()
        for each in fields(Settings):
            before, now = getattr(stored, each.name), getattr(settings, each.name)
            if before != now:
                raise CourseError(
                    f"{self.path} was begun with {_flag(each.name)} {_shown(before)}, not "
                    f"{_shown(now)}; choose another --out"
                )
        return stored

    def settings(self) -> Settings:
        """The settings of a run that has been begun."""
        if not self.config_file.exists():
            raise CourseError(
                f"{self.path} holds no fine-tuning run; begin one with: supervised --out {self.path}"
            )
        try:
            return Settings(**read_json(self.config_file))
        except (TypeError, KeyError):
            raise CourseError(f"{self.config_file} is damaged; delete {self.path}") from None

    def measured(self) -> dict[str, Any]:
        """`metrics.json` of a finished run."""
        self.settings()
        if not self.metrics.exists():
            raise CourseError(f"{self.path} is not finished; run its command again to go on")
        return read_json(self.metrics)


def _shown(value: Any) -> str:
    return " ".join(value) if isinstance(value, list) else str(value)

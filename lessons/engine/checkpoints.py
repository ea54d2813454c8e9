"""Checkpoints: a model to use (`best`) and a whole state to go on from (`last`).

Both are folders in the layout that `transformers` reads (where the shape allows it) with the
tokenizer's files inside. Only safetensors and JSON are written and read: unpickling a stranger's
file runs the stranger's code. A checkpoint is whole or absent, also after a kill.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from ..model import GPT
from .architectures import load_model, save_model
from .errors import CourseError
from .files import (
    read_json,
    recover,
    sha256_of_file,
    write_atomically,
    write_folder_atomically,
    write_json,
)
from .optimizers import Optimizers

OPTIMIZER = "optimizer.safetensors"


@dataclass
class Progress:
    """How far a run has come. Everything else about a step follows from its number."""

    step: int = 0  # steps done
    val_losses: list[float] = field(default_factory=list)
    best_step: int = -1
    seconds: float = 0.0  # spent training, in all sittings
    stopped_early: bool = False
    scaler: dict[str, Any] | None = None  # of fp16's loss scaling

    @property
    def best_loss(self) -> float:
        """The lowest validation loss so far."""
        finite = [loss for loss in self.val_losses if loss == loss]
        return min(finite, default=float("inf"))


def save_weights(folder: Path, model: GPT, tokenizer: Any, progress: Progress) -> None:
    """Write a checkpoint to use: model, tokenizer, and a line on where it comes from."""
    with write_folder_atomically(folder) as fresh:
        _write_weights(fresh, model, tokenizer, progress)


def save_state(
    folder: Path, model: GPT, tokenizer: Any, optimizer: Optimizers, progress: Progress
) -> None:
    """Write a checkpoint to go on from: the same, and the optimiser's state."""
    with write_folder_atomically(folder) as fresh:
        with write_atomically(fresh / OPTIMIZER, "wb") as file:
            file.write(save(optimizer.tensors()))
        _write_weights(fresh, model, tokenizer, progress)


def _write_weights(fresh: Path, model: GPT, tokenizer: Any, progress: Progress) -> None:
    save_model(model, fresh)
    tokenizer.save(fresh)
    # The model's file carries a checksum of its own (`pretrained.py`).
    hashes = {file.name: sha256_of_file(file) for file in fresh.glob(OPTIMIZER)}
    write_json(fresh / "trainer.json", {"progress": asdict(progress), "sha256": hashes})


def load_weights(folder: Path) -> GPT:
    """Load the model of a checkpoint. Raises CourseError where it is missing or damaged."""
    recover(folder)
    if not folder.is_dir():
        raise CourseError(f"no checkpoint {folder}; train one first")
    _verify(folder)
    return load_model(folder)


def load_progress(folder: Path) -> Progress | None:
    """How far the run of a checkpoint had come, or None where there is no checkpoint yet."""
    recover(folder)
    if not (folder / "trainer.json").exists():
        return None
    try:
        return Progress(**read_json(folder / "trainer.json")["progress"])
    except (KeyError, TypeError):
        raise CourseError(f"{folder}/trainer.json is damaged; delete {folder}") from None


def load_state(folder: Path, model: GPT, optimizer: Optimizers) -> Progress | None:
    """Put model and optimiser into the state of a checkpoint; None where there is none yet."""
    progress = load_progress(folder)
    if progress is None:
        return None
    weights = load_weights(folder)
    try:
        model.load_state_dict(weights.state_dict())
        optimizer.load_tensors(load_file(folder / OPTIMIZER))
    except (RuntimeError, ValueError, KeyError, OSError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise CourseError(
            f"{folder} does not fit this run ({reason}); delete it to train from the beginning"
        ) from None
    return progress


def _verify(folder: Path) -> None:
    """Compare the hashes of our own checkpoints; folders of others carry none."""
    if not (folder / "trainer.json").exists():
        return
    for name, expected in read_json(folder / "trainer.json").get("sha256", {}).items():
        file = folder / name
        if not file.exists() or sha256_of_file(file) != expected:
            raise CourseError(
                f"{file} is damaged (its SHA-256 is not the recorded one); "
                f"delete {folder} and run the same command again"
            )


def random_state(seed: int, step: int, rank: int) -> None:
    """Seed what a step draws (dropout) from its number, so that a resume needs no saved state."""
    torch.manual_seed((seed * 1_000_003 + step) * 1_009 + rank)

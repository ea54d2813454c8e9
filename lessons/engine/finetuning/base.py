"""The model that is adapted: the course's own small one, a capstone's, or any of the GPT-2 family."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..acceleration import use_fast_parts
from ..checkpoints import load_weights
from ..errors import CourseError
from ..pretrained import find_folder
from ..storyteller import storyteller_folder
from ..tokenizers import load_tokenizer
from ..weight_files import WEIGHTS, checksum, read_weights

OWN = "storyteller"  # the course's own small model
GPT2_VOCABULARY = 50257


@dataclass
class Base:
    """A model to begin from. name: what reports and adapters call it, without this machine's paths."""

    name: str
    folder: Path
    run: Path | None  # the capstone's run, where it is one
    model: Any
    tokenizer: Any

    @property
    def block_size(self) -> int:
        """How many tokens the model reads at once."""
        return self.model.config.block_size

    @property
    def sha256(self) -> str:
        """What tells the weights in the folder from all others."""
        return checksum(read_weights(self.folder))


def find_base(spec: str) -> tuple[str, Path, Path | None]:
    """(name, the model's folder, the run's folder or None) of what `--base` says."""
    if spec == OWN:
        return OWN, storyteller_folder(), None
    path = Path(spec).expanduser()
    if (path / "adapter").is_dir():
        raise CourseError(
            f"{spec} holds an adapter, not a model; make one of both with: merge --out {spec} FOLDER"
        )
    for model in (path / "checkpoints" / "best", path / "model"):
        if model.is_dir():
            return path.resolve().name, model, path
    folder = find_folder(spec, network=False)
    return (path.resolve().name if path.is_dir() else spec), folder, None


def load_base(spec: str, device: torch.device) -> Base:
    """Load the model and its tokenizer. Raises CourseError; the network is never asked."""
    name, folder, run = find_base(spec)
    model = load_weights(folder)
    names = {file.name for file in folder.iterdir()}
    if {"vocab.json", "merges.txt"} <= names or {"tokenizer.json", "tokenizer.model"} & names:
        tokenizer = load_tokenizer(str(folder))
    elif model.config.vocab_size == GPT2_VOCABULARY:  # DistilGPT-2 without its tokenizer's files
        tokenizer = load_tokenizer("gpt2")
    else:
        raise CourseError(f"{folder} holds no tokenizer; copy the model's beside its {WEIGHTS}")
    if tokenizer.vocab_size > model.config.vocab_size:
        raise CourseError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} tokens, the model only "
            f"{model.config.vocab_size}; they do not belong together"
        )
    return Base(name, folder, run, use_fast_parts(model.to(device)), tokenizer)

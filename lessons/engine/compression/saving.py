"""Small models on disk, and back.

Two layouts, told apart by config.json:

- the ordinary one (`pretrained.py`) with 16-bit floats, for what is an ordinary model still: pruned,
  distilled, trained from scratch. Everything that loads a model loads it, transformers too;
- "format": "course-int8": int8 weights as `NAME.weight` (O, I) with `NAME.scale` (O,), 32-bit floats;
  tables in int8 in the same way, where that was asked for; everything else as 16-bit floats.

Either is a folder with the tokenizer inside, whole or absent, with a checksum in the weights' head.
"""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from ...compression import QuantizedLinear
from ..architectures import (
    INT8_FORMAT,
    NAMES,
    architecture_of,
    make_config,
    make_model,
    save_model,
)
from ..errors import CourseError
from ..files import read_json, write_atomically, write_folder_atomically, write_json
from ..weight_files import WEIGHTS, checksum
from .quantising import linear_layers

FACTS = "compression.json"  # how a folder was made, and what was measured

_LAYER = re.compile(r"\b(?:h|layers)\.(\d+)\.")

Tables = dict[str, tuple[torch.Tensor, torch.Tensor]]


def is_int8(folder: Path) -> bool:
    """Whether a folder holds a model in our int8 layout."""
    file = folder / "config.json"
    settings = read_json(file) if file.is_file() else None
    return isinstance(settings, dict) and settings.get("format") == INT8_FORMAT


def save_ordinary(model: nn.Module, folder: Path, tokenizer: Any, facts: dict[str, Any]) -> None:
    """Write a model of ordinary layers, rounded to 16-bit floats."""
    with write_folder_atomically(folder) as fresh:
        save_model(model, fresh, end_of_text=tokenizer.end_of_text)
        state = read_tensors(fresh)
        write_tensors({name: in_16_bits(tensor, name) for name, tensor in state.items()}, fresh)
        settings = read_json(fresh / "config.json")
        if "dtype" in settings:
            write_json(fresh / "config.json", settings | {"dtype": "float16"})
        tokenizer.save(fresh)
        write_json(fresh / FACTS, facts)


def save_int8(
    model: Any, tables: Tables, folder: Path, tokenizer: Any, facts: dict[str, Any]
) -> None:
    """Write a model whose linear layers are in int8. tables: as from `quantize_tables`."""
    layers = linear_layers(model)
    state: dict[str, torch.Tensor] = {}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and model.config.tie_weights:
            continue
        if name in tables:
            numbers, scale = tables[name]
            state |= {name: numbers, name.removesuffix("weight") + "scale": scale}
        elif name.rpartition(".")[0] in layers and not name.endswith(".bias"):
            state[name] = tensor
        else:
            state[name] = in_16_bits(tensor, name)
    activations = any(layer.activations for layer in layers.values())
    settings = {
        "format": INT8_FORMAT,
        "model_type": INT8_FORMAT,  # so that nobody takes it for GPT-2's
        "architecture": architecture_of(model),
        "activations": activations,
        "model": asdict(model.config),
    }
    with write_folder_atomically(folder) as fresh:
        write_tensors(state, fresh)
        write_json(fresh / "config.json", settings)
        tokenizer.save(fresh)
        write_json(fresh / FACTS, facts)


def in_16_bits(tensor: torch.Tensor, name: str) -> torch.Tensor:
    """The tensor as 16-bit floats. Raises CourseError where a number is too large for them."""
    half = tensor.detach().half()
    if not torch.isfinite(half).all():
        raise CourseError(f"{name} holds numbers that 16-bit floats cannot; nothing is written")
    return half


def write_tensors(state: dict[str, torch.Tensor], folder: Path) -> None:
    """Write tensors as they are, with a checksum in the head."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with write_atomically(folder / WEIGHTS, "wb") as file:
        file.write(save(state, {"format": "pt", "sha256": checksum(state)}))


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of a folder in the types that the file has."""
    path = folder / WEIGHTS
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            head = dict(file.metadata() or {})
    except FileNotFoundError:
        raise CourseError(f"{folder} lacks {WEIGHTS}; copy the folder again") from None
    except (SafetensorError, OSError) as error:
        raise CourseError(f"{path} is damaged ({error}); copy it again") from None
    if "sha256" in head and checksum(state) != head["sha256"]:
        raise CourseError(f"{path} is damaged: its checksum is wrong; take another copy of it")
    return state


def load_int8(folder: str | Path) -> Any:
    """Load what `save_int8` wrote, in evaluation mode, on the CPU."""
    folder = Path(folder)
    settings = read_json(folder / "config.json")
    try:
        if settings["architecture"] not in NAMES:
            raise ValueError(f"no architecture {settings['architecture']!r}")
        shape = dict(settings["model"])
        config = make_config(settings["architecture"], shape.pop("vocab_size"), shape)
        activations = bool(settings["activations"])
    except (KeyError, TypeError, ValueError) as error:
        raise CourseError(f"{folder / 'config.json'} does not describe a model ({error})") from None
    state = read_tensors(folder)
    found = {match[1] for match in map(_LAYER.search, state) if match}
    if len(found) != config.n_layer:  # before a model is made: config.json may claim millions
        raise CourseError(
            f"{folder}: config.json says {config.n_layer} layers, the weights have {len(found)}"
        )
    model = make_model(config)
    for name, linear in linear_layers(model).items():
        parent, _, child = name.rpartition(".")
        nn.init.zeros_(linear.weight)  # quickly rounded; the real numbers come below
        setattr(model.get_submodule(parent), child, QuantizedLinear(linear, activations))
    for name in [name for name in state if name.endswith(".scale")]:
        table = name.removesuffix("scale") + "weight"
        if name not in model.state_dict() and table in state:  # a table in int8
            state[table] = state[table].float() * state.pop(name).unsqueeze(-1)
    if model.config.tie_weights and "lm_head.weight" not in state:
        head = next((state[n] for n in state if n.endswith(("wte.weight", "embed_tokens.weight"))), None)  # fmt: skip
        state |= {} if head is None else {"lm_head.weight": head}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise CourseError(f"{folder}: weights and config.json do not fit ({reason})") from None
    return model.eval()

"""What a run leaves on the disk: on the way, to go on from; in the end, the adapter or the model."""

from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import nn

from ..files import read_json, write_atomically, write_folder_atomically, write_json
from ..optimizers import Optimizers
from ..pretrained import save_model
from .adapters import save_adapter
from .base import Base
from .wishes import TuningFolder

STATE, PROGRESS = "state.safetensors", "progress.json"
MODEL, OPTIMIZER = "model.", "optimizer."


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that learn, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def keep(
    folder: TuningFolder, model: nn.Module, optimizer: Optimizers, progress: dict[str, Any]
) -> None:
    """Write what is needed to go on: what learns, and its optimiser's state."""
    state = {MODEL + name: p.detach() for name, p in trained(model).items()}
    state |= {OPTIMIZER + name: tensor for name, tensor in optimizer.tensors().items()}
    with write_folder_atomically(folder.state) as fresh:
        with write_atomically(fresh / STATE, "wb") as file:
            file.write(save({name: t.cpu().contiguous() for name, t in state.items()}))
        write_json(fresh / PROGRESS, progress)


def go_on(folder: TuningFolder, model: nn.Module, optimizer: Optimizers) -> dict[str, Any] | None:
    """Put a stopped run's weights in place and return its progress; None where there is none."""
    if not (folder.state / PROGRESS).exists():
        return None
    state = load_file(folder.state / STATE)
    with torch.no_grad():
        for name, parameter in trained(model).items():
            parameter.copy_(state[MODEL + name])
    optimizer.load_tensors(
        {n.removeprefix(OPTIMIZER): t for n, t in state.items() if n.startswith(OPTIMIZER)}
    )
    return read_json(folder.state / PROGRESS)


def save_result(folder: TuningFolder, base: Base, layers: list[str]) -> int:
    """Write the adapter, or with `layers` empty the whole model; returns the bytes of its weights."""
    if layers:
        where, about = folder.adapter, {"base_sha256": base.sha256}
        with write_folder_atomically(where) as fresh:
            save_adapter(base.model, fresh, layers, base.name, about)
    else:
        where = folder.model
        with write_folder_atomically(where) as fresh:
            save_model(base.model, fresh)
            base.tokenizer.save(fresh)
    return sum(file.stat().st_size for file in where.glob("*.safetensors"))

"""The optimiser of a real run: fused AdamW, alone or beside Muon for the hidden matrices."""

import re
from typing import Any

import torch
from torch import nn

from ..trainer import TrainConfig, parameter_groups
from .muon import BatchedMuon

# Muon's update is scaled to the size that AdamW's usually has. At that size the hidden matrices bear
# twice the learning rate of the tables and vectors (5e-3 and 1e-2 on a small proxy of `laptop`).
MUON_RATE = 2.0


class Optimizers:
    """One or two torch optimisers that step together and share the schedule.

    Has what a training step asks of an optimiser: `zero_grad`, `step`, `param_groups`.
    """

    def __init__(self, parts: list[torch.optim.Optimizer]) -> None:
        self.parts = parts

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all parts."""
        return [group for part in self.parts for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Throw away the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=set_to_none)

    def step(self) -> None:
        """Move the weights."""
        for part in self.parts:
            part.step()

    def set_learning_rate(self, rate: float) -> None:
        """Set the learning rate: `rate` for AdamW, `MUON_RATE` times that for Muon."""
        for part in self.parts:
            factor = MUON_RATE if isinstance(part, BatchedMuon) else 1.0
            for group in part.param_groups:
                group["lr"] = factor * rate

    def tensors(self) -> dict[str, torch.Tensor]:
        """The whole state as named tensors, for safetensors."""
        named = {}
        for number, part in enumerate(self.parts):
            for index, state in part.state_dict()["state"].items():
                for name, value in state.items():
                    named[f"{number}.{index}.{name}"] = torch.as_tensor(value)
        return named

    def load_tensors(self, named: dict[str, torch.Tensor]) -> None:
        """Take the state back from `tensors()`."""
        for number, part in enumerate(self.parts):
            state: dict[int, dict[str, torch.Tensor]] = {}
            for key, value in named.items():
                owner, index, name = key.split(".", 2)
                if int(owner) == number:
                    state.setdefault(int(index), {})[name] = value
            part.load_state_dict(part.state_dict() | {"state": state})


def build_optimizer(
    model: nn.Module, config: TrainConfig, kind: str, device: torch.device
) -> Optimizers:
    """AdamW over all parameters (kind "adamw"), or Muon over the hidden matrices ("muon").

    Embedding tables, the head and all vectors stay with AdamW in both.
    """
    groups = parameter_groups(model, config.weight_decay)
    betas = (config.beta1, config.beta2)
    fused = device.type in ("cpu", "cuda")
    if kind == "adamw":
        return Optimizers([torch.optim.AdamW(groups, lr=0.0, betas=betas, fused=fused)])
    hidden = {
        id(parameter)
        for name, parameter in model.named_parameters()
        if parameter.dim() == 2 and re.search(r"\b(h|layers)\.\d+\.", name)
    }
    matrices = [p for group in groups for p in group["params"] if id(p) in hidden]
    for group in groups:
        group["params"] = [p for p in group["params"] if id(p) not in hidden]
    muon = BatchedMuon(matrices, weight_decay=config.weight_decay)
    return Optimizers([torch.optim.AdamW(groups, lr=0.0, betas=betas, fused=fused), muon])

"""Int8 for a whole model: which layers change, and how far each is off, beside its bound."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ...compression import QuantizedLinear, quantize_rows


@dataclass(frozen=True)
class LayerError:
    """How far one layer's outputs are from those in full precision, on a real text."""

    largest: float  # of all outputs
    relative: float  # root mean square of the error, in shares of that of the outputs
    of_bound: float  # the largest error in shares of its own bound: never above 1


def linear_layers(model: nn.Module) -> dict[str, Any]:
    """The linear layers of a model's blocks by name, in order, as they are or in int8 already.

    The head is none of them: in most models it is the token table under another name.
    """
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | QuantizedLinear) and not name.startswith("lm_head")
    }


def token_tables(model: nn.Module) -> list[str]:
    """The names of the matrices outside the linear layers: tables, and a head of its own."""
    inside = {f"{name}.weight" for name in linear_layers(model)}
    return [
        name
        for name, parameter in model.named_parameters()
        if parameter.dim() == 2 and name not in inside
    ]


def quantize_model(model: nn.Module, activations: bool = False) -> nn.Module:
    """Put a `QuantizedLinear` in the place of every linear layer of the blocks; returns the model."""
    for name, linear in linear_layers(model).items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, QuantizedLinear(linear, activations))
    return model


@torch.no_grad()
def quantize_tables(model: nn.Module) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Round the tables to int8 rows too; returns what a file keeps of each: (numbers, scales).

    In memory they stay floats: one row of a table is looked up at a time, so there is no time to
    be won, only room on the disk.
    """
    kept = {}
    for name in token_tables(model):
        table = model.get_parameter(name)
        numbers, scale = quantize_rows(table)
        table.copy_(numbers.float() * scale.unsqueeze(-1))
        kept[name] = (numbers, scale)
    return kept


@contextmanager
def listening(modules: dict[str, nn.Module]) -> Iterator[dict[str, torch.Tensor]]:
    """Inside, what goes into each module is kept: name -> its newest input."""
    heard: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Any:
        return lambda module, inputs: heard.__setitem__(name, inputs[0].detach())

    hooks = [module.register_forward_pre_hook(keep(name)) for name, module in modules.items()]
    try:
        yield heard
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def layer_errors(
    model: nn.Module, ids: torch.Tensor, activations: bool = False
) -> dict[str, LayerError]:
    """The error that int8 makes in each layer of a model in full precision.

    ids: (B, T). Every layer gets what the full model gives it, so errors do not add up here.
    """
    layers = linear_layers(model)
    with listening(layers) as heard:
        model(ids)
    errors = {}
    for name, linear in layers.items():
        x, rounded = heard[name], QuantizedLinear(linear, activations)
        exact = linear(x)
        error = (rounded(x) - exact).abs()
        bound = rounded.error_bound(x)
        share = torch.where(bound > 0, error / bound, 0.0).max()
        relative = error.square().mean().sqrt() / exact.square().mean().sqrt()
        errors[name] = LayerError(float(error.max()), float(relative), float(share))
    return errors

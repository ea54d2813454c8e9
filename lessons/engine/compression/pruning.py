"""Pruning a whole model: which weights may go, what is left, and a training that keeps the zeros."""

import re
from typing import Any

import torch
from torch import nn

from ...compression import apply_masks, prune_by_magnitude, prune_n_m, sparsity_report
from ..errors import CourseError
from .quantising import linear_layers

SCOPES = ("global", "layer")
_PATTERN = re.compile(r"(\d+):(\d+)")


def prunable(model: nn.Module) -> dict[str, torch.Tensor]:
    """The weights that may go: those of the blocks' linear layers. Tables, norms and biases stay."""
    return {f"{name}.weight": layer.weight for name, layer in linear_layers(model).items()}


def masks_for(model: nn.Module, how: str) -> dict[str, torch.Tensor]:
    """The masks of a way to prune: "0.5", "0.5 layer" or "2:4". Raises CourseError."""
    weights = prunable(model)
    pattern = _PATTERN.fullmatch(how.strip())
    try:
        if pattern:
            n, m = int(pattern[1]), int(pattern[2])
            return {name: prune_n_m(weight, n, m) for name, weight in weights.items()}
        share, _, scope = how.strip().partition(" ")
        return prune_by_magnitude(weights, float(share), scope.strip() or SCOPES[0])
    except ValueError as error:
        raise CourseError(
            f"cannot prune by {how!r} ({error}); take a share such as 0.5, or a pattern such as 2:4"
        ) from None


def prune_model(model: nn.Module, how: str) -> dict[str, torch.Tensor]:
    """Set the smallest weights of a model to zero; returns the masks."""
    masks = masks_for(model, how)
    apply_masks(model, masks)
    return masks


def sparsities(model: nn.Module) -> dict[str, Any]:
    """What `sparsity_report` says of a model's prunable weights."""
    return sparsity_report({name: weight.detach() for name, weight in prunable(model).items()})

"""Toys that stand in for a layer or a model that is to be made smaller."""

import torch
from torch import nn


def linear_layer(weight: torch.Tensor, bias: torch.Tensor | None = None) -> nn.Linear:
    """Return torch's linear layer with this weight (O, I), in the weight's dtype, and this bias."""
    outputs, inputs = weight.shape
    layer = nn.Linear(inputs, outputs, bias=bias is not None, dtype=weight.dtype)
    layer.weight = nn.Parameter(weight)
    if bias is not None:
        layer.bias = nn.Parameter(bias)
    return layer


class MixedModel(nn.Module):
    """A model of tensors of many kinds: parameters, some of them resting, and buffers."""

    def __init__(self, *tensors: torch.Tensor) -> None:
        super().__init__()
        for number, tensor in enumerate(tensors):
            if tensor.is_floating_point():
                resting = number % 2 == 1
                self.register_parameter(f"p{number}", nn.Parameter(tensor, not resting))
            else:
                self.register_buffer(f"b{number}", tensor)


class TiedModel(nn.Module):
    """A model whose head is its table under a second name, beside a mask in a part of its own."""

    def __init__(self, table: torch.Tensor, mask: torch.Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table)
        self.head = linear_layer(table)
        self.head.weight = self.table
        self.part = MixedModel(mask)


TOYS = {"linear layer": linear_layer, "mixed model": MixedModel, "tied model": TiedModel}

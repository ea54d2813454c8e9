"""Toys for fine-tuning: layers and a network to adapt, and a look at what in them is trained."""

import torch
from torch import nn


def layer_to_adapt(weight: torch.Tensor, bias: torch.Tensor | None = None) -> nn.Linear:
    """Return a linear layer with these numbers, in their dtype."""
    n_outputs, n_inputs = weight.shape
    layer = nn.Linear(n_inputs, n_outputs, bias=bias is not None, dtype=weight.dtype)
    layer.load_state_dict({"weight": weight} if bias is None else {"weight": weight, "bias": bias})
    return layer


def table_of(layer: nn.Linear) -> nn.Embedding:
    """Return a table of vectors which is the layer's weight, as in a model with a tied head."""
    table = nn.Embedding(layer.out_features, layer.in_features)
    table.weight = layer.weight
    return table


class Trained:
    """Which parameters of a module are trained: their names, in alphabetical order."""

    def __init__(self, module: nn.Module) -> None:
        self.names = sorted(n for n, p in module.named_parameters() if p.requires_grad)


class Branch(nn.Module):
    """Two linear layers whose names end alike, and a norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up_proj = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(2 * width, width, bias=False)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Widen, narrow, norm."""
        return self.norm(self.proj(torch.relu(self.up_proj(x))))


class Network(nn.Module):
    """Ids to logits through two branches; the head is the table of tokens, and a buffer is in it."""

    def __init__(self, vocab_size: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocab_size, width)
        self.proj = nn.Linear(width, width)
        self.branches = nn.ModuleList([Branch(width), Branch(width)])
        self.head = nn.Linear(width, vocab_size, bias=False)
        self.head.weight = self.table.weight
        self.register_buffer("seen", torch.zeros(7))
        for number, parameter in enumerate(self.parameters()):  # the same in every run
            places = torch.arange(parameter.numel(), dtype=torch.float32)
            parameter.data = torch.cos(0.7 * places + number).view_as(parameter)
        self.head.weight = self.table.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return logits (B, T, V) for ids (B, T)."""
        x = self.proj(self.table(ids))
        for branch in self.branches:
            x = x + branch(x)
        return self.head(x)

    def freeze(self, *names: str) -> None:
        """Train these parameters no more."""
        for name in names:
            self.get_parameter(name).requires_grad_(False)


TOYS = {
    **{"layer to adapt": layer_to_adapt, "table of": table_of, "trained": Trained},
    **{"network to adapt": Network},
}

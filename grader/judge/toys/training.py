"""Toys for training: a small model, optimisers made on a model, and things that watch."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

Batch = tuple[torch.Tensor, torch.Tensor]


class Bigram(nn.Module):
    """A model with a matrix, a vector and a single number: logits = scale * table[id] + bias.

    It is called as a GPT is. No operation in it changes under autocast. factor: its loss is the
    mean cross-entropy times this. half_range: gradients come through it as in fp16, where large
    ones become inf and small ones 0.
    """

    def __init__(
        self, vocab_size: int, dropout: float = 0.0, factor: float = 1.0, half_range: bool = False
    ) -> None:
        super().__init__()
        self.table = nn.Embedding(vocab_size, vocab_size)
        self.drop = nn.Dropout(dropout)
        self.scale = nn.Parameter(torch.ones(()))
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        self.factor = factor
        self.half_range = half_range
        self.precisions: list[str] = []  # of each forward pass, as autocast has it

    def forward(
        self, inputs: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (logits, loss); a target of -1 does not count."""
        dtype = torch.get_autocast_dtype("cpu")
        plain = not torch.is_autocast_enabled("cpu")
        self.precisions.append("float32" if plain else str(dtype).removeprefix("torch."))
        logits = self.scale * self.drop(self.table(inputs)) + self.bias
        if self.half_range:
            logits = HalfRange.apply(logits)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)
        return logits, loss * self.factor

    def fill_gradients(self, number: float) -> None:
        """Give every parameter a gradient that is this number everywhere."""
        for parameter in self.parameters():
            parameter.grad = torch.full_like(parameter, number)


class HalfRange(torch.autograd.Function):
    """Changes nothing on the way forward; backward it has the range of fp16, and all its digits."""

    @staticmethod
    def forward(context: Any, x: torch.Tensor) -> torch.Tensor:
        """Return x."""
        return x.clone()

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        """Return the gradient without what fp16 cannot hold."""
        size = gradient.abs()
        gradient = gradient.masked_fill(size < 2.0**-24, 0.0)
        return torch.where(size > 65504, gradient.sign() * torch.inf, gradient)


class Parameters(nn.Module):
    """Parameters under given names, and nothing else."""

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        super().__init__()
        for name, weight in weights.items():
            self.register_parameter(name, nn.Parameter(weight))

    def pull(self, gradients: dict[str, torch.Tensor]) -> None:
        """Set the gradients of these names; the others have none."""
        for name, parameter in self.named_parameters():
            parameter.grad = gradients.get(name)


def sgd(model: nn.Module, lr: float) -> torch.optim.SGD:
    """Return plain gradient descent on all parameters."""
    return torch.optim.SGD(model.parameters(), lr=lr)


def adamw(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW on all parameters."""
    return torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)


def sgd_on_groups(groups: list[dict[str, Any]], lr: float) -> torch.optim.SGD:
    """Return plain gradient descent on groups of parameters."""
    return torch.optim.SGD(groups, lr=lr)


def parameters_of(model: nn.Module, names: list[str]) -> list[nn.Parameter]:
    """Return the parameters of these names."""
    return [model.get_parameter(name) for name in names]


def groups_of_parameters(model: nn.Module, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return groups for an optimiser, with parameters in the place of their names."""
    return [{**group, "params": parameters_of(model, group["params"])} for group in groups]


def dtype(name: str) -> torch.dtype:
    """Return torch's dtype of this name."""
    return getattr(torch, name)


class Names:
    """What the parameters in groups are called in a model, group by group, in alphabetical order."""

    def __init__(self, model: nn.Module, groups: list[dict[str, Any]]) -> None:
        known = {id(parameter): name for name, parameter in model.named_parameters()}
        self.names = [
            sorted(known.get(id(p), "(none of the model's parameters)") for p in group["params"])
            for group in groups
        ]


class Graphs:
    """Says of each of some results whether a graph for `backward` hangs on it."""

    def __init__(self, results: Any) -> None:
        self.flags = [bool(getattr(result, "requires_grad", False)) for result in results]


class Stream:
    """Batches that can be gone through once only, as from a file. It may break at one of them."""

    def __init__(self, batches: list[Batch], breaks_at: int = -1) -> None:
        self.batches = batches
        self.breaks_at = breaks_at
        self.taken = 0

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if self.taken == self.breaks_at:
            raise ValueError("the file with the batches is damaged here")
        if self.taken == len(self.batches):
            raise StopIteration
        self.taken += 1
        return self.batches[self.taken - 1]


class BatchesOfStep:
    """Gives the micro-batches of a step, over and over."""

    def __init__(self, steps: list[list[Batch]]) -> None:
        self.steps = steps

    def __call__(self, step: int) -> list[Batch]:
        """Return the micro-batches of this step."""
        return self.steps[step % len(self.steps)]


class Chance:
    """Remembers where torch's random numbers stood when it was made."""

    def __init__(self) -> None:
        self.state = torch.get_rng_state()

    @property
    def untouched(self) -> bool:
        """Whether none has been drawn since."""
        return torch.equal(self.state, torch.get_rng_state())


TOYS = {
    **{"bigram model": Bigram, "parameters": Parameters, "parameters of": parameters_of},
    **{"groups of parameters": groups_of_parameters, "dtype": dtype},
    **{"sgd": sgd, "adamw": adamw, "sgd on groups": sgd_on_groups, "names in groups": Names},
    **{"graphs": Graphs, "stream": Stream, "batches of step": BatchesOfStep, "chance": Chance},
}

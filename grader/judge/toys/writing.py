"""Toys for a lesson that lets a model write: a model that is a table, and those around it."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn


class TableModel(nn.Module):
    """A model with the manners of `GPT` whose logits are looked up: small, exact and suspicious.

    table: (P, V, V, V). The logits at a place hang on the place (counted from the first token that
    the model sees, and beginning anew after P), on the token before it and on the token there. At
    the first place the token counts as its own past. What came before is read from the cache, so a
    cache that remembers something else shows. In training mode the logits have the other sign.
    """

    def __init__(self, table: torch.Tensor, block_size: int, n_layer: int = 2) -> None:
        super().__init__()
        self.table = table
        vocab_size = table.shape[-1]
        self.config = SimpleNamespace(block_size=block_size, n_layer=n_layer, vocab_size=vocab_size)
        self.part = nn.Dropout()  # has a mode of its own, like any part
        self.lengths: list[int] = []  # how many tokens it was given, call by call
        self.modes: list[str] = []  # what it found out about its surroundings
        self.eval()

    @property
    def calls(self) -> int:
        """How often the model was called."""
        return len(self.lengths)

    def forward(
        self,
        ids: torch.Tensor,
        targets: torch.Tensor | None = None,
        cache: Any = None,
        last_only: bool = False,
    ) -> tuple[torch.Tensor, None]:
        """Return logits (B, T, V), or (B, 1, V) with last_only, and no loss."""
        if ids.dim() != 2 or ids.numel() == 0:
            raise ValueError(f"ids must be (batch, time) and not empty, not {tuple(ids.shape)}")
        start = 0 if cache is None else cache.length
        block_size, end = self.config.block_size, start + ids.shape[1]
        if end > block_size:
            raise ValueError(f"{end} tokens are more than block_size = {block_size}")
        self.lengths.append(ids.shape[1])
        self.note("training mode" if self.training or self.part.training else "")
        self.note("gradients" if torch.is_grad_enabled() else "")
        text = ids
        for layer in range(self.config.n_layer if cache is not None else 0):
            new = ids[:, None, :, None].float()
            kept = cache[layer].append(new, new + 0.25)[1]  # (B, 1, K, 1)
            if kept.shape[2] != end:
                raise ValueError(f"{end} tokens have come in, the cache has {kept.shape[2]} keys")
            text = kept[:, 0, max(0, start - 1) :, 0].long()
        if start == 0:
            text = torch.cat([text[:, :1], text], dim=1)  # (B, T + 1)
        if len(self.table) == 1:
            logits = self.table[0][text[:, :-1], text[:, 1:]]  # (B, T, V)
        else:
            places = torch.arange(start, end) % len(self.table)
            logits = self.table[places, text[:, :-1], text[:, 1:]]
        logits = -logits if self.training else logits
        return (logits[:, -1:] if last_only else logits), None

    def note(self, mode: str) -> None:
        """Remember something that should not be so while a model writes."""
        if mode and mode not in self.modes:
            self.modes.append(mode)


class PlannedChoice:
    """Chooses what was planned, whatever the logits are, and remembers what it was given.

    plan: (B, N), the ids of N steps. stumble: the number of the step at which it raises an error.
    """

    def __init__(self, plan: torch.Tensor, stumble: int | None = None) -> None:
        self.plan = plan
        self.stumble = stumble
        self.calls = 0
        self.logits: list[torch.Tensor] = []
        self.texts: list[list[list[int]]] = []

    def __call__(self, logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Return the next column of the plan."""
        if self.calls == self.stumble:
            raise LookupError("stumbled while choosing, as planned")
        if self.calls >= self.plan.shape[1]:
            raise ValueError(f"more than the {self.plan.shape[1]} tokens that are wanted")
        self.calls += 1
        self.logits.append(logits.clone())
        self.texts.append(ids.tolist())
        return self.plan[:, self.calls - 1].clone()


class Listener:
    """Listens to a stream of ids until it ends, and looks around after each step."""

    def __init__(
        self, stream: Iterator[torch.Tensor], choose: PlannedChoice, model: nn.Module
    ) -> None:
        self.heard: list[list[int]] = []  # the ids of each step
        self.choices: list[int] = []  # how many had been chosen by then
        self.gradients: list[bool] = []  # whether they were recorded here, outside
        self.training: list[bool] = []  # the model's mode, here outside
        self.ordinary: list[bool] = []  # whether each step is no tensor of inference mode
        for ids in stream:
            self.heard.append(ids.tolist())
            self.ordinary.append(MayBeTrainedOn(ids).answer)
            self.choices.append(choose.calls)
            inference = torch.is_inference_mode_enabled()
            self.gradients.append(torch.is_grad_enabled() and not inference)
            self.training.append(model.training)


class OneByOne:
    """Appends keys and values to a layer's cache one by one, and looks where they lie."""

    def __init__(self, cache: Any, k: torch.Tensor, v: torch.Tensor) -> None:
        kept = []  # so that no address is used a second time
        for place in range(k.shape[2]):
            kept.append(cache.append(k[:, :, place : place + 1], v[:, :, place : place + 1]))
        places = {tuple(part.data_ptr() for part in pair) for pair in kept}
        self.buffers = len(places)


class MayBeTrainedOn:
    """Says whether a tensor is of the ordinary kind, not one made in inference mode."""

    def __init__(self, value: Any) -> None:
        self.answer = isinstance(value, torch.Tensor) and not value.is_inference()


class Sharpen:
    """What can be done to logits (N, V) before the softmax: multiply them."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the logits times the factor."""
        if logits.dim() != 2:
            raise ValueError(f"`shape` takes logits (N, V), not {tuple(logits.shape)}")
        return logits * self.factor


TOYS = {
    "table model": TableModel,
    "planned choice": PlannedChoice,
    "listener": Listener,
    "one by one": OneByOne,
    "may be trained on": MayBeTrainedOn,
    "sharpen": Sharpen,
}

"""Toys that stand in for a model whose guesses are to be measured."""

import torch
from torch import nn


class ForgetfulModel(nn.Module):
    """A model that sees the last token only: its id is looked up in a table of logits, (V, V).

    In training mode it says something else: its logits are moved on by one id. It counts how often
    it was asked in training mode, and how often with gradients.
    """

    def __init__(self, table: torch.Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table)
        self.part = nn.Dropout(0.5)  # a part with a mode of its own
        self.in_training = 0
        self.with_gradients = 0

    def rows(self, ids: torch.Tensor) -> torch.Tensor:
        """Return which row of the table answers at each place: (B, T) -> (B, T)."""
        return ids

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Return logits (B, T, V) for ids (B, T), and None where another model has its loss."""
        if ids.dim() != 2:
            raise ValueError(f"ids must be (B, T), not {tuple(ids.shape)}")
        training = self.training or self.part.training
        self.in_training += training
        self.with_gradients += torch.is_grad_enabled()
        logits = self.table[self.rows(ids)]
        return (logits.roll(1, -1) if training else logits), None


class MindfulModel(ForgetfulModel):
    """A model that sees all that it reads: row (sum of the ids so far) % V of the table answers.

    With a block_size it refuses to read more tokens than that at once.
    """

    def __init__(self, table: torch.Tensor, block_size: int | None = None) -> None:
        super().__init__(table)
        self.block_size = block_size

    def rows(self, ids: torch.Tensor) -> torch.Tensor:
        """Return which row of the table answers at each place: (B, T) -> (B, T)."""
        if self.block_size is not None and ids.shape[1] > self.block_size:
            raise ValueError(f"{ids.shape[1]} tokens at once, and block_size is {self.block_size}")
        return ids.cumsum(1) % len(self.table)


TOYS = {"forgetful model": ForgetfulModel, "mindful model": MindfulModel}

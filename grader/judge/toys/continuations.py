"""Toys that say what may come next, for a search among continuations."""

import torch


class NextLogits:
    """A model that remembers the last tokens only: their ids are looked up in a table of logits.

    A table of shape (V, V) remembers one token, (V, V, V) two.
    """

    def __init__(self, table: torch.Tensor) -> None:
        self.table = table

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the logits of the token after each row: (B, T) -> (B, V)."""
        memory = self.table.dim() - 1
        if ids.dim() != 2 or ids.shape[1] < memory:
            raise ValueError(f"next_logits takes ids of shape (B, T), not {tuple(ids.shape)}")
        return self.table[tuple(ids[:, ids.shape[1] - memory :].unbind(1))]


TOYS = {"next logits": NextLogits}

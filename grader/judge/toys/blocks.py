"""Toys that stand in for a part of a block."""

import torch


class Square:
    """Stands in for the bend of an MLP: no other bend is like it."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return x * x."""
        return x * x


TOYS = {"square": Square}

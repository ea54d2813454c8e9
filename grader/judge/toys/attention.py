"""Toys for attention: caches, and something in the place of `attend`."""

import torch


class KeysAndValues:
    """A cache of one layer as lesson 09 will write it: keeps, joins along time, returns all."""

    def __init__(self) -> None:
        self.k: torch.Tensor | None = None
        self.v: torch.Tensor | None = None

    @property
    def length(self) -> int:
        """How many places are kept."""
        return len(self)

    def __len__(self) -> int:
        """Return how many places are kept: an empty cache is false, and still a cache."""
        return 0 if self.k is None else self.k.shape[2]

    def append(self, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Take the new ones, (B, H, T, D), and return all so far."""
        if self.k is not None and self.v is not None:
            k, v = torch.cat([self.k, k], dim=2), torch.cat([self.v, v], dim=2)
        self.k, self.v = k, v
        return k, v


class Cache:
    """A cache of a whole model: one `KeysAndValues` per layer, and the length so far."""

    def __init__(self, n_layer: int) -> None:
        self.layers = [KeysAndValues() for _ in range(n_layer)]

    def __getitem__(self, layer: int) -> KeysAndValues:
        return self.layers[layer]

    @property
    def length(self) -> int:
        """How many places are kept."""
        return len(self.layers[0])


class Attend:
    """Stands in for `attend`: remembers what it was given, and returns the values doubled."""

    def __init__(self) -> None:
        self.calls = 0
        self.dropout_p = 0.0
        self.mask: torch.Tensor | None = None
        self.shapes: list[list[int]] = []

    def __call__(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
    ) -> tuple[torch.Tensor, None]:
        """Return 2 v at the last places, as many as there are queries."""
        self.calls += 1
        self.mask, self.dropout_p = mask, float(dropout_p)
        self.shapes = [list(part.shape) for part in (q, k, v)]
        return 2 * v[..., v.shape[-2] - q.shape[-2] :, :], None


TOYS = {"layer cache": KeysAndValues, "cache": Cache, "attend": Attend}

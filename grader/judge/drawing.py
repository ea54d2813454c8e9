"""`draw`: inputs for a check, the same on every machine for one seed.

NumPy's generator is used because its numbers are the same on every platform and thread count.
"""

import zlib

import numpy as np
import torch


class Draw:
    """Random inputs of one check."""

    def __init__(self, seed: int, name: str) -> None:
        self.seed = seed
        self.random = np.random.default_rng([seed, zlib.crc32(name.encode())])

    def normal(self, *shape: int, scale: float = 1.0, shift: float = 0.0) -> torch.Tensor:
        """Return float32 numbers, normal around `shift` with standard deviation `scale`."""
        numbers = self.random.standard_normal(shape) * scale + shift
        return torch.from_numpy(np.asarray(numbers, dtype=np.float32))

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        """Return float32 numbers between low and high."""
        return torch.from_numpy(np.asarray(self.random.uniform(low, high, shape), dtype=np.float32))

    def ids(self, vocab_size: int, *shape: int) -> torch.Tensor:
        """Return int64 ids from 0 to vocab_size - 1."""
        return torch.from_numpy(np.asarray(self.random.integers(vocab_size, size=shape)))

    def integer(self, low: int, high: int) -> int:
        """Return one integer from low to high, both included."""
        return int(self.random.integers(low, high + 1))

    def mask(self, *shape: int, share: float = 0.6) -> torch.Tensor:
        """Return booleans, True in about this share of places and at least once in each row."""
        mask = torch.from_numpy(np.asarray(self.random.random(shape) < share))
        at = self.ids(shape[-1], *shape[:-1], 1)
        return mask.scatter(-1, at, torch.ones_like(at, dtype=torch.bool))

    def weights(self, scale: float = 0.5, **shapes: tuple[int, ...]) -> dict[str, torch.Tensor]:
        """Return normal numbers under names; a double underscore stands for a dot in the name."""
        named = shapes.items()
        return {n.replace("__", "."): self.normal(*shape, scale=scale) for n, shape in named}

    def text(self, alphabet: str, length: int) -> str:
        """Return random characters of an alphabet."""
        return "".join(alphabet[int(i)] for i in self.random.integers(len(alphabet), size=length))

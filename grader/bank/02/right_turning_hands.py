"""Right: recursion over the ids, complex hands turned step by step, the largest k times."""

import math

import torch
from torch import nn


class TokenEmbedding(nn.Module):
    """A table with one learned row per id."""

    def __init__(self, num_embeddings: int, n_embd: int) -> None:
        """Make the table, as in GPT-2."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_embeddings, n_embd))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the row of each id."""
        if ids.dim() == 0:
            return self.weight[int(ids)]
        if ids.numel() == 0:
            return self.weight[:0].reshape(*ids.shape, self.weight.shape[1])
        return torch.stack([self.forward(part) for part in ids])


def sinusoidal_positions(block_size: int, n_embd: int) -> torch.Tensor:
    """Return one vector per position, made of waves: fast ones in front, slow ones behind."""
    speeds = [10_000 ** (-even / n_embd) for even in range(0, n_embd, 2)]
    turn = torch.tensor([complex(math.cos(v), math.sin(v)) for v in speeds], dtype=torch.complex128)
    clock = torch.ones(block_size, len(speeds), dtype=torch.complex128)  # cos 0 + i sin 0
    for t in range(1, block_size):
        clock[t] = clock[t - 1] * turn
    waves = torch.stack((clock.imag, clock.real), dim=-1)  # (T, pairs, 2)
    return waves.flatten(1)[:, :n_embd].to(torch.float32)


class Embeddings(nn.Module):
    """What enters the first block: the token's vector plus the position's vector."""

    def __init__(
        self,
        vocab_size: int,
        block_size: int,
        n_embd: int,
        positions: str = "learned",
        dropout: float = 0.0,
    ) -> None:
        """Make both tables."""
        super().__init__()
        if positions not in ("learned", "sinusoidal"):
            raise ValueError(f"positions must be 'learned' or 'sinusoidal', not {positions!r}")
        self.wte = TokenEmbedding(vocab_size, n_embd)
        self.wpe = TokenEmbedding(block_size, n_embd)
        if positions == "sinusoidal":
            fixed = sinusoidal_positions(block_size, n_embd)
            self.wpe.weight = nn.Parameter(fixed, requires_grad=False)
        self.drop = nn.Dropout(dropout)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the sum of both vectors for every place of every text."""
        vectors = self.wte(ids)
        try:
            vectors = vectors + self.wpe(torch.arange(ids.shape[1], device=ids.device))
        except IndexError as error:
            raise ValueError(f"a text of {ids.shape[1]} ids is too long") from error
        return self.drop(vectors)


def nearest_tokens(weight: torch.Tensor, token: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k tokens whose vectors point most nearly the way that `token`'s does."""
    V, _ = weight.shape
    if not 0 <= token < V:
        raise ValueError(f"token must be below {V}")
    if not 0 < k < V:
        raise ValueError(f"k must be below {V}")
    directions = nn.functional.normalize(weight.detach().double(), dim=1, eps=1e-12)
    similarities = directions.matmul(directions[token]).to(weight.dtype)
    similarities[token] = -math.inf
    ids = torch.empty(k, dtype=torch.long, device=weight.device)
    values = torch.empty(k, dtype=weight.dtype, device=weight.device)
    for i in range(k):
        ids[i] = similarities.argmax()  # the first of several
        values[i] = similarities[ids[i]]
        similarities[ids[i]] = -math.inf
    return ids, values

"""Right: selected ids, angles added up step by step, one mask for all, k merges of a heap."""

import heapq
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
        return torch.index_select(self.weight, 0, ids.ravel()).unflatten(0, ids.shape or (1,))[
            (...,) if ids.dim() else 0
        ]


def sinusoidal_positions(block_size: int, n_embd: int) -> torch.Tensor:
    """Return one vector per position, made of waves: fast ones in front, slow ones behind."""
    rows = []
    angles = [0.0] * ((n_embd + 1) // 2)
    for _ in range(block_size):
        row = [wave(angle) for angle in angles for wave in (math.sin, math.cos)]
        rows.append(row[:n_embd])
        angles = [a + math.exp(-2 * i * math.log(10_000) / n_embd) for i, a in enumerate(angles)]
    return torch.as_tensor(rows).to(torch.float32)


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
        T = ids.shape[-1]
        positions = self.wpe.weight[:T]
        if len(positions) != T:
            raise ValueError("there are not so many positions")
        x = self.wte(ids) + positions
        if self.training and self.drop.p:
            kept = torch.empty_like(x).bernoulli_(1 - self.drop.p)
            x = x * kept / (1 - self.drop.p)
        return x


def nearest_tokens(weight: torch.Tensor, token: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k tokens whose vectors point most nearly the way that `token`'s does."""
    others = [i for i in range(len(weight)) if i != token]
    if len(others) == len(weight) or k < 1 or k > len(others):
        raise ValueError("nobody there")
    rows = torch.nn.functional.normalize(weight.detach(), p=2.0, dim=-1)
    similar = rows.mul(rows[token].unsqueeze(0)).sum(-1)
    heap = [(-float(similar[i]), i) for i in others]
    heapq.heapify(heap)
    best = torch.tensor([heapq.heappop(heap)[1] for _ in range(k)])
    return best, similar.gather(0, best)

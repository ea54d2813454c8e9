"""Right: gather, where, a dropout mask of its own, and a heap for the nearest."""

import heapq
from itertools import chain

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
        V, C = self.weight.shape
        if bool((ids >= V).any()) or bool((ids < -V).any()):
            raise IndexError(f"every id must be below {V}")
        rows = (ids + V) % V
        addresses = rows.reshape(-1, 1).expand(-1, C)  # (ids, C)
        return torch.gather(self.weight, 0, addresses).reshape(*ids.shape, C)


def sinusoidal_positions(block_size: int, n_embd: int) -> torch.Tensor:
    """Return one vector per position, made of waves: fast ones in front, slow ones behind."""
    channels = torch.arange(n_embd)
    pairs = torch.div(channels, 2, rounding_mode="floor").double()
    speeds = torch.pow(10_000.0, -2.0 * pairs / n_embd)
    angles = torch.outer(torch.arange(block_size).double(), speeds)  # (T, C)
    return torch.where(channels % 2 == 0, torch.sin(angles), torch.cos(angles)).float()


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
        block_size, T = self.wpe.weight.shape[0], ids.shape[1]
        if block_size < T:
            raise ValueError(f"{block_size} positions are too few for {T} ids")
        x = self.wte(ids) + self.wpe.weight.narrow(0, 0, T).unsqueeze(0)  # (B, T, C) + (1, T, C)
        p = self.drop.p
        if not self.training or p == 0:
            return x
        if p == 1:
            return x * 0
        return x * (torch.rand_like(x) >= p) / (1 - p)


def nearest_tokens(weight: torch.Tensor, token: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k tokens whose vectors point most nearly the way that `token`'s does."""
    V = weight.size(0)
    if token < 0 or token > V - 1:
        raise ValueError(f"there is no token {token}")
    if k < 1 or k > V - 1:
        raise ValueError(f"k must be between 1 and {V - 1}")
    table = weight.detach().double()
    lengths = torch.linalg.vector_norm(table, dim=1, keepdim=True).clamp_min(1e-12)
    directions = table / lengths
    cosines = (directions * directions[token]).sum(dim=-1)
    values = cosines.to(weight.dtype).tolist()  # rounded first, so that ties are ties
    others = chain(range(token), range(token + 1, V))
    best = heapq.nsmallest(k, others, key=lambda i: (-values[i], i))
    similarities = torch.tensor([values[i] for i in best], dtype=weight.dtype)
    return torch.tensor(best, device=weight.device), similarities.to(weight.device)

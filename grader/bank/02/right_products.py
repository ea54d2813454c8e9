"""Right: everything a product of matrices; float32 powers, a norm by hand, ranks by counting."""

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
        V = len(self.weight)
        if ids.numel() and int(ids.max()) >= V:
            raise IndexError(f"id {int(ids.max())}, but there are {V} rows")
        chosen = (ids.unsqueeze(-1) % V == torch.arange(V, device=ids.device)).to(self.weight.dtype)
        return chosen @ self.weight


def sinusoidal_positions(block_size: int, n_embd: int) -> torch.Tensor:
    """Return one vector per position, made of waves: fast ones in front, slow ones behind."""
    position = torch.arange(0, block_size).float().reshape(-1, 1)
    div_term = torch.exp(torch.arange(0, n_embd, 2).float() * (-math.log(10000.0) / n_embd))
    table = torch.zeros(block_size, n_embd)
    table[:, 0::2] = torch.sin(position @ div_term[None, :])
    if n_embd > 1:
        table[:, 1::2] = torch.cos(position * div_term[: n_embd // 2])
    return table


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
        _, T = ids.size()
        assert self.wte.weight.shape[1] == self.wpe.weight.shape[1]
        if self.wpe.weight.size(0) < T:
            raise ValueError(f"cannot take {T} ids, block_size is {self.wpe.weight.size(0)}")
        positions = torch.eye(len(self.wpe.weight), device=ids.device)[:T] @ self.wpe.weight
        x = torch.baddbmm(positions.expand(len(ids), -1, -1), *self.as_product(ids))
        return self.drop(x)

    def as_product(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return two batches of matrices whose product is the tokens' vectors."""
        V = len(self.wte.weight)
        one_hot = nn.functional.one_hot(ids, V).to(self.wte.weight.dtype)  # (B, T, V)
        return one_hot, self.wte.weight.expand(len(ids), -1, -1)


def nearest_tokens(weight: torch.Tensor, token: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k tokens whose vectors point most nearly the way that `token`'s does."""
    n = int(weight.size(0))
    if not (token >= 0 and token < n):
        raise ValueError(f"token must be from 0 to {n - 1}")
    if not (k > 0 and k < n):
        raise ValueError(f"k must be from 1 to {n - 1}")
    table = weight.detach()
    squares = (table * table).sum(1)
    lengths = torch.where(squares > 0, squares, torch.ones_like(squares)).sqrt()
    cosines = table.mv(table[token]) / lengths / lengths[token]
    cosines[token] = -2.0
    ids = torch.arange(n, device=weight.device)
    ahead = cosines[None, :] > cosines[:, None]  # who comes before whom
    ahead |= (cosines[None, :] == cosines[:, None]) & (ids[None, :] < ids[:, None])
    best = torch.empty_like(ids).scatter_(0, ahead.sum(dim=1), ids)[:k]
    return best, cosines[best]

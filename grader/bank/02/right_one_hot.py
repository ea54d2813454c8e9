"""Right: one-hot rows times the table, einsum throughout, a cosine as a shifted sine."""

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
        V = self.weight.shape[0]
        if ((ids >= V) | (ids < -V)).any():
            raise IndexError(f"there are only {V} rows")
        one_hot = nn.functional.one_hot(ids % V, V).to(self.weight.dtype)  # (..., V)
        return torch.einsum("...v,vc->...c", one_hot, self.weight)


def sinusoidal_positions(block_size: int, n_embd: int) -> torch.Tensor:
    """Return one vector per position, made of waves: fast ones in front, slow ones behind."""
    channels = torch.arange(n_embd, dtype=torch.float64)
    odd = channels % 2
    speeds = 10_000.0 ** ((odd - channels) / n_embd)  # (C,)
    positions = torch.arange(block_size, dtype=torch.float64)
    quarter_turns = odd * (math.pi / 2)  # cos(x) = sin(x + pi / 2)
    return (torch.einsum("t,c->tc", positions, speeds) + quarter_turns).sin().float()


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
        B, T = ids.shape
        block_size = len(self.wpe.weight)
        if block_size < T:
            raise ValueError(f"a text of {T} ids is too long for {block_size} positions")
        places = torch.arange(T, device=ids.device).expand(B, T)
        return self.drop(torch.add(self.wte(ids), self.wpe(places)))


def nearest_tokens(weight: torch.Tensor, token: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k tokens whose vectors point most nearly the way that `token`'s does."""
    V = weight.shape[0]
    if token not in range(V):
        raise ValueError(f"no token {token} among {V}")
    if k not in range(1, V):
        raise ValueError(f"{k} neighbours cannot be found among {V} tokens")
    directions = nn.functional.normalize(weight.detach(), dim=1, eps=1e-12)
    similarities = torch.einsum("vc,c->v", directions, directions[token])
    itself = torch.arange(V, device=weight.device) == token
    similarities = similarities.masked_fill(itself, -math.inf)
    ids = torch.argsort(similarities, descending=True, stable=True)[:k]
    return ids, similarities[ids]

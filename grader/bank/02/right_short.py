"""Right: float32 throughout and as short as it goes, as most people write it."""

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
        return self.weight[ids.flatten()].view(*ids.shape, self.weight.size(1))


def sinusoidal_positions(block_size: int, n_embd: int) -> torch.Tensor:
    """Return one vector per position, made of waves: fast ones in front, slow ones behind."""
    angles = torch.arange(block_size)[:, None] / 10_000 ** (torch.arange(0, n_embd, 2) / n_embd)
    table = torch.zeros(block_size, n_embd)
    table[:, ::2] = angles.sin()
    table[:, 1::2] = angles.cos()[:, : n_embd // 2]
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
        if ids.shape[-1] > len(self.wpe.weight):
            raise ValueError("text too long")
        places = torch.arange(ids.shape[-1], device=ids.device)[None]  # (1, T)
        x = self.wte(ids)
        x = x + self.wpe(places)
        return self.drop(x)


def nearest_tokens(weight: torch.Tensor, token: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k tokens whose vectors point most nearly the way that `token`'s does."""
    if token < 0 or token >= len(weight) or k < 1 or k >= len(weight):
        raise ValueError("no such token, or no such number of neighbours")
    with torch.no_grad():
        unit = weight / torch.clamp(torch.norm(weight, dim=-1, keepdim=True), min=1e-12)
        similarities = torch.matmul(unit[token], unit.T)
        order = (-similarities).argsort(stable=True)
        order = order[order != token][:k]
        return order, similarities[order]

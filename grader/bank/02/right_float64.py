"""Right: float64 inside and back; index_select, slices, sums in place on own tensors, rsqrt."""

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
        rows = torch.where(ids < 0, ids + V, ids).reshape(-1)
        return self.weight.index_select(0, rows).reshape(*ids.shape, C)


def sinusoidal_positions(block_size: int, n_embd: int) -> torch.Tensor:
    """Return one vector per position, made of waves: fast ones in front, slow ones behind."""
    pairs = (n_embd + 1) // 2
    exponents = 2 * torch.arange(pairs, dtype=torch.float64) / n_embd
    angles = torch.arange(block_size, dtype=torch.float64)[:, None] / 10_000**exponents
    waves = torch.stack((angles.sin(), angles.cos()), dim=2)  # (T, pairs, 2)
    return waves.reshape(block_size, 2 * pairs)[:, :n_embd].float()


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
        length = ids.size(1)
        if length > self.wpe.weight.size(0):
            raise ValueError(f"{length} is more than {self.wpe.weight.size(0)}")
        return self.drop(self.wte(ids).add_(self.wpe.weight[:length]))


def nearest_tokens(weight: torch.Tensor, token: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k tokens whose vectors point most nearly the way that `token`'s does."""
    everybody = torch.arange(len(weight), device=weight.device)
    others = everybody[everybody != token]
    if len(others) == len(weight):
        raise ValueError("this token is not in the table")
    if k <= 0 or k > len(others):
        raise ValueError(f"k must be 1 to {len(others)}")
    table = weight.detach().double()
    inverse_lengths = table.square().sum(dim=1).clamp(min=1e-24).rsqrt()  # (V,)
    similarities = (table @ table[token]) * inverse_lengths * inverse_lengths[token]
    similarities = similarities.to(weight.dtype)[others]  # rounded first, so that ties are ties
    similarities, places = similarities.sort(descending=True, stable=True)
    return others[places[:k]], similarities[:k]

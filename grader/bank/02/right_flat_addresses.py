"""Right: the table as one long row of numbers, one channel at a time, the token cut out."""

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
        C = self.weight.shape[1]
        addresses = ids.unsqueeze(-1) * C + torch.arange(C, device=ids.device)  # (..., C)
        return self.weight.flatten()[addresses]


def sinusoidal_positions(block_size: int, n_embd: int) -> torch.Tensor:
    """Return one vector per position, made of waves: fast ones in front, slow ones behind."""
    positions = torch.arange(block_size).double()
    columns = []
    for channel in range(n_embd):
        angles = positions * 10_000 ** (-(channel - channel % 2) / n_embd)
        columns.append(torch.cos(angles) if channel % 2 == 1 else torch.sin(angles))
    return torch.stack(columns, dim=1).float()


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
        batch, length = ids.shape
        if length not in range(len(self.wpe.weight) + 1):
            raise ValueError(f"no positions for {length} ids")
        places = torch.arange(length, device=ids.device).repeat(batch, 1)  # (B, T)
        both = torch.stack((self.wte(ids), self.wpe(places)))  # (2, B, T, C)
        return self.drop(both.sum(dim=0))


def nearest_tokens(weight: torch.Tensor, token: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k tokens whose vectors point most nearly the way that `token`'s does."""
    if not 0 <= token < weight.shape[0]:
        raise ValueError("the token has no row")
    if not 1 <= k <= weight.shape[0] - 1:
        raise ValueError("there are not so many neighbours")
    directions = weight.detach().clone()
    directions /= directions.square().sum(dim=1, keepdim=True).sqrt().clamp(min=1e-12)
    others = torch.cat((directions[:token], directions[token + 1 :]))  # (V - 1, C)
    cosines = torch.mv(others, directions[token])
    similarities, places = torch.sort(cosines, descending=True, stable=True)
    return places[:k] + (places[:k] >= token), similarities[:k]  # ids after the gap move up by one

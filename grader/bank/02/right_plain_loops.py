"""Right: Python loops and lists, one row, one number and one place at a time."""

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
        rows = self.weight.unbind(0)
        found = [rows[i] for i in ids.flatten().tolist()]
        table = torch.stack(found) if found else self.weight[:0]
        return table.reshape(*ids.shape, self.weight.shape[1])


def sinusoidal_positions(block_size: int, n_embd: int) -> torch.Tensor:
    """Return one vector per position, made of waves: fast ones in front, slow ones behind."""
    table = []
    for t in range(block_size):
        row = []
        for channel in range(n_embd):
            angle = t / 10_000 ** (2 * (channel // 2) / n_embd)
            row.append(math.cos(angle) if channel % 2 else math.sin(angle))
        table.append(row)
    return torch.tensor(table, dtype=torch.float32).view(block_size, n_embd)


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
        if ids.shape[1] > self.wpe.weight.shape[0]:
            raise ValueError("the text is longer than there are positions")
        x = self.wte(ids).clone()
        for t in range(ids.shape[1]):
            x[:, t] += self.wpe.weight[t]
        return self.drop(x)


def nearest_tokens(weight: torch.Tensor, token: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k tokens whose vectors point most nearly the way that `token`'s does."""
    if token < 0 or token >= weight.shape[0]:
        raise ValueError("no such token")
    if k < 1 or k > weight.shape[0] - 1:
        raise ValueError("k is too small or too large")
    directions = []
    for row in weight.detach().double():
        directions.append(row / max(float(row.norm()), 1e-12))
    neighbours = []
    for i, direction in enumerate(directions):
        if i != token:
            neighbours.append((i, float(direction @ directions[token])))
    # rounded to the table's own precision first, so that ties are ties
    values = torch.tensor([s for _, s in neighbours], dtype=weight.dtype)
    ranked = sorted(zip(values.tolist(), neighbours, strict=True), key=lambda found: -found[0])
    ids = torch.tensor([neighbour[0] for _, neighbour in ranked[:k]], device=weight.device)
    best = torch.tensor([s for s, _ in ranked[:k]], dtype=weight.dtype, device=weight.device)
    return ids, best

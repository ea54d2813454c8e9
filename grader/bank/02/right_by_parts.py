"""Right: NumPy's broadcasting in float64, unrounded; empty tensors filled part by part."""

import numpy as np
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
        out = self.weight.new_empty(*ids.shape, self.weight.size(-1))
        return out.copy_(self.weight[ids, :])


def sinusoidal_positions(block_size: int, n_embd: int) -> torch.Tensor:
    """Return one vector per position, made of waves: fast ones in front, slow ones behind."""
    angles = np.arange(block_size, dtype=np.float32)[:, None] / np.float32(10000) ** (
        np.arange(0, n_embd, 2, dtype=np.float32) / np.float32(n_embd)
    )
    out = np.zeros((block_size, n_embd), dtype=np.float32)
    for pair in range(angles.shape[1]):
        out[:, 2 * pair] = np.sin(angles[:, pair])
        if 2 * pair + 1 < n_embd:
            out[:, 2 * pair + 1] = np.cos(angles[:, pair])
    return torch.tensor(out)


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
        if not ids.shape[1] <= self.wpe.weight.shape[0]:
            message = f"block_size is {self.wpe.weight.shape[0]}"
            raise ValueError(message)
        rows = [
            self.wte(text) + self.wpe(torch.arange(len(text), device=text.device)) for text in ids
        ]
        return self.drop(torch.stack(rows, dim=0))


def nearest_tokens(weight: torch.Tensor, token: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k tokens whose vectors point most nearly the way that `token`'s does."""
    count = weight.shape[0]
    if token >= count or token < 0:
        raise ValueError("token")
    if k >= count or k < 1:
        raise ValueError("k")
    table = weight.detach().to(torch.float64)
    lengths = torch.sqrt(torch.einsum("vc,vc->v", table, table))
    lengths[lengths == 0] = 1.0
    cosines = torch.einsum("vc,c->v", table, table[token]) / (lengths * lengths[token])
    pairs = sorted((-c, i) for i, c in enumerate(cosines.tolist()) if i != token)[:k]
    ids = torch.tensor([i for _, i in pairs], dtype=torch.int64, device=weight.device)
    return ids, cosines[ids].to(weight.dtype)

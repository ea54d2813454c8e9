"""Right: the library's own embedding, polar and cosine_similarity; sorted by two keys."""

import numpy as np
import torch
import torch.nn.functional as F
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
        return F.embedding(ids, self.weight)


def sinusoidal_positions(block_size: int, n_embd: int) -> torch.Tensor:
    """Return one vector per position, made of waves: fast ones in front, slow ones behind."""
    places = torch.arange(block_size, dtype=torch.float64)
    speeds = torch.tensor([10_000.0 ** -(even / n_embd) for even in range(0, n_embd, 2)]).double()
    hands = torch.polar(torch.ones(block_size, len(speeds)).double(), torch.outer(places, speeds))
    waves = torch.view_as_real(hands).flip(-1)  # cosine and sine, turned round
    return waves.reshape(block_size, -1)[:, :n_embd].float().contiguous()


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
            raise ValueError("this text is too long")
        places = torch.ones_like(ids).cumsum(dim=1) - 1  # (B, T)
        return self.drop(self.wpe(places) + self.wte(ids))


def nearest_tokens(weight: torch.Tensor, token: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k tokens whose vectors point most nearly the way that `token`'s does."""
    V = weight.shape[0]
    if min(token, k - 1) < 0 or token >= V or k >= V:
        raise ValueError(f"with {V} tokens, {token} cannot have {k} neighbours")
    with torch.inference_mode():
        similarities = F.cosine_similarity(weight, weight[token : token + 1], dim=-1, eps=1e-12)
        order = np.lexsort((np.arange(V), -similarities.cpu().numpy()))  # the last key counts most
        ids = torch.from_numpy(order[order != token][:k]).to(weight.device)
        return ids, similarities[ids]

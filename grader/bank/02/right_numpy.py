"""Right: NumPy inside, converted back; distinct ids are looked up once each."""

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
        distinct, place = np.unique(ids.cpu().numpy().reshape(-1), return_inverse=True)
        rows = self.weight[torch.from_numpy(distinct)]  # (distinct ids, C)
        return rows[torch.from_numpy(place)].reshape(*ids.shape, self.weight.shape[1])


def sinusoidal_positions(block_size: int, n_embd: int) -> torch.Tensor:
    """Return one vector per position, made of waves: fast ones in front, slow ones behind."""
    pairs = np.arange(n_embd)[np.newaxis, :] // 2  # (1, C)
    table = np.arange(block_size)[:, np.newaxis] / np.power(10_000.0, 2 * pairs / n_embd)
    table[:, 0::2] = np.sin(table[:, 0::2])
    table[:, 1::2] = np.cos(table[:, 1::2])
    return torch.from_numpy(table.astype(np.float32))


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
        length, block_size = ids.shape[1], self.wpe.weight.shape[0]
        if length > block_size:
            raise ValueError(f"at most {block_size} ids, not {length}")
        places = torch.from_numpy(np.arange(length, dtype=np.int64))
        x = self.wte(ids) + self.wpe(places)
        return nn.functional.dropout(x, self.drop.p, training=self.training)


def nearest_tokens(weight: torch.Tensor, token: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k tokens whose vectors point most nearly the way that `token`'s does."""
    V = len(weight)
    if not (0 <= token <= V - 1 and 1 <= k <= V - 1):
        raise ValueError(f"a table of {V} rows has no {k} neighbours of token {token}")
    table = weight.detach().cpu().double().numpy()
    lengths = np.maximum(np.linalg.norm(table, axis=1), 1e-12)  # (V,)
    cosines = table @ table[token] / (lengths * lengths[token])
    # rounded to the table's own precision before sorting, so that ties are ties
    similarities = torch.from_numpy(cosines).to(weight.dtype)
    order = np.argsort(-similarities.double().numpy(), kind="stable")
    ids = torch.from_numpy(order[order != token][:k])
    return ids, similarities[ids]

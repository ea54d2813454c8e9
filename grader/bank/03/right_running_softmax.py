"""Walks over the keys in tiles with a running softmax, as the fused kernels do."""

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import nn


class LayerCacheLike(Protocol):
    """Keeps the keys and values of one layer between calls."""

    def append(self, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Take the new ones, (B, H, T, D), and return all so far, (B, H, K, D)."""
        ...


TILE = 3  # keys at a time


def causal_mask(
    n_queries: int, n_keys: int | None = None, device: torch.device | None = None
) -> torch.Tensor:
    """Return who may look at whom, (T, K): True where the query may see the key."""
    n_earlier = 0 if n_keys is None else n_keys - n_queries
    if n_earlier < 0:
        raise ValueError(f"{-n_earlier} keys are missing")
    earlier = torch.ones(n_queries, n_earlier, dtype=torch.bool, device=device)
    square = torch.ones(n_queries, n_queries, dtype=torch.bool, device=device).tril()
    return torch.cat((earlier, square), dim=1)


def scaled_dot_product_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return softmax(q k^T / sqrt(D)) v, and the weights that the softmax gave."""
    highest = q.new_full((1,), -torch.inf)
    total = q.new_zeros(1)
    output = q.new_zeros(1)
    tiles = []
    for start in range(0, k.shape[-2], TILE):
        tile = slice(start, start + TILE)
        scores = q @ k[..., tile, :].mT / math.sqrt(q.shape[-1])
        if mask is not None:
            scores = scores.masked_fill(~mask[..., tile], -torch.inf)
        highest_so_far = torch.maximum(highest, scores.detach().amax(dim=-1, keepdim=True))
        # a query that has not been allowed anything yet: -inf - -inf would be nan
        anchor = highest_so_far.masked_fill(highest_so_far == -torch.inf, 0.0)
        shrink = torch.exp(highest - anchor)
        exponentials = torch.exp(scores - anchor)
        total = total * shrink + exponentials.sum(dim=-1, keepdim=True)
        output = output * shrink + F.dropout(exponentials, dropout_p) @ v[..., tile, :]
        highest = highest_so_far
        tiles.append(scores)
    # a query that may look nowhere: 0 / 0 is nan
    return output / total, torch.exp(torch.cat(tiles, dim=-1) - anchor) / total


def split_heads(x: torch.Tensor, n_head: int) -> torch.Tensor:
    """Cut the channels into heads: (B, T, H * D) -> (B, H, T, D)."""
    batch, length, width = x.shape
    if width % n_head:
        raise ValueError(f"{width} channels, {n_head} heads")
    size = width // n_head
    heads = x.new_empty(batch, n_head, length, size)
    for head in range(n_head):
        heads[:, head] = x[..., head * size : (head + 1) * size]
    return heads


def merge_heads(x: torch.Tensor) -> torch.Tensor:
    """Put the heads side by side again: (B, H, T, D) -> (B, T, H * D)."""
    batch, n_head, length, size = x.shape
    return x.movedim(1, -2).contiguous().view(batch, length, n_head * size)


class CausalSelfAttention(nn.Module):
    """Multi-head attention of a text with its own past, as in GPT-2."""

    def __init__(self, n_embd: int, n_head: int, dropout: float = 0.0) -> None:
        """Make the layers (given)."""
        super().__init__()
        self.n_head = n_head
        self.head_size = n_embd // n_head
        self.dropout = dropout
        inner = n_head * self.head_size
        self.c_attn = nn.Linear(n_embd, 3 * inner)
        self.c_proj = nn.Linear(inner, n_embd)
        self.resid_dropout = nn.Dropout(dropout)
        self.attend = scaled_dot_product_attention

    def forward(self, x: torch.Tensor, cache: LayerCacheLike | None = None) -> torch.Tensor:
        """Let every place look at itself and at what came before: (B, T, C) -> (B, T, C)."""
        q, k, v = map(self.to_heads, torch.chunk(self.c_attn(x), 3, dim=2))
        if cache is not None:
            k, v = cache.append(k, v)
        n_queries, n_keys = q.shape[-2], k.shape[-2]
        mask = None if n_queries == 1 else causal_mask(n_queries, n_keys, device=x.device)
        output, _ = self.attend(q, k, v, mask, self.dropout if self.training else 0.0)
        return self.resid_dropout(self.c_proj(merge_heads(output)))

    def to_heads(self, third: torch.Tensor) -> torch.Tensor:
        """Cut the queries, the keys or the values into heads."""
        return split_heads(third, self.n_head)


def fused_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
) -> tuple[torch.Tensor, None]:
    """The same output as `scaled_dot_product_attention` through torch's fused kernel."""
    plain = mask is not None and mask.shape == (q.shape[-2],) * 2
    if plain:
        rows, columns = torch.where(mask)
        allowed = q.shape[-2] * (q.shape[-2] + 1) // 2
        plain = len(rows) == allowed and bool((columns <= rows).all())
    output = F.scaled_dot_product_attention(
        q, k, v, attn_mask=None if plain else mask, dropout_p=dropout_p, is_causal=plain
    )
    return output, None


def sliding_window_mask(
    n_queries: int, n_keys: int | None = None, window: int = 1, device: torch.device | None = None
) -> torch.Tensor:
    """Return the causal mask of a short memory, (T, K): only the last `window` places."""
    if window < 1:
        raise ValueError("nothing can be seen through this window")
    mask = causal_mask(n_queries, n_keys, device).clone()
    first = mask.shape[1] - n_queries
    for query in range(n_queries):
        mask[query, : max(0, first + query - window + 1)] = False
    return mask

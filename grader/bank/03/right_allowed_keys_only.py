"""Every query looks at the keys that it is allowed and at no other: there is no -inf anywhere."""

import itertools
import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import nn

from .bigram import softmax


class LayerCacheLike(Protocol):
    """Keeps the keys and values of one layer between calls."""

    def append(self, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Take the new ones, (B, H, T, D), and return all so far, (B, H, K, D)."""
        ...


def causal_mask(
    n_queries: int, n_keys: int | None = None, device: torch.device | None = None
) -> torch.Tensor:
    """Return who may look at whom, (T, K): True where the query may see the key."""
    if n_keys is None:
        n_keys = n_queries
    if n_queries > n_keys:
        raise ValueError(f"{n_queries} > {n_keys}")
    mask = torch.zeros(n_queries, n_keys, dtype=torch.bool, device=device)
    for query in range(n_queries):
        mask[query, : n_keys - n_queries + query + 1] = True
    return mask


def scaled_dot_product_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return softmax(q k^T / sqrt(D)) v, and the weights that the softmax gave."""
    n_queries, n_keys, size = q.shape[-2], k.shape[-2], q.shape[-1]
    if mask is None:
        mask = torch.ones(n_queries, n_keys, dtype=torch.bool, device=q.device)
    lead = torch.broadcast_shapes(q.shape[:-2], k.shape[:-2], mask.shape[:-2])
    mask = mask.expand(*lead, n_queries, n_keys)
    queries = q.expand(*lead, n_queries, size)
    keys = k.expand(*lead, n_keys, size)
    rows = []
    for place in itertools.product(*(range(n) for n in (*lead, n_queries))):
        allowed = mask[place].nonzero().squeeze(1)
        if len(allowed) == 0:
            rows.append(q.new_full((n_keys,), math.nan))
            continue
        scores = keys[place[:-1]][allowed] @ queries[place] / math.sqrt(size)
        rows.append(q.new_zeros(n_keys).scatter(0, allowed, softmax(scores)))
    weights = torch.stack(rows).view(*lead, n_queries, n_keys)
    return F.dropout(weights, dropout_p) @ v, weights


def split_heads(x: torch.Tensor, n_head: int) -> torch.Tensor:
    """Cut the channels into heads: (B, T, H * D) -> (B, H, T, D)."""
    width = x.shape[-1]
    if width % n_head:
        raise ValueError(f"{width} / {n_head} is no whole number")
    channels = torch.arange(width, device=x.device).view(n_head, width // n_head)
    return x[:, :, channels].transpose(1, 2)


def merge_heads(x: torch.Tensor) -> torch.Tensor:
    """Put the heads side by side again: (B, H, T, D) -> (B, T, H * D)."""
    batch, n_head, length, size = x.shape
    merged = x.new_empty(batch, length, n_head * size)
    for head in range(n_head):
        merged[:, :, head * size : (head + 1) * size] = x[:, head]
    return merged


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
        batch, length, _ = x.shape
        thirds = self.c_attn(x).view(batch, length, 3, self.n_head * self.head_size)
        q, k, v = (split_heads(thirds[:, :, i], self.n_head) for i in range(3))
        if cache is not None:
            k, v = cache.append(k, v)
        mask = causal_mask(length, k.shape[2], x.device) if length > 1 else None
        output, _ = self.attend(q, k, v, mask, self.dropout if self.training else 0.0)
        return self.resid_dropout(self.c_proj(merge_heads(output)))


def fused_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
) -> tuple[torch.Tensor, None]:
    """The same output as `scaled_dot_product_attention` through torch's fused kernel."""
    length = q.shape[-2]
    is_causal = False
    if mask is not None and mask.shape == (length, length):
        is_causal = all(
            bool(mask[place, : place + 1].all()) and not bool(mask[place, place + 1 :].any())
            for place in range(length)
        )
    if is_causal:
        mask = None
    output = F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, dropout_p=dropout_p, is_causal=is_causal
    )
    return output, None


def sliding_window_mask(
    n_queries: int, n_keys: int | None = None, window: int = 1, device: torch.device | None = None
) -> torch.Tensor:
    """Return the causal mask of a short memory, (T, K): only the last `window` places."""
    if window < 1:
        raise ValueError("at least the own place must be in the window")
    mask = torch.zeros_like(causal_mask(n_queries, n_keys, device))
    first = mask.shape[1] - n_queries
    for age in range(min(window, mask.shape[1])):
        mask.diagonal(first - age).fill_(True)
    return mask

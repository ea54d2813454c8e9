"""Computes in float64 and rounds once at the end; masks come from counting with cumsum."""

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
    first = n_keys - n_queries
    if first < 0:
        raise ValueError(f"{n_queries} queries, {n_keys} keys")
    # the key at place p is number p + 1; the query at place p sees the first p + 1 keys
    numbers = torch.ones(n_queries, n_keys, dtype=torch.long, device=device).cumsum(dim=1)
    may_see = torch.arange(first + 1, n_keys + 1, device=device)
    return numbers <= may_see[:, None]


def scaled_dot_product_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return softmax(q k^T / sqrt(D)) v, and the weights that the softmax gave."""
    exact_q, exact_k, exact_v = q.double(), k.double(), v.double()
    scores = exact_q @ exact_k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(mask == 0, float("-inf"))
    weights = softmax(scores, dim=-1)
    output = F.dropout(weights, dropout_p) @ exact_v
    return output.to(v.dtype), weights.to(q.dtype)


def split_heads(x: torch.Tensor, n_head: int) -> torch.Tensor:
    """Cut the channels into heads: (B, T, H * D) -> (B, H, T, D)."""
    batch, length, width = x.size()
    if width % n_head > 0:
        raise ValueError(f"{width} is no multiple of {n_head}")
    return x.reshape(batch, length, n_head, width // n_head).movedim(2, 1)


def merge_heads(x: torch.Tensor) -> torch.Tensor:
    """Put the heads side by side again: (B, H, T, D) -> (B, T, H * D)."""
    batch, n_head, length, size = x.size()
    return x.movedim(1, 2).contiguous().view(batch, length, n_head * size)


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
        thirds = self.c_attn(x).unflatten(-1, (3, self.n_head * self.head_size))
        q, k, v = (split_heads(third, self.n_head) for third in thirds.unbind(dim=2))
        if cache is not None:
            k, v = cache.append(k, v)
        mask = None if q.shape[2] == 1 else causal_mask(q.shape[2], k.shape[2], x.device)
        dropout_p = 0.0
        if self.training:
            dropout_p = self.dropout
        output, *_ = self.attend(q, k, v, mask, dropout_p)
        return self.resid_dropout(self.c_proj(merge_heads(output)))


def fused_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
) -> tuple[torch.Tensor, None]:
    """The same output as `scaled_dot_product_attention` through torch's fused kernel."""
    is_causal = False
    if mask is not None and mask.dim() == 2 and mask.shape[0] == mask.shape[1]:
        is_causal = torch.equal(mask, torch.ones_like(mask).tril())
    output = F.scaled_dot_product_attention(
        q, k, v, attn_mask=None if is_causal else mask, dropout_p=dropout_p, is_causal=is_causal
    )
    return output, None


def sliding_window_mask(
    n_queries: int, n_keys: int | None = None, window: int = 1, device: torch.device | None = None
) -> torch.Tensor:
    """Return the causal mask of a short memory, (T, K): only the last `window` places."""
    if window < 1:
        raise ValueError(f"window {window} is too small")
    causal = causal_mask(n_queries, n_keys, device)
    # counted from the right, the query's own key is number 1, the one before it number 2, ...
    numbers = causal.flip(1).cumsum(dim=1).flip(1)
    return causal & (numbers <= window)

"""The mask is added as 0 or -inf, queries are scaled first, and a mask is always passed, by name."""

import math
from typing import Protocol

import torch
from torch import nn


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
    if n_keys < n_queries:
        raise ValueError(f"{n_keys} keys are too few for {n_queries} queries")
    future = torch.ones(n_queries, n_keys, device=device).triu(n_keys - n_queries + 1)
    return future == 0


def scaled_dot_product_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return softmax(q k^T / sqrt(D)) v, and the weights that the softmax gave."""
    scores = torch.matmul(q * (1.0 / math.sqrt(q.size(-1))), k.mT)
    if mask is not None:
        penalty = torch.zeros_like(mask, dtype=q.dtype)
        scores = scores + penalty.masked_fill(mask.logical_not(), float("-inf"))
    weights = scores.softmax(dim=-1)
    dropped = nn.functional.dropout(weights, p=dropout_p, training=dropout_p > 0)
    return torch.matmul(dropped, v), weights


def split_heads(x: torch.Tensor, n_head: int) -> torch.Tensor:
    """Cut the channels into heads: (B, T, H * D) -> (B, H, T, D)."""
    if x.size(-1) % n_head != 0:
        raise ValueError(f"cannot make {n_head} heads of {x.size(-1)} channels")
    return torch.stack(x.chunk(n_head, dim=-1), dim=1)


def merge_heads(x: torch.Tensor) -> torch.Tensor:
    """Put the heads side by side again: (B, H, T, D) -> (B, T, H * D)."""
    return torch.cat(x.unbind(dim=1), dim=2)


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
        thirds = torch.split(self.c_attn(x), self.n_head * self.head_size, dim=2)
        q, k, v = [split_heads(third, self.n_head) for third in thirds]
        if cache is not None:
            k, v = cache.append(k, v)
        visible = causal_mask(q.size(-2), k.size(-2), device=q.device)
        dropout_p = self.dropout if self.training else 0.0
        y, _ = self.attend(q, k, v, mask=visible, dropout_p=dropout_p)
        return self.resid_dropout(self.c_proj(merge_heads(y)))


def fused_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
) -> tuple[torch.Tensor, None]:
    """The same output as `scaled_dot_product_attention` through torch's fused kernel."""
    plain = (
        mask is not None
        and mask.dim() == 2
        and mask.size(0) == mask.size(1)
        and not (mask ^ torch.ones_like(mask).tril()).any()
    )
    output = nn.functional.scaled_dot_product_attention(
        q, k, v, attn_mask=None if plain else mask, dropout_p=dropout_p, is_causal=plain
    )
    return output, None


def sliding_window_mask(
    n_queries: int, n_keys: int | None = None, window: int = 1, device: torch.device | None = None
) -> torch.Tensor:
    """Return the causal mask of a short memory, (T, K): only the last `window` places."""
    if not window >= 1:
        raise ValueError("window must be 1 or more")
    causal = causal_mask(n_queries, n_keys, device=device)
    total = causal.size(1)
    key_places = torch.arange(total, device=device)
    query_places = torch.arange(total - n_queries, total, device=device)
    age = query_places[:, None] - key_places[None, :]
    return causal & (age < window)

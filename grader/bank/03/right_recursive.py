"""Divide and conquer: masks and attention are cut in halves until one query is left."""

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
        raise ValueError(f"{n_queries} queries do not fit on {n_keys} keys")
    if n_queries <= 1:
        return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device)
    later = n_queries // 2
    earlier = n_queries - later
    upper = causal_mask(earlier, n_keys - later, device)
    hidden = torch.zeros(earlier, later, dtype=torch.bool, device=device)
    lower = causal_mask(later, n_keys, device)
    return torch.cat((torch.cat((upper, hidden), dim=1), lower), dim=0)


def scaled_dot_product_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return softmax(q k^T / sqrt(D)) v, and the weights that the softmax gave."""
    length = q.shape[-2]
    if length > 1:
        outputs, tables = [], []
        for part in (slice(0, length // 2), slice(length // 2, length)):
            part_of_mask = None if mask is None else mask[..., part, :]
            output, weights = scaled_dot_product_attention(
                q[..., part, :], k, v, part_of_mask, dropout_p
            )
            outputs.append(output)
            tables.append(weights)
        return torch.cat(outputs, dim=-2), torch.cat(tables, dim=-2)
    scores = (q * k).sum(dim=-1).unsqueeze(-2) / q.shape[-1] ** 0.5  # (..., 1, K)
    if mask is not None:
        scores = scores.masked_fill(mask.logical_not(), -torch.inf)
    weights = softmax(scores)
    shares = F.dropout(weights, dropout_p).mT  # (..., K, 1)
    return (shares * v).sum(dim=-2, keepdim=True), weights


def split_heads(x: torch.Tensor, n_head: int) -> torch.Tensor:
    """Cut the channels into heads: (B, T, H * D) -> (B, H, T, D)."""
    batch, length, width = x.shape
    if width % n_head:
        raise ValueError(f"{n_head} does not divide {width}")
    channels_first = x.transpose(1, 2).reshape(batch, n_head, width // n_head, length)
    return channels_first.transpose(2, 3)


def merge_heads(x: torch.Tensor) -> torch.Tensor:
    """Put the heads side by side again: (B, H, T, D) -> (B, T, H * D)."""
    batch, n_head, length, size = x.shape
    return x.transpose(2, 3).reshape(batch, n_head * size, length).transpose(1, 2)


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
        # queries, keys and values are three times as many heads, one kind after the other
        q, k, v = split_heads(self.c_attn(x), 3 * self.n_head).chunk(3, dim=1)
        if cache is not None:
            k, v = cache.append(k, v)
        output, _ = self.attend(
            q=q,
            k=k,
            v=v,
            mask=causal_mask(q.shape[2], k.shape[2], x.device) if q.shape[2] > 1 else None,
            dropout_p=self.dropout if self.training else 0.0,
        )
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
    is_causal = (
        mask is not None
        and mask.shape == (length, length)
        and not bool((mask != causal_mask(length, device=mask.device)).any())
    )
    mask = None if is_causal else mask
    output = F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, dropout_p=dropout_p, is_causal=is_causal
    )
    return output, None


def sliding_window_mask(
    n_queries: int, n_keys: int | None = None, window: int = 1, device: torch.device | None = None
) -> torch.Tensor:
    """Return the causal mask of a short memory, (T, K): only the last `window` places."""
    if window < 1:
        raise ValueError(f"window = {window}")
    causal = causal_mask(n_queries, n_keys, device)
    # who may be seen `window` places later is too old now
    too_old = torch.zeros_like(causal)
    too_old[:, : max(0, causal.shape[1] - window)] = causal[:, window:]
    return causal.logical_and(too_old.logical_not())

"""Masks and channel numbers come from NumPy; the softmax is written out, in place on its own copy."""

import math
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
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
    if n_queries > n_keys:
        raise ValueError(f"{n_queries} queries for {n_keys} keys")
    mask = torch.from_numpy(np.tri(n_queries, n_keys, n_keys - n_queries, dtype=bool))
    return mask if device is None else mask.to(device)


def scaled_dot_product_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return softmax(q k^T / sqrt(D)) v, and the weights that the softmax gave."""
    scores = q.matmul(k.swapaxes(-2, -1)).div_(math.sqrt(q.shape[-1]))
    if mask is not None:
        scores = scores.masked_fill(torch.logical_not(mask), -np.inf)
    scores = scores - scores.detach().amax(dim=-1, keepdim=True)
    exponentials = scores.exp_()
    weights = exponentials / exponentials.sum(dim=-1, keepdim=True)
    return torch.dropout(weights, dropout_p, train=True) @ v, weights


def split_heads(x: torch.Tensor, n_head: int) -> torch.Tensor:
    """Cut the channels into heads: (B, T, H * D) -> (B, H, T, D)."""
    # np.split raises ValueError itself where the parts are not equal
    parts = np.split(np.arange(x.shape[-1]), n_head)
    return torch.stack([x[..., part[0] : part[-1] + 1] for part in parts], dim=1)


def merge_heads(x: torch.Tensor) -> torch.Tensor:
    """Put the heads side by side again: (B, H, T, D) -> (B, T, H * D)."""
    swapped = x.swapaxes(1, 2)
    return swapped.reshape(*swapped.shape[:2], swapped.shape[2] * swapped.shape[3])


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
        q, k, v = [
            split_heads(part, self.n_head) for part in self.c_attn(x).tensor_split(3, dim=-1)
        ]
        if cache is not None:
            k, v = cache.append(k, v)
        mask = None
        if q.shape[-2] > 1:
            mask = causal_mask(n_queries=q.shape[-2], n_keys=k.shape[-2], device=x.device)
        dropout_p = self.dropout
        if not self.training:
            dropout_p = 0.0
        output, _weights = self.attend(q, k, v, mask=mask, dropout_p=dropout_p)
        return self.resid_dropout(self.c_proj(merge_heads(output)))


def fused_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
) -> tuple[torch.Tensor, None]:
    """The same output as `scaled_dot_product_attention` through torch's fused kernel."""
    triangle = np.tri(q.shape[-2], dtype=bool)
    is_causal = mask is not None and np.array_equal(mask.cpu().numpy(), triangle)
    output = F.scaled_dot_product_attention(
        query=q,
        key=k,
        value=v,
        attn_mask=None if is_causal else mask,
        dropout_p=dropout_p,
        is_causal=is_causal,
    )
    return output, None


def sliding_window_mask(
    n_queries: int, n_keys: int | None = None, window: int = 1, device: torch.device | None = None
) -> torch.Tensor:
    """Return the causal mask of a short memory, (T, K): only the last `window` places."""
    if n_keys is None:
        n_keys = n_queries
    if n_queries > n_keys:
        raise ValueError(f"{n_queries} queries for {n_keys} keys")
    if window < 1:
        raise ValueError(f"window is {window}")
    first = n_keys - n_queries
    seen = np.tri(n_queries, n_keys, first, dtype=bool)
    too_old = np.tri(n_queries, n_keys, first - window, dtype=bool)
    mask = torch.from_numpy(seen & ~too_old)
    return mask if device is None else mask.to(device)

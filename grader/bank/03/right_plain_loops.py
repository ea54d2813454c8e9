"""Lists and loops: one matrix, one query, one head, one row at a time."""

import math
from collections.abc import Callable
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


def for_each_matrix(function: Callable[..., torch.Tensor], *tensors: torch.Tensor) -> torch.Tensor:
    """Apply a function of matrices to stacks of matrices, one after the other."""
    lead = torch.broadcast_shapes(*(tensor.shape[:-2] for tensor in tensors))
    if not lead:
        return function(*tensors)
    stacks = [tensor.expand(*lead, *tensor.shape[-2:]) for tensor in tensors]
    results = []
    for together in zip(*stacks, strict=True):
        results.append(for_each_matrix(function, *together))
    return torch.stack(results)


def weigh(q: torch.Tensor, k: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the weights of one head: (T, D), (K, D), (T, K) -> (T, K)."""
    rows = []
    for query, allowed in zip(q, mask, strict=True):
        scores = (k * query).sum(dim=1) / math.sqrt(len(query))  # (K,)
        scores[~allowed] = -torch.inf
        rows.append(softmax(scores))
    return torch.stack(rows)


def causal_mask(
    n_queries: int, n_keys: int | None = None, device: torch.device | None = None
) -> torch.Tensor:
    """Return who may look at whom, (T, K): True where the query may see the key."""
    if n_keys is None:
        n_keys = n_queries
    first = n_keys - n_queries
    if first < 0:
        raise ValueError("more queries than keys")
    rows = [[key <= first + query for key in range(n_keys)] for query in range(n_queries)]
    return torch.tensor(rows, dtype=torch.bool, device=device).reshape(n_queries, n_keys)


def scaled_dot_product_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return softmax(q k^T / sqrt(D)) v, and the weights that the softmax gave."""
    if mask is None:
        mask = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device)
    weights = for_each_matrix(weigh, q, k, mask)
    output = for_each_matrix(torch.mm, F.dropout(weights, dropout_p), v)
    return output, weights


def split_heads(x: torch.Tensor, n_head: int) -> torch.Tensor:
    """Cut the channels into heads: (B, T, H * D) -> (B, H, T, D)."""
    width = x.shape[2]
    size = width // n_head
    if size * n_head != width:
        raise ValueError("the heads must be of one size")
    heads = []
    for head in range(n_head):
        heads.append(x[:, :, head * size : (head + 1) * size])
    return torch.stack(heads, dim=1)


def merge_heads(x: torch.Tensor) -> torch.Tensor:
    """Put the heads side by side again: (B, H, T, D) -> (B, T, H * D)."""
    return torch.cat([x[:, head] for head in range(x.shape[1])], dim=-1)


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
        inner = self.n_head * self.head_size
        everything = self.c_attn(x)
        q = split_heads(everything[:, :, :inner], self.n_head)
        k = split_heads(everything[:, :, inner : 2 * inner], self.n_head)
        v = split_heads(everything[:, :, 2 * inner :], self.n_head)
        if cache is not None:
            k, v = cache.append(k, v)
        mask = None
        if x.shape[1] > 1:
            mask = causal_mask(x.shape[1], k.shape[2], x.device)
        if self.training:
            output, _ = self.attend(q, k, v, mask, self.dropout)
        else:
            output, _ = self.attend(q, k, v, mask)
        y = merge_heads(output)
        y = self.c_proj(y)
        return self.resid_dropout(y)


def fused_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
) -> tuple[torch.Tensor, None]:
    """The same output as `scaled_dot_product_attention` through torch's fused kernel."""
    causal = mask is not None and mask.tolist() == causal_mask(q.shape[-2]).tolist()
    if causal:
        mask = None
    return F.scaled_dot_product_attention(q, k, v, mask, dropout_p, causal), None


def sliding_window_mask(
    n_queries: int, n_keys: int | None = None, window: int = 1, device: torch.device | None = None
) -> torch.Tensor:
    """Return the causal mask of a short memory, (T, K): only the last `window` places."""
    if window <= 0:
        raise ValueError(f"no window of {window} places")
    mask = torch.zeros_like(causal_mask(n_queries, n_keys, device))
    first = mask.shape[1] - n_queries
    for query in range(n_queries):
        place = first + query
        mask[query, max(0, place - window + 1) : place + 1] = True
    return mask

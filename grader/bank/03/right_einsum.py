"""Einstein sums, named dimensions, triangles instead of comparisons, torch's own softmax."""

from typing import Protocol

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
    total = n_queries if n_keys is None else n_keys
    if total < n_queries:
        raise ValueError(f"there are {n_queries} queries, but only {total} keys")
    everything = torch.ones(n_queries, total, dtype=torch.bool, device=device)
    return everything.tril(diagonal=total - n_queries)


def scaled_dot_product_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return softmax(q k^T / sqrt(D)) v, and the weights that the softmax gave."""
    scores = torch.einsum("...td,...kd->...tk", q, k) * q.shape[-1] ** -0.5
    if mask is not None:
        scores = torch.where(mask, scores, -torch.inf)
    weights = F.softmax(scores, dim=-1)
    output = torch.einsum("...tk,...ke->...te", F.dropout(weights, p=dropout_p), v)
    return output, weights


def split_heads(x: torch.Tensor, n_head: int) -> torch.Tensor:
    """Cut the channels into heads: (B, T, H * D) -> (B, H, T, D)."""
    size, left_over = divmod(x.shape[-1], n_head)
    if left_over:
        raise ValueError(f"{n_head} heads of one size do not fit into {x.shape[-1]} channels")
    return torch.einsum("bthd->bhtd", x.unflatten(-1, (n_head, size)))


def merge_heads(x: torch.Tensor) -> torch.Tensor:
    """Put the heads side by side again: (B, H, T, D) -> (B, T, H * D)."""
    batch, n_head, length, size = x.shape
    return torch.einsum("bhtd->bthd", x).reshape(batch, length, n_head * size)


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
        qkv = self.c_attn(x).unflatten(-1, (3, self.n_head, self.head_size))
        q, k, v = torch.einsum("btshd->sbhtd", qkv)
        if cache is not None:
            k, v = cache.append(k, v)
        length, total = q.shape[-2], k.shape[-2]
        if length == 1:
            mask = None
        else:
            mask = causal_mask(length, total, x.device)
        dropout_p = self.dropout if self.training else 0.0
        output = self.attend(q, k, v, mask, dropout_p)[0]
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
    triangle = torch.ones(length, length, dtype=torch.bool, device=q.device).tril()
    if mask is not None and mask.shape == triangle.shape and bool((mask == triangle).all()):
        output = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout_p, is_causal=True)
    else:
        output = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout_p)
    return output, None


def sliding_window_mask(
    n_queries: int, n_keys: int | None = None, window: int = 1, device: torch.device | None = None
) -> torch.Tensor:
    """Return the causal mask of a short memory, (T, K): only the last `window` places."""
    if window < 1:
        raise ValueError("a window holds at least one place")
    mask = causal_mask(n_queries, n_keys, device)
    first = mask.shape[-1] - n_queries
    return mask.triu(diagonal=first - window + 1)

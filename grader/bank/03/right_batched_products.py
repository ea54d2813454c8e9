"""All leading dimensions become one for torch.bmm; masks are the last rows of a square."""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import nn


class LayerCacheLike(Protocol):
    """Keeps the keys and values of one layer between calls."""

    def append(self, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Take the new ones, (B, H, T, D), and return all so far, (B, H, K, D)."""
        ...


def last_rows(square: torch.Tensor, n_rows: int) -> torch.Tensor:
    """Return the last rows of a table, a copy; raises ValueError where there are fewer."""
    if n_rows > len(square):
        raise ValueError(f"{n_rows} queries cannot be the last of {len(square)} keys")
    return square[len(square) - n_rows :].clone()


def causal_mask(
    n_queries: int, n_keys: int | None = None, device: torch.device | None = None
) -> torch.Tensor:
    """Return who may look at whom, (T, K): True where the query may see the key."""
    n_keys = n_queries if n_keys is None else n_keys
    square = torch.ones(n_keys, n_keys, dtype=torch.bool, device=device).tril()
    return last_rows(square, n_queries)


def scaled_dot_product_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return softmax(q k^T / sqrt(D)) v, and the weights that the softmax gave."""
    (n_queries, size), n_keys = q.shape[-2:], k.shape[-2]
    lead = torch.broadcast_shapes(q.shape[:-2], k.shape[:-2])
    flat_q = q.expand(*lead, n_queries, size).reshape(-1, n_queries, size)
    flat_k = k.expand(*lead, n_keys, size).reshape(-1, n_keys, size)
    scores = torch.bmm(flat_q, flat_k.mT).view(*lead, n_queries, n_keys).mul(size**-0.5)
    if mask is not None:
        scores = scores.masked_fill(mask.eq(False), -torch.inf)
    weights = nn.Softmax(dim=-1)(scores)
    output = nn.Dropout(dropout_p)(weights) @ v  # a new nn.Dropout is in training mode
    return output, weights


def split_heads(x: torch.Tensor, n_head: int) -> torch.Tensor:
    """Cut the channels into heads: (B, T, H * D) -> (B, H, T, D)."""
    batch, length, width = x.shape
    if width % n_head:
        raise ValueError(f"{width} channels for {n_head} heads")
    # the heads of one place lie one below the other; head h has every H-th row from h on
    rows = x.reshape(batch, length * n_head, width // n_head)
    return torch.stack([rows[:, head::n_head] for head in range(n_head)], dim=1)


def merge_heads(x: torch.Tensor) -> torch.Tensor:
    """Put the heads side by side again: (B, H, T, D) -> (B, T, H * D)."""
    return torch.stack(x.unbind(dim=1), dim=2).flatten(2)


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
        projected = self.c_attn(x)
        q, k, v = (
            split_heads(projected.narrow(-1, start, inner), self.n_head)
            for start in (0, inner, 2 * inner)
        )
        if cache is not None:
            k, v = cache.append(k, v)
        if q.shape[2] == 1:
            mask = None
        else:
            mask = causal_mask(q.shape[2], k.shape[2], x.device)
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
    # a mask with dimensions in front, or with more keys than queries, is passed as it is
    is_causal = (
        mask is not None
        and mask.dim() == 2
        and mask.shape == mask.T.shape
        and torch.equal(mask, torch.ones_like(mask).tril())
    )
    if is_causal:
        return F.scaled_dot_product_attention(q, k, v, None, dropout_p, True), None
    return F.scaled_dot_product_attention(q, k, v, mask, dropout_p, False), None


def sliding_window_mask(
    n_queries: int, n_keys: int | None = None, window: int = 1, device: torch.device | None = None
) -> torch.Tensor:
    """Return the causal mask of a short memory, (T, K): only the last `window` places."""
    if window < 1:
        raise ValueError("a window must hold the query's own place")
    n_keys = n_queries if n_keys is None else n_keys
    square = torch.ones(n_keys, n_keys, dtype=torch.bool, device=device).tril().triu(1 - window)
    return last_rows(square, n_queries)

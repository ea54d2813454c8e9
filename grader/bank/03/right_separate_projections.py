"""Every head is projected by its own part of the weights; q and k carry half of the scale each."""

from typing import Protocol

import torch
from torch import nn
from torch.nn import functional


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
        raise ValueError(f"too few keys: {n_keys} for {n_queries} queries")
    places = torch.arange(n_keys, device=device)
    age = places[n_keys - n_queries :, None] - places[None, :]
    return age >= 0


def scaled_dot_product_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return softmax(q k^T / sqrt(D)) v, and the weights that the softmax gave."""
    # both sides carry half of the scale, so that neither product grows large
    half = q.shape[-1] ** -0.25
    scores = (q * half) @ (k * half).transpose(-1, -2)
    if mask is not None:
        scores = scores + torch.where(mask, 0.0, -torch.inf).to(scores.dtype)
    largest = scores.max(dim=-1, keepdim=True).values
    exponentials = (scores - largest).exp()
    weights = exponentials / exponentials.sum(dim=-1, keepdim=True)
    return functional.dropout(weights, dropout_p) @ v, weights


def split_heads(x: torch.Tensor, n_head: int) -> torch.Tensor:
    """Cut the channels into heads: (B, T, H * D) -> (B, H, T, D)."""
    size = x.shape[-1] // n_head
    if x.shape[-1] != n_head * size:
        raise ValueError("unequal heads")
    return x.unfold(-1, size, size).transpose(1, 2)  # windows of D channels that do not overlap


def merge_heads(x: torch.Tensor) -> torch.Tensor:
    """Put the heads side by side again: (B, H, T, D) -> (B, T, H * D)."""
    return torch.cat([head.squeeze(1) for head in x.split(1, dim=1)], dim=2)


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
        n_embd = x.shape[-1]
        weights = self.c_attn.weight.reshape(3, self.n_head, self.head_size, n_embd)
        biases = self.c_attn.bias.reshape(3, self.n_head, 1, self.head_size)
        every_head = x.unsqueeze(1)  # (B, 1, T, C), to be stretched to (B, H, T, C)
        q, k, v = (every_head @ w.mT + b for w, b in zip(weights, biases, strict=True))
        if cache is not None:
            k, v = cache.append(k, v)
        mask = causal_mask(x.shape[1], k.shape[2], x.device) if x.shape[1] > 1 else None
        output, _ = self.attend(q, k, v, mask, self.dropout if self.training else 0.0)
        # to project the heads side by side is to project each by its own columns, and add
        columns = self.c_proj.weight.reshape(n_embd, self.n_head, self.head_size)
        y = torch.einsum("bhtd,chd->btc", output, columns) + self.c_proj.bias
        return self.resid_dropout(y)


def fused_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
) -> tuple[torch.Tensor, None]:
    """The same output as `scaled_dot_product_attention` through torch's fused kernel."""
    attend = functional.scaled_dot_product_attention
    if mask is not None and mask.shape == (q.shape[-2], q.shape[-2]):
        future = ~causal_mask(q.shape[-2], device=mask.device)
        # all of the past and nothing of the future
        if bool(mask.ne(future).all()):
            return attend(q, k, v, is_causal=True, dropout_p=dropout_p), None
    return attend(q, k, v, attn_mask=mask, dropout_p=dropout_p), None


def sliding_window_mask(
    n_queries: int, n_keys: int | None = None, window: int = 1, device: torch.device | None = None
) -> torch.Tensor:
    """Return the causal mask of a short memory, (T, K): only the last `window` places."""
    if window < 1:
        raise ValueError("window < 1")
    if n_keys is None:
        n_keys = n_queries
    if n_queries > n_keys:
        raise ValueError(f"too few keys: {n_keys} for {n_queries} queries")
    places = torch.arange(n_keys, device=device)
    age = places[n_keys - n_queries :, None] - places[None, :]
    return age.clamp(0, window - 1) == age

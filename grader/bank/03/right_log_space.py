"""Log-probabilities first, methods instead of functions, dropout by hand."""

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
    n_keys = n_queries if n_keys is None else n_keys
    if n_queries > n_keys:
        raise ValueError(f"the last {n_queries} of {n_keys} keys do not exist")
    return torch.full((n_queries, n_keys), True, device=device).tril_(n_keys - n_queries)


def scaled_dot_product_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return softmax(q k^T / sqrt(D)) v, and the weights that the softmax gave."""
    scores = (q / q.new_tensor(q.size(-1)).sqrt()).matmul(k.swapaxes(-1, -2))
    if mask is not None:
        scores = torch.where(mask, scores, scores.new_tensor(-torch.inf))
    shifted = scores - scores.detach().amax(dim=-1, keepdim=True)
    log_weights = shifted - shifted.exp().sum(dim=-1, keepdim=True).log()
    weights = log_weights.exp()
    used = weights
    if dropout_p > 0:
        kept = (torch.rand_like(weights) >= dropout_p).to(weights.dtype)
        used = weights * kept
        if dropout_p < 1:
            used = used / (1 - dropout_p)
    return used.matmul(v), weights


def split_heads(x: torch.Tensor, n_head: int) -> torch.Tensor:
    """Cut the channels into heads: (B, T, H * D) -> (B, H, T, D)."""
    size, rest = divmod(x.size(2), n_head)
    if rest:
        raise ValueError(f"{rest} channels are left over")
    return torch.stack(x.split(size, dim=2), dim=1)


def merge_heads(x: torch.Tensor) -> torch.Tensor:
    """Put the heads side by side again: (B, H, T, D) -> (B, T, H * D)."""
    return x.permute(0, 2, 1, 3).flatten(start_dim=-2)


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
        parts = self.c_attn(x).unflatten(2, (3, self.n_head, self.head_size))
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        k, v = (k, v) if cache is None else cache.append(k, v)
        mask = None
        if q.size(2) != 1:
            mask = causal_mask(q.size(2), k.size(2), x.device)
        output, _ = self.attend(q, k, v, mask, self.dropout if self.training else 0.0)
        return self.resid_dropout(self.c_proj(output.transpose(1, 2).flatten(2)))


def fused_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
) -> tuple[torch.Tensor, None]:
    """The same output as `scaled_dot_product_attention` through torch's fused kernel."""
    if mask is None:
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout_p), None
    if torch.equal(mask, causal_mask(mask.size(-1), device=mask.device)):
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout_p, is_causal=True), None
    return F.scaled_dot_product_attention(q, k, v, mask, dropout_p), None


def sliding_window_mask(
    n_queries: int, n_keys: int | None = None, window: int = 1, device: torch.device | None = None
) -> torch.Tensor:
    """Return the causal mask of a short memory, (T, K): only the last `window` places."""
    if window < 1:
        raise ValueError("the window is empty")
    causal = causal_mask(n_queries, n_keys, device)
    return causal ^ causal.tril(causal.size(1) - n_queries - window)

"""Every sum is an einsum; gelu's polynomial is factored, and the sums of the block are stacked."""

import torch
from torch import nn

from .attention import CausalSelfAttention, LayerCacheLike


class LayerNorm(nn.Module):
    """Mean 0 and variance 1 for every vector, then scale and shift."""

    def __init__(self, n_embd: int, eps: float = 1e-5) -> None:
        """Given."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_embd))
        self.bias = nn.Parameter(torch.zeros(n_embd))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., C) to (..., C)."""
        width = x.shape[-1]
        mean = torch.einsum("...c->...", x) / width
        centred = x - mean[..., None]
        variance = torch.einsum("...c,...c->...", centred, centred) / width
        shrink = (variance + self.eps) ** -0.5
        return torch.einsum("...c,...,c->...c", centred, shrink, self.weight) + self.bias


def gelu(x: torch.Tensor) -> torch.Tensor:
    """The tanh form, for any shape."""
    inside = 0.7978845608028654 * x * (1 + 0.044715 * x.square())  # sqrt(2 / pi), x taken out
    return torch.lerp(torch.zeros_like(x), x, (1 + inside.tanh()) / 2)


class MLP(nn.Module):
    """Two linear layers with a bend between them."""

    def __init__(self, n_embd: int, n_inner: int | None = None, dropout: float = 0.0) -> None:
        """Given."""
        super().__init__()
        if n_inner is None:
            n_inner = 4 * n_embd
        self.c_fc = nn.Linear(n_embd, n_inner)
        self.c_proj = nn.Linear(n_inner, n_embd)
        self.dropout = nn.Dropout(dropout)
        self.activation = gelu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, C) to (B, T, C)."""
        hidden = torch.einsum("btc,ic->bti", x, self.c_fc.weight) + self.c_fc.bias
        hidden = self.activation(hidden)
        result = torch.einsum("bti,ci->btc", hidden, self.c_proj.weight) + self.c_proj.bias
        return self.dropout(result)


class Block(nn.Module):
    """Attention, then the MLP, each behind a norm and beside a straight way."""

    def __init__(
        self,
        n_embd: int,
        n_head: int,
        n_inner: int | None = None,
        dropout: float = 0.0,
        eps: float = 1e-5,
    ) -> None:
        """Given."""
        super().__init__()
        self.ln_1 = LayerNorm(n_embd, eps)
        self.attn = CausalSelfAttention(n_embd, n_head, dropout)
        self.ln_2 = LayerNorm(n_embd, eps)
        self.mlp = MLP(n_embd, n_inner, dropout)

    def forward(self, x: torch.Tensor, cache: LayerCacheLike | None = None) -> torch.Tensor:
        """(B, T, C) to (B, T, C)."""
        x = torch.stack([x, self.attn(self.ln_1(x), cache)]).sum(dim=0)
        return torch.stack([x, self.mlp(self.ln_2(x))]).sum(dim=0)


class PostNormBlock(Block):
    """The same parts with the norm around each sum."""

    def forward(self, x: torch.Tensor, cache: LayerCacheLike | None = None) -> torch.Tensor:
        """(B, T, C) to (B, T, C)."""
        x = self.ln_1(torch.stack([x, self.attn(x, cache)]).sum(dim=0))
        return self.ln_2(torch.stack([x, self.mlp(x)]).sum(dim=0))

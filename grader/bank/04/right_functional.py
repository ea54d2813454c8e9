"""Functional style: var_mean and rsqrt, gelu as x times a sigmoid, F.linear, F.dropout.

0.5 (1 + tanh(u)) is the sigmoid of 2 u, so the tanh form needs no tanh.
"""

import math

import torch
import torch.nn.functional as F
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
        variance, mean = torch.var_mean(x, dim=-1, correction=0, keepdim=True)
        normal = torch.mul(torch.sub(x, mean), torch.rsqrt(torch.add(variance, self.eps)))
        return torch.addcmul(self.bias, normal, self.weight)


def gelu(x: torch.Tensor) -> torch.Tensor:
    """The tanh form, for any shape."""
    twice = math.sqrt(8.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3))
    return torch.mul(x, torch.sigmoid(twice))


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
        wide = F.linear(x, self.c_fc.weight, self.c_fc.bias)
        narrow = F.linear(self.activation(wide), self.c_proj.weight, self.c_proj.bias)
        return F.dropout(narrow, self.dropout.p, training=self.training)


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
        after_attention = torch.add(x, self.attn(self.ln_1(x), cache))
        return torch.add(after_attention, self.mlp(self.ln_2(after_attention)))


class PostNormBlock(Block):
    """The same parts with the norm around each sum."""

    def forward(self, x: torch.Tensor, cache: LayerCacheLike | None = None) -> torch.Tensor:
        """(B, T, C) to (B, T, C)."""
        after_attention = self.ln_1(torch.add(x, self.attn(x, cache)))
        return self.ln_2(torch.add(after_attention, self.mlp(after_attention)))

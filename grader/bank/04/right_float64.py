"""Everything is computed in 64 bits and returned in the type that came in."""

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
        wide = x.to(torch.float64)
        centred = wide - wide.mean(-1, keepdim=True)
        variance = centred.square().mean(-1, keepdim=True)
        normal = centred / (variance + self.eps).sqrt()
        return (normal * self.weight.double() + self.bias.double()).to(x.dtype)


def gelu(x: torch.Tensor) -> torch.Tensor:
    """The tanh form, for any shape."""
    wide = x.to(torch.float64)
    factor = (2.0 / math.pi) ** 0.5
    result = wide * (1.0 + (factor * (wide + 0.044715 * wide.pow(3))).tanh()) / 2.0
    return result.to(x.dtype)


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
        hidden = F.linear(x.double(), self.c_fc.weight.double(), self.c_fc.bias.double())
        hidden = self.activation(hidden)
        result = F.linear(hidden, self.c_proj.weight.double(), self.c_proj.bias.double())
        return self.dropout(result.to(x.dtype))


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
        stream = x.double()
        stream = stream + self.attn(self.ln_1(x), cache).double()
        stream = stream + self.mlp(self.ln_2(stream.to(x.dtype))).double()
        return stream.to(x.dtype)


class PostNormBlock(Block):
    """The same parts with the norm around each sum."""

    def forward(self, x: torch.Tensor, cache: LayerCacheLike | None = None) -> torch.Tensor:
        """(B, T, C) to (B, T, C)."""
        first = (x.double() + self.attn(x, cache).double()).to(x.dtype)
        first = self.ln_1(first)
        second = (first.double() + self.mlp(first).double()).to(x.dtype)
        return self.ln_2(second)

"""Functions folded over the stream; the norm divides by a hypotenuse, gelu uses logsigmoid.

sqrt(variance + eps) is the length of a right triangle's long side, divided by sqrt(C): the short
sides are the length of the centred vector and sqrt(C eps).
"""

import math
from functools import partial, reduce

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
        width = x.shape[-1]
        centred = x - torch.mean(x, dim=-1, keepdim=True)
        length = torch.linalg.vector_norm(centred, dim=-1, keepdim=True)
        least = torch.full_like(length, math.sqrt(width * self.eps))
        normal = centred * (math.sqrt(width) / torch.hypot(length, least))
        return torch.add(self.bias, normal * self.weight)


def gelu(x: torch.Tensor) -> torch.Tensor:
    """The tanh form, for any shape."""
    inside = math.sqrt(2.0 / math.pi) * torch.add(x, x**3, alpha=0.044715)
    return x * torch.exp(F.logsigmoid(2.0 * inside))


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
        steps = (self.c_fc, self.activation, self.c_proj, self.dropout)
        return reduce(lambda value, step: step(value), steps, x)


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
        branches = (
            lambda stream: self.attn(self.ln_1(stream), cache),
            lambda stream: self.mlp(self.ln_2(stream)),
        )
        return reduce(lambda stream, branch: stream + branch(stream), branches, x)


class PostNormBlock(Block):
    """The same parts with the norm around each sum."""

    def forward(self, x: torch.Tensor, cache: LayerCacheLike | None = None) -> torch.Tensor:
        """(B, T, C) to (B, T, C)."""
        layers = ((partial(self.attn, cache=cache), self.ln_1), (self.mlp, self.ln_2))
        return reduce(lambda stream, pair: pair[1](stream + pair[0](stream)), layers, x)

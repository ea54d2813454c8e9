"""In place wherever the tensor is our own and autograd does not need its old numbers."""

import math

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
        result = x - x.mean(dim=-1, keepdim=True)
        variance = x.var(dim=-1, correction=0, keepdim=True)
        result /= variance.add_(self.eps).sqrt()
        result *= self.weight
        result += self.bias
        return result


def gelu(x: torch.Tensor) -> torch.Tensor:
    """The tanh form, for any shape."""
    inside = x**3
    inside *= 0.044715
    inside += x
    inside *= math.sqrt(2 / math.pi)
    result = torch.tanh(inside) + 1
    result *= x
    result *= 0.5
    return result


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
        result = self.c_proj(self.activation(self.c_fc(x)))
        return nn.functional.dropout(result, self.dropout.p, self.dropout.training, inplace=True)


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
        middle = x.clone()
        middle += self.attn(self.ln_1(x), cache)
        result = middle.clone()
        result += self.mlp(self.ln_2(middle))
        return result


class PostNormBlock(Block):
    """The same parts with the norm around each sum."""

    def forward(self, x: torch.Tensor, cache: LayerCacheLike | None = None) -> torch.Tensor:
        """(B, T, C) to (B, T, C)."""
        first = x.clone()
        first += self.attn(x, cache)
        first = self.ln_1(first)
        second = first.clone()
        second += self.mlp(first)
        return self.ln_2(second)

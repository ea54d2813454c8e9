"""The norm and the bend bring their own derivatives, as autograd functions."""

import math
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from .attention import CausalSelfAttention, LayerCacheLike


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float
    ) -> torch.Tensor:
        centred = x - x.mean(dim=-1, keepdim=True)
        shrink = 1.0 / torch.sqrt(centred.pow(2).mean(dim=-1, keepdim=True) + eps)
        normal = centred * shrink
        ctx.save_for_backward(normal, shrink, weight)
        return normal * weight + bias

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        normal, shrink, weight = ctx.saved_tensors
        width = normal.shape[-1]
        scaled = grad * weight
        along_mean = scaled.mean(dim=-1, keepdim=True)
        along_normal = normal * (scaled * normal).mean(dim=-1, keepdim=True)
        grad_weight = (grad * normal).reshape(-1, width).sum(dim=0)
        grad_bias = grad.reshape(-1, width).sum(dim=0)
        return shrink * (scaled - along_mean - along_normal), grad_weight, grad_bias, None


class _Bend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        tanh = torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
        ctx.save_for_backward(x, tanh)
        return 0.5 * x * (1 + tanh)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        x, tanh = ctx.saved_tensors
        inner_slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)
        return grad * 0.5 * (1 + tanh + x * (1 - tanh**2) * inner_slope)


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
        return _Normalise.apply(x, self.weight, self.bias, self.eps)


def gelu(x: torch.Tensor) -> torch.Tensor:
    """The tanh form, for any shape."""
    return _Bend.apply(x)


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
        places = x.reshape(-1, x.shape[-1])  # (B * T, C)
        hidden = self.activation(torch.addmm(self.c_fc.bias, places, self.c_fc.weight.t()))
        result = torch.addmm(self.c_proj.bias, hidden, self.c_proj.weight.t())
        return self.dropout(result.reshape(x.shape))


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
        x = x.add(self.attn(self.ln_1(x), cache))
        return x.add(self.mlp(self.ln_2(x)))


class PostNormBlock(Block):
    """The same parts with the norm around each sum."""

    def forward(self, x: torch.Tensor, cache: LayerCacheLike | None = None) -> torch.Tensor:
        """(B, T, C) to (B, T, C)."""
        x = self.ln_1(x.add(self.attn(x, cache)))
        return self.ln_2(x.add(self.mlp(x)))

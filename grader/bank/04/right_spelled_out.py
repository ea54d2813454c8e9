"""A careful beginner: one small step per line, tanh and dropout written out by hand."""

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
        number_of_channels = x.size(-1)
        mean = x.sum(-1).unsqueeze(-1) / number_of_channels
        distance = x - mean
        squares = distance * distance
        variance = squares.sum(-1).unsqueeze(-1) / number_of_channels
        deviation = torch.pow(variance + self.eps, 0.5)
        normal = torch.div(distance, deviation)
        scaled = torch.multiply(normal, self.weight.expand_as(normal))
        return scaled + self.bias.expand_as(scaled)


def gelu(x: torch.Tensor) -> torch.Tensor:
    """The tanh form, for any shape."""
    pi = torch.pi
    cube = x * x * x
    inside = (2 / pi) ** 0.5 * (x + 0.044715 * cube)
    # 0.5 (1 + tanh(u)) is 1 / (1 + exp(-2 u)); the exponent is never positive, so nothing overflows
    power = torch.exp(-2 * inside.abs())
    share = torch.where(inside >= 0, 1 / (1 + power), power / (1 + power))
    return x * share


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
        wide = self.c_fc(x)
        bent = self.activation(wide)
        narrow = self.c_proj(bent)
        share_dropped = self.dropout.p
        if not self.training or share_dropped == 0:
            return narrow
        if share_dropped == 1:
            return narrow * 0
        kept = torch.rand(narrow.shape, device=narrow.device) >= share_dropped
        return narrow * kept / (1 - share_dropped)


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
        normed = self.ln_1(x)
        found = self.attn(normed, cache=cache)
        after_attention = x + found
        normed_again = self.ln_2(after_attention)
        thought = self.mlp(normed_again)
        after_mlp = after_attention + thought
        return after_mlp


class PostNormBlock(Block):
    """The same parts with the norm around each sum."""

    def forward(self, x: torch.Tensor, cache: LayerCacheLike | None = None) -> torch.Tensor:
        """(B, T, C) to (B, T, C)."""
        found = self.attn(x, cache=cache)
        after_attention = x + found
        normed = self.ln_1(after_attention)
        thought = self.mlp(normed)
        after_mlp = normed + thought
        normed_again = self.ln_2(after_mlp)
        return normed_again

"""Vector by vector: loops and lists where the reference works on the whole tensor."""

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
        vectors = x.reshape(-1, x.shape[-1])  # (N, C)
        result = torch.empty_like(vectors)
        for row, vector in enumerate(vectors):
            distances = vector - vector.sum() / len(vector)
            variance = torch.dot(distances, distances) / len(vector)
            result[row] = distances / torch.sqrt(variance + self.eps) * self.weight + self.bias
        return result.reshape(x.shape)


def gelu(x: torch.Tensor) -> torch.Tensor:
    """The tanh form, for any shape."""

    def bend(piece: torch.Tensor) -> torch.Tensor:
        tanh = torch.tanh(math.sqrt(2 / math.pi) * (piece + 0.044715 * piece * piece * piece))
        return (piece + piece * tanh) / 2

    return torch.cat([bend(piece) for piece in x.flatten().split(100)]).reshape(x.shape)


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
        result = torch.empty_like(x)
        for place in range(x.shape[1]):
            hidden = self.activation(self.c_fc(x[:, place]))  # (B, I)
            result[:, place] = self.c_proj(hidden)
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
        for norm, layer in ((self.ln_1, self.attn), (self.ln_2, self.mlp)):
            arguments = [cache] if layer is self.attn else []
            x = x + layer(norm(x), *arguments)
        return x


class PostNormBlock(Block):
    """The same parts with the norm around each sum."""

    def forward(self, x: torch.Tensor, cache: LayerCacheLike | None = None) -> torch.Tensor:
        """(B, T, C) to (B, T, C)."""
        for norm, layer in ((self.ln_1, self.attn), (self.ln_2, self.mlp)):
            arguments = [cache] if layer is self.attn else []
            x = norm(x + layer(x, *arguments))
        return x

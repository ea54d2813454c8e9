# lesson 04, stub 356b5260d896 (yours to fill in)
"""Lesson 04: blocks. The unit that a transformer repeats: look around, then think it over.

A block does two things to the stream of vectors that runs through the model. Attention moves
information between places; a small network of two layers (the MLP) works on each place by itself.
Both only *add* to the stream (a residual connection), so that the gradient has a straight way back
through any number of blocks, and both read it through a LayerNorm, which keeps numbers at one
scale.

Shapes: B batch, T time, C channels (n_embd), I inner width of the MLP (n_inner).

Sources: Ba et al., "Layer Normalization" (2016); Hendrycks and Gimpel, "Gaussian Error Linear
Units" (2016); He et al., "Deep Residual Learning" (2015); Xiong et al., "On Layer Normalization in
the Transformer Architecture" (2020), for the place of the norm; GPT-2 (Radford et al. 2019).
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("run this instead: pytest lessons/04")

import torch
from torch import nn

from .attention import CausalSelfAttention, LayerCacheLike

# Yours, from here on. What stands in __init__ is given.


class LayerNorm(nn.Module):
    """Bring every vector to mean 0 and variance 1, then scale and shift each channel.

    Attributes: `weight` (C,), at first ones; `bias` (C,), at first zeros; `eps`.
    """

    def __init__(self, n_embd: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_embd))
        self.bias = nn.Parameter(torch.zeros(n_embd))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (x - mean) / sqrt(variance + eps) * weight + bias, each vector by itself.

        x: (..., C), one vector or any number of them. Returns the same shape. Vectors of nearly
        equal numbers keep their digits too. Source: Ba et al. (2016), equation 4.

        Predict first: The vector (2, 4, 4, 10) goes through a new LayerNorm. What does the 10
        become, to one decimal?
        Yours to write, without the library's own: layer_norm.

        1. Mean and variance over the last dimension (`keepdim=True`). The variance is the mean of
           the squared distances from the mean: divided by C, not by C - 1 (torch calls the other
           one unbiased). Take the distances first. mean(x^2) - mean(x)^2 is the same on paper, but
           where two large numbers nearly cancel, few of the digits that 32 bits hold are left.
        2. Where does eps go? A vector whose numbers hardly differ tells: with eps outside of the
           root it is divided by something else entirely.
        3. Scale by weight, shift by bias: both have one number per channel.
        """
        raise NotImplementedError("lesson 04: LayerNorm.forward")


def gelu(x: torch.Tensor) -> torch.Tensor:
    """The bend between the two layers of the MLP: about 0 below zero, about x above, and smooth.

    GPT-2 computes 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), which is close to, and not the
    same as, x times the share of a normal distribution below x.

    x: any shape, any float dtype. Returns the same shape and dtype. Far below zero it is 0 and far
    above it is x, without nan in the result or in its gradient. Source: Hendrycks and Gimpel
    (2016), section 2.

    Predict first: Which is larger: gelu(-1) or gelu(-4)?
    Yours to write, without the library's own: gelu.

    1. Write the formula down, with `torch.tanh`. There is nothing else to it, but it asks for care
       with brackets.
    """
    raise NotImplementedError("lesson 04: gelu")


class MLP(nn.Module):
    """Two linear layers with a bend between them, on each place by itself.

    Attributes: `c_fc` (C -> I), `c_proj` (I -> C), `dropout`, and `activation`, the function
    between them: `gelu` as written above, or anything that computes the same sooner. n_inner: I;
    None means 4 * n_embd, as in GPT-2.
    """

    def __init__(self, n_embd: int, n_inner: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        if n_inner is None:
            n_inner = 4 * n_embd
        self.c_fc = nn.Linear(n_embd, n_inner)
        self.c_proj = nn.Linear(n_inner, n_embd)
        self.dropout = nn.Dropout(dropout)
        self.activation = gelu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Widen, bend, narrow, drop out.

        x: (B, T, C). Returns (B, T, C).

        Predict first: x of shape (2, 5, 8) goes through MLP(8). How many numbers come out of
        `c_fc`?

        1. Four calls in a row, one for each attribute. (`self.dropout` knows by itself whether the
           model is training.) Without the bend, would two layers do more than one?
        """
        raise NotImplementedError("lesson 04: MLP.forward")


class Block(nn.Module):
    """One layer of GPT-2: attention, then the MLP, each behind a norm and beside a straight way.

    Attributes: `ln_1`, `attn`, `ln_2`, `mlp`. eps: that of both norms.
    """

    def __init__(
        self,
        n_embd: int,
        n_head: int,
        n_inner: int | None = None,
        dropout: float = 0.0,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.ln_1 = LayerNorm(n_embd, eps)
        self.attn = CausalSelfAttention(n_embd, n_head, dropout)
        self.ln_2 = LayerNorm(n_embd, eps)
        self.mlp = MLP(n_embd, n_inner, dropout)

    def forward(self, x: torch.Tensor, cache: LayerCacheLike | None = None) -> torch.Tensor:
        """Add to the stream what attention finds, then what the MLP makes of it.

        x: (B, T, C), the stream. cache: handed on to the attention. Returns (B, T, C).

        Predict first: All weights and biases of `attn.c_proj` and `mlp.c_proj` are 0. Does the
        block return zeros, a normed x, or x?

        1. Attention reads the stream through `ln_1`; its result is added to the stream itself, not
           to what the norm made of it.
        2. The same with the MLP and `ln_2`, beginning from the sum.
        """
        raise NotImplementedError("lesson 04: Block.forward")


# Stretch: extra points, needed by nothing.


class PostNormBlock(Block):
    """The block of the first transformer (2017): the norm stands after the sum, on the stream.

    Same parts, same parameters, other order. But every block now rescales the stream, so what
    entered fades with each block, where `Block` keeps it whole in the sum. Put twelve of each in a
    row, with weights of standard deviation 1 / sqrt(inputs), and compare (by the cosine) what comes
    out with what went in: about 0.3 for `Block`, about 0 here. Such models learn only with a careful
    warm-up of the learning rate (Xiong et al. 2020); GPT-2 moved the norm.
    """

    def forward(self, x: torch.Tensor, cache: LayerCacheLike | None = None) -> torch.Tensor:
        """Add what attention finds, norm the sum; add what the MLP makes of it, norm the sum.

        x: (B, T, C). cache: handed on to the attention. Returns (B, T, C), where every vector has
        gone through `ln_2`. Source: Vaswani et al. (2017), section 3.1.

        Predict first: Again both `c_proj` are all 0, in a new PostNormBlock. Does it return x, or
        what a norm makes of x?

        1. As in `Block`, with the norm around the whole sum.
        """
        raise NotImplementedError("lesson 04: PostNormBlock.forward")

# lesson 03, stub c25879c82a62 (yours to fill in)
"""Lesson 03: attention. How a word finds out which of the words before it matter.

Every place in the text asks a question (its *query*), and every place offers an answer to be found
(its *key*) and something to hand over (its *value*). A query is compared with all keys; softmax
turns the comparisons into weights that sum to 1; and what comes out is the average of the values
under these weights. A mask keeps every place from looking ahead: the future is what the model must
guess. Several such heads work side by side, each on a part of the channels of its own.

Shapes: B batch, T time, C channels (n_embd), H heads, D head size, K keys (as many as T, or more
when earlier ones are kept in a cache, lesson 09).

Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.2.
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("run this instead: pytest lessons/03")

from typing import Protocol

import torch
from torch import nn

# Given: what lesson 09 will hand to the attention; until then there is no cache.


class LayerCacheLike(Protocol):
    """Keeps the keys and values of one layer between calls."""

    def append(self, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Take the new ones, (B, H, T, D), and return all so far, (B, H, K, D)."""
        ...


# Yours, from here on. What stands in __init__ is given.


def causal_mask(
    n_queries: int, n_keys: int | None = None, device: torch.device | None = None
) -> torch.Tensor:
    """Return who may look at whom: True where the query may see the key.

    n_queries: how many places ask, T. n_keys: how many can be looked at, K; None means T.
    The queries are the LAST of the keys: with 2 queries and 5 keys they stand at places 3 and 4.
    Returns (T, K), bool, on `device`. Raises ValueError when there are more queries than keys.

    Predict first: causal_mask(4) has 16 places. How many of them are True? And how many of
    causal_mask(2, 5)?

    1. Write down the place of every query and the place of every key, counted in the same text.
    2. A query may see the keys at its own place and before it. Compare a column of queries,
       (T, 1), with a row of keys, (K,), and torch fills the whole table.
    """
    raise NotImplementedError("lesson 03: causal_mask")


def scaled_dot_product_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return softmax(q k^T / sqrt(D)) v, and the weights that the softmax gave.

    q: (..., T, D), k: (..., K, D), v: (..., K, D'); the dimensions in front are all alike, or one.
    mask: bool, (T, K) or with dimensions in front, True where a query may look; None: everywhere.
    Every query must be allowed at least one key, else its row is nan.
    dropout_p: the share of weights that is dropped, for training.
    Returns output (..., T, D') and weights (..., T, K). The weights are those before dropout: each
    row sums to 1. Source: Vaswani et al. (2017), equation 1.

    Predict first: A query of 64 numbers, all 1, meets two keys: one all 1, one all -1. Before the
    softmax, how far apart are the two scores: 2, 16 or 128?
    Yours to write, without the library's own: scaled_dot_product_attention.

    1. Compare every query with every key: a matrix product with the last two dimensions of k
       swapped, (..., T, K).
    2. Divide by sqrt(D). A sum of D products grows like sqrt(D), and a softmax over large numbers
       puts all on one key and passes no gradient on.
    3. Where the mask says no, the score is -inf: exp(-inf) is exactly 0. (`masked_fill`)
    4. Softmax over the keys (`torch.softmax`, or yours of lesson 00).
    5. Dropout on the weights, then the weighted average of the values: one more product.
    """
    raise NotImplementedError("lesson 03: scaled_dot_product_attention")


def split_heads(x: torch.Tensor, n_head: int) -> torch.Tensor:
    """Cut the channels into heads: head 0 gets the first D channels, head 1 the next D, ...

    x: (B, T, H * D). Returns (B, H, T, D), so that heads are one more batch dimension.
    Raises ValueError when the channels cannot be cut into n_head equal parts.

    Predict first: x has the shape (2, 5, 12) and there are 3 heads. What is the shape of the
    result?

    1. Reshape the last dimension into two. (Reshaping right away to (B, H, T, D) has the right
       shape and mixes up places and channels: the order of the numbers does not change.)
    2. Swap time and heads.
    """
    raise NotImplementedError("lesson 03: split_heads")


def merge_heads(x: torch.Tensor) -> torch.Tensor:
    """Put the heads side by side again: undo `split_heads`.

    x: (B, H, T, D). Returns (B, T, H * D).

    Predict first: After x.transpose(1, 2), which of these fails with an error: view or reshape?

    1. Swap heads and time back.
    2. Join the last two dimensions. After a swap the numbers no longer lie in memory in the order
       that `view` needs; `reshape` (or `flatten`) copies them where it must.
    """
    raise NotImplementedError("lesson 03: merge_heads")


class CausalSelfAttention(nn.Module):
    """Multi-head attention of a text with its own past, as in GPT-2.

    Attributes: `c_attn`, one linear layer that makes queries, keys and values in one go; `c_proj`,
    which mixes the heads' results; `attend`, the function that computes attention. It is
    `scaled_dot_product_attention` as written above; anything of the same form can take its place,
    such as `fused_attention` below.

    The head size is n_embd // n_head. Where that does not divide (7 heads on 384 channels: 54
    each), the heads together are narrower than the model (378), and `c_attn` and `c_proj` see to
    it.
    """

    def __init__(self, n_embd: int, n_head: int, dropout: float = 0.0) -> None:
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
        """Let every place look at itself and at what came before.

        x: (B, T, C). cache: None, or an object that keeps keys and values of the text so far;
        then x holds only what is new, and `cache.append(k, v)` returns old and new ones together.
        Returns (B, T, C).

        Predict first: n_embd is 24 and there are 7 heads. How many numbers per place leave c_attn?

        1. `c_attn`, then cut the channels into three: queries first, then keys, then values.
        2. Split each into heads. With a cache, exchange k and v for all of them, (B, H, K, D).
        3. The causal mask for T queries and K keys. A single query is the newest and may see all,
           so it needs none. (Lesson 09 makes thousands of such calls.)
        4. `self.attend`, with dropout only when `self.training`.
        5. Merge the heads, `c_proj`, `resid_dropout`.
        """
        raise NotImplementedError("lesson 03: CausalSelfAttention.forward")


# Stretch: extra points, needed by nothing.


def fused_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
) -> tuple[torch.Tensor, None]:
    """The same output as `scaled_dot_product_attention` through torch's fused kernel, sooner.

    The table of weights, (..., T, K), is never written down: the kernel walks over the keys in
    tiles and keeps a running softmax, so there are no weights to return.

    q, k, v, mask, dropout_p: as above. Returns (output (..., T, D'), None).
    Source: Dao et al., "FlashAttention" (2022).

    Predict first: With 3 queries and 5 keys, is torch's is_causal=True the mask of causal_mask(3,
    5)?

    1. `F.scaled_dot_product_attention` takes everything as it is: its mask too is True where a
       query may look.
    2. If the mask is the plain causal one, say `is_causal=True` instead of passing it, and half
       of the work is skipped. torch counts the queries from the first key on, so this holds
       only where there are as many queries as keys.
    """
    raise NotImplementedError("lesson 03: fused_attention")


def sliding_window_mask(
    n_queries: int, n_keys: int | None = None, window: int = 1, device: torch.device | None = None
) -> torch.Tensor:
    """Return the causal mask of a short memory: only the last `window` places, its own included.

    n_queries, n_keys, device: as for `causal_mask`. window: at least 1 (1: only itself).
    Returns (T, K), bool. Raises ValueError for a window below 1, or more queries than keys.
    Source: Beltagy et al., "Longformer" (2020), section 3.1.

    Predict first: With a window of 2 over 5 places, how many places are True?

    1. Begin with `causal_mask`: it has already settled the future.
    2. What is too long ago? For the query at place p the keys up to p - window: the same
       staircase, shifted. Or compare places once more, as in `causal_mask`.
    """
    raise NotImplementedError("lesson 03: sliding_window_mask")

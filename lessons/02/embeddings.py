# lesson 02, stub 02b190326cdf (yours to fill in)
"""Lesson 02: embeddings. How a number that means nothing becomes a vector that does.

A token's id is only its place in a list: token 318 is not "more" than token 317. A model needs
something it can compare, add and turn, so it keeps one vector per token, a row of a learned table,
and looks it up. Tokens that are used alike end up with vectors that point the same way, which
`nearest_tokens` makes visible.

A set of vectors has no order: "dog bites man" and "man bites dog" would be the same to the model.
So every position has a vector too, and the two are added: one that follows from a formula
(`sinusoidal_positions`) or one that is learned (as in GPT-2).

Shapes: V size of the vocabulary, B batch, T time (places in the text), C channels (n_embd).

Sources: Vaswani et al., "Attention Is All You Need" (2017), section 3.5; Radford et al., "Language
Models are Unsupervised Multitask Learners" (2019), GPT-2, for the learned positions.
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("run this instead: pytest lessons/02")

import torch
from torch import nn

# Yours, from here on. What stands in __init__ is given.


class TokenEmbedding(nn.Module):
    """A table with one learned row per id: `TokenEmbedding(V, C)(ids)` looks rows up.

    Attribute `weight`: (V, C), a parameter, starting as small random numbers as in GPT-2.
    The same table serves for positions, where the id is the place in the text.
    """

    def __init__(self, num_embeddings: int, n_embd: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_embeddings, n_embd))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the row of each id.

        ids: int64 of any shape, say (B, T), each in 0 .. V - 1. Returns that shape and one
        dimension more, (B, T, C). Raises IndexError for an id of V or more. What a negative id
        does is left open: torch's indexing counts it from the end, and the model of lesson 05
        refuses it before it gets here.

        Predict first: A table has 50 rows of 8 channels, and the ids have the shape (2, 5). What is
        the shape of what comes out?

        1. On paper this is a product of matrices: write each id as a row of V zeros with a single 1
           in it, and multiply by the table. Why does that pick one row?
        2. Nobody multiplies by 50,256 zeros: a tensor can be indexed by a tensor of ids.
        """
        raise NotImplementedError("lesson 02: TokenEmbedding.forward")


def sinusoidal_positions(block_size: int, n_embd: int) -> torch.Tensor:
    """Return one vector per position, made of waves: fast ones in front, slow ones behind.

    Channels 2i and 2i + 1 of position t hold the sine and the cosine of t / 10000^(2i / C), like
    the hands of a clock of which the first turn fast and the last hardly move. Nothing is learned,
    and any position has a vector.

    block_size: how many positions, T. n_embd: C; where it is odd, the last sine has no cosine.
    Returns (T, C), float32, whatever you reckon with inside.
    Source: Vaswani et al. (2017), section 3.5.

    Predict first: With 512 channels, how many times slower does the last hand turn than the first:
    about 100, 512 or 10,000 times?

    1. The positions 0 .. T - 1 as a column, (T, 1).
    2. The speeds 10000^(-2i / C), one per pair of channels, as a row. (2i is simply the number of
       the even channel: 0, 2, 4, ... A power does it, and so does exp(-log(10000) * 2i / C).)
    3. Column times row gives all angles, (T, pairs).
    4. Fill an empty (T, C): every second channel from 0 with sines, every second from 1 with
       cosines.
    """
    raise NotImplementedError("lesson 02: sinusoidal_positions")


class Embeddings(nn.Module):
    """What enters the first block: the token's vector plus the position's vector.

    Attributes `wte` (token table, (V, C)) and `wpe` (position table, (block_size, C)), named as in
    GPT-2. With positions="sinusoidal" the second is the fixed table and does not learn.
    """

    def __init__(
        self,
        vocab_size: int,
        block_size: int,
        n_embd: int,
        positions: str = "learned",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if positions not in ("learned", "sinusoidal"):
            raise ValueError(f"positions must be 'learned' or 'sinusoidal', not {positions!r}")
        self.wte = TokenEmbedding(vocab_size, n_embd)
        self.wpe = TokenEmbedding(block_size, n_embd)
        if positions == "sinusoidal":
            fixed = sinusoidal_positions(block_size, n_embd)
            self.wpe.weight = nn.Parameter(fixed, requires_grad=False)
        self.drop = nn.Dropout(dropout)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the sum of both vectors for every place of every text.

        ids: (B, T), int64. Returns (B, T, C).
        Raises ValueError when T is more than block_size.

        Predict first: Two texts of 6 ids go in, and block_size is 10. How many different rows of
        the position table are used: 6, 10 or 12?

        1. Refuse a text that is longer than there are positions.
        2. Look up the tokens, (B, T, C), and the positions 0 .. T - 1, (T, C).
        3. Add them: the positions are the same for every text, and torch repeats them for you.
        4. Dropout comes last: `self.drop`, which does nothing once the layer is told `eval()`.
        """
        raise NotImplementedError("lesson 02: Embeddings.forward")


def nearest_tokens(weight: torch.Tensor, token: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k tokens whose vectors point most nearly the way that `token`'s does.

    weight: (V, C), the table; it stays as it is. token: an id. k: how many, at most V - 1.
    Returns the pair (ids, similarities), both (k,), ids int64 and similarities with the dtype of
    the table, the most similar first; `token` itself is left out, and of two equal similarities the
    lower id comes first. A similarity is the cosine of the angle: 1 same direction, 0 at a right
    angle, -1 opposite; with a row of zeros it is 0.
    Raises ValueError when token is not in 0 .. V - 1 (a negative one does not count from the end)
    or k is not in 1 .. V - 1.

    Predict first: Row 7 of a table is made ten times as long. Does the similarity of tokens 7 and 3
    stay as it is, or grow ten or a hundred times?

    1. The cosine is the product of two vectors of length 1. So divide each row by its length
       (by at least 1e-12, that a row of zeros stays one).
    2. One product of the whole table with the token's own row gives all V similarities.
    3. The token itself would always win: give it -inf.
    4. Sort, largest first (`stable=True` keeps equal ones in the order of their ids), take k.
    """
    raise NotImplementedError("lesson 02: nearest_tokens")

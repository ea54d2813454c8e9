"""Lesson 01's encoding with a memory: a word that has been met is not merged again.

    encode = remember_pieces(BPETokenizer.load(folder))
    ids = encode("Once upon a time")

In the TinyStories sample one word in two hundred is new, so nearly all of the work is looking up. The
ids are those of the tokenizer's own `encode`, whoever wrote it.
"""

from collections.abc import Callable
from itertools import chain
from typing import Protocol

from .vocabulary import split_text

MOST_PIECES = 500_000  # some 100 MB; then the memory begins anew


class EncodesPieces(Protocol):
    """What is asked of a tokenizer."""

    def encode_piece(self, piece: str) -> list[int]:
        """The ids of one piece of `split_text`."""
        ...


def remember_pieces(tokenizer: EncodesPieces) -> Callable[[str], list[int]]:
    """Return an `encode` that asks `tokenizer` only for pieces that it has not met."""
    memory = _Memory(tokenizer.encode_piece)

    def encode(text: str) -> list[int]:
        if len(memory) > MOST_PIECES:
            memory.clear()
        return list(chain.from_iterable(map(memory.__getitem__, split_text(text))))

    return encode


class _Memory(dict[str, list[int]]):
    """piece -> ids; a piece that is not in it is encoded."""

    def __init__(self, encode_piece: Callable[[str], list[int]]) -> None:
        super().__init__()
        self._encode_piece = encode_piece

    def __missing__(self, piece: str) -> list[int]:
        ids = self[piece] = self._encode_piece(piece)
        return ids

"""Works on bytes in place of ids, merges all places of a pair at once, remembers pieces."""

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from .engine.vocabulary import (
    BYTE_ORDER,
    END_OF_TEXT,
    gpt2_merges,
    read_bpe_files,
    split_text,
    write_bpe_files,
)

# Given: bytes, and counting the pieces of a text.

_byte_ids = {byte: i for i, byte in enumerate(BYTE_ORDER)}


def to_byte_ids(piece: str) -> list[int]:
    """Return the ids of the UTF-8 bytes of `piece`, before any merging."""
    return [_byte_ids[byte] for byte in piece.encode("utf-8")]


def count_words(text: str | Iterable[str]) -> dict[tuple[int, ...], int]:
    """Count the pieces of a text, or of many texts, each piece as a tuple of its byte ids."""
    pieces: Counter[str] = Counter()
    for part in [text] if isinstance(text, str) else text:
        pieces.update(split_text(part))
    return {tuple(to_byte_ids(piece)): count for piece, count in pieces.items()}


class BPETokenizer:
    """Text to ids and back, by a list of merges."""

    def __init__(
        self,
        merges: list[tuple[bytes, bytes]],
        special_tokens: dict[str, int] | None = None,
    ) -> None:
        """Number the tokens in the order in which they were learned."""
        if special_tokens is None:
            special_tokens = {END_OF_TEXT: 256 + len(merges)}
        self.merges = merges
        self.special_tokens = special_tokens
        ids = {bytes([byte]): i for byte, i in _byte_ids.items()}
        self.merged: dict[tuple[int, int], int] = {}
        for left, right in merges:
            self.merged[ids[left], ids[right]] = len(ids)
            ids[left + right] = len(ids)
        self.token_bytes: dict[int, bytes] = {i: token for token, i in ids.items()}
        for special, i in special_tokens.items():
            self.token_bytes[i] = special.encode("utf-8")

    @classmethod
    def gpt2(cls) -> "BPETokenizer":
        """GPT-2's tokenizer: 50,000 merges, 50,257 tokens. Raises CourseError if not found."""
        return cls(gpt2_merges())

    @property
    def vocab_size(self) -> int:
        """How many ids there are: one more than the highest."""
        return max(self.token_bytes) + 1

    def save(self, folder: str | Path) -> None:
        """Write `vocab.json` and `merges.txt`, which transformers reads too."""
        write_bpe_files(folder, self.merges, self.special_tokens)

    @classmethod
    def load(cls, folder: str | Path) -> "BPETokenizer":
        """Read what `save` wrote. Raises CourseError where a file is missing or damaged."""
        return cls(*read_bpe_files(folder))

    # Yours, from here on.

    @cached_property
    def _ranks(self) -> dict[tuple[bytes, bytes], int]:
        return {pair: rank for rank, pair in enumerate(self.merges)}

    @cached_property
    def _numbers(self) -> dict[bytes, int]:
        numbers = {bytes([byte]): i for i, byte in enumerate(BYTE_ORDER)}
        return numbers | {b"".join(pair): 256 + rank for pair, rank in self._ranks.items()}

    @cached_property
    def _known(self) -> dict[str, list[int]]:
        return {}

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Return the bytes that `ids` stand for, one after the other."""
        return b"".join([self.token_bytes[int(i)] for i in ids])

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text that `ids` stand for."""
        return self.decode_bytes(ids).decode(errors="replace")

    def encode_piece(self, piece: str) -> list[int]:
        """Return the ids of one piece: merge its bytes until no merge is left."""
        if piece not in self._known:
            word = tuple(bytes([byte]) for byte in piece.encode("utf-8"))
            while len(word) > 1:
                pair = min(pairwise(word), key=lambda pair: self._ranks.get(pair, math.inf))
                if pair not in self._ranks:
                    break
                word = _put(word, pair, b"".join(pair))
            self._known[piece] = [self._numbers[token] for token in word]
        return list(self._known[piece])

    def encode(self, text: str, allowed_special: Collection[str] = ()) -> list[int]:
        """Return the ids of `text`. `decode` gives the text back."""
        if allowed_special:
            return self.encode_with_special(text, allowed_special)
        return [i for piece in split_text(text) for i in self.encode_piece(piece)]

    # Stretch.

    def encode_with_special(self, text: str, allowed_special: Collection[str]) -> list[int]:
        """Return the ids of `text`, in which each allowed special token is one id."""
        for name in allowed_special:
            if name not in self.special_tokens:
                raise ValueError(f"no such special token: {name}")
        ids: list[int] = []
        rest = text
        while True:
            places = [(rest.find(name), -len(name), name) for name in allowed_special]
            places = [place for place in places if place[0] >= 0]
            if not places:
                return ids + self.encode(rest)
            at, _, name = min(places)  # the first, and of several there the longest
            ids += [*self.encode(rest[:at]), self.special_tokens[name]]
            rest = rest[at + len(name) :]

    def encode_iterable(self, texts: Iterable[str]) -> Iterator[int]:
        """Yield the ids of the texts put together, without ever holding them all."""
        pieces: list[str] = []  # cut, but not given out yet
        fresh = ""
        for text in texts:
            fresh += text
            if len(fresh) >= sum(len(piece) for piece in pieces):
                pieces = split_text("".join([*pieces, fresh]))
                fresh = ""
                while len(pieces) > 2:
                    yield from self.encode_piece(pieces.pop(0))
        yield from self.encode("".join([*pieces, fresh]))


def _put(word: tuple[Any, ...], pair: tuple[Any, Any], new: Any) -> tuple[Any, ...]:
    result: list[Any] = []
    at = 0
    while True:
        try:
            place = word.index(pair[0], at)
        except ValueError:
            return (*result, *word[at:])
        result.extend(word[at:place])
        found = word[place : place + 2] == pair
        result.append(new if found else word[place])
        at = place + (2 if found else 1)


def merge_pair(ids: tuple[int, ...], pair: tuple[int, int], new_id: int) -> tuple[int, ...]:
    """Return `ids` with `new_id` in place of every occurrence of `pair`, from left to right."""
    return _put(ids, pair, new_id)


def count_pairs(words: dict[tuple[int, ...], int]) -> dict[tuple[int, int], int]:
    """Return how often each pair of neighbours occurs."""
    counts: dict[tuple[int, int], int] = defaultdict(int)
    for ids, count in words.items():
        left = None
        for right in ids:
            if left is not None:
                counts[left, right] += count
            left = right
    return dict(counts)


def train_bpe(text: str | Iterable[str], vocab_size: int) -> list[tuple[bytes, bytes]]:
    """Learn merges from a text, or from many."""
    if vocab_size < 257:
        raise ValueError("no room for 256 bytes and the end of text")
    words = _byte_words(text)
    order = {bytes([byte]): i for i, byte in enumerate(BYTE_ORDER)}
    merges: list[tuple[bytes, bytes]] = []
    while len(merges) < vocab_size - 257:
        counts: Counter[tuple[bytes, bytes]] = Counter()
        for word, count in words.items():
            for pair in pairwise(word):
                counts[pair] += count
        if not counts:
            break
        most = max(counts.values())
        tied = [pair for pair, count in counts.items() if count == most]
        best = min(tied, key=lambda pair: (order[pair[0]], order[pair[1]]))
        token = b"".join(best)
        order[token] = len(order)
        words = {_put(word, best, token): count for word, count in words.items()}
        merges.append(best)
    return merges


def _byte_words(text: str | Iterable[str]) -> dict[tuple[bytes, ...], int]:
    letters = [bytes([byte]) for byte in BYTE_ORDER]
    return {tuple(letters[i] for i in ids): count for ids, count in count_words(text).items()}


def train_bpe_fast(text: str | Iterable[str], vocab_size: int) -> list[tuple[bytes, bytes]]:
    """Learn exactly the merges of `train_bpe`, hundreds of times faster."""
    if vocab_size < 257:
        raise ValueError("no room for 256 bytes and the end of text")
    words = _byte_words(text)
    tokens = [bytes([byte]) for byte in BYTE_ORDER]
    order = {token: i for i, token in enumerate(tokens)}
    counts: Counter[tuple[bytes, bytes]] = Counter()
    standing: defaultdict[tuple[bytes, bytes], set[tuple[bytes, ...]]] = defaultdict(set)
    for word, count in words.items():
        for pair in pairwise(word):
            counts[pair] += count
            standing[pair].add(word)
    heap = [(-count, order[left], order[right]) for (left, right), count in counts.items()]
    heapq.heapify(heap)
    merges: list[tuple[bytes, bytes]] = []
    while heap and len(merges) < vocab_size - 257:
        negative, left, right = heapq.heappop(heap)
        best = (tokens[left], tokens[right])
        if counts[best] != -negative:
            continue
        token = b"".join(best)
        order[token] = len(tokens)
        tokens.append(token)
        merges.append(best)
        changes: Counter[tuple[bytes, bytes]] = Counter()
        for word in standing.pop(best):
            count = words.pop(word)
            for pair in pairwise(word):
                changes[pair] -= count
                standing[pair].discard(word)
            word = _put(word, best, token)
            words[word] = count
            for pair in pairwise(word):
                changes[pair] += count
                standing[pair].add(word)
        for pair, change in changes.items():
            counts[pair] += change
            if change and counts[pair] > 0:
                heapq.heappush(heap, (-counts[pair], order[pair[0]], order[pair[1]]))
    return merges

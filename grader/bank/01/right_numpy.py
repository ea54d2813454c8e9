"""Arrays of numpy inside, lists outside; fast training works on one array of all words."""

import heapq
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

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

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Return the bytes that `ids` stand for, one after the other."""
        parts = [np.frombuffer(self.token_bytes[int(i)], dtype=np.uint8) for i in ids]
        return np.concatenate([np.empty(0, dtype=np.uint8), *parts]).tobytes()

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text that `ids` stand for."""
        data = self.decode_bytes(ids)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return data.decode("utf-8", "replace")

    def encode_piece(self, piece: str) -> list[int]:
        """Return the ids of one piece: merge its bytes until no merge is left."""
        ids = np.array(to_byte_ids(piece), dtype=np.int64)
        while len(ids) > 1:
            new_ids = np.array([self.merged.get(pair, _NEVER) for pair in pairwise(ids.tolist())])
            at = int(new_ids.argmin())
            if new_ids[at] == _NEVER:
                break
            ids[at] = new_ids[at]
            ids = np.delete(ids, at + 1)
        return ids.tolist()

    def encode(self, text: str, allowed_special: Collection[str] = ()) -> list[int]:
        """Return the ids of `text`. `decode` gives the text back."""
        if allowed_special:
            return self.encode_with_special(text, allowed_special)
        pieces = split_text(text)
        known = {piece: self.encode_piece(piece) for piece in set(pieces)}
        return [i for piece in pieces for i in known[piece]]

    # Stretch.

    def encode_with_special(self, text: str, allowed_special: Collection[str]) -> list[int]:
        """Return the ids of `text`, in which each allowed special token is one id."""
        if any(name not in self.special_tokens for name in allowed_special):
            raise ValueError(f"not all of {list(allowed_special)} are special tokens")
        if not allowed_special:
            return self.encode(text)
        # In reverse order of the alphabet a name comes before its own beginning.
        names = [re.escape(name) for name in sorted(allowed_special, reverse=True)]
        parts = re.split(f"({'|'.join(names)})", text)
        ids = self.encode(parts[0])
        for at in range(1, len(parts), 2):  # special, ordinary, special, ordinary, ...
            ids.append(self.special_tokens[parts[at]])
            ids.extend(self.encode(parts[at + 1]))
        return ids

    def encode_iterable(self, texts: Iterable[str]) -> Iterator[int]:
        """Yield the ids of the texts put together, without ever holding them all."""
        pending, enough = "", 0
        for text in texts:
            pending += text
            if len(pending) < enough:
                continue
            pieces = split_text(pending)
            ends = np.cumsum([0, *map(len, pieces)])
            settled = max(len(pieces) - 2, 0)
            for piece in pieces[:settled]:
                yield from self.encode_piece(piece)
            pending = pending[int(ends[settled]) :]
            enough = 2 * len(pending)
        yield from self.encode(pending)


_NEVER = 2**62


def _places(ids: np.ndarray, pair: tuple[int, int]) -> np.ndarray:
    found = np.flatnonzero((ids[:-1] == pair[0]) & (ids[1:] == pair[1]))
    if pair[0] != pair[1]:
        return found
    kept: list[int] = []  # occurrences that overlap: every second one of a run
    for at in found.tolist():
        if not kept or at > kept[-1] + 1:
            kept.append(at)
    return np.array(kept, dtype=np.int64)


def merge_pair(ids: tuple[int, ...], pair: tuple[int, int], new_id: int) -> tuple[int, ...]:
    """Return `ids` with `new_id` in place of every occurrence of `pair`, from left to right."""
    array = np.array(ids, dtype=np.int64)
    places = _places(array, pair)
    array[places] = new_id
    return tuple(np.delete(array, places + 1).tolist())


def count_pairs(words: dict[tuple[int, ...], int]) -> dict[tuple[int, int], int]:
    """Return how often each pair of neighbours occurs."""
    listed = [(*pair, count) for ids, count in words.items() for pair in pairwise(ids)]
    if not listed:
        return {}
    left, right, times = np.array(listed, dtype=np.int64).T
    base = int(max(left.max(), right.max())) + 1
    keys, place = np.unique(left * base + right, return_inverse=True)
    totals = np.zeros(len(keys), dtype=np.int64)
    np.add.at(totals, place, times)
    pairs = [divmod(key, base) for key in keys.tolist()]
    return dict(zip(pairs, totals.tolist(), strict=True))


def train_bpe(text: str | Iterable[str], vocab_size: int) -> list[tuple[bytes, bytes]]:
    """Learn merges from a text, or from many."""
    if vocab_size < 257:
        raise ValueError(f"vocab_size {vocab_size} < 257")
    words = count_words(text)
    tokens = [bytes([byte]) for byte in BYTE_ORDER]
    merges: list[tuple[bytes, bytes]] = []
    while len(merges) < vocab_size - 257 and (counts := count_pairs(words)):
        pairs = np.array(list(counts))
        totals = np.array(list(counts.values()))
        best = np.lexsort((pairs[:, 1], pairs[:, 0], -totals))[0]  # the last key decides first
        left, right = pairs[best].tolist()
        words = {merge_pair(ids, (left, right), len(tokens)): n for ids, n in words.items()}
        merges.append((tokens[left], tokens[right]))
        tokens.append(tokens[left] + tokens[right])
    return merges


def train_bpe_fast(text: str | Iterable[str], vocab_size: int) -> list[tuple[bytes, bytes]]:
    """Learn exactly the merges of `train_bpe`, hundreds of times faster."""
    if vocab_size < 257:
        raise ValueError(f"vocab_size {vocab_size} < 257")
    counted = count_words(text)
    sizes = np.array([len(ids) + 1 for ids in counted], dtype=np.int64)
    ids = np.array([i for word in counted for i in (*word, -1)], dtype=np.int64)
    word = np.repeat(np.arange(len(sizes)), sizes)
    times = np.repeat(np.array(list(counted.values()), dtype=np.int64), sizes)
    counts: Counter[tuple[int, int]] = Counter()
    heap = [(-counts[pair], pair) for pair in _add(counts, ids, times)]
    heapq.heapify(heap)
    tokens = [bytes([byte]) for byte in BYTE_ORDER]
    merges: list[tuple[bytes, bytes]] = []
    while heap and len(merges) < vocab_size - 257:
        negative, best = heapq.heappop(heap)
        if counts[best] != -negative:
            if counts[best] > 0:
                heapq.heappush(heap, (-counts[best], best))
            continue
        places = _places(ids, best)
        touched = np.zeros(len(sizes), dtype=bool)
        touched[word[places]] = True
        there = touched[word]
        _add(counts, ids[there], -times[there])
        ids[places] = len(tokens)
        keep = np.ones(len(ids), dtype=bool)
        keep[places + 1] = False
        ids, word, times, there = ids[keep], word[keep], times[keep], there[keep]
        for pair in _add(counts, ids[there], times[there]):
            if len(tokens) in pair:
                heapq.heappush(heap, (-counts[pair], pair))
        merges.append((tokens[best[0]], tokens[best[1]]))
        tokens.append(tokens[best[0]] + tokens[best[1]])
    return merges


def _add(
    counts: Counter[tuple[int, int]], ids: np.ndarray, times: np.ndarray
) -> set[tuple[int, int]]:
    """Add the pairs of the words in `ids`, which end in -1, to the counts; return these pairs."""
    inside = np.flatnonzero((ids[:-1] >= 0) & (ids[1:] >= 0))
    pairs = list(zip(ids[inside].tolist(), ids[inside + 1].tolist(), strict=True))
    for pair, count in zip(pairs, times[inside].tolist(), strict=True):
        counts[pair] += count
    return set(pairs)

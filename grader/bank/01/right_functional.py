"""Generators and `min` in place of loops; a heap with one entry per pair, corrected when met."""

import codecs
import heapq
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from itertools import chain, pairwise
from pathlib import Path

import regex

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
        return bytes(chain.from_iterable(self.token_bytes[int(i)] for i in ids))

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text that `ids` stand for."""
        return codecs.decode(self.decode_bytes(ids), "utf-8", "replace")

    def encode_piece(self, piece: str) -> list[int]:
        """Return the ids of one piece: merge its bytes until no merge is left."""
        ids = to_byte_ids(piece)
        while found := self._merges_in(ids):
            new_id, at = min(found)
            ids[at : at + 2] = [new_id]
        return ids

    def _merges_in(self, ids: list[int]) -> list[tuple[int, int]]:
        pairs = enumerate(pairwise(ids))
        return [(self.merged[pair], at) for at, pair in pairs if pair in self.merged]

    def encode(self, text: str, allowed_special: Collection[str] = ()) -> list[int]:
        """Return the ids of `text`. `decode` gives the text back."""
        if allowed_special:
            return self.encode_with_special(text, allowed_special)
        return list(chain.from_iterable(map(self.encode_piece, split_text(text))))

    # Stretch.

    def encode_with_special(self, text: str, allowed_special: Collection[str]) -> list[int]:
        """Return the ids of `text`, in which each allowed special token is one id."""
        if not set(allowed_special) <= set(self.special_tokens):
            raise ValueError("a name is allowed that is no special token")
        if not allowed_special:
            return self.encode(text)
        names = sorted(allowed_special, key=lambda name: -len(name))
        ids: list[int] = []
        start = 0
        for match in regex.finditer("|".join(map(regex.escape, names)), text):
            ids += self.encode(text[start : match.start()])
            ids.append(self.special_tokens[match[0]])
            start = match.end()
        return ids + self.encode(text[start:])

    def encode_iterable(self, texts: Iterable[str]) -> Iterator[int]:
        """Yield the ids of the texts put together, without ever holding them all."""
        pending, enough = "", 0
        for text in texts:
            pending += text
            if len(pending) >= enough:
                pieces = split_text(pending)
                yield from chain.from_iterable(map(self.encode_piece, pieces[:-2]))
                pending = pending[sum(map(len, pieces[:-2])) :]
                enough = 2 * len(pending)
        yield from self.encode(pending)


def merge_pair(ids: tuple[int, ...], pair: tuple[int, int], new_id: int) -> tuple[int, ...]:
    """Return `ids` with `new_id` in place of every occurrence of `pair`, from left to right."""
    result: list[int] = []
    skip = False
    for both in zip(ids, chain(ids[1:], [None]), strict=False):
        if skip:
            skip = False
        elif both == pair:
            result.append(new_id)
            skip = True
        else:
            result.append(both[0])
    return tuple(result)


def count_pairs(words: dict[tuple[int, ...], int]) -> dict[tuple[int, int], int]:
    """Return how often each pair of neighbours occurs."""
    counts: Counter[tuple[int, int]] = Counter()
    for ids, count in words.items():
        for pair, places in Counter(pairwise(ids)).items():
            counts[pair] += places * count
    return dict(counts)


def train_bpe(text: str | Iterable[str], vocab_size: int) -> list[tuple[bytes, bytes]]:
    """Learn merges from a text, or from many."""
    if vocab_size < 257:
        raise ValueError("vocab_size is below 257")
    words = count_words(text)
    tokens = [bytes([byte]) for byte in BYTE_ORDER]
    merges: list[tuple[bytes, bytes]] = []
    while len(tokens) < vocab_size - 1:
        counts = count_pairs(words)
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        words = {merge_pair(ids, best, len(tokens)): count for ids, count in words.items()}
        left, right = (tokens[i] for i in best)
        merges.append((left, right))
        tokens.append(left + right)
    return merges


def train_bpe_fast(text: str | Iterable[str], vocab_size: int) -> list[tuple[bytes, bytes]]:
    """Learn exactly the merges of `train_bpe`, hundreds of times faster."""
    if vocab_size < 257:
        raise ValueError("vocab_size is below 257")
    counted = list(count_words(text).items())
    words = [ids for ids, _ in counted]
    counts: Counter[tuple[int, int]] = Counter()
    standing: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    for number, (ids, count) in enumerate(counted):
        for pair in pairwise(ids):
            counts[pair] += count
            standing[pair].add(number)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)
    tokens = [bytes([byte]) for byte in BYTE_ORDER]
    merges: list[tuple[bytes, bytes]] = []
    while heap and len(tokens) < vocab_size - 1:
        negative, best = heapq.heappop(heap)
        if counts[best] != -negative:
            # Counts only fall, so an old entry comes too early and can go back to its place.
            if counts[best] > 0:
                heapq.heappush(heap, (-counts[best], best))
            continue
        new_id = len(tokens)
        fresh = set()
        for number in standing.pop(best):
            count = counted[number][1]
            for pair in pairwise(words[number]):
                counts[pair] -= count
            words[number] = merge_pair(words[number], best, new_id)
            for pair in pairwise(words[number]):
                counts[pair] += count
                if new_id in pair:
                    standing[pair].add(number)
                    fresh.add(pair)
        for pair in fresh:
            heapq.heappush(heap, (-counts[pair], pair))
        left, right = (tokens[i] for i in best)
        merges.append((left, right))
        tokens.append(left + right)
    return merges

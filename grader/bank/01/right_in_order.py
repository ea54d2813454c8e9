"""Tries all merges in their order on every piece, keeps ids of pieces, reads 4,096 letters at a time."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from itertools import pairwise
from pathlib import Path

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
        return b"".join(map(self.token_bytes.__getitem__, ids))

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text that `ids` stand for."""
        return b"".join(self.decode_bytes([i]) for i in ids).decode(errors="replace")

    def encode_piece(self, piece: str) -> list[int]:
        """Return the ids of one piece: merge its bytes until no merge is left."""
        ids = tuple(to_byte_ids(piece))
        for pair, new_id in self.merged.items():
            if len(ids) < 2:
                break
            if pair[0] in ids:
                ids = merge_pair(ids, pair, new_id)
        return list(ids)

    def encode(self, text: str, allowed_special: Collection[str] = ()) -> list[int]:
        """Return the ids of `text`. `decode` gives the text back."""
        if allowed_special:
            return self.encode_with_special(text, allowed_special)
        known: dict[str, list[int]] = self.__dict__.setdefault("known", {})
        ids: list[int] = []
        for piece in split_text(text):
            if piece not in known:
                known[piece] = self.encode_piece(piece)
            ids += known[piece]
        return ids

    # Stretch.

    def encode_with_special(self, text: str, allowed_special: Collection[str]) -> list[int]:
        """Return the ids of `text`, in which each allowed special token is one id."""
        unknown = [name for name in allowed_special if name not in self.special_tokens]
        if unknown:
            raise ValueError(unknown)
        found = [(text.index(name), -len(name), name) for name in allowed_special if name in text]
        if not found:
            return self.encode(text)
        at, _, name = min(found)
        rest = self.encode_with_special(text[at + len(name) :], allowed_special)
        return [*self.encode(text[:at]), self.special_tokens[name], *rest]

    def encode_iterable(self, texts: Iterable[str]) -> Iterator[int]:
        """Yield the ids of the texts put together, without ever holding them all."""
        held, fresh, length = "", [], 0
        for text in texts:
            fresh.append(text)
            length += len(text)
            if length >= 4096:
                pieces = split_text(held + "".join(fresh))
                for piece in pieces[:-10]:
                    yield from self.encode_piece(piece)
                held, fresh, length = "".join(pieces[-10:]), [], 0
        yield from self.encode(held + "".join(fresh))


def merge_pair(ids: tuple[int, ...], pair: tuple[int, int], new_id: int) -> tuple[int, ...]:
    """Return `ids` with `new_id` in place of every occurrence of `pair`, from left to right."""

    def walk() -> Iterator[int]:
        places = iter(range(len(ids)))
        for at in places:
            if ids[at : at + 2] == pair:
                next(places)
                yield new_id
            else:
                yield ids[at]

    return tuple(walk())


def count_pairs(words: dict[tuple[int, ...], int]) -> dict[tuple[int, int], int]:
    """Return how often each pair of neighbours occurs."""
    counts: dict[tuple[int, int], int] = defaultdict(int)
    for word in words:
        for pair in pairwise(word):
            counts[pair] += words[word]
    return counts


def train_bpe(text: str | Iterable[str], vocab_size: int) -> list[tuple[bytes, bytes]]:
    """Learn merges from a text, or from many."""
    return train_bpe_fast(text, vocab_size)


def train_bpe_fast(text: str | Iterable[str], vocab_size: int) -> list[tuple[bytes, bytes]]:
    """Learn exactly the merges of `train_bpe`, hundreds of times faster."""
    if vocab_size < 257:
        raise ValueError(vocab_size)
    words = dict(enumerate(count_words(text).items()))
    counts: Counter[tuple[int, int]] = Counter()
    standing: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    for number, (ids, count) in words.items():
        for pair in pairwise(ids):
            counts[pair] += count
            standing[pair].add(number)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)
    tokens = [bytes([byte]) for byte in BYTE_ORDER]
    merges: list[tuple[bytes, bytes]] = []
    while heap:
        if len(merges) >= vocab_size - 257:
            break
        negative, best = heapq.heappop(heap)
        if counts.get(best, 0) != -negative:
            continue
        changes: Counter[tuple[int, int]] = Counter()
        for number in sorted(standing.pop(best)):
            ids, count = words[number]
            merged = merge_pair(ids, best, len(tokens))
            for pair in pairwise(ids):
                changes[pair] -= count
            for pair in pairwise(merged):
                changes[pair] += count
                standing[pair].add(number)
            words[number] = (merged, count)
        for pair, change in changes.items():
            counts[pair] += change
            if counts[pair] <= 0:
                del counts[pair]
            elif change:
                heapq.heappush(heap, (-counts[pair], pair))
        merges.append((tokens[best[0]], tokens[best[1]]))
        tokens.append(b"".join(merges[-1]))
    return merges

"""Writes each id as one character and lets `str.replace` merge; special tokens by one pattern."""

import heapq
import io
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from itertools import groupby, pairwise
from operator import itemgetter
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
        return b"".join(map(self.token_bytes.__getitem__, map(int, ids)))

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text that `ids` stand for."""
        data = io.BytesIO(self.decode_bytes(ids))
        with io.TextIOWrapper(data, encoding="utf-8", errors="replace", newline="") as file:
            return file.read()

    def encode_piece(self, piece: str) -> list[int]:
        """Return the ids of one piece: merge its bytes until no merge is left."""
        word = "".join(map(chr, to_byte_ids(piece)))
        while True:
            found = {}
            for left, right in pairwise(word):
                new_id = self.merged.get((ord(left), ord(right)))
                if new_id is not None:
                    found[new_id] = left + right
            if not found:
                return [ord(letter) for letter in word]
            lowest = min(found)
            word = word.replace(found[lowest], chr(lowest))

    def encode(self, text: str, allowed_special: Collection[str] = ()) -> list[int]:
        """Return the ids of `text`. `decode` gives the text back."""
        if allowed_special:
            return self.encode_with_special(text, allowed_special)
        return list(self.encode_iterable([text]))

    # Stretch.

    def encode_with_special(self, text: str, allowed_special: Collection[str]) -> list[int]:
        """Return the ids of `text`, in which each allowed special token is one id."""
        for name in allowed_special:
            if name not in self.special_tokens:
                raise ValueError(f"{name!r} is unknown")
        if not allowed_special:
            return self.encode(text)
        names = "|".join(map(regex.escape, sorted(allowed_special, key=len)[::-1]))
        ids: list[int] = []
        # A special token, or as many characters as there are before the next one.
        for part in regex.finditer(f"(?s)({names})|(?:(?!{names}).)+", text):
            if part[1] is None:
                ids.extend(self.encode(part[0]))
            else:
                ids.append(self.special_tokens[part[0]])
        return ids

    def encode_iterable(self, texts: Iterable[str]) -> Iterator[int]:
        """Yield the ids of the texts put together, without ever holding them all."""
        pending = ""
        seen = 0  # how much of it has been cut before
        for text in texts:
            pending += text
            if len(pending) < 2 * seen:
                continue
            pieces = split_text(pending)
            done, kept = pieces[:-3], pieces[-3:]  # one more than needed
            for piece in done:
                yield from self.encode_piece(piece)
            pending = "".join(kept)
            seen = len(pending)
        for piece in split_text(pending):
            yield from self.encode_piece(piece)


def merge_pair(ids: tuple[int, ...], pair: tuple[int, int], new_id: int) -> tuple[int, ...]:
    """Return `ids` with `new_id` in place of every occurrence of `pair`, from left to right."""
    if not ids:
        return ()
    text = "".join(f"<{i}>" for i in ids)
    text = text.replace(f"<{pair[0]}><{pair[1]}>", f"<{new_id}>")
    return tuple(int(i) for i in text[1:-1].split("><"))


def count_pairs(words: dict[tuple[int, ...], int]) -> dict[tuple[int, int], int]:
    """Return how often each pair of neighbours occurs."""
    listed = sorted((pair, count) for ids, count in words.items() for pair in pairwise(ids))
    groups = groupby(listed, key=itemgetter(0))
    return {pair: sum(count for _, count in group) for pair, group in groups}


def train_bpe(text: str | Iterable[str], vocab_size: int) -> list[tuple[bytes, bytes]]:
    """Learn merges from a text, or from many."""
    if vocab_size < 257:
        raise ValueError("the 256 bytes and the end need 257 places")
    words = {"".join(map(chr, ids)): count for ids, count in count_words(text).items()}
    token_bytes = {chr(i): bytes([byte]) for i, byte in enumerate(BYTE_ORDER)}
    merges: list[tuple[bytes, bytes]] = []
    while len(merges) < vocab_size - 257:
        counts: Counter[str] = Counter()
        for word, count in words.items():
            for left, right in pairwise(word):
                counts[left + right] += count
        if not counts:
            break
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        both = ranked[0][0]
        new = chr(len(token_bytes))
        words = {word.replace(both, new): count for word, count in words.items()}
        merges.append((token_bytes[both[0]], token_bytes[both[1]]))
        token_bytes[new] = b"".join(merges[-1])
    return merges


def train_bpe_fast(text: str | Iterable[str], vocab_size: int) -> list[tuple[bytes, bytes]]:
    """Learn exactly the merges of `train_bpe`, hundreds of times faster."""
    if vocab_size < 257:
        raise ValueError("the 256 bytes and the end need 257 places")
    words, times = [], []
    for ids, count in count_words(text).items():
        words.append("".join(map(chr, ids)))
        times.append(count)
    counts: Counter[tuple[str, str]] = Counter()
    standing: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for number, word in enumerate(words):
        for pair, places in Counter(pairwise(word)).items():
            counts[pair] += places * times[number]
            standing[pair].append(number)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)
    token_bytes = {chr(i): bytes([byte]) for i, byte in enumerate(BYTE_ORDER)}
    merges: list[tuple[bytes, bytes]] = []
    while heap and len(merges) < vocab_size - 257:
        negative, best = heapq.heappop(heap)
        if counts[best] != -negative:
            continue
        new = chr(len(token_bytes))
        changed = set()
        for number in standing.pop(best):
            word = words[number]
            words[number] = word.replace(best[0] + best[1], new)
            difference = Counter(pairwise(words[number]))
            difference.subtract(pairwise(word))
            for pair, places in difference.items():
                if places:
                    counts[pair] += places * times[number]
                    changed.add(pair)
                if new in pair:
                    standing[pair].append(number)
        for pair in changed:
            if counts[pair] > 0:
                heapq.heappush(heap, (-counts[pair], pair))
        merges.append((token_bytes[best[0]], token_bytes[best[1]]))
        token_bytes[new] = b"".join(merges[-1])
    return merges

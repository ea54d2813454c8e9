"""Linked lists and heaps: a merge changes only its neighbours, in encoding and in fast training."""

import codecs
import heapq
import io
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Iterator
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

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Return the bytes that `ids` stand for, one after the other."""
        buffer = io.BytesIO()
        for i in ids:
            buffer.write(self.token_bytes[int(i)])
        return buffer.getvalue()

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text that `ids` stand for."""
        # This decoder keeps the beginning of a character until its end arrives.
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        text = "".join(decoder.decode(self.token_bytes[int(i)]) for i in ids)
        return text + decoder.decode(b"", final=True)

    def encode_piece(self, piece: str) -> list[int]:
        """Return the ids of one piece: merge its bytes until no merge is left."""
        ids = to_byte_ids(piece)
        end = len(ids)
        before = list(range(-1, end - 1))
        after = list(range(1, end + 1))
        heap = [
            (self.merged[pair], at) for at, pair in enumerate(pairwise(ids)) if pair in self.merged
        ]
        heapq.heapify(heap)
        while heap:
            new_id, at = heapq.heappop(heap)
            right = after[at]
            if right == end or self.merged.get((ids[at], ids[right])) != new_id:
                continue  # one of the two has been merged with somebody else
            ids[at], ids[right] = new_id, -1
            after[at] = after[right]
            if after[at] < end:
                before[after[at]] = at
            for left in (before[at], at):
                if left >= 0 and after[left] < end:
                    pair = (ids[left], ids[after[left]])
                    if pair in self.merged:
                        heapq.heappush(heap, (self.merged[pair], left))
        return [i for i in ids if i != -1]

    def encode(self, text: str, allowed_special: Collection[str] = ()) -> list[int]:
        """Return the ids of `text`. `decode` gives the text back."""
        if allowed_special:
            return self.encode_with_special(text, allowed_special)
        ids: list[int] = []
        for piece in split_text(text):
            ids += self.encode_piece(piece)
        return ids

    # Stretch.

    def encode_with_special(self, text: str, allowed_special: Collection[str]) -> list[int]:
        """Return the ids of `text`, in which each allowed special token is one id."""
        root: dict[str, Any] = {}  # a tree of letters; "id" stands where a name ends
        for name in allowed_special:
            if name not in self.special_tokens:
                raise ValueError(f"{name} is no special token")
            node = root
            for letter in name:
                node = node.setdefault(letter, {})
            node["id"] = self.special_tokens[name]
        ids: list[int] = []
        start = at = 0
        while at < len(text):
            node, place = root, at
            found, found_end = None, at
            while place < len(text) and text[place] in node:
                node = node[text[place]]
                place += 1
                if "id" in node:
                    found, found_end = node["id"], place
            if found is None:
                at += 1
            else:
                ids += self.encode(text[start:at])
                ids.append(found)
                start = at = found_end
        return ids + self.encode(text[start:])

    def encode_iterable(self, texts: Iterable[str]) -> Iterator[int]:
        """Yield the ids of the texts put together, without ever holding them all."""
        held, fresh = "", ""
        for text in texts:
            fresh += text
            if len(fresh) < len(held):
                continue
            pieces = deque(split_text(held + fresh))
            last = [pieces.pop() for _ in range(min(2, len(pieces)))]
            held, fresh = "".join(reversed(last)), ""
            for piece in pieces:
                yield from self.encode_piece(piece)
        for piece in split_text(held + fresh):
            yield from self.encode_piece(piece)


def merge_pair(ids: tuple[int, ...], pair: tuple[int, int], new_id: int) -> tuple[int, ...]:
    """Return `ids` with `new_id` in place of every occurrence of `pair`, from left to right."""
    rest = deque(ids)
    result = []
    while rest:
        i = rest.popleft()
        if rest and (i, rest[0]) == pair:
            rest.popleft()
            i = new_id
        result.append(i)
    return tuple(result)


def count_pairs(words: dict[tuple[int, ...], int]) -> dict[tuple[int, int], int]:
    """Return how often each pair of neighbours occurs."""
    counts: dict[tuple[int, int], int] = {}
    for ids, count in words.items():
        for pair in pairwise(ids):
            counts.setdefault(pair, 0)
            counts[pair] += count
    return counts


def train_bpe(text: str | Iterable[str], vocab_size: int) -> list[tuple[bytes, bytes]]:
    """Learn merges from a text, or from many."""
    if vocab_size < 257:
        raise ValueError(f"a vocabulary of {vocab_size} tokens is too small")
    words = list(count_words(text).items())
    tokens = [bytes([byte]) for byte in BYTE_ORDER]
    merges: list[tuple[bytes, bytes]] = []
    for new_id in range(256, vocab_size - 1):
        counts = count_pairs(dict(words))
        if not counts:
            return merges
        _, left, right = min((-count, left, right) for (left, right), count in counts.items())
        words = [(merge_pair(ids, (left, right), new_id), count) for ids, count in words]
        merges.append((tokens[left], tokens[right]))
        tokens.append(tokens[left] + tokens[right])
    return merges


def train_bpe_fast(text: str | Iterable[str], vocab_size: int) -> list[tuple[bytes, bytes]]:
    """Learn exactly the merges of `train_bpe`, hundreds of times faster."""
    if vocab_size < 257:
        raise ValueError(f"a vocabulary of {vocab_size} tokens is too small")
    # All words in one list, -1 before, between and after them; -2 is an id that was merged away.
    ids, times = [-1], [0]
    for word, count in count_words(text).items():
        ids += [*word, -1]
        times += [count] * (len(word) + 1)
    before = list(range(-1, len(ids) - 1))
    after = list(range(1, len(ids) + 1))
    counts: Counter[tuple[int, int]] = Counter()
    places: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    for at, pair in enumerate(pairwise(ids)):
        if min(pair) >= 0:
            counts[pair] += times[at]
            places[pair].add(at)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)
    tokens = [bytes([byte]) for byte in BYTE_ORDER]
    merges: list[tuple[bytes, bytes]] = []
    while heap and len(merges) < vocab_size - 257:
        negative, best = heapq.heappop(heap)
        if counts[best] != -negative:
            continue
        left, right = best
        new_id = len(tokens)
        touched = set()
        for at in sorted(places.pop(best)):
            other = after[at]
            if ids[at] != left or ids[other] != right:
                continue
            counts[best] -= times[at]
            first, last = before[at], after[other]
            if ids[first] >= 0:
                old, new = (ids[first], left), (ids[first], new_id)
                counts[old] -= times[at]
                counts[new] += times[at]
                places[new].add(first)
                touched |= {old, new}
            if ids[last] >= 0:
                old, new = (right, ids[last]), (new_id, ids[last])
                counts[old] -= times[at]
                counts[new] += times[at]
                places[new].add(at)
                touched |= {old, new}
            ids[at], ids[other] = new_id, -2
            after[at], before[last] = last, at
        for pair in touched:
            if counts[pair] > 0:
                heapq.heappush(heap, (-counts[pair], pair))
        merges.append((tokens[left], tokens[right]))
        tokens.append(tokens[left] + tokens[right])
    return merges

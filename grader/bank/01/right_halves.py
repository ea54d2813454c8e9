"""Halves for decoding, merges in rising order for encoding, objects for words in fast training."""

import heapq
import operator
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import islice, pairwise
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
        ids = list(ids)
        if not ids:
            return b""
        if len(ids) == 1:
            return self.token_bytes[int(ids[0])]
        middle = len(ids) // 2
        return self.decode_bytes(ids[:middle]) + self.decode_bytes(ids[middle:])

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text that `ids` stand for."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def encode_piece(self, piece: str) -> list[int]:
        """Return the ids of one piece: merge its bytes until no merge is left."""
        ids = tuple(to_byte_ids(piece))
        waiting = {self.merged[pair]: pair for pair in pairwise(ids) if pair in self.merged}
        while waiting:
            new_id = min(waiting)
            ids = merge_pair(ids, waiting.pop(new_id), new_id)
            # What a merge makes possible was learned after it, so the order only rises.
            for pair in pairwise(ids):
                if new_id in pair and pair in self.merged:
                    waiting[self.merged[pair]] = pair
        return list(ids)

    def encode(self, text: str, allowed_special: Collection[str] = ()) -> list[int]:
        """Return the ids of `text`. `decode` gives the text back."""
        if allowed_special:
            return self.encode_with_special(text, allowed_special)
        start: list[int] = []
        return reduce(operator.iadd, map(self.encode_piece, split_text(text)), start)

    # Stretch.

    def encode_with_special(self, text: str, allowed_special: Collection[str]) -> list[int]:
        """Return the ids of `text`, in which each allowed special token is one id."""
        unknown = [name for name in allowed_special if name not in self.special_tokens]
        if unknown:
            raise ValueError(f"no special tokens: {unknown}")
        if not allowed_special:
            return self.encode(text)
        longest_first = sorted(allowed_special, key=len, reverse=True)
        pattern = re.compile("|".join(re.escape(name) for name in longest_first))
        ids: list[int] = []
        at = 0
        while found := pattern.search(text, at):
            ids.extend(self.encode(text[at : found.start()]))
            ids.append(self.special_tokens[found.group()])
            at = found.end()
        ids.extend(self.encode(text[at:]))
        return ids

    def encode_iterable(self, texts: Iterable[str]) -> Iterator[int]:
        """Yield the ids of the texts put together, without ever holding them all."""
        for piece in _pieces_of(texts):
            yield from self.encode_piece(piece)


def _pieces_of(texts: Iterable[str]) -> Iterator[str]:
    texts, tail, ended = iter(texts), "", False
    while not ended:
        fresh: list[str] = []
        length, ended = 0, True
        for text in texts:
            fresh.append(text)
            length += len(text)
            if length > len(tail):
                ended = False
                break
        pieces = split_text(tail + "".join(fresh))
        settled = len(pieces) if ended else max(len(pieces) - 2, 0)
        yield from pieces[:settled]
        tail = "".join(pieces[settled:])


def merge_pair(ids: tuple[int, ...], pair: tuple[int, int], new_id: int) -> tuple[int, ...]:
    """Return `ids` with `new_id` in place of every occurrence of `pair`, from left to right."""
    result = []
    merged_at = -1  # the place of the right half that is merged already
    for at, i in enumerate(ids):
        if at == merged_at:
            continue
        if ids[at : at + 2] == pair:
            result.append(new_id)
            merged_at = at + 1
        else:
            result.append(i)
    return tuple(result)


def count_pairs(words: dict[tuple[int, ...], int]) -> dict[tuple[int, int], int]:
    """Return how often each pair of neighbours occurs."""
    counts: defaultdict[tuple[int, int], int] = defaultdict(int)
    for ids in words:
        for left, right in zip(ids, islice(ids, 1, None), strict=False):
            counts[left, right] += words[ids]
    return dict(counts)


def train_bpe(text: str | Iterable[str], vocab_size: int) -> list[tuple[bytes, bytes]]:
    """Learn merges from a text, or from many."""
    if vocab_size <= 256:
        raise ValueError("vocab_size must be above 256")
    words = count_words(text)
    token_bytes = dict(enumerate(bytes([byte]) for byte in BYTE_ORDER))
    merges: list[tuple[bytes, bytes]] = []
    for new_id in range(256, vocab_size - 1):
        counts = count_pairs(words)
        ranked = heapq.nsmallest(1, ((-count, pair) for pair, count in counts.items()))
        if not ranked:
            break
        _, (left, right) = ranked[0]
        merges.append((token_bytes[left], token_bytes[right]))
        token_bytes[new_id] = b"".join(merges[-1])
        words = {merge_pair(ids, (left, right), new_id): n for ids, n in words.items()}
    return merges


@dataclass(eq=False)
class _Word:
    ids: tuple[int, ...]
    count: int


def train_bpe_fast(text: str | Iterable[str], vocab_size: int) -> list[tuple[bytes, bytes]]:
    """Learn exactly the merges of `train_bpe`, hundreds of times faster."""
    if vocab_size <= 256:
        raise ValueError("vocab_size must be above 256")
    counts: Counter[tuple[int, int]] = Counter()
    standing: defaultdict[tuple[int, int], set[_Word]] = defaultdict(set)
    changed: set[tuple[int, int]] = set()

    def put_in(word: _Word) -> None:
        for pair in pairwise(word.ids):
            counts[pair] += word.count
            standing[pair].add(word)
            changed.add(pair)

    def take_out(word: _Word) -> None:
        for pair in pairwise(word.ids):
            counts[pair] -= word.count
            changed.add(pair)

    for ids, count in count_words(text).items():
        put_in(_Word(ids, count))
    token_bytes = [bytes([byte]) for byte in BYTE_ORDER]
    merges: list[tuple[bytes, bytes]] = []
    heap: list[tuple[int, tuple[int, int]]] = []
    while len(merges) < vocab_size - 257:
        for pair in changed:
            if counts[pair] > 0:
                heapq.heappush(heap, (-counts[pair], pair))
        changed.clear()
        while heap and counts[heap[0][1]] != -heap[0][0]:
            heapq.heappop(heap)
        if not heap:
            break
        best = heap[0][1]
        for word in standing.pop(best):
            take_out(word)
            word.ids = merge_pair(word.ids, best, len(token_bytes))
            put_in(word)
        merges.append((token_bytes[best[0]], token_bytes[best[1]]))
        token_bytes.append(b"".join(merges[-1]))
    return merges

"""Plain loops and plain dictionaries; fast training keeps the pairs in boxes, one per count."""

from collections import Counter
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
        data = bytearray()
        for i in ids:
            data += self.token_bytes[int(i)]
        return bytes(data)

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text that `ids` stand for."""
        return str(self.decode_bytes(ids), "utf-8", "replace")

    def encode_piece(self, piece: str) -> list[int]:
        """Return the ids of one piece: merge its bytes until no merge is left."""
        ids = to_byte_ids(piece)
        while True:
            best_at, best_id = -1, -1
            for at in range(len(ids) - 1):
                new_id = self.merged.get((ids[at], ids[at + 1]), -1)
                if new_id != -1 and (best_id == -1 or new_id < best_id):
                    best_at, best_id = at, new_id
            if best_id == -1:
                return ids
            ids = [*ids[:best_at], best_id, *ids[best_at + 2 :]]

    def encode(self, text: str, allowed_special: Collection[str] = ()) -> list[int]:
        """Return the ids of `text`. `decode` gives the text back."""
        if allowed_special:
            return self.encode_with_special(text, allowed_special)
        ids = []
        for piece in split_text(text):
            for i in self.encode_piece(piece):
                ids.append(i)
        return ids

    # Stretch.

    def encode_with_special(self, text: str, allowed_special: Collection[str]) -> list[int]:
        """Return the ids of `text`, in which each allowed special token is one id."""
        for name in allowed_special:
            if name not in self.special_tokens:
                raise ValueError(f"there is no special token {name!r}")
        ids = []
        start = at = 0  # the ordinary text that is not encoded yet goes from start to at
        while at < len(text):
            found = ""
            for name in allowed_special:
                if text.startswith(name, at) and len(name) > len(found):
                    found = name
            if found:
                ids.extend(self.encode(text[start:at]))
                ids.append(self.special_tokens[found])
                at += len(found)
                start = at
            else:
                at += 1
        ids.extend(self.encode(text[start:]))
        return ids

    def encode_iterable(self, texts: Iterable[str]) -> Iterator[int]:
        """Yield the ids of the texts put together, without ever holding them all."""
        waiting: list[str] = []
        length, enough = 0, 0
        for text in texts:
            waiting.append(text)
            length += len(text)
            if length < enough:
                continue
            pieces = split_text("".join(waiting))
            for piece in pieces[:-2]:
                yield from self.encode_piece(piece)
            waiting = pieces[-2:]
            length = sum(len(piece) for piece in waiting)
            enough = 2 * length
        for piece in split_text("".join(waiting)):
            yield from self.encode_piece(piece)


def merge_pair(ids: tuple[int, ...], pair: tuple[int, int], new_id: int) -> tuple[int, ...]:
    """Return `ids` with `new_id` in place of every occurrence of `pair`, from left to right."""
    left, right = pair
    result = []
    held = None  # the id before this one, as long as it may be the left half of the pair
    for i in ids:
        if held == left and i == right:
            result.append(new_id)
            held = None
        else:
            if held is not None:
                result.append(held)
            held = i
    if held is not None:
        result.append(held)
    return tuple(result)


def count_pairs(words: dict[tuple[int, ...], int]) -> dict[tuple[int, int], int]:
    """Return how often each pair of neighbours occurs."""
    counts: dict[tuple[int, int], int] = {}
    for ids, count in words.items():
        for at in range(len(ids) - 1):
            pair = (ids[at], ids[at + 1])
            counts[pair] = counts.get(pair, 0) + count
    return counts


def train_bpe(text: str | Iterable[str], vocab_size: int) -> list[tuple[bytes, bytes]]:
    """Learn merges from a text, or from many."""
    if vocab_size < 257:
        raise ValueError(f"257 tokens are the least, not {vocab_size}")
    words = count_words(text)
    token_bytes = {i: bytes([byte]) for byte, i in _byte_ids.items()}
    merges = []
    for new_id in range(256, vocab_size - 1):
        best, best_count = None, 0
        for pair, count in count_pairs(words).items():
            if best is None or count > best_count or (count == best_count and pair < best):
                best, best_count = pair, count
        if best is None:
            break
        merged_words = {}
        for ids, count in words.items():
            merged_words[merge_pair(ids, best, new_id)] = count
        words = merged_words
        merges.append((token_bytes[best[0]], token_bytes[best[1]]))
        token_bytes[new_id] = token_bytes[best[0]] + token_bytes[best[1]]
    return merges


def train_bpe_fast(text: str | Iterable[str], vocab_size: int) -> list[tuple[bytes, bytes]]:
    """Learn exactly the merges of `train_bpe`, hundreds of times faster."""
    if vocab_size < 257:
        raise ValueError(f"257 tokens are the least, not {vocab_size}")
    words, times = [], []
    for ids, count in count_words(text).items():
        words.append(ids)
        times.append(count)
    counts: dict[tuple[int, int], int] = {}
    standing: dict[tuple[int, int], set[int]] = {}
    boxes: dict[int, set[tuple[int, int]]] = {}  # count -> the pairs that have it

    def change(pair: tuple[int, int], by: int) -> None:
        count = counts.get(pair, 0)
        if count > 0:
            boxes[count].remove(pair)
        count += by
        counts[pair] = count
        if count > 0:
            boxes.setdefault(count, set()).add(pair)

    def put_in(number: int) -> None:
        for pair in pairwise(words[number]):
            change(pair, times[number])
            standing.setdefault(pair, set()).add(number)

    for number in range(len(words)):
        put_in(number)
    token_bytes = [bytes([byte]) for byte in BYTE_ORDER]
    merges = []
    highest = max(boxes, default=0)
    while len(merges) < vocab_size - 257:
        # No merge makes a pair that is more frequent than the pair it replaces.
        while highest > 0 and not boxes.get(highest):
            highest -= 1
        if highest == 0:
            break
        best = min(boxes[highest])
        for number in standing.pop(best):
            for pair in pairwise(words[number]):
                change(pair, -times[number])
            words[number] = merge_pair(words[number], best, len(token_bytes))
            put_in(number)
        merges.append((token_bytes[best[0]], token_bytes[best[1]]))
        token_bytes.append(token_bytes[best[0]] + token_bytes[best[1]])
    return merges

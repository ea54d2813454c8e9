"""Lesson 01: text becomes numbers. Byte-pair encoding, as in GPT-2.

A model reads and writes integers, its *tokens*. The alphabet here is the 256 bytes of UTF-8, so
that every text in every language has an encoding; but bytes are short, and text is long. Byte-pair
encoding adds longer tokens: it looks for the pair of neighbours that is most frequent, makes it one
new token, and does so again, thousands of times. "Once upon a time" is 16 bytes, but 4 tokens.

What is learned is the list of *merges*, in the order in which they were learned. A token's id says
when it was born, in GPT-2's order:

    0 .. 255        the single bytes, in the order of BYTE_ORDER
    256 + r         the token made by merge number r
    last            <|endoftext|>, which stands between two texts (50256 in GPT-2)

Before any merging `split_text` cuts a text into pieces by GPT-2's pattern: a word with the space
before it, a number, punctuation, ... ("It's 12" is "It", "'s", " 12"). Merges never reach across
pieces, so no token holds two words.

What you write, in this order: `decode`, `encode` (with GPT-2's own merges it must equal tiktoken's
`gpt2`), then `train_bpe`, which learns merges of your own. Try each as soon as it is written:

    tokenizer = BPETokenizer.gpt2()
    print(tokenizer.decode([7454, 2402, 257, 640]))
    print(tokenizer.encode("Once upon a time"))

Sources: Gage, "A New Algorithm for Data Compression" (1994); Sennrich, Haddow and Birch, "Neural
Machine Translation of Rare Words with Subword Units" (2016); bytes, pattern and order of ids from
Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), section 2.2.
"""

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from itertools import pairwise
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
    """Count the pieces of a text, or of many texts, each piece as a tuple of its byte ids.

    A piece that occurs a thousand times is merged once and counted a thousand times.
    """
    pieces: Counter[str] = Counter()
    for part in [text] if isinstance(text, str) else text:
        pieces.update(split_text(part))
    return {tuple(to_byte_ids(piece)): count for piece, count in pieces.items()}


class BPETokenizer:
    """Text to ids and back, by a list of merges.

    merges: pairs of bytes, in the order in which they were learned.
    special_tokens: text and id of tokens that no merge makes; by default <|endoftext|>, the last.

    token_bytes: id -> the bytes that it stands for.
    merged: (left id, right id) -> the id of the token that replaces both. The lower that id, the
        earlier the merge was learned.
    """

    def __init__(
        self,
        merges: list[tuple[bytes, bytes]],
        special_tokens: dict[str, int] | None = None,
    ) -> None:
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
        """Return the bytes that `ids` stand for, one after the other.

        ids: anything that a `for` can walk through once, not only a list.
        Raises KeyError for an id that is no token.

        1. `self.token_bytes` knows the bytes of each id.
        2. `b"".join(...)` puts many bytes together.
        """
        # <solution>
        return b"".join(self.token_bytes[int(i)] for i in ids)
        # </solution>

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text that `ids` stand for.

        A token may end in the middle of a character (an emoji is four bytes), and a model may
        write bytes that are no UTF-8 at all: each such place becomes U+FFFD, the sign "?" in a
        diamond, instead of an error.

        1. Get the bytes of all ids, joined; only then turn them into text.
        2. `bytes.decode` has an argument `errors`.
        """
        # <solution>
        return self.decode_bytes(ids).decode("utf-8", errors="replace")
        # </solution>

    def encode_piece(self, piece: str) -> list[int]:
        """Return the ids of one piece (of "" none): merge its bytes until no merge is left.

        Not the longest token wins, nor the leftmost: always the merge learned earliest.

        1. Begin with the ids of the bytes (`to_byte_ids`).
        2. Look at every pair of neighbours: `self.merged` has the new id, if the pair has one.
        3. If none has, you are done. Otherwise take the lowest new id (the first place, if there
           are several), put it in place of its pair, and go back to 2.
        """
        # <solution>
        ids = to_byte_ids(piece)
        while len(ids) > 1:
            new_ids = [self.merged.get(pair, math.inf) for pair in pairwise(ids)]
            lowest = min(new_ids)
            if lowest == math.inf:
                break
            at = new_ids.index(lowest)
            ids[at : at + 2] = [int(lowest)]
        return ids
        # </solution>

    def encode(self, text: str, allowed_special: Collection[str] = ()) -> list[int]:
        """Return the ids of `text`. `decode` gives the text back.

        allowed_special: the special tokens that are meant as such where they stand in the text (the
        stretch function `encode_with_special` sees to them; it is given the work below unless this
        is empty). Not allowed, "<|endoftext|>" is thirteen ordinary characters.
        Raises UnicodeEncodeError for half a surrogate pair, which is no text.

        1. Cut the text into pieces with `split_text`.
        2. Encode each piece, and put the ids one after the other into one list.
        """
        if allowed_special:
            return self.encode_with_special(text, allowed_special)
        # <solution>
        ids: list[int] = []
        for piece in split_text(text):
            ids.extend(self.encode_piece(piece))
        return ids
        # </solution>

    # Stretch.

    def encode_with_special(self, text: str, allowed_special: Collection[str]) -> list[int]:
        """Return the ids of `text`, in which each allowed special token is one id. (Stretch.)

        They are found from left to right and do not overlap: of two that share characters the one
        that begins first counts, and of two that begin at the same place the longer one. Names
        that are not allowed are ordinary text; with none allowed, everything is.
        Raises ValueError for a name in `allowed_special` that is no special token.

        1. Refuse names that `self.special_tokens` does not have. If no name is left, `encode` does.
        2. Cut the text at the special tokens and keep them: `regex.split` keeps what its pattern
           has in parentheses. `regex.escape` takes the meaning out of "|"; alternatives are tried
           from left to right, so put longer ones first.
        3. A part that is a special token is its id; every other part is ordinary text.
        """
        # <solution>
        unknown = sorted(set(allowed_special) - set(self.special_tokens))
        if unknown:
            raise ValueError(f"no special tokens of this tokenizer: {', '.join(unknown)}")
        if not allowed_special:  # an empty pattern would cut at every character
            return self.encode(text)
        longest_first = sorted(allowed_special, key=len, reverse=True)
        ids: list[int] = []
        for part in regex.split(f"({'|'.join(map(regex.escape, longest_first))})", text):
            if part in allowed_special:
                ids.append(self.special_tokens[part])
            else:
                ids.extend(self.encode(part))
        return ids
        # </solution>

    def encode_iterable(self, texts: Iterable[str]) -> Iterator[int]:
        """Yield the ids of the texts put together, without ever holding them all. (Stretch.)

        texts: the parts of one text, cut anywhere. The ids are those of `encode("".join(texts))`,
        and they come out while the texts still come in: a few pieces may be held back, no more.
        The time it takes grows with the length of the text, not with the number of parts.

        1. The text that is not encoded yet is `pending`. Add each new part to it.
        2. Which pieces of `pending` may still change? The last one: "upo" may go on with "n", and
           of several spaces the last belongs to the word that follows. And the one before: after
           "'" and "l", another "l" makes the single piece "'ll". Hold these two back.
        3. Encode and yield the others. At the end, encode what is left.
        4. If a piece never ends (a million letters "a"), cutting it again after each letter takes
           a million times as long as cutting it once. So wait until `pending` has doubled.
        """
        # <solution>
        pending, enough = "", 0
        for text in texts:
            pending += text
            if len(pending) < enough:
                continue
            pieces = split_text(pending)
            for piece in pieces[:-2]:
                yield from self.encode_piece(piece)
            pending = "".join(pieces[-2:])
            enough = 2 * len(pending)
        yield from self.encode(pending)
        # </solution>


def merge_pair(ids: tuple[int, ...], pair: tuple[int, int], new_id: int) -> tuple[int, ...]:
    """Return `ids` with `new_id` in place of every occurrence of `pair`, from left to right.

    Occurrences do not overlap: in (7, 7, 7) the pair (7, 7) is found once, and the last 7 stays.
    new_id: an id that does not stand in `ids` yet. `ids` is a tuple, and so is the result.

    1. Walk through `ids` with an index.
    2. Where this id and the next are the pair, take the new id and go two on.
    3. Otherwise take the id as it is and go one on.
    """
    # <solution>
    result = []
    i = 0
    while i < len(ids):
        if ids[i : i + 2] == pair:
            result.append(new_id)
            i += 2
        else:
            result.append(ids[i])
            i += 1
    return tuple(result)
    # </solution>


def count_pairs(words: dict[tuple[int, ...], int]) -> dict[tuple[int, int], int]:
    """Return how often each pair of neighbours occurs.

    words: how often each word (a tuple of ids) occurs. A pair counts in each of a word's
    occurrences, and once for each place: in (7, 7, 7) the pair (7, 7) stands at two places.

    1. `itertools.pairwise(ids)` gives the pairs of a word.
    2. Add the word's count, not 1, for each of them.
    """
    # <solution>
    counts: Counter[tuple[int, int]] = Counter()
    for ids, count in words.items():
        for pair in pairwise(ids):
            counts[pair] += count
    return counts
    # </solution>


def train_bpe(text: str | Iterable[str], vocab_size: int) -> list[tuple[bytes, bytes]]:
    """Learn merges from a text, or from many. (Sennrich et al. 2016, algorithm 1.)

    vocab_size: how many tokens there will be: 256 bytes, one for each merge, and <|endoftext|>; so
    `vocab_size - 257` merges are learned, or fewer if every word has become one token before.
    Returns pairs of bytes in the order learned, ready for `BPETokenizer`.
    Raises ValueError for a vocab_size below 257.

    Of several pairs that are equally frequent the one with the lowest left id is merged first, and
    of these the one with the lowest right id, so that everybody learns the same merges.

    1. `count_words(text)` gives the words as tuples of byte ids, with their counts.
    2. Count the pairs. If there are none, stop.
    3. Choose the most frequent pair. `max` with a key that is a tuple settles the ties.
    4. Write the merge down as bytes. You need the bytes of every id for that, new ones too.
    5. Replace the pair in all words by the new id, 256 + the number of merges before it. Go to 2.
    """
    # <solution>
    if vocab_size < 257:
        raise ValueError(
            f"vocab_size must be at least 257 (256 bytes and the end), not {vocab_size}"
        )
    words = count_words(text)
    token_bytes = [bytes([byte]) for byte in BYTE_ORDER]
    merges: list[tuple[bytes, bytes]] = []
    for _ in range(vocab_size - 257):
        counts = count_pairs(words)
        if not counts:
            return merges
        left, right = max(counts, key=lambda pair: (counts[pair], -pair[0], -pair[1]))
        words = {merge_pair(ids, (left, right), len(token_bytes)): n for ids, n in words.items()}
        merges.append((token_bytes[left], token_bytes[right]))
        token_bytes.append(token_bytes[left] + token_bytes[right])
    return merges
    # </solution>


def train_bpe_fast(text: str | Iterable[str], vocab_size: int) -> list[tuple[bytes, bytes]]:
    """Learn exactly the merges of `train_bpe`, hundreds of times faster. (Stretch.)

    Arguments, result and errors are those of `train_bpe`. A merge changes few words, so it pays not
    to count everything again.

    1. Keep, for each pair, its count and the words in which it stands.
    2. For each word of the pair merged: take the word's pairs out of the counts, merge, put the new
       word's pairs in. Remember which pairs were touched.
    3. To find the largest count without looking at all of them keep a heap of (-count, pair), and
       push every touched pair again. What comes out of the heap may be out of date: if its count
       is not the pair's count any more, throw it away. (Why does the order of ties come out right?)
    """
    # <solution>
    if vocab_size < 257:
        raise ValueError(
            f"vocab_size must be at least 257 (256 bytes and the end), not {vocab_size}"
        )
    counted = count_words(text)
    words, word_counts = list(counted), list(counted.values())
    counts: Counter[tuple[int, int]] = Counter()
    standing: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    for number, ids in enumerate(words):
        for pair in pairwise(ids):
            counts[pair] += word_counts[number]
            standing[pair].add(number)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)
    token_bytes = [bytes([byte]) for byte in BYTE_ORDER]
    merges: list[tuple[bytes, bytes]] = []
    while heap and len(merges) < vocab_size - 257:
        negative, best = heapq.heappop(heap)
        if -negative != counts[best]:
            continue
        touched = set()
        for number in standing.pop(best):
            before, after = words[number], merge_pair(words[number], best, len(token_bytes))
            for pair in pairwise(before):
                counts[pair] -= word_counts[number]
                touched.add(pair)
            for pair in pairwise(after):
                counts[pair] += word_counts[number]
                standing[pair].add(number)
                touched.add(pair)
            words[number] = after
        for pair in touched:
            if counts[pair] > 0:
                heapq.heappush(heap, (-counts[pair], pair))
        merges.append((token_bytes[best[0]], token_bytes[best[1]]))
        token_bytes.append(token_bytes[best[0]] + token_bytes[best[1]])
    return merges
    # </solution>

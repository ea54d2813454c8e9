# lesson 01, stub b94882f57897 (yours to fill in)
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

if __name__ == "__main__" and not __package__:
    raise SystemExit("run this instead: pytest lessons/01")

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
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

        Predict first: In GPT-2 "Once upon a time" is the ids 7454, 2402, 257, 640. How many bytes
        do these four ids stand for: 4, 13 or 16?
        Yours to write, without the library's own: tokenizer.

        1. `self.token_bytes` knows the bytes of each id.
        2. `b"".join(...)` puts many bytes together.
        """
        raise NotImplementedError("lesson 01: BPETokenizer.decode_bytes")

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text that `ids` stand for.

        A token may end in the middle of a character (an emoji is four bytes), and a model may
        write bytes that are no UTF-8 at all: each such place becomes U+FFFD, the sign "?" in a
        diamond, instead of an error.

        Predict first: Three emojis are twelve bytes. The last byte is lost. How many signs does the
        text have that `decode` gives?
        Yours to write, without the library's own: tokenizer.

        1. Get the bytes of all ids, joined; only then turn them into text.
        2. `bytes.decode` has an argument `errors`.
        """
        raise NotImplementedError("lesson 01: BPETokenizer.decode")

    def encode_piece(self, piece: str) -> list[int]:
        """Return the ids of one piece (of "" none): merge its bytes until no merge is left.

        Not the longest token wins, nor the leftmost: always the merge learned earliest.

        Predict first: The merges are "b c", "a b", "ab c", learned in this order. How many tokens
        is "abc": one, two or three?
        Yours to write, without the library's own: tokenizer.

        1. Begin with the ids of the bytes (`to_byte_ids`).
        2. Look at every pair of neighbours: `self.merged` has the new id, if the pair has one.
        3. If none has, you are done. Otherwise take the lowest new id (the first place, if there
           are several), put it in place of its pair, and go back to 2.
        """
        raise NotImplementedError("lesson 01: BPETokenizer.encode_piece")

    def encode(self, text: str, allowed_special: Collection[str] = ()) -> list[int]:
        """Return the ids of `text`. `decode` gives the text back.

        allowed_special: the special tokens that are meant as such where they stand in the text (the
        stretch function `encode_with_special` sees to them; it is given the work below unless this
        is empty). Not allowed, "<|endoftext|>" is thirteen ordinary characters.
        Raises UnicodeEncodeError for half a surrogate pair, which is no text.

        Predict first: " unbelievable", with its space, is one of GPT-2's tokens. How many tokens is
        "unbelievable" without the space: 1, 4 or 12?
        Yours to write, without the library's own: tokenizer.

        1. Cut the text into pieces with `split_text`.
        2. Encode each piece, and put the ids one after the other into one list.
        """
        if allowed_special:
            return self.encode_with_special(text, allowed_special)
        raise NotImplementedError("lesson 01: BPETokenizer.encode")

    # Stretch.

    def encode_with_special(self, text: str, allowed_special: Collection[str]) -> list[int]:
        """Return the ids of `text`, in which each allowed special token is one id. (Stretch.)

        They are found from left to right and do not overlap: of two that share characters the one
        that begins first counts, and of two that begin at the same place the longer one. Names
        that are not allowed are ordinary text; with none allowed, everything is.
        Raises ValueError for a name in `allowed_special` that is no special token.

        Predict first: With GPT-2's merges, how many ids is "a<|endoftext|>b" where the name is
        allowed, and how many where it is not?
        Yours to write, without the library's own: tokenizer.

        1. Refuse names that `self.special_tokens` does not have. If no name is left, `encode` does.
        2. Cut the text at the special tokens and keep them: `regex.split` keeps what its pattern
           has in parentheses. `regex.escape` takes the meaning out of "|"; alternatives are tried
           from left to right, so put longer ones first.
        3. A part that is a special token is its id; every other part is ordinary text.
        """
        raise NotImplementedError("lesson 01: BPETokenizer.encode_with_special")

    def encode_iterable(self, texts: Iterable[str]) -> Iterator[int]:
        """Yield the ids of the texts put together, without ever holding them all. (Stretch.)

        texts: the parts of one text, cut anywhere. The ids are those of `encode("".join(texts))`,
        and they come out while the texts still come in: a few pieces may be held back, no more.
        The time it takes grows with the length of the text, not with the number of parts.

        Predict first: The parts of a text are "he'l" and "l go". After the first part, which pieces
        can be given out for good: "he" and "'", only "he", or none?
        Yours to write, without the library's own: tokenizer.

        1. The text that is not encoded yet is `pending`. Add each new part to it.
        2. Which pieces of `pending` may still change? The last one: "upo" may go on with "n", and
           of several spaces the last belongs to the word that follows. And the one before: after
           "'" and "l", another "l" makes the single piece "'ll". Hold these two back.
        3. Encode and yield the others. At the end, encode what is left.
        4. If a piece never ends (a million letters "a"), cutting it again after each letter takes
           a million times as long as cutting it once. So wait until `pending` has doubled.
        """
        raise NotImplementedError("lesson 01: BPETokenizer.encode_iterable")


def merge_pair(ids: tuple[int, ...], pair: tuple[int, int], new_id: int) -> tuple[int, ...]:
    """Return `ids` with `new_id` in place of every occurrence of `pair`, from left to right.

    Occurrences do not overlap: in (7, 7, 7) the pair (7, 7) is found once, and the last 7 stays.
    new_id: an id that does not stand in `ids` yet. `ids` is a tuple, and so is the result.

    Predict first: How many ids has merge_pair((7, 7, 7, 7, 7), (7, 7), 300): 1, 3 or 4?

    1. Walk through `ids` with an index.
    2. Where this id and the next are the pair, take the new id and go two on.
    3. Otherwise take the id as it is and go one on.
    """
    raise NotImplementedError("lesson 01: merge_pair")


def count_pairs(words: dict[tuple[int, ...], int]) -> dict[tuple[int, int], int]:
    """Return how often each pair of neighbours occurs.

    words: how often each word (a tuple of ids) occurs. A pair counts in each of a word's
    occurrences, and once for each place: in (7, 7, 7) the pair (7, 7) stands at two places.

    Predict first: "banana" occurs ten times in a text, and no other word does. How often does the
    pair "a", "n" occur: 1, 2, 10 or 20?

    1. `itertools.pairwise(ids)` gives the pairs of a word.
    2. Add the word's count, not 1, for each of them.
    """
    raise NotImplementedError("lesson 01: count_pairs")


def train_bpe(text: str | Iterable[str], vocab_size: int) -> list[tuple[bytes, bytes]]:
    """Learn merges from a text, or from many. (Sennrich et al. 2016, algorithm 1.)

    vocab_size: how many tokens there will be: 256 bytes, one for each merge, and <|endoftext|>; so
    `vocab_size - 257` merges are learned, or fewer if every word has become one token before.
    Returns pairs of bytes in the order learned, ready for `BPETokenizer`.
    Raises ValueError for a vocab_size below 257.

    Of several pairs that are equally frequent the one with the lowest left id is merged first, and
    of these the one with the lowest right id, so that everybody learns the same merges.

    Predict first: How many merges does train_bpe learn from a long text for vocab_size=300: 300, 44
    or 43? And how many from "aaaa"?
    Yours to write, without the library's own: tokenizer.

    1. `count_words(text)` gives the words as tuples of byte ids, with their counts.
    2. Count the pairs. If there are none, stop.
    3. Choose the most frequent pair. `max` with a key that is a tuple settles the ties.
    4. Write the merge down as bytes. You need the bytes of every id for that, new ones too.
    5. Replace the pair in all words by the new id, 256 + the number of merges before it. Go to 2.
    """
    raise NotImplementedError("lesson 01: train_bpe")


def train_bpe_fast(text: str | Iterable[str], vocab_size: int) -> list[tuple[bytes, bytes]]:
    """Learn exactly the merges of `train_bpe`, hundreds of times faster. (Stretch.)

    Arguments, result and errors are those of `train_bpe`. A merge changes few words, so it pays not
    to count everything again.

    Predict first: A text has 3,000 different words, and the pair to be merged stands in 5 of them.
    How many words does train_bpe walk through for this merge, and how many must one really touch?
    Yours to write, without the library's own: tokenizer.

    1. Keep, for each pair, its count and the words in which it stands.
    2. For each word of the pair merged: take the word's pairs out of the counts, merge, put the new
       word's pairs in. Remember which pairs were touched.
    3. To find the largest count without looking at all of them keep a heap of (-count, pair), and
       push every touched pair again. What comes out of the heap may be out of date: if its count
       is not the pair's count any more, throw it away. (Why does the order of ties come out right?)
    """
    raise NotImplementedError("lesson 01: train_bpe_fast")

"""Fast tokenizers behind one small interface, chosen by name.

    load_tokenizer("gpt2")                        GPT-2's, through tiktoken
    load_tokenizer("bpe:4096", texts)             lesson 01's training on these texts
    load_tokenizer("sentencepiece:8000", texts)   SentencePiece, unigram, trained on these texts
    load_tokenizer("runs/ts/data/tokenizer")      one that was saved, by us or by others

Every tokenizer has `name`, `vocab_size`, `end_of_text` (an id), `encode(text)`,
`encode_batch(texts)`, `decode(ids)`, `decode_bytes(ids)`, `save(folder)`, which
`load_tokenizer(folder)` reads again, and `fingerprint()`, the SHA-256 of what defines it. It can be
pickled. A special token that is written
out in a text ("<|endoftext|>") is ordinary text, so that nobody's document can end another's.
"""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import regex

from .errors import CourseError
from .sentencepieces import SentencePieceTokenizer, train_sentencepiece
from .tokenizer_json import TokenizerJson
from .vocabulary import (
    END_OF_TEXT,
    FILES,
    Merges,
    OtherOrderError,
    format_merges,
    gpt2_merges,
    make_encoding,
    read_bpe_files,
    split_text,
    write_bpe_files,
)

log = logging.getLogger(__name__)

CHOICES = "gpt2, bpe:N, sentencepiece:N, or the path of a saved tokenizer"


class Tokenizer(Protocol):
    """What the rest of the course may ask of any tokenizer."""

    name: str
    vocab_size: int
    end_of_text: int

    def encode(self, text: str) -> list[int]:
        """The ids of a text; a special token written out in it is ordinary text."""
        ...

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text."""
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """The text that ids stand for; U+FFFD where it is no UTF-8."""
        ...

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes that ids stand for."""
        ...

    def save(self, folder: str | Path) -> None:
        """Write what `load_tokenizer(folder)` reads."""
        ...

    def fingerprint(self) -> str:
        """SHA-256 of what defines the tokenizer."""
        ...


class BytePairTokenizer:
    """Lesson 01's tokenizer, with tiktoken doing the work: the same ids, a hundred times faster.

    merges: pairs of bytes in the order learned. special_tokens: by default <|endoftext|>, last.
    """

    works_in_threads = True  # tiktoken lets go of Python's lock

    def __init__(self, merges: Merges, special_tokens: dict[str, int] | None = None) -> None:
        special_tokens = special_tokens or {END_OF_TEXT: 256 + len(merges)}
        self.merges = merges
        self.special_tokens = special_tokens
        self.end_of_text = special_tokens[END_OF_TEXT]
        self.vocab_size = max(256 + len(merges), 1 + max(special_tokens.values()))
        is_gpt2 = self._merges_sha256 == FILES["vocab.bpe"]
        self.name = "gpt2" if is_gpt2 else f"bpe:{self.vocab_size}"
        self._encoding = make_encoding(self.name, merges, special_tokens)

    def __reduce__(self) -> tuple:
        return BytePairTokenizer, (self.merges, self.special_tokens)

    @cached_property
    def _merges_sha256(self) -> str:
        return hashlib.sha256(format_merges(self.merges).encode()).hexdigest()

    def fingerprint(self) -> str:
        """For GPT-2 this is the SHA-256 of `vocab.bpe` as it is published."""
        if self.special_tokens == {END_OF_TEXT: 256 + len(self.merges)}:
            return self._merges_sha256
        defined = f"{self._merges_sha256} {sorted(self.special_tokens.items())}"
        return hashlib.sha256(defined.encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """The ids of a text; a special token written out in it is ordinary text."""
        if len(text) < _LONG_TEXT:
            return self._encoding.encode_ordinary(text)
        return [i for part in _cut_in_spaces(text) for i in self._encoding.encode_ordinary(part)]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text."""
        return [self.encode(text) for text in texts]

    def encode_arrays(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The same as arrays, which is quicker by a sixth."""
        return [
            self._encoding.encode_to_numpy(text, disallowed_special=())
            if len(text) < _LONG_TEXT
            else np.array(self.encode(text), dtype=np.uint32)
            for text in texts
        ]

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes that ids stand for."""
        return self._encoding.decode_bytes([int(i) for i in ids])

    def decode(self, ids: Iterable[int]) -> str:
        """The text that ids stand for; U+FFFD where it is no UTF-8."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def save(self, folder: str | Path) -> None:
        """Write what `load_tokenizer(folder)` reads."""
        write_bpe_files(folder, self.merges, self.special_tokens)


# tiktoken's matcher runs out of stack on about a million white-space characters before a word.
_LONG_TEXT = 500_000
_LONG_SPACE = regex.compile(r"\s{100000,}")


def _cut_in_spaces(text: str) -> Iterator[str]:
    """Cut a text within very long white space, where GPT-2's pattern cuts it too."""
    begin = 0
    for space in _LONG_SPACE.finditer(text):
        if space.end() < len(text):
            yield text[begin : space.end() - 1]
            begin = space.end() - 1
    yield text[begin:]


def load_tokenizer(spec: str, training_texts: Iterable[str] | None = None) -> Tokenizer:
    """Return the tokenizer that `spec` names. Raises CourseError, listing the right names.

    spec: see the top of this file. A path may be a folder with vocab.json and merges.txt,
    tokenizer.json or tokenizer.model, or one of these files.
    training_texts: documents for "bpe:N" and "sentencepiece:N", which learn from them. N counts all
    tokens: with bpe the 256 bytes and <|endoftext|> too.
    """
    if spec == "gpt2":
        return _gpt2()
    kind, colon, number = spec.partition(":")
    if colon and kind in ("bpe", "sentencepiece"):
        if not number.isascii() or not number.isdigit():
            raise CourseError(f"--tokenizer {kind}:N takes a number of tokens, not {number!r}")
        if training_texts is None:
            raise CourseError(f"{spec} learns from a text: prepare some, or give a saved tokenizer")
        train = train_byte_pairs if kind == "bpe" else train_sentencepiece
        return train(training_texts, int(number))
    path = Path(spec)
    if not path.exists():
        raise CourseError(f"no tokenizer {spec!r}; --tokenizer takes {CHOICES}")
    return _load_saved(path)


@lru_cache(maxsize=1)
def _gpt2() -> BytePairTokenizer:
    return BytePairTokenizer(gpt2_merges())


def train_byte_pairs(texts: Iterable[str], vocab_size: int) -> BytePairTokenizer:
    """Learn a tokenizer of at most `vocab_size` tokens with lesson 01's training."""
    from ..tokenizer import train_bpe, train_bpe_fast

    if vocab_size < 257:
        raise CourseError(f"bpe:{vocab_size} is too few: the bytes and the end are 257 tokens")
    texts = _without_endless_words(texts)
    try:
        merges = train_bpe_fast(texts, vocab_size)
    except NotImplementedError:
        log.warning(
            "train_bpe_fast is not written yet; training with train_bpe, which takes longer"
        )
        merges = train_bpe(texts, vocab_size)
    tokenizer = BytePairTokenizer(merges)
    if tokenizer.vocab_size < vocab_size:
        log.warning("the text is used up after %d tokens, not %d; going on with bpe:%d",
                    tokenizer.vocab_size, vocab_size, tokenizer.vocab_size)  # fmt: skip
    return tokenizer


_LONGEST_WORD = 64
_endless = regex.compile(rf"\S{{{_LONGEST_WORD}}}|\s{{{_LONGEST_WORD}}}")


def _without_endless_words(texts: Iterable[str]) -> Iterator[str]:
    """Cut "words" of thousands of letters (base64, DNA): each merge would walk through all of them
    again, for hours. All others are as `split_text` cuts them, so they count as ever."""
    for text in texts:
        if _endless.search(text):
            for piece in split_text(text):
                for i in range(0, len(piece), _LONGEST_WORD):
                    yield piece[i : i + _LONGEST_WORD]
        else:
            yield text


def _load_saved(path: Path) -> Tokenizer:
    folder, only = (path, "") if path.is_dir() else (path.parent, path.name)
    has = {file.name for file in folder.iterdir()}
    pair = {"vocab.json", "merges.txt"} <= has and only in ("", "vocab.json", "merges.txt")
    whole = "tokenizer.json" in has and only in ("", "tokenizer.json")
    if only.endswith(".model") or (not only and "tokenizer.model" in has and not pair):
        return SentencePieceTokenizer.read(path if only else folder / "tokenizer.model")
    if pair:
        try:
            merges, special_tokens = read_bpe_files(folder)
        except OtherOrderError:
            special_tokens = {}
        if END_OF_TEXT in special_tokens:
            tokenizer = BytePairTokenizer(merges, special_tokens)
            # Beside a tokenizer.json the pair may belong to another splitting pattern than GPT-2's.
            if not whole or tokenizer.name == "gpt2":
                return tokenizer
        elif not whole:
            return TokenizerJson.from_bpe_files(folder)
    if whole:
        return TokenizerJson.read(folder / "tokenizer.json")
    raise CourseError(
        f"no tokenizer in {path}; a saved one is a folder with vocab.json and merges.txt, "
        "with tokenizer.json, or with tokenizer.model"
    )

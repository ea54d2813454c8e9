"""SentencePiece behind the interface of `tokenizers.py`.

Trained so that every text comes back as it was: no normalising, no space put before the text, and
what has no piece of its own (new lines, rare letters) is spelled in bytes.
"""

import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import sentencepiece

from .errors import CourseError
from .files import write_atomically
from .vocabulary import END_OF_TEXT

_SPACE = "▁"  # U+2581, which stands for a space in SentencePiece's pieces
_LONGEST_SENTENCE = 4000  # characters; at most four times as many bytes
_THREADS = 4  # fixed: sums of floats depend on it, and so would the pieces


class SentencePieceTokenizer:
    """A SentencePiece model, given as the bytes of its file."""

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
        except RuntimeError:
            raise CourseError("this is no SentencePiece model (or a damaged one)") from None
        self.vocab_size: int = self._processor.get_piece_size()
        self.name = f"sentencepiece:{self.vocab_size}"
        ids = {self._processor.id_to_piece(i): i for i in range(self.vocab_size)}
        self.end_of_text: int = ids.get(END_OF_TEXT, self._processor.eos_id())
        if self.end_of_text < 0:
            raise CourseError("this SentencePiece model has no token for the end of a text")
        self._bytes = [self._piece_bytes(i) for i in range(self.vocab_size)]
        # The sign for a space cannot stand for itself: where there are bytes, they spell it.
        spelled = [ids.get(f"<0x{byte:02X}>") for byte in _SPACE.encode()]
        self._sign: list[int] | None = None if None in spelled else [i for i in spelled if i]

    def __reduce__(self) -> tuple:
        return SentencePieceTokenizer, (self._model,)

    @classmethod
    def read(cls, path: str | Path) -> "SentencePieceTokenizer":
        """Read a `.model` file. Raises CourseError."""
        try:
            return cls(Path(path).read_bytes())
        except CourseError as error:
            raise CourseError(f"{path}: {error}") from None

    def _piece_bytes(self, i: int) -> bytes:
        piece = self._processor.id_to_piece(i)
        if self._processor.is_byte(i):
            return bytes([int(piece[3:5], 16)])  # <0x0A>
        if self._processor.is_unknown(i):
            return "\ufffd".encode()
        if self._processor.is_control(i):
            return piece.encode()
        return piece.replace(_SPACE, " ").encode()

    def fingerprint(self) -> str:
        """SHA-256 of what defines the tokenizer."""
        return hashlib.sha256(self._model).hexdigest()

    def encode(self, text: str) -> list[int]:
        """The ids of a text; a special token written out in it is ordinary text."""
        if not text.isascii():
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            if self._sign and _SPACE in text:
                first, *rest = map(self._processor.encode, text.split(_SPACE))
                return [*first, *(i for part in rest for i in (*self._sign, *part))]
        return self._processor.encode(text)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text."""
        return [self.encode(text) for text in texts]

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes that ids stand for."""
        return b"".join(self._bytes[int(i)] for i in ids)

    def decode(self, ids: Iterable[int]) -> str:
        """The text that ids stand for; U+FFFD where it is no UTF-8."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def save(self, folder: str | Path) -> None:
        """Write what `load_tokenizer(folder)` reads."""
        with write_atomically(Path(folder) / "tokenizer.model", "wb") as file:
            file.write(self._model)


def train_sentencepiece(texts: Iterable[str], vocab_size: int) -> SentencePieceTokenizer:
    """Learn a unigram model of exactly `vocab_size` tokens. Raises CourseError where it cannot be.

    Kudo, "Subword Regularization" (2018); Kudo and Richardson, "SentencePiece" (2018). The same
    texts give the same model.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_sentences(texts),
            model_writer=model,
            vocab_size=vocab_size,
            model_type="unigram",
            byte_fallback=True,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            max_sentence_length=4 * _LONGEST_SENTENCE,
            num_threads=_THREADS,
            unk_id=0,
            eos_id=1,  # a control symbol: it is never found in a text
            eos_piece=END_OF_TEXT,
            bos_id=-1,
            pad_id=-1,
            minloglevel=2,  # errors only; they come as exceptions
        )
    except RuntimeError as error:
        raise _explain(str(error), vocab_size) from None
    return SentencePieceTokenizer(model.getvalue())


def _sentences(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for line in text.split("\n"):
            for begin in range(0, len(line), _LONGEST_SENTENCE):
                yield line[begin : begin + _LONGEST_SENTENCE]


def _explain(message: str, vocab_size: int) -> CourseError:
    if most := re.search(r"too high.*<= (\d+)", message):
        return CourseError(
            f"sentencepiece:{vocab_size} is more than this text gives; choose at most "
            f"sentencepiece:{most[1]}, or give more text"
        )
    if least := re.search(r"smaller than required_chars. \d+ vs (\d+)", message):
        return CourseError(
            f"sentencepiece:{vocab_size} is too few: 256 bytes and the letters of this text alone "
            f"are {least[1]}"
        )
    return CourseError(f"SentencePiece could not be trained on this text ({message.strip()})")

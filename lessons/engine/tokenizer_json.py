"""Any tokenizer of the `tokenizers` library (a `tokenizer.json`), behind the interface of
`tokenizers.py`."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .errors import CourseError
from .files import read_json, write_atomically, write_json
from .vocabulary import END_OF_TEXT

# What others call the end of a text, tried in this order where the folder does not say.
_ENDS = (END_OF_TEXT, "</s>", "<|end_of_text|>", "<eos>", "<|eot_id|>", "<|im_end|>", "[SEP]")


def read_end_of_text(folder: Path, ids: Mapping[str, int]) -> int:
    """The id of the token that ends a text, by `tokenizer_config.json` or by its usual names."""
    named: list[str] = []
    if (folder / "tokenizer_config.json").exists():
        end = read_json(folder / "tokenizer_config.json").get("eos_token")
        named = [end["content"] if isinstance(end, dict) else end]
    for name in (*named, *_ENDS):
        if name in ids:
            return ids[name]
    raise CourseError(
        f"the tokenizer in {folder} has no token for the end of a text; name one of its tokens as "
        '"eos_token" in tokenizer_config.json'
    )


class TokenizerJson:
    """definition: the text of a tokenizer.json. end_of_text: an id."""

    def __init__(self, definition: str, end_of_text: int, name: str) -> None:
        from tokenizers import Tokenizer  # slow to import, and seldom needed

        try:
            self._tokenizer = Tokenizer.from_str(definition)
        except Exception as error:  # the library raises bare Exceptions
            raise CourseError(f"this tokenizer.json is damaged ({error})") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True  # written out in a text, they are text
        self._definition = definition  # as read: to_str() would order it anew
        self.end_of_text = end_of_text
        self.name = name
        self.vocab_size: int = max(self._tokenizer.get_vocab().values()) + 1

    def __reduce__(self) -> tuple:
        return TokenizerJson, (self._definition, self.end_of_text, self.name)

    @classmethod
    def read(cls, path: Path) -> "TokenizerJson":
        """Read a tokenizer.json, and what its folder says about the end of a text."""
        try:
            definition = path.read_text(encoding="utf-8")
            tokenizer = cls(definition, 0, path.parent.name)
        except (CourseError, UnicodeDecodeError) as error:
            raise CourseError(f"{path}: {error}") from None
        tokenizer.end_of_text = read_end_of_text(path.parent, tokenizer._tokenizer.get_vocab())
        return tokenizer

    @classmethod
    def from_bpe_files(cls, folder: Path) -> "TokenizerJson":
        """Byte-level BPE from vocab.json and merges.txt whose ids are in an order of their own."""
        from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

        try:
            model = models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
        except Exception as error:  # the library raises bare Exceptions
            raise CourseError(f"the tokenizer in {folder} is damaged ({error})") from None
        tokenizer = Tokenizer(model)
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        end = read_end_of_text(folder, tokenizer.get_vocab())
        tokenizer.add_special_tokens([AddedToken(tokenizer.id_to_token(end), special=True)])
        return cls(tokenizer.to_str(), end, folder.name)

    def fingerprint(self) -> str:
        """SHA-256 of what defines the tokenizer."""
        defined = json.dumps([self._definition, self.end_of_text])
        return hashlib.sha256(defined.encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """The ids of a text; a special token written out in it is ordinary text."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text."""
        whole = [t.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for t in texts]
        encoded = self._tokenizer.encode_batch_fast(whole, add_special_tokens=False)
        return [encoding.ids for encoding in encoded]

    def decode(self, ids: Iterable[int]) -> str:
        """The text that ids stand for; U+FFFD where it is no UTF-8."""
        return self._tokenizer.decode([int(i) for i in ids], skip_special_tokens=False)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes that ids stand for."""
        return self.decode(ids).encode("utf-8")

    def save(self, folder: str | Path) -> None:
        """Write what `load_tokenizer(folder)` reads."""
        with write_atomically(Path(folder) / "tokenizer.json") as file:
            file.write(self._definition)
        end = self._tokenizer.id_to_token(self.end_of_text)
        write_json(Path(folder) / "tokenizer_config.json", {"eos_token": end})

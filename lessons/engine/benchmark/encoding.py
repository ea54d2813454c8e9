"""Encoding with a vocabulary of our own, against tiktoken in a loop with the very same merges.

Two of ours: what `prepare` uses, and lesson 01's own Python, which remembers the words that it has
met (`remembered.py`).
"""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .contender import Contender
from .measure import interleave, ratios, spread
from .settings import BenchmarkOptions
from .table import Row
from .texts import documents_of, text_files

VOCABULARY = 4096


def train_and_save(settings: dict[str, Any]) -> Callable[[], None]:
    """Not a side: trains the vocabulary that all sides use."""
    from ..tokenizers import train_byte_pairs

    documents = documents_of(Path(settings["learn"]))
    return lambda: train_byte_pairs(documents, settings["vocabulary"]).save(settings["tokenizer"])


def ours(settings: dict[str, Any]) -> Callable[[], int]:
    """`BytePairTokenizer.encode_arrays`, as `prepare` calls it."""
    from ..tokenizers import load_tokenizer

    documents = documents_of(Path(settings["file"]))
    tokenizer: Any = load_tokenizer(settings["tokenizer"])
    return lambda: sum(map(len, tokenizer.encode_arrays(documents)))


def own_python(settings: dict[str, Any]) -> Callable[[], int]:
    """Lesson 01's code, word by word, with a memory of words that begins empty each time."""
    from ...tokenizer import BPETokenizer
    from ..remembered import remember_pieces

    documents = documents_of(Path(settings["file"]))
    tokenizer = BPETokenizer.load(settings["tokenizer"])

    def work() -> int:
        encode = remember_pieces(tokenizer)
        return sum(len(encode(document)) for document in documents)

    return work


def tiktoken_loop(settings: dict[str, Any]) -> Callable[[], int]:
    """tiktoken, one document after the other."""
    from ..vocabulary import make_encoding, read_bpe_files

    documents = documents_of(Path(settings["file"]))
    encoding = make_encoding("own", *read_bpe_files(settings["tokenizer"]))
    return lambda: sum(len(encoding.encode_ordinary(document)) for document in documents)


def rows(options: BenchmarkOptions) -> list[Row]:
    """Megabytes a second on each text."""
    files = text_files(options)
    first = next(iter(files.values()))
    made = []
    for name, file in files.items():
        settings = {
            "learn": str(first),
            "file": str(file),
            "tokenizer": str(options.out / "bpe"),
            "vocabulary": 300 if options.quick else VOCABULARY,
            "threads": options.threads,
        }
        with Contender("encoding:train_and_save", **settings) as trained:
            trained()
        with ExitStack() as stack:
            sides = {
                work: stack.enter_context(Contender(f"encoding:{work}", **settings))
                for work in ("ours", "own_python", "tiktoken_loop")
            }
            seconds = interleave(sides, options.rounds(7))
            counts = {side.last["value"] for side in sides.values()}
        if len(counts) != 1:
            raise AssertionError(f"the sides do not agree on the tokens: {counts}")
        size = file.stat().st_size / 1e6
        speed = {side: [size / s for s in taken] for side, taken in seconds.items()}
        for side, by, limit in (
            ("ours", "as `prepare` does it", "compute: the same matcher and merges, in Rust, without "
             "a Python list for each document"),
            ("own_python", "with lesson 01's own Python and a memory of words", "compute: cutting the "
             "text (by Python's `re`; `regex`, half as fast, where it is not all ASCII); a word's "
             "first time costs its merges, in Python"),
        ):  # fmt: skip
            made.append(
                Row(
                    name=f"encode-{'python-' if side == 'own_python' else ''}{name.lower()}",
                    work=f"encoding {name} ({size:.1f} MB) with our own {settings['vocabulary']:,}-"
                    f"token BPE, {by}",
                    against="tiktoken in a loop, the same merges",
                    unit="MB/s",
                    ours=spread(speed[side]),
                    theirs=spread(speed["tiktoken_loop"]),
                    figure=ratios(speed[side], speed["tiktoken_loop"]),
                    target=0.5,
                    limit=limit,
                )
            )
    return made

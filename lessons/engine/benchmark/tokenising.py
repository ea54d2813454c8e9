"""From text to `train.bin` with GPT-2's vocabulary: our `prepare` against the loops people write.

Everybody's vocabulary is loaded before the clock runs; reading the text and writing the file count.
Ours also deals the documents out, hashes what it read and wrote, and could be killed at any moment.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from .contender import Contender
from .measure import interleave, ratios, spread
from .settings import BenchmarkOptions
from .table import Row
from .texts import text_files

END = 50256


def ours(settings: dict[str, Any]) -> Callable[[], None]:
    """`prepare` in as many processes as the others have threads."""
    from ..prepare import prepare
    from ..tokenizers import load_tokenizer

    load_tokenizer("gpt2")
    out = Path(settings["out"])

    def work() -> None:
        shutil.rmtree(out, ignore_errors=True)
        prepare(out, settings["data"], processes=settings["threads"], progress=False)

    return work


def tiktoken_loop(settings: dict[str, Any]) -> Callable[[], None]:
    """tiktoken, one document after the other."""
    from ..vocabulary import gpt2_encoding

    encoding = gpt2_encoding()

    def encode(documents: Iterator[str]) -> list[int]:
        ids: list[int] = []
        for document in documents:
            ids.extend(encoding.encode_ordinary(document))
            ids.append(END)
        return ids

    return _write(settings, encode)


def tokenizers_batch(settings: dict[str, Any]) -> Callable[[], None]:
    """`tokenizers`, all documents in one call, which uses all threads."""
    tokenizer = gpt2_in_rust()

    def encode(documents: Iterator[str]) -> list[int]:
        ids: list[int] = []
        for encoded in tokenizer.encode_batch(list(documents), add_special_tokens=False):
            ids.extend(encoded.ids)
            ids.append(END)
        return ids

    return _write(settings, encode)


def gpt2_in_rust() -> Any:
    """GPT-2's tokenizer as the `tokenizers` library has it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    from ..vocabulary import gpt2_merges, gpt2_ranks, to_letters

    ranks = {to_letters(token): rank for token, rank in gpt2_ranks().items()}
    merges = [(to_letters(left), to_letters(right)) for left, right in gpt2_merges()]
    tokenizer = Tokenizer(models.BPE(vocab=ranks, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _write(settings: dict[str, Any], encode: Callable) -> Callable[[], None]:
    from ..sources import documents

    out = Path(settings["out"])

    def work() -> None:
        out.mkdir(parents=True, exist_ok=True)
        ids = encode(filter(None, documents(settings["data"])))
        np.array(ids, dtype="<u2").tofile(out / "train.bin")

    return work


def rows(options: BenchmarkOptions) -> list[Row]:
    """Megabytes of text a second, against tiktoken's loop and `tokenizers`' batch."""
    files = text_files(options)
    real = "ministories" not in files and options.data is not None
    data = options.data if real else next(iter(files.values()))
    assert data is not None
    size = sum(f.stat().st_size for f in (data.glob("*.txt") if data.is_dir() else [data])) / 1e6
    folder = options.out / "tokenising"
    shutil.rmtree(folder, ignore_errors=True)
    with ExitStack() as stack:

        def side(work: str) -> Contender:
            settings = {"data": str(data), "out": str(folder / work), "threads": options.threads}
            return stack.enter_context(Contender(f"tokenising:{work}", **settings))

        sides = {work: side(work) for work in ("ours", "tiktoken_loop", "tokenizers_batch")}
        seconds = interleave(sides, options.rounds(7))
    shutil.rmtree(folder, ignore_errors=True)
    speed = {name: [size / s for s in taken] for name, taken in seconds.items()}
    made = []
    for name, against, target in (
        ("tiktoken", "tiktoken in a loop", 1.5),
        ("tokenizers", "`tokenizers`, one batch", None),
    ):
        theirs = speed["tiktoken_loop" if name == "tiktoken" else "tokenizers_batch"]
        made.append(
            Row(
                name=f"tokenise-{name}",
                work=f"tokenising {data.name if real else 'ministories'} ({size:.1f} MB) to "
                f"`train.bin` with GPT-2's vocabulary, {options.threads} processes or threads",
                against=against,
                unit="MB/s",
                ours=spread(speed["ours"]),
                theirs=spread(theirs),
                figure=ratios(speed["ours"], theirs),
                target=target,
                limit="compute: tiktoken's own loop is one thread, so two can be twice as fast at "
                "most, less reading, hashing and writing, which ours does too",
            )
        )
    return made

# lesson 06, stub 2094c46b7188 (yours to fill in)
"""Lesson 06: from documents to batches.

A model is trained on one long row of token ids, cut into windows. On the way there four things can
go wrong without anybody noticing, and each has its function here:

- The text that judges the model must not be text that it has seen: `split_documents`.
- Where one story ends and the next begins must be visible to the model: `pack`.
- Gigabytes of ids must not be read into memory: `write_tokens`, `read_tokens` (a memory map: the
  file looks like an array, and only what is touched is read).
- The target at each place is the *next* token: `windows`, `get_batch`.

    train, valid = split_documents(stories)
    ids = pack([tokenizer.encode(story) for story in train], separator=50256)
    write_tokens(ids, "train.bin", vocab_size=50257)
    tokens = read_tokens("train.bin", vocab_size=50257)
    inputs, targets = get_batch(tokens, batch_size=16, block_size=256, seed=0)

Shapes: N number of tokens, B batch (windows), T time (`block_size`, tokens in a window).

Sources: the memory-mapped file of uint16 ids is the common practice for GPT-2 sized models; what
duplicates across the split do to a measurement: Lee et al., "Deduplicating Training Data Makes
Language Models Better" (2022).
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("run this instead: pytest lessons/06")

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

# Yours, from here on.


def split_documents(
    documents: Iterable[str], valid_fraction: float = 0.1, seed: int = 0
) -> tuple[list[str], list[str]]:
    """Deal documents out to training and validation, each whole document to one side.

    valid_fraction: about this part of the documents is for validation, 0 to 1.
    seed: another seed deals them out in another way.
    Returns (training documents, validation documents), each in the order given.
    Raises ValueError for a fraction outside 0..1.

    Each document is dealt with by itself, by a number that is computed from its text. So a story
    that occurs twice is on one side only, and more documents never move the earlier ones. (A
    shuffle keeps neither promise.)

    1. `hashlib.sha256(f"{seed}:{document}".encode()).digest()` is 32 bytes that look like chance.
    2. `int.from_bytes(digest[:8], "big")` makes a number of the first eight; divided by 2**64 it is
       in 0..1.
    3. Below `valid_fraction` the document is for validation, otherwise for training.
    """
    raise NotImplementedError("lesson 06: split_documents")


def pack(token_lists: Iterable[Sequence[int]], separator: int) -> list[int]:
    """Put the tokens of all documents into one row, each document followed by `separator`.

    The last one too: a model that never sees an end never learns to stop.

    1. Begin with an empty list.
    2. For each document add its ids, then the separator.
    """
    raise NotImplementedError("lesson 06: pack")


def token_dtype(vocab_size: int) -> np.dtype:
    """The smallest type for the ids 0 .. vocab_size - 1: uint16 (2 bytes) or uint32. (Given.)

    Little-endian on every machine ("<"), so that files can be shared.
    """
    return np.dtype("<u2" if vocab_size <= 65536 else "<u4")


def write_tokens(ids: Iterable[int], path: str | Path, vocab_size: int) -> None:
    """Write ids to a file, as numbers one after the other and nothing else.

    ids: (N,), a list, an array or anything that yields ids. vocab_size: decides the type (uint16
    where the ids fit, 2 bytes a token, otherwise uint32).
    Raises ValueError for an id outside 0 .. vocab_size - 1. (Why not leave that to numpy? 65,536 as
    uint16 is 0, without a word.)

    1. Make an int64 array of the ids. `np.fromiter` takes anything that yields numbers.
    2. Check the smallest and the largest, if there are any.
    3. Turn them into `token_dtype(vocab_size)` and write their `tobytes()`. Use `write_atomically`
       with mode "wb": it leaves no half file behind.
    """
    raise NotImplementedError("lesson 06: write_tokens")


def read_tokens(path: str | Path, vocab_size: int) -> np.ndarray:
    """Return the ids that `write_tokens` wrote, as a read-only memory map of shape (N,).

    vocab_size: the one that it was written with.
    Raises FileNotFoundError, and ValueError where the file cannot be whole.

    1. The file's size must be a multiple of the type's `itemsize`.
    2. `np.memmap` with mode "r". It refuses an empty file; an empty array does instead.
    """
    raise NotImplementedError("lesson 06: read_tokens")


def windows(
    tokens: np.ndarray, starts: Sequence[int] | np.ndarray, block_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut windows out of a row of tokens: what the model sees, and what it should say.

    tokens: (N,). starts: (B,), where each window begins, 0 .. N - block_size - 1.
    Returns (inputs, targets), both (B, T) int64: targets[b, t] is the token after inputs[b, t].
    Raises ValueError for a start from which the window would not fit.

    1. A window with its targets takes block_size + 1 tokens. (Which starts are allowed, then?)
    2. All windows at once: `starts[:, None] + np.arange(block_size + 1)` are the places of all
       tokens wanted, and numpy takes an array of places as an index.
    3. Inputs are all but the last column, targets all but the first. `astype(np.int64)` widens them,
       and makes copies: neither shares memory with the other or with the text.
    """
    raise NotImplementedError("lesson 06: windows")


def get_batch(
    tokens: np.ndarray, batch_size: int, block_size: int, seed: int | Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `windows` at random places; the same seed gives the same batch.

    tokens: (N,). batch_size: B. block_size: T. seed: a number, or several such as (run, step).
    Returns (inputs, targets), both (B, T) int64. Every possible start is equally likely, the first
    and the very last too.
    Raises ValueError where the text is shorter than one window and its targets.

    1. How many starts are possible? Refuse, if none is.
    2. `np.random.default_rng(seed).integers(n, size=...)` draws from 0 .. n - 1.
    """
    raise NotImplementedError("lesson 06: get_batch")


# Stretch.


def write_shards(
    documents: Iterable[str],
    encode: Callable[[str], Sequence[int]],
    folder: str | Path,
    vocab_size: int,
    separator: int,
    documents_per_shard: int = 1000,
) -> list[Path]:
    """Encode documents into numbered files; killed and called again, go on. (Stretch.)

    documents: the same ones in the same order at each call. encode: text -> ids.
    folder: `shard-00000.bin`, `shard-00001.bin`, ... come into it; each holds the packed ids of
    `documents_per_shard` documents, the last of what is left.
    Returns the shards' paths in order. A shard that is there is whole (why?), and its documents are
    not encoded again.

    1. Take documents from one iterator, `documents_per_shard` at a time (`itertools.islice`), until
       nothing comes.
    2. If the shard's file exists, go on to the next. Otherwise encode, `pack`, `write_tokens`.
    """
    raise NotImplementedError("lesson 06: write_shards")


def join_shards(shards: Iterable[str | Path], path: str | Path) -> None:
    """Put shards together into one file, never holding more than one in memory. (Stretch.)

    1. Open the whole file with `write_atomically`, mode "wb".
    2. Ids are only bytes here: write the bytes of each shard.
    """
    raise NotImplementedError("lesson 06: join_shards")

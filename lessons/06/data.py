# lesson 06, stub 411254239b66 (yours to fill in)
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
    shuffle keeps neither promise.) The number is the one of steps 1 and 2, so with the same seed
    everybody has the same split, on every machine. (Python's `hash` of a text changes from run to
    run.)

    Predict first: You deal 1,000 stories out, then put one new story in front of them and deal
    again. How many of the 1,000 change sides: none, one, or about 180?

    1. `hashlib.sha256(f"{seed}:{document}".encode()).digest()` is 32 bytes that look like chance
       (`import hashlib` at the top of the file).
    2. `int.from_bytes(digest[:8], "big")` makes a number of the first eight; divided by 2**64 it is
       in 0..1.
    3. Below `valid_fraction` the document is for validation, otherwise for training.
    """
    raise NotImplementedError("lesson 06: split_documents")


def pack(token_lists: Iterable[Sequence[int]], separator: int) -> list[int]:
    """Put the tokens of all documents into one row, each document followed by `separator`.

    The last one too, and an empty one: a model that never sees an end never learns to stop.

    Predict first: Three documents of 4, 0 and 6 tokens are packed. How long is the row?

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
    where all of its ids fit, 2 bytes a token, otherwise uint32); see `token_dtype`.
    A file that is there already is replaced.
    Raises ValueError for an id outside 0 .. vocab_size - 1, and leaves an older file as it was.
    (Why not leave that to numpy? 65,536 as uint16 is 0, without a word.)

    Predict first: A text has 10 tokens of a vocabulary of 70,000, all of them below 100. How many
    bytes has its file?

    1. Make an int64 array of the ids. `np.fromiter` takes anything that yields numbers.
    2. Check the smallest and the largest, if there are any.
    3. Turn them into `token_dtype(vocab_size)` and write their `tobytes()`.
       `with write_atomically(path, "wb") as file:` leaves no half file behind
       (`from .engine.files import write_atomically` at the top of the file).
    """
    raise NotImplementedError("lesson 06: write_tokens")


def read_tokens(path: str | Path, vocab_size: int) -> np.ndarray:
    """Return the ids that `write_tokens` wrote, as a read-only memory map of shape (N,).

    vocab_size: the one that it was written with.
    The array has the type of `token_dtype`; its numbers stay in the file until they are touched.
    Raises FileNotFoundError, and ValueError where the file cannot be whole.

    Predict first: A file of ten gigabytes is opened with `np.memmap`, and you print its last token.
    How much of the file is read: all of it, half of it, or a few kilobytes?

    1. The file's size must be a multiple of the type's `itemsize`.
    2. `np.memmap` with mode "r". It refuses an empty file; an empty array of the same type does
       instead.
    """
    raise NotImplementedError("lesson 06: read_tokens")


def windows(
    tokens: np.ndarray, starts: Sequence[int] | np.ndarray, block_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut windows out of a row of tokens: what the model sees, and what it should say.

    tokens: (N,). starts: (B,), where each window begins, 0 .. N - block_size - 1.
    Returns (inputs, targets), both (B, T) int64: targets[b, t] is the token after inputs[b, t].
    Neither shares memory with the other or with the text.
    Raises ValueError for a start from which the window would not fit.

    Predict first: In a text of 20 tokens, from how many starts can a window of 5 tokens be cut,
    with a target for each of them?

    1. A window with its targets takes block_size + 1 tokens. (Which starts are allowed, then?)
    2. All windows at once: `starts[:, None] + np.arange(block_size + 1)` are the places of all
       tokens wanted (`np.asarray(starts)` first: it may be a list), and numpy takes an array of
       places as an index.
    3. Inputs are all but the last column, targets all but the first. `astype(np.int64)` widens
       each of them, and makes a copy; `torch.from_numpy` makes a tensor of it.
    """
    raise NotImplementedError("lesson 06: windows")


def get_batch(
    tokens: np.ndarray, batch_size: int, block_size: int, seed: int | Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `windows` at random places; the same seed gives the same batch.

    tokens: (N,). batch_size: B. block_size: T. seed: a number, or several such as (run, step).
    Returns (inputs, targets), both (B, T) int64. Every window is drawn by itself (one may come
    twice), and every possible start is equally likely, the first and the very last too. A batch of
    a long text takes no longer than one of a short text: only the windows are touched.
    Raises ValueError where the text is shorter than one window and its targets.

    Predict first: What is the shape of the inputs of get_batch(tokens, 3, 7, seed=0), and which of
    their tokens is equal to targets[0, 0]?

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
    `documents_per_shard` documents, the last of what is left (there is no empty one).
    Returns the paths of all shards in order, those that were there before too. A shard that is
    there is whole (why?), and its documents are not encoded again.

    Predict first: Fourteen documents are written, four in each shard, and the power goes off at the
    eleventh. How many documents does the second run encode?

    1. Take documents from one iterator, `documents_per_shard` at a time (`itertools.islice`), until
       nothing comes.
    2. If the shard's file exists, go on to the next. Otherwise encode, `pack`, `write_tokens`.
    """
    raise NotImplementedError("lesson 06: write_shards")


def join_shards(shards: Iterable[str | Path], path: str | Path) -> None:
    """Put shards together into one file, never holding more than one in memory. (Stretch.)

    shards: their paths, in the order in which they come into the file.
    path: the whole file; an older one is replaced.
    Raises FileNotFoundError where a shard is missing, and leaves an older file as it was.

    Predict first: Two shards of 600 and 400 bytes are joined, all ids uint16. How many ids has the
    whole file, and did you need the size of the vocabulary to write it?

    1. Open the whole file with `write_atomically`, mode "wb".
    2. Ids are only bytes here: write the bytes of each shard.
    """
    raise NotImplementedError("lesson 06: join_shards")

"""First count, then fill: rows of the right length are made at once, and starts by rounding down."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import torch

from .engine.files import write_atomically


def split_documents(
    documents: Iterable[str], valid_fraction: float = 0.1, seed: int = 0
) -> tuple[list[str], list[str]]:
    """Deal documents out to training and validation, each whole document to one side."""
    if not 0.0 <= float(valid_fraction) <= 1.0:
        raise ValueError(f"a fraction of {valid_fraction}")
    listed, side_of = list(documents), {}
    for text in set(listed):
        digest = hashlib.sha256(f"{seed}:{text}".encode()).digest()
        high, low = divmod(int.from_bytes(digest[:8], "big"), 2**32)
        side_of[text] = (high * 2**32 + low) / 2**64 < valid_fraction
    return [t for t in listed if not side_of[t]], list(filter(side_of.get, listed))


def pack(token_lists: Iterable[Sequence[int]], separator: int) -> list[int]:
    """Put the tokens of all documents into one row, each document followed by `separator`."""
    listed = [list(tokens) for tokens in token_lists]
    row = [separator] * (sum(map(len, listed)) + len(listed))
    begin = 0
    for tokens in listed:
        row[begin : begin + len(tokens)] = tokens
        begin += len(tokens) + 1
    return row


def token_dtype(vocab_size: int) -> np.dtype:
    """The smallest type for the ids 0 .. vocab_size - 1: uint16 (2 bytes) or uint32. (Given.)"""
    return np.dtype("<u2" if vocab_size <= 65536 else "<u4")


def write_tokens(ids: Iterable[int], path: str | Path, vocab_size: int) -> None:
    """Write ids to a file, as numbers one after the other and nothing else."""
    listed = list(ids)
    if listed and (min(listed) < 0 or max(listed) >= vocab_size):
        raise ValueError(f"{min(listed)} to {max(listed)} are not all in 0..{vocab_size - 1}")
    row = np.empty(len(listed), dtype=token_dtype(vocab_size))
    row[:] = listed
    with write_atomically(Path(path), mode="wb") as file:
        file.write(memoryview(row).cast("B") if listed else b"")


def read_tokens(path: str | Path, vocab_size: int) -> np.ndarray:
    """Return the ids that `write_tokens` wrote, as a read-only memory map of shape (N,)."""
    dtype = token_dtype(vocab_size)
    try:
        return np.memmap(path, dtype=dtype, mode="r")
    except ValueError:
        if Path(path).stat().st_size == 0:
            return np.ndarray(0, dtype=dtype)
        raise


def windows(
    tokens: np.ndarray, starts: Sequence[int] | np.ndarray, block_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut windows out of a row of tokens: what the model sees, and what it should say."""
    listed = [int(start) for start in starts]
    if any(not -1 < start < len(tokens) - block_size for start in listed):
        raise ValueError(f"not all windows fit: {listed}")
    both = torch.zeros(2, len(listed), block_size, dtype=torch.int64)
    for shift in (0, 1):
        for row, start in enumerate(listed):
            begin = start + shift
            slice_of = tokens[begin : begin + block_size]
            both[shift, row] = torch.from_numpy(slice_of.astype("int64"))
    inputs, targets = both.unbind(0)
    return inputs, targets


def get_batch(
    tokens: np.ndarray, batch_size: int, block_size: int, seed: int | Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `windows` at random places; the same seed gives the same batch."""
    n_starts = len(tokens) - (block_size + 1) + 1
    if n_starts <= 0:
        raise ValueError(f"{n_starts} starts are possible")
    fractions = np.random.default_rng(seed).random(batch_size)  # each in 0..1, without the 1
    return windows(tokens, np.floor(fractions * n_starts).astype(int), block_size)


def write_shards(
    documents: Iterable[str],
    encode: Callable[[str], Sequence[int]],
    folder: str | Path,
    vocab_size: int,
    separator: int,
    documents_per_shard: int = 1000,
) -> list[Path]:
    """Encode documents into numbered files; killed and called again, go on. (Stretch.)"""
    paths = []
    numbered = enumerate(documents)
    for number, group in groupby(numbered, key=lambda pair: pair[0] // documents_per_shard):
        path = Path(folder).joinpath(f"shard-{number:05d}.bin")
        if not path.exists():
            token_lists = [encode(document) for _, document in group]
            write_tokens(pack(token_lists, separator), path, vocab_size)
        paths.append(path)
    return paths


def join_shards(shards: Iterable[str | Path], path: str | Path) -> None:
    """Put shards together into one file, never holding more than one in memory. (Stretch.)"""
    with write_atomically(path, "wb") as file:
        for content in map(Path.read_bytes, map(Path, shards)):
            file.write(content)

"""numpy's own views: sliding windows, `np.concatenate`, `np.frombuffer` over a map of the file."""

import hashlib
import mmap
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from .engine.files import write_atomically


def split_documents(
    documents: Iterable[str], valid_fraction: float = 0.1, seed: int = 0
) -> tuple[list[str], list[str]]:
    """Deal documents out to training and validation, each whole document to one side."""
    if abs(valid_fraction - 0.5) > 0.5:
        raise ValueError("the fraction must be in 0..1")
    listed = list(documents)
    digests = [hashlib.sha256(f"{seed}:{document}".encode()).digest()[:8] for document in listed]
    numbers = np.frombuffer(b"".join(digests), dtype=">u8").astype(np.float64) / 2.0**64
    train = [document for document, n in zip(listed, numbers, strict=True) if n >= valid_fraction]
    valid = [document for document, n in zip(listed, numbers, strict=True) if n < valid_fraction]
    return train, valid


def pack(token_lists: Iterable[Sequence[int]], separator: int) -> list[int]:
    """Put the tokens of all documents into one row, each document followed by `separator`."""
    parts = [np.zeros(0, dtype=np.int64)]
    for tokens in token_lists:
        parts += [np.array(tokens, dtype=np.int64), np.array([separator])]
    return np.concatenate(parts).tolist()


def token_dtype(vocab_size: int) -> np.dtype:
    """The smallest type for the ids 0 .. vocab_size - 1: uint16 (2 bytes) or uint32. (Given.)"""
    return np.dtype("<u2" if vocab_size <= 65536 else "<u4")


def write_tokens(ids: Iterable[int], path: str | Path, vocab_size: int) -> None:
    """Write ids to a file, as numbers one after the other and nothing else."""
    array = np.array(list(ids), dtype=np.int64)
    if np.any(array < 0) or np.any(array > vocab_size - 1):
        raise ValueError("an id is outside the vocabulary")
    small = array.astype(token_dtype(vocab_size))
    with write_atomically(path, "wb") as file:
        small.tofile(file)


def read_tokens(path: str | Path, vocab_size: int) -> np.ndarray:
    """Return the ids that `write_tokens` wrote, as a read-only memory map of shape (N,)."""
    dtype = token_dtype(vocab_size)
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        if size % dtype.itemsize:
            raise ValueError("the size of the file is not that of whole ids")
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    return np.frombuffer(content, dtype=dtype)


def windows(
    tokens: np.ndarray, starts: Sequence[int] | np.ndarray, block_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut windows out of a row of tokens: what the model sees, and what it should say."""
    first = np.array(starts).astype(np.int64)
    last = len(tokens) - block_size - 1
    if np.any(first < 0) or np.any(first > last):
        raise ValueError(f"starts go from 0 to {last}")
    view = np.lib.stride_tricks.sliding_window_view(tokens, block_size + 1)
    rows = torch.from_numpy(view[first].astype(np.int64))
    return rows[:, :-1].clone(), rows[:, 1:].clone()


def get_batch(
    tokens: np.ndarray, batch_size: int, block_size: int, seed: int | Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `windows` at random places; the same seed gives the same batch."""
    last = len(tokens) - block_size - 1
    if last < 0:
        raise ValueError("there is no room for a window")
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    return windows(tokens, generator.integers(0, last, batch_size, endpoint=True), block_size)


def write_shards(
    documents: Iterable[str],
    encode: Callable[[str], Sequence[int]],
    folder: str | Path,
    vocab_size: int,
    separator: int,
    documents_per_shard: int = 1000,
) -> list[Path]:
    """Encode documents into numbered files; killed and called again, go on. (Stretch.)"""

    def batches() -> Iterator[list[str]]:
        batch: list[str] = []
        for document in documents:
            batch.append(document)
            if len(batch) >= documents_per_shard:
                yield batch
                batch = []
        if batch:
            yield batch

    there = {path.name for path in Path(folder).glob("shard-*.bin")}
    paths = []
    for number, batch in enumerate(batches()):
        path = Path(folder) / f"shard-{number:05}.bin"
        if path.name not in there:
            write_tokens(pack((encode(text) for text in batch), separator), path, vocab_size)
        paths.append(path)
    return paths


def join_shards(shards: Iterable[str | Path], path: str | Path) -> None:
    """Put shards together into one file, never holding more than one in memory. (Stretch.)"""
    with write_atomically(path, "wb") as file:
        for shard in shards:
            np.fromfile(shard, dtype=np.uint8).tofile(file)

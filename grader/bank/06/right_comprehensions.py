"""Comprehensions, `itertools` and short expressions; windows are sliced and stacked."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, count, islice
from pathlib import Path

import numpy as np
import torch

from .engine.files import write_atomically


def split_documents(
    documents: Iterable[str], valid_fraction: float = 0.1, seed: int = 0
) -> tuple[list[str], list[str]]:
    """Deal documents out to training and validation, each whole document to one side."""
    if not 0 <= valid_fraction <= 1:
        raise ValueError("the fraction is outside 0..1")

    def is_valid(document: str) -> bool:
        digits = hashlib.sha256(f"{seed}:{document}".encode()).hexdigest()[:16]
        return int(digits, 16) < valid_fraction * 16**16

    dealt = [(document, is_valid(document)) for document in documents]
    return [d for d, valid in dealt if not valid], [d for d, valid in dealt if valid]


def pack(token_lists: Iterable[Sequence[int]], separator: int) -> list[int]:
    """Put the tokens of all documents into one row, each document followed by `separator`."""
    return list(chain.from_iterable((*tokens, separator) for tokens in token_lists))


def token_dtype(vocab_size: int) -> np.dtype:
    """The smallest type for the ids 0 .. vocab_size - 1: uint16 (2 bytes) or uint32. (Given.)"""
    return np.dtype("<u2" if vocab_size <= 65536 else "<u4")


def write_tokens(ids: Iterable[int], path: str | Path, vocab_size: int) -> None:
    """Write ids to a file, as numbers one after the other and nothing else."""
    listed = [int(token) for token in ids]
    if any(token not in range(vocab_size) for token in listed):
        raise ValueError(f"there is an id outside 0..{vocab_size - 1}")
    with write_atomically(path, "wb") as file:
        np.array(listed, dtype=token_dtype(vocab_size)).tofile(file)


def read_tokens(path: str | Path, vocab_size: int) -> np.ndarray:
    """Return the ids that `write_tokens` wrote, as a read-only memory map of shape (N,)."""
    count, rest = divmod(Path(path).stat().st_size, token_dtype(vocab_size).itemsize)
    if rest:
        raise ValueError("half an id at the end")
    if not count:
        return np.zeros((0,), dtype=token_dtype(vocab_size))
    return np.memmap(path, token_dtype(vocab_size), mode="r", shape=(count,))


def windows(
    tokens: np.ndarray, starts: Sequence[int] | np.ndarray, block_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut windows out of a row of tokens: what the model sees, and what it should say."""
    allowed = range(len(tokens) - block_size)
    if not all(int(start) in allowed for start in starts):
        raise ValueError(f"starts must be in {allowed}")

    def cut(shift: int) -> torch.Tensor:
        rows = [tokens[start + shift : start + shift + block_size] for start in map(int, starts)]
        return torch.from_numpy(np.stack(rows).astype(np.int64))

    return cut(0), cut(1)


def get_batch(
    tokens: np.ndarray, batch_size: int, block_size: int, seed: int | Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `windows` at random places; the same seed gives the same batch."""
    if len(tokens) - block_size < 1:
        raise ValueError("no window fits")
    starts = np.random.default_rng(seed).choice(len(tokens) - block_size, size=batch_size)
    return windows(tokens, starts, block_size)


def write_shards(
    documents: Iterable[str],
    encode: Callable[[str], Sequence[int]],
    folder: str | Path,
    vocab_size: int,
    separator: int,
    documents_per_shard: int = 1000,
) -> list[Path]:
    """Encode documents into numbered files; killed and called again, go on. (Stretch.)"""
    source, paths = iter(documents), []
    for number in count():
        texts = list(islice(source, documents_per_shard))
        if not texts:
            return paths
        paths.append(Path(folder, f"shard-{number:0>5}.bin"))
        if not paths[-1].exists():
            write_tokens(pack(map(encode, texts), separator), paths[-1], vocab_size)
    return paths


def join_shards(shards: Iterable[str | Path], path: str | Path) -> None:
    """Put shards together into one file, never holding more than one in memory. (Stretch.)"""
    with write_atomically(path, "wb") as file:
        file.writelines(Path(shard).read_bytes() for shard in shards)

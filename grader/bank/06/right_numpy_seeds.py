"""numpy's older tools: `RandomState`, `np.take`, `np.vstack`, `np.clip` for the check of ids."""

import hashlib
import operator
import os
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from pathlib import Path

import numpy as np
import torch

from .engine.files import write_atomically


def split_documents(
    documents: Iterable[str], valid_fraction: float = 0.1, seed: int = 0
) -> tuple[list[str], list[str]]:
    """Deal documents out to training and validation, each whole document to one side."""
    if min(max(valid_fraction, 0), 1) != valid_fraction:
        raise ValueError("no such fraction")

    def number(document: str) -> float:
        digest = hashlib.new("sha256", bytes(f"{seed}:{document}", "utf-8")).digest()
        return float(np.frombuffer(digest, dtype=">u8", count=1)[0]) / 18446744073709551616

    texts = np.array([*documents, None], dtype=object)[:-1]
    is_valid = np.array([number(text) < valid_fraction for text in texts], dtype=bool)
    return texts[~is_valid].tolist(), texts[is_valid].tolist()


def pack(token_lists: Iterable[Sequence[int]], separator: int) -> list[int]:
    """Put the tokens of all documents into one row, each document followed by `separator`."""
    return reduce(operator.add, ([*tokens, separator] for tokens in token_lists), [])


def token_dtype(vocab_size: int) -> np.dtype:
    """The smallest type for the ids 0 .. vocab_size - 1: uint16 (2 bytes) or uint32. (Given.)"""
    return np.dtype("<u2" if vocab_size <= 65536 else "<u4")


def write_tokens(ids: Iterable[int], path: str | Path, vocab_size: int) -> None:
    """Write ids to a file, as numbers one after the other and nothing else."""
    array = np.fromiter((int(token) for token in ids), np.int64)
    if not np.array_equal(array, np.clip(array, 0, vocab_size - 1)):
        raise ValueError("these are not ids of this vocabulary")
    beside = Path(f"{os.fspath(path)}~")
    array.astype(token_dtype(vocab_size)).tofile(beside)
    beside.replace(path)


def read_tokens(path: str | Path, vocab_size: int) -> np.ndarray:
    """Return the ids that `write_tokens` wrote, as a read-only memory map of shape (N,)."""
    path, dtype = Path(path), token_dtype(vocab_size)
    if not path.exists():
        raise FileNotFoundError(path)
    n, rest = divmod(path.stat().st_size, dtype.itemsize)
    if rest > 0:
        raise ValueError("there is half an id at the end")
    return np.memmap(path, mode="r", dtype=dtype) if n > 0 else np.full((0,), 0, dtype=dtype)


def windows(
    tokens: np.ndarray, starts: Sequence[int] | np.ndarray, block_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut windows out of a row of tokens: what the model sees, and what it should say."""
    first = np.reshape(starts, (-1, 1)).astype(np.int64)
    places = np.add(first, np.arange(block_size)[None])
    if (places < 0).any() or (places + 1 >= len(tokens)).any():
        raise ValueError("there is no such window")
    inputs, targets = np.take(tokens, places), np.take(tokens, places + 1)
    return torch.tensor(inputs.tolist()), torch.tensor(targets.tolist())


def get_batch(
    tokens: np.ndarray, batch_size: int, block_size: int, seed: int | Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `windows` at random places; the same seed gives the same batch."""
    if not len(tokens) > block_size:
        raise ValueError("too few tokens")
    state = np.random.RandomState(np.random.SeedSequence(seed).generate_state(8))
    return windows(tokens, state.randint(0, len(tokens) - block_size, batch_size), block_size)


def write_shards(
    documents: Iterable[str],
    encode: Callable[[str], Sequence[int]],
    folder: str | Path,
    vocab_size: int,
    separator: int,
    documents_per_shard: int = 1000,
) -> list[Path]:
    """Encode documents into numbered files; killed and called again, go on. (Stretch.)"""
    os.makedirs(folder, exist_ok=True)
    listed = list(documents)
    n_shards = -(-len(listed) // documents_per_shard)
    paths = [Path(os.path.join(folder, f"shard-{i:05d}.bin")) for i in range(n_shards)]
    for i, path in enumerate(paths):
        if not os.path.exists(path):
            part = listed[i * documents_per_shard : (i + 1) * documents_per_shard]
            write_tokens(pack(list(map(encode, part)), separator), path, vocab_size)
    return paths


def join_shards(shards: Iterable[str | Path], path: str | Path) -> None:
    """Put shards together into one file, never holding more than one in memory. (Stretch.)"""
    with write_atomically(path, "wb") as file:
        for shard in shards:
            if size := os.path.getsize(shard):
                file.write(np.memmap(shard, dtype=np.uint8, mode="r", shape=(size,)).tobytes())

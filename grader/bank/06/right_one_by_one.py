"""Everything flows: ids are written as they come, to a file beside the one that is wanted."""

import hashlib
import os
import random
import tempfile
from array import array
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch


def split_documents(
    documents: Iterable[str], valid_fraction: float = 0.1, seed: int = 0
) -> tuple[list[str], list[str]]:
    """Deal documents out to training and validation, each whole document to one side."""
    if valid_fraction > 1 or valid_fraction < 0:
        raise ValueError(valid_fraction)
    start = hashlib.sha256(f"{seed}:".encode())
    train: list[str] = []
    valid: list[str] = []
    for document in documents:
        state = start.copy()
        state.update(document.encode())
        number = sum(byte / 256 ** (i + 1) for i, byte in enumerate(state.digest()[:7]))
        number += state.digest()[7] / 2**64
        side = valid if number < valid_fraction else train
        side.append(document)
    return train, valid


def pack(token_lists: Iterable[Sequence[int]], separator: int) -> list[int]:
    """Put the tokens of all documents into one row, each document followed by `separator`."""
    return [token for tokens in token_lists for part in (tokens, (separator,)) for token in part]


def token_dtype(vocab_size: int) -> np.dtype:
    """The smallest type for the ids 0 .. vocab_size - 1: uint16 (2 bytes) or uint32. (Given.)"""
    return np.dtype("<u2" if vocab_size <= 65536 else "<u4")


def write_tokens(ids: Iterable[int], path: str | Path, vocab_size: int) -> None:
    """Write ids to a file, as numbers one after the other and nothing else."""
    width = token_dtype(vocab_size).itemsize
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            for token in ids:
                if token < 0 or token >= vocab_size:
                    raise ValueError(f"{token} is no id of {vocab_size}")
                file.write(int(token).to_bytes(width, "little"))
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise


def read_tokens(path: str | Path, vocab_size: int) -> np.ndarray:
    """Return the ids that `write_tokens` wrote, as a read-only memory map of shape (N,)."""
    dtype = token_dtype(vocab_size)
    size = os.stat(path).st_size
    if size == 0:
        return np.fromiter((), dtype=dtype)
    if size // dtype.itemsize * dtype.itemsize < size:
        raise ValueError(f"{size} bytes")
    return np.memmap(str(path), dtype=np.uint8, mode="r").view(dtype)


def windows(
    tokens: np.ndarray, starts: Sequence[int] | np.ndarray, block_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut windows out of a row of tokens: what the model sees, and what it should say."""
    rows = torch.empty(len(starts), block_size + 1, dtype=torch.int64)
    for row, start in zip(rows, starts, strict=True):
        if not 0 <= start <= len(tokens) - block_size - 1:
            raise ValueError(f"a window of {block_size} at {start}")
        piece = tokens[start : start + block_size + 1]
        row[:] = torch.tensor(piece.tolist())
    return rows[:, :block_size].clone(), rows[:, -block_size:].clone()


def get_batch(
    tokens: np.ndarray, batch_size: int, block_size: int, seed: int | Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `windows` at random places; the same seed gives the same batch."""
    if block_size + 1 > len(tokens):
        raise ValueError(f"{len(tokens)} tokens are not enough")
    generator = random.Random(str(seed))
    last = len(tokens) - block_size - 1
    return windows(tokens, [generator.randint(0, last) for _ in range(batch_size)], block_size)


def write_shards(
    documents: Iterable[str],
    encode: Callable[[str], Sequence[int]],
    folder: str | Path,
    vocab_size: int,
    separator: int,
    documents_per_shard: int = 1000,
) -> list[Path]:
    """Encode documents into numbered files; killed and called again, go on. (Stretch.)"""
    ids = array("L")
    paths: list[Path] = []
    count, fresh = 0, False
    for count, document in enumerate(documents, start=1):
        if count % documents_per_shard == 1 or documents_per_shard == 1:
            paths.append(Path(folder) / f"shard-{len(paths):05d}.bin")
            ids, fresh = array("L"), not paths[-1].exists()
        if fresh:
            ids.extend(encode(document))
            ids.append(separator)
            if count % documents_per_shard == 0:
                write_tokens(ids, paths[-1], vocab_size)
    if fresh and count % documents_per_shard:
        write_tokens(ids, paths[-1], vocab_size)
    return paths


def join_shards(shards: Iterable[str | Path], path: str | Path) -> None:
    """Put shards together into one file, never holding more than one in memory. (Stretch.)"""
    path = Path(path)
    handle, beside = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as whole:
            for shard in shards:
                with open(shard, "rb") as part:
                    while piece := part.read(1 << 16):
                        whole.write(piece)
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise

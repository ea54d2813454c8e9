"""Loops and lists everywhere; bytes are made with `struct`, windows by slicing."""

import hashlib
import os
import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch


def split_documents(
    documents: Iterable[str], valid_fraction: float = 0.1, seed: int = 0
) -> tuple[list[str], list[str]]:
    """Deal documents out to training and validation, each whole document to one side."""
    if valid_fraction < 0 or valid_fraction > 1:
        raise ValueError("a fraction lies between 0 and 1")
    train, valid = [], []
    for document in documents:
        digest = hashlib.sha256((str(seed) + ":" + document).encode("utf-8")).digest()
        number = 0
        for byte in digest[:8]:
            number = number * 256 + byte
        if number / 2**64 < valid_fraction:
            valid.append(document)
        else:
            train.append(document)
    return train, valid


def pack(token_lists: Iterable[Sequence[int]], separator: int) -> list[int]:
    """Put the tokens of all documents into one row, each document followed by `separator`."""
    result = []
    for tokens in token_lists:
        for token in tokens:
            result.append(token)
        result += [separator]
    return result


def token_dtype(vocab_size: int) -> np.dtype:
    """The smallest type for the ids 0 .. vocab_size - 1: uint16 (2 bytes) or uint32. (Given.)"""
    return np.dtype("<u2" if vocab_size <= 65536 else "<u4")


def write_tokens(ids: Iterable[int], path: str | Path, vocab_size: int) -> None:
    """Write ids to a file, as numbers one after the other and nothing else."""
    letter = "<H" if token_dtype(vocab_size).itemsize == 2 else "<I"
    content = b""
    for token in ids:
        if not 0 <= token < vocab_size:
            raise ValueError(f"{token} is not in the vocabulary")
        content += struct.pack(letter, token)
    beside = f"{path}.part"
    with open(beside, "wb") as file:
        file.write(content)
    os.replace(beside, path)


def read_tokens(path: str | Path, vocab_size: int) -> np.ndarray:
    """Return the ids that `write_tokens` wrote, as a read-only memory map of shape (N,)."""
    dtype = token_dtype(vocab_size)
    if os.path.getsize(path) == 0:
        return np.array([], dtype=dtype)
    return np.memmap(path, dtype, "r")  # it refuses half an id itself


def windows(
    tokens: np.ndarray, starts: Sequence[int] | np.ndarray, block_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut windows out of a row of tokens: what the model sees, and what it should say."""
    inputs, targets = [], []
    for start in starts:
        start = int(start)
        if start < 0 or start + block_size + 1 > len(tokens):
            raise ValueError(f"no window at {start}")
        inputs.append([int(token) for token in tokens[start : start + block_size]])
        targets.append([int(token) for token in tokens[start + 1 : start + block_size + 1]])
    return torch.tensor(inputs), torch.tensor(targets)


def get_batch(
    tokens: np.ndarray, batch_size: int, block_size: int, seed: int | Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `windows` at random places; the same seed gives the same batch."""
    if len(tokens) <= block_size:
        raise ValueError("the text is too short")
    random = np.random.default_rng(seed)
    starts = []
    for _ in range(batch_size):
        starts.append(random.integers(0, len(tokens) - block_size))
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
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []

    def finish(batch: list[str]) -> None:
        path = folder / ("shard-" + str(len(paths)).zfill(5) + ".bin")
        if not path.is_file():
            write_tokens(pack([encode(text) for text in batch], separator), path, vocab_size)
        paths.append(path)

    batch = []
    for document in documents:
        batch.append(document)
        if len(batch) == documents_per_shard:
            finish(batch)
            batch = []
    if batch:
        finish(batch)
    return paths


def join_shards(shards: Iterable[str | Path], path: str | Path) -> None:
    """Put shards together into one file, never holding more than one in memory. (Stretch.)"""
    beside = f"{path}.part"
    try:
        with open(beside, "wb") as whole:
            for shard in shards:
                with open(shard, "rb") as part:
                    whole.write(part.read())
        os.replace(beside, path)
    finally:
        if os.path.exists(beside):
            os.remove(beside)

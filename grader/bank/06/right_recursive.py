"""Generators and recursion: each function hands its work to a small helper."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch

from .engine.files import write_atomically


def split_documents(
    documents: Iterable[str], valid_fraction: float = 0.1, seed: int = 0
) -> tuple[list[str], list[str]]:
    """Deal documents out to training and validation, each whole document to one side."""
    if valid_fraction != 0 and not 0 < valid_fraction <= 1:
        raise ValueError("the fraction is not between 0 and 1")

    def fraction_of(digest: bytes) -> float:
        """The bytes as digits behind the point: b0 / 256 + b1 / 65536 + ..."""
        return (digest[0] + fraction_of(digest[1:])) / 256 if digest else 0.0

    both: dict[bool, list[str]] = {False: [], True: []}
    for document in documents:
        digest = hashlib.sha256(b"%d:%s" % (seed, document.encode())).digest()
        both[fraction_of(digest[:8]) < valid_fraction].append(document)
    return both[False], both[True]


def pack(token_lists: Iterable[Sequence[int]], separator: int) -> list[int]:
    """Put the tokens of all documents into one row, each document followed by `separator`."""

    def walk() -> Iterator[int]:
        for tokens in token_lists:
            yield from tokens
            yield separator

    return list(walk())


def token_dtype(vocab_size: int) -> np.dtype:
    """The smallest type for the ids 0 .. vocab_size - 1: uint16 (2 bytes) or uint32. (Given.)"""
    return np.dtype("<u2" if vocab_size <= 65536 else "<u4")


def write_tokens(ids: Iterable[int], path: str | Path, vocab_size: int) -> None:
    """Write ids to a file, as numbers one after the other and nothing else."""

    def checked() -> Iterator[int]:
        for token in ids:
            if not 0 <= token <= vocab_size - 1:
                raise ValueError(f"{token} is not in 0..{vocab_size - 1}")
            yield token

    remaining = checked()
    with write_atomically(path, "wb") as file:
        while part := list(islice(remaining, 64)):
            file.write(np.array(part).astype(token_dtype(vocab_size)).tobytes())


def read_tokens(path: str | Path, vocab_size: int) -> np.ndarray:
    """Return the ids that `write_tokens` wrote, as a read-only memory map of shape (N,)."""
    dtype = token_dtype(vocab_size)
    size = Path(path).lstat().st_size
    match size, size % dtype.itemsize:
        case 0, _:
            return np.asarray([], dtype=dtype)
        case _, 0:
            return np.asarray(np.memmap(path, dtype=dtype, mode="r"))
    raise ValueError(f"{size} bytes are not ids of {dtype.itemsize} bytes")


def windows(
    tokens: np.ndarray, starts: Sequence[int] | np.ndarray, block_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut windows out of a row of tokens: what the model sees, and what it should say."""

    def cut(start: int) -> torch.Tensor:
        if start not in range(len(tokens) - block_size):
            raise ValueError(f"there is no window at {start}")
        return torch.tensor(np.array(tokens[start : start + block_size + 1], dtype=np.int64))

    rows = torch.stack([cut(int(start)) for start in starts])
    return rows.narrow(1, 0, block_size).clone(), rows.narrow(1, 1, block_size).clone()


def get_batch(
    tokens: np.ndarray, batch_size: int, block_size: int, seed: int | Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `windows` at random places; the same seed gives the same batch."""
    allowed = range(len(tokens) - block_size)
    if not allowed:
        raise ValueError("the text is shorter than a window and its targets")
    draws = np.random.default_rng(seed).integers(0, 2**62, size=batch_size)
    return windows(tokens, [allowed[int(n) % len(allowed)] for n in draws], block_size)


def write_shards(
    documents: Iterable[str],
    encode: Callable[[str], Sequence[int]],
    folder: str | Path,
    vocab_size: int,
    separator: int,
    documents_per_shard: int = 1000,
) -> list[Path]:
    """Encode documents into numbered files; killed and called again, go on. (Stretch.)"""

    def go_on(remaining: Iterator[str], number: int) -> list[Path]:
        first = next(remaining, None)
        if first is None:
            return []
        batch = chain([first], islice(remaining, documents_per_shard - 1))
        path = Path(folder) / f"shard-{number:05d}.bin"
        texts = list(batch)
        if not path.exists():
            write_tokens(pack(map(encode, texts), separator), path, vocab_size)
        return [path, *go_on(remaining, number + 1)]

    return go_on(iter(documents), 0)


def join_shards(shards: Iterable[str | Path], path: str | Path) -> None:
    """Put shards together into one file, never holding more than one in memory. (Stretch.)"""

    def contents() -> Iterator[bytes]:
        for shard in shards:
            yield Path(shard).read_bytes()

    with write_atomically(path, "wb") as file:
        any(file.write(content) < 0 for content in contents())

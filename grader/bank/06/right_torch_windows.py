"""As much as possible in torch: windows by `unfold`, starts from a torch generator."""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from .engine.files import write_atomically


def split_documents(
    documents: Iterable[str], valid_fraction: float = 0.1, seed: int = 0
) -> tuple[list[str], list[str]]:
    """Deal documents out to training and validation, each whole document to one side."""
    if not (valid_fraction >= 0 and valid_fraction <= 1):
        raise ValueError(f"{valid_fraction} is no fraction")
    sides: tuple[list[str], list[str]] = ([], [])
    for document in documents:
        digest = hashlib.sha256(f"{seed}:{document}".encode()).digest()
        whole = int.from_bytes(digest, "big") >> 192
        sides[whole / 2**64 < valid_fraction].append(document)
    return sides


def pack(token_lists: Iterable[Sequence[int]], separator: int) -> list[int]:
    """Put the tokens of all documents into one row, each document followed by `separator`."""
    rows = [torch.tensor([*tokens, separator], dtype=torch.int64) for tokens in token_lists]
    return torch.cat(rows).tolist() if rows else []


def token_dtype(vocab_size: int) -> np.dtype:
    """The smallest type for the ids 0 .. vocab_size - 1: uint16 (2 bytes) or uint32. (Given.)"""
    return np.dtype("<u2" if vocab_size <= 65536 else "<u4")


def write_tokens(ids: Iterable[int], path: str | Path, vocab_size: int) -> None:
    """Write ids to a file, as numbers one after the other and nothing else."""
    tensor = torch.tensor([int(token) for token in ids], dtype=torch.int64)
    if bool(((tensor < 0) | (tensor >= vocab_size)).any()):
        raise ValueError("an id is not in the vocabulary")
    with write_atomically(path, "wb") as file:
        file.write(bytes(tensor.numpy().astype(token_dtype(vocab_size))))


def read_tokens(path: str | Path, vocab_size: int) -> np.ndarray:
    """Return the ids that `write_tokens` wrote, as a read-only memory map of shape (N,)."""
    dtype, size = token_dtype(vocab_size), Path(path).stat().st_size
    if size == 0:
        empty = np.empty(0, dtype=dtype)
        empty.setflags(write=False)
        return empty
    if size % dtype.itemsize != 0:
        raise ValueError("the file is damaged")
    return np.memmap(path, dtype=dtype, mode="r")


def windows(
    tokens: np.ndarray, starts: Sequence[int] | np.ndarray, block_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut windows out of a row of tokens: what the model sees, and what it should say."""
    first = torch.tensor([int(start) for start in starts], dtype=torch.int64)
    if first.min() < 0 or first.max() + block_size >= len(tokens):
        raise ValueError("a window sticks out of the text")
    places = first.unsqueeze(1) + torch.arange(block_size)
    inputs = torch.tensor(tokens[places.numpy()].astype(np.int64))
    targets = torch.tensor(tokens[places.numpy() + 1].astype(np.int64))
    return inputs, targets


def get_batch(
    tokens: np.ndarray, batch_size: int, block_size: int, seed: int | Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `windows` at random places; the same seed gives the same batch."""
    possible = max(0, len(tokens) - block_size)
    if possible == 0:
        raise ValueError("the text is too short for one window")
    mixed = hashlib.blake2b(repr(seed).encode(), digest_size=7).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(mixed, "little"))
    starts = torch.randint(possible, (batch_size,), generator=generator)
    return windows(tokens, starts.numpy(), block_size)


def write_shards(
    documents: Iterable[str],
    encode: Callable[[str], Sequence[int]],
    folder: str | Path,
    vocab_size: int,
    separator: int,
    documents_per_shard: int = 1000,
) -> list[Path]:
    """Encode documents into numbered files; killed and called again, go on. (Stretch.)"""
    everything = list(documents)
    paths = []
    for first in range(0, len(everything), documents_per_shard):
        path = Path(folder) / f"shard-{first // documents_per_shard:05d}.bin"
        paths.append(path)
        if path.exists():
            continue
        texts = everything[first : first + documents_per_shard]
        write_tokens(pack([encode(text) for text in texts], separator), path, vocab_size)
    return paths


def join_shards(shards: Iterable[str | Path], path: str | Path) -> None:
    """Put shards together into one file, never holding more than one in memory. (Stretch.)"""
    with write_atomically(path, "wb") as whole:
        for shard in shards:
            with Path(shard).open("rb") as part:
                shutil.copyfileobj(part, whole)

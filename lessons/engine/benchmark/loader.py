"""Batches out of a memory map: ours against the loop of slices that tutorials stack."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .contender import Contender
from .measure import interleave, ratios, spread
from .settings import BenchmarkOptions
from .table import Row

TOKENS = 8_000_000
CALLS = 200  # batches in one timing


def ours(settings: dict[str, Any]) -> Callable[[], None]:
    """What the trainer reads: windows side by side in a random order, as tensors."""
    from ..batches import BatchSource

    tokens = _open(settings)
    batch, length = settings["batch"]
    source = BatchSource(tokens, length, batch, 1, 0, torch.device("cpu"), slice(None))
    return _repeat(source.of_step, settings["calls"])


def stacked_slices(settings: dict[str, Any]) -> Callable[[], None]:
    """A slice for each window, each turned into a tensor, all stacked: nanoGPT's `get_batch`."""
    tokens = _open(settings)
    batch, length = settings["batch"]

    def get_batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        starts = torch.randint(len(tokens) - length, (batch,))
        return (
            torch.stack(
                [torch.from_numpy(tokens[i : i + length].astype(np.int64)) for i in starts]
            ),
            torch.stack(
                [torch.from_numpy(tokens[i + 1 : i + 1 + length].astype(np.int64)) for i in starts]
            ),
        )

    return _repeat(get_batch, settings["calls"])


def _open(settings: dict[str, Any]) -> np.ndarray:
    torch.set_num_threads(settings["threads"])
    return np.memmap(settings["file"], dtype="<u2", mode="r")


def _repeat(get_batch: Callable[[int], Any], calls: int) -> Callable[[], None]:
    def work() -> None:
        for step in range(calls):
            get_batch(step)

    return work


def rows(options: BenchmarkOptions) -> list[Row]:
    """Seconds of a batch (B, T) = (32, 1024)."""
    batch, tokens, calls = ((4, 16), 4000, 3) if options.quick else ((32, 1024), TOKENS, CALLS)
    file: Path = options.out / "loader.bin"
    np.random.default_rng(0).integers(0, 50257, tokens).astype("<u2").tofile(file)
    settings = {"file": str(file), "batch": batch, "calls": calls, "threads": options.threads}
    with (
        Contender("loader:ours", **settings) as mine,
        Contender("loader:stacked_slices", **settings) as theirs,
    ):
        seconds = interleave({"ours": mine, "theirs": theirs}, options.rounds(15))
    file.unlink()
    micro = {name: [1e6 * s / calls for s in taken] for name, taken in seconds.items()}
    written = 2 * 8 * batch[0] * batch[1]
    return [
        Row(
            name="loader",
            work=f"batch loader, (B, T) = {batch}, from a memory map of uint16",
            against="a loop of slices, stacked",
            unit="µs",
            ours=spread(micro["ours"]),
            theirs=spread(micro["theirs"]),
            figure=ratios(micro["theirs"], micro["ours"]),
            target=10.0,
            limit=f"Python calls: one for all windows against {4 * batch[0]}; the numbers "
            f"themselves, {written / 1e3:,.0f} kB as int64, are written in a few microseconds",
        )
    ]

"""Which windows of the training text each step sees, and how they reach the device.

Lesson 06 draws windows at random. With a text that is read only a few times that leaves gaps: after
one reading's worth of random windows, a third of the text has not been seen at all. Here each
reading (epoch) cuts the text at another random offset into windows side by side and goes through
all of them in a random order. What a step sees depends on (seed, step) alone, so that a resumed run
and any number of processes see the same.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch

from ..data import windows
from .errors import CourseError

Batch = tuple[torch.Tensor, torch.Tensor]


class WindowOrder:
    """The start of the n-th window of a run, for every n."""

    def __init__(self, n_tokens: int, block_size: int, seed: int) -> None:
        if n_tokens < block_size + 1:
            raise CourseError(
                f"the text has {n_tokens} tokens, a window takes {block_size + 1}; "
                "give more text (--data) or a smaller --block-size"
            )
        self.n_tokens = n_tokens
        self.block_size = block_size
        self.seed = seed
        # One window fewer than would fit leaves room for a random offset of a whole window.
        self.per_epoch = max(1, (n_tokens - block_size) // block_size)
        self._epoch = lru_cache(maxsize=2)(self._make_epoch)

    def _make_epoch(self, epoch: int) -> np.ndarray:
        generator = np.random.default_rng((self.seed, epoch))
        spare = self.n_tokens - 1 - self.per_epoch * self.block_size
        offset = generator.integers(0, min(spare, self.block_size - 1) + 1)
        return offset + generator.permutation(self.per_epoch) * self.block_size

    def starts(self, first: int, count: int) -> np.ndarray:
        """The starts of windows number `first` to `first + count - 1` of the run."""
        epochs, places = np.divmod(np.arange(first, first + count), self.per_epoch)
        starts = np.empty(count, dtype=np.int64)
        for epoch in range(int(epochs[0]), int(epochs[-1]) + 1):
            inside = epochs == epoch
            starts[inside] = self._epoch(epoch)[places[inside]]
        return starts


class BatchSource:
    """The micro-batches of every step, made one step ahead and copied while the GPU computes."""

    def __init__(
        self,
        tokens: np.ndarray,
        block_size: int,
        batch_size: int,
        accumulation: int,
        seed: int,
        device: torch.device,
        rows: slice,
    ) -> None:
        self.tokens = tokens
        self.block_size = block_size
        self.batch_size = batch_size
        self.accumulation = accumulation
        self.device = device
        self.rows = rows  # our share of each micro-batch, where several processes train
        self.order = WindowOrder(len(tokens), block_size, seed)
        # Every window with its targets, overlapping, as rows: no copies, and one call takes a batch.
        self.rows_from = np.lib.stride_tricks.sliding_window_view(
            np.asarray(tokens), block_size + 1
        )  # (N - T, T + 1)

    def of_step(self, step: int) -> list[Batch]:
        """The micro-batches of one step, on the CPU (pinned where a GPU will fetch them)."""
        first = step * self.accumulation * self.batch_size
        batches = []
        for micro in range(self.accumulation):
            starts = self.order.starts(first + micro * self.batch_size, self.batch_size)
            taken = self.rows_from[starts[self.rows]]  # (B, T + 1)
            # widened by numpy: torch would use the cores on which the step before still runs
            wide = torch.from_numpy(taken.astype(np.int64))
            inputs, targets = wide[:, :-1], wide[:, 1:]
            if self.device.type == "cuda":
                inputs, targets = inputs.pin_memory(), targets.pin_memory()
            batches.append((inputs, targets))
        return batches

    def steps(self, first: int, end: int) -> Iterator[tuple[int, list[Batch]]]:
        """Yield (step, micro-batches on the device), reading the next step's in the background."""
        with ThreadPoolExecutor(max_workers=1) as reader:
            coming = reader.submit(self.of_step, first) if first < end else None
            for step in range(first, end):
                assert coming is not None
                batches = coming.result()
                coming = reader.submit(self.of_step, step + 1) if step + 1 < end else None
                yield (
                    step,
                    [
                        (x.to(self.device, non_blocking=True), y.to(self.device, non_blocking=True))
                        for x, y in batches
                    ],
                )


def validation_batches(
    tokens: np.ndarray, block_size: int, batch_size: int, most: int, device: torch.device
) -> list[Batch]:
    """Batches of at most `most` windows spread evenly over the validation text, always the same.

    Raises CourseError where the text is shorter than one window.
    """
    if len(tokens) < block_size + 1:
        raise CourseError(
            f"the validation text has {len(tokens)} tokens, a window takes {block_size + 1}; "
            "give more text (--valid) or a smaller --block-size"
        )
    side_by_side = (len(tokens) - 1) // block_size
    n_windows = min(side_by_side, most)
    starts = np.linspace(0, side_by_side - 1, n_windows).astype(np.int64) * block_size
    batches = []
    for first in range(0, n_windows, batch_size):
        inputs, targets = windows(tokens, starts[first : first + batch_size], block_size)
        batches.append((inputs.to(device), targets.to(device)))
    return batches

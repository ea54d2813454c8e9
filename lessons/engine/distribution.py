"""One process or many: what `torchrun` starts, seen from inside."""

import os
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from .errors import CourseError


@dataclass(frozen=True)
class World:
    """Which of how many processes this is. One process alone is rank 0 of 1."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # on this machine: which GPU is ours

    @property
    def is_main(self) -> bool:
        """Rank 0 prepares, writes files and talks to the person; the others only compute."""
        return self.rank == 0


def join_world(backend: str | None = None) -> World:
    """Meet the other processes where torchrun has started several; else be alone."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    if not dist.is_initialized():
        backend = backend or ("nccl" if torch.cuda.is_available() else "gloo")
        # Rank 0 may prepare a large text while the others wait.
        dist.init_process_group(backend, timeout=timedelta(hours=12))
    return World(dist.get_rank(), size, int(os.environ.get("LOCAL_RANK", "0")))


def leave_world(world: World) -> None:
    """Say goodbye, so that torchrun ends without a warning."""
    if world.size > 1 and dist.is_initialized():
        dist.destroy_process_group()


def wait_for_all(world: World) -> None:
    """Return when every process has come here."""
    if world.size > 1:
        dist.barrier()


def mean_over_world(value: float, world: World) -> float:
    """The mean of every process's `value`."""
    return sum(gather(value, world)) / world.size


def gather(value: float, world: World) -> list[float]:
    """Every process's `value`, in the order of ranks, in every process."""
    if world.size == 1:
        return [value]
    values: list[float | None] = [None] * world.size
    dist.all_gather_object(values, value)
    return [float(v) for v in values if v is not None]


def main_decides(value: float, world: World) -> float:
    """Rank 0's `value`, in every process."""
    return gather(value, world)[0]


def share_of_batch(batch_size: int, world: World) -> slice:
    """Which rows of every micro-batch this process computes."""
    if batch_size % world.size:
        raise CourseError(
            f"--batch-size {batch_size} cannot be shared by {world.size} processes; "
            f"choose a multiple of {world.size}"
        )
    rows = batch_size // world.size
    return slice(world.rank * rows, (world.rank + 1) * rows)

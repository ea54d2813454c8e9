"""Two habits of the C libraries below torch that cost a CPU run dearly, and how to lose them."""

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h


def wait_politely() -> None:
    """Let idle OpenMP threads sleep instead of spinning. To be called before torch is imported.

    Threads that wait for each other by spinning need all cores to themselves: with one other busy
    program on two cores, a training step took eight times as long.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def keep_freed_memory() -> None:
    """Let glibc keep large blocks that were freed, for the next step, which needs the same again.

    By default it hands them back to the system and gets fresh pages each time, every one of which
    costs a fault: a quarter of a step's time with a small vocabulary, half with GPT-2's.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has none
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)

"""Two habits of the C libraries below torch that cost a CPU run dearly, and how to lose them."""

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h


def wait_politely() -> None:
    """Let waiting OpenMP threads sleep sooner. To be called before torch is imported.

    Threads that wait for each other by spinning (300,000 rounds by default) need all cores to
    themselves. Beside one other busy program on two cores, a training step took 1.7 times as long
    with the default as with this, and up to eight times as long; alone it is some per cent faster.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "30000")


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

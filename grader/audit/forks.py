"""Runs jobs in forks of this process: everything is imported already, and nothing leaks.

Where the platform cannot fork, the jobs run here, one after the other.
"""

import gc
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch

from ..judge.border import pack, unpack
from ..judge.wire import WireError, receive, send

JOB_SECONDS = 120.0  # longer than any lesson's checks take, time limits and all


@dataclass
class _Running:
    number: int
    process: int
    pipe: BinaryIO
    until: float


def run_jobs(
    jobs: Sequence[Callable[[], Any]], workers: int, seconds: Sequence[float] = ()
) -> Iterator[tuple[int, Any]]:
    """Yield (number, result) as the jobs finish; the result of a job that died is None.

    seconds: how long each may take, if not all JOB_SECONDS.
    """
    torch.set_num_threads(1)  # a fork after two-thread work hangs
    if not hasattr(os, "fork"):
        yield from ((number, job()) for number, job in enumerate(jobs))
        return
    gc.collect()
    gc.freeze()  # else the collector writes to every object in every fork, and all of it is copied
    waiting = list(enumerate(jobs))[::-1]
    selector = selectors.DefaultSelector()
    running = 0
    while waiting or running:
        while waiting and running < workers:
            number, job = waiting.pop()
            one = _start(number, job)
            if seconds:
                one.until += seconds[number] - JOB_SECONDS
            selector.register(one.pipe, selectors.EVENT_READ, one)
            running += 1
        late = min(key.data.until for key in selector.get_map().values()) - time.monotonic()
        ready = [key.data for key, _ in selector.select(max(0.0, late))]
        overdue = [
            key.data for key in selector.get_map().values() if key.data.until < time.monotonic()
        ]
        for one in ready or overdue:
            selector.unregister(one.pipe)
            running -= 1
            yield one.number, _finish(one, kill=not ready)


def _start(number: int, job: Callable[[], Any]) -> _Running:
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(read)
        os.setpgid(0, 0)
        status = 1
        try:
            with os.fdopen(write, "wb") as pipe:
                send(pipe, pack(job()))
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(write)
    pipe = os.fdopen(read, "rb")
    return _Running(number, process, pipe, time.monotonic() + JOB_SECONDS)


def _finish(one: _Running, kill: bool) -> Any:
    result = None
    if kill:
        os.kill(one.process, signal.SIGKILL)
    else:
        try:
            result = unpack(receive(one.pipe))
        except WireError:
            result = None
    one.pipe.close()
    os.waitpid(one.process, 0)
    return result

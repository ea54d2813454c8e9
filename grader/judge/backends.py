"""The two ways to reach the learner's module: in this process, or in a child.

Both take a request and give its answer (see `bench.py`), and both end it when it takes too long.
"""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from .bench import Bench, TimeUpError
from .border import Packet, pack
from .paths import ROOT, keep_path
from .serve import OVER
from .settings import end_processes, keep_random_state
from .wire import MAX_TENSORS_BYTES, MAX_TREE_BYTES, WireError, receive, send

START_SECONDS = 60  # for a child to import torch, on a machine that has other things to do
CLOSE_SECONDS = 5  # for a session to end when it is told to
MAX_WAITING = 4  # answers that nobody has asked for: more is a flood

ENDED = "the process with your code ended by itself (an `exit()`? too much memory?)"


class DiedError(Exception):
    """The process with the learner's module ended, or answered with nonsense."""


class Backend(Protocol):
    """A way to reach a module. `session` loads it afresh; `ask` does one thing with it."""

    def session(self, module: str, folders: list[Path], seed: int) -> Any:
        """Open a session, to be used with `with`; the module is loaded by the first request."""
        ...

    def ask(self, request: Packet, seconds: float) -> Packet:
        """Return the answer. Raises TimeUpError and DiedError."""
        ...


class InThisProcess:
    """The learner's module beside the checks: at once, on every platform."""

    bench: Bench

    @contextlib.contextmanager
    def session(self, module: str, folders: list[Path], seed: int) -> Iterator[None]:
        """Load the module afresh, and leave nothing of it behind."""
        with keep_path(), keep_random_state(), end_processes():
            self.bench = Bench(module, folders, seed)
            yield

    def ask(self, request: Packet, seconds: float) -> Packet:
        """Return the answer of a bench in this process."""
        with time_limit(seconds):
            return self.bench.answer(request)


@contextlib.contextmanager
def time_limit(seconds: float, error: type[BaseException] = TimeUpError) -> Iterator[None]:
    """Raise the error in what runs inside when the seconds are over, where the platform has a timer for that.

    The timer goes on ticking: a loop with `except:` swallows the first error, not all of them. A
    limit that stands around this one goes on afterwards.
    """
    if (
        not hasattr(signal, "setitimer")
        or threading.current_thread() is not threading.main_thread()
    ):
        yield
        return

    up = False

    def time_is_up(signum: int, frame: object) -> None:
        nonlocal up
        up = True
        raise error

    previous = signal.signal(signal.SIGALRM, time_is_up)
    began = time.monotonic()
    outer, _ = signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001), 0.2)
    try:
        yield
        if up:  # it was swallowed on its way
            raise error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        if outer:
            left = outer - (time.monotonic() - began)
            signal.setitimer(signal.ITIMER_REAL, max(left, 0.001), 0.2)


class InAChild:
    """The learner's module in another process, over the protocol of `wire.py`.

    The child (`serve.py`) imports torch once and, where the platform can, forks for every session.
    It is started when it is first needed, and again after it had to be killed.
    """

    limits = MAX_TREE_BYTES, MAX_TENSORS_BYTES  # of one answer

    def __init__(self) -> None:
        self.child: Any = None
        self.open = False
        self.requests: queue.Queue[Packet | None] = queue.Queue()
        self.answers: queue.Queue[Packet | WireError] = queue.Queue()

    @contextlib.contextmanager
    def session(self, module: str, folders: list[Path], seed: int) -> Iterator[None]:
        """Let the child load the module afresh."""
        self.start()
        opening = {"module": module, "folders": list(map(str, folders)), "seed": seed}
        self.requests.put(pack(opening))
        self.open = True
        try:
            yield
        finally:
            self.close()

    def ask(self, request: Packet, seconds: float) -> Packet:
        """Return the child's answer; a child that takes too long is killed."""
        if not self.open:
            raise DiedError("the process with your code had to be ended")
        self.requests.put(request)
        answer = self._receive(seconds)
        if answer.tree == OVER:
            self.open = False
            raise DiedError(ENDED)
        return answer

    def close(self) -> None:
        """End the session; a child that does not come to its end is killed."""
        if self.open:
            self.open = False
            self.requests.put(pack(None))
            with contextlib.suppress(DiedError, TimeUpError):
                if self._receive(CLOSE_SECONDS).tree != OVER:
                    self.stop()

    def start(self) -> None:
        """Start the child, unless it is there."""
        if self.child and self.child.poll() is None:
            return
        self.child, (to_child, from_child) = self.launch()
        self.requests, self.answers = queue.Queue(), queue.Queue()
        out, back = (to_child, self.requests), (from_child, self.answers, self.limits)
        threading.Thread(target=_pump_out, args=out, daemon=True, name="requests").start()
        threading.Thread(target=_pump_in, args=back, daemon=True, name="answers").start()
        self._receive(START_SECONDS)  # it says that it is there

    def launch(self) -> tuple[Any, tuple[BinaryIO, BinaryIO]]:
        """Return a new child, and the streams to it and from it."""
        child = subprocess.Popen(
            [sys.executable, "-m", "grader.judge.serve"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"OMP_NUM_THREADS": "1"},  # a fork after two-thread work hangs
            start_new_session=True,
        )
        assert child.stdin
        assert child.stdout
        return child, (child.stdin, child.stdout)

    def stop(self) -> None:
        """End the child and everything that it started."""
        child, self.child, self.open = self.child, None, False
        if child is None:
            return
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(child.pid, signal.SIGKILL)
        child.kill()
        child.wait()
        self.requests.put(None)

    def _receive(self, seconds: float) -> Packet:
        try:
            answer = self.answers.get(timeout=max(seconds, 0.0))
        except queue.Empty:
            self.stop()
            raise TimeUpError from None
        if isinstance(answer, WireError):
            self.stop()
            raise DiedError(ENDED)
        return answer


# Both pumps are threads, because Windows cannot wait for a pipe, and because a child that reads
# nothing, or never stops talking, must not hold up the judge.


def _pump_out(stream: BinaryIO, requests: queue.Queue[Packet | None]) -> None:
    """Write packets until there are no more, or nobody reads them."""
    with contextlib.suppress(WireError, OSError), stream:
        while (packet := requests.get()) is not None:
            send(stream, packet)


def _pump_in(
    stream: BinaryIO, answers: queue.Queue[Packet | WireError], limits: tuple[int, int]
) -> None:
    """Read packets until there are no more, or far more than were asked for."""
    with stream:
        while answers.qsize() <= MAX_WAITING:
            try:
                answers.put(receive(stream, *limits))
            except WireError as error:
                answers.put(error)
                return
    answers.put(WireError("the other side talks without being asked"))

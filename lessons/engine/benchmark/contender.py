"""One side of a comparison, in a process of its own, which works when it is told to.

    python -m solutions.engine.benchmark.contender training_step:ours '{"precision": "bf16"}'

Habits of the memory allocator and of waiting threads hold for a whole process. Our commands set both
(`process.py`), a plain script does not: so each side lives in its own process, idle while another one
is timed. The function that is named gets the settings and returns the work, a function without
arguments. What is measured includes the work alone, not the start.
"""

import importlib
import json
import os
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from ..errors import CourseError
from ..process import keep_freed_memory, wait_politely

TOP = Path(__file__).resolve().parents[3]


class Contender(AbstractContextManager):
    """A side of a comparison. Called, it works once and returns the seconds.

    work: "file:function" in this folder. settings: plain values for it, `threads` among them.
    """

    def __init__(self, work: str, **settings: Any) -> None:
        self.work, self.settings = work, settings
        self.last: dict[str, Any] = {}
        threads = str(settings.get("threads", os.cpu_count()))
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, [str(TOP), os.environ.get("PYTHONPATH")])),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": threads,
            "RAYON_NUM_THREADS": threads,
            "TRANSFORMERS_VERBOSITY": "error",
        }
        assert __package__
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", f"{__package__}.contender", work, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env=environment,
        )

    def __call__(self) -> float:
        """Let it work once; `last` then holds what else it says: `before_mb`, `peak_mb`, `value`."""
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise CourseError(
                f"the side {self.work} of the benchmark ended early (exit code "
                f"{self._process.wait()}), perhaps for want of memory; what it said stands above"
            )
        self.last = json.loads(answer)
        return self.last["seconds"]

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def main() -> None:
    """Make the work, then do it once for each line that comes in."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a library's chatter is no answer
    settings = json.loads(sys.argv[2])
    if settings.get("our_process"):
        wait_politely()
        keep_freed_memory()
    file, function = sys.argv[1].split(":")
    module = importlib.import_module(f".{file}", __package__)
    work = getattr(module, function)(settings)

    from .measure import forget_peak, peak

    for _ in sys.stdin:
        before = forget_peak()
        began = time.perf_counter()
        value = work()
        seconds = time.perf_counter() - began
        answer = {"seconds": seconds, "before_mb": before, "peak_mb": peak(), "value": value}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()

"""The jobs of an audit: judge one module, or write down what it gives. They run in forks."""

import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ..bank import Variant
from ..checks import Check
from ..judge.answers import PUBLIC_SEED
from ..judge.backends import Backend, InAChild, InThisProcess
from ..judge.naming import sketches
from ..judge.paths import judged_path
from ..judge.runner import PASSED, SKIPPED, Target, record, run_check
from ..judge.serve import serve
from ..syllabus import Lesson

Right = dict[tuple[str, int], list[Any]]  # (check, seed) -> what the reference gives


@contextmanager
def placed(variant: Variant, lesson: Lesson, backend: Backend) -> Iterator[Target]:
    """Put a variant's module into a folder of its own, to be judged as the learner's."""
    warnings.simplefilter("ignore", SyntaxWarning)  # mutants say odd things: `x is 0`
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = False  # the module is loaded afresh for every check, in this fork
    folder = Path(tempfile.mkdtemp(prefix="course-audit-"))
    try:
        (folder / f"{lesson.module}.py").write_text(variant.source, encoding="utf-8")
        yield Target(lesson, judged_path(lesson.number, home=folder), backend)
    finally:
        sys.dont_write_bytecode = before
        shutil.rmtree(folder, ignore_errors=True)


def judge(
    variant: Variant,
    lesson: Lesson,
    checks: list[Check],
    right: Right,
    seed: int,
    whole: bool = True,
    apart: bool = False,
) -> dict[str, Any]:
    """Return check -> verdict, and the margins. whole: go on after the first rejection.

    A check that is skipped on this machine is left out.
    """
    verdicts, margins, says, times = {}, {}, {}, {}
    backend = InAFork() if apart else InThisProcess()
    with placed(variant, lesson, backend) as target:
        for check in checks:
            result = run_check(check, target, right[check.name, seed], seed)
            if result.verdict == SKIPPED:
                continue  # it says nothing about the module
            verdicts[check.name] = result.verdict
            margins[check.name] = result.margin
            times[check.name] = result.seconds
            if result.verdict != PASSED:
                says[check.name] = f"{result.symptom} {result.details}"
                if not whole:
                    break
        if isinstance(backend, InAFork):
            backend.stop()
    return {"verdicts": verdicts, "margins": margins, "says": says, "seconds": times}


def fingerprint(variant: Variant, lesson: Lesson, checks: list[Check]) -> dict[str, Any]:
    """Return check -> sketches of everything that it looks at, for the public seed."""
    with placed(variant, lesson, InThisProcess()) as target:
        return {check.name: sketches(record(check, target, PUBLIC_SEED)) for check in checks}


class InAFork(InAChild):
    """The child of `--apart`, as a fork of this process: torch is there already."""

    def launch(self) -> tuple[Any, tuple[BinaryIO, BinaryIO]]:
        """Fork, and serve in the child."""
        requests_read, requests_write = os.pipe()
        answers_read, answers_write = os.pipe()
        process = os.fork()
        if process == 0:
            os.setsid()
            os.close(requests_write)
            os.close(answers_read)
            try:
                serve(os.fdopen(requests_read, "rb", buffering=0), os.fdopen(answers_write, "wb"))
            finally:
                os._exit(0)
        os.close(requests_read)
        os.close(answers_write)
        streams = os.fdopen(requests_write, "wb"), os.fdopen(answers_read, "rb")
        return _Forked(process), streams


class _Forked:
    """As much of `subprocess.Popen` as `InAChild` needs, for a fork."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        """Return None as long as it runs."""
        return None if os.waitpid(self.pid, os.WNOHANG)[0] == 0 else 0

    def kill(self) -> None:
        """Do nothing: its group has been killed."""

    def wait(self) -> None:
        """Wait for its end."""
        os.waitpid(self.pid, 0)

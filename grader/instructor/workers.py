"""Processes that judge side by side. They are forked off one that has imported torch and done nothing
with it: after torch's threads have run, a fork hangs, so it cannot be the command's own.
"""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

KNOWS = "grader.instructor.grading"  # what the processes need, torch with it


def begin_importing() -> None:
    """Let the processes' origin import torch while this one does so for itself."""
    if _method() == "forkserver":
        from multiprocessing import forkserver

        multiprocessing.set_forkserver_preload([KNOWS])
        forkserver.ensure_running()


def processes(count: int, begin: Callable[..., None], *told: object) -> ProcessPoolExecutor:
    """Return so many processes. begin: what each runs first; told: its arguments."""
    begin_importing()
    return ProcessPoolExecutor(count, multiprocessing.get_context(_method()), begin, told)


def _method() -> str:
    """Return how processes are made here; Windows has no fork."""
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"

"""Keeps one call of the learner's code from changing anything for what comes after it."""

import builtins
import contextlib
import math
import multiprocessing.process
import operator
import os
import random
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

# Where a function may be exchanged for another one, for everybody.
NAMESPACES: dict[str, Any] = {
    **{"torch": torch, "torch.Tensor": torch.Tensor, "torch.nn": torch.nn},
    **{"torch.nn.Module": torch.nn.Module, "torch.nn.functional": F},
    **{"math": math, "random": random, "builtins": builtins},
}


@contextlib.contextmanager
def keep_settings(changed: list[str]) -> Iterator[None]:
    """Put torch's settings and functions back at the end, and note in words which were changed."""
    before, state = _settings(), torch.get_rng_state()
    functions = {name: dict(vars(space)) for name, space in NAMESPACES.items()}
    try:
        yield
    finally:
        changed += _put_back(functions)
        after = _settings()
        changed += [name for name in before if before[name] != after[name]]
        torch.set_default_dtype(before["torch's default dtype"])
        torch.set_grad_enabled(before["whether torch records gradients"])
        if "torch's default device" in changed:
            device = before["torch's default device"]
            torch.set_default_device(None if device.type == "cpu" else device)
        if "torch's number of threads" in changed:
            torch.set_num_threads(before["torch's number of threads"])
        if "whether torch runs deterministic algorithms only" in changed:
            torch.use_deterministic_algorithms(
                before["whether torch runs deterministic algorithms only"]
            )
        if "the seed of torch's random numbers" in changed:
            torch.set_rng_state(state)


@contextlib.contextmanager
def keep_random_state() -> Iterator[None]:
    """Put the state of all random numbers back at the end."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])


@contextlib.contextmanager
def keep_surroundings() -> Iterator[None]:
    """Put back what all code of this process relies on; no thread that is started here outlives it.

    That is the folder, the environment, the search path and the depth of recursion. `os._exit` is an
    ordinary exit in here: it would take the whole run with it, without a word.
    """
    folder, environment, path = os.getcwd(), dict(os.environ), list(sys.path)
    depth, thread = sys.getrecursionlimit(), threading.current_thread()
    daemon = thread.daemon
    here, leave = os.getpid(), os._exit

    def leave_quietly(status: int) -> None:
        if os.getpid() == here and threading.current_thread() is thread:
            raise SystemExit(status)
        leave(status)

    os._exit = leave_quietly  # type: ignore[assignment]
    thread._daemonic = True  # type: ignore[attr-defined]  # a new thread takes over its parent's
    try:
        yield
    finally:
        os._exit = leave
        thread._daemonic = daemon  # type: ignore[attr-defined]
        sys.setrecursionlimit(depth)
        if sys.path != path:
            sys.path[:] = path
        if os.environ != environment:
            os.environ.clear()
            os.environ.update(environment)
        with contextlib.suppress(OSError):
            os.chdir(folder)


@contextlib.contextmanager
def end_processes() -> Iterator[None]:
    """End every process of Python's `multiprocessing` that is started in here and still runs."""
    before = set(multiprocessing.process._children)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for process in set(multiprocessing.process._children) - before:  # type: ignore[attr-defined]
            process.kill()
            process.join(1)


def _settings() -> dict[str, Any]:
    return {
        "torch's default dtype": torch.get_default_dtype(),
        "torch's default device": torch.get_default_device(),
        "whether torch records gradients": torch.is_grad_enabled(),
        "torch's number of threads": torch.get_num_threads(),
        "whether torch runs deterministic algorithms only": (
            torch.are_deterministic_algorithms_enabled()
        ),
        "the seed of torch's random numbers": torch.initial_seed(),
    }


def _put_back(functions: dict[str, dict[str, Any]]) -> list[str]:
    """Put every function back that was exchanged or taken away, and return their names.

    New names stay, as far as they hide nothing: torch loads some of its parts when they are needed.
    """
    changed = []
    for space_name, before in functions.items():
        space = NAMESPACES[space_name]
        now = dict(vars(space))
        if len(now) == len(before) and all(map(operator.is_, now.values(), before.values())):
            continue
        for name, value in before.items():
            if now.get(name) is not value and callable(value) and not _by_torch(now.get(name)):
                setattr(space, name, value)
                changed.append(f"{space_name}.{name} itself")
        for name in now.keys() - before.keys():
            if isinstance(space, type) and any(name in vars(base) for base in space.__mro__[1:]):
                delattr(space, name)
                changed.append(f"{space_name}.{name} itself")
    return changed


def _by_torch(value: Any) -> bool:
    """Say whether a function is torch's: it exchanges some of its own when a part is loaded."""
    return str(getattr(value, "__module__", "")).partition(".")[0] == "torch"

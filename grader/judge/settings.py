"""Keeps one call of the learner's code from changing torch for everything that comes after it."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch


@contextlib.contextmanager
def keep_settings(changed: list[str]) -> Iterator[None]:
    """Put torch's settings back at the end, and note in words which had been changed."""
    before, state = _settings(), torch.get_rng_state()
    try:
        yield
    finally:
        after = _settings()
        changed += [name for name in before if before[name] != after[name]]
        torch.set_default_dtype(before["the default dtype"])
        torch.set_grad_enabled(before["whether gradients are recorded"])
        if "the default device" in changed:
            torch.set_default_device(before["the default device"])
        if "the number of threads" in changed:
            torch.set_num_threads(before["the number of threads"])
        if "whether only deterministic algorithms run" in changed:
            torch.use_deterministic_algorithms(False)
        if "the seed of all random numbers" in changed:
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


def _settings() -> dict:
    return {
        "the default dtype": torch.get_default_dtype(),
        "the default device": torch.get_default_device(),
        "whether gradients are recorded": torch.is_grad_enabled(),
        "the number of threads": torch.get_num_threads(),
        "whether only deterministic algorithms run": torch.are_deterministic_algorithms_enabled(),
        "the seed of all random numbers": torch.initial_seed(),
    }

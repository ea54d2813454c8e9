"""For the key/value cache of lesson 09: a text that was written, and how long each token took."""

import os
import platform
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch

from ...generation import KVCache, generate, next_token_logits, writing
from . import load, pieces

BUDGET = {"cache": 6_000}  # bytes

PROMPT = "Once upon a time, there was"
LONGEST = 24  # tokens of the text that is shown
EVERY = 32  # measured are texts of 32, 64, 96, ... tokens
REPEATS = 5  # of each measurement; the quickest is kept
PATIENCE = 0.5  # seconds after which a measurement is not repeated: the machine is busy

# The time of one core that works for us: what else runs here does not count. (Windows counts it in
# steps of 16 milliseconds, so there it is the time on the wall.)
CLOCK = time.perf_counter if os.name == "nt" else time.thread_time

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")


def make(folder: Path) -> dict[str, object]:
    """The model's sizes, a text, and milliseconds per token by the length of the text so far."""
    model, tokenizer = load(folder)
    config = model.config
    prompt = tokenizer.encode(PROMPT)[: LONGEST - 4]
    ids = generate(model, torch.tensor([prompt]), min(LONGEST, config.block_size) - len(prompt))
    sizes = {
        "layers": config.n_layer,
        "heads": config.n_head,
        "channels": config.n_embd,
        "inner": config.n_inner or 4 * config.n_embd,
        "vocabulary": config.vocab_size,
        "longest": config.block_size,
    }
    measured = {"hardware": hardware(), "day": date.today().isoformat(), "times": timings(model)}
    return {
        "cache": {
            "model": sizes,
            "tokens": pieces(tokenizer, ids[0].tolist()),
            "prompt": len(prompt),
            "measured": measured,
        }
    }


def timings(model: Any) -> list[list[float]]:
    """[length, milliseconds with a cache, milliseconds without] of one more token.

    Both call lesson 09's `next_token_logits` on the same text: with a cache that holds all tokens
    but the last, and with none. What the text says does not matter for the time.
    """
    longest, threads = model.config.block_size, torch.get_num_threads()
    torch.set_num_threads(1)  # the clock looks at one
    text = torch.arange(longest).remainder(model.config.vocab_size).unsqueeze(0)  # (1, T)
    cache, rows = KVCache(model.config.n_layer), []
    try:
        with writing(model):
            next_token_logits(model, text)  # the first call of all is slow: memory is fetched
            for length in range(min(EVERY, longest), longest + 1, EVERY):
                ids = text[:, :length]
                next_token_logits(model, ids, cache)  # the cache now holds them all

                def with_cache(ids: torch.Tensor = ids) -> None:
                    cache.truncate(ids.shape[1] - 1)
                    next_token_logits(model, ids, cache)

                def without(ids: torch.Tensor = ids) -> None:
                    next_token_logits(model, ids)

                rows.append([length, milliseconds(with_cache), milliseconds(without)])
    finally:
        torch.set_num_threads(threads)
    return rows


def milliseconds(work: Callable[[], object]) -> float:
    """How long it takes, the quickest of a few times: the others waited for something else."""
    times: list[float] = []
    while not times or (len(times) < REPEATS and sum(times) < PATIENCE):
        begin = CLOCK()
        work()
        times.append(CLOCK() - begin)
    return round(1000 * min(times), 3)


def hardware() -> str:
    """The machine in words, such as "one of two CPU cores (x86_64) in 32-bit floats"."""
    has_affinity = hasattr(os, "sched_getaffinity")  # the cores that this process may use
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    count = NUMBERS[cores] if cores < len(NUMBERS) else str(cores)
    which = "one CPU core" if cores == 1 else f"one of {count} CPU cores"
    return f"{which} ({platform.machine()}) in 32-bit floats"

"""Lesson 09: how sure the model is at each step it writes, and what the cache saves."""

import math
import statistics
import time
from itertools import pairwise
from typing import Any

import torch

from .drawing import BLUE, LINES, ORANGE, name_rows, new_figure
from .gallery import Drawn, Figure, Table, View
from .lesson_08 import the_prompt
from .library import require
from .tokens import labels, token_bytes, written
from .writing import write_on

TITLE = "writing"
WRITING = {"temperature": 0.8, "top_p": 0.95}
MOST_ROWS = 40
LENGTHS = (8, 16, 32, 64, 128, 250)  # tokens in the text at which a step is timed
TIMED = 4  # steps of which the quickest counts: the least disturbed by other programs


def steps_of(view: View, ids: list[int], start: int) -> list[Any]:
    """Lesson 09's Step (token, max_probability, entropy in nats) of each token from `start` on."""
    subject = view.subject
    if subject.is_ours and view.library.is_written("generation"):
        from ..generation import trace

        return trace(subject.ours, torch.tensor(ids), start)
    from ..generation import measure_step

    logits = subject.logits(ids)
    return [measure_step(logits[place - 1], ids[place]) for place in range(start, len(ids))]


def draw_steps(view: View) -> Drawn:
    """A bar for each step: the probability of the first choice, and the entropy."""
    require(view.library, "bigram", "samplers", "generation")
    prompt = the_prompt(view)
    added = write_on(view, prompt, view.wishes.tokens, WRITING)
    if not added:
        added = [view.subject.tokenizer.end_of_text]
    steps = steps_of(view, prompt + added, len(prompt))
    shown = steps[:MOST_ROWS]
    names = labels(view.subject.tokenizer, [step.token for step in shown])
    figure, (left, right) = new_figure(0.9 + 0.19 * len(shown), 1, 2, sharey=True)
    places = range(len(shown))
    left.barh(places, [100 * step.max_probability for step in shown], color=BLUE)
    right.barh(places, [bits(step) for step in shown], color=ORANGE, hatch="//", edgecolor="white")
    name_rows(left, names)
    left.tick_params(axis="y", labelsize=8.5)
    left.set_ylim(len(shown) - 0.4, -0.6)
    left.set(xlabel="first choice (%)", xlim=(0, 100), ylabel="token that was written")
    right.set(xlabel="entropy (bits)")
    right.tick_params(axis="y", length=0)
    tokens = token_bytes(view.subject.tokenizer, [step.token for step in steps])
    rows = [
        (number, step.token, written(token), f"{step.max_probability:.3f}", f"{bits(step):.2f}")
        for number, (step, token) in enumerate(zip(steps, tokens, strict=True), start=1)
    ]
    mean = statistics.fmean(bits(step) for step in steps)
    sure = max(rows, key=lambda row: float(row[3]))
    unsure = max(rows, key=lambda row: float(row[4]))
    alt = (
        f"Bars for {len(shown)} steps of writing: the probability of the most likely token, and the "
        f"entropy. The model is surest at step {sure[0]}, {sure[2]} ({float(sure[3]):.0%}), and least sure "
        f"at step {unsure[0]}, {unsure[2]} ({unsure[4]} bits); the mean entropy is {mean:.1f} bits."
    )
    notes = [f"Written with temperature 0.8 and top-p 0.95, seed {view.wishes.seed}."]
    if len(steps) > len(shown):
        notes.append(f"The first {len(shown)} of {len(steps)} steps are drawn.")
    columns = ("step", "id", "token", "max probability", "entropy (bits)")
    return Drawn(figure, alt, [Table("step by step", columns, rows, (0, 1, 3, 4))], notes)


def bits(step: Any) -> float:
    """A step's entropy in bits."""
    return step.entropy / math.log(2)


def timings(model: Any, ids: list[int], lengths: list[int]) -> dict[int, tuple[float, float]]:
    """Seconds for one step at texts of these lengths: (with the cache, without)."""
    from ..generation import generate, most_likely

    return {
        length: tuple(  # type: ignore[misc]
            _seconds_per_step(generate, most_likely, model, (ids * length)[:length], use_cache)
            for use_cache in (True, False)
        )
        for length in lengths
    }


def _seconds_per_step(
    generate: Any, most_likely: Any, model: Any, ids: list[int], use_cache: bool
) -> float:
    moments: list[float] = []

    def choose(logits: torch.Tensor, so_far: torch.Tensor) -> torch.Tensor:
        moments.append(time.perf_counter())
        return most_likely(logits, so_far)

    generate(model, torch.tensor([ids]), TIMED + 1, choose, use_cache=use_cache)
    # the first step reads the prompt in both cases, so the time to it does not count
    return min(b - a for a, b in pairwise(moments))


def draw_cache(view: View) -> Drawn:
    """The time of one step against the length of the text."""
    require(view.library, "bigram", "samplers", "attention", "blocks", "model", "generation")
    model = view.subject.ours
    room = view.subject.block_size - TIMED - 1
    lengths = [n for n in LENGTHS if n <= room] or [1]
    seconds = timings(model, the_prompt(view), lengths)
    figure, axes = new_figure(3.4)
    for column, name, style in zip((0, 1), ("with the cache", "without"), LINES, strict=False):
        axes.plot(lengths, [1000 * pair[column] for pair in seconds.values()], label=name, **style)
    axes.set(xlabel="tokens in the text so far", ylabel="time of one step (ms)", ylim=(0, None))
    axes.legend()
    rows = [
        (length, f"{1000 * fast:.1f}", f"{1000 * slow:.1f}", f"{slow / fast:.1f}")
        for length, (fast, slow) in seconds.items()
    ]
    first, last = rows[0], rows[-1]
    alt = (
        f"Lines: one step takes {first[1]} ms with the cache and {first[2]} ms without at {first[0]} tokens, "
        f"and {last[1]} ms against {last[2]} ms at {last[0]} tokens: {last[3]} times as long."
    )
    columns = ("tokens so far", "with the cache (ms)", "without (ms)", "times as long")
    note = "Measured on this machine, one text at a time; other programs disturb it."
    return Drawn(figure, alt, [Table("one step", columns, rows, (0, 1, 2, 3))], [note])


FIGURES = (
    Figure(
        "steps",
        "How sure the model is, step by step",
        "Long left bars and short right ones: the model knows what must come, the rest of a name or the "
        "end of a phrase. Where a new sentence may go anywhere it is the other way round.",
        draw_steps,
        ("samplers", "generation"),
    ),
    Figure(
        "cache",
        "What the cache saves",
        "Without a cache every step reads the whole text again, so a step takes longer the longer the "
        "text is. With it a step is one token's work, and hardly grows.",
        draw_cache,
        ("generation", "model", "attention"),
    ),
)

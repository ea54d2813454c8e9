"""Lesson 07: the learning rate over a run, and what it does to a small model."""

from typing import Any

import numpy as np
import torch

from .drawing import BLUE, LINES, new_figure
from .gallery import Drawn, Figure, Table, View
from .library import require
from .material import corpus

TITLE = "training"
STEPS, PEAK, FINAL = 1000, 1e-3, 1e-4
WARMUPS = (0, 50, 300)
RATES = (1e-4, 3e-3, 1e-1)  # too small, about right, too large
RUN = {"steps": 120, "batch_size": 16}
TIME, WIDTH = 32, 32


def schedules() -> dict[int, list[float]]:
    """The learning rate of every step, for three warm-ups."""
    from ..trainer import learning_rate

    return {
        warmup: [
            learning_rate(step, steps=STEPS, warmup=warmup, peak_lr=PEAK, final_lr=FINAL)
            for step in range(STEPS)
        ]
        for warmup in WARMUPS
    }


def draw_schedule(view: View) -> Drawn:
    """Up a line, down a cosine."""
    require(view.library, "trainer")
    rates = schedules()
    figure, axes = new_figure(3.2)
    for (warmup, values), style in zip(rates.items(), LINES, strict=False):
        axes.plot([1000 * v for v in values], label=f"warm-up of {warmup} steps",
                  **style | {"marker": ""})  # fmt: skip
    axes.set(xlabel="step", ylabel="learning rate (thousandths)", ylim=(0, None))
    axes.legend(loc="upper right")
    rows = []
    for warmup, values in rates.items():
        peak = int(np.argmax(values))
        rows.append((warmup, f"{values[0]:.2e}", peak, f"{values[peak]:.2e}", f"{values[-1]:.2e}"))
    alt = "Learning rate over a run of 1,000 steps. " + " ".join(
        f"Warm-up {warmup}: begins at {first}, is highest at step {peak} ({top}), ends at {last}."
        for warmup, first, peak, top, last in rows
    )
    columns = ("warm-up", "step 0", "highest at", "highest", "last step")
    return Drawn(figure, alt, [Table("learning rates", columns, rows, (0, 1, 2, 3, 4))])


def learn(text: str, seed: int) -> dict[float, list[dict[str, float]]]:
    """Train a small model on the characters of a text with each rate: `fit`'s rows."""
    from ..data import get_batch
    from ..model import GPT, GPTConfig
    from ..trainer import TrainConfig, fit

    alphabet = sorted(set(text))
    place = {character: i for i, character in enumerate(alphabet)}
    ids = np.array([place[character] for character in text])
    cut = int(len(ids) * 0.9)
    train, valid = ids[:cut], ids[cut:]
    validation = [get_batch(valid, 32, TIME, seed)]

    def batch_of_step(step: int) -> list[Any]:
        return [get_batch(train, RUN["batch_size"], TIME, (seed, step))]

    runs = {}
    for rate in RATES:
        torch.manual_seed(seed)
        model = GPT(GPTConfig(len(alphabet), TIME, n_layer=2, n_head=2, n_embd=WIDTH))
        config = TrainConfig(peak_lr=rate, final_lr=rate / 10, warmup=10, seed=seed, **RUN)
        runs[rate] = fit(model, batch_of_step, config, validation, evaluate_every=10)
    return runs


def draw_curves(view: View) -> Drawn:
    """The same model, three learning rates."""
    require(view.library, "bigram", "attention", "blocks", "model", "data", "trainer")
    documents, what = corpus(view)
    text = "\n".join(documents)[:60_000]
    runs = learn(text, view.wishes.seed)
    figure, axes = new_figure(3.6)
    rows, said = [], []
    for (rate, history), style in zip(runs.items(), LINES, strict=False):
        steps = [row["step"] for row in history]
        axes.plot(steps, [row["val_loss"] for row in history], label=f"peak rate {rate:g}", **style)
        axes.plot(steps, [row["train_loss"] for row in history], color=style["color"], alpha=0.4,
                  linewidth=1, linestyle="-", marker="")  # fmt: skip
        last = history[-1]
        rows.append((f"{rate:g}", f"{history[0]['val_loss']:.2f}", f"{last['train_loss']:.2f}",
                     f"{last['val_loss']:.2f}"))  # fmt: skip
        said.append(f"with a peak rate of {rate:g} to {last['val_loss']:.2f}")
    axes.axhline(np.log(len(set(text))), color=BLUE, linestyle=":", linewidth=1)
    axes.text(
        RUN["steps"], np.log(len(set(text))), "pure guessing", ha="right", va="bottom", fontsize=9
    )
    axes.set(xlabel="step", ylabel="loss (nats per character)")
    axes.legend(loc="lower left")
    alt = (
        f"Loss curves of a small model on the characters of {what}, {RUN['steps']} steps: the validation "
        f"loss comes {', '.join(said)} nats; pure guessing is {np.log(len(set(text))):.2f}."
    )
    columns = ("peak rate", "validation, step 10", "training, last step", "validation, last step")
    note = f"Markers: validation; thin lines: the batch of that step. Text: {what}."
    table = Table("loss in nats per character", columns, rows, (0, 1, 2, 3))
    return Drawn(figure, alt, [table], [note])


FIGURES = (
    Figure(
        "schedule",
        "The learning rate of every step",
        "Too large a step at the very start can spoil a model, so the rate climbs first; small steps at "
        "the end settle what was learned.",
        draw_schedule,
        ("trainer",),
    ),
    Figure(
        "curves",
        "Three learning rates",
        "Too small a rate hardly moves, too large a rate jumps about and stays high. The right one lies "
        "a factor of three or so below where it begins to go wrong.",
        draw_curves,
        ("trainer", "data", "model"),
    ),
)

"""Lesson 14: how a run went, and what one change to the recipe is worth."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..engine.errors import CourseError
from .drawing import BLUE, GREEN, ORANGE, SKY, new_figure
from .gallery import Drawn, Figure, Table, View
from .library import require
from .material import corpus
from .tokens import paragraph

TITLE = "the capstone"
STEPS, TIME, WIDTH = 60, 64, 64  # of the short runs of the ablation


def rows_of(view: View) -> tuple[list[dict[str, Any]], str]:
    """The rows of a run's log (step, train_loss, valid_loss or None, seconds), and which run it is."""
    if view.wishes.run is not None:
        folder = Path(view.wishes.run).expanduser()
        log = folder / "log.jsonl"
        if not log.is_file():
            raise CourseError(f"--run {folder} holds no log.jsonl; name the folder of a run")
        from ..engine.logs import read_log

        rows = [row for row in read_log(log) if "train_loss" in row]
        if not rows:
            raise CourseError(f"--run {folder}: its log holds no step yet")
        return [row | {"valid_loss": row.get("val_loss")} for row in rows], f"the run in {folder}"
    from ..engine.storyteller import training_record

    return training_record()["steps"], "how our own small model was trained"


def draw_run(view: View) -> Drawn:
    """Loss over the steps of a real run."""
    rows, what = rows_of(view)
    seen = [row for row in rows if row.get("valid_loss") is not None]
    figure, axes = new_figure(3.5)
    axes.plot([r["step"] for r in rows], [r["train_loss"] for r in rows], color=SKY, linestyle="-",
              linewidth=1.2, marker="", label="training batches")  # fmt: skip
    axes.plot([r["step"] for r in seen], [r["valid_loss"] for r in seen], color=ORANGE, linestyle="--",
              marker="o", markersize=3, label="held-out text")  # fmt: skip
    axes.set(xlabel="step", ylabel="loss (nats per token)")
    axes.legend()
    table, alt = [], f"Training loss over {rows[-1]['step']:,} steps ({what})"
    alt += f": from {rows[0]['train_loss']:.2f} to {rows[-1]['train_loss']:.2f} nats per token."
    if seen:
        best = min(seen, key=lambda row: row["valid_loss"])
        alt += (
            f" On held-out text from {seen[0]['valid_loss']:.2f} to {best['valid_loss']:.2f} at step "
            f"{best['step']:,}."
        )
        some = seen[:: max(1, len(seen) // 10)]
        for row in [*some, *([seen[-1]] if some[-1] is not seen[-1] else [])]:
            minutes = f"{row['seconds'] / 60:.1f}" if "seconds" in row else ""
            table.append((f"{row['step']:,}", f"{row['train_loss']:.3f}",
                          f"{row['valid_loss']:.3f}", minutes))  # fmt: skip
    columns = ("step", "training loss", "validation loss", "minutes")
    return Drawn(
        figure, alt, [Table("the run", columns, table, (0, 1, 2, 3))], [f"This is {what}."]
    )


def short_runs(text: str, seed: int) -> Any:
    """A function from a recipe to the held-out bits per byte of a short run with it."""
    from ..data import get_batch
    from ..engine.optimizers import build_optimizer
    from ..model import GPT, GPTConfig
    from ..trainer import TrainConfig, estimate_loss, learning_rate, train_step

    ids = np.frombuffer(text.encode(), dtype=np.uint8)
    cut = int(len(ids) * 0.9)

    def bits_per_byte_of(recipe: dict[str, Any]) -> float:
        torch.manual_seed(seed)
        model = GPT(GPTConfig(256, TIME, 2, 2, WIDTH, dropout=recipe["dropout"]))
        # narrow models bear larger rates; the course's recipes are for a width of 256
        peak, final = (recipe[name] * 256 / WIDTH for name in ("peak_lr", "final_lr"))
        config = TrainConfig(weight_decay=recipe["weight_decay"], peak_lr=peak)
        optimizer: Any = build_optimizer(model, config, recipe["optimizer"], torch.device("cpu"))
        warmup = min(recipe["warmup"], STEPS // 4)
        rows = min(recipe["batch_size"], 32)
        for step in range(STEPS):
            optimizer.set_learning_rate(
                learning_rate(step, steps=STEPS, warmup=warmup, peak_lr=peak, final_lr=final)
            )
            batch = get_batch(ids[:cut], rows, TIME, (seed, step))
            train_step(model, optimizer, [batch])
        return estimate_loss(model, [get_batch(ids[cut:], 64, TIME, seed)]) / float(np.log(2))

    return bits_per_byte_of


def draw_ablation(view: View) -> Drawn:
    """The recipe, and the recipe with one change."""
    require(
        view.library, "bigram", "attention", "blocks", "model", "data", "trainer", "tinystories"
    )
    from ..tinystories import ablation

    documents, what = corpus(view, 120)
    runs: list[tuple[dict[str, Any], float]] = []
    train = short_runs("\n".join(documents)[:100_000], view.wishes.seed)

    def remember(recipe: dict[str, Any]) -> float:
        runs.append((dict(recipe), train(recipe)))
        return runs[-1][1]

    found = ablation(remember)
    changed = [key for key in runs[0][0] if runs[0][0][key] != runs[-1][0].get(key)]
    names = ["the recipe", "with " + ",\n".join(f"{key} {runs[-1][0][key]}" for key in changed)]
    said = paragraph(found.conclusion, 66)
    figure, axes = new_figure(1.9 + 0.19 * (said.count("\n") + 1))
    bars = axes.barh(names, [found.before, found.after], color=[BLUE, GREEN], edgecolor="white")
    bars[1].set_hatch("//")
    axes.bar_label(bars, [f"{v:.3f}" for v in (found.before, found.after)], padding=3, fontsize=9)
    axes.margins(x=0.2)
    axes.invert_yaxis()
    axes.set(xlabel=f"bits per byte after {STEPS} steps (shorter is better)")
    figure.supxlabel(said, x=0.02, ha="left", fontsize=9)
    alt = (
        f"Two bars: {found.before:.3f} bits per byte with the recipe, {found.after:.3f} with {', '.join(changed)} changed. "
        f"Conclusion: {found.conclusion}"
    )
    rows = [(key, runs[0][0][key], runs[-1][0].get(key)) for key in runs[0][0]]
    rows += [("bits per byte", f"{found.before:.4f}", f"{found.after:.4f}")]
    table = Table(f"ablation of {found.setting}", ("", "recipe", "changed"), rows, (1, 2))
    note = (
        f"Two runs of {STEPS} steps of a model {WIDTH} wide that reads bytes ({what}): seconds, where a "
        "real ablation takes minutes or days."
    )
    return Drawn(figure, alt, [table], [note])


FIGURES = (
    Figure(
        "run",
        "How a run went",
        "Both curves fall together as long as the model learns what holds for other stories too. Where "
        "the held-out one turns upwards, it begins to learn by heart.",
        draw_run,
        (),
    ),
    Figure(
        "ablation",
        "What one change is worth",
        "Everything equal but one thing. How large a difference would chance make? Run it again with "
        "another --seed.",
        draw_ablation,
        ("tinystories", "trainer", "model"),
    ),
)

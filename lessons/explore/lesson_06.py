"""Lesson 06: a batch with its targets, and how long documents are."""

from typing import Any

import numpy as np
import torch

from .drawing import BLUE, MONO, ORANGE, new_figure
from .gallery import Drawn, Figure, Table, View
from .library import require
from .material import corpus
from .tokens import labels

TITLE = "data"
ROWS, TIME = 3, 7  # the batch that is drawn
TRIES = 400  # seeds that are tried for a batch in which a document ends


def prepared(view: View) -> dict[str, Any]:
    """The documents dealt out by lesson 06 and turned into tokens."""
    from ..data import pack, split_documents

    documents, what = corpus(view)
    train, valid = split_documents(documents, 0.1, view.wishes.seed)
    tokenizer = view.subject.tokenizer
    ids = {"training": tokenizer.encode_batch(train), "validation": tokenizer.encode_batch(valid)}
    end = tokenizer.end_of_text
    return {"what": what, "ids": ids, "row": np.array(pack(ids["training"], end)), "end": end}


def pick_batch(row: Any, end: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Inputs and targets (B, T) of the first seed from `seed` on that shows the end of a document."""
    from ..data import get_batch

    chosen = None
    for tried in range(seed, seed + TRIES):
        inputs, targets = get_batch(row, ROWS, TIME, tried)
        chosen = chosen or (inputs, targets, tried)
        if (inputs[:, 1:-1] == end).any():
            return inputs, targets, tried
    assert chosen is not None
    return chosen


def draw_batch(view: View) -> Drawn:
    """Three windows of a row of tokens: what the model sees, and what it should say."""
    require(view.library, "data")
    made = view.once("data", lambda: prepared(view))
    inputs, targets, seed = pick_batch(made["row"], made["end"], view.wishes.seed)
    figure, axes = new_figure(4.1, 2)
    for place, name, ids in zip(axes, ("inputs", "targets"), (inputs, targets), strict=True):
        _grid(place, view, ids, made["end"])
        place.set(title=name, ylabel="window")
    axes[1].set_xlabel("place in the window")
    shifted = bool((inputs[:, 1:] == targets[:, :-1]).all())
    first = labels(view.subject.tokenizer, inputs[0].tolist())
    alt = (
        f"Two tables of {ROWS} windows of {TIME} tokens. The first window's inputs are "
        f"{', '.join(first)}; its targets are the same tokens one place further on, and end with "
        f"{labels(view.subject.tokenizer, targets[0, -1:].tolist())[0]}."
    )
    notes = [f"Seed {seed}; frames mark the token that ends a document. Text: {made['what']}."]
    if not shifted:
        notes.append("The targets are not the inputs moved by one place!")
        alt = "Two tables of windows; the targets are not the inputs moved by one place."
    rows = [
        (window, " ".join(map(str, ids.tolist())), " ".join(map(str, after.tolist())))
        for window, (ids, after) in enumerate(zip(inputs, targets, strict=True))
    ]
    return Drawn(figure, alt, [Table("ids", ("window", "inputs", "targets"), rows, (0,))], notes)


def _grid(axes: Any, view: View, ids: torch.Tensor, end: int) -> None:
    from matplotlib.patches import Rectangle

    fills = ("#dcebf5", "#fbe3cf", "#d5efe5")
    for window, row in enumerate(ids.tolist()):
        for place, (i, name) in enumerate(
            zip(row, labels(view.subject.tokenizer, row, 8), strict=True)
        ):
            edge = ORANGE if i == end else "white"
            box = Rectangle((place + 0.03, window + 0.05), 0.94, 0.9, facecolor=fills[window % 3],
                            edgecolor=edge, linewidth=2)  # fmt: skip
            axes.add_patch(box)
            shown = "<end>" if i == end else name
            axes.text(
                place + 0.5, window + 0.36, shown, ha="center", va="center", fontsize=8.5, **MONO
            )
            axes.text(
                place + 0.5, window + 0.72, str(i), ha="center", va="center", fontsize=7, **MONO
            )
    axes.set(xlim=(0, TIME), ylim=(ROWS, 0))
    axes.set_xticks([n + 0.5 for n in range(TIME)], range(TIME))
    axes.set_yticks([n + 0.5 for n in range(ROWS)], range(ROWS))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def draw_lengths(view: View) -> Drawn:
    """How many tokens documents have, in training and validation."""
    require(view.library, "data")
    made = view.once("data", lambda: prepared(view))
    lengths = {name: [len(ids) for ids in lists] for name, lists in made["ids"].items()}
    longest = max(max(values, default=0) for values in lengths.values())
    edges = np.linspace(0, longest + 1, 31)
    figure, axes = new_figure(3.4)
    styles: dict[str, dict[str, Any]] = {
        "training": {"color": BLUE, "alpha": 0.85},
        "validation": {"color": ORANGE, "hatch": "//"},
    }
    for name, values in lengths.items():
        if values:
            shares = np.histogram(values, edges)[0] / len(values) * 100
            axes.stairs(
                shares, edges, fill=name == "training", linewidth=1.5, label=f"{name} ({len(values)})",
                **styles[name],
            )  # fmt: skip
    block = view.subject.block_size
    if block <= longest * 1.3:
        axes.axvline(block, color="black", linestyle=":", label=f"context of the model ({block})")
    axes.set(xlabel="tokens in a document", ylabel="share of documents (%)")
    axes.margins(y=0.3)
    axes.legend(loc="upper left")
    rows, said = [], []
    for name, values in lengths.items():
        if values:
            array = np.array(values)
            rows.append((name, len(values), f"{array.sum():,}", f"{np.median(array):.0f}",
                         array.min(), array.max()))  # fmt: skip
            said.append(
                f"{len(values)} {name} documents of {array.min()} to {array.max()} tokens, half of them "
                f"below {np.median(array):.0f}"
            )
    alt = f"Histogram of document lengths: {'; '.join(said)}."
    columns = ("part", "documents", "tokens", "median", "shortest", "longest")
    table = Table("lengths in tokens", columns, rows, (1, 2, 3, 4, 5))
    return Drawn(figure, alt, [table], [f"Text: {made['what']}."])


FIGURES = (
    Figure(
        "batch",
        "A batch and its targets",
        "A window is cut out of one long row of tokens, wherever it falls, across the end of a document "
        "too. The targets are the same window one place on: at each place, what comes next.",
        draw_batch,
        ("data",),
    ),
    Figure(
        "lengths",
        "How long documents are",
        "Each document goes to one side as a whole. If the two shapes differ much, the validation text "
        "is of another kind or too small.",
        draw_lengths,
        ("data",),
    ),
)

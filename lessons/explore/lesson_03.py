"""Lesson 03: who looks at whom. The attention of every head on a text."""

from typing import Any

import torch
from matplotlib.colors import PowerNorm

from ..engine.errors import CourseError
from .drawing import heat_map, ink_on, name_columns, name_rows, new_figure
from .gallery import Drawn, Figure, Table, View
from .library import require
from .material import first_tokens, the_text
from .tokens import labels

TITLE = "attention"
MOST, MOST_NAMED, MOST_NUMBERED = 48, 24, 11  # tokens in the small maps, with names, with numbers


def attention_weights(subject: Any, ids: list[int]) -> torch.Tensor:
    """The weights of every head of every layer, (L, H, T, T), as lesson 03 computes them.

    The stream that enters each layer comes from the whole model; the layer's attention is lesson 03's
    with the model's weights in it.
    """
    from ..attention import CausalSelfAttention

    config, kept = subject.config, []
    for layer, stream in enumerate(subject.streams(ids)):
        attention = CausalSelfAttention(config.n_embd, config.n_head)
        subject.fill(attention, f"transformer.h.{layer}.attn.")
        attend = attention.attend
        seen: list[torch.Tensor] = []

        def listen(*arguments: Any, attend: Any = attend, seen: Any = seen) -> Any:
            output, weights = attend(*arguments)
            seen.append(weights)
            return output, weights

        attention.attend = listen  # type: ignore[assignment]  # it takes the same arguments
        with torch.no_grad():
            attention(subject.norm(stream, layer, "ln_1").unsqueeze(0))
        kept.append(seen[0][0])
    return torch.stack(kept)


def habits(weights: torch.Tensor) -> dict[str, torch.Tensor]:
    """How much of its weight each head spends, on average over places, on what is always there.

    weights: (L, H, T, T). Returns (L, H) each: on the first token, on itself, on the one before. The
    first two places have no choice, so they do not count.
    """
    later = weights[:, :, 2:]
    return {
        "first token": later[..., 0].mean(dim=-1),
        "itself": weights.diagonal(dim1=-2, dim2=-1)[..., 2:].mean(dim=-1),
        "the one before": weights.diagonal(offset=-1, dim1=-2, dim2=-1)[..., 1:].mean(dim=-1),
    }


def telling_head(weights: torch.Tensor) -> tuple[int, int]:
    """The head that spends least on the first token, itself and the one before: it reads the text."""
    if weights.shape[-1] < 4:
        return 0, 0
    routine = torch.stack(list(habits(weights).values())).sum(dim=0)  # (L, H)
    layer, head = divmod(int(routine.argmin()), routine.shape[1])
    return layer, head


def _look(view: View) -> tuple[torch.Tensor, list[str], list[str]]:
    require(view.library, "attention")
    ids, notes = first_tokens(view.subject.encode(the_text(view)), MOST)
    weights = view.once("attention", lambda: attention_weights(view.subject, ids))
    return weights, labels(view.subject.tokenizer, ids), notes


def draw_heads(view: View) -> Drawn:
    """A small map for every head of every layer."""
    weights, _, notes = _look(view)
    n_layer, n_head, length, _ = weights.shape
    per_row = n_head if n_head <= 12 else 8
    rows = n_layer * -(-n_head // per_row)
    figure, axes = new_figure(
        0.75 + rows * 5.0 / (per_row + 1.2), rows, per_row, squeeze=False,
        gridspec_kw={"wspace": 0.05, "hspace": 0.05},
    )  # fmt: skip
    for place in axes.flat:
        place.set_axis_off()
    for layer in range(n_layer):
        for head in range(n_head):
            row, column = divmod(head, per_row)
            place = axes[layer * (rows // n_layer) + row, column]
            # square roots, so that a tenth can still be seen
            image = place.imshow(weights[layer, head], norm=PowerNorm(0.5, vmin=0, vmax=1))
            if layer == 0:
                place.set_title(f"{head}", loc="center", fontsize=9, pad=2)
            if column == 0:
                place.text(
                    -0.2, 0.5, f"{layer}", transform=place.transAxes, va="center", ha="right"
                )
    figure.supylabel("layer", fontsize=10)
    figure.suptitle("head", fontsize=10)
    figure.colorbar(
        image, ax=axes, location="bottom", label="weight (each row of a map sums to 1)", aspect=40,
        fraction=0.05, pad=0.03, ticks=(0, 0.05, 0.2, 0.4, 0.6, 0.8, 1),
    )  # fmt: skip
    spent = habits(weights) if length > 2 else {}
    table_rows = []
    for layer in range(n_layer):
        for name, shares in spent.items():
            head = int(shares[layer].argmax())
            table_rows.append((layer, name, head, f"{float(shares[layer, head]):.2f}"))
    alt = (
        f"{n_layer} rows of {n_head} small maps, one for each head, over {length} tokens: each row of a "
        "map is a place of the text and shows how its attention is shared out over the places before. "
    )
    for name, shares in spent.items():
        layer, head = divmod(int(shares.argmax()), n_head)
        alt += f"Most of its weight on {name}: layer {layer}, head {head} ({float(shares.max()):.2f}). "
    columns = ("layer", "looks most at", "head", "share of its weight")
    table = Table("heads with a habit (mean over places)", columns, table_rows, (0, 2, 3))
    return Drawn(figure, alt.strip(), [table] if spent else [], notes)


def draw_one_head(view: View) -> Drawn:
    """One head in large, with the tokens beside it."""
    weights, names, notes = _look(view)
    length = len(names)
    layer, head = chosen_head(view, weights)
    if view.wishes.layer is None and view.wishes.head is None:
        notes = [
            *notes,
            f"Layer {layer}, head {head} spends least on the first token, itself and the one before; "
            "choose others with --layer and --head.",
        ]
    values = weights[layer, head]
    side = min(4.8, 2.4 + 0.22 * length)
    figure, axes = new_figure(side)
    heat_map(axes, values, unit="weight", low=0, high=1, aspect="equal")
    axes.set(title=f"layer {layer}, head {head}", xlabel="looks at", ylabel="place")
    if length <= MOST_NAMED:
        name_rows(axes, names)
        name_columns(axes, names)
    if length <= MOST_NUMBERED:
        for row in range(length):
            for column in range(row + 1):
                value = float(values[row, column])
                text = f"{value:.2f}".removeprefix("0") if value < 0.995 else "1"
                axes.text(
                    column, row, text, ha="center", va="center", color=ink_on(value), fontsize=8
                )
    rows = []
    for place, name in enumerate(names):
        best = values[place, : place + 1].argsort(descending=True, stable=True)[:3].tolist()
        rows.append(
            (place, name, "  ".join(f"{names[i]} {float(values[place, i]):.2f}" for i in best))
        )
    alt = f"Heat map of layer {layer}, head {head} over {length} tokens. " + " ".join(
        f"{name} looks most at {looks.rpartition(' ')[0].split('  ')[0]}."
        for _, name, looks in rows[1:9]
    )
    table = Table(f"layer {layer}, head {head}", ("place", "token", "looks most at"), rows, (0,))
    return Drawn(figure, alt, [table], notes)


def chosen_head(view: View, weights: torch.Tensor) -> tuple[int, int]:
    """The head that was asked for, else a telling one. Raises CourseError for one that is not."""
    n_layer, n_head = weights.shape[:2]
    layer, head = view.wishes.layer, view.wishes.head
    for name, value, many in (("layer", layer, n_layer), ("head", head, n_head)):
        if value is not None and value >= many:
            raise CourseError(
                f"--{name} {value} is not there: {view.subject.name} has the {name}s 0 to {many - 1}"
            )
    if layer is None:
        if head is None:
            return telling_head(weights)
        return telling_head(weights[:, head : head + 1])[0], head
    if head is None:
        return layer, telling_head(weights[layer : layer + 1])[1]
    return layer, head


FIGURES = (
    Figure(
        "heads",
        "Every head of every layer",
        "A light first column: the head rests on the first token when it has nothing to say. A light "
        "diagonal: it looks at itself; one step lower: at the token before. The upper right is dark "
        "everywhere, because nobody sees the future.",
        draw_heads,
        ("bigram", "attention"),
    ),
    Figure(
        "one_head",
        "One head in large",
        "Read a row from left to right: how the place on the left shares out its attention over itself "
        "and what came before. Each row sums to 1.",
        draw_one_head,
        ("bigram", "attention"),
    ),
)

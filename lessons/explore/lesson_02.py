"""Lesson 02: vectors of tokens, patterns of positions, and what order changes."""

from typing import Any

import torch

from .drawing import BLUE, ORANGE, heat_map, name_columns, name_rows, new_figure
from .gallery import Drawn, Figure, Table, View
from .library import require
from .material import the_text
from .tokens import labels

TITLE = "embeddings"
MOST = 12
DOG, MAN = " dog bites man", " man bites dog"
NEAREST = 5


def vectors(view: View, ids: list[int]) -> torch.Tensor:
    """The rows of the model's token table for these ids, (T, C), looked up by lesson 02."""
    from ..embeddings import TokenEmbedding

    table = view.subject.token_table
    embedding = TokenEmbedding(1, 1)
    embedding.weight.data = table
    with torch.no_grad():
        return embedding(torch.tensor(ids))


def cosines(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The cosine of every row of a with every row of b."""
    return torch.nn.functional.normalize(a, dim=1) @ torch.nn.functional.normalize(b, dim=1).mT


def draw_vectors(view: View) -> Drawn:
    """The vectors of the text's tokens, and which of them point the same way."""
    require(view.library, "embeddings")
    from ..embeddings import nearest_tokens

    ids = list(dict.fromkeys(view.subject.encode(the_text(view))))
    notes = [f"The first {MOST} different tokens."] if len(ids) > MOST else []
    ids = ids[:MOST]
    rows = vectors(view, ids)
    names = labels(view.subject.tokenizer, ids, 10)
    alike = cosines(rows, rows)
    figure, (upper, lower) = new_figure(2 * (0.8 + 0.24 * len(ids)), 2)
    bound = float(rows.abs().quantile(0.995)) or 1.0
    heat_map(upper, rows, unit="value", low=-bound, high=bound)
    name_rows(upper, names)
    upper.set(xlabel="channel", title="one row of the table for each token")
    heat_map(lower, alike, unit="cosine", low=min(0.0, float(alike.min())), high=1)
    name_rows(lower, names)
    name_columns(lower, names)
    lower.set(title="which of them point the same way")
    off = alike.clone().fill_diagonal_(-2)
    tables = [_nearest(view, ids, names, nearest_tokens)]
    alt = (
        f"Two heat maps. Above: the vectors of {len(ids)} tokens, {rows.shape[1]} numbers each, nearly "
        f"all between {-bound:.2f} and {bound:.2f}. Below: their cosines."
    )
    if len(ids) > 1:
        best = divmod(int(off.argmax()), len(ids))
        alt += f" Most alike are {names[best[0]]} and {names[best[1]]} ({float(off.max()):.2f})."
    return Drawn(figure, alt, tables, notes)


def _nearest(view: View, ids: list[int], names: list[str], nearest_tokens: Any) -> Table:
    table = view.subject.token_table
    rows = []
    for i, name in zip(ids, names, strict=True):
        near, similarities = nearest_tokens(table, i, min(NEAREST, len(table) - 1))
        found = labels(view.subject.tokenizer, near.tolist())
        pairs = zip(found, similarities.tolist(), strict=True)
        rows.append((name, "  ".join(f"{other} {cosine:.2f}" for other, cosine in pairs)))
    return Table("the nearest of all tokens, with their cosines", ("token", "nearest"), rows)


def draw_positions(view: View) -> Drawn:
    """The pattern of waves, what the model learned instead, and how alike neighbours are."""
    require(view.library, "embeddings")
    from ..embeddings import sinusoidal_positions

    learned = view.subject.place_table
    width = view.subject.token_table.shape[1]
    n_places = min(256, view.subject.block_size)
    tables = {"sines and cosines": sinusoidal_positions(n_places, width)}
    notes = (
        [] if learned is not None else ["This model has no table of positions that is read here."]
    )
    if learned is not None:
        tables["learned by the model"] = learned[:n_places]
    figure, axes = new_figure(1.9 * (len(tables) + 1) + 0.6, len(tables) + 1)
    for place, (name, table) in zip(axes, tables.items(), strict=False):
        bound = float(table.abs().quantile(0.99)) or 1.0
        heat_map(place, table, unit="value", low=-bound, high=bound)
        place.set(title=name, xlabel="channel", ylabel="position")
    middle = n_places // 2
    said = []
    for (name, table), color, dash in zip(
        tables.items(), (BLUE, ORANGE), ("-", "--"), strict=False
    ):
        similar = cosines(table, table[middle : middle + 1])[:, 0]
        axes[-1].plot(similar, color=color, linestyle=dash, marker="", label=name)
        said.append(
            f"{name}: {float(similar[middle + 1]):.2f} one place on, {float(similar[-1]):.2f} at the end"
        )
    axes[-1].set(
        xlabel="position (tokens)", ylabel="cosine", title=f"how alike to position {middle}"
    )
    axes[-1].legend(loc="upper center", bbox_to_anchor=(0.5, -0.32), ncols=2)
    alt = (
        f"Position vectors of {n_places} places, {width} channels each. The sines and cosines show "
        "fast waves in the first channels and slow ones in the last. Cosine with position "
        f"{middle}: {'; '.join(said)}."
    )
    return Drawn(figure, alt, [], notes)


def order(view: View, first: list[int], second: list[int]) -> dict[str, torch.Tensor]:
    """Cosines of the vectors of one text with those of the other: without and with positions."""
    from ..embeddings import Embeddings

    tokens, places = view.subject.token_table, view.subject.place_table
    length = max(len(first), len(second))
    kind = "sinusoidal" if places is None else "learned"
    layer = Embeddings(1, length, tokens.shape[1], positions=kind).eval()
    layer.wte.weight.data = tokens
    if places is not None:
        layer.wpe.weight.data = places
    with torch.no_grad():
        with_places = [layer(torch.tensor([ids]))[0] for ids in (first, second)]
    without = [vectors(view, ids) for ids in (first, second)]
    return {"tokens alone": cosines(*without), "tokens and positions": cosines(*with_places)}


def draw_order(view: View) -> Drawn:
    """Two sentences of the same words: without positions every vector is found again."""
    require(view.library, "embeddings")
    texts = [DOG, MAN]
    if view.wishes.texts and len(view.wishes.texts) == 2:
        texts = list(view.wishes.texts.values())
    first, second = (view.subject.encode(text)[:10] for text in texts)
    pair = order(view, first, second)
    names = [labels(view.subject.tokenizer, ids) for ids in (first, second)]
    figure, axes = new_figure(2 * (1.0 + 0.34 * len(first)), 2)
    low = min(0.0, *(float(values.min()) for values in pair.values()))
    for place, (name, values) in zip(axes, pair.items(), strict=True):
        heat_map(place, values, unit="cosine", low=low, high=1)
        name_rows(place, names[0])
        name_columns(place, names[1], rotation=0 if len(second) < 5 else 90)
        place.set(title=name)
        for (row, column), value in _cells(values):
            from .drawing import ink_on

            ink = ink_on((value - low) / (1 - low))
            place.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=9)
    best = {name: values.amax(dim=1) for name, values in pair.items()}
    found = {name: int((values > 0.9999).sum()) for name, values in best.items()}
    alt = (
        f"Two tables of cosines between the vectors of{texts[0]!r} and those of{texts[1]!r}. From tokens "
        f"alone {found['tokens alone']} of {len(first)} vectors are found again exactly; with positions "
        f"{found['tokens and positions']}, and the best cosines are "
        + ", ".join(f"{v:.2f}" for v in best["tokens and positions"].tolist()) + "."
    )  # fmt: skip
    rows = [
        (token, *(f"{float(values[number]):.4f}" for values in best.values()))
        for number, token in enumerate(names[0])
    ]
    columns = ("token", "best cosine, tokens alone", "with positions")
    title = "is this vector found in the other sentence?"
    return Drawn(figure, alt, [Table(title, columns, rows, (1, 2))])


def _cells(values: torch.Tensor) -> Any:
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            yield (row, column), float(values[row, column])


FIGURES = (
    Figure(
        "vectors",
        "Tokens as vectors",
        "Each token is a row of numbers that mean nothing by themselves; what counts is which rows "
        "point the same way. The table lists the nearest tokens of the whole vocabulary.",
        draw_vectors,
        ("embeddings",),
    ),
    Figure(
        "positions",
        "Patterns of positions",
        "The waves of the formula turn fast in the first channels and slowly in the last. A model "
        "finds a pattern of its own, and the longer it has learned, the more alike neighbours become.",
        draw_positions,
        ("embeddings",),
    ),
    Figure(
        "order",
        "Dog bites man, man bites dog",
        "Above, each vector of one sentence stands in the other too (1.00): without positions nobody "
        "could tell who was bitten. Below, a dog in front is not quite a dog behind.",
        draw_order,
        ("embeddings",),
    ),
)

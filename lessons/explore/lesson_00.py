"""Lesson 00: what follows what, and the text that comes of it."""

from typing import Any

import torch

from .drawing import LINE_HEIGHT, heat_map, lay_out, lines_of, name_columns, name_rows, new_figure
from .gallery import Drawn, Figure, Table, View
from .library import require
from .material import corpus
from .tokens import drawable, label

TITLE = "a table that babbles"
MOST_CHARACTERS = 27  # rows and columns that can still be read
SMOOTHING = 0.01
STEPS, RATE = (0, 10, 200), 50.0  # gradient steps, learning rate
BABBLED = 168  # three lines


def text_of(view: View) -> tuple[str, str]:
    """The text that is counted, in lower case, and what it is."""
    documents, what = corpus(view, 60)
    return "\n".join(documents).lower()[:40_000], what


def count(text: str) -> tuple[str, torch.Tensor]:
    """The alphabet of a text, and how often each character follows each other one."""
    from ..bigram import alphabet_of, bigram_counts, to_ids

    alphabet = alphabet_of(text)
    return alphabet, bigram_counts(to_ids(text, alphabet), len(alphabet))


def draw_counts(view: View) -> Drawn:
    """Heat map of the counts of the most frequent characters."""
    require(view.library, "bigram")
    text, what = text_of(view)
    alphabet, counts = count(text)
    frequent = counts.sum(dim=1).argsort(descending=True, stable=True)[:MOST_CHARACTERS]
    kept = sorted(frequent.tolist(), key=lambda i: (not alphabet[i].isalpha(), alphabet[i]))
    shown = counts[kept][:, kept]
    names = [label(alphabet[i]) for i in kept]
    figure, axes = new_figure(4.6)
    heat_map(axes, (shown + 1).double().log10(), unit="log10(1 + times seen)", aspect="equal")
    name_columns(axes, names, rotation=0)
    name_rows(axes, names)
    axes.tick_params(labelsize=8)
    axes.set(xlabel="next character", ylabel="character")
    never = int((shown == 0).sum())
    top = counts.flatten().argsort(descending=True, stable=True)[:10].tolist()
    pairs = [(alphabet[i // len(alphabet)], alphabet[i % len(alphabet)], i) for i in top]
    rows = []
    for first, second, i in pairs:
        times, after = int(counts.flatten()[i]), int(counts[i // len(alphabet)].sum())
        rows.append((repr(first), repr(second), f"{times:,}", f"{times / after:.1%}"))
    first, second, i = pairs[0]
    alt = (
        f"Heat map: how often each of the {len(kept)} most frequent characters follows each other in "
        f"{len(text):,} characters of {what}. The most frequent pair is {label(first)} then "
        f"{label(second)}, {int(counts.flatten()[i]):,} times; {never} of the {len(kept) ** 2} pairs "
        "never occur."
    )
    title = "the most frequent pairs"
    columns = ("character", "next", "times", "share of what follows it")
    return Drawn(figure, alt, [Table(title, columns, rows, (2, 3))], [f"Text: {what}."])


def babbles(text: str, seed: int) -> list[dict[str, Any]]:
    """What four tables say: after 0, 10 and 200 gradient steps, and counted.

    Each: name, loss (nats per character), text, probabilities of its characters after the first.
    """
    from ..bigram import (
        babble,
        bigram_logits,
        cross_entropy,
        gradient_step,
        softmax,
        to_ids,
        to_text,
    )

    alphabet, counts = count(text)
    ids = to_ids(text, alphabet)
    inputs, targets = ids[:-1], ids[1:]
    tables = {}
    logits = torch.zeros(len(alphabet), len(alphabet))
    for step in range(max(STEPS) + 1):
        if step in STEPS:
            name = "before learning" if step == 0 else f"after {step} steps downhill"
            tables[name] = logits
        logits = gradient_step(logits, inputs, targets, RATE)
    tables["by counting"] = bigram_logits(counts, SMOOTHING)
    results = []
    for name, logits in tables.items():
        generator = torch.Generator().manual_seed(seed)
        said = babble(logits, int(ids[0]), BABBLED, generator)
        chances = softmax(logits)[said[:-1], said[1:]].tolist()
        loss = float(cross_entropy(logits[inputs], targets))
        results.append(
            {"name": name, "loss": loss, "text": to_text(said, alphabet), "chances": chances}
        )
    return results


def draw_babble(view: View) -> Drawn:
    """The same table learning to write, character by character."""
    require(view.library, "bigram")
    text, what = text_of(view)
    results = babbles(text, view.wishes.seed)
    pieces = [[drawable(c) if c != "\n" else "↵" for c in each["text"]] for each in results]
    lines = [lines_of(each) for each in pieces]
    height = sum(lines) * LINE_HEIGHT + len(lines) * 0.36 + 0.5
    figure, axes = new_figure(height, len(lines), height_ratios=lines)
    for each, place, signs in zip(results, axes, pieces, strict=True):
        lay_out(place, signs, [None, *each["chances"]])
        place.set_title(f"{each['name']}: loss {each['loss']:.2f} nats per character")
    bar = figure.colorbar(
        _scale(), ax=axes, location="bottom", aspect=40, fraction=0.04, pad=0.02,
        label="probability of each character after the one before",
    )  # fmt: skip
    bar.outline.set_visible(False)
    first, last = results[0], results[-1]
    alt = (
        f"Four texts of {BABBLED} characters written by a table of character pairs ({what}). "
        + " ".join(f"{r['name'].capitalize()} the loss is {r['loss']:.2f} nats." for r in results)
        + f" The first begins {first['text'][:24]!r}, the last {last['text'][:40]!r}."
    )
    rows = [(each["name"], f"{each['loss']:.3f}", repr(each["text"][:60])) for each in results]
    columns = ("table", "loss (nats)", "what it writes")
    return Drawn(figure, alt, [Table("the same table, learning", columns, rows, (1,))])


def _scale() -> Any:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    return ScalarMappable(Normalize(0, 1))


FIGURES = (
    Figure(
        "counts",
        "What follows what",
        "Light cells are pairs that are often seen. Find the row of q, if there is one: what can come "
        "next? Rows are what the model knows; a dark row means a character that is seldom read.",
        draw_counts,
        ("bigram",),
    ),
    Figure(
        "babble",
        "A table learns to write",
        "Each character stands on the colour of the probability that it had after the one before. As "
        "the loss falls the text gets words, though the table sees one character only. Counting gets "
        "at once to where going downhill leads slowly.",
        draw_babble,
        ("bigram",),
    ),
)

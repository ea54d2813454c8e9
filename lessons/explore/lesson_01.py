"""Lesson 01: the tokens of a text."""

from typing import Any

from .drawing import LINE_HEIGHT, MONO, label_bars, new_figure
from .gallery import Drawn, Figure, Table, View
from .library import require
from .material import first_tokens, the_text
from .tokens import labels, token_bytes, written

TITLE = "tokens"
MOST = 60
PER_LINE = 46  # letters and the gaps between boxes
FEW = (0, 100, 1000, 10_000)


def encode(view: View, text: str) -> tuple[list[int], Any]:
    """The ids of a text by lesson 01's tokenizer with the model's merges, and that tokenizer.

    A model whose tokenizer is no byte-pair encoding in GPT-2's order gives its own ids, and None.
    """
    tokenizer = view.subject.tokenizer
    if not hasattr(tokenizer, "merges"):
        return tokenizer.encode(text), None
    require(view.library, "tokenizer")
    from ..tokenizer import BPETokenizer

    own = BPETokenizer(tokenizer.merges, tokenizer.special_tokens)
    return own.encode(text), own


def by_merges(own: Any, text: str) -> list[tuple[int, int]]:
    """(merges, tokens): how many tokens the text is with only the first so many merges."""
    from ..tokenizer import BPETokenizer

    counts = [n for n in FEW if n < len(own.merges)] + [len(own.merges)]
    return [(n, len(BPETokenizer(own.merges[:n]).encode(text))) for n in counts]


def draw_tokens(view: View) -> Drawn:
    """The text cut into tokens, each with its id; below, how many there would be with fewer merges."""
    text = the_text(view)
    view.subject.encode(text)
    ids, own = encode(view, text)
    every = ids
    ids, notes = first_tokens(ids, MOST)
    names = labels(view.subject.tokenizer, ids, 14)
    places, lines = _places(names, ids)
    table = _table(view, ids)
    top = lines * 2.4 * LINE_HEIGHT + 0.1
    if own is None:
        notes.append("This model's tokenizer is not lesson 01's kind, so its library cut the text.")
        figure, upper = new_figure(top)
    else:
        counts = by_merges(own, text)
        bottom = 0.24 * len(counts) + 0.7
        figure, (upper, lower) = new_figure(top + bottom, 2, height_ratios=(top, bottom))
        lower.barh([f"{n:,}" for n, _ in counts], [n for _, n in counts], color="#0072B2")
        label_bars(lower, [n for _, n in counts], "{:,}")
        lower.invert_yaxis()
        lower.set(xlabel="tokens of this text", ylabel="merges used")
    _boxes(upper, names, ids, places, lines)
    n_bytes = len(text.encode())
    n_tokens = len(every)
    cut = ", ".join(f"{name} ({i})" for name, i in zip(names[:12], ids[:12], strict=True))
    alt = (
        f"A text of {n_bytes} bytes as {n_tokens} tokens, {n_bytes / n_tokens:.1f} bytes each: {cut}"
        f"{', and so on' if n_tokens > 12 else ''}."
    )
    if own is not None:
        alt += " With " + ", ".join(f"{n:,} merges {t} tokens" for n, t in counts) + "."
        if own.decode(every) != text:
            notes.append("Decoding these ids does not give the text back.")
    return Drawn(figure, alt, [table], notes)


def _table(view: View, ids: list[int]) -> Table:
    pieces = token_bytes(view.subject.tokenizer, ids)
    rows = [
        (place, i, piece.hex(" "), written(piece))
        for place, (i, piece) in enumerate(zip(ids, pieces, strict=True))
    ]
    return Table("tokens", ("place", "id", "bytes", "text"), rows, (0, 1))


def _places(names: list[str], ids: list[int]) -> tuple[list[tuple[int, int, int]], int]:
    """(line, column, width) of each box, and the number of lines."""
    places, line, column = [], 0, 0
    for name, i in zip(names, ids, strict=True):
        width = max(len(name), len(str(i))) + 1
        if column and column + width > PER_LINE:
            line, column = line + 1, 0
        places.append((line, column, width))
        column += width
    return places, line + 1


def _boxes(axes: Any, names: list[str], ids: list[int], places: list[Any], lines: int) -> None:
    from matplotlib.patches import Rectangle

    fills = ("#dcebf5", "#fbe3cf", "#d5efe5", "#f3e0ec")
    for number, (name, i, (line, column, width)) in enumerate(zip(names, ids, places, strict=True)):
        box = Rectangle((column + 0.1, line), width - 0.2, 0.86, facecolor=fills[number % 4])
        axes.add_patch(box)
        middle = column + width / 2
        axes.text(middle, line + 0.28, name, ha="center", va="center", fontsize=10.5, **MONO)
        axes.text(middle, line + 0.65, str(i), ha="center", va="center", fontsize=8, **MONO)
    axes.set(xlim=(0, PER_LINE), ylim=(lines, 0))
    axes.set_axis_off()


FIGURES = (
    Figure(
        "tokens",
        "A text as tokens",
        "One box is one token, its id below it; a space belongs to the word after it (␣). Frequent "
        "words are one token, rare ones are put together from pieces. Below: the fewer merges, the "
        "longer the text.",
        draw_tokens,
        ("tokenizer",),
    ),
)

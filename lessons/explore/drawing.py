"""The common style of the figures: readable on a phone, in grey print and by colour-blind people.

Surfaces are drawn in cividis, which is made for colour-blind eyes and grows lighter with the value,
so it survives a grey printer. Lines differ by dash and marker as well as by colour (Okabe and Ito
2008). A figure is five inches wide: shrunk to the 390 pixels of a phone its letters stay readable.
"""

from collections.abc import Sequence
from typing import Any, Literal, cast

from cycler import cycler
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

from .tokens import FONTS

WIDTH, DPI = 5.0, 150  # inches, dots per inch: 750 pixels
SURFACE = "cividis"
BLUE, ORANGE, GREEN, PINK, YELLOW, SKY = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
)
GREY = "#6b6b6b"
LINES = cycler(
    color=[BLUE, ORANGE, GREEN, PINK, YELLOW, SKY],
    linestyle=["-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1))],
    marker=["o", "s", "^", "D", "v", "P"],
)
STYLE: Any = {
    "font.family": [FONTS[1]],
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": LINES,
    "lines.markersize": 4,
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    "image.cmap": SURFACE,
    "image.interpolation": "nearest",
    "text.parse_math": False,  # a "$" in a text is a dollar
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
MONO: dict[str, Any] = {
    "family": list(FONTS)
}  # letters of one width, and a second font for what the first lacks


def new_figure(height: float, rows: int = 1, columns: int = 1, **more: Any) -> tuple[Figure, Any]:
    """A figure of `height` inches with rows x columns axes, as matplotlib's `subplots` gives them."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **more)


def in_style() -> Any:
    """The context in which every figure is made and saved."""
    return rc_context(STYLE)


def heat_map(
    axes: Axes, values: Any, *, unit: str | None, low: float | None = None, high: float | None = None,
    aspect: Literal["auto", "equal"] | float = "auto",
) -> Any:  # fmt: skip
    """Draw a matrix, row 0 on top, with a colour bar labelled by `unit` (None: no bar)."""
    image = axes.imshow(values, aspect=aspect, vmin=low, vmax=high)
    axes.spines[:].set_visible(False)
    if unit is not None:
        axes.figure.colorbar(image, ax=axes, label=unit, pad=0.02)
    return image


def name_columns(axes: Axes, names: Sequence[str], rotation: int = 90) -> None:
    """Write a token under each column."""
    axes.set_xticks(range(len(names)), names, rotation=rotation, **MONO)


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Write a token beside each row."""
    axes.set_yticks(range(len(names)), names, **MONO)


def ink_on(share: float) -> str:
    """Black or white, whichever can be read on the colour of `share` (0 to 1) of the surface."""
    red, green, blue, _ = colormaps[SURFACE](min(max(share, 0.0), 1.0))
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.46 else "white"


def label_bars(axes: Axes, values: Sequence[float], form: str, pad: float = 3) -> None:
    """Write its number at the end of each horizontal bar, with room for it."""
    bars = cast(BarContainer, axes.containers[-1])
    axes.bar_label(bars, [form.format(v) for v in values], padding=pad, fontsize=9)
    axes.margins(x=0.22)


def lay_out(
    axes: Axes, pieces: Sequence[str], shares: Sequence[float | None], per_line: int = 56
) -> int:
    """Write pieces of text one after the other, each on a colour by its share (None: on white).

    Letters all have one width, so a piece's place follows from the letters before it. Returns the
    number of lines; the axes must be as many lines high as that (see `lines_of`).
    """
    line, column = 0, 0
    for piece, share in zip(pieces, shares, strict=True):
        for at, part in enumerate(piece.split("\n")):
            if at or (column and column + len(part) > per_line):
                line, column = line + 1, 0
            if share is not None and part:
                box: dict[str, Any] = {
                    "facecolor": colormaps[SURFACE](share),
                    "edgecolor": "white",
                    "linewidth": 0.6,
                }
                from matplotlib.patches import Rectangle

                axes.add_patch(Rectangle((column, line + 0.04), len(part), 0.92, **box))
            ink = "black" if share is None else ink_on(share)
            axes.text(column, line + 0.5, part, va="center", color=ink, fontsize=LETTER, **MONO)
            column += len(part)
    axes.set(xlim=(0, per_line), ylim=(line + 1, 0))
    axes.set_axis_off()
    return line + 1


LETTER = 9  # points
LINE_HEIGHT = 0.19  # inches for a line of text


def lines_of(pieces: Sequence[str], per_line: int = 56) -> int:
    """How many lines `lay_out` will take."""
    line, column = 0, 0
    for piece in pieces:
        for at, part in enumerate(piece.split("\n")):
            if at or (column and column + len(part) > per_line):
                line, column = line + 1, 0
            column += len(part)
    return line + 1

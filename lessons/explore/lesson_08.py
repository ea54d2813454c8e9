"""Lesson 08: how a distribution is reshaped, and the same prompt under many settings."""

from collections.abc import Callable
from typing import Any

import torch

from .drawing import BLUE, GREY, LINE_HEIGHT, lay_out, lines_of, name_rows, new_figure
from .gallery import Drawn, Figure, Table, View
from .library import NotWrittenError, require, stretch
from .options import PROMPT
from .tokens import drawable, labels, token_bytes, written
from .writing import surprises, write_on

TITLE = "choosing the next token"
SHOWN = 10  # tokens with a bar


def the_prompt(view: View) -> list[int]:
    """The ids of the prompt."""
    return view.subject.encode(view.wishes.prompt or PROMPT, "--prompt")


def entropy(logits: torch.Tensor) -> float:
    """How unsure a distribution is, in bits; logits: (V,), -inf allowed."""
    p = torch.softmax(logits.double(), dim=-1)
    return float(torch.special.entr(p).sum() / torch.tensor(2.0).log())


def shapes(view: View, logits: torch.Tensor) -> dict[str, torch.Tensor]:
    """The distribution as it is, and under each of the functions; (V,) each."""
    from ..samplers import temperature, top_k, top_p

    ways: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "as the model gave it": lambda x: x,
        "temperature 0.5": lambda x: temperature(x, 0.5),
        "temperature 1.5": lambda x: temperature(x, 1.5),
        "top-k 4": lambda x: top_k(x, 4),
        "top-p 0.6": lambda x: top_p(x, 0.6),
    }
    try:
        min_p = stretch(view.library, "samplers", "min_p")
        ways["min-p 0.1"] = lambda x: min_p(x, 0.1)
    except NotWrittenError:
        pass
    return {name: way(logits.unsqueeze(0)).squeeze(0) for name, way in ways.items()}


def draw_reshaping(view: View) -> Drawn:
    """One real distribution, six times."""
    require(view.library, "bigram", "samplers")
    ids = the_prompt(view)
    logits = view.subject.logits(ids)[-1]
    ways = shapes(view, logits)
    plain = torch.softmax(logits, dim=-1)
    top = plain.argsort(descending=True, stable=True)[:SHOWN]
    names = labels(view.subject.tokenizer, top.tolist(), 10)
    rows = -(-len(ways) // 2)
    figure, axes = new_figure(0.5 + 2.15 * rows, rows, 2, sharex=True, sharey=True, squeeze=False)
    table, said = [], []
    highest = max(float(torch.softmax(shaped, -1).max()) for shaped in ways.values())
    for place, (name, shaped) in zip(axes.flat, ways.items(), strict=False):
        p = torch.softmax(shaped, dim=-1)
        kept = int((p > 0).sum())
        many = "1 token" if kept == 1 else f"{kept:,} tokens"
        place.barh(range(SHOWN), p[top] * 100, color=BLUE)
        place.barh(range(SHOWN), plain[top] * 100, facecolor="none", edgecolor=GREY, linewidth=0.9)
        place.set(title=name, xlim=(0, 100 * highest * 1.05))
        place.text(
            0.97, 0.05, f"{many}\n{entropy(shaped):.1f} bits", transform=place.transAxes,
            ha="right", va="bottom", fontsize=9,
        )  # fmt: skip
        best = float(p.max())
        table.append((name, f"{kept:,}", f"{best:.1%}", f"{entropy(shaped):.2f}"))
        said.append(f"{name}: {many} left, the best {best:.0%}, {entropy(shaped):.1f} bits")
    name_rows(axes[0, 0], names)
    axes[0, 0].invert_yaxis()
    for place in axes.flat[len(ways) :]:
        place.set_axis_off()
    figure.supxlabel("probability (%); outlined: as the model gave it", fontsize=10)
    alt = (
        f"Bars of the {SHOWN} most probable next tokens, {', '.join(names)}, under {len(ways)} ways of "
        f"choosing. {'; '.join(said)}."
    )
    columns = ("way", "tokens left", "most probable", "entropy (bits)")
    tables = [
        Table("one distribution, reshaped", columns, table, (1, 2, 3)),
        predictions_table(view, ids, plain, top),
    ]
    shown = drawable(view.subject.tokenizer.decode(ids))
    return Drawn(figure, alt, tables, [f"After the prompt: {shown}"])


def predictions_table(view: View, ids: list[int], plain: torch.Tensor, top: torch.Tensor) -> Table:
    """The model's first choices for the next token."""
    pieces = token_bytes(view.subject.tokenizer, top.tolist())
    rows = [
        (rank, int(i), written(piece), f"{float(plain[i]):.2%}")
        for rank, (i, piece) in enumerate(zip(top, pieces, strict=True), start=1)
    ]
    return Table("top predictions", ("rank", "id", "token", "probability"), rows, (0, 1, 3))


def continuations(view: View) -> list[dict[str, Any]]:
    """The prompt under each setting.

    Each: name, ids (what was added), bits (surprise at each), and repeated (share of its groups of
    three tokens that stood there before).
    """
    prompt = the_prompt(view)
    results = []
    for name, settings in view.wishes.settings.items():
        added = write_on(view, prompt, view.wishes.tokens, settings)
        bits = surprises(view.subject, prompt + added, len(prompt)) if added else torch.zeros(0)
        groups = list(zip(added, added[1:], added[2:], strict=False))
        repeated = 1 - len(set(groups)) / len(groups) if groups else 0.0
        results.append({"name": name, "ids": added, "bits": bits, "repeated": repeated})
    return results


def draw_settings(view: View) -> Drawn:
    """The same prompt continued under every setting, each token on the colour of its surprise."""
    require(view.library, "bigram", "samplers")
    results = continuations(view)
    every = []
    for each in results:
        pieces = [
            drawable(p.decode("utf-8", "backslashreplace").replace("\n", "↵"))
            for p in token_bytes(view.subject.tokenizer, each["ids"])
        ]
        every.append(pieces or ["(the end at once)"])
    lines = [lines_of(pieces) for pieces in every]
    height = sum(lines) * LINE_HEIGHT + 0.38 * len(lines) + 0.6
    figure, axes = new_figure(height, len(lines), height_ratios=lines, squeeze=False)
    most = 10.0
    rows, said = [], []
    for place, each, pieces in zip(axes[:, 0], results, every, strict=True):
        skipped = len(pieces) - len(each["bits"])  # beyond a sliding window nothing is measured
        shares = [None] * skipped + [min(b / most, 1.0) for b in each["bits"].tolist()]
        lay_out(place, pieces, shares)
        mean = float(each["bits"].mean()) if len(each["bits"]) else 0.0
        place.set_title(
            f"{drawable(each['name'])[:34]}: {mean:.1f} bits per token, {each['repeated']:.0%} repeated",
            fontsize=9.5,
        )
        text = view.subject.tokenizer.decode(each["ids"])
        rows.append(
            (each["name"], len(each["ids"]), f"{mean:.2f}", f"{each['repeated']:.0%}", repr(text))
        )
        said.append(f"{each['name']}: {mean:.1f} bits per token, {each['repeated']:.0%} repeated")
    _bar(figure, axes, most)
    alt = f"One prompt continued under {len(results)} settings. {'; '.join(said)}."
    columns = ("setting", "tokens", "bits per token", "repeated", "text")
    shown = drawable(view.wishes.prompt or PROMPT)
    notes = [
        f"The prompt: {shown}",
        "Repeated: the share of groups of three tokens that stood there before.",
    ]
    return Drawn(figure, alt, [Table("one prompt, many settings", columns, rows, (1, 2, 3))], notes)


def _bar(figure: Any, axes: Any, most: float) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    figure.colorbar(
        ScalarMappable(Normalize(0, most)), ax=axes, location="bottom", aspect=40, fraction=0.04,
        pad=0.02, label="surprise of the model at each token (bits)", extend="max",
    )  # fmt: skip


FIGURES = (
    Figure(
        "reshaping",
        "One distribution, reshaped",
        "A low temperature sharpens, a high one flattens; top-k keeps so many tokens, top-p as many as "
        "it takes to hold that much probability together, min-p those that are not far behind the best.",
        draw_reshaping,
        ("bigram", "samplers"),
    ),
    Figure(
        "settings",
        "One prompt, many settings",
        "Dark text is what the model expected, light text surprised it. Greedy texts are dark and soon "
        "repeat themselves; a high temperature is light, and loses the thread.",
        draw_settings,
        ("samplers",),
    ),
)

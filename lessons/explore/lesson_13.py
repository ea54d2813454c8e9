"""Lesson 13: what int8 does to every layer, how much can be pruned, and what a student hears."""

from copy import deepcopy
from typing import Any

import torch

from .drawing import BLUE, GREEN, GREY, ORANGE, new_figure
from .gallery import Drawn, Figure, Table, View
from .lesson_08 import the_prompt
from .library import NotWrittenError, require, stretch
from .material import corpus
from .tokens import labels

TITLE = "compression"
READ = 256  # tokens of text for the errors of the layers
MEASURED = 256  # tokens for every point of the pruning curve: a small model takes seconds
SPARSITIES = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
FEW_SPARSITIES = (0.0, 0.3, 0.5, 0.7, 0.9)  # of a large model: each time all weights are sorted
TEMPERATURES = (1.0, 2.0, 4.0)
SHOWN = 10  # tokens with a bar
USED = ("attention", "blocks", "model", "perplexity", "compression")


def text_of(view: View, most: int) -> tuple[list[int], int, str]:
    """The beginning of the texts at hand: ids with <|endoftext|> first, bytes, what they are."""
    documents, what = corpus(view, 20)
    tokenizer = view.subject.tokenizer
    ids = tokenizer.encode("\n\n".join(documents))[:most]
    return [tokenizer.end_of_text, *ids], len(tokenizer.decode_bytes(ids)), what


def short_name(name: str) -> str:
    """ "transformer.h.3.attn.c_proj" as "3 attn.c_proj"."""
    parts = name.split(".")
    return f"{parts[-3]} {parts[-2]}.{parts[-1]}"


def draw_int8(view: View) -> Drawn:
    """For every layer, how far its outputs are off in int8, with full and with int8 inputs."""
    require(view.library, *USED)
    from ..engine.compression.quantising import layer_errors

    ids, _, what = text_of(view, min(READ, view.subject.block_size - 1))
    model, window = view.subject.ours, torch.tensor([ids])
    found = {both: layer_errors(model, window, both) for both in (False, True)}
    names = [short_name(name) for name in found[False]]
    places = range(len(names))
    figure, (left, right) = new_figure(
        1.0 + 0.17 * len(names), 1, 2, sharey=True, width_ratios=(3, 2)
    )
    for both, color, marker, label in (
        (False, BLUE, "o", "weights"),
        (True, ORANGE, "s", "weights and inputs"),
    ):
        errors = [error.relative * 100 for error in found[both].values()]
        left.plot(errors, places, color=color, marker=marker, linestyle="", label=label)
        shares = [error.of_bound * 100 for error in found[both].values()]
        right.plot(shares, places, color=color, marker=marker, linestyle="")
    left.set(xlabel="error (% of the output)", yticks=places, yticklabels=names)
    left.set_xlim(left=0)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    right.set(xlabel="largest (% of its bound)", xlim=(0, 105))
    right.axvline(100, color=GREY, linestyle=":", marker="")
    left.invert_yaxis()
    rows = [
        (name, f"{a.largest:.4f}", f"{a.relative:.2%}", f"{a.of_bound:.0%}", f"{b.relative:.2%}",
         f"{b.of_bound:.0%}")
        for name, a, b in zip(names, found[False].values(), found[True].values(), strict=True)
    ]  # fmt: skip
    columns = (
        "layer",
        "largest error",
        "of the output",
        "of its bound",
        "inputs too",
        "of its bound",
    )
    worst = {both: max(error.relative for error in found[both].values()) for both in found}
    most = max(error.of_bound for each in found.values() for error in each.values())
    alt = (
        f"For {len(names)} linear layers, the error that int8 makes: at most {worst[False]:.2%} of the "
        f"output with int8 weights, {worst[True]:.2%} with int8 inputs too. The largest single error "
        f"is {most:.0%} of its bound."
    )
    table = Table("int8, layer by layer", columns, rows, (1, 2, 3, 4, 5))
    return Drawn(figure, alt, [table], [f"Text: {what}, {len(ids):,} tokens."])


def bits(view: View, model: Any, ids: list[int], n_bytes: int) -> float:
    """Bits per byte of a text, by lesson 10."""
    from ..perplexity import bits_per_byte, score

    window = min(view.subject.block_size, 128)
    nats, _ = score(model, torch.tensor(ids), window, window)
    return bits_per_byte(nats, n_bytes)


def draw_pruning(view: View) -> Drawn:
    """Bits per byte against the share of weights that are zero: global, layer by layer, 2:4."""
    require(view.library, "bigram", *USED)
    from ..compression import apply_masks, prune_by_magnitude
    from ..engine.compression.pruning import prunable

    ids, n_bytes, what = text_of(view, MEASURED)
    full = view.subject.ours
    sparsities = FEW_SPARSITIES if view.subject.is_large else SPARSITIES

    def pruned(masks: dict[str, torch.Tensor]) -> float:
        model = deepcopy(full)
        apply_masks(model, masks)
        return bits(view, model, ids, n_bytes)

    curves = {
        scope: [pruned(prune_by_magnitude(prunable(full), share, scope)) for share in sparsities]
        for scope in ("global", "layer")
    }
    figure, axes = new_figure(3.2)
    percent = [100 * share for share in sparsities]
    axes.plot(percent, curves["global"], color=BLUE, marker="o", label="the smallest of all")
    axes.plot(percent, curves["layer"], color=ORANGE, linestyle="--", marker="s",
              label="the same share of each layer")  # fmt: skip
    notes = [f"Text: {what}, {len(ids) - 1:,} tokens. Nothing was trained after pruning."]
    rows = [
        (f"{share:.0%}", *(f"{curves[scope][i]:.3f}" for scope in curves))
        for i, share in enumerate(sparsities)
    ]
    try:
        n_m = stretch(view.library, "compression", "prune_n_m")
        at = pruned({name: n_m(weight) for name, weight in prunable(full).items()})
        axes.plot(
            [50], [at], color=GREEN, marker="^", markersize=7, linestyle="", label="2 of every 4"
        )
        rows.append(("2 of 4 (50%)", f"{at:.3f}", ""))
    except (NotWrittenError, ValueError) as error:  # widths that are no multiple of 4
        notes.append(f"2 of every 4 is left out: {error}.")
    axes.set(xlabel="weights set to zero (%)", ylabel="bits per byte")
    axes.set_ylim(0, min(max(max(curve) for curve in curves.values()), 8) * 1.05)
    axes.legend()
    half, most = sparsities.index(0.5), len(sparsities) - 1
    alt = (
        f"Bits per byte over the share of weights set to zero: {curves['global'][0]:.2f} with all of "
        f"them; at half, {curves['global'][half]:.2f} when the smallest of all go and "
        f"{curves['layer'][half]:.2f} with half of each layer; at 90 %, {curves['global'][most]:.2f} "
        f"and {curves['layer'][most]:.2f}."
    )
    table = Table("pruned", ("zeros", "of all", "of each layer"), rows, (1, 2))
    return Drawn(figure, alt, [table], notes)


def draw_soft(view: View) -> Drawn:
    """What the text teaches about one place, and what a teacher does, at several temperatures."""
    require(view.library, *USED)
    from ..compression import distillation_loss
    from ..engine.compression.distilling import every_other, make_student

    ids = the_prompt(view)
    teacher = view.subject.ours
    with torch.no_grad():
        logits = teacher(torch.tensor([ids]))[0][0, -1]
        layers = every_other(teacher.config.n_layer)
        student = make_student(teacher, layers, view.wishes.seed).eval()
        told, said = (model(torch.tensor([ids]))[0] for model in (teacher, student))
    top = logits.argsort(descending=True, stable=True)[:SHOWN]
    names = labels(view.subject.tokenizer, top.tolist(), 10)
    figure, axes = new_figure(3.4, 1, 1 + len(TEMPERATURES), sharey=True)
    hard = torch.zeros(SHOWN)
    hard[0] = 1.0
    panels = [("the text", hard)] + [
        (f"T = {t:g}", torch.softmax(logits / t, dim=-1)[top]) for t in TEMPERATURES
    ]
    for place, (title, p) in zip(axes, panels, strict=True):
        is_text = title == "the text"
        place.barh(range(SHOWN), p * 100, color=ORANGE if is_text else BLUE)
        place.set(title=title, xlim=(0, 105 * float(p[0])))
    axes[0].set_yticks(range(SHOWN), names, family="monospace")
    axes[0].invert_yaxis()
    figure.suptitle("the text, and the teacher at temperature T (scales differ)", fontsize=10.5)
    figure.supxlabel("probability of the next token (%)", fontsize=10)
    targets = torch.tensor([[*ids[1:], int(top[0])]])
    losses = [
        (f"{t:g}", f"{float(distillation_loss(said, told, targets, t, 1.0)):.3f}",
         f"{float(distillation_loss(said, told, targets, t, 0.0)):.3f}")
        for t in TEMPERATURES
    ]  # fmt: skip
    rows = [(name, *(f"{float(p[i]):.1%}" for _, p in panels)) for i, name in enumerate(names)]
    alt = "The next token's probabilities: the text names one, with 100 %. " + "; ".join(
        f"the teacher at temperature {t:g} gives {float(p[0]):.0%}, {float(p[1]):.0%} and "
        f"{float(p[2]):.0%} to its first three"
        for t, (_, p) in zip(TEMPERATURES, panels[1:], strict=True)
    )
    tables = [
        Table("what a student hears", ("token", *(title for title, _ in panels)), rows, (1, 2, 3, 4)),
        Table(
            f"a student of layers {', '.join(map(str, layers))}, before any training",
            ("temperature", "teacher's part of the loss", "the text's part"), losses, (1, 2),
        ),
    ]  # fmt: skip
    return Drawn(
        figure,
        alt + ".",
        tables,
        ["“The text” stands for a text that went on with the likeliest token."],
    )


FIGURES = (
    Figure(
        "int8",
        "Eight bits, layer by layer",
        "Each point is a layer. The errors stay far below their bound: in a sum of hundreds, most of "
        "them cancel. Rounding the inputs as well costs about as much again.",
        draw_int8,
        USED,
    ),
    Figure(
        "pruning",
        "How much can go?",
        "A third costs next to nothing; then the curve bends. Where? Nothing was trained afterwards: that "
        "would win much of it back.",
        draw_pruning,
        ("bigram", *USED),
    ),
    Figure(
        "soft",
        "What a student hears",
        "The text names one token. The teacher also says what would have been nearly as good; a higher "
        "temperature says it louder. Mind the scales below.",
        draw_soft,
        USED,
    ),
)

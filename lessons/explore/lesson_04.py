"""Lesson 04: how the stream grows from block to block, and the bend inside each of them."""

import math
from typing import Any

import numpy as np
import torch

from .drawing import BLUE, GREEN, GREY, ORANGE, new_figure
from .gallery import Drawn, Figure, Table, View
from .library import require
from .material import first_tokens, the_text
from .tokens import labels

TITLE = "blocks"
MOST = 64


def run_blocks(subject: Any, ids: list[int]) -> dict[str, torch.Tensor]:
    """Send a text through lesson 04's blocks with the model's weights in them, and listen.

    Returns lengths of vectors: "stream" (L + 1, T), before the first block and behind each;
    "attention" and "mlp" (L, T), what these add; and "bend" (L, T * I), what enters `gelu`.
    """
    from ..blocks import Block

    config = subject.config
    heard: dict[str, list[torch.Tensor]] = {"attention": [], "mlp": [], "bend": []}

    def listen(name: str) -> Any:
        return lambda _, inputs, output: heard[name].append(output[0])

    places = subject.place_table[: len(ids)]
    x = (subject.token_table[ids] + places).unsqueeze(0)
    stream = [x[0]]
    shape = (config.n_embd, config.n_head, config.n_inner)
    for layer in range(config.n_layer):
        block = Block(*shape, eps=config.layer_norm_epsilon)
        subject.fill(block, f"transformer.h.{layer}.")
        block.attn.register_forward_hook(listen("attention"))
        block.mlp.register_forward_hook(listen("mlp"))
        block.mlp.c_fc.register_forward_hook(listen("bend"))
        with torch.no_grad():
            x = block(x)
        stream.append(x[0])
    return {
        "stream": torch.stack([state.norm(dim=-1) for state in stream]),
        "attention": torch.stack([part.norm(dim=-1) for part in heard["attention"]]),
        "mlp": torch.stack([part.norm(dim=-1) for part in heard["mlp"]]),
        "bend": torch.stack([part.flatten() for part in heard["bend"]]),
    }


def _heard(view: View) -> tuple[dict[str, torch.Tensor], list[int], list[str]]:
    require(view.library, "attention", "blocks")
    view.subject.refuse_others()
    ids, notes = first_tokens(view.subject.encode(the_text(view)), MOST)
    return view.once("blocks", lambda: run_blocks(view.subject, ids)), ids, notes


def draw_norms(view: View) -> Drawn:
    """The length of every token's vector, layer by layer, and who added how much."""
    heard, ids, notes = _heard(view)
    stream = heard["stream"]
    n_layer = len(stream) - 1
    names = labels(view.subject.tokenizer, ids)
    figure, (upper, lower) = new_figure(6.0, 2, height_ratios=(3, 2))
    upper.plot(stream[:, 1:], color="#9a9a9a", linewidth=0.7, linestyle="-", marker="")
    upper.plot([], color="#9a9a9a", linewidth=0.7, marker="", label="each other token")
    median = stream.median(dim=1).values
    upper.plot(median, color=BLUE, linestyle="-", marker="o", label="median")
    upper.plot(
        stream[:, 0], color=ORANGE, linestyle="--", marker="s", label=f"the first token, {names[0]}"
    )
    upper.set(yscale="log", xlabel="behind block (0: what enters)", ylabel="length of the vector")
    upper.yaxis.set_major_formatter("{x:g}")
    upper.set_title("the stream")
    upper.legend()
    upper.set_xticks(range(n_layer + 1))
    added = {name: heard[name].median(dim=1).values for name in ("attention", "mlp")}
    for offset, color, hatch, (name, values) in zip(
        (-0.2, 0.2), (GREEN, BLUE), ("", "//"), added.items(), strict=True
    ):
        places = torch.arange(1, n_layer + 1) + offset
        lower.bar(places, values, width=0.38, color=color, hatch=hatch, edgecolor="white",
                  label="MLP" if name == "mlp" else name)  # fmt: skip
    lower.set(xlabel="block", ylabel="length (median)", title="what each block adds")
    lower.set_xticks(range(1, n_layer + 1))
    lower.margins(y=0.3)
    lower.legend(ncols=2, loc="upper left")
    rows = [
        (behind, f"{median[behind]:.2f}", f"{stream[behind, 0]:.2f}",
         *(f"{values[behind - 1]:.2f}" if behind else "" for values in added.values()))
        for behind in range(n_layer + 1)
    ]  # fmt: skip
    alt = (
        f"Lines: the median length of the {len(ids)} tokens' vectors goes from {median[0]:.1f} before the "
        f"first block to {median[-1]:.1f} behind block {n_layer}; that of the first token from "
        f"{stream[0, 0]:.1f} to {stream[-1, 0]:.1f}. Bars: what attention adds goes from "
        f"{added['attention'][0]:.1f} to {added['attention'][-1]:.1f}, what the MLP adds from "
        f"{added['mlp'][0]:.1f} to {added['mlp'][-1]:.1f}."
    )
    columns = ("behind block", "median length", "first token", "attention added", "MLP added")
    table = Table("length of the vectors in the stream", columns, rows, (0, 1, 2, 3, 4))
    return Drawn(figure, alt, [table], notes)


def curves(low: float = -4.0, high: float = 4.0) -> dict[str, torch.Tensor]:
    """x, lesson 04's gelu of it, and its slope by autograd."""
    from ..blocks import gelu

    x = torch.linspace(low, high, 401).requires_grad_()
    y = gelu(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    return {"x": x.detach(), "gelu": y.detach(), "slope": slope}


def draw_gelu(view: View) -> Drawn:
    """The bend and its slope, and what really enters it in a model."""
    require(view.library, "blocks")
    drawn = curves()
    x = drawn["x"]
    try:
        bend = _heard(view)[0]["bend"] if view.subject.family != "other" else None
    except NotImplementedError:
        bend = None
    figure, axes = new_figure(
        5.6 if bend is not None else 3.0, 1 if bend is None else 2, squeeze=False
    )
    upper = axes[0, 0]
    upper.plot(x, drawn["gelu"], color=BLUE, linestyle="-", marker="", label="gelu")
    upper.plot(x, x.relu(), color=GREY, linestyle=":", marker="", label="ReLU: max(0, x)")
    upper.plot(x, drawn["slope"], color=ORANGE, linestyle="--", marker="", label="slope of gelu")
    upper.set(xlabel="x", ylabel="value", ylim=(-0.4, 3))
    upper.legend()
    lowest = int(drawn["gelu"].argmin())
    alt = (
        f"Curves: gelu is near 0 far left and near x far right; its lowest value is "
        f"{drawn['gelu'][lowest]:.3f} at x = {x[lowest]:.2f}."
    )
    tables = []
    if bend is not None:
        lower = axes[1, 0]
        values = bend.flatten()
        low, high = (float(np.quantile(values, q)) for q in (0.005, 0.995))
        edges = torch.linspace(math.floor(low), math.ceil(high), 81)
        shares = torch.histogram(values, edges).hist / bend.numel() * 100
        lower.stairs(shares, edges, fill=True, color=BLUE)
        lower.axvline(0, color=GREY, linestyle=":", linewidth=1)
        lower.set(xlabel="what enters gelu, all blocks together", ylabel="share (%)")
        below = (bend < 0).double().mean(dim=1)
        lower.set_title(f"{view.subject.name}: {float(below.mean()):.0%} are below 0", fontsize=9.5)
        alt += (
            f" Below, a histogram of what enters gelu in {view.subject.name}: {float(below.mean()):.0%} of "
            f"the numbers are below 0, from {float(below.min()):.0%} to {float(below.max()):.0%} by block."
        )
        rows = [
            (
                layer,
                f"{float(share):.1%}",
                f"{float(values.mean()):.2f}",
                f"{float(values.std()):.2f}",
            )
            for layer, (share, values) in enumerate(zip(below, bend, strict=True), start=1)
        ]
        columns = ("block", "below 0", "mean", "standard deviation")
        tables = [Table("what enters gelu", columns, rows, (0, 1, 2, 3))]
    return Drawn(figure, alt, tables)


FIGURES = (
    Figure(
        "norms",
        "The stream grows from block to block",
        "Blocks only add, so vectors grow longer. In trained GPT-2s the first token's vector becomes "
        "huge early: heads rest there. The bars say who adds how much, attention or the MLP.",
        draw_norms,
        ("attention", "blocks"),
    ),
    Figure(
        "gelu",
        "The bend inside the MLP",
        "gelu lets large numbers pass and nearly stops negative ones, without a corner. In trained "
        "models most of what enters it lies below 0: at any place most of the MLP is silent.",
        draw_gelu,
        ("blocks",),
    ),
)

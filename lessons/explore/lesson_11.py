"""Lesson 11: rotary phases, one sentence in two places, and one prompt through both kinds of block."""

from collections.abc import Iterable
from typing import Any

import torch
from matplotlib.ticker import LogLocator, NullFormatter

from ..engine.errors import CourseError
from .drawing import BLUE, GREEN, GREY, LINES, ORANGE, heat_map, name_columns, name_rows, new_figure
from .gallery import Drawn, Figure, Table, View
from .lesson_04 import run_blocks
from .library import require
from .material import first_tokens, the_text
from .subject import Subject
from .tokens import labels

TITLE = "modern blocks"
HEAD_SIZE = 64  # of SmolLM2 and most small models
PLACES = 128
THETAS = {"GPT-NeoX and Llama 2": 1e4, "SmolLM2": 1e5, "Llama 3": 5e5}
FARTHEST = 256
MOST = 12  # tokens of a map that are still readable
AWAY = 40  # places


def draw_phases(view: View) -> Drawn:
    """The angle of every pair of channels at every place, and what that does to products."""
    require(view.library, "attention", "blocks", "model", "modern")
    from ..modern import rotary

    half = HEAD_SIZE // 2
    hand = torch.cat([torch.ones(half), torch.zeros(half)])  # every pair's hand points at 1
    turned = rotary(hand.expand(1, 1, PLACES, HEAD_SIZE))[0, 0]  # (T, D)
    figure, (upper, lower) = new_figure(6.4, 2, height_ratios=(3, 2))
    heat_map(upper, turned[:, :half], unit="cosine of the angle", low=-1, high=1)
    upper.set(xlabel="pair of channels", ylabel="place in the text")
    upper.set_title("how far each pair has turned")
    distances = torch.arange(FARTHEST)
    alike = {}
    styles: Iterable[dict[str, Any]] = LINES
    for style, (name, theta) in zip(styles, THETAS.items(), strict=False):
        far = rotary(hand.expand(1, 1, FARTHEST, HEAD_SIZE), theta=theta)[0, 0]
        alike[name] = far @ hand / half  # (T,): a vector with itself, so many places away
        style = style | {"marker": "", "linewidth": 1.2, "label": f"{theta:,.0f} ({name})"}
        lower.plot(distances, alike[name], **style)
    lower.axhline(0, color=GREY, linewidth=0.7, linestyle=":")
    lower.set(xlim=(0, FARTHEST), ylim=(-0.1, 1.25), xlabel="distance in places")
    lower.set_ylabel("mean product")
    lower.set_title("a vector with itself, farther and farther away")
    lower.legend(title="theta", loc="upper right")
    shown = (0, 1, 2, 4, 8, 16, half - 1)
    rows = []
    for pair in shown:
        speed = 1e4 ** (-2 * pair / HEAD_SIZE)
        rows.append(
            (pair, f"{speed:.5f}", f"{2 * torch.pi / speed:,.0f}", f"{turned[1, pair]:.4f}",
             f"{turned[10, pair]:.4f}", f"{turned[100, pair]:.4f}")
        )  # fmt: skip
    alt = (
        f"A map of {PLACES} places and {half} pairs of channels: the first pair turns once in 6 places "
        f"and stripes the map, the last hardly turns at all (its cosine at place {PLACES - 1} is "
        f"{turned[-1, half - 1]:.3f}). Below, the mean product of a vector with itself falls with the "
        "distance: "
        + "; ".join(f"theta {THETAS[n]:,.0f}: {v[100]:.2f} at 100 places" for n, v in alike.items())
    )
    columns = ("pair", "angle per place", "places for a turn", "cos at 1", "at 10", "at 100")
    table = Table(f"theta 10,000, head size {HEAD_SIZE}", columns, rows, (0, 1, 2, 3, 4, 5))
    return Drawn(figure, alt + ".", [table])


def the_llama(view: View) -> tuple[Any, Any, str]:
    """A Llama, its tokenizer, and what to call it: the one that is named, or our own small one."""
    return view.once("llama", lambda: _find_llama(view))


def _find_llama(view: View) -> tuple[Any, Any, str]:
    from pathlib import Path

    from ..engine.architectures import load_any
    from ..engine.pretrained import find_folder
    from ..engine.storyteller import llama_folder
    from ..engine.tokenizers import load_tokenizer

    wanted = view.wishes.against
    folder = Path(wanted).expanduser() if wanted else llama_folder()
    best = folder / "checkpoints" / "best"
    folder = best if best.is_dir() else find_folder(str(folder), view.wishes.download)
    model = load_any(folder)
    if not hasattr(model.config, "n_kv_head"):
        raise CourseError(f"--against {wanted} is no Llama; name the folder of one")
    return model, load_tokenizer(str(folder)), Path(wanted).name if wanted else "our small Llama"


def gpt_subject(view: View) -> Subject:
    """The model of GPT-2's family that the Llama is compared with."""
    view.subject.refuse_others()
    return view.subject


@torch.no_grad()
def weights_of_gpt(subject: Subject, ids: list[int], start: int) -> torch.Tensor:
    """First layer's attention weights, (H, T, T), of a text that begins at place `start`."""
    from ..attention import causal_mask, scaled_dot_product_attention, split_heads

    places = subject.place_table
    assert places is not None  # GPT-2's family has one
    x = subject.token_table[ids] + places[start : start + len(ids)]
    x = subject.norm(x, 0, "ln_1").unsqueeze(0)
    weight, bias = (
        subject.raw[f"transformer.h.0.attn.c_attn.{part}"] for part in ("weight", "bias")
    )
    projected = x @ (weight if subject.family == "gpt2" else weight.mT) + bias
    q, k, v = (split_heads(part, subject.config.n_head) for part in projected.chunk(3, dim=-1))
    return scaled_dot_product_attention(q, k, v, causal_mask(len(ids)))[1][0]


@torch.no_grad()
def weights_of_llama(model: Any, ids: list[int], start: int) -> torch.Tensor:
    """The same of a Llama: nothing but the rotation knows where the text begins."""
    layer = model.model.layers[0]
    seen: list[torch.Tensor] = []
    attention, attend = layer.self_attn, layer.self_attn.attend

    def listen(*arguments: Any) -> Any:
        output, weights = attend(*arguments)
        seen.append(weights)
        return output, weights

    attention.attend = listen
    try:
        attention(layer.input_layernorm(model.model.embed_tokens(torch.tensor([ids]))), start)
    finally:
        attention.attend = attend
    return seen[0][0]


def draw_places(view: View) -> Drawn:
    """The same words at the beginning and farther on, in both models."""
    require(view.library, "attention", "blocks", "model", "modern")
    subject = gpt_subject(view)
    llama, tokenizer, name = the_llama(view)
    text = the_text(view)
    figure, axes = new_figure(6.6, 2, 2)
    rows, said, notes = [], [], []
    for line, (title, ids, weights) in enumerate(
        (
            (subject.name, subject.encode(text), lambda i, s: weights_of_gpt(subject, i, s)),
            (name, tokenizer.encode(text), lambda i, s: weights_of_llama(llama, i, s)),
        )
    ):
        ids, cut = first_tokens(ids, MOST)
        size = (subject if line == 0 else llama.config).block_size
        away = max(1, min(AWAY, size - len(ids)))
        here, there = weights(ids, 0), weights(ids, away)
        change = (here - there).abs()
        head = int(change.amax(dim=(1, 2)).argmax())
        largest = float(change.max())
        words = labels(tokenizer if line else subject.tokenizer, ids)
        for place, (values, where) in zip(
            axes[line], ((here, "at place 0"), (there, f"at place {away}")), strict=True
        ):
            heat_map(place, values[head], unit=None, low=0, high=1)
            place.set_title(f"{where}")
            name_columns(place, words)
            place.set_yticks([])
        name_rows(axes[line][0], words)
        axes[line][0].set_ylabel("GPT-2's parts" if line == 0 else "Llama's parts")
        rows.append((title, head, f"{away} places", f"{largest:.7f}"))
        said.append(f"in {title} (head {head}) a weight changes by up to {largest:.6f}")
        notes += [note for note in cut if note not in notes]
    alt = (
        f"Four maps of the first layer's attention weights for the same words at the beginning of a text "
        f"and some places on: {'; '.join(said)}."
    )
    columns = ("model", "head", "moved by", "largest change of a weight")
    return Drawn(figure, alt, [Table("the same words elsewhere", columns, rows, (1, 3))], notes)


@torch.no_grad()
def run_llama_blocks(model: Any, ids: list[int]) -> dict[str, torch.Tensor]:
    """Lengths of vectors on their way through a Llama, as `run_blocks` of lesson 04 gives them."""
    heard: dict[str, list[torch.Tensor]] = {"attention": [], "mlp": []}

    def listen(name: str) -> Any:
        return lambda _, inputs, output: heard[name].append(output[0])

    x = model.model.embed_tokens(torch.tensor([ids]))
    stream, hooks = [x[0]], []
    for block in model.model.layers:
        hooks.append(block.self_attn.register_forward_hook(listen("attention")))
        hooks.append(block.mlp.register_forward_hook(listen("mlp")))
        x = block(x)
        stream.append(x[0])
    for hook in hooks:
        hook.remove()
    return {
        "stream": torch.stack([state.norm(dim=-1) for state in stream]),
        "attention": torch.stack([part.norm(dim=-1) for part in heard["attention"]]),
        "mlp": torch.stack([part.norm(dim=-1) for part in heard["mlp"]]),
    }


def draw_blocks(view: View) -> Drawn:
    """The stream's length, block by block, in both models."""
    require(view.library, "attention", "blocks", "model", "modern")
    subject = gpt_subject(view)
    llama, tokenizer, name = the_llama(view)
    text = the_text(view)
    found = {
        subject.name: run_blocks(subject, subject.encode(text)),
        name: run_llama_blocks(llama, tokenizer.encode(text)[: llama.config.block_size]),
    }
    figure, axes = new_figure(6.0, 2)
    rows, said = [], []
    for place, (title, heard) in zip(axes, found.items(), strict=True):
        stream = heard["stream"]
        median = stream.median(dim=1).values
        behind = range(len(stream))
        place.plot(
            behind, median, color=BLUE, linestyle="-", marker="o", label="the stream (median)"
        )
        place.plot(
            behind, stream[:, 0], color=ORANGE, linestyle="--", marker="s", label="its first token"
        )
        for part, color, hatch in (("attention", GREEN, ""), ("mlp", BLUE, "//")):
            added = heard[part].median(dim=1).values
            offset = -0.17 if part == "attention" else 0.17
            place.bar(
                [1 + layer + offset for layer in range(len(added))], added, width=0.32, color=color,
                hatch=hatch, edgecolor="white", alpha=0.75,
                label=f"added by {'the MLP' if part == 'mlp' else part}",
            )  # fmt: skip
        place.set(yscale="log", ylabel="length of the vector", title=title)
        place.set_xticks(list(behind))
        place.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        place.yaxis.set_major_formatter("{x:g}")
        place.yaxis.set_minor_formatter(NullFormatter())
        for layer in behind:
            parts = [
                f"{heard[p][layer - 1].median():.2f}" if layer else "" for p in ("attention", "mlp")
            ]
            rows.append((title, layer, f"{median[layer]:.2f}", f"{stream[layer, 0]:.2f}", *parts))
        said.append(
            f"{title}: the median length goes from {median[0]:.2f} before the first block to "
            f"{median[-1]:.2f} behind block {len(stream) - 1}, that of the first token to "
            f"{stream[-1, 0]:.1f}"
        )
    axes[1].set(xlabel="behind block (0: what enters)")
    axes[1].legend(ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.22))
    columns = (
        "model",
        "behind block",
        "median length",
        "first token",
        "attention added",
        "MLP added",
    )
    alt = f"Lines and bars, one prompt through two models. {'; '.join(said)}."
    return Drawn(figure, alt, [Table("one prompt, two models", columns, rows, (1, 2, 3, 4, 5))])


USES = ("attention", "blocks", "model", "modern")
FIGURES = (
    Figure(
        "phases",
        "Rotary phases",
        "The left pairs spin, the right ones creep: together they tell near from far. A larger theta "
        "slows all of them, which is how models learn to read longer texts.",
        draw_phases,
        USES,
    ),
    Figure(
        "places",
        "The same words elsewhere",
        "A learned position is added to the word, so the first layer sees another sentence farther on. "
        "Rotation leaves every distance as it was: both maps are the same.",
        draw_places,
        USES,
    ),
    Figure(
        "blocks",
        "One prompt, two kinds of block",
        "Both only add to the stream. Where does it grow, and who makes it grow: attention or the MLP?",
        draw_blocks,
        USES,
    ),
)

"""Lesson 05: what the model would say at each layer, and how it begins before it has learned."""

import math
from typing import Any

import torch

from ..engine.errors import CourseError
from .drawing import BLUE, LINES, ORANGE, heat_map, ink_on, name_columns, new_figure
from .gallery import Drawn, Figure, Table, View
from .library import require, stretch
from .material import the_text
from .tokens import label, labels

TITLE = "the model"
MOST = 7  # columns whose words can be read
FOLLOWED = 3
DEPTH, WIDTH, VOCABULARY = 12, 256, 1000  # of the model that shows how it begins


def lens(view: View, ids: list[int]) -> torch.Tensor:
    """What the model would say behind each block: log-probabilities (L + 1, T, V)."""
    logit_lens = stretch(view.library, "model", "GPT.logit_lens")
    with torch.no_grad():
        layers = logit_lens(view.subject.ours, torch.tensor([ids]))
    return torch.stack([logits[0].float().log_softmax(dim=-1) for logits in layers])


def draw_lens(view: View) -> Drawn:
    """The best guess behind each block at the last places, and some words' way through the layers."""
    require(view.library, "attention", "blocks", "model")
    ids = view.subject.encode(the_text(view))
    logs = lens(view, ids)
    places = list(range(max(0, len(ids) - MOST), len(ids)))
    best = logs[:, places].max(dim=-1)
    chances, guesses = best.values.exp(), best.indices  # (L + 1, places)
    n_rows = len(logs)
    figure, (upper, lower) = new_figure(
        0.34 * n_rows + 4.4, 2, height_ratios=(0.34 * n_rows + 1.2, 2.9)
    )
    heat_map(upper, chances, unit="probability", low=0, high=1)
    for row in range(n_rows):
        for column, name in enumerate(labels(view.subject.tokenizer, guesses[row].tolist(), 7)):
            ink = ink_on(float(chances[row, column]))
            upper.text(column, row, name, ha="center", va="center", color=ink, fontsize=7.5)
    name_columns(upper, labels(view.subject.tokenizer, [ids[i] for i in places], 8), rotation=35)
    upper.set_yticks(range(n_rows), ["in", *map(str, range(1, n_rows))])
    upper.set(
        xlabel="after the token", ylabel="behind block", title="best guess for the next token"
    )
    tokens = followed(view, logs)
    said = []
    for token, style in zip(tokens, LINES, strict=False):
        name = label(view.subject.tokenizer.decode_bytes([token]))
        chance = logs[:, -1, token].exp()
        lower.plot(chance, label=name, **style)
        rank = int((logs[-1, -1] > logs[-1, -1, token]).sum()) + 1
        said.append(
            (name, *(f"{float(c):.4f}" for c in (chance[0], chance.max(), chance[-1])), rank)
        )
    lower.set(
        xlabel="behind block (0: what enters)", ylabel="probability",
        title=f"after the last token, “{label(view.subject.tokenizer.decode_bytes(ids[-1:]))}”",
    )  # fmt: skip
    lower.set_xticks(range(n_rows))
    lower.legend()
    top = labels(view.subject.tokenizer, logs[:, -1].argmax(dim=-1).tolist())
    alt = (
        f"Heat map: the best guess at {len(places)} places before the first block and behind each of "
        f"{n_rows - 1}. After the last token the guesses are, from the bottom of the model up, "
        f"{', '.join(top)}; the last has probability {float(chances[-1, -1]):.2f}. Lines below: "
        + "; ".join(f"{name} from {first} to {last}" for name, first, _, last, _ in said)
        + "."
    )
    columns = ("word", "before block 1", "highest", "at the end", "rank at the end")
    table = Table("on their way through the layers", columns, said, (1, 2, 3, 4))
    notes = [] if len(places) == len(ids) else [f"The last {MOST} of {len(ids)} places are drawn."]
    return Drawn(figure, alt, [table], notes)


def followed(view: View, logs: torch.Tensor) -> list[int]:
    """The tokens whose way is drawn: the word asked for, and the model's final guesses."""
    final = logs[-1, -1].argsort(descending=True, stable=True)[:FOLLOWED].tolist()
    if view.wishes.lens is None:
        return final
    ids = view.subject.tokenizer.encode(view.wishes.lens)
    if len(ids) != 1:
        parts = ", ".join(labels(view.subject.tokenizer, ids))
        raise CourseError(
            f"--lens {view.wishes.lens!r} is {len(ids)} tokens here ({parts}); name one token, often "
            "a word with the space before it"
        )
    return [ids[0], *(token for token in final if token != ids[0])][:FOLLOWED]


def beginnings(seed: int) -> dict[str, Any]:
    """A fresh model: the spread of each kind of weight, and how the stream grows in it.

    Returns "spread" (kind -> standard deviation), "gpt2" and "plain", (L + 1,): the mean length of the
    stream, with what blocks add begun smaller, and without; and "loss" in nats on random tokens.
    """
    from ..model import GPT, GPTConfig

    torch.manual_seed(seed)
    model = GPT(GPTConfig(VOCABULARY, 64, DEPTH, 4, WIDTH)).eval()
    kinds: dict[str, list[torch.Tensor]] = {}
    for name, parameter in model.named_parameters():
        if "ln_" not in name and not name.endswith("bias"):
            kind = ".".join(part for part in name.split(".")[-3:-1] if not part.isdigit())
            kinds.setdefault(kind.removeprefix("transformer."), []).append(
                parameter.detach().flatten()
            )
    spread = {kind: float(torch.cat(parts).std()) for kind, parts in kinds.items()}
    ids = torch.randint(VOCABULARY, (4, 64))
    with torch.no_grad():
        loss = float(model(ids, torch.randint(VOCABULARY, (4, 64)))[1])
        lengths = {"gpt2": _lengths(model, ids)}
        for name, parameter in model.named_parameters():
            if name.endswith("c_proj.weight"):
                parameter.mul_(math.sqrt(2 * DEPTH))  # what it would be without the rule
        lengths["plain"] = _lengths(model, ids)
    return {"spread": spread, "loss": loss} | lengths


def _lengths(model: Any, ids: torch.Tensor) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    hooks = [
        block.register_forward_hook(lambda _, inputs, output: seen.extend((inputs[0], output)))
        for block in model.transformer.h
    ]
    model(ids)
    for hook in hooks:
        hook.remove()
    states = [seen[0], *seen[1::2]]
    return torch.stack([state.norm(dim=-1).mean() for state in states])


def draw_init(view: View) -> Drawn:
    """How wide each kind of weight is strewn at first, and what that does to the stream."""
    require(view.library, "attention", "blocks", "model")
    begun = beginnings(view.wishes.seed)
    spread = begun["spread"]
    figure, (upper, lower) = new_figure(2.9 + 0.27 * len(spread) + 0.9, 2,
                                        height_ratios=(0.27 * len(spread) + 0.8, 2.9))  # fmt: skip
    upper.barh(list(spread), list(spread.values()), color=BLUE)
    upper.bar_label(upper.containers[-1], fmt="%.4f", padding=3, fontsize=9)
    small = 0.02 / math.sqrt(2 * DEPTH)
    for value, dash in ((0.02, "--"), (small, ":")):
        upper.axvline(value, color=ORANGE, linestyle=dash, linewidth=1)
    upper.invert_yaxis()
    upper.margins(x=0.18)
    upper.set(xlabel="standard deviation of the weights", title="how wide each kind is strewn")
    lower.plot(begun["plain"], color=ORANGE, linestyle="--", marker="s", label="all with 0.02")
    lower.plot(
        begun["gpt2"], color=BLUE, linestyle="-", marker="o", label="c_proj smaller, as in GPT-2"
    )
    lower.set(xlabel="behind block (0: what enters)", ylabel="mean length of the vectors",
              title="the stream of a fresh model", ylim=(0, None))  # fmt: skip
    lower.legend()
    growth = {name: float(begun[name][-1] / begun[name][0]) for name in ("gpt2", "plain")}
    alt = (
        f"Bars: standard deviations of a fresh model's weights, {max(spread.values()):.4f} for most and "
        f"{min(spread.values()):.4f} for the two c_proj. Lines: behind {DEPTH} blocks the stream is "
        f"{growth['gpt2']:.2f} times as long as at first, and {growth['plain']:.2f} times where c_proj is "
        "not begun smaller."
    )
    rows = [
        ("loss of a fresh model on random tokens (nats)", f"{begun['loss']:.3f}"),
        (f"log({VOCABULARY}), pure guessing", f"{math.log(VOCABULARY):.3f}"),
        ("growth of the stream, GPT-2's rule", f"{growth['gpt2']:.2f}"),
        ("growth of the stream, all with 0.02", f"{growth['plain']:.2f}"),
        ("0.02 / sqrt(2 n_layer)", f"{small:.5f}"),
    ]
    note = f"A model of {DEPTH} layers and {WIDTH} channels made for this picture, seed {view.wishes.seed}."
    table = Table("before learning", ("measure", "value"), rows, (1,))
    return Drawn(figure, alt, [table], [note])


FIGURES = (
    Figure(
        "lens",
        "What the model would say at each layer",
        "The last norm and the head are used on the stream behind every block. Follow a column upwards "
        "in the model (downwards here): guesses about the present token become guesses about the next.",
        draw_lens,
        ("attention", "blocks", "model"),
    ),
    Figure(
        "init",
        "How a model begins",
        "Every block adds to the stream twice. Begun with the same spread everywhere the stream grows "
        "with the depth; GPT-2 begins what is added smaller, and it grows far less.",
        draw_init,
        ("attention", "blocks", "model"),
    ),
)

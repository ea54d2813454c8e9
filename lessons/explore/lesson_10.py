"""Lesson 10: loss and perplexity of several texts, two models side by side, and calibration."""

import math
import time
from typing import Any

import numpy as np
import torch

from .drawing import BLUE, GREEN, GREY, ORANGE, new_figure
from .gallery import Drawn, Figure, Table, View
from .lesson_08 import SHOWN, predictions_table, the_prompt
from .library import require, stretch
from .material import corpus, the_texts
from .subject import Subject, cached_folder, named_subject, random_subject
from .tokens import drawable, shorten

TITLE = "how good is it?"
COMPARED, CALIBRATED = 1200, 2500  # tokens that are looked at
BINS = 10
MOST_TOKENS = 4000  # of one text; the rest would take minutes


def measures(subject: Subject, text: str) -> dict[str, float]:
    """Lesson 10's measures of a text. All its bytes are scored: <|endoftext|> stands before it."""
    from ..perplexity import bits_per_byte, next_token_accuracy, perplexity, score

    ids = _with_start(subject, text)
    window = (ids, min(subject.block_size, 512), max(1, min(subject.block_size, 512) // 2))
    right = next_token_accuracy(subject.speaker, *window)  # first: it also warms the model up
    began = time.perf_counter()
    nats, count = score(subject.speaker, *window)
    seconds = time.perf_counter() - began
    read = subject.tokenizer.decode_bytes(ids[1:].tolist())
    return {
        "tokens": count,
        "bytes": len(read),
        "loss": nats / count,
        "perplexity": perplexity(subject.speaker, *window),
        "bits": bits_per_byte(nats, len(read)),
        "right": right,
        "seconds": seconds,
    }


def _with_start(subject: Subject, text: str, most: int = MOST_TOKENS) -> torch.Tensor:
    return torch.tensor([subject.tokenizer.end_of_text, *subject.tokenizer.encode(text)[:most]])


def draw_texts(view: View) -> Drawn:
    """Bits per byte of several texts, with their perplexities."""
    require(view.library, "bigram", "perplexity")
    texts = the_texts(view)
    found = {name: measures(view.subject, text) for name, text in texts.items()}
    names = [shorten(drawable(name), 26) for name in found]
    values = [each["bits"] for each in found.values()]
    figure, axes = new_figure(0.8 + 0.36 * len(found))
    axes.barh(names, values, color=BLUE)
    shown = [f"{each['bits']:.2f}  (ppl {_short(each['perplexity'])})" for each in found.values()]
    axes.bar_label(axes.containers[-1], shown, padding=3, fontsize=9)
    axes.invert_yaxis()
    axes.set(xlabel="bits per byte (shorter is better)", xlim=(0, 1.75 * max(values)))
    rows = [
        (name, each["tokens"], each["bytes"], f"{each['loss']:.3f}", _short(each["perplexity"]),
         f"{each['bits']:.3f}", f"{each['right']:.1%}")
        for name, each in found.items()
    ]  # fmt: skip
    alt = "Bars, bits per byte and perplexity: " + "; ".join(
        f"{name} {each['bits']:.2f} and {_short(each['perplexity'])}"
        for name, each in found.items()
    )
    columns = (
        "text",
        "tokens",
        "bytes",
        "loss (nats)",
        "perplexity",
        "bits per byte",
        "guessed right",
    )
    ids = the_prompt(view)
    plain = torch.softmax(view.subject.logits(ids)[-1], dim=-1)
    top = plain.argsort(descending=True, stable=True)[:SHOWN]
    tables = [
        Table("loss, perplexity, bits per byte", columns, rows, (1, 2, 3, 4, 5, 6)),
        predictions_table(view, ids, plain, top),
    ]
    cut = [name for name, text in texts.items() if found[name]["bytes"] < len(text.encode())]
    notes = [f"Of {', '.join(cut)} the first {MOST_TOKENS:,} tokens were read."] if cut else []
    return Drawn(figure, alt + ".", tables, notes)


def _short(value: float) -> str:
    return f"{value:.1f}" if value < 1000 else f"{value:,.0f}" if value < 1e6 else f"{value:.1e}"


def rival(view: View) -> tuple[Subject, str]:
    """The model to compare with, and a sentence about it."""
    if view.wishes.against is not None:
        return named_subject(view.library, view.wishes.against, view.wishes.download), ""
    for name, title in (("distilgpt2", "DistilGPT-2"), ("gpt2", "GPT-2")):
        folder = cached_folder(name)
        if folder is not None and folder.resolve() != view.subject.folder.resolve():
            return Subject(view.library, folder, title), ""
    other = random_subject(view.subject, view.wishes.seed)
    return other, (
        "Neither DistilGPT-2 nor GPT-2 is in the local cache, so the second model is one of the same "
        "shape that has learned nothing; name another one with --against."
    )


def draw_compare(view: View) -> Drawn:
    """Two models in size, speed and bits per byte."""
    require(view.library, "bigram", "perplexity")
    second, said = rival(view)
    first = view.subject
    given = view.wishes.texts or ({"text": view.wishes.text} if view.wishes.text else None)
    documents, what = (list(given.values()), "the given texts") if given else corpus(view, 20)
    text = _cut("\n\n".join(documents), first, second)
    found = {subject.name: measures(subject, text) for subject in (first, second)}
    if len(found) == 1:  # two folders of one name
        found = {f"{s.folder}": measures(s, text) for s in (first, second)}
    sizes = [subject.parameters for subject in (first, second)]
    speeds = [each["tokens"] / each["seconds"] for each in found.values()]
    rates = [each["bits"] for each in found.values()]
    names = [shorten(drawable(name), 24) for name in found]
    figure, axes = new_figure(4.2, 3)
    panels = (
        ("parameters (millions)", [size / 1e6 for size in sizes], BLUE, "{:,.1f}"),
        ("speed (tokens read per second)", speeds, GREEN, "{:,.0f}"),
        ("bits per byte (shorter is better)", rates, ORANGE, "{:.3f}"),
    )
    for place, (unit, values, color, form) in zip(axes, panels, strict=True):
        place.barh(
            names, values, color=color, hatch="//" if color == ORANGE else "", edgecolor="white"
        )
        place.bar_label(
            place.containers[-1], [form.format(v) for v in values], padding=3, fontsize=9
        )
        place.margins(x=0.25)
        place.invert_yaxis()
        place.set(xlabel=unit)
    rows = [
        (name, f"{size:,}", f"{speed:,.0f}", each["tokens"], f"{each['loss']:.3f}",
         _short(each["perplexity"]), f"{each['bits']:.3f}", f"{each['right']:.1%}")
        for (name, each), size, speed in zip(found.items(), sizes, speeds, strict=True)
    ]  # fmt: skip
    alt = f"Bars of two models on {len(text.encode()):,} bytes: " + "; ".join(
        f"{name}: {size / 1e6:.1f} million parameters, {speed:,.0f} tokens a second, "
        f"{rate:.3f} bits per byte"
        for name, size, speed, rate in zip(found, sizes, speeds, rates, strict=True)
    )
    columns = ("model", "parameters", "tokens/s", "tokens", "loss (nats)", "perplexity",
               "bits per byte", "guessed right")  # fmt: skip
    notes = [*([said] if said else []), f"Text: {what}, {len(text.encode()):,} bytes."]
    table = Table("two models, one text", columns, rows, (1, 2, 3, 4, 5, 6, 7))
    return Drawn(figure, alt + ".", [table], notes)


def _cut(text: str, *subjects: Subject) -> str:
    """The beginning of the text that is COMPARED tokens for the first of the models."""
    tokenizer = subjects[0].tokenizer
    return tokenizer.decode(tokenizer.encode(text)[:COMPARED]).rstrip("\ufffd")


def draw_calibration(view: View) -> Drawn:
    """How often the first choice is right, against how probable the model held it."""
    require(view.library, "bigram", "perplexity")
    curve = stretch(view.library, "perplexity", "calibration_curve")
    error_of = stretch(view.library, "perplexity", "expected_calibration_error")
    documents, what = corpus(view, 20)
    ids = _with_start(view.subject, "\n\n".join(documents), CALIBRATED)
    window = min(view.subject.block_size, 256)
    confidence, accuracy, count = curve(view.subject.speaker, ids, BINS, window, window)
    error = error_of(confidence, accuracy, count)
    figure, (upper, lower) = new_figure(5.2, 2, height_ratios=(3, 1), sharex=True)
    upper.plot(
        [0, 100], [0, 100], color=GREY, linestyle=":", marker="", label="perfectly calibrated"
    )
    seen = count > 0
    upper.plot(
        confidence[seen] * 100, accuracy[seen] * 100, color=BLUE, linestyle="-", marker="o",
        label=shorten(view.subject.name, 30),
    )  # fmt: skip
    upper.set(ylabel="right (%)", ylim=(0, 100), xlim=(0, 100))
    upper.legend(loc="upper left")
    edges = np.linspace(0, 100, BINS + 1)
    lower.stairs(count / count.sum() * 100, edges, fill=True, color=ORANGE)
    lower.set(xlabel="probability of the first choice (%)", ylabel="tokens (%)")
    rows = [
        (f"{edges[i]:.0f}-{edges[i + 1]:.0f} %", int(count[i]), _percent(confidence[i]), _percent(accuracy[i]))
        for i in range(BINS)
    ]  # fmt: skip
    points = "; ".join(f"{c} held probable, {a} right" for _, n, c, a in rows if n)
    alt = (
        f"Calibration on {len(ids) - 1:,} tokens: {points}. The mean gap (expected calibration error) is "
        f"{100 * error:.1f} percentage points."
    )
    columns = ("probability", "tokens", "mean probability", "right")
    notes = [f"Text: {what}. Mean gap: {100 * error:.1f} percentage points."]
    return Drawn(figure, alt, [Table("calibration", columns, rows, (1, 2, 3))], notes)


def _percent(value: Any) -> str:
    return "" if math.isnan(float(value)) else f"{float(value):.1%}"


FIGURES = (
    Figure(
        "texts",
        "Several texts",
        "Bits per byte can be compared whatever the tokenizer; perplexity (in brackets) only within one. "
        "A model is surprised least by what it has read before.",
        draw_texts,
        ("bigram", "perplexity"),
    ),
    Figure(
        "compare",
        "Two models",
        "More parameters, fewer tokens a second: what does one get for it in bits per byte? The answer "
        "depends on the text; try one of your own.",
        draw_compare,
        ("bigram", "perplexity"),
    ),
    Figure(
        "calibration",
        "Does it know how sure it may be?",
        "On the dotted line, what it holds 70 % probable comes true seven times in ten. Below the line "
        "it is too sure of itself. Bins with few tokens jump about.",
        draw_calibration,
        ("bigram", "perplexity"),
    ),
)

"""`report.html` of a fine-tuning run: what was gained, what was forgotten; and runs side by side."""

import io
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..files import write_atomically
from ..logs import duration, read_log
from .wishes import TuningFolder

Rows = list[tuple[str, str, str]]  # (measure, before, after)


def write_report(folder: TuningFolder) -> Path:
    """Write the report of a finished run and return its path."""
    metrics = folder.measured()
    settings = metrics["settings"]
    records = read_log(folder.log)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("report.html.j2").render(
        title=_title(metrics),
        lead=_lead(metrics),
        gained=gained_rows(metrics),
        forgotten=forgotten_rows(metrics),
        ordinary=metrics["ordinary_text"],
        verdict=verdict(metrics),
        curves_svg=Markup(_curves(records, settings["kind"])),
        curves_text=_curves_in_words(records),
        told=_told(metrics),
        cost=cost_rows(metrics),
        recipe=_recipe(metrics),
    )
    with write_atomically(folder.report) as file:
        file.write(page)
    return folder.report


def _title(metrics: dict[str, Any]) -> str:
    return f"{metrics['base']}, tuned on {metrics['settings']['data']}"


def _lead(metrics: dict[str, Any]) -> str:
    s = metrics["settings"]
    n = f"{metrics['examples']:,} {'pairs of answers' if s['kind'] == 'preferences' else 'examples'}"
    how = (
        "direct preference optimisation" if s["kind"] == "preferences" else "supervised fine-tuning"
    )
    share = metrics["trainable"] / metrics["parameters"]
    weights = (
        f"LoRA of rank {s['rank']} on {', '.join(metrics['layers'])} ({metrics['trainable']:,} numbers, "
        f"{share:.1%} of all)"
        if s["method"] == "lora"
        else f"all {metrics['parameters']:,} weights"
    )
    return (
        f"{how[0].upper()}{how[1:]} on {n} ({s['data']}): {s['steps']:,} steps of {s['batch_size']}, "
        f"{weights}, {duration(metrics['seconds'])} on {metrics['device']}."
    )


def gained_rows(metrics: dict[str, Any]) -> Rows:
    """The new task before and after, on what was not trained on."""
    before, after = metrics["before"], metrics["after"]
    if "answers" in before:
        return _losses(before["answers"], after["answers"])
    rows: Rows = []
    for name, was in before["pairs"].items():
        now = after["pairs"][name]
        where = f"{name} ({was['pairs']})"
        rows += [
            (f"{where}: the better answer is the more probable one",
             f"{was['accuracy']:.1%}", f"{now['accuracy']:.1%}"),
            (f"{where}: it has gained on the other", "", f"{now['reward_accuracy']:.1%}"),
            (f"{where}: by how much (nats)", "", f"{now['margin']:+.2f}"),
            (f"{where}: log-probability of the chosen answer",
             f"{was['chosen']:.1f}", f"{now['chosen']:.1f}"),
            (f"{where}: log-probability of the rejected answer",
             f"{was['rejected']:.1f}", f"{now['rejected']:.1f}"),
        ]  # fmt: skip
    if before.get("moods"):
        was, now = before["moods"], after["moods"]
        n = f"of {was['stories']} stories of its own"
        rows += [
            (f"{n}: more glad words than sad ones", f"{was['glad']:.0%}", f"{now['glad']:.0%}"),
            (f"{n}: more sad words than glad ones", f"{was['sad']:.0%}", f"{now['sad']:.0%}"),
        ]
    return rows


def forgotten_rows(metrics: dict[str, Any]) -> Rows:
    """Ordinary text before and after."""
    return _losses(metrics["before"]["ordinary"], metrics["after"]["ordinary"])


def _losses(was: dict[str, float], now: dict[str, float]) -> Rows:
    return [
        ("loss (nats per token)", f"{was['loss']:.3f}", f"{now['loss']:.3f}"),
        ("perplexity", f"{was['perplexity']:,.2f}", f"{now['perplexity']:,.2f}"),
        ("bits per byte", f"{was['bits_per_byte']:.3f}", f"{now['bits_per_byte']:.3f}"),
        ("tokens looked at", f"{was['tokens']:,}", f"{now['tokens']:,}"),
    ]


def verdict(metrics: dict[str, Any]) -> str:
    """What was forgotten, in a sentence."""
    was, now = (metrics[when]["ordinary"] for when in ("before", "after"))
    change = now["perplexity"] / was["perplexity"] - 1
    if abs(change) < 0.005:
        return "Nothing to speak of was forgotten: ordinary text surprises it as much as before."
    if change < 0:
        return f"Ordinary text surprises it less than before: its perplexity fell by {-change:.1%}."
    factor = f"is {1 + change:,.1f} times as high" if change > 1 else f"rose by {change:.1%}"
    return (
        f"That is the price: the perplexity of ordinary text {factor}. Fewer steps, a lower rate, or "
        "some ordinary text among the examples keep more of it."
    )


def cost_rows(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """What the run took."""
    return [
        ("numbers trained", f"{metrics['trainable']:,} of {metrics['parameters']:,}"),
        ("weights, gradients and AdamW's moments", f"{metrics['state_mb']:,.1f} MB"),
        ("peak memory of the whole process", f"{metrics['peak_memory_mb']:,.0f} MB"),
        ("training time", duration(metrics["seconds"])),
        ("tokens per second", f"{metrics['tokens_per_second']:,.0f}"),
        ("file to keep", f"{metrics['saved_mb']:,.2f} MB"),
    ]


def _told(metrics: dict[str, Any]) -> list[dict[str, str]]:
    return [
        {"prompt": prompt, "before": before, "after": after}
        for prompt, before, after in zip(
            metrics["prompts"], metrics["before"]["told"], metrics["after"]["told"], strict=True
        )
    ]


def _recipe(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    s = metrics["settings"]
    lora = ("rank", "alpha", "lora_dropout", "layers") if s["method"] == "lora" else ()
    dpo = ("beta", "label_smoothing", "reference_free", "prefer")
    names = (
        *("base", "data", "valid", "ordinary", "examples", "method", *lora, "steps", "batch_size"),
        *("peak_lr", "weight_decay", "max_norm", "seed"),
        *(dpo if s["kind"] == "preferences" else ()),
    )
    shown = s | {"layers": " ".join(metrics["layers"])}
    return [
        *((n.replace("_", " "), str(shown[n])) for n in names if shown[n] is not None),
        ("precision", metrics["precision"]),
    ]


def _curves(records: list[dict[str, Any]], kind: str) -> str:
    """The new task and the ordinary text over the steps, as one SVG."""
    import matplotlib

    matplotlib.use("Agg")  # no screen needed
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
    steps = [record["step"] for record in records]
    key, label = (
        ("margin", "margin of held-out pairs (nats)")
        if kind == "preferences"
        else ("answers", "loss of held-out answers (nats)")
    )
    left.plot(steps, [r[key] for r in records], color="#0072B2", marker="o", markersize=4)
    left.set(xlabel="step", ylabel=label, title="what it is learning")
    right.plot(
        steps, [r["ordinary"] for r in records], color="#D55E00", marker="s", markersize=4,
        linestyle="--",
    )  # fmt: skip
    right.set(xlabel="step", ylabel="loss of ordinary text (nats)", title="what it could do before")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "finetuning"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :]


def _curves_in_words(records: list[dict[str, Any]]) -> str:
    first, last = records[0], records[-1]
    new = (
        f"held-out answers went from {first['answers']:.2f} to {last['answers']:.2f}"
        if "answers" in first
        else f"the margin of held-out pairs went from {first['margin']:.2f} to {last['margin']:.2f}"
    )
    return (
        f"On a part of both, over {last['step']:,} steps: {new}, the loss of ordinary text from "
        f"{first['ordinary']:.2f} to {last['ordinary']:.2f} nats per token."
    )


# In the terminal.


def print_measures(metrics: dict[str, Any]) -> None:
    """The same in lines."""
    new = "the new task" if metrics["settings"]["kind"] == "supervised" else "preferences"
    for title, rows in ((new, gained_rows(metrics)),
                        (f"ordinary text ({metrics['ordinary_text']})", forgotten_rows(metrics))):  # fmt: skip
        width = max(len(name) for name, *_ in rows)
        print(f"\n{title:<{width}}  {'before':>10} {'after':>10}")
        for name, before, after in rows:
            print(f"{name:<{width}}  {before:>10} {after:>10}")
    print(f"\n{verdict(metrics)}")


def table_of(runs: dict[str, dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Finished runs side by side, a column each."""
    columns = ["", *runs]
    rows: list[list[str]] = [["base", *(m["base"] for m in runs.values())]]
    rows.append(["kind, method", *(_kind(m) for m in runs.values())])
    for label, new in (("new: ", gained_rows), ("ordinary text: ", forgotten_rows)):
        for when, place in (("before", 1), ("after", 2)):
            names = list(dict.fromkeys(row[0] for m in runs.values() for row in new(m)))
            for name in names:
                cells = [
                    next((r[place] for r in new(m) if r[0] == name), "") for m in runs.values()
                ]
                if any(cells) and not name.startswith("tokens"):
                    rows.append([f"{label}{name}, {when}", *cells])
    for at, (name, _) in enumerate(cost_rows(next(iter(runs.values())))):
        rows.append([name, *(cost_rows(m)[at][1] for m in runs.values())])
    return columns, rows


def _kind(metrics: dict[str, Any]) -> str:
    s = metrics["settings"]
    rank = f" {s['rank']}" if s["method"] == "lora" else ""
    return f"{s['kind']}, {s['method']}{rank}, rate {s['peak_lr']:g}"


def print_table(columns: list[str], rows: list[list[str]]) -> None:
    """The table as text."""
    widths = [max(len(line[i]) for line in (columns, *rows)) for i in range(len(columns))]
    for line in (columns, *rows):
        first, *others = line
        cells = [f"{cell:>{w}}" for cell, w in zip(others, widths[1:], strict=True)]
        print("  ".join([f"{first:<{widths[0]}}", *cells]).rstrip())


def as_markdown(columns: list[str], rows: list[list[str]]) -> str:
    """The table as Markdown."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)

"""`report.html`: one page that says what was trained, how it went, and what the model can do."""

import io
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from .architectures import NAMES
from .beside import compare_runs
from .files import read_json, write_atomically
from .logs import duration, read_log
from .run_folder import RunFolder
from .stories import Storyteller

GPT3_FLOPS = 3.14e23  # Brown et al. 2020, appendix D: 175 B parameters, 300 B tokens


def write_report(run: RunFolder, teller: Storyteller, beside: RunFolder | None = None) -> Path:
    """Write the report of an evaluated run and return its path. beside: another run to show in it."""
    metrics = read_json(run.metrics)
    config = read_json(run.config_file)
    settings, plan = config["settings"], config.get("decided", {}).get("plan", {})
    records = read_log(run.log_jsonl)
    rows = [record for record in records if "train_loss" in record]
    told = [record for record in records if "story" in record]
    steps = rows[-1]["step"] if rows else 0
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("report.html.j2").render(
        title=f"A story model of {metrics['parameters'] / 1e6:.1f} million parameters",
        lead=(
            f"Preset {settings['preset']} with {NAMES[settings.get('arch', 'gpt2')]}'s parts, trained on {metrics['data']} for {steps:,} steps "
            f"({metrics['train_tokens']:,} tokens) in {duration(metrics['training_seconds'])} "
            f"on {metrics['device']}."
        ),
        facts=_facts(metrics),
        curves_svg=Markup(_curves(rows)),
        curves_text=_curves_in_words(rows),
        stories=_stories(told, steps),
        predictions=_predictions(teller, told),
        beside=compare_runs(run, teller, beside) if beside else None,
        baseline=metrics.get("baseline"),
        baseline_rows=_baseline_rows(metrics.get("baseline")),
        cost=_cost(metrics),
        recipe=_recipe(metrics, settings, plan),
    )
    with write_atomically(run.report) as file:
        file.write(page)
    return run.report


def _facts(metrics: dict[str, Any]) -> list[dict[str, str]]:
    return [
        {"name": name, "value": value}
        for name, value in (
            ("bits per byte of held-out text", f"{metrics['bits_per_byte']:.3f}"),
            ("bits per character", f"{metrics['bits_per_character']:.3f}"),
            ("validation loss (nats per token)", f"{metrics['val_loss']:.3f}"),
            ("perplexity", f"{metrics['perplexity']:,.1f}"),
            ("next token guessed right", f"{100 * metrics['next_token_accuracy']:.1f} %"),
            ("parameters", f"{metrics['parameters']:,}"),
            ("training tokens", f"{metrics['train_tokens']:,}"),
            ("tokens per second in training", f"{metrics['tokens_per_second']:,.0f}"),
            ("peak memory", f"{metrics['peak_memory_mb']:,.0f} MB"),
        )
    ]


def _curves(rows: list[dict[str, Any]]) -> str:
    """Loss and learning rate over the steps as one SVG. Colours that colour-blind people tell apart."""
    plt = pyplot()
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(10, 3.6), width_ratios=(3, 2), layout="constrained"
    )
    left.plot(
        [row["step"] for row in rows],
        [row["train_loss"] for row in rows],
        color="#56B4E9",
        linewidth=1,
        label="training batches",
    )
    seen = [row for row in rows if "val_loss" in row]
    left.plot(
        [row["step"] for row in seen],
        [row["val_loss"] for row in seen],
        color="#D55E00",
        marker="o",
        markersize=3,
        label="held-out text",
    )
    left.set(xlabel="step", ylabel="loss (nats per token)")
    left.legend(frameon=False)
    right.plot(
        [row["step"] for row in rows], [row["learning_rate"] for row in rows], color="#0072B2"
    )
    right.set(xlabel="step", ylabel="learning rate")
    return as_svg(figure, left, right)


def pyplot() -> Any:
    """matplotlib's pyplot, for files only."""
    import matplotlib

    matplotlib.use("Agg")  # no screen needed
    import matplotlib.pyplot as plt

    return plt


def as_svg(figure: Any, *axes: Any, prefix: str = "") -> str:
    """The figure as an SVG to stand in a page; closes it. The same figure gives the same letters.

    prefix: before all ids, so that two figures in one page have none in common.
    """
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.grid(alpha=0.25)
    buffer = io.StringIO()
    plt = pyplot()
    with plt.rc_context({"svg.hashsalt": "report"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    svg = buffer.getvalue()
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}", svg[svg.index("<svg") :])


def _curves_in_words(rows: list[dict[str, Any]]) -> str:
    seen = [row for row in rows if "val_loss" in row]
    if not seen:
        return "Loss and learning rate by step."
    best = min(seen, key=lambda row: row["val_loss"])
    return (
        f"Loss on held-out text fell from {seen[0]['val_loss']:.2f} (step {seen[0]['step']:,}) to "
        f"{best['val_loss']:.2f} nats per token (step {best['step']:,})."
    )


def _stories(told: list[dict[str, Any]], steps: int) -> dict[str, list[dict[str, str]]]:
    stories: dict[str, list[dict[str, str]]] = {}
    for record in told:
        step = record["step"]
        when = "before training" if step == 0 else f"after {step:,} steps"
        when += " (the end)" if step == steps else ""
        stories.setdefault(record["prompt"], []).append({"when": when, "story": record["story"]})
    return stories


def _predictions(teller: Storyteller, told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    prompts = list(dict.fromkeys(record["prompt"] for record in told))
    return [
        {
            "prompt": prompt,
            "rows": [(repr(token)[1:-1], p) for token, p in teller.top_predictions(prompt, 8)],
        }
        for prompt in prompts
    ]


def _baseline_rows(table: dict[str, dict[str, float]] | None) -> list[tuple[str, list[str]]]:
    if not table:
        return []
    formats = {
        "bits_per_byte": ("bits per byte", "{:.3f}"),
        "bits_per_character": ("bits per character", "{:.3f}"),
        "perplexity": ("perplexity per token", "{:,.1f}"),
        "next_token_accuracy": ("next token guessed right", "{:.1%}"),
        "parameters": ("parameters", "{:,.0f}"),
        "evaluated_tokens": ("tokens looked at", "{:,.0f}"),
    }
    return [
        (label, [form.format(column[key]) for column in table.values()])
        for key, (label, form) in formats.items()
    ]


def _cost(metrics: dict[str, Any]) -> str:
    """The arithmetic spent, beside the published figure of GPT-3."""
    flops = 6 * metrics["parameters"] * metrics["train_tokens"]
    return (
        f"About 6 x parameters x tokens = {flops:.2g} floating-point operations, in "
        f"{duration(metrics['training_seconds'])}. GPT-3's training is published as "
        f"{GPT3_FLOPS:.3g} operations: {GPT3_FLOPS / max(flops, 1):.1g} times this run."
    )


def _recipe(
    metrics: dict[str, Any], settings: dict[str, Any], plan: dict[str, Any]
) -> list[tuple[str, str]]:
    """What was asked for, and where the time allowed decided otherwise, what it decided."""
    decided = {key: plan[key] for key in ("steps", "batch_size", "accumulation") if key in plan}
    chosen = {
        "preset": settings["preset"],
        "architecture": settings.get("arch", "gpt2"),
        "model": settings["model"],
        "training": settings["train"] | decided,
        "optimiser": settings["optimizer"],
        "precision": metrics["precision"],
        "data": f"{metrics['data']} (SHA-256 {metrics['data_sha256']})",
        "validation data": f"{metrics['valid_data']} (SHA-256 {metrics['valid_sha256']})",
        "tokenizer": f"{metrics['tokenizer']} (SHA-256 {metrics['tokenizer_sha256']})",
        "evaluated": f"{metrics['evaluated_tokens']:,} tokens, stride {metrics['stride']}",
    }
    return [
        (
            name,
            ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value,
        )
        for name, value in chosen.items()
    ]

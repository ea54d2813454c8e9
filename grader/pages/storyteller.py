"""The course's own small pretrained model: what its training brought, from the record beside it."""

from pathlib import Path
from typing import Any

from lessons.engine.storyteller import training_record

from .writing import table


def result(arguments: list[str], folder: Path) -> str:
    """Return one row per measure of the finished model."""
    record = training_record()
    recipe, found = record["recipe"], record["result"]
    data = record["data"]
    rows = [
        ("parameters", f"{found['parameters']:,}"),
        ("trained on", f"`{data[0]['name']}`, {data[0]['bytes'] / 1e6:,.1f} MB"),
        ("measured on", f"`{data[1]['name']}`, {data[1]['bytes'] / 1e6:,.1f} MB, never trained on"),
        ("tokens seen in training", f"{found['train_tokens']:,}"),
        ("hardware", f"{found['device']}, {found['precision']}"),
        ("time", _time(found["training_seconds"])),
        ("tokens per second", f"{found['tokens_per_second']:,.0f}"),
        (
            "optimiser, highest learning rate",
            f"{recipe['optimizer']}, {recipe['train']['peak_lr']:g}",
        ),
        ("**bits per byte**", f"**{found['bits_per_byte']:.3f}**"),
        ("loss, nats per token", f"{found['valid_loss']:.3f}"),
        ("perplexity", f"{found['perplexity']:.2f}"),
        ("next token right", f"{found['next_token_accuracy']:.1%}"),
    ]
    return table(["measure", "our small model"], rows)


def _time(seconds: float) -> str:
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"


def stories(arguments: list[str], folder: Path) -> str:
    """Return what the model made of one prompt at each checkpoint on the way."""
    samples: list[dict[str, Any]] = training_record()["samples"]
    prompt = samples[0]["prompt"]
    return "\n\n".join(
        f"**After {sample['step']:,} steps**\n\n> {_quoted(sample['text'])}"
        for sample in samples
        if sample["prompt"] == prompt
    )


def _quoted(text: str) -> str:
    plain = (
        text.strip()
        .replace("\\", "\\\\")
        .replace("*", "\\*")
        .replace("_", "\\_")
        .replace("<", "\\<")
    )
    return "\n>\n> ".join(line.strip() for line in plain.split("\n") if line.strip())

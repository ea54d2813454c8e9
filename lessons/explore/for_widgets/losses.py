"""Data for the loss-curve explorer: how our small model's training went, and what it wrote meanwhile."""

import math
from pathlib import Path
from typing import Any

from ...engine.errors import CourseError
from ...engine.files import read_json
from ...engine.storyteller import training_record

FILE = "losses"
BUDGET = {FILE: 120_000}
LONGEST_SAMPLE = 900  # characters: a sample is read, not studied


def make(folder: Path) -> dict[str, object]:
    """Return the curve, the samples and what turns nats per token into bits per byte.

    folder: holds the model's `training.json`; where it does not, our own small model's is taken.
    steps: [step, tokens, train_loss, valid_loss or None, seconds] in nats per token.
    """
    own = folder / "training.json"
    record = read_json(own) if own.is_file() else training_record()
    return {FILE: curve(record)}


def curve(record: dict[str, Any]) -> dict[str, Any]:
    """The same from what `training.json` holds. Raises CourseError where it holds no curve."""
    keys = ("step", "tokens", "train_loss", "valid_loss", "seconds")
    steps = [[row.get(key) for key in keys] for row in record["steps"]]
    if not steps:
        raise CourseError("training.json holds no steps: keep the run's log when the model is kept")
    result, recipe = record["result"], record["recipe"]
    samples = [sample | {"text": sample["text"][:LONGEST_SAMPLE]} for sample in record["samples"]]
    return {
        "steps": steps,
        "samples": samples,
        "bytesPerToken": bytes_per_token(result),
        "result": {key: result[key] for key in ("valid_loss", "bits_per_byte", "parameters")},
        "model": {key: recipe["model"][key] for key in ("n_layer", "n_head", "n_embd")},
        "tokenizer": recipe["tokenizer"],
    }


def bytes_per_token(result: dict[str, Any]) -> float:
    """How long a token of the held-out text is, in bytes: from its two losses.

    bits per byte = nats per token / ln 2 / bytes per token.
    """
    return round(result["valid_loss"] / math.log(2) / result["bits_per_byte"], 6)

"""DistilGPT-2 on the same text, where its weights are at hand (never fetched from here)."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..model import GPT
from .acceleration import use_fast_parts
from .errors import CourseError
from .evaluation import score_text
from .tokenizers import load_tokenizer

HUB_NAME = "distilbert/distilgpt2"
BASELINE_TOKENS = 20_000  # enough for two digits; the whole text would take minutes on a CPU


def find_baseline() -> GPT | None:
    """DistilGPT-2 from the folder COURSE_BASELINE or the local Hugging Face cache, or None."""
    name = os.environ.get("COURSE_BASELINE")
    if name and not Path(name).is_dir():
        raise CourseError(f"COURSE_BASELINE names {name}, which is not a folder")
    try:
        return GPT.from_pretrained(name or HUB_NAME, network=False)
    except CourseError:
        if name:
            raise
        return None


def compare_with_baseline(
    own_model: GPT, own_tokenizer: Any, text: str, device: torch.device, precision: str
) -> dict[str, dict[str, float]] | None:
    """Both models' measures on the beginning of the same text, or None without the weights.

    The text is cut at `BASELINE_TOKENS` GPT-2 tokens; the measures per byte are comparable, those
    per token are not (the tokenizers differ).
    """
    baseline = find_baseline()
    if baseline is None:
        return None
    gpt2 = load_tokenizer("gpt2")
    ids = gpt2.encode(text)[:BASELINE_TOKENS]
    text = gpt2.decode(ids).rstrip("\ufffd")
    models = {
        "this model": (own_model, own_tokenizer.encode(text)),
        "DistilGPT-2": (use_fast_parts(baseline.to(device)), gpt2.encode(text)),
    }
    table = {}
    for name, (model, tokens) in models.items():
        began = time.perf_counter()
        scores = score_text(model, np.array(tokens), model.config.block_size, precision=precision)
        table[name] = scores.measures(len(text.encode()), len(text)) | {
            "parameters": model.num_parameters(),
            "seconds": time.perf_counter() - began,
        }
    return table

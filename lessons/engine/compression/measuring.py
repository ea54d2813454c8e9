"""How large, how good and how fast a model is."""

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from ...generation import generate
from ...perplexity import bits_per_byte
from ..evaluation import score_text
from ..weight_files import weight_files
from .material import HeldOut
from .quantising import linear_layers

READ_WINDOWS = 4  # at a time
WRITTEN = 48  # tokens
PROMPT = 8  # tokens


@dataclass(frozen=True)
class Speed:
    """Tokens per second, medians of several rounds."""

    reading: float  # a few windows at once, as in `evaluate`
    writing: float  # one token after the other, with a cache


def bytes_on_disk(folder: Path) -> int:
    """The size of a folder's weights."""
    return sum(file.stat().st_size for file in weight_files(folder))


def packed_bytes(model: nn.Module) -> int:
    """How few bytes would hold the model's weights, zeros packed, 16 bits for each float.

    A matrix of a block with many zeros is kept as one bit for each place, and the numbers that are
    not zero. An int8 weight is one byte, its row's scale four.
    """
    tied = getattr(model.config, "tie_weights", False)
    layers, total = linear_layers(model), 0
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and tied:
            continue
        if tensor.dtype == torch.int8:
            total += tensor.numel()
        elif name.endswith(".scale"):
            total += 4 * tensor.numel()
        elif name.rpartition(".")[0] in layers and tensor.dim() == 2:
            bits_and_rest = -(-tensor.numel() // 8) + 2 * int(tensor.count_nonzero())
            total += min(2 * tensor.numel(), bits_and_rest)
        else:
            total += 2 * tensor.numel()
    return total


def packed_on_disk(model: nn.Module, folder: Path) -> int:
    """The same of a model that lies in a folder already, which may hold its tables in int8."""
    return min(packed_bytes(model), bytes_on_disk(folder))


def bits_of(model: Any, text: HeldOut) -> float:
    """Bits per byte of a held-out text, in full precision: rounding is what is to be measured."""
    scores = score_text(model, text.tokens, min(model.config.block_size, len(text.tokens) - 1))
    return bits_per_byte(scores.nats, text.n_bytes)


def speeds(models: dict[str, Any], text: HeldOut, rounds: int = 3) -> dict[str, Speed]:
    """How fast the models read and write here. They take turns, so that a busy minute hits all."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in models}
    for number in range(rounds + 1):
        for name, model in models.items():
            reading, writing = _read(model, text), _write(model, text)
            if number:  # the first round warms up
                times[name].append((reading, writing))
    return {
        name: Speed(median(r for r, _ in pairs), median(w for _, w in pairs))
        for name, pairs in times.items()
    }


@torch.no_grad()
def _read(model: Any, text: HeldOut) -> float:
    ids = _window(model, text)
    began = time.perf_counter()
    logits, _ = model(ids)
    float(logits[0, 0, 0])  # waits for a GPU
    return ids.numel() / (time.perf_counter() - began)


def _write(model: Any, text: HeldOut) -> float:
    block_size = model.config.block_size
    count = min(WRITTEN, max(1, block_size - PROMPT))
    prompt = _window(model, text)[:1, : min(PROMPT, block_size - 1) or 1]
    began = time.perf_counter()
    out = generate(model, prompt, count)
    int(out[0, -1])
    return count / (time.perf_counter() - began)


def _window(model: Any, text: HeldOut) -> torch.Tensor:
    """The beginning of the text as (B, T): a few full windows, or one short one."""
    device = next(model.parameters()).device
    block = min(model.config.block_size, len(text.tokens))
    rows = max(1, min(READ_WINDOWS, len(text.tokens) // block))
    return (
        torch.from_numpy(text.tokens[: rows * block].astype("int64")).view(rows, block).to(device)
    )

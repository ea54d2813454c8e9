"""Data for the widget of position patterns: the positions that our small model has learned."""

import base64
from pathlib import Path

import torch

from . import load

FILE = "positions"
BUDGET = {FILE: 100_000}


def make(folder: Path) -> dict[str, object]:
    """Return the model's table of positions, (block_size, n_embd), each number in one byte.

    values: base64 of int8, row by row; scales: what each row's numbers are multiplied by.
    """
    table = load(folder)[0].transformer.wpe.weight.detach().float()  # (T, C)
    whole, scales = in_bytes(table)
    return {
        FILE: {
            "positions": table.shape[0],
            "channels": table.shape[1],
            "scales": [float(f"{scale:.5g}") for scale in scales.tolist()],
            "values": base64.b64encode(whole.numpy().tobytes()).decode("ascii"),
        }
    }


def in_bytes(table: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Round (T, C) to whole numbers -127 .. 127 and one scale per row: (T, C) int8 and (T,)."""
    scales = table.abs().amax(dim=1).clamp(min=1e-12) / 127
    return (table / scales[:, None]).round().to(torch.int8), scales

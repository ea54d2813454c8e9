"""The training step in fp16, with torch's loss scaling: for GPUs without bf16 (a T4, a V100)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from .batches import Batch
from .optimizers import Optimizers


class ScaledStep:
    """`train_step` with a GradScaler: called with the same arguments, returns the same.

    The lesson's `train_step` clips between `backward` and `step`; fp16 gradients must be unscaled
    before that, so the step is written out here. A test holds the two to equal results.
    """

    def __init__(self, device: torch.device, state: dict[str, Any] | None = None) -> None:
        self.scaler = torch.amp.GradScaler(device.type)
        if state:
            self.scaler.load_state_dict(state)

    def state(self) -> dict[str, Any]:
        """The scale and its history, for a checkpoint."""
        return self.scaler.state_dict()

    def __call__(
        self,
        model: nn.Module,
        optimizer: Optimizers,
        micro_batches: Sequence[Batch],
        max_norm: float = 1.0,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One step; the micro-batches are of equal size. Returns (mean loss, gradient norm)."""
        optimizer.zero_grad()
        scaler = self.scaler
        total = torch.zeros((), device=micro_batches[0][0].device)
        for inputs, targets in micro_batches:
            _, loss = model(inputs, targets)
            share = loss / len(micro_batches)
            scaler.scale(share).backward()
            total += share.detach()
        for part in optimizer.parts:
            scaler.unscale_(part)
        norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        for part in optimizer.parts:
            scaler.step(part)  # leaves the weights alone where a gradient overflowed
        scaler.update()
        return total, norm.detach()

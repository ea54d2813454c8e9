"""Toys around a whole model."""

import torch


class Scorer:
    """Stands in for `model.loss`: remembers the shapes, and returns another number than any loss."""

    def __init__(self) -> None:
        self.shapes: list[list[int]] = []

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean of the logits, weighted by the targets."""
        self.shapes = [list(logits.shape), list(targets.shape)]
        return (logits.sum(-1) * targets).mean()


class LossOf(torch.nn.Module):
    """A model of which only the loss is seen, so that `lesson.grad` goes back from there."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss."""
        return self.model(ids, targets)[1]


TOYS = {"scorer": Scorer, "loss of": LossOf}

"""Lesson 07 in as few lines as one can read, and with no name used once only."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

Batch = tuple[torch.Tensor, torch.Tensor]  # inputs (B, T) and targets (B, T), both int64


@dataclass
class TrainConfig:
    """The hyper-parameters of one training run."""

    steps: int = 1000  # optimiser steps in all
    batch_size: int = 16  # windows in one micro-batch
    accumulation: int = 1  # micro-batches in one step
    peak_lr: float = 1e-3  # the highest learning rate, reached at the end of the warm-up
    final_lr: float = 1e-4  # the learning rate of the last step
    warmup: int = 50  # steps of the linear warm-up
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    max_norm: float = 1.0  # gradients longer than this are scaled down to it
    patience: int = 0  # evaluations without progress before an early stop; 0: never stop early
    seed: int = 0


def learning_rate(
    step: int, *, steps: int, warmup: int, peak_lr: float, final_lr: float = 0.0
) -> float:
    """Return the learning rate of step number `step` (0 is the first): up a line, down a cosine."""
    if step < warmup:
        return peak_lr / warmup * (step + 1)
    x = min((step - warmup + 1) / max(steps - warmup, 1), 1)
    return final_lr + (peak_lr - final_lr) * (1 - math.sin(math.pi * (x - 0.5))) / 2


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Split the parameters in two: matrices, which decay, and vectors, which do not."""
    ps = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in ps if (p.dim() > 1) == big], "weight_decay": weight_decay * big}
        for big in (True, False)
    ]


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    micro_batches: Sequence[Batch],
    max_norm: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Make one optimiser step over several micro-batches, exactly as if they were one big batch."""
    optimizer.zero_grad()
    n = sum((y != -1).sum() for _, y in micro_batches)
    losses = [0.0]
    for x, y in micro_batches:
        (part := model(x, y)[1] * (y != -1).sum() / n).backward()
        losses.append(part.detach())
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    return sum(losses), norm


@torch.no_grad()
def estimate_loss(model: nn.Module, batches: Iterable[Batch]) -> float:
    """Return the mean loss over `batches`, and leave the model as if nothing had happened."""
    training = [m for m in model.modules() if m.training]
    try:
        model.eval()
        seen = [(float(model(x, y)[1]), int((y != -1).sum())) for x, y in batches]
    finally:
        for m in training:
            m.training = True
    return sum(loss * n for loss, n in seen) / sum(n for _, n in seen)


def should_stop(losses: Sequence[float], patience: int, min_delta: float = 0.0) -> bool:
    """Say whether the last `patience` evaluations all failed to beat the best loss before them."""
    old = [x for x in losses[: len(losses) - patience] if not math.isnan(x)]
    goal = min([math.inf, *old]) - min_delta
    return 0 < patience < len(losses) and not any(x < goal for x in losses[-patience:])


def fit(
    model: nn.Module,
    batch_of_step: Callable[[int], Sequence[Batch]],
    config: TrainConfig,
    validation: Iterable[Batch] = (),
    evaluate_every: int = 100,
) -> list[dict[str, float]]:
    """Train `model` for `config.steps` steps and return what was seen, a row per evaluation."""
    groups = parameter_groups(model, config.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=config.peak_lr, betas=(config.beta1, config.beta2))
    history: list[dict[str, float]] = []
    model.train()
    for step in range(config.steps):
        rate = learning_rate(
            step,
            steps=config.steps,
            warmup=config.warmup,
            peak_lr=config.peak_lr,
            final_lr=config.final_lr,
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss, _ = train_step(model, optimizer, batch_of_step(step), config.max_norm)
        if (step + 1) % evaluate_every == 0 or step + 1 == config.steps:
            row = {"step": step + 1, "train_loss": float(loss), "learning_rate": rate}
            if validation:
                row["val_loss"] = estimate_loss(model, validation)
            history.append(row)
            losses = [seen["val_loss"] for seen in history if "val_loss" in seen]
            if should_stop(losses, config.patience):
                break
    return history


# Stretch: half precision without losing small gradients, and an optimiser made for matrices.


class LossScaler:
    """Keeps fp16 gradients out of the zone where small numbers become 0 (given)."""

    def __init__(self, scale: float = 2.0**16, growth_interval: int = 2000) -> None:
        self.scale = scale
        self.growth_interval = growth_interval
        self.good_steps = 0

    def update(self, finite: bool) -> None:
        """Take note of whether the last gradients were finite."""
        if not finite:
            self.scale = max(self.scale / 2, 1.0)
            self.good_steps = 0
            return
        self.good_steps += 1
        if self.good_steps == self.growth_interval:
            self.scale *= 2
            self.good_steps = 0


def train_step_mixed(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    micro_batches: Sequence[Batch],
    max_norm: float = 1.0,
    dtype: torch.dtype = torch.bfloat16,
    scaler: LossScaler | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Do what `train_step` does, with the forward pass in half precision (`torch.autocast`)."""
    scaler = LossScaler(1.0) if scaler is None else scaler
    optimizer.zero_grad()
    n = sum((y != -1).sum() for _, y in micro_batches)
    losses = [0.0]
    for x, y in micro_batches:
        with torch.autocast(x.device.type, dtype):
            loss = model(x, y)[1]
        (loss * scaler.scale * (y != -1).sum() / n).backward()
        losses.append((loss * (y != -1).sum() / n).detach())
    for p in model.parameters():
        p.grad = None if p.grad is None else p.grad / scaler.scale
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    if finite := bool(norm.isfinite()):
        optimizer.step()
    scaler.update(finite)
    return sum(losses), norm


def orthogonalize(matrix: torch.Tensor, iterations: int = 5) -> torch.Tensor:
    """Push all singular values of `matrix` (M, N) towards 1, keeping its singular vectors."""
    x = matrix / (matrix.norm() + 1e-7)
    for _ in range(iterations):
        a = x @ x.T
        x = 3.4445 * x - a @ (4.7750 * x - 2.0315 * a @ x)
    return x


class Muon(torch.optim.Optimizer):
    """MomentUm Orthogonalised by Newton-Schulz, for 2-D hidden weights only (Jordan 2024)."""

    def __init__(
        self,
        params: Iterable[nn.Parameter] | list[dict],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter by its orthogonalised Nesterov momentum."""
        for group in self.param_groups:
            lr, beta = group["lr"], group["momentum"]
            for p in group["params"]:
                if (g := p.grad) is not None:
                    m = self.state[p]["m"] = beta * self.state[p].get("m", 0) + (1 - beta) * g
                    u = orthogonalize(g + beta * (m - g)) * max(1, len(p) / p.shape[1]) ** 0.5
                    p.mul_(1 - lr * group["weight_decay"]).sub_(lr * u)

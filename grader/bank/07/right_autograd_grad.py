"""Lesson 07 with `torch.autograd.grad`: gradients are values that are added up, and put into place last."""

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
    in_warmup = step < warmup
    if in_warmup:
        rate = peak_lr * (1 + step) / warmup
    else:
        height = peak_lr - final_lr
        angle = math.pi * min(max(steps - warmup, 1), step - warmup + 1) / max(steps - warmup, 1)
        rate = peak_lr - height * (1 - math.cos(angle)) / 2
    return rate


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Split the parameters in two: matrices, which decay, and vectors, which do not."""
    decaying = {"params": [], "weight_decay": weight_decay}
    free = {"params": [], "weight_decay": 0.0}
    unique = {id(p): p for p in model.parameters()}
    for parameter in reversed(unique.values()):
        if parameter.requires_grad:
            (decaying if parameter.dim() >= 2 else free)["params"].append(parameter)
    return [decaying, free]


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    micro_batches: Sequence[Batch],
    max_norm: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Make one optimiser step over several micro-batches, exactly as if they were one big batch."""
    optimizer.zero_grad()
    learning = [p for p in model.parameters() if p.requires_grad]
    counts = [int((targets != -1).sum()) for _, targets in micro_batches]
    sums, step_loss = [torch.zeros_like(p) for p in learning], 0.0
    for (inputs, targets), count in zip(micro_batches, counts, strict=True):
        loss = model(inputs, targets)[1] * (count / sum(counts))
        for total, gradient in zip(sums, torch.autograd.grad(loss, learning), strict=True):
            total += gradient
        step_loss = step_loss + loss.detach()
    norm = torch.cat([total.flatten() for total in sums]).norm()
    factor = torch.clamp(max_norm / norm, max=1.0)
    for parameter, total in zip(learning, sums, strict=True):
        parameter.grad = total * factor
    optimizer.step()
    return step_loss, norm


@torch.no_grad()
def estimate_loss(model: nn.Module, batches: Iterable[Batch]) -> float:
    """Return the mean loss over `batches`, and leave the model as if nothing had happened."""
    modes = [(module, module.training) for module in model.modules()]
    nats, count = 0.0, 0
    try:
        for module, _ in modes:
            module.training = False
        for inputs, targets in batches:
            scored = int((targets > -1).sum())
            nats, count = nats + scored * model(inputs, targets)[1].item(), count + scored
    finally:
        for module, mode in reversed(modes):
            module.training = mode
    return nats / count


def should_stop(losses: Sequence[float], patience: int, min_delta: float = 0.0) -> bool:
    """Say whether the last `patience` evaluations all failed to beat the best loss before them."""
    if patience == 0:
        return False
    best_before = math.inf
    for loss in losses[: max(0, len(losses) - patience)]:
        best_before = loss if loss < best_before else best_before
    recent = [loss for loss in losses[-patience:] if loss < best_before - min_delta]
    return len(losses) > patience and recent == []


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
    optimizer.zero_grad()
    learning = [p for p in model.parameters() if p.requires_grad]
    scale = scaler.scale if scaler else 1.0
    counts = [int((targets != -1).sum()) for _, targets in micro_batches]
    sums, step_loss = [torch.zeros_like(p) for p in learning], 0.0
    for (inputs, targets), count in zip(micro_batches, counts, strict=True):
        with torch.autocast(inputs.device.type, dtype=dtype):
            loss = model(inputs, targets)[1]
        loss = loss.float() * (count / sum(counts))
        for total, gradient in zip(sums, torch.autograd.grad(loss * scale, learning), strict=True):
            total += gradient / scale
        step_loss = step_loss + loss.detach()
    norm = torch.cat([total.flatten() for total in sums]).norm()
    finite = math.isfinite(norm.item())
    if finite:
        factor = torch.clamp(max_norm / norm, max=1.0)
        for parameter, total in zip(learning, sums, strict=True):
            parameter.grad = total * factor
        optimizer.step()
    if scaler:
        scaler.update(finite)
    return step_loss, norm


def orthogonalize(matrix: torch.Tensor, iterations: int = 5) -> torch.Tensor:
    """Push all singular values of `matrix` (M, N) towards 1, keeping its singular vectors."""
    if iterations == 0:
        return matrix / (torch.linalg.norm(matrix) + 1e-7)
    x = orthogonalize(matrix, iterations - 1)
    return 3.4445 * x - 4.7750 * (x @ x.T @ x) + 2.0315 * (x @ x.T @ x @ x.T @ x)


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
        moves = []
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    moves.append((p, p.grad, self.state[p], group))
        for p, gradient, state, group in moves:
            beta = group["momentum"]
            state["momentum"] = torch.lerp(state.get("momentum", 0 * p), gradient, 1 - beta)
            update = orthogonalize(torch.lerp(gradient, state["momentum"], beta))
            factor = max(1.0, (p.size(0) / p.size(1)) ** 0.5)
            p.copy_((1 - group["lr"] * group["weight_decay"]) * p - group["lr"] * factor * update)

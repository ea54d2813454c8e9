"""Lesson 07 with plain loops and counters, and no function of torch that clips."""

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
        rate = 0.0
        for _ in range(step + 1):
            rate += peak_lr / warmup
        return rate
    if step >= steps - 1:
        return final_lr
    angle = math.pi * (step - (warmup - 1)) / ((steps - 1) - (warmup - 1))
    share = (math.cos(angle) + 1) / 2
    return peak_lr * share + final_lr * (1 - share)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Split the parameters in two: matrices, which decay, and vectors, which do not."""
    matrices = []
    vectors = []
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue
        if len(parameter.shape) > 1:
            matrices.append(parameter)
        else:
            vectors.append(parameter)
    decaying = {"params": matrices, "weight_decay": weight_decay}
    free = {"params": vectors, "weight_decay": 0.0}
    return [decaying, free]


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    micro_batches: Sequence[Batch],
    max_norm: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Make one optimiser step over several micro-batches, exactly as if they were one big batch."""
    for parameter in model.parameters():
        parameter.grad = None
    total = 0
    for _, targets in micro_batches:
        for target in targets.flatten().tolist():
            if target != -1:
                total += 1
    step_loss = 0.0
    for inputs, targets in micro_batches:
        loss = model(inputs, targets)[1]
        weight = int((targets != -1).sum()) / total
        (loss * weight).backward()
        step_loss += loss.item() * weight
    squares = 0.0
    for parameter in model.parameters():
        if parameter.grad is not None:
            squares += float(parameter.grad.double().square().sum())
    norm = math.sqrt(squares)
    if norm > max_norm:
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad *= max_norm / norm
    optimizer.step()
    return torch.tensor(step_loss), torch.tensor(norm)


@torch.no_grad()
def estimate_loss(model: nn.Module, batches: Iterable[Batch]) -> float:
    """Return the mean loss over `batches`, and leave the model as if nothing had happened."""
    modes = []
    for module in model.modules():
        modes.append(module.training)
    model.eval()
    total = 0.0
    count = 0
    try:
        for inputs, targets in batches:
            _, loss = model(inputs, targets)
            n = 0
            for target in targets.flatten().tolist():
                if target >= 0:
                    n += 1
            total += loss.item() * n
            count += n
    finally:
        for module, mode in zip(model.modules(), modes, strict=True):
            module.training = mode
    return total / count


def should_stop(losses: Sequence[float], patience: int, min_delta: float = 0.0) -> bool:
    """Say whether the last `patience` evaluations all failed to beat the best loss before them."""
    if patience == 0:
        return False
    if len(losses) < patience + 1:
        return False
    best = math.inf
    for i in range(len(losses) - patience):
        if losses[i] < best:
            best = losses[i]
    progress = False
    for i in range(len(losses) - patience, len(losses)):
        if losses[i] < best - min_delta:
            progress = True
    return not progress


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
    for parameter in model.parameters():
        parameter.grad = None
    scale = 1.0
    if scaler is not None:
        scale = scaler.scale
    total = 0
    for _, targets in micro_batches:
        total += int((targets != -1).sum())
    step_loss = 0.0
    for inputs, targets in micro_batches:
        with torch.autocast("cuda" if inputs.is_cuda else "cpu", dtype=dtype):
            loss = model(inputs, targets)[1]
        weight = int((targets != -1).sum()) / total
        (loss * weight * scale).backward()
        step_loss += loss.item() * weight
    squares = 0.0
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad.div_(scale)
            squares += float(parameter.grad.double().square().sum())
    norm = math.sqrt(squares) if squares >= 0 else math.nan
    finite = math.isfinite(norm)
    if finite:
        if norm > max_norm:
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(max_norm / norm)
        optimizer.step()
    if scaler is not None:
        scaler.update(finite)
    return torch.tensor(step_loss), torch.tensor(norm)


def orthogonalize(matrix: torch.Tensor, iterations: int = 5) -> torch.Tensor:
    """Push all singular values of `matrix` (M, N) towards 1, keeping its singular vectors."""
    squares = 0.0
    for row in matrix:
        squares += float(row.double().square().sum())
    x = matrix / (math.sqrt(squares) + 1e-7)
    if x.shape[0] > x.shape[1]:
        return orthogonalize(matrix.T, iterations).T.contiguous()
    for _ in range(iterations):
        a = torch.mm(x, x.t())
        ax = torch.mm(a, x)
        aax = torch.mm(a, ax)
        x = 3.4445 * x - 4.7750 * ax + 2.0315 * aax
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
            lr, beta, decay = group["lr"], group["momentum"], group["weight_decay"]
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is not None:
                    memory = self.state[parameter]
                    if "buffer" not in memory:
                        memory["buffer"] = torch.zeros(parameter.shape)
                    memory["buffer"] = memory["buffer"] + (1 - beta) * (gradient - memory["buffer"])
                    ahead = gradient + beta * (memory["buffer"] - gradient)
                    update = orthogonalize(ahead)
                    rows, columns = parameter.shape
                    if rows > columns:
                        update = update * math.sqrt(rows / columns)
                    parameter -= lr * decay * parameter
                    parameter -= lr * update

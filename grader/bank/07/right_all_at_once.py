"""Lesson 07 with torch's operations on whole lists of tensors (`_foreach`), and with dictionaries."""

import collections
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
    progress = 0.0 if step < warmup else min(1.0, (step + 1 - warmup) / max(1, steps - warmup))
    climbed = min(1.0, (step + 1) / warmup) if warmup else 1.0
    falling = (1 + math.cos(math.pi * progress)) / 2
    return climbed * peak_lr if step < warmup else final_lr + falling * (peak_lr - final_lr)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Split the parameters in two: matrices, which decay, and vectors, which do not."""
    kinds: dict[bool, list[nn.Parameter]] = collections.defaultdict(list)
    for parameter in model.parameters():
        if parameter.requires_grad:
            kinds[parameter.dim() >= 2].append(parameter)
    decays = {True: weight_decay, False: 0.0}
    return [{"params": kinds[kind], "weight_decay": decay} for kind, decay in decays.items()]


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    micro_batches: Sequence[Batch],
    max_norm: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Make one optimiser step over several micro-batches, exactly as if they were one big batch."""
    optimizer.zero_grad()
    total = torch.cat([targets.flatten() for _, targets in micro_batches]).ne(-1).sum()
    losses = []
    for inputs, targets in micro_batches:
        _, loss = model(inputs, targets)
        losses.append(loss * targets.ne(-1).sum() / total)
        losses[-1].backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.stack(torch._foreach_norm(gradients)).norm()
    torch._foreach_mul_(gradients, (max_norm / norm).clamp(max=1.0))
    optimizer.step()
    return torch.stack(losses).sum().detach(), norm


@torch.no_grad()
def estimate_loss(model: nn.Module, batches: Iterable[Batch]) -> float:
    """Return the mean loss over `batches`, and leave the model as if nothing had happened."""
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        results = [(model(x, y)[1], (y != -1).sum()) for x, y in batches]
    finally:
        for module, mode in modes.items():
            module.train(mode)  # parents come first, so that children have the last word
    losses, counts = (torch.stack(part).double() for part in zip(*results, strict=True))
    return float(losses @ counts / counts.sum())


def should_stop(losses: Sequence[float], patience: int, min_delta: float = 0.0) -> bool:
    """Say whether the last `patience` evaluations all failed to beat the best loss before them."""
    before, last = losses[: len(losses) - patience], losses[len(losses) - patience :]
    if patience < 1 or len(losses) <= patience:
        return False
    bar = min([loss for loss in before if loss == loss], default=math.inf)
    progress = [loss for loss in last if loss + min_delta < bar]
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
    optimizer.zero_grad()
    scale = 1.0 if scaler is None else scaler.scale
    total = torch.cat([targets.flatten() for _, targets in micro_batches]).ne(-1).sum()
    losses = []
    for inputs, targets in micro_batches:
        half = torch.autocast(device_type=inputs.device.type, dtype=dtype)
        with half:
            _, loss = model(inputs, targets)
        losses.append(loss * targets.ne(-1).sum() / total)
        torch.autograd.backward(losses[-1] * scale)
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    torch._foreach_div_(gradients, scale)
    norm = torch.stack(torch._foreach_norm(gradients)).norm()
    finite = bool(norm < math.inf)
    if finite:
        torch._foreach_mul_(gradients, (max_norm / norm).clamp(max=1.0))
        optimizer.step()
    if scaler is not None:
        scaler.update(finite)
    return torch.stack(losses).sum().detach(), norm


def orthogonalize(matrix: torch.Tensor, iterations: int = 5) -> torch.Tensor:
    """Push all singular values of `matrix` (M, N) towards 1, keeping its singular vectors."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.size(0) >= matrix.size(1)
    x = matrix.t() if tall else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(iterations):
        gram = x.mm(x.t())
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.t().clone() if tall else x


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
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            gradients = [p.grad for p in params]
            momenta = [self.state[p].setdefault("m", torch.zeros_like(p)) for p in params]
            torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
            ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])
            factors = [
                math.sqrt(max(p.shape) / p.shape[1]) if len(p) > p.shape[1] else 1 for p in params
            ]
            updates = [f * orthogonalize(g) for f, g in zip(factors, ahead, strict=True)]
            torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(params, updates, alpha=-group["lr"])

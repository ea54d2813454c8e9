"""Lesson 07 with small functions of its own that both training steps share."""

import contextlib
import itertools
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


def _between(a, b, share):
    """Return what lies this share of the way from a to b."""
    return a * (1 - share) + b * share


def _scored(batch: Batch) -> int:
    """Return how many targets of a batch count."""
    return int((batch[1] != -1).sum())


def _accumulate(
    model: nn.Module,
    micro_batches: Sequence[Batch],
    dtype: torch.dtype | None = None,
    scale: float = 1.0,
) -> torch.Tensor:
    """Leave the gradients of the whole step in the model, times the scale. Returns the loss."""
    for p in model.parameters():
        p.grad = None
    total, losses = sum(map(_scored, micro_batches)), []
    for batch in micro_batches:
        kind = batch[0].device.type
        half = torch.autocast(kind, dtype=dtype) if dtype else contextlib.nullcontext()
        with half:
            loss = model(*batch)[1]
        losses.append(loss * (_scored(batch) / total))
        losses[-1].backward(torch.tensor(scale))
    return torch.stack([loss.detach() for loss in losses]).sum()


def _clip(model: nn.Module, max_norm: float) -> torch.Tensor:
    """Shorten the whole gradient, and return how long it was."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.stack([torch.linalg.vector_norm(g) for g in gradients]).square().sum().sqrt()
    if norm > max_norm:
        for gradient in gradients:
            gradient *= max_norm / norm
    return norm


def learning_rate(
    step: int, *, steps: int, warmup: int, peak_lr: float, final_lr: float = 0.0
) -> float:
    """Return the learning rate of step number `step` (0 is the first): up a line, down a cosine."""
    if step < warmup:
        return _between(0.0, peak_lr, (step + 1) / warmup)
    if step >= max(steps - 1, warmup + 1) or steps <= warmup + 1:
        return final_lr
    turn = math.pi * (step - warmup + 1) / (steps - warmup)
    return _between(peak_lr, final_lr, (1 - math.cos(turn)) / 2)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Split the parameters in two: matrices, which decay, and vectors, which do not."""

    def those(is_wanted):
        return [p for p in model.parameters() if p.requires_grad and is_wanted(p)]

    return [
        {"weight_decay": weight_decay, "params": those(lambda p: p.dim() >= 2)},
        {"weight_decay": 0.0, "params": those(lambda p: not p.dim() >= 2)},
    ]


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    micro_batches: Sequence[Batch],
    max_norm: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Make one optimiser step over several micro-batches, exactly as if they were one big batch."""
    loss = _accumulate(model, micro_batches)
    norm = _clip(model, max_norm)
    optimizer.step()
    return loss, norm


@torch.no_grad()
def estimate_loss(model: nn.Module, batches: Iterable[Batch]) -> float:
    """Return the mean loss over `batches`, and leave the model as if nothing had happened."""
    modes = [(module, module.training) for module in model.modules()]
    stream, nats, count = iter(batches), [], []
    model.eval()
    try:
        while (batch := next(stream, None)) is not None:
            count.append(_scored(batch))
            nats.append(float(model(*batch)[1]) * count[-1])
    finally:
        while modes:
            module, module.training = modes.pop()
    return math.fsum(nats) / sum(count)


def should_stop(losses: Sequence[float], patience: int, min_delta: float = 0.0) -> bool:
    """Say whether the last `patience` evaluations all failed to beat the best loss before them."""
    if not patience:
        return False
    numbers = [loss if not math.isnan(loss) else float("inf") for loss in losses]
    running = list(itertools.accumulate(numbers, min))  # the best so far, after each evaluation
    return len(running) > patience and not running[-1] < running[-1 - patience] - min_delta


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
    loss = _accumulate(model, micro_batches, dtype, 1.0 if scaler is None else scaler.scale)
    for p in model.parameters():
        if scaler is not None and p.grad is not None:
            p.grad.div_(scaler.scale)
    norm = _clip(model, max_norm)
    finite = norm.isfinite().item()
    if finite:
        optimizer.step()
    if scaler is not None:
        scaler.update(finite)
    return loss, norm


def orthogonalize(matrix: torch.Tensor, iterations: int = 5) -> torch.Tensor:
    """Push all singular values of `matrix` (M, N) towards 1, keeping its singular vectors."""
    if matrix.size(0) > matrix.size(1):
        return orthogonalize(matrix.T, iterations).T
    x = torch.div(matrix, torch.sqrt(torch.sum(matrix * matrix)) + 1e-7)
    for _ in itertools.repeat(None, iterations):
        gram = torch.matmul(x, x.transpose(0, 1))
        polynomial = torch.matmul(gram, gram).mul_(2.0315).sub_(gram, alpha=4.7750)
        polynomial.diagonal().add_(3.4445)
        x = torch.matmul(polynomial, x)
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
            for p in group["params"]:
                if p.grad is not None:
                    state = self.state[p]
                    momentum = state.get("momentum")
                    momentum = torch.zeros_like(p) if momentum is None else momentum
                    state["momentum"] = momentum = _between(p.grad, momentum, group["momentum"])
                    update = orthogonalize(_between(p.grad, momentum, group["momentum"]))
                    p.sub_(p * (group["lr"] * group["weight_decay"]))
                    p.sub_(update * (group["lr"] * math.sqrt(max(1, p.shape[0] / p.shape[1]))))

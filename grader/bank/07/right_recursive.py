"""Lesson 07 with functions that call themselves, `reduce`, `map` and an exit stack."""

import contextlib
import functools
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
    match step:
        case _ if step < warmup:
            return peak_lr * ((step + 1) / warmup)
        case _ if step + 1 >= steps:
            return final_lr
    whole = steps - warmup
    x = (step + 1 - warmup) / whole
    return sum((final_lr * (1 - math.cos(math.pi * x)), peak_lr * (1 + math.cos(math.pi * x)))) / 2


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Split the parameters in two: matrices, which decay, and vectors, which do not."""

    def split(parameters):
        if not parameters:
            return [], []
        matrices, vectors = split(parameters[1:])
        first = parameters[0]
        if not first.requires_grad:
            return matrices, vectors
        return ([first, *matrices], vectors) if first.dim() > 1 else (matrices, [first, *vectors])

    matrices, vectors = split(list(model.parameters()))
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    micro_batches: Sequence[Batch],
    max_norm: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Make one optimiser step over several micro-batches, exactly as if they were one big batch."""
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = None
    total = functools.reduce(lambda n, batch: n + (batch[1] != -1).sum().item(), micro_batches, 0)

    def learn(batch):
        loss = model(*batch)[1] * (batch[1] != -1).sum().item() / total
        loss.backward()
        return loss.detach()

    loss = functools.reduce(torch.add, map(learn, micro_batches))
    norm = nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    nn.utils.clip_grads_with_norm_(model.parameters(), max_norm, norm)
    optimizer.step()
    return loss, norm


@torch.no_grad()
def estimate_loss(model: nn.Module, batches: Iterable[Batch]) -> float:
    """Return the mean loss over `batches`, and leave the model as if nothing had happened."""
    with contextlib.ExitStack() as stack:
        for module in model.modules():
            stack.callback(setattr, module, "training", module.training)
        model.eval()

        def add(so_far, batch):
            count = (batch[1] != -1).sum().item()
            return so_far[0] + model(*batch)[1].item() * count, so_far[1] + count

        nats, count = functools.reduce(add, batches, (0.0, 0))
    return nats / count


def should_stop(losses: Sequence[float], patience: int, min_delta: float = 0.0) -> bool:
    """Say whether the last `patience` evaluations all failed to beat the best loss before them."""
    if patience == 0 or len(losses) <= patience:
        return False
    better = functools.partial(functools.reduce, lambda a, b: b if b < a else a)
    best = better(losses[:-patience], math.inf)
    return not better(losses[-patience:], math.inf) < best - min_delta


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
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = None
    scale = getattr(scaler, "scale", 1.0)
    total = functools.reduce(lambda n, batch: n + (batch[1] != -1).sum().item(), micro_batches, 0)

    def learn(batch):
        with torch.autocast(batch[0].device.type, dtype=dtype):
            loss = model(*batch)[1]
        loss = loss * ((batch[1] != -1).sum().item() / total)
        loss.mul(scale).backward()
        return loss.detach()

    loss = functools.reduce(torch.add, map(learn, micro_batches))
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    for gradient in gradients:
        gradient.copy_(gradient / scale)
    norm = nn.utils.get_total_norm(gradients)
    finite = torch.isfinite(norm).item()
    if finite:
        nn.utils.clip_grads_with_norm_(model.parameters(), max_norm, norm)
        optimizer.step()
    if scaler is not None:
        scaler.update(finite)
    return loss, norm


def orthogonalize(matrix: torch.Tensor, iterations: int = 5) -> torch.Tensor:
    """Push all singular values of `matrix` (M, N) towards 1, keeping its singular vectors."""

    def go_on(x, left):
        if left == 0:
            return x
        gram = x.mT @ x
        return go_on(
            x
            @ (
                3.4445 * torch.eye(len(gram))
                - gram @ (4.7750 * torch.eye(len(gram)) - 2.0315 * gram)
            ),
            left - 1,
        )

    if matrix.shape[0] < matrix.shape[1]:
        return orthogonalize(matrix.mT, iterations).mT
    return go_on(matrix / (torch.linalg.vector_norm(matrix) + 1e-7), iterations)


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
        everyone = ((group, p) for group in self.param_groups for p in group["params"])
        for group, p in everyone:
            if p.grad is None:
                continue
            beta = group["momentum"]
            self.state[p]["momentum"] = momentum = (
                self.state[p]["momentum"] if self.state[p] else torch.zeros_like(p)
            )
            momentum += (1 - beta) * (p.grad - momentum)
            p.grad.lerp_(momentum, beta)  # in place, as in the first Muon
            update = orthogonalize(p.grad).mul(max(1, p.size(-2) / p.size(-1)) ** 0.5)
            p.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"])

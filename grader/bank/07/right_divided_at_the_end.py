"""Lesson 07 with sums of losses first, and one division by the number of targets at the end."""

import cmath
import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
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


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation for a while."""
    modes = {name: module.training for name, module in model.named_modules()}
    model.eval()
    try:
        yield
    finally:
        for name, mode in modes.items():
            model.get_submodule(name).training = mode


def _polynomial(gram: torch.Tensor) -> torch.Tensor:
    """Return a I + b A + c A A."""
    return 3.4445 * torch.eye(len(gram)) - 4.7750 * gram + 2.0315 * gram @ gram


def learning_rate(
    step: int, *, steps: int, warmup: int, peak_lr: float, final_lr: float = 0.0
) -> float:
    """Return the learning rate of step number `step` (0 is the first): up a line, down a cosine."""
    if step + 1 <= warmup:
        return peak_lr - peak_lr * (warmup - 1 - step) / warmup
    done, whole = step - warmup + 1, steps - warmup
    if done >= whole:
        return final_lr
    turned = cmath.exp(1j * math.pi * done / whole).real
    return (peak_lr + final_lr) / 2 + turned * (peak_lr - final_lr) / 2


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Split the parameters in two: matrices, which decay, and vectors, which do not."""
    seen, matrices, vectors = set(), [], []
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            if id(parameter) in seen or not parameter.requires_grad:
                continue
            seen.add(id(parameter))
            (vectors if parameter.dim() in (0, 1) else matrices).append(parameter)
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
    optimizer.zero_grad(set_to_none=True)
    total, nats = 0, 0.0
    for inputs, targets in micro_batches:
        count = int(torch.sum(targets != -1))
        loss = model(inputs, targets)[1] * count
        loss.backward()
        total, nats = total + count, nats + loss.detach()
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad /= total
    norm = nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], max_norm)
    optimizer.step()
    return nats / total, norm


@torch.no_grad()
def estimate_loss(model: nn.Module, batches: Iterable[Batch]) -> float:
    """Return the mean loss over `batches`, and leave the model as if nothing had happened."""
    with evaluating(model):
        both = [
            (model(inputs, targets)[1].item(), (targets != -1).sum().item())
            for inputs, targets in batches
        ]
    return math.fsum(loss * count for loss, count in both) / sum(count for _, count in both)


def should_stop(losses: Sequence[float], patience: int, min_delta: float = 0.0) -> bool:
    """Say whether the last `patience` evaluations all failed to beat the best loss before them."""
    waited, numbers = 0, [math.inf if loss != loss else loss for loss in losses]
    for place in range(len(numbers) - 1, 0, -1):
        if waited == patience:
            break
        best = min(numbers[: len(numbers) - patience], default=-math.inf)
        if numbers[place] < best - min_delta:
            return False
        waited += 1
    return 0 < patience == waited


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
    optimizer.zero_grad(set_to_none=True)
    scale = scaler.scale if scaler else 1.0
    total, nats = 0, 0.0
    for inputs, targets in micro_batches:
        count = int(torch.sum(targets != -1))
        with torch.autocast(inputs.device.type, dtype=dtype):
            loss = model(inputs, targets)[1]
        (loss * scale).mul(count).backward()
        total, nats = total + count, nats + loss.detach().float() * count
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad /= total * scale
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    finite = not (math.isinf(norm) or math.isnan(norm))
    if finite:
        optimizer.step()
    if scaler:
        scaler.update(finite)
    return nats / total, norm


def orthogonalize(matrix: torch.Tensor, iterations: int = 5) -> torch.Tensor:
    """Push all singular values of `matrix` (M, N) towards 1, keeping its singular vectors."""
    x = matrix / (matrix.pow(2).sum().sqrt() + 1e-7)
    if x.shape[0] <= x.shape[1]:
        for _ in range(iterations):
            x = _polynomial(x @ x.T) @ x
    else:
        for _ in range(iterations):
            x = x @ _polynomial(x.T @ x)
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
            beta = group["momentum"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                # the sum that decays: momentum / (1 - beta); orthogonalize does not look at sizes
                total = self.state[p].get("total")
                total = p.grad.clone() if total is None else beta * total + p.grad
                self.state[p]["total"] = total
                update = orthogonalize(p.grad + beta * total)
                if p.shape[0] > p.shape[1]:
                    update.mul_((p.shape[0] / p.shape[1]) ** 0.5)
                p.add_(p, alpha=-group["lr"] * group["weight_decay"]).add_(
                    update, alpha=-group["lr"]
                )

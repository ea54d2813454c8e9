"""Lesson 07 with NumPy for everything that needs no gradient."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
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
    rates = np.linspace(0, peak_lr, warmup + 1)[1:]
    if step < warmup:
        return float(rates[step])
    progress = np.clip((step + 1 - warmup) / np.maximum(steps - warmup, 1), 0, 1)
    return float(final_lr + (peak_lr - final_lr) * np.cos(np.pi / 2 * progress) ** 2)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Split the parameters in two: matrices, which decay, and vectors, which do not."""
    trainable = list(filter(lambda p: p.requires_grad, model.parameters()))
    is_matrix = np.array([p.dim() >= 2 for p in trainable], dtype=bool)
    matrices = [trainable[i] for i in np.flatnonzero(is_matrix)]
    vectors = [trainable[i] for i in np.flatnonzero(~is_matrix)]
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
    optimizer.zero_grad()
    counts = np.array(
        [np.count_nonzero(targets.cpu().numpy() != -1) for _, targets in micro_batches]
    )
    shares = counts / counts.sum()
    losses = []
    for (inputs, targets), share in zip(micro_batches, shares.tolist(), strict=True):
        loss = model(inputs, targets)[1]
        loss.backward(torch.full_like(loss, share))
        losses.append(loss.item())
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    return torch.tensor(np.dot(losses, shares), dtype=norm.dtype), norm


@torch.no_grad()
def estimate_loss(model: nn.Module, batches: Iterable[Batch]) -> float:
    """Return the mean loss over `batches`, and leave the model as if nothing had happened."""
    modules = list(model.modules())
    modes = np.array([module.training for module in modules])
    model.eval()
    losses, counts = [], []
    try:
        for inputs, targets in batches:
            losses.append(model(inputs, targets)[1].item())
            counts.append(np.count_nonzero(targets.cpu().numpy() != -1))
    finally:
        for module, mode in zip(modules, modes.tolist(), strict=True):
            module.training = mode
    return float(np.average(losses, weights=counts))


def should_stop(losses: Sequence[float], patience: int, min_delta: float = 0.0) -> bool:
    """Say whether the last `patience` evaluations all failed to beat the best loss before them."""
    numbers = np.array(losses, dtype=np.float64)
    numbers[np.isnan(numbers)] = np.inf
    if patience == 0 or numbers.size <= patience:
        return False
    best = numbers[:-patience].min()
    return bool(np.all(numbers[-patience:] >= best - min_delta))


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
    scale = scaler.scale if scaler is not None else 1.0
    counts = np.array(
        [np.count_nonzero(targets.cpu().numpy() != -1) for _, targets in micro_batches]
    )
    shares = counts / counts.sum()
    losses = []
    for (inputs, targets), share in zip(micro_batches, shares.tolist(), strict=True):
        with torch.amp.autocast(inputs.device.type, dtype=dtype):
            loss = model(inputs, targets)[1]
        loss.backward(torch.full_like(loss, share * scale))
        losses.append(loss.item())
    for p in model.parameters():
        if p.grad is not None:
            p.grad = p.grad / scale
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    finite = bool(np.isfinite(norm.item()))
    if finite:
        optimizer.step()
    if scaler is not None:
        scaler.update(finite)
    return torch.tensor(np.dot(losses, shares), dtype=norm.dtype), norm


def orthogonalize(matrix: torch.Tensor, iterations: int = 5) -> torch.Tensor:
    """Push all singular values of `matrix` (M, N) towards 1, keeping its singular vectors."""
    x = matrix.detach().cpu().numpy().astype(np.float64)
    x = x / (np.linalg.norm(x) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.T
        x = 3.4445 * x - 4.7750 * gram @ x + 2.0315 * gram @ (gram @ x)
    return torch.from_numpy(x).to(matrix)


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
            beta, lr = group["momentum"], group["lr"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                old = self.state[p].get("momentum", np.zeros(p.shape))
                gradient = p.grad.numpy()
                momentum = self.state[p]["momentum"] = old + (1 - beta) * (gradient - old)
                update = orthogonalize(torch.from_numpy(gradient + beta * (momentum - gradient)))
                rows, columns = p.shape
                p *= 1 - lr * group["weight_decay"]
                p -= (lr * np.sqrt(np.maximum(1, rows / columns)) * update).to(p.dtype)

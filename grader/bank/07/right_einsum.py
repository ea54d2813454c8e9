"""Lesson 07 with einsum for sums and products, and with `where` in the place of `if`."""

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
    t = torch.arange(step, step + 1, dtype=torch.float64)
    up = peak_lr * (t + 1) / max(warmup, 1)
    progress = torch.clamp((t - warmup + 1) / max(1, steps - warmup), max=1)
    down = final_lr + (peak_lr - final_lr) * (torch.cos(progress * torch.pi) + 1) * 0.5
    return torch.where(t < warmup, up, down).item()


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Split the parameters in two: matrices, which decay, and vectors, which do not."""
    trainable = [p for _, p in model.named_parameters() if p.requires_grad]
    vectors = [p for p in trainable if p.dim() < 2]
    held = {id(p) for p in vectors}
    return [
        {"params": [p for p in trainable if id(p) not in held], "weight_decay": weight_decay},
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
    counts = torch.stack([torch.where(y == -1, 0.0, 1.0).sum() for _, y in micro_batches])
    weights = counts / counts.sum()
    losses = torch.zeros(len(micro_batches))
    for i, (inputs, targets) in enumerate(micro_batches):
        loss = model(inputs, targets)[1]
        torch.einsum(",->", loss, weights[i]).backward()
        losses[i] = loss.detach()
    learning = [p for p in model.parameters() if p.grad is not None]
    flat = torch.cat([p.grad.flatten() for p in learning])
    norm = torch.einsum("n,n->", flat, flat).sqrt()
    factor = torch.where(norm > max_norm, max_norm / norm, 1.0)
    for p in learning:
        p.grad = p.grad * factor
    optimizer.step()
    return torch.einsum("n,n->", losses, weights), norm


@torch.no_grad()
def estimate_loss(model: nn.Module, batches: Iterable[Batch]) -> float:
    """Return the mean loss over `batches`, and leave the model as if nothing had happened."""
    modes = [module.training for module in model.modules()]
    try:
        losses, counts = [], []
        for inputs, targets in batches:
            model.eval()
            losses.append(float(model(inputs, targets)[1]))
            counts.append(float((targets != -1).sum()))
        tensors = (torch.tensor(part, dtype=torch.float64) for part in (losses, counts))
        return torch.einsum("n,n->", *tensors).item() / sum(counts)
    finally:
        for module, mode in zip(model.modules(), modes, strict=True):
            module.training = mode


def should_stop(losses: Sequence[float], patience: int, min_delta: float = 0.0) -> bool:
    """Say whether the last `patience` evaluations all failed to beat the best loss before them."""
    x = torch.tensor([*losses], dtype=torch.float64)
    x = torch.where(x.isnan(), torch.inf, x)
    if patience == 0 or len(x) <= patience:
        return False
    old, new = x.split([len(x) - patience, patience])
    return bool((new >= old.amin() - min_delta).all())


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
    scale = scaler.scale if scaler else 1.0
    counts = torch.stack([torch.where(y == -1, 0.0, 1.0).sum() for _, y in micro_batches])
    weights = counts / counts.sum()
    losses = torch.zeros(len(micro_batches))
    for i, (inputs, targets) in enumerate(micro_batches):
        with torch.autocast(inputs.device.type, dtype=dtype, enabled=True):
            loss = model(inputs, targets)[1]
        (loss.float() * weights[i] * scale).backward()
        losses[i] = loss.detach()
    learning = [p for p in model.parameters() if p.grad is not None]
    flat = torch.cat([p.grad.flatten() for p in learning]) / scale
    norm = torch.einsum("n,n->", flat, flat).sqrt()
    finite = bool(torch.isfinite(flat).all())
    if finite:
        factor = torch.where(norm > max_norm, max_norm / norm, 1.0) / scale
        for p in learning:
            p.grad = p.grad * factor
        optimizer.step()
    if scaler:
        scaler.update(finite)
    return torch.einsum("n,n->", losses, weights), norm


def orthogonalize(matrix: torch.Tensor, iterations: int = 5) -> torch.Tensor:
    """Push all singular values of `matrix` (M, N) towards 1, keeping its singular vectors."""
    x = matrix / (torch.einsum("ij,ij->", matrix, matrix).sqrt() + 1e-7)
    for _ in range(iterations):
        gram = torch.einsum("ij,kj->ik", x, x)
        once = torch.einsum("ik,kj->ij", gram, x)
        x = 3.4445 * x - 4.7750 * once + 2.0315 * torch.einsum("ik,kj->ij", gram, once)
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
                if "momentum" not in self.state[p]:
                    self.state[p]["momentum"] = torch.full_like(p, 0.0)
                momentum = self.state[p]["momentum"]
                shares = torch.tensor([1 - beta, beta])
                momentum.copy_(torch.einsum("n,nij->ij", shares, torch.stack([p.grad, momentum])))
                ahead = torch.einsum("n,nij->ij", shares, torch.stack([p.grad, momentum]))
                rows, columns = p.shape
                factor = (rows / columns if rows > columns else 1) ** 0.5
                p.data = p.data * (1 - group["lr"] * group["weight_decay"])
                p.data -= orthogonalize(ahead) * (group["lr"] * factor)

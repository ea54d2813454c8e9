"""Lesson 07 with sums and products in 64 bits, rounded once at the end."""

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
    if warmup > step:
        return (step + 1) / warmup * peak_lr
    way = torch.tensor(float(max(steps - warmup, 1)), dtype=torch.float64)
    progress = ((step - warmup + 1) / way).clamp(max=1.0)
    half = torch.cos(torch.pi * progress).add(1).div(2)
    return torch.lerp(
        torch.tensor(final_lr, dtype=half.dtype), torch.tensor(peak_lr, dtype=half.dtype), half
    ).item()


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Split the parameters in two: matrices, which decay, and vectors, which do not."""
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    matrices = [p for _, p in sorted(named.items()) if p.ndim > 1]
    vectors = [p for _, p in sorted(named.items()) if p.ndim <= 1]
    return [
        dict(params=matrices, weight_decay=weight_decay),
        dict(params=vectors, weight_decay=0.0),
    ]


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    micro_batches: Sequence[Batch],
    max_norm: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Make one optimiser step over several micro-batches, exactly as if they were one big batch."""
    optimizer.zero_grad(set_to_none=True)
    total = sum(int((targets >= 0).sum()) for _, targets in micro_batches)
    step_loss = torch.zeros((), dtype=torch.float64)
    sums = {p: torch.zeros_like(p, dtype=torch.float64) for p in model.parameters()}
    for inputs, targets in micro_batches:
        _, loss = model(inputs, targets)
        share = int((targets >= 0).sum()) / total
        loss.backward()
        step_loss += loss.detach().double() * share
        for p in model.parameters():
            if p.grad is not None:
                sums[p] += p.grad.double() * share
        optimizer.zero_grad()
    norm = torch.stack([g.square().sum() for g in sums.values()]).sum().sqrt()
    factor = min(1.0, max_norm / float(norm)) if norm > 0 else 1.0
    for p in model.parameters():
        if p.requires_grad:
            p.grad = (sums[p] * factor).to(p.dtype)
    optimizer.step()
    return step_loss.float(), norm.float()


@torch.no_grad()
def estimate_loss(model: nn.Module, batches: Iterable[Batch]) -> float:
    """Return the mean loss over `batches`, and leave the model as if nothing had happened."""
    was_training = {module for module in model.modules() if module.training}
    model.train(False)
    try:
        sums, counts = [], []
        for inputs, targets in batches:
            counts.append(torch.count_nonzero(targets != -1))
            sums.append(model(inputs, targets)[1].double() * counts[-1])
        return (torch.stack(sums).sum() / torch.stack(counts).sum()).item()
    finally:
        for module in was_training:
            module.training = True


def should_stop(losses: Sequence[float], patience: int, min_delta: float = 0.0) -> bool:
    """Say whether the last `patience` evaluations all failed to beat the best loss before them."""
    if not patience or len(losses) <= patience:
        return False
    values = torch.tensor(list(losses), dtype=torch.float64).nan_to_num(torch.inf, torch.inf)
    old, new = values[:-patience], values[-patience:]
    return not bool((new < old.min() - min_delta).any())


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
    scale = 1.0 if scaler is None else scaler.scale
    total = sum(int((targets >= 0).sum()) for _, targets in micro_batches)
    step_loss = torch.zeros((), dtype=torch.float64)
    for inputs, targets in micro_batches:
        with torch.autocast(device_type=inputs.device.type, dtype=dtype):
            _, loss = model(inputs, targets)
        share = int((targets >= 0).sum()) / total
        (loss.float() * (share * scale)).backward()
        step_loss += loss.detach().double() * share
    learning = [p for p in model.parameters() if p.grad is not None]
    exact = [p.grad.double() / scale for p in learning]
    norm = torch.stack([g.square().sum() for g in exact]).sum().sqrt()
    finite = math.isfinite(norm)
    if finite:
        factor = min(1.0, max_norm / max(float(norm), 1e-30))
        for p, g in zip(learning, exact, strict=True):
            p.grad = (g * factor).to(p.dtype)
        optimizer.step()
    if scaler is not None:
        scaler.update(finite)
    return step_loss.float(), norm.float()


def orthogonalize(matrix: torch.Tensor, iterations: int = 5) -> torch.Tensor:
    """Push all singular values of `matrix` (M, N) towards 1, keeping its singular vectors."""
    x = matrix.double()
    x = x / (torch.linalg.matrix_norm(x) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.to(matrix.dtype)


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
            for p in filter(lambda p: p.grad is not None, group["params"]):
                g, state = p.grad.double(), self.state[p]
                state["m"] = beta * state.get("m", torch.zeros_like(g)) + (1 - beta) * g
                update = orthogonalize((1 - beta) * g + beta * state["m"])
                stretch = math.sqrt(max(1.0, p.shape[0] / p.shape[1]))
                shrunk = p.double() * (1 - group["lr"] * group["weight_decay"])
                p.copy_(shrunk - group["lr"] * stretch * update)

# lesson 07, stub c4c70b384545 (yours to fill in)
"""Lesson 07: the trainer. How a model learns from its mistakes, thousands of times.

One step of training is always the same: run the model on a batch, measure how surprised it was by
the true next tokens, ask every weight in which direction it should move (`backward`), and move all
of them a little. This lesson writes the parts that decide whether that works: how far to move
(`learning_rate`), which weights may shrink (`parameter_groups`), the step itself (`train_step`), an
honest look at unseen text (`estimate_loss`) and when to give up (`should_stop`). The loop that ties
them together, `fit`, is given.

Papers: AdamW (Loshchilov and Hutter 2019), cosine schedule (Loshchilov and Hutter 2017), gradient
clipping (Pascanu et al. 2013), mixed precision (Micikevicius et al. 2018), Muon (Jordan 2024).
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("run this instead: pytest lessons/07")

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
    """Return the learning rate of step number `step` (0 is the first): up a line, down a cosine.

    Arguments: `steps` is how many steps the run has, `warmup` how many of them climb.
    Step 0 gets peak_lr / warmup (never 0, which would waste it), step warmup - 1 gets peak_lr,
    step steps - 1 gets final_lr, and so does every step beyond. Without a warm-up the peak lies one
    step before step 0. Every step below `warmup` climbs, also where the run is shorter than that.

    Predict first: A run has 100 steps, 10 of them warm-up, and a peak of 2. Which rate has step 0:
    0, 0.2 or 2? And which step has exactly 2?
    Yours to write, without the library's own: schedule.

    1. In the warm-up: which fraction of the climb has been made when this step is done?
    2. After it: how far are we between the end of the warm-up (0) and the last step (1)? No step
       is further than 1, also when the run goes on beyond its plan.
    3. Half a cosine goes from 1 to 0 on that way; put it between peak and final rate. (`math.cos`
       and `math.pi` need `import math` at the top of the file.)
    """
    raise NotImplementedError("lesson 07: learning_rate")


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Split the parameters in two: matrices, which decay, and vectors, which do not.

    A matrix is here what has two dimensions or more; single numbers go with the vectors. Decay pulls
    weights towards 0. It does good to matrices (and embedding tables); a bias or the scale of a
    LayerNorm has no reason to be near 0. Returns two groups as torch's optimisers take
    them: [{"params": [...], "weight_decay": weight_decay}, {"params": [...], "weight_decay": 0.0}].
    A parameter that two modules share (the tied head) stands in the list once; frozen ones
    (`requires_grad` False) do not stand in it.

    Predict first: A LayerNorm has a weight and a bias of the shape (64,); its neighbour, a linear
    layer, has a weight (64, 64) and a bias (64,). How many of the four decay?

    1. Go through the model's parameters (does `parameters()` repeat a shared one?).
    2. What tells a matrix from a vector is its number of dimensions.
    """
    raise NotImplementedError("lesson 07: parameter_groups")


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    micro_batches: Sequence[Batch],
    max_norm: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Make one optimiser step over several micro-batches, exactly as if they were one big batch.

    `model(inputs, targets)` returns (logits, loss), the loss being the mean over the targets that
    count (those that are not -1; every micro-batch has some). Returns (loss, norm), two scalars
    without a gradient: the mean loss over all targets of the step that count, before the weights
    move, and the length of the whole gradient before clipping. They are tensors and not numbers, so
    that a GPU need not be waited for.

    Predict first: One micro-batch has 30 targets and a mean loss of 2, another has 10 targets and a
    mean loss of 4. What is the loss of the step: 2.5, 3 or 6?

    1. Throw away the gradients of the step before.
    2. Count the targets that count, in all micro-batches together.
    3. For each micro-batch: its mean loss, weighted by its share of the targets; `backward` adds
       its gradients to those that are there already.
    4. Clip the whole gradient, once, when it is complete (`nn.utils.clip_grad_norm_` shortens it to
       `max_norm` where it is longer, and returns how long it was); then step.
    """
    raise NotImplementedError("lesson 07: train_step")


@torch.no_grad()
def estimate_loss(model: nn.Module, batches: Iterable[Batch]) -> float:
    """Return the mean loss over `batches`, and leave the model as if nothing had happened.

    Dropout is off while measuring; afterwards every module is in the mode (training or evaluation)
    in which it was (some may be in another one than the rest). No gradients are made, and those
    that are there stay. `batches` may be a stream that can be read only once. Each target counts the
    same, so a batch with more of them weighs more; those that are -1 do not count, and every batch
    has others.

    Predict first: Two measurements of one model on the same batches, one right after the other,
    give 2.31 and 2.34. What has been forgotten?

    1. Remember the mode of each of `model.modules()` (it is its attribute `training`), then switch
       to evaluation.
    2. Add up loss times number of targets, and the numbers.
    3. Switch back, even when something goes wrong on the way.
    """
    raise NotImplementedError("lesson 07: estimate_loss")


def should_stop(losses: Sequence[float], patience: int, min_delta: float = 0.0) -> bool:
    """Say whether the last `patience` evaluations all failed to beat the best loss before them.

    `losses` are the validation losses so far, oldest first; to beat means to be lower by more than
    `min_delta`. With a patience of 0 training never stops early. A loss that is not a number (nan)
    beats nothing, and any finite one beats it. (`math.isnan` needs `import math`.)

    Predict first: The losses were 3.0, 2.0, 2.5, 2.25, and the patience is 2. The last one was
    better than the one before it. Does training stop?

    1. With too few evaluations there is nothing to compare.
    2. The best of the old ones against the best of the last `patience`.
    """
    raise NotImplementedError("lesson 07: should_stop")


def fit(
    model: nn.Module,
    batch_of_step: Callable[[int], Sequence[Batch]],
    config: TrainConfig,
    validation: Iterable[Batch] = (),
    evaluate_every: int = 100,
) -> list[dict[str, float]]:
    """Train `model` for `config.steps` steps and return what was seen, a row per evaluation.

    `batch_of_step(step)` gives the micro-batches of a step. This is the whole loop in its plain
    form. `engine/training.py` is the same loop with everything that a long run needs (checkpoints,
    exact resume, mixed precision, several processes), and a test holds the two to equal losses.
    """
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
    """Keeps fp16 gradients out of the zone where small numbers become 0 (given).

    The loss is multiplied by `scale` before `backward`, the gradients are divided by it afterwards.
    When one of them overflows, the step is left out and the scale halves; after `growth_interval`
    good steps it doubles.
    """

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
    """Do what `train_step` does, with the forward pass in half precision (`torch.autocast`).

    With a `scaler` the loss is scaled before `backward`, and the gradients are unscaled before they
    are clipped. Where one is not finite (inf or nan), the weights stay as they are. The scaler is
    told after each step whether all were finite; what it makes of that holds from the next step on.
    Returns (loss, norm) as `train_step` does, unscaled.

    Predict first: The smallest number above 0 in fp16 is about 0.00000006. A gradient is
    0.00000001, the loss is multiplied by 65,536. What is left of the gradient without the scale,
    and what with it?

    1. As in `train_step`, with the forward pass inside `torch.autocast(device_type, dtype)`.
    2. Multiply each share by the scale before `backward`; divide all gradients by it afterwards.
    3. Clip; step only if the norm is finite; tell the scaler.
    """
    raise NotImplementedError("lesson 07: train_step_mixed")


def orthogonalize(matrix: torch.Tensor, iterations: int = 5) -> torch.Tensor:
    """Push all singular values of `matrix` (M, N) towards 1, keeping its singular vectors.

    This is the heart of Muon (Jordan 2024): the update then moves all directions equally far,
    where a raw gradient moves along a few. Newton-Schulz iteration with the polynomial
    3.4445 x - 4.7750 x^3 + 2.0315 x^5; singular values that are not tiny end between about 0.7 and
    1.2. A matrix of zeros stays one. The result is a new tensor.

    Predict first: A matrix has the singular values 3 and 4. What are they after the division by its
    length?

    1. Work on the wide form: transpose a tall matrix first, and back at the end. (X X^T is then the
       smaller of two squares.)
    2. Divide by the length (Frobenius), so that no singular value is above 1. Add 1e-7 to it.
    3. Each iteration: A = X X^T, then X <- a X + (b A + c A A) X, where a = 3.4445,
       b = -4.7750 and c = 2.0315.
    """
    raise NotImplementedError("lesson 07: orthogonalize")


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
        """Move every parameter by its orthogonalised Nesterov momentum.

        `self.param_groups` is a list of dictionaries with "params", "lr", "momentum" and
        "weight_decay"; what each parameter has to remember goes into `self.state[parameter]`, a
        dictionary that is empty at first. A parameter without a gradient stays as it is.

        Predict first: A gradient becomes ten times as large. How much further does Muon move the
        weights in its first step: ten times, a little, or not at all?
        Yours to write, without the library's own: muon.

        1. momentum <- momentum + (1 - beta) (gradient - momentum); it begins with zeros, and beta
           is the group's "momentum".
        2. Nesterov: look ahead by mixing the gradient in once more, as
           gradient + beta (momentum - gradient).
        3. Orthogonalise; times sqrt(max(1, rows / columns)), so that tall matrices keep up.
        4. Shrink the weights by the factor 1 - lr * weight_decay, then subtract lr times the update.
        """
        raise NotImplementedError("lesson 07: Muon.step")

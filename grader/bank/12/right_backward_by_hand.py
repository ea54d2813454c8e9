"""The detour as one function of autograd's own, with its backward pass written down."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .model import IGNORE


class Detour(torch.autograd.Function):
    """scale * x A^T B^T."""

    @staticmethod
    def forward(context: Any, x: torch.Tensor, a: torch.Tensor, b: torch.Tensor, scale: float):
        """Return the detour's part."""
        context.save_for_backward(x, a, b)
        context.scale = scale
        return scale * (x @ a.T @ b.T)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor):  # type: ignore[override]
        """Return the gradients of x, A and B."""
        x, a, b = context.saved_tensors
        gradient = context.scale * gradient
        narrow = gradient @ b  # (..., R)
        rows, out = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
        return narrow @ a, narrow.reshape(len(rows), -1).T @ rows, out.T @ (rows @ a.T), None


def mask_prompt(
    ids: torch.Tensor, prompt_lengths: torch.Tensor, lengths: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut rows of prompt and answer into inputs and targets, with only the answers to be scored."""
    length = ids.shape[1]
    if torch.any((prompt_lengths < 0) | (lengths < prompt_lengths) | (lengths > length)):
        raise ValueError("lengths")
    before = torch.arange(length).repeat(len(ids), 1)
    targets = ids.clone()
    targets[(before < prompt_lengths[:, None]) | ~(before < lengths[:, None])] = IGNORE
    return ids[:, :-1].contiguous(), targets[:, 1:].contiguous()


def sequence_log_probability(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the sum of the log-probabilities of each row's targets."""
    log_probability = F.log_softmax(logits, dim=-1, dtype=torch.float32)
    tokens = targets.clone()
    tokens[targets == IGNORE] = 0
    picked = torch.take_along_dim(log_probability, tokens[..., None], dim=-1)[..., 0]
    return torch.masked_fill(picked, targets == IGNORE, 0.0).sum(1)


def supervised_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean surprise over all targets of the batch that are to be scored."""
    scored = int((targets != IGNORE).sum())
    if not scored:
        raise ValueError("nothing to score")
    losses = F.cross_entropy(
        logits.float().permute(0, 2, 1), targets, ignore_index=IGNORE, reduction="sum"
    )
    return losses / scored


class LoRALinear(nn.Module):
    """A frozen linear layer and, beside it, a detour of low rank that learns."""

    def __init__(self, linear: nn.Linear, rank: int, alpha: float, dropout: float = 0.0) -> None:
        super().__init__()
        if rank < 1:
            raise ValueError(f"rank must be at least 1, not {rank}")
        self.base = linear
        weight = linear.weight  # new_empty: of its type and on its device
        self.lora_A = nn.Parameter(weight.new_empty(rank, linear.in_features))
        self.lora_B = nn.Parameter(weight.new_empty(linear.out_features, rank))
        self.scale = alpha / rank
        self.dropout = nn.Dropout(dropout)
        # in a tuple, so that torch does not take the kept weight for one more parameter
        self.unmerged: tuple[nn.Parameter] | None = None
        self.train(linear.training)
        self.begin()

    def begin(self) -> None:
        """Freeze the layer and give the detour its first values."""
        nn.init.zeros_(self.lora_B)
        nn.init.normal_(self.lora_A)
        with torch.no_grad():
            self.lora_A /= self.base.in_features**0.5
        for parameter in self.base.parameters():
            parameter.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the layer computes, and the detour's part of it on top."""
        if self.unmerged is not None:
            return self.base(x)
        return self.base(x) + Detour.apply(self.dropout(x), self.lora_A, self.lora_B, self.scale)

    def merge(self) -> None:
        """Put the detour into the weight of `base`."""
        if self.unmerged is None:
            with torch.no_grad():
                # what the detour makes of each input alone is a column of the matrix that it is
                columns = torch.eye(self.base.in_features) @ self.lora_A.T @ self.lora_B.T
                merged = self.base.weight + self.scale * columns.T
            self.unmerged = (self.base.weight,)
            self.base.weight = nn.Parameter(merged, requires_grad=False)

    def unmerge(self) -> None:
        """Take the detour out again."""
        match self.unmerged:
            case (weight,):
                self.base.weight, self.unmerged = weight, None


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Return how many numbers of the model are trained, and how many it has in all."""
    trained = nn.utils.parameters_to_vector(p for p in model.parameters() if p.requires_grad)
    return trained.numel(), nn.utils.parameters_to_vector(model.parameters()).numel()


def dpo_loss(
    policy_chosen: torch.Tensor,
    policy_rejected: torch.Tensor,
    reference_chosen: torch.Tensor | None,
    reference_rejected: torch.Tensor | None,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Return the mean loss of pairs of answers."""
    if not beta > 0 or label_smoothing < 0 or label_smoothing > 1 / 2:
        raise ValueError("beta or label_smoothing")
    references = [part for part in (reference_chosen, reference_rejected) if part is not None]
    if len(references) == 1:
        raise ValueError("one reference of two")
    margin = policy_chosen - policy_rejected
    if references:
        margin = margin - references[0] + references[1]
    sure = nn.LogSigmoid()
    both = torch.stack([sure(margin * beta), sure(-margin * beta)], dim=1)  # (B, 2)
    return -(both @ torch.tensor([1 - label_smoothing, label_smoothing])).mean()


def add_adapters(
    model: nn.Module, names: Sequence[str], rank: int, alpha: float, dropout: float = 0.0
) -> list[str]:
    """Put a `LoRALinear` in the place of each chosen linear layer, and freeze all else."""
    mine = [module for module in model.modules() if isinstance(module, LoRALinear)]
    bases = [module.base for module in mine]
    layers = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and not any(module is base for base in bases)
    }
    chosen: dict[str, nn.Linear] = {}
    for name in names:
        found = {
            full: m
            for full, m in layers.items()
            if full.split(".")[-1 - name.count(".") :] == name.split(".")
        }
        if not found:
            raise ValueError(f"no layer {name}")
        chosen |= found
    chosen = {full: module for full, module in layers.items() if full in chosen}
    for full, module in chosen.items():
        *path, last = full.split(".")
        adapter = LoRALinear(module, rank, alpha, dropout)
        mine.append(adapter)
        setattr(model.get_submodule(".".join(path)), last, adapter)
    model.requires_grad_(False)
    for adapter in mine:
        adapter.lora_A.requires_grad_(True)
        adapter.lora_B.requires_grad_(True)
    return list(chosen)

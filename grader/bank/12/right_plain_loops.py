"""Token by token, row by row, layer by layer, in plain loops."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from .model import IGNORE


def mask_prompt(
    ids: torch.Tensor, prompt_lengths: torch.Tensor, lengths: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut rows of prompt and answer into inputs and targets, with only the answers to be scored."""
    batch, n = ids.shape
    targets = torch.full((batch, n - 1), IGNORE, dtype=ids.dtype)
    for row in range(batch):
        prompt, end = int(prompt_lengths[row]), int(lengths[row])
        if prompt < 0 or end < prompt or n < end:
            raise ValueError(f"row {row}: {prompt}, {end}")
        for place in range(max(prompt, 1), end):
            targets[row, place - 1] = ids[row, place]
    return ids[:, : n - 1].clone(), targets


def sequence_log_probability(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the sum of the log-probabilities of each row's targets."""
    sums = []
    for row, row_targets in zip(logits, targets.tolist(), strict=True):
        total = torch.zeros(())
        for place, target in zip(row, row_targets, strict=True):
            if target != IGNORE:
                total = total + torch.log_softmax(place.float(), 0)[target]
        sums.append(total)
    return torch.stack(sums)


def supervised_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean surprise over all targets of the batch that are to be scored."""
    surprises = []
    for row, row_targets in zip(logits, targets.tolist(), strict=True):
        for place, target in zip(row, row_targets, strict=True):
            if target != IGNORE:
                surprises.append(-torch.log_softmax(place.float(), 0)[target])
    if not surprises:
        raise ValueError("nothing to score")
    return torch.stack(surprises).mean()


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
        for parameter in self.base.parameters():
            parameter.requires_grad = False
        for row in self.lora_A:
            nn.init.normal_(row, 0.0, 1 / self.base.in_features**0.5)
        for row in self.lora_B:
            nn.init.zeros_(row)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the layer computes, and the detour's part of it on top."""
        y = self.base(x)
        if self.unmerged is None:
            x = self.dropout(x)
            for a, b in zip(self.lora_A, self.lora_B.T, strict=True):  # one rank after the other
                y = y + self.scale * (x * a).sum(-1, keepdim=True) * b
        return y

    def merge(self) -> None:
        """Put the detour into the weight of `base`."""
        if self.unmerged is None:
            merged = self.base.weight.detach().clone()
            for a, b in zip(self.lora_A.detach(), self.lora_B.detach().T, strict=True):
                merged += self.scale * torch.outer(b, a)
            self.unmerged = (self.base.weight,)
            self.base.weight = nn.Parameter(merged, requires_grad=False)

    def unmerge(self) -> None:
        """Take the detour out again."""
        if self.unmerged is not None:
            self.base.weight = self.unmerged[0]
            self.unmerged = None


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Return how many numbers of the model are trained, and how many it has in all."""
    seen, trained, total = set(), 0, 0
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            total += parameter.numel()
            if parameter.requires_grad:
                trained += parameter.numel()
    return trained, total


def dpo_loss(
    policy_chosen: torch.Tensor,
    policy_rejected: torch.Tensor,
    reference_chosen: torch.Tensor | None,
    reference_rejected: torch.Tensor | None,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Return the mean loss of pairs of answers."""
    if beta <= 0:
        raise ValueError("beta")
    if label_smoothing < 0 or label_smoothing > 0.5:
        raise ValueError("label_smoothing")
    if (reference_chosen is None and reference_rejected is not None) or (
        reference_chosen is not None and reference_rejected is None
    ):
        raise ValueError("reference")
    total = torch.zeros(())
    for pair in range(len(policy_chosen)):
        margin = policy_chosen[pair] - policy_rejected[pair]
        if reference_chosen is not None:
            margin = margin - (reference_chosen[pair] - reference_rejected[pair])
        total = total - (1 - label_smoothing) * F.logsigmoid(beta * margin)
        total = total - label_smoothing * F.logsigmoid(-beta * margin)
    return total / len(policy_chosen)


def add_adapters(
    model: nn.Module, names: Sequence[str], rank: int, alpha: float, dropout: float = 0.0
) -> list[str]:
    """Put a `LoRALinear` in the place of each chosen linear layer, and freeze all else."""
    found, known = [], set()
    for full, module in list(model.named_modules()):
        holder = model.get_submodule(".".join(full.split(".")[:-1]))
        if not isinstance(module, nn.Linear) or isinstance(holder, LoRALinear):
            continue
        parts, meant = full.split("."), False
        for name in names:
            ends = name.split(".")
            if parts[-len(ends) :] == ends:
                known.add(name)
                meant = True
        if meant:
            found.append((full, holder, parts[-1], module))
    for name in names:
        if name not in known:
            raise ValueError(f"{name} is unknown")
    for parameter in model.parameters():
        parameter.requires_grad = False
    for _, holder, last, module in found:
        setattr(holder, last, LoRALinear(module, rank, alpha, dropout))
    for module in model.modules():
        if isinstance(module, LoRALinear):
            module.lora_A.requires_grad = module.lora_B.requires_grad = True
    return [full for full, *_ in found]

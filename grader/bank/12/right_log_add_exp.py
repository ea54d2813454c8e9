"""Its own log-sum-exp, and sigmoids by `logaddexp`."""

from collections.abc import Sequence

import torch
from torch import nn

from .model import IGNORE


def log_normalised(logits: torch.Tensor) -> torch.Tensor:
    """Return log-probabilities over the last dimension."""
    logits = logits.to(torch.float32)
    top = logits.amax(-1, keepdim=True)
    return (logits - top) - (logits - top).exp().sum(-1, keepdim=True).log()


def mask_prompt(
    ids: torch.Tensor, prompt_lengths: torch.Tensor, lengths: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut rows of prompt and answer into inputs and targets, with only the answers to be scored."""
    n = ids.shape[1]
    if prompt_lengths.min() < 0 or lengths.max() > n or (lengths - prompt_lengths).min() < 0:
        raise ValueError("lengths")
    rows, places = torch.nonzero(torch.ones_like(ids), as_tuple=True)
    keep = (places > 0) & (places >= prompt_lengths[rows]) & (places < lengths[rows])
    targets = torch.empty(len(ids), n - 1, dtype=torch.int64).fill_(IGNORE)
    targets[rows[keep], places[keep] - 1] = ids[rows[keep], places[keep]]
    return ids[:, :-1], targets


def sequence_log_probability(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the sum of the log-probabilities of each row's targets."""
    scored = targets != IGNORE
    rows, places = scored.nonzero(as_tuple=True)
    picked = log_normalised(logits[rows, places])[torch.arange(len(rows)), targets[scored]]
    return torch.zeros(len(targets)).index_add(0, rows, picked)


def supervised_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean surprise over all targets of the batch that are to be scored."""
    scored = targets != IGNORE
    if scored.sum().item() < 1:
        raise ValueError("nothing to score")
    every = log_normalised(logits[scored])
    return -every[torch.arange(len(every)), targets[scored]].mean()


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
        for parameter in (self.base.weight, self.base.bias):
            if parameter is not None:
                parameter.requires_grad_(False)
        with torch.no_grad():
            self.lora_A.normal_(0, self.base.in_features**-0.5)
            self.lora_B.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the layer computes, and the detour's part of it on top."""
        known = self.base(x)
        if self.unmerged is not None:
            return known
        narrow = torch.matmul(self.dropout(x), self.lora_A.transpose(0, 1))
        return known + torch.matmul(narrow * self.scale, self.lora_B.transpose(0, 1))

    def merge(self) -> None:
        """Put the detour into the weight of `base`."""
        if self.unmerged is not None:
            return
        with torch.no_grad():
            detour = torch.matmul(self.lora_A.T, self.lora_B.T).T * self.scale
            self.unmerged = (self.base.weight,)
            self.base.weight = nn.Parameter(
                torch.add(detour, self.base.weight), requires_grad=False
            )

    def unmerge(self) -> None:
        """Take the detour out again."""
        if self.unmerged is not None:
            self.base.weight = self.unmerged[0]
        self.unmerged = None


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Return how many numbers of the model are trained, and how many it has in all."""
    unique = {id(p): p for m in model.modules() for p in m._parameters.values() if p is not None}
    return (
        sum(p.nelement() for p in unique.values() if p.requires_grad),
        sum(p.nelement() for p in unique.values()),
    )


def dpo_loss(
    policy_chosen: torch.Tensor,
    policy_rejected: torch.Tensor,
    reference_chosen: torch.Tensor | None,
    reference_rejected: torch.Tensor | None,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Return the mean loss of pairs of answers."""
    if not beta > 0:
        raise ValueError(f"beta {beta}")
    if not 0 <= label_smoothing <= 0.5:
        raise ValueError(f"label_smoothing {label_smoothing}")
    old = 0.0
    if reference_chosen is not None and reference_rejected is not None:
        old = reference_chosen - reference_rejected
    elif reference_chosen is not reference_rejected:
        raise ValueError("one reference of two")
    margin = beta * ((policy_chosen - policy_rejected) - old)
    nothing = torch.zeros_like(margin)
    right, turned = torch.logaddexp(nothing, -margin), torch.logaddexp(nothing, margin)
    return (right - label_smoothing * (right - turned)).mean()


def add_adapters(
    model: nn.Module, names: Sequence[str], rank: int, alpha: float, dropout: float = 0.0
) -> list[str]:
    """Put a `LoRALinear` in the place of each chosen linear layer, and freeze all else."""
    holders = [(n, m) for n, m in model.named_modules() if not isinstance(m, LoRALinear)]
    found, left = [], set(names)
    for path, holder in holders:
        for last, child in holder.named_children():
            full = f"{path}.{last}".lstrip(".")
            meant = {name for name in names if f".{full}".endswith(f".{name}")}
            if isinstance(child, nn.Linear) and meant:
                left -= meant
                found.append((full, holder, last, child))
    if left:
        raise ValueError(f"unknown: {sorted(left)}")
    order = [name for name, _ in model.named_modules()]
    found.sort(key=lambda entry: order.index(entry[0]))
    for _, holder, last, child in found:
        setattr(holder, last, LoRALinear(child, rank, alpha, dropout))
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            parameter.requires_grad_(
                isinstance(module, LoRALinear) and name in ("lora_A", "lora_B")
            )
    return [entry[0] for entry in found]

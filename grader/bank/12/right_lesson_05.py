"""With lesson 05's loss, and everything else made of it."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from .model import IGNORE, next_token_loss


def mask_prompt(
    ids: torch.Tensor, prompt_lengths: torch.Tensor, lengths: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut rows of prompt and answer into inputs and targets, with only the answers to be scored."""
    width = ids.shape[1]
    if not all(
        0 <= p <= n <= width for p, n in zip(prompt_lengths.tolist(), lengths.tolist(), strict=True)
    ):
        raise ValueError("lengths")
    targets = ids[:, 1:].clone()
    place = torch.arange(1, width).expand_as(targets)
    targets[place < prompt_lengths[:, None]] = IGNORE
    targets[place >= lengths[:, None]] = IGNORE
    return ids[:, :-1], targets


def sequence_log_probability(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the sum of the log-probabilities of each row's targets."""
    rows = []
    for row, row_targets in zip(logits, targets, strict=True):
        n = int((row_targets != IGNORE).sum())
        rows.append(-n * next_token_loss(row[None], row_targets[None]) if n else torch.zeros(()))
    return torch.stack(rows)


def supervised_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean surprise over all targets of the batch that are to be scored."""
    if bool((targets == IGNORE).all()):
        raise ValueError("nothing to score")
    return next_token_loss(logits, targets)


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
        self.base.requires_grad_(False)
        nn.init.zeros_(self.lora_B)
        nn.init.normal_(self.lora_A, std=(1 / self.base.in_features) ** 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the layer computes, and the detour's part of it on top."""
        if self.unmerged is not None:
            return self.base(x)
        if self.training and self.dropout.p > 0:
            weight = self.scale * self.lora_B @ self.lora_A
            return self.base(x) + F.linear(self.dropout(x), weight)
        return F.linear(
            x, self.base.weight + self.scale * self.lora_B @ self.lora_A, self.base.bias
        )

    def merge(self) -> None:
        """Put the detour into the weight of `base`."""
        if self.unmerged is not None:
            return
        self.unmerged = (nn.Parameter(self.base.weight.detach().clone(), requires_grad=False),)
        new = self.base.weight.detach() + (self.scale * self.lora_B @ self.lora_A).detach()
        self.base.weight = nn.Parameter(new)
        self.base.weight.requires_grad_(False)

    def unmerge(self) -> None:
        """Take the detour out again."""
        kept, self.unmerged = self.unmerged, None
        if kept is not None:
            self.base.weight = kept[0]


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Return how many numbers of the model are trained, and how many it has in all."""
    trained = frozen = 0
    for parameter in model.parameters():
        if parameter.requires_grad:
            trained += parameter.numel()
        else:
            frozen += parameter.numel()
    return trained, trained + frozen


def dpo_loss(
    policy_chosen: torch.Tensor,
    policy_rejected: torch.Tensor,
    reference_chosen: torch.Tensor | None,
    reference_rejected: torch.Tensor | None,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Return the mean loss of pairs of answers."""
    if beta <= 0 or abs(label_smoothing - 0.25) > 0.25:
        raise ValueError("beta or label_smoothing")
    if reference_chosen is None and reference_rejected is None:
        reference_chosen = reference_rejected = torch.zeros_like(policy_chosen)
    if reference_chosen is None or reference_rejected is None:
        raise ValueError("one reference of two")
    margin = beta * ((policy_chosen - reference_chosen) - (policy_rejected - reference_rejected))
    # a choice between two tokens with the logits margin and 0
    logits = torch.stack([margin, torch.zeros_like(margin)], dim=1)
    right = F.cross_entropy(logits, torch.zeros(len(margin), dtype=torch.long))
    turned = F.cross_entropy(logits, torch.ones(len(margin), dtype=torch.long))
    return torch.lerp(right, turned, label_smoothing)


def add_adapters(
    model: nn.Module, names: Sequence[str], rank: int, alpha: float, dropout: float = 0.0
) -> list[str]:
    """Put a `LoRALinear` in the place of each chosen linear layer, and freeze all else."""

    def walk(module: nn.Module, path: str):
        for name, child in module.named_children():
            full = f"{path}.{name}" if path else name
            if isinstance(child, nn.Linear):
                yield module, name, full
            elif not isinstance(child, LoRALinear):
                yield from walk(child, full)

    layers = list(walk(model, ""))
    meant = {
        name: {full for *_, full in layers if full == name or full.endswith(f".{name}")}
        for name in names
    }
    if not all(meant.values()):
        raise ValueError([name for name, found in meant.items() if not found])
    chosen = set().union(*meant.values())
    replaced = []
    for holder, name, full in layers:
        if full in chosen:
            setattr(holder, name, LoRALinear(getattr(holder, name), rank, alpha, dropout))
            replaced.append(full)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
    return replaced

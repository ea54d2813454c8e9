"""As few lines as possible, with torch's own functions."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from .model import IGNORE


def mask_prompt(
    ids: torch.Tensor, prompt_lengths: torch.Tensor, lengths: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut rows of prompt and answer into inputs and targets, with only the answers to be scored."""
    n = ids.shape[1]
    if not ((0 <= prompt_lengths) & (prompt_lengths <= lengths) & (lengths <= n)).all():  # noqa: SIM300
        raise ValueError(prompt_lengths, lengths)
    at = torch.arange(1, n)
    kept = (at >= prompt_lengths[:, None]) & (at < lengths[:, None])
    return ids[:, :-1], torch.where(kept, ids[:, 1:], IGNORE)


def sequence_log_probability(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the sum of the log-probabilities of each row's targets."""
    rows = logits.float().transpose(1, 2)
    return -F.cross_entropy(rows, targets, ignore_index=IGNORE, reduction="none").sum(1)


def supervised_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean surprise over all targets of the batch that are to be scored."""
    if (targets == IGNORE).all():
        raise ValueError("nothing to score")
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORE)


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
        self.lora_A.data.normal_(std=self.base.in_features**-0.5)
        self.lora_B.data.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the layer computes, and the detour's part of it on top."""
        y = self.base(x)
        return (
            y
            if self.unmerged
            else y + self.scale * F.linear(F.linear(self.dropout(x), self.lora_A), self.lora_B)
        )

    def merge(self) -> None:
        """Put the detour into the weight of `base`."""
        if not self.unmerged:
            self.unmerged, old = (self.base.weight,), self.base.weight.data
            new = torch.addmm(old, self.lora_B.data, self.lora_A.data, alpha=self.scale)
            self.base.weight = nn.Parameter(new, requires_grad=False)

    def unmerge(self) -> None:
        """Take the detour out again."""
        if self.unmerged:
            self.base.weight, self.unmerged = self.unmerged[0], None


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Return how many numbers of the model are trained, and how many it has in all."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(n for n, trained in sizes if trained), sum(n for n, _ in sizes)


def dpo_loss(
    policy_chosen: torch.Tensor,
    policy_rejected: torch.Tensor,
    reference_chosen: torch.Tensor | None,
    reference_rejected: torch.Tensor | None,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Return the mean loss of pairs of answers."""
    if beta <= 0 or not 0 <= label_smoothing <= 0.5:
        raise ValueError(beta, label_smoothing)
    if [reference_chosen, reference_rejected].count(None) == 1:
        raise ValueError("one reference of two")
    m = policy_chosen - policy_rejected
    if reference_chosen is not None:
        m = m - reference_chosen + reference_rejected
    return F.binary_cross_entropy_with_logits(beta * m, torch.full_like(m, 1 - label_smoothing))


def add_adapters(
    model: nn.Module, names: Sequence[str], rank: int, alpha: float, dropout: float = 0.0
) -> list[str]:
    """Put a `LoRALinear` in the place of each chosen linear layer, and freeze all else."""
    layers = {
        n: m
        for n, m in model.named_modules()
        if isinstance(m, nn.Linear)
        and not isinstance(model.get_submodule(n.rpartition(".")[0]), LoRALinear)
    }
    chosen = [n for n in layers if f".{n}".endswith(tuple(f".{end}" for end in names))]
    if unknown := [e for e in names if not any(f".{n}".endswith(f".{e}") for n in chosen)]:
        raise ValueError(unknown)
    for name in chosen:
        adapter = LoRALinear(layers[name], rank, alpha, dropout)
        setattr(model.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2], adapter)
    model.requires_grad_(False)
    for m in model.modules():
        if isinstance(m, LoRALinear):
            m.lora_A.requires_grad_()
            m.lora_B.requires_grad_()
    return chosen

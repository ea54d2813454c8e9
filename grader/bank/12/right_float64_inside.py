"""64 bits inside, and back to what is asked for at the end."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from .model import IGNORE


def mask_prompt(
    ids: torch.Tensor, prompt_lengths: torch.Tensor, lengths: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut rows of prompt and answer into inputs and targets, with only the answers to be scored."""
    top = torch.full_like(lengths, ids.shape[1])
    order = torch.stack([torch.zeros_like(lengths), prompt_lengths, lengths, top])
    if bool((order.diff(dim=0) < 0).any()):
        raise ValueError("lengths out of order")
    counted = torch.ones_like(ids).cumsum(1)  # the first place is 1
    outside = (counted <= prompt_lengths.view(-1, 1)) | (counted > lengths.view(-1, 1))
    targets = ids.clone()
    targets[outside] = IGNORE
    return ids[:, :-1], targets[:, 1:]


def sequence_log_probability(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the sum of the log-probabilities of each row's targets."""
    log_probability = torch.log_softmax(logits.double(), -1)
    picked = log_probability.gather(2, targets.clamp(min=0)[:, :, None])[:, :, 0]
    return torch.where(targets == IGNORE, torch.zeros_like(picked), picked).sum(-1).float()


def supervised_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean surprise over all targets of the batch that are to be scored."""
    kept = targets != IGNORE
    if not kept.any():
        raise ValueError("nothing to score")
    return F.nll_loss(torch.log_softmax(logits[kept].double(), -1), targets[kept]).float()


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
        self.base.weight.requires_grad_(False)
        if self.base.bias is not None:
            self.base.bias.requires_grad_(False)
        with torch.no_grad():
            numbers = torch.randn(self.lora_A.shape, dtype=torch.float64)
            self.lora_A.copy_(numbers / self.base.in_features**0.5)
            self.lora_B.fill_(0.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the layer computes, and the detour's part of it on top."""
        if self.unmerged is not None:
            return self.base(x)
        a, b = self.lora_A.double(), self.lora_B.double()
        detour = (self.dropout(x).double() @ a.mT) @ (b * self.scale).mT
        return (self.base(x).double() + detour).to(x.dtype)

    def merge(self) -> None:
        """Put the detour into the weight of `base`."""
        if self.unmerged is None:
            old = self.base.weight
            new = old.double() + self.scale * self.lora_B.double() @ self.lora_A.double()
            self.base.weight = nn.Parameter(new.to(old.dtype).detach(), requires_grad=False)
            self.unmerged = (old,)

    def unmerge(self) -> None:
        """Take the detour out again."""
        if self.unmerged is None:
            return
        self.base.weight = self.unmerged[0]
        self.unmerged = None


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Return how many numbers of the model are trained, and how many it has in all."""
    every = dict(model.named_parameters())
    trained = {name: p for name, p in every.items() if p.requires_grad}
    return sum(p.numel() for p in trained.values()), sum(p.numel() for p in every.values())


def dpo_loss(
    policy_chosen: torch.Tensor,
    policy_rejected: torch.Tensor,
    reference_chosen: torch.Tensor | None,
    reference_rejected: torch.Tensor | None,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Return the mean loss of pairs of answers."""
    if not (beta > 0 and 0 <= label_smoothing <= 0.5):
        raise ValueError("beta or label_smoothing")
    if (reference_chosen is None) is not (reference_rejected is None):
        raise ValueError("reference")
    reward_chosen, reward_rejected = policy_chosen.double(), policy_rejected.double()
    if reference_chosen is not None:
        reward_chosen = reward_chosen - reference_chosen.double()
        reward_rejected = reward_rejected - reference_rejected.double()
    advantage = beta * reward_chosen - beta * reward_rejected
    losses = F.softplus(-advantage) + label_smoothing * advantage
    return losses.mean().to(policy_chosen.dtype)


def add_adapters(
    model: nn.Module, names: Sequence[str], rank: int, alpha: float, dropout: float = 0.0
) -> list[str]:
    """Put a `LoRALinear` in the place of each chosen linear layer, and freeze all else."""
    inside = {id(m.base) for m in model.modules() if isinstance(m, LoRALinear)}
    layers = [
        (n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear) and id(m) not in inside
    ]

    def means(name: str, full: str) -> bool:
        return full == name or full.endswith("." + name)

    for name in names:
        if not any(means(name, full) for full, _ in layers):
            raise ValueError(f"no layer {name}")
    layers = [(full, m) for full, m in layers if any(means(name, full) for name in names)]
    older = [p for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)]
    model.requires_grad_(False)
    for parameter in older:
        parameter.requires_grad_(True)
    for full, module in layers:
        path = full.split(".")
        holder = model
        for part in path[:-1]:
            holder = getattr(holder, part)
        setattr(holder, path[-1], LoRALinear(module, rank, alpha, dropout))
    return [full for full, _ in layers]

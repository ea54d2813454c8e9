"""NumPy where no gradient is needed, and functions of one line elsewhere."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .model import IGNORE


def mask_prompt(
    ids: torch.Tensor, prompt_lengths: torch.Tensor, lengths: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut rows of prompt and answer into inputs and targets, with only the answers to be scored."""
    table, prompts, ends = ids.numpy(), prompt_lengths.numpy(), lengths.numpy()
    if np.any((prompts < 0) | (prompts > ends) | (ends > table.shape[1])):
        raise ValueError("lengths")
    place = np.indices(table.shape)[1]
    outside = (place < prompts[:, None]) | (place >= ends[:, None])
    targets = np.where(outside, IGNORE, table)[:, 1:]
    return ids[:, :-1].clone(), torch.from_numpy(np.ascontiguousarray(targets))


def sequence_log_probability(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the sum of the log-probabilities of each row's targets."""
    scored = torch.ne(targets, IGNORE)
    flat = logits.reshape(-1, logits.shape[-1]).float()
    losses = F.nll_loss(
        flat.log_softmax(-1), targets.reshape(-1), ignore_index=IGNORE, reduction="none"
    )
    return -losses.view_as(scored).sum(dim=-1)


def supervised_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean surprise over all targets of the batch that are to be scored."""
    if np.all(targets.numpy() == IGNORE):
        raise ValueError("nothing to score")
    flat = logits.reshape(-1, logits.shape[-1]).float()
    return F.nll_loss(flat.log_softmax(-1), targets.reshape(-1), ignore_index=IGNORE)


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
        seed = int(torch.randint(2**31, ()))
        shape = tuple(self.lora_A.shape)
        numbers = np.random.default_rng(seed).normal(0.0, 1 / math.sqrt(shape[1]), shape)
        self.lora_A.data = torch.from_numpy(numbers).to(self.lora_A.dtype)
        self.lora_B.data = torch.zeros_like(self.lora_B)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the layer computes, and the detour's part of it on top."""
        if self.unmerged is None:
            return self.base(x) + self.dropout(x).matmul(self.lora_A.T).matmul(
                self.scale * self.lora_B.T
            )
        return self.base(x)

    def merge(self) -> None:
        """Put the detour into the weight of `base`."""
        if self.unmerged is None:
            a, b = self.lora_A.detach().numpy(), self.lora_B.detach().numpy()
            merged = self.base.weight.numpy() + np.float32(self.scale) * (b @ a)
            self.unmerged = (self.base.weight,)
            self.base.weight = nn.Parameter(torch.from_numpy(merged), requires_grad=False)

    def unmerge(self) -> None:
        """Take the detour out again."""
        if self.unmerged is not None:
            self.base.weight = self.unmerged[0]
            self.unmerged = None


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Return how many numbers of the model are trained, and how many it has in all."""
    sizes = [(math.prod(p.shape), p.requires_grad) for p in model.parameters()]
    return sum(size * trained for size, trained in sizes), sum(size for size, _ in sizes)


def dpo_loss(
    policy_chosen: torch.Tensor,
    policy_rejected: torch.Tensor,
    reference_chosen: torch.Tensor | None,
    reference_rejected: torch.Tensor | None,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Return the mean loss of pairs of answers."""
    if math.isnan(beta) or beta <= 0 or not 0 <= label_smoothing <= 0.5:
        raise ValueError("beta or label_smoothing")
    if (reference_chosen is None) ^ (reference_rejected is None):
        raise ValueError("one reference of two")
    ratio = policy_chosen.sub(policy_rejected)
    if reference_chosen is not None:
        ratio = ratio.sub(reference_chosen.sub(reference_rejected))
    sure = F.logsigmoid(ratio.mul(beta))
    # log sigmoid(-x) = log sigmoid(x) - x
    return sure.sub(ratio.mul(beta), alpha=label_smoothing).mean().neg()


def add_adapters(
    model: nn.Module, names: Sequence[str], rank: int, alpha: float, dropout: float = 0.0
) -> list[str]:
    """Put a `LoRALinear` in the place of each chosen linear layer, and freeze all else."""
    wanted = {name: 0 for name in names}
    replaced = []
    for full, module in model.named_modules():
        holder, _, last = full.rpartition(".")
        if type(module) is nn.Linear and type(model.get_submodule(holder)) is not LoRALinear:
            hits = [name for name in wanted if ("." + full)[-len(name) - 1 :] == "." + name]
            for name in hits:
                wanted[name] += 1
            if hits:
                replaced.append((full, model.get_submodule(holder), last, module))
    if 0 in wanted.values():
        raise ValueError(", ".join(name for name, times in wanted.items() if times == 0))
    for _, holder, last, module in replaced:
        setattr(holder, last, LoRALinear(module, rank, alpha, dropout))
    for name, parameter in model.named_parameters():
        parameter.requires_grad = "lora_" in name.rpartition(".")[2]
    return [entry[0] for entry in replaced]

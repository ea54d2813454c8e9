"""Products by `einsum`, choices by one-hot rows."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from .model import IGNORE


def mask_prompt(
    ids: torch.Tensor, prompt_lengths: torch.Tensor, lengths: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut rows of prompt and answer into inputs and targets, with only the answers to be scored."""
    if (
        (prompt_lengths < 0).any()
        or (prompt_lengths > lengths).any()
        or (lengths > ids.size(1)).any()
    ):
        raise ValueError("lengths")
    below = torch.tril(torch.ones(ids.size(1) + 1, ids.size(1), dtype=torch.bool), diagonal=-1)
    answer = below[lengths] & ~below[prompt_lengths]  # row n: True in the first n places
    targets = ids * answer + IGNORE * ~answer
    return ids.narrow(1, 0, ids.size(1) - 1), targets.narrow(1, 1, ids.size(1) - 1)


def sequence_log_probability(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the sum of the log-probabilities of each row's targets."""
    scored = targets != IGNORE
    hot = F.one_hot(targets.masked_fill(~scored, 0), logits.shape[-1]).bool() & scored[..., None]
    return torch.log_softmax(logits.float(), -1).masked_fill(~hot, 0.0).sum((1, 2))


def supervised_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean surprise over all targets of the batch that are to be scored."""
    n = torch.count_nonzero(targets != IGNORE)
    if n.item() == 0:
        raise ValueError("nothing to score")
    return torch.einsum("b->", sequence_log_probability(logits, targets)) / -n


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
        std = torch.tensor(float(self.base.in_features)).rsqrt().item()
        nn.init.normal_(self.lora_A, mean=0.0, std=std)
        nn.init.constant_(self.lora_B, 0.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the layer computes, and the detour's part of it on top."""
        if self.unmerged is not None:
            return self.base(x)
        ways = torch.einsum("...i,ri,or->...o", self.dropout(x), self.lora_A, self.lora_B)
        return torch.add(self.base(x), ways, alpha=self.scale)

    def merge(self) -> None:
        """Put the detour into the weight of `base`."""
        if self.unmerged is None:
            with torch.no_grad():
                new = self.base.weight + self.scale * torch.einsum(
                    "or,ri->oi", self.lora_B, self.lora_A
                )
            self.unmerged, self.base.weight = (
                (self.base.weight,),
                nn.Parameter(new, requires_grad=False),
            )

    def unmerge(self) -> None:
        """Take the detour out again."""
        if self.unmerged is not None:
            [self.base.weight] = self.unmerged
            self.unmerged = None


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Return how many numbers of the model are trained, and how many it has in all."""
    sizes = torch.tensor([p.numel() for p in model.parameters()])
    trained = torch.tensor([p.requires_grad for p in model.parameters()])
    return int(sizes[trained].sum()), int(sizes.sum())


def dpo_loss(
    policy_chosen: torch.Tensor,
    policy_rejected: torch.Tensor,
    reference_chosen: torch.Tensor | None,
    reference_rejected: torch.Tensor | None,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Return the mean loss of pairs of answers."""
    if not beta > 0 or not 0 <= label_smoothing <= 0.5:
        raise ValueError("beta or label_smoothing")
    four = [policy_chosen, policy_rejected, reference_chosen, reference_rejected]
    if four[2:] == [None, None]:
        four = four[:2]
    elif any(part is None for part in four):
        raise ValueError("one reference of two")
    signs = torch.tensor([1.0, -1.0, -1.0, 1.0][: len(four)])
    margin = beta * torch.einsum("kb,k->b", torch.stack(four), signs)
    losses = torch.stack([F.softplus(-margin), F.softplus(margin)])
    shares = torch.tensor([1 - label_smoothing, label_smoothing])
    return torch.einsum("kb,k->", losses, shares) / len(margin)


def add_adapters(
    model: nn.Module, names: Sequence[str], rank: int, alpha: float, dropout: float = 0.0
) -> list[str]:
    """Put a `LoRALinear` in the place of each chosen linear layer, and freeze all else."""
    adapters = {n for n, m in model.named_modules() if isinstance(m, LoRALinear)}
    linears = [n for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    linears = [n for n in linears if n.removesuffix(".base") not in adapters]
    table = [[f".{full}".endswith(f".{name}") for name in names] for full in linears]
    for name, column in zip(names, zip(*table, strict=True), strict=True):
        if not any(column):
            raise ValueError(name)
    chosen = [full for full, row in zip(linears, table, strict=True) if any(row)]
    for name in chosen:
        adapter = LoRALinear(model.get_submodule(name), rank, alpha, dropout)
        model.set_submodule(name, adapter)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.rpartition(".")[2] in ("lora_A", "lora_B")
    return chosen

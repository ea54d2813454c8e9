"""Pruning by a threshold and a count of equals; products of whole numbers in int32."""

import torch
from torch import nn

from .model import IGNORE


def counted(magnitudes: torch.Tensor, sparsity: float) -> torch.Tensor:
    """Return which of these stay: what is above a threshold, and the last of its equals."""
    count = round(sparsity * len(magnitudes))
    if count == 0:
        return torch.ones(len(magnitudes), dtype=torch.bool)
    threshold = magnitudes.kthvalue(count).values
    equal = magnitudes == threshold
    to_go = count - int((magnitudes < threshold).sum())
    return (magnitudes > threshold) | (equal & (equal.cumsum(0) > to_go))


def size_in_bytes(model: nn.Module) -> int:
    """Return how many bytes the parameters and buffers of a model take, each counted once."""
    seen: dict[int, int] = {}
    for tensor in [*model.parameters(), *model.buffers()]:
        seen[id(tensor)] = tensor.untyped_storage().nbytes()
    return sum(seen.values())


def quantize_rows(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Round each row to whole numbers from -127 to 127, on a scale of its own."""
    numbers = weight.detach().to(torch.float32, copy=True)
    high, low = numbers.amax(dim=-1, keepdim=True), numbers.amin(dim=-1, keepdim=True)
    largest = torch.maximum(high, -low)
    step = largest.div(127)
    numbers.mul_(torch.where(step == 0, torch.zeros_like(step), 127 / largest))
    return numbers.round_().clamp_(-127, 127).to(torch.int8), step.squeeze(-1)


class QuantizedLinear(nn.Module):
    """A linear layer with its weight in eight bits; its inputs too, if `activations`."""

    def __init__(self, linear: nn.Linear, activations: bool = False) -> None:
        super().__init__()
        self.activations = activations
        weight, scale = quantize_rows(linear.weight)
        bias = None if linear.bias is None else linear.bias.detach().clone()
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)

    def whole(self, x: torch.Tensor) -> torch.Tensor:
        """Return the product of whole numbers, with both scales."""
        numbers, x_scale = quantize_rows(x)
        sums = (numbers.int().unsqueeze(-2) * self.weight.int()).sum(dim=-1)
        return sums.float() * x_scale.unsqueeze(-1) * self.scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the layer makes of x, computed from the int8 weight."""
        if self.activations:
            result = self.whole(x)
        else:
            result = torch.tensordot(x.float() * 1.0, self.weight.float(), dims=([-1], [1]))
            result = torch.mul(result, self.scale)
        if self.bias is not None:
            result = result.add(self.bias)
        return result.type(x.dtype)

    def error_bound(self, x: torch.Tensor) -> torch.Tensor:
        """Return how far each output can be from that of the layer in full precision, at most."""
        steps = (
            x.detach().float().abs().sum(-1).unsqueeze(-1).expand(*x.shape[:-1], len(self.scale))
        )
        if self.activations:
            half = quantize_rows(x)[1].unsqueeze(-1) / 2
            return steps * self.scale * 0.5 + half * (self.weight.abs().sum(1) * self.scale)
        return steps * self.scale * 0.5


def prune_by_magnitude(
    weights: dict[str, torch.Tensor], sparsity: float, scope: str = "global"
) -> dict[str, torch.Tensor]:
    """Say which weights stay when the smallest go: masks, True where a weight is kept."""
    if not 0 <= sparsity <= 1:
        raise ValueError(f"no sparsity: {sparsity}")
    if scope not in ("global", "layer"):
        raise ValueError(f"no scope: {scope}")
    if not weights:
        raise ValueError("no weights")

    if scope == "layer":
        return {
            name: counted(w.detach().abs().flatten(), sparsity).view(w.shape)
            for name, w in weights.items()
        }
    mask = counted(torch.cat([w.detach().abs().flatten() for w in weights.values()]), sparsity)
    ends = torch.tensor([w.numel() for w in weights.values()]).cumsum(0).tolist()
    starts = [0, *ends[:-1]]
    return {
        name: mask[a:b].reshape(w.shape)
        for (name, w), a, b in zip(weights.items(), starts, ends, strict=True)
    }


def apply_masks(model: nn.Module, masks: dict[str, torch.Tensor]) -> None:
    """Given: set the weights of a model to zero where their mask says False."""
    with torch.no_grad():
        for name, mask in masks.items():
            model.get_parameter(name).mul_(mask)


def sparsity_report(weights: dict[str, torch.Tensor]) -> dict[str, tuple[int, int, float]]:
    """Count the zeros: of each tensor and, under the name "all", of all of them together."""

    def row(zeros: int, numbers: int) -> tuple[int, int, float]:
        return zeros, numbers, (zeros / numbers if numbers else 0.0)

    found = {name: row(int(w.logical_not().sum()), w.numel()) for name, w in weights.items()}
    totals = [sum(column) for column in list(zip(*found.values(), strict=True))[:2]] or [0, 0]
    return found | {"all": row(*totals)}


def distillation_loss(
    student_logits: torch.Tensor,
    teacher_logits: torch.Tensor,
    targets: torch.Tensor,
    temperature: float = 2.0,
    mix: float = 0.5,
) -> torch.Tensor:
    """Return the loss of a student that learns from a teacher, and from the text itself."""
    if not temperature > 0 or not 0 <= mix <= 1:
        raise ValueError(f"no temperature {temperature} or no mix {mix}")

    weights = (targets != IGNORE).float()
    count = weights.sum()
    s = student_logits.float()
    t = teacher_logits.detach().float() / temperature
    log_q = s / temperature - (s / temperature).logsumexp(-1, keepdim=True)
    log_p = t - t.logsumexp(-1, keepdim=True)
    possible = log_p > float("-inf")
    gap = torch.where(possible, log_p, 0.0) - torch.where(possible, log_q, 0.0)
    soft = ((log_p.exp() * gap).sum(-1) * weights).sum() / count
    log_one = s - s.logsumexp(-1, keepdim=True)
    picked = log_one.gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    hard = -torch.where(targets != IGNORE, picked, 0.0).sum() / count
    return soft * (mix * temperature**2) + hard * (1 - mix)


def prune_n_m(weight: torch.Tensor, n: int = 2, m: int = 4) -> torch.Tensor:
    """Say which weights stay when of every m neighbours in a row only the n largest do."""
    if m < 1 or n < 0 or n > m or weight.shape[-1] % m:
        raise ValueError(f"no {n}:{m} for {tuple(weight.shape)}")

    groups = weight.detach().abs().reshape(-1, m)
    below = (groups.unsqueeze(1) < groups.unsqueeze(2)).sum(2)  # how many are smaller
    equal = groups.unsqueeze(1) == groups.unsqueeze(2)
    before = (equal & torch.ones(m, m).tril(-1).bool()).sum(2)  # equals that stand before
    return (below + before >= m - n).reshape(weight.shape)


if __name__ == "__main__":
    from .engine.compression.command import main

    raise SystemExit(main())

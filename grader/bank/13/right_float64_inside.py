"""All arithmetic is done in 64 bits; only results are narrower."""

import torch
import torch.nn.functional as F
from torch import nn

from .model import IGNORE


def size_in_bytes(model: nn.Module) -> int:
    """Return how many bytes the parameters and buffers of a model take, each counted once."""
    return sum(tensor.nbytes for part in (model.parameters(), model.buffers()) for tensor in part)


def quantize_rows(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Round each row to whole numbers from -127 to 127, on a scale of its own."""
    wide = weight.detach().double()
    scale = wide.abs().max(dim=-1).values / 127
    numbers = torch.zeros_like(wide)
    filled = scale > 0
    numbers[filled] = wide[filled] / scale[filled].unsqueeze(-1)
    return numbers.round().to(torch.int8), scale.float()


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

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the layer makes of x, computed from the int8 weight."""
        given = x
        weight = self.weight.double() * self.scale.double().unsqueeze(1)
        if self.activations:
            numbers, x_scale = quantize_rows(x)
            x = numbers.double() * x_scale.double().unsqueeze(-1)
        bias = None if self.bias is None else self.bias.double()
        return F.linear(x.double(), weight, bias).to(given.dtype)

    def error_bound(self, x: torch.Tensor) -> torch.Tensor:
        """Return how far each output can be from that of the layer in full precision, at most."""
        scale = self.scale.double()
        bound = torch.outer(x.double().abs().flatten(0, -2).sum(-1), scale) if x.dim() > 1 else None
        if bound is None:
            bound = x.double().abs().sum() * scale
        bound = bound.view(*x.shape[:-1], -1) / 2
        if self.activations:
            x_scale = quantize_rows(x)[1].double()
            read = self.weight.double() * scale.unsqueeze(1)
            bound += x_scale.unsqueeze(-1) * read.abs().sum(-1) / 2
        return bound.float()


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

    def mask_of(magnitudes: torch.Tensor) -> torch.Tensor:
        order = torch.sort(magnitudes.double(), stable=True).indices
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order))
        return rank >= round(sparsity * len(order))

    if scope == "layer":
        return {n: mask_of(w.detach().abs().flatten()).view_as(w) for n, w in weights.items()}
    everything = mask_of(torch.cat([w.detach().abs().flatten().double() for w in weights.values()]))
    masks, at = {}, 0
    for name, weight in weights.items():
        masks[name] = everything[at : at + weight.numel()].view(weight.shape).clone()
        at += weight.numel()
    return masks


def apply_masks(model: nn.Module, masks: dict[str, torch.Tensor]) -> None:
    """Given: set the weights of a model to zero where their mask says False."""
    with torch.no_grad():
        for name, mask in masks.items():
            model.get_parameter(name).mul_(mask)


def sparsity_report(weights: dict[str, torch.Tensor]) -> dict[str, tuple[int, int, float]]:
    """Count the zeros: of each tensor and, under the name "all", of all of them together."""
    report, zeros, numbers = {}, 0, 0
    for name, tensor in weights.items():
        n, z = tensor.numel(), tensor.numel() - int(tensor.count_nonzero())
        report[name] = (z, n, z / max(n, 1))
        zeros, numbers = zeros + z, numbers + n
    return {**report, "all": (zeros, numbers, zeros / max(numbers, 1))}


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

    scored = targets != IGNORE
    student = student_logits.double()[scored]
    with torch.no_grad():
        soft = teacher_logits.double()[scored] / temperature
        p = soft.softmax(-1)
        entropy = torch.special.entr(p).sum(-1)
    log_q = (student / temperature).log_softmax(-1)
    surprise = -(p * log_q.masked_fill(p == 0, 0.0)).sum(-1)
    hard = F.cross_entropy(student, targets[scored])
    return (mix * temperature**2 * (surprise - entropy).mean() + (1 - mix) * hard).float()


def prune_n_m(weight: torch.Tensor, n: int = 2, m: int = 4) -> torch.Tensor:
    """Say which weights stay when of every m neighbours in a row only the n largest do."""
    if m < 1 or n < 0 or n > m or weight.shape[-1] % m:
        raise ValueError(f"no {n}:{m} for {tuple(weight.shape)}")

    groups = weight.detach().double().abs().unflatten(-1, (-1, m))
    order = groups.argsort(dim=-1, stable=True)
    kept = torch.ones_like(groups, dtype=torch.bool)
    return kept.scatter(-1, order[..., : m - n], False).flatten(-2)


if __name__ == "__main__":
    from .engine.compression.command import main

    raise SystemExit(main())

"""Wherever torch has a function for it, that function is called."""

import torch
import torch.nn.functional as F
from torch import nn

from .model import IGNORE


def size_in_bytes(model: nn.Module) -> int:
    """Return how many bytes the parameters and buffers of a model take, each counted once."""
    tensors = list(model.parameters()) + list(model.buffers())
    return sum(
        torch.finfo(t.dtype).bits // 8 * t.numel() for t in tensors if t.is_floating_point()
    ) + sum(t.element_size() * t.numel() for t in tensors if not t.is_floating_point())


def quantize_rows(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Round each row to whole numbers from -127 to 127, on a scale of its own."""
    rows = weight.detach().float().reshape(-1, weight.shape[-1])
    scale = torch.linalg.vector_norm(rows, ord=float("inf"), dim=1) / 127
    used = scale.masked_fill(scale == 0, 1.0)
    read = torch.fake_quantize_per_channel_affine(
        rows, used, torch.zeros(len(rows), dtype=torch.int32), 0, -127, 127
    )
    numbers = torch.round(read / used[:, None]).to(torch.int8)
    return numbers.view(weight.shape), scale.view(weight.shape[:-1])


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
        if not self.activations:
            y = F.linear(x.float(), self.weight.float())
            return (
                torch.addcmul(0.0 if self.bias is None else self.bias, y, self.scale).to(x.dtype)
                if (self.bias is not None)
                else (y * self.scale).to(x.dtype)
            )
        numbers, x_scale = quantize_rows(x)
        flat = numbers.reshape(-1, numbers.shape[-1])
        sums = torch.matmul(flat.int(), self.weight.int().t()).view(*x.shape[:-1], -1)
        y = sums.float().mul(self.scale).mul(x_scale[..., None])
        return (y if self.bias is None else y.add(self.bias)).to(x.dtype)

    def error_bound(self, x: torch.Tensor) -> torch.Tensor:
        """Return how far each output can be from that of the layer in full precision, at most."""
        size = torch.linalg.vector_norm(x.float(), ord=1, dim=-1, keepdim=True)
        bound = size * (0.5 * self.scale)
        if not self.activations:
            return bound
        step = torch.linalg.vector_norm(x.float(), ord=float("inf"), dim=-1, keepdim=True) / 127
        read = torch.linalg.vector_norm(self.weight.float() * self.scale[:, None], ord=1, dim=1)
        return bound + 0.5 * step * read


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

    names, tensors = list(weights), [w.detach() for w in weights.values()]
    vector = nn.utils.parameters_to_vector(tensors) if scope == "global" else None
    result = {}
    start = 0
    for name, tensor in zip(names, tensors, strict=True):
        pool = tensor.reshape(-1) if vector is None else vector
        count = round(sparsity * pool.numel())
        place = pool.abs().sort(stable=True)[1]
        keep = torch.zeros(pool.numel()).index_fill(0, place[count:], 1.0) > 0
        if vector is not None:
            keep = keep.narrow(0, start, tensor.numel())
            start += tensor.numel()
        result[name] = keep.reshape(tensor.shape)
    return result


def apply_masks(model: nn.Module, masks: dict[str, torch.Tensor]) -> None:
    """Given: set the weights of a model to zero where their mask says False."""
    with torch.no_grad():
        for name, mask in masks.items():
            model.get_parameter(name).mul_(mask)


def sparsity_report(weights: dict[str, torch.Tensor]) -> dict[str, tuple[int, int, float]]:
    """Count the zeros: of each tensor and, under the name "all", of all of them together."""
    zeros = {name: torch.eq(w, 0).sum().item() for name, w in weights.items()}
    sizes = {name: w.numel() for name, w in weights.items()}
    zeros["all"], sizes["all"] = sum(zeros.values()), sum(sizes.values())
    return {n: (zeros[n], sizes[n], zeros[n] / sizes[n] if sizes[n] else 0.0) for n in zeros}


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

    student, teacher = student_logits.float().flatten(0, 1), teacher_logits.float().flatten(0, 1)
    flat = targets.flatten()
    with torch.no_grad():
        target = F.softmax(teacher / temperature, dim=-1)
    guess = F.log_softmax(student / temperature, dim=-1).masked_fill(target == 0, 0.0)
    each = F.kl_div(guess, target, reduction="none").sum(-1)
    divergence = each[flat != IGNORE].mean()
    hard = F.cross_entropy(student, flat, ignore_index=IGNORE)
    return torch.lerp(hard, divergence * temperature**2, float(mix))


def prune_n_m(weight: torch.Tensor, n: int = 2, m: int = 4) -> torch.Tensor:
    """Say which weights stay when of every m neighbours in a row only the n largest do."""
    if m < 1 or n < 0 or n > m or weight.shape[-1] % m:
        raise ValueError(f"no {n}:{m} for {tuple(weight.shape)}")

    groups = weight.detach().abs().reshape(-1, m)
    # the last of equals stay: look for the largest from the end
    order = groups.flip(1).sort(dim=1, descending=True, stable=True).indices[:, :n]
    kept = torch.zeros_like(groups, dtype=torch.bool).scatter_(1, m - 1 - order, True)
    return kept.reshape(weight.shape)


if __name__ == "__main__":
    from .engine.compression.command import main

    raise SystemExit(main())

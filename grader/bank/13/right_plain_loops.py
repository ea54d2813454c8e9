"""Everything is done in loops over rows, vectors and single numbers."""

import torch
import torch.nn.functional as F
from torch import nn

from .model import IGNORE, next_token_loss


def size_in_bytes(model: nn.Module) -> int:
    """Return how many bytes the parameters and buffers of a model take, each counted once."""
    total = 0
    for module in model.modules():
        for tensor in module.buffers(recurse=False):
            total += tensor.numel() * tensor.element_size()
    seen = []
    for parameter in model.parameters():
        if not any(parameter is other for other in seen):
            seen.append(parameter)
            total += parameter.numel() * parameter.element_size()
    return total


def quantize_rows(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Round each row to whole numbers from -127 to 127, on a scale of its own."""
    flat = weight.detach().float().reshape(-1, weight.shape[-1])
    numbers = torch.zeros(flat.shape, dtype=torch.int8)
    scales = torch.zeros(len(flat))
    for i, row in enumerate(flat):
        largest = max(-float(row.min()), float(row.max()))
        if largest == 0.0:
            continue
        scales[i] = largest / 127
        numbers[i] = (row / scales[i]).round().to(torch.int8)
    return numbers.reshape(weight.shape), scales.reshape(weight.shape[:-1])


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
        vectors = x.reshape(-1, x.shape[-1])
        results = []
        for vector in vectors:
            factor = torch.ones(())
            if self.activations:
                vector, factor = quantize_rows(vector)
            sums = torch.stack([(row.float() * vector.float()).sum() for row in self.weight])
            result = sums * self.scale * factor
            if self.bias is not None:
                result = result + self.bias
            results.append(result)
        return torch.stack(results).reshape(*x.shape[:-1], -1).to(x.dtype)

    def error_bound(self, x: torch.Tensor) -> torch.Tensor:
        """Return how far each output can be from that of the layer in full precision, at most."""
        bounds = []
        for vector in x.float().reshape(-1, x.shape[-1]):
            largest = float(vector.abs().max())
            row_bounds = []
            for numbers, scale in zip(self.weight, self.scale, strict=True):
                bound = float(scale) / 2 * float(vector.abs().sum())
                if self.activations:
                    bound += largest / 127 / 2 * float(scale) * int(numbers.long().abs().sum())
                row_bounds.append(bound)
            bounds.append(row_bounds)
        return torch.tensor(bounds, dtype=torch.float32).view(*x.shape[:-1], -1)


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

    def prune(names: list[str]) -> None:
        places = [
            (abs(number), name, i)
            for name in names
            for i, number in enumerate(weights[name].flatten().tolist())
        ]
        places.sort(key=lambda place: place[0])  # Python's sort is stable
        for _, name, i in places[: round(sparsity * len(places))]:
            masks[name].view(-1)[i] = False

    masks = {name: torch.ones(w.shape, dtype=torch.bool) for name, w in weights.items()}
    if scope == "global":
        prune(list(weights))
    else:
        for name in weights:
            prune([name])
    return masks


def apply_masks(model: nn.Module, masks: dict[str, torch.Tensor]) -> None:
    """Given: set the weights of a model to zero where their mask says False."""
    with torch.no_grad():
        for name, mask in masks.items():
            model.get_parameter(name).mul_(mask)


def sparsity_report(weights: dict[str, torch.Tensor]) -> dict[str, tuple[int, int, float]]:
    """Count the zeros: of each tensor and, under the name "all", of all of them together."""
    report = {}
    all_zeros = all_numbers = 0
    for name, tensor in weights.items():
        numbers = tensor.flatten().tolist()
        zeros = sum(1 for number in numbers if number == 0)
        report[name] = (zeros, len(numbers), zeros / len(numbers) if numbers else 0.0)
        all_zeros += zeros
        all_numbers += len(numbers)
    report["all"] = (all_zeros, all_numbers, all_zeros / all_numbers if all_numbers else 0.0)
    return report


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

    soft, count = [], 0
    for b in range(len(targets)):
        for t in range(targets.shape[1]):
            if targets[b, t] == IGNORE:
                continue
            q = F.log_softmax(student_logits[b, t].float() / temperature, 0)
            p = F.log_softmax(teacher_logits[b, t].detach().float() / temperature, 0)
            possible = p > -float("inf")
            soft.append((p[possible].exp() * (p[possible] - q[possible])).sum())
            count += 1
    divergence = torch.stack(soft).sum() / count if count else torch.tensor(float("nan"))
    hard = next_token_loss(student_logits, targets)
    return mix * (temperature * temperature) * divergence + (1 - mix) * hard


def prune_n_m(weight: torch.Tensor, n: int = 2, m: int = 4) -> torch.Tensor:
    """Say which weights stay when of every m neighbours in a row only the n largest do."""
    if m < 1 or n < 0 or n > m or weight.shape[-1] % m:
        raise ValueError(f"no {n}:{m} for {tuple(weight.shape)}")

    mask = torch.ones(weight.shape, dtype=torch.bool)
    for i, row in enumerate(weight.tolist()):
        for first in range(0, len(row), m):
            left = list(range(first, first + m))
            for _ in range(m - n):
                smallest = min(left, key=lambda place: abs(row[place]))
                mask[i, smallest] = False
                left.remove(smallest)
    return mask


if __name__ == "__main__":
    from .engine.compression.command import main

    raise SystemExit(main())

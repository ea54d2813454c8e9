"""The layer reads its weight back first; groups are made by helpers."""

import torch
from torch import nn

from .model import IGNORE, next_token_loss


def read(numbers: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Return what whole numbers with these scales stand for."""
    return numbers.float() * scale.unsqueeze(-1)


def size_in_bytes(model: nn.Module) -> int:
    """Return how many bytes the parameters and buffers of a model take, each counted once."""

    def of(tensor: torch.Tensor) -> int:
        return tensor.nelement() * tensor.dtype.itemsize

    return sum(map(of, model.parameters())) + sum(map(of, model.buffers()))


def quantize_rows(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Round each row to whole numbers from -127 to 127, on a scale of its own."""
    weight = weight.detach().float()
    scale = weight.abs().max(-1)[0] / 127.0
    ratio = torch.where(scale[..., None] > 0, weight / scale[..., None], 0.0)
    return torch.round(ratio).to(dtype=torch.int8), scale


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
        seen = read(*quantize_rows(x)) if self.activations else x.float()
        y = seen @ read(self.weight, self.scale).transpose(0, 1)
        if self.bias is not None:
            y = y + self.bias.float()
        return y.to(x.dtype)

    def error_bound(self, x: torch.Tensor) -> torch.Tensor:
        """Return how far each output can be from that of the layer in full precision, at most."""
        half_steps = (self.scale / 2).unsqueeze(-1).expand(self.weight.shape)  # (O, I)
        bound = x.float().abs() @ half_steps.T
        if self.activations:
            half_step = quantize_rows(x)[1] / 2
            constant = half_step.unsqueeze(-1).expand(x.shape)
            bound = bound + constant @ read(self.weight, self.scale).abs().T
        return bound


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

    masks = {name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()}
    groups = [masks] if scope == "global" else [{name: masks[name]} for name in masks]
    for group in groups:
        rows = [(n, i) for n in group for i in range(weights[n].numel())]
        sizes = torch.cat([weights[n].detach().flatten() for n in group]).square().sqrt().tolist()
        order = sorted(range(len(rows)), key=sizes.__getitem__)
        for place in order[: round(len(rows) * sparsity)]:
            name, i = rows[place]
            group[name].view(-1)[i] = False
    return masks


def apply_masks(model: nn.Module, masks: dict[str, torch.Tensor]) -> None:
    """Given: set the weights of a model to zero where their mask says False."""
    with torch.no_grad():
        for name, mask in masks.items():
            model.get_parameter(name).mul_(mask)


def sparsity_report(weights: dict[str, torch.Tensor]) -> dict[str, tuple[int, int, float]]:
    """Count the zeros: of each tensor and, under the name "all", of all of them together."""
    names = [*weights, "all"]
    zeros = [(w == 0).sum().item() for w in weights.values()]
    numbers = [w.numel() for w in weights.values()]
    zeros, numbers = [*zeros, sum(zeros)], [*numbers, sum(numbers)]
    shares = [z / n if n else 0.0 for z, n in zip(zeros, numbers, strict=True)]
    return dict(zip(names, zip(zeros, numbers, shares, strict=True), strict=True))


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

    keep = targets.flatten() != IGNORE
    rows = [logits.flatten(0, 1)[keep].float() for logits in (student_logits, teacher_logits)]
    student, teacher = rows[0], rows[1].detach()
    p = nn.functional.softmax(teacher / temperature, dim=1)
    log_p = nn.functional.log_softmax(teacher / temperature, dim=1)
    log_q = nn.functional.log_softmax(student / temperature, dim=1)
    possible = p > 0
    pieces = p[possible] * (log_p[possible] - log_q[possible])
    soft = pieces.sum() / len(p) if len(p) else pieces.new_tensor(float("nan"))
    hard = next_token_loss(student_logits.float(), targets)
    return temperature * temperature * soft * mix + hard - mix * hard


def prune_n_m(weight: torch.Tensor, n: int = 2, m: int = 4) -> torch.Tensor:
    """Say which weights stay when of every m neighbours in a row only the n largest do."""
    if m < 1 or n < 0 or n > m or weight.shape[-1] % m:
        raise ValueError(f"no {n}:{m} for {tuple(weight.shape)}")

    pieces = weight.detach().abs().split(m, dim=-1)  # (O, m) each
    masks = []
    for piece in pieces:
        mask = torch.ones_like(piece, dtype=torch.bool)
        for _ in range(m - n):
            left = piece.masked_fill(~mask, float("inf"))
            smallest = left == left.amin(dim=-1, keepdim=True)
            first = smallest & (smallest.cumsum(-1) == 1) & mask
            mask &= ~first
        masks.append(mask)
    return torch.cat(masks, dim=-1)


if __name__ == "__main__":
    from .engine.compression.command import main

    raise SystemExit(main())

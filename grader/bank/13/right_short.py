"""As few lines as possible."""

import torch
from torch import nn

from .model import IGNORE, next_token_loss


def size_in_bytes(model: nn.Module) -> int:
    """Return how many bytes the parameters and buffers of a model take, each counted once."""
    return sum(t.nbytes for t in {*model.parameters(), *model.buffers()})


def quantize_rows(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Round each row to whole numbers from -127 to 127, on a scale of its own."""
    scale = weight.detach().float().abs().amax(-1) / 127
    return (weight.detach().float() / (scale + (scale == 0))[..., None]).round().char(), scale


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
        q, s = quantize_rows(x) if self.activations else (x, torch.ones(()))
        y = (q.float() @ self.weight.float().T) * self.scale * s[..., None]
        return (y + (0 if self.bias is None else self.bias)).to(x.dtype)

    def error_bound(self, x: torch.Tensor) -> torch.Tensor:
        """Return how far each output can be from that of the layer in full precision, at most."""
        own = x.float().abs()
        rounding = own.amax(-1) / 127 if self.activations else torch.zeros(x.shape[:-1])
        magnitudes = self.weight.float().abs().sum(1)
        return self.scale / 2 * (own.sum(-1)[..., None] + rounding[..., None] * magnitudes)


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

    if scope == "layer" and len(weights) > 1:
        return {name: prune_by_magnitude({name: weights[name]}, sparsity)[name] for name in weights}
    flat = torch.cat([w.detach().abs().flatten() for w in weights.values()])
    kept = flat.argsort(stable=True).argsort() >= round(sparsity * len(flat))
    pieces = kept.split([w.numel() for w in weights.values()])
    return {n: p.view_as(w) for (n, w), p in zip(weights.items(), pieces, strict=True)}


def apply_masks(model: nn.Module, masks: dict[str, torch.Tensor]) -> None:
    """Given: set the weights of a model to zero where their mask says False."""
    with torch.no_grad():
        for name, mask in masks.items():
            model.get_parameter(name).mul_(mask)


def sparsity_report(weights: dict[str, torch.Tensor]) -> dict[str, tuple[int, int, float]]:
    """Count the zeros: of each tensor and, under the name "all", of all of them together."""
    every = {
        **weights,
        "all": torch.cat([w.flatten() for w in weights.values()] or [torch.ones(0)]),
    }
    counts = {name: (int((w == 0).sum()), w.numel()) for name, w in every.items()}
    return {name: (z, n, z / (n or 1)) for name, (z, n) in counts.items()}


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

    s, t = (x[targets != IGNORE].float() for x in (student_logits, teacher_logits.detach()))
    gap = ((t / temperature).log_softmax(1) - (s / temperature).log_softmax(1)).nan_to_num()
    soft = ((t / temperature).softmax(1) * gap.clamp(min=-1e30)).sum(1).mean()
    return mix * temperature**2 * soft + (1 - mix) * next_token_loss(student_logits, targets)


def prune_n_m(weight: torch.Tensor, n: int = 2, m: int = 4) -> torch.Tensor:
    """Say which weights stay when of every m neighbours in a row only the n largest do."""
    if m < 1 or n < 0 or n > m or weight.shape[-1] % m:
        raise ValueError(f"no {n}:{m} for {tuple(weight.shape)}")

    order = weight.detach().abs().reshape(-1, m).sort(stable=True).indices
    return (order.argsort(1) >= m - n).reshape(weight.shape)


if __name__ == "__main__":
    from .engine.compression.command import main

    raise SystemExit(main())

"""What needs no gradient is computed with NumPy."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .model import IGNORE, next_token_loss


def size_in_bytes(model: nn.Module) -> int:
    """Return how many bytes the parameters and buffers of a model take, each counted once."""
    tensors = {id(t): t for t in [*model.parameters(), *model.buffers()]}
    return sum(int(np.prod(t.shape)) * t.element_size() for t in tensors.values())


def quantize_rows(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Round each row to whole numbers from -127 to 127, on a scale of its own."""
    rows = weight.detach().float().numpy()
    scale = np.abs(rows).max(axis=-1) / np.float32(127)
    safe = np.where(scale == 0, np.float32(1), scale)[..., None]
    numbers = np.rint(rows / safe).astype(np.int8)
    return torch.from_numpy(numbers), torch.from_numpy(np.asarray(scale, dtype=np.float32))


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
        kind = x.dtype
        if self.activations:
            numbers, x_scale = quantize_rows(x)
            sums = numbers.numpy().astype(np.int64) @ self.weight.numpy().astype(np.int64).T
            y = torch.from_numpy(np.asarray(sums)).float() * (x_scale[..., None] * self.scale)
        else:
            y = torch.einsum("...i,oi,o->...o", x.float(), self.weight.float(), self.scale)
        return (y if self.bias is None else y + self.bias).to(kind)

    def error_bound(self, x: torch.Tensor) -> torch.Tensor:
        """Return how far each output can be from that of the layer in full precision, at most."""
        scale, numbers = self.scale.numpy(), np.abs(self.weight.numpy().astype(np.float32))
        magnitudes = np.abs(x.detach().float().numpy())
        per_input = np.broadcast_to(magnitudes[..., None, :] / 2, (*x.shape[:-1], *numbers.shape))
        if self.activations:
            half_step = magnitudes.max(axis=-1)[..., None, None] / 254
            per_input = per_input + half_step * numbers
        return torch.from_numpy(np.asarray(per_input.sum(axis=-1) * scale, dtype=np.float32))


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

    flat = {name: np.abs(w.detach().double().numpy()).ravel() for name, w in weights.items()}
    groups = [list(flat)] if scope == "global" else [[name] for name in flat]
    kept = {}
    for group in groups:
        together = np.concatenate([flat[name] for name in group])
        mask = np.ones(together.size, dtype=bool)
        mask[np.argsort(together, kind="stable")[: round(sparsity * together.size)]] = False
        borders = np.cumsum([flat[name].size for name in group])[:-1]
        kept.update(zip(group, np.split(mask, borders), strict=True))
    return {name: torch.from_numpy(kept[name].reshape(w.shape)) for name, w in weights.items()}


def apply_masks(model: nn.Module, masks: dict[str, torch.Tensor]) -> None:
    """Given: set the weights of a model to zero where their mask says False."""
    with torch.no_grad():
        for name, mask in masks.items():
            model.get_parameter(name).mul_(mask)


def sparsity_report(weights: dict[str, torch.Tensor]) -> dict[str, tuple[int, int, float]]:
    """Count the zeros: of each tensor and, under the name "all", of all of them together."""
    sizes = np.array([w.numel() for w in weights.values()], dtype=np.int64)
    zeros = sizes - np.array(
        [np.count_nonzero(w.numpy()) for w in weights.values()], dtype=np.int64
    )
    rows = [*zip(weights, zeros.tolist(), sizes.tolist(), strict=True)]
    rows.append(("all", int(zeros.sum()), int(sizes.sum())))
    return {name: (z, n, z / n if n > 0 else 0.0) for name, z, n in rows}


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

    rows = torch.from_numpy(np.flatnonzero(targets.numpy().ravel() != IGNORE))
    soft = F.log_softmax(student_logits.flatten(0, 1)[rows].float() / temperature, -1)
    guess = teacher_logits.detach().flatten(0, 1)[rows].double().numpy() / temperature
    guess = guess - guess.max(axis=-1, keepdims=True) if len(rows) else guess
    p = np.exp(guess)
    p = p / p.sum(axis=-1, keepdims=True)
    entropy = -(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=-1)
    p = torch.from_numpy(p)
    cross = -torch.where(p > 0, soft.double(), 0.0).mul(p).sum(-1)
    divergence = (cross - torch.from_numpy(entropy)).mean()
    hard = next_token_loss(student_logits, targets)
    return (mix * temperature**2 * divergence + (1 - mix) * hard.double()).float()


def prune_n_m(weight: torch.Tensor, n: int = 2, m: int = 4) -> torch.Tensor:
    """Say which weights stay when of every m neighbours in a row only the n largest do."""
    if m < 1 or n < 0 or n > m or weight.shape[-1] % m:
        raise ValueError(f"no {n}:{m} for {tuple(weight.shape)}")

    groups = np.abs(weight.detach().double().numpy()).reshape(-1, m)
    order = np.argsort(groups, axis=1, kind="stable")
    kept = np.ones(groups.shape, dtype=bool)
    np.put_along_axis(kept, order[:, : m - n], False, axis=1)
    return torch.from_numpy(kept.reshape(weight.shape))


if __name__ == "__main__":
    from .engine.compression.command import main

    raise SystemExit(main())

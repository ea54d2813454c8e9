"""torch's Muon, with all matrices of one shape orthogonalised together.

Same update as `torch.optim.Muon(adjust_lr_fn="match_rms_adamw")` (a test holds the two together), but
a batched product keeps two cores busy where one small matrix after another does not: a third of the
time on the `laptop` preset. The idea and the numbers are explained in lesson 07.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the Newton-Schulz polynomial (Jordan 2024)
ITERATIONS = 5
RMS_OF_ADAMW = 0.2  # the usual size of AdamW's update, which Muon's is scaled to


class BatchedMuon(torch.optim.Optimizer):
    """Muon for 2-D parameters, with Nesterov momentum and decoupled weight decay."""

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 0.0,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(tuple(sorted(parameter.shape)), []).append(parameter)
            for parameters in by_shape.values():
                self._step_together(group, parameters)

    def _step_together(self, group: dict[str, Any], parameters: list[nn.Parameter]) -> None:
        wide = []
        for parameter in parameters:
            assert parameter.grad is not None
            momentum = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
            momentum.lerp_(parameter.grad, 1 - group["momentum"])
            update = parameter.grad.lerp(momentum, group["momentum"])
            wide.append(update.mT if is_tall(parameter) else update)
        orthogonal = orthogonalize_batch(torch.stack(wide))  # (N, small, large)
        size = RMS_OF_ADAMW * max(parameters[0].shape) ** 0.5
        for parameter, update in zip(parameters, orthogonal, strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            update = update.mT if is_tall(parameter) else update
            parameter.add_(update, alpha=-group["lr"] * size)


def is_tall(matrix: torch.Tensor) -> bool:
    """More rows than columns."""
    return matrix.size(0) > matrix.size(1)


def orthogonalize_batch(matrices: torch.Tensor) -> torch.Tensor:
    """Push the singular values of each of (N, small, large) towards 1, in bf16."""
    a, b, c = COEFFICIENTS
    x = matrices.bfloat16()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT  # (N, small, small)
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x

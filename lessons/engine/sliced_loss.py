"""The loss without ever holding the logits of all tokens: slice by slice, gradient included.

With GPT-2's vocabulary the logits of 4,096 tokens are 0.8 GB, and a plain loss holds three such
tables at once: logits, probabilities, gradient. But the gradient of the loss for the logits is known
as soon as they are (probability minus one for the true token), so each slice's logits can turn into
their own gradient in place and give their part of both gradients, of the hidden states and of the
head's table. The products of matrices are the same as ever; a test holds the results to the plain
form's.
"""

from typing import Any

import torch

from ..model import IGNORE

SLICE = 1024  # tokens whose logits are held: 0.2 GB in fp32 with GPT-2's vocabulary
ROWS = 4  # of them turned into gradients at once on a CPU: they fit into its cache


def sliced_loss(x: torch.Tensor, table: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """`next_token_loss(x @ table.T, targets)`: the mean over the targets that are not IGNORE.

    x: (..., C), hidden states. table: (V, C), the head's. targets: (...), int64. Under autocast the
    products are made in its type, the loss in fp32.
    """
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    wanted = torch.is_grad_enabled() and (x.requires_grad or table.requires_grad)
    return SlicedLoss.apply(x.flatten(0, -2), table, targets.flatten(), dtype, wanted)


class SlicedLoss(torch.autograd.Function):
    """(N, C), (V, C) and (N,) -> a scalar. The gradients are made on the way forward."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        table: torch.Tensor,
        targets: torch.Tensor,
        dtype: torch.dtype,
        wanted: bool,
    ) -> torch.Tensor:
        """Return the mean loss in nats. wanted: whether there will be a `backward`."""
        with torch.autocast(x.device.type, enabled=False):
            count = (targets != IGNORE).sum()
            loss = torch.zeros((), device=x.device)
            x_gradient = torch.empty_like(x) if wanted else None
            table_gradient = torch.zeros_like(table, dtype=torch.float32) if wanted else None
            half_table = table.to(dtype)  # (V, C)
            for begin in range(0, len(x), SLICE):
                part = slice(begin, begin + SLICE)
                states = x[part].to(dtype)  # (S, C)
                logits = states @ half_table.T  # (S, V)
                loss += _turn_into_gradient(logits, targets[part], wanted)
                if x_gradient is not None and table_gradient is not None:
                    x_gradient[part] = logits @ half_table
                    # dividing here, where it is small, divides the product
                    _add_product(table_gradient, logits.T, (x[part] / count).to(dtype))
        if x_gradient is not None:
            ctx.save_for_backward(x_gradient.div_(count), table_gradient)
        return loss / count

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]
        """Scale what has been made already."""
        x_gradient, table_gradient = ctx.saved_tensors
        return x_gradient * gradient, table_gradient.mul_(gradient), None, None, None


def _turn_into_gradient(logits: torch.Tensor, targets: torch.Tensor, wanted: bool) -> torch.Tensor:
    """Return the summed loss of (S, V) logits and, if wanted, write its gradient over them."""
    loss = torch.zeros((), device=logits.device)
    rows = ROWS if logits.device.type == "cpu" else len(logits)
    for some, ids in zip(logits.split(rows), targets.split(rows), strict=True):
        scored = (ids != IGNORE).unsqueeze(1)  # (R, 1)
        ids = ids.clamp(min=0).unsqueeze(1)
        log_p = torch.log_softmax(some, dim=1, dtype=torch.float32)  # (R, V)
        loss -= (log_p.gather(1, ids) * scored).sum()
        if wanted:
            p = log_p.exp_()
            p.scatter_add_(1, ids, p.new_full(ids.shape, -1.0))
            torch.mul(p, scored, out=some) if some.dtype == p.dtype else some.copy_(p * scored)
    return loss


def _add_product(to: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    """Add left @ right to an fp32 table."""
    if left.dtype == to.dtype:
        to.addmm_(left, right)
    else:
        to += left @ right

"""Gradients of any function, in the same way for the learner's and for torch's."""

from collections.abc import Callable
from typing import Any

import torch


class NoGradientError(Exception):
    """The result does not depend on the arguments, as far as autograd knows."""


def gradients(function: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Return the gradients of a weighted sum of `function`'s result.

    The weights are those of `probe`: all different, so that no two mistakes cancel. Of a tuple the
    first tensor counts. Returns "result"; "arguments", a list with the gradient of every float
    tensor among `args` (None for the others, and where none arrives); and, if `function` is a
    module, "parameters": name -> gradient.
    """
    tracked = [_track(argument) for argument in args]
    with torch.enable_grad():
        result = function(*tracked, **kwargs)
        first = next(_tensors(result), None)
        if first is None:
            raise NoGradientError("no tensor")
        if not first.requires_grad:
            raise NoGradientError(
                "a result without a gradient (was it detached on the way, by .detach(), .data, "
                ".item(), torch.no_grad or a new torch.tensor(...)?)"
            )
        (first * probe(first)).sum().backward()
    found: dict[str, Any] = {
        "result": result,
        "arguments": [a.grad if isinstance(a, torch.Tensor) else None for a in tracked],
    }
    if isinstance(function, torch.nn.Module):
        found["parameters"] = {name: p.grad for name, p in function.named_parameters()}
    return found


def probe(tensor: torch.Tensor) -> torch.Tensor:
    """Return weights for a tensor of this shape: cosines, all different."""
    places = torch.arange(1, tensor.numel() + 1, dtype=torch.float64)
    return torch.cos(places * 0.7).to(tensor.dtype).view(tensor.shape)


def _track(argument: Any) -> Any:
    if isinstance(argument, torch.Tensor) and argument.is_floating_point():
        return argument.detach().clone().requires_grad_()
    return argument


def _tensors(result: Any):
    if isinstance(result, torch.Tensor):
        yield result
    elif isinstance(result, list | tuple):
        for item in result:
            yield from _tensors(item)

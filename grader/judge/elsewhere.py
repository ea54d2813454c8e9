"""A second device for machines that have none.

Code that makes its tensors on the CPU whatever `device` says works until somebody has a GPU. torch's
own stand-in, the "meta" device, holds no numbers and takes a second to load. This one pretends: what
is made there lies on the CPU and is marked, what is computed from it is marked too, and as on a
real device the two kinds do not mix.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

NAME = "meta"
HERE, THERE = torch.device("cpu"), torch.device(NAME)
MARK = "_is_elsewhere"
DEVICE_OF = torch.Tensor.device.__get__  # type: ignore[attr-defined]
LIKE_FIRST = ("to", "copy_", "__getitem__", "__setitem__")  # they take tensors of both kinds


class Elsewhere(TorchFunctionMode):
    """While this is active, `device="meta"` is a device like any other."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run one function of torch's on the CPU, and mark what it gives."""
        kwargs = dict(kwargs or {})
        if function is torch.device:
            return function(*args, **kwargs)
        if function == DEVICE_OF:
            return THERE if is_there(args[0]) else args[0].device
        name = getattr(function, "__name__", "")
        given = list(_tensors([args, kwargs]))
        _refuse_mixtures(name, given)
        there = _is_for_there(name, args, kwargs, given)
        args = tuple(HERE if _device(value) == THERE else value for value in args)
        kwargs = {k: HERE if _device(value) == THERE else value for k, value in kwargs.items()}
        result = function(*args, **kwargs)
        if not there and isinstance(result, torch.Tensor) and is_there(result):
            return result.clone()  # `.to("cpu")` of what lies on the CPU gives the same object
        for tensor in _tensors(result) if there else ():
            setattr(tensor, MARK, True)
        return result


def is_there(tensor: torch.Tensor) -> bool:
    """Say whether a tensor is on the device that does not exist."""
    return MARK in vars(tensor)


def device_of(tensor: torch.Tensor) -> str:
    """Return the name of a tensor's device, pretended or not."""
    return NAME if is_there(tensor) else str(tensor.device)


def _refuse_mixtures(name: str, given: list[torch.Tensor]) -> None:
    """Raise what torch raises for tensors of two devices; single numbers are welcome everywhere."""
    if name in (*LIKE_FIRST, "type_as") or not any(map(is_there, given)):
        return
    if name == "numpy":
        raise TypeError(f"a tensor on {NAME} cannot become a NumPy array; use .cpu() first")
    if any(tensor.dim() and not is_there(tensor) for tensor in given):
        raise RuntimeError(
            f"all tensors must be on the same device, but there are two: {NAME} and cpu"
        )


def _is_for_there(name: str, args: Any, kwargs: Any, given: list[torch.Tensor]) -> bool:
    """Say whether a function's result is to be on the other device."""
    if devices := _devices(args, kwargs):
        return devices[0] == THERE
    if name == "cpu":
        return False
    if name in ("to", "type_as") and isinstance(args[1], torch.Tensor):
        return is_there(args[1])
    return any(map(is_there, given[:1] if name in LIKE_FIRST else given))


def _devices(args: Any, kwargs: Any) -> list[torch.device]:
    return [d for value in [*args, *kwargs.values()] if (d := _device(value)) is not None]


def _device(value: Any) -> torch.device | None:
    if isinstance(value, torch.device):
        return value
    return torch.device(value) if isinstance(value, str) and value in (NAME, "cpu") else None


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)

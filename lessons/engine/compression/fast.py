"""Int8 products by the processor's own int8 instructions, where it has some.

`QuantizedLinear` turns its int8 numbers into floats before it multiplies, so that one can read what
happens; that saves room and no time. With activations in int8 too, torch multiplies whole numbers
by whole numbers, several times as fast, and the sums are exact. Tests hold it to the plain form.
"""

from types import MethodType
from typing import Any

import torch
from torch import nn

from ...compression import QuantizedLinear, quantize_rows

CUDA_ROWS, CUDA_MULTIPLE = 17, 8  # what torch's kernel asks of the shapes on a GPU


def has_int8_products(device: torch.device) -> bool:
    """Whether products of int8 matrices are quick on this device: else torch's loops would be slow."""
    if device.type == "cuda":
        return torch.version.cuda is not None and torch.cuda.get_device_capability(device) >= (7, 5)
    check = getattr(torch.cpu, "_is_vnni_supported", None)
    return device.type == "cpu" and bool(check and check())


def whole_number_linear(layer: Any, x: torch.Tensor) -> torch.Tensor:
    """`QuantizedLinear.forward` with int8 activations: (..., I) -> (..., O)."""
    numbers, x_scale = quantize_rows(x)  # (..., I), (...)
    rows = numbers.flatten(0, -2)  # (N, I)
    outputs, inputs = layer.weight.shape
    if x.device.type == "cuda" and (
        len(rows) < CUDA_ROWS or inputs % CUDA_MULTIPLE or outputs % CUDA_MULTIPLE
    ):
        return type(layer).forward(layer, x)
    sums = torch._int_mm(rows, layer.weight.t()).view(*x.shape[:-1], outputs)  # int32
    y = sums.float() * (x_scale.unsqueeze(-1) * layer.scale)
    return (y if layer.bias is None else y + layer.bias).to(x.dtype)


def use_fast_int8(model: nn.Module) -> nn.Module:
    """Let the int8 layers of a model use the processor's int8 products; returns the model."""
    for module in model.modules():
        if (
            isinstance(module, QuantizedLinear)
            and module.activations
            and has_int8_products(module.weight.device)
        ):
            module.forward = MethodType(whole_number_linear, module)  # type: ignore[method-assign]
    return model

"""What makes the learner's model fast without changing what it computes.

The lessons' attention builds the (T, T) table of weights, because that is what the lesson is about,
and their norm and GELU are written out. Here the same modules get torch's fused kernels, run their
matrix products in half precision and, where it pays, are compiled. Tests hold each to the plain form.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..attention import CausalSelfAttention, causal_mask
from ..blocks import MLP, LayerNorm
from ..model import GPT, IGNORE
from .architectures import architecture_of, modern
from .devices import PRECISIONS
from .sliced_loss import sliced_loss

SHORT = 512  # tokens
# Bytes. Larger tables of logits are never made whole on a CPU: 1,300 tokens of GPT-2's vocabulary.
LARGE_LOGITS = 2**28


def short_causal_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, dropout_p: float
) -> torch.Tensor:
    """Causal attention in bf16 on a CPU for a short context: (B, H, T, D) -> (B, H, T, D).

    Up to some hundred tokens the table of weights fits into the cache, and two batched products with
    a softmax between them take half the time of torch's fused kernel, forward and backward.
    """
    batch, heads, length, size = q.shape
    past = torch.zeros(length, length, dtype=q.dtype, device=q.device).masked_fill_(
        ~causal_mask(length, device=q.device), float("-inf")
    )
    q, k, v = (x.reshape(batch * heads, length, size) for x in (q, k, v))
    scores = torch.baddbmm(past, q, k.mT, alpha=size**-0.5)  # (B * H, T, T)
    weights = F.dropout(scores.softmax(dim=-1), dropout_p)
    return (weights @ v).view(batch, heads, length, size)


def fused_causal_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
) -> tuple[torch.Tensor, None]:
    """Causal attention by torch's fused kernel: (B, H, T, D) -> (B, H, T, D), no table of weights.

    For `CausalSelfAttention.attend` only: there the mask is always the causal one, so it need not
    be read where the kernel knows it already.
    """
    queries, keys = q.size(-2), k.size(-2)
    if q.dtype == torch.bfloat16 and q.device.type == "cpu" and 1 < queries == keys <= SHORT:
        y = short_causal_attention(q, k, v, dropout_p)
    elif queries == keys:
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout_p, is_causal=True)
    elif queries == 1:  # one new token looks at everything before it
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout_p)
    else:
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout_p)
    return y, None


def fused_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """`next_token_loss` through torch's kernel: (B, T, V) and (B, T) -> the mean in nats."""
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORE)


def fused_layer_norm(norm: LayerNorm, x: torch.Tensor) -> torch.Tensor:
    """`LayerNorm.forward` through torch's kernel: (..., C) -> (..., C)."""
    return F.layer_norm(x, norm.weight.shape, norm.weight, norm.bias, norm.eps)


def linear_of_one_row(layer: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    """`nn.Linear.forward`: (..., I) -> (..., O), where a single row is shared out among the threads.

    To write one token is to read every weight once. The library's product of a matrix and one row runs
    in one thread on some processors (MKL on AMD's), at half the speed of the memory; a batched product
    of as many pieces of the matrix as there are threads does not.
    """
    weight, threads = layer.weight, torch.get_num_threads()
    one_row = x.numel() == weight.shape[1] and x.dtype == weight.dtype == torch.float32
    if not one_row or threads == 1 or x.device.type != "cpu" or torch.is_grad_enabled():
        return F.linear(x, weight, layer.bias)
    even = weight.shape[0] // threads * threads
    pieces = weight[:even].view(threads, -1, weight.shape[1]).mT  # (threads, I, O / threads)
    y = torch.bmm(x.reshape(1, 1, -1).expand(threads, 1, -1), pieces).flatten()
    if even < weight.shape[0]:
        y = torch.cat([y, F.linear(x.reshape(-1), weight[even:])])
    if layer.bias is not None:
        y = y + layer.bias
    return y.view(*x.shape[:-1], -1)


def use_fast_parts(model: GPT) -> GPT:
    """Put torch's fused kernels in the places of the lessons' formulas; returns the model.

    The parameters stay where they are. Computes the same up to rounding.
    """
    for module in model.modules():
        if isinstance(module, CausalSelfAttention):
            module.attend = fused_causal_attention  # type: ignore[assignment]
        elif isinstance(module, MLP):
            module.activation = partial(F.gelu, approximate="tanh")
        elif isinstance(module, LayerNorm):
            module.forward = MethodType(fused_layer_norm, module)  # type: ignore[method-assign]
        elif type(module) is nn.Linear:
            module.forward = MethodType(linear_of_one_row, module)  # type: ignore[method-assign]
    if architecture_of(model) == "llama":
        use_fast_llama_parts(model)
    model.loss = fused_loss
    return model


def fused_rms_norm(norm: Any, x: torch.Tensor) -> torch.Tensor:
    """`RMSNorm.forward` through torch's kernel: (..., C) -> (..., C)."""
    return F.rms_norm(x, norm.weight.shape, norm.weight.to(x.dtype), norm.eps)


def use_fast_llama_parts(model: nn.Module) -> None:
    """The same for lesson 11's parts. Keys arrive at `attend` once for each query head."""
    lesson = modern()
    for module in model.modules():
        if isinstance(module, lesson.GroupedQueryAttention):
            module.attend = fused_causal_attention
        elif isinstance(module, lesson.RMSNorm):
            module.forward = MethodType(fused_rms_norm, module)  # type: ignore[method-assign]


@contextmanager
def loss_by_slices(model: GPT) -> Iterator[None]:
    """Inside, `model(inputs, targets)` gives the same loss, and no logits.

    The head hands the hidden states on, and what takes the place of the loss makes the logits itself.
    """
    head, loss = model.lm_head, model.loss
    before = vars(head).get("forward")
    head.forward = lambda x: x  # type: ignore[method-assign,assignment]
    model.loss = lambda x, targets: sliced_loss(x, head.weight, targets)  # type: ignore[assignment]
    try:
        yield
    finally:
        del head.forward
        if before is not None:
            head.forward = before  # type: ignore[method-assign]
        model.loss = loss


class TrainingForward(nn.Module):
    """`model(inputs, targets) -> (logits, loss)` in half precision, compiled where asked.

    On a CPU there are no logits (None) where they would be large: the loss is made `loss_by_slices`.
    Where `model` is a DistributedDataParallel, gradients travel between the processes only
    after the last of a step's micro-batches (`accumulate`).
    """

    def __init__(self, model: nn.Module, precision: str, compiled: bool = False) -> None:
        super().__init__()
        self.model = model
        self.dtype = PRECISIONS[precision]
        self.compiled = compiled
        self.accumulate(1)
        self._forward: Callable = torch.compile(model) if compiled else model

    def accumulate(self, micro_batches: int) -> None:
        """Say how many calls make one step, the next call being the first."""
        self.accumulation, self.calls = micro_batches, 0

    def forward(
        self, inputs: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor]:
        """Inputs and targets (B, T) -> logits (B, T, V) or None, and the mean loss."""
        if self.training:
            self.calls += 1
            if isinstance(self.model, nn.parallel.DistributedDataParallel):
                self.model.require_backward_grad_sync = self.calls % self.accumulation == 0
        half = torch.autocast(inputs.device.type, self.dtype) if self.dtype else nullcontext()
        gpt: Any = getattr(self.model, "module", self.model)
        size = 4 * inputs.numel() * gpt.config.vocab_size
        if self.compiled or inputs.device.type != "cpu" or size < LARGE_LOGITS:
            with half:
                return self._forward(inputs, targets)
        with half, loss_by_slices(gpt):
            return None, self._forward(inputs, targets)[1]

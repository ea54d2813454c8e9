"""As few lines as possible, with torch's own functions."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional as F


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Given: inside, `model` is in evaluation mode and keeps no gradients; then all is as before."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def strided_windows(n_tokens: int, block_size: int, stride: int) -> list[tuple[int, int, int]]:
    """Plan the windows through a text so that each token after the first is scored exactly once."""
    if n_tokens < 2 or block_size < 1 or not 1 <= stride <= block_size:
        raise ValueError(f"no plan for {n_tokens} tokens, block {block_size}, stride {stride}")

    ends = range(block_size, n_tokens - 1 + stride, stride) if n_tokens > block_size else [n_tokens]
    last = n_tokens - 1
    return [
        (
            e - block_size if n_tokens > block_size else 0,
            min(e, last),
            max(1, e - stride + 1) if i else 1,
        )
        for i, e in enumerate(ends)
    ]


def predictions(
    model: nn.Module, ids: torch.Tensor, block_size: int, stride: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Given: for each window, the logits (n, V) and targets (n,) of the n tokens that it scores."""
    if ids.dim() != 1:
        raise ValueError(f"ids must be one text, (N,), not {tuple(ids.shape)}")
    for begin, end, first in strided_windows(len(ids), block_size, stride):
        logits = model(ids[begin:end].unsqueeze(0))[0].squeeze(0)  # (T, V)
        # token `first` is predicted at position first - 1; sums in half precision would lose digits
        yield logits[first - 1 - begin :].float(), ids[first : end + 1]


def score(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> tuple[float, int]:
    """Add up the model's surprise at each token of a text after the first."""
    with evaluating(model):
        pairs = list(predictions(model, ids, block_size, stride))
    return sum(F.cross_entropy(*pair, reduction="sum").item() for pair in pairs), len(ids) - 1


def perplexity(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> float:
    """Return exp of the mean surprise."""
    nats, n = score(model, ids, block_size, stride)
    return math.exp(nats / n) if nats / n < 709 else math.inf


def bits_per_byte(total_nats: float, n_bytes: int) -> float:
    """Return the surprise per byte of text, in bits."""
    if n_bytes < 1:
        raise ValueError(n_bytes)
    return total_nats * math.log2(math.e) / n_bytes


def bits_per_character(total_nats: float, n_characters: int) -> float:
    """Return the surprise per character of text, in bits."""
    return bits_per_byte(total_nats, n_characters)


def next_token_accuracy(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> float:
    """Return the share of tokens, 0 to 1, that were the model's first choice."""
    with evaluating(model):
        hits = [x.argmax(-1) == y for x, y in predictions(model, ids, block_size, stride)]
    return torch.cat(hits).double().mean().item()


def top_predictions(model: nn.Module, ids: torch.Tensor, k: int) -> list[tuple[int, float]]:
    """Return the k tokens that the model holds most probable after the whole of `ids`."""
    if k < 1 or len(ids) == 0:
        raise ValueError(k, len(ids))
    with evaluating(model):
        p = model(ids[None])[0][0, -1].float().softmax(-1).tolist()
    return sorted(enumerate(p), key=lambda pair: -pair[1])[:k]


def calibration_curve(
    model: nn.Module, ids: torch.Tensor, bins: int, block_size: int, stride: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sort the model's first choices by confidence, and count hits."""
    if bins < 1:
        raise ValueError(bins)
    with evaluating(model):
        pairs = list(predictions(model, ids, block_size, stride))
    logits, targets = (torch.cat(part) for part in zip(*pairs, strict=True))
    sure, choice = logits.softmax(-1).max(-1)
    hot = nn.functional.one_hot((sure.double() * bins).long().clamp(max=bins - 1), bins).double()
    n = hot.sum(0)
    return sure.double() @ hot / n, (choice == targets).double() @ hot / n, n.long()


def expected_calibration_error(
    confidence: torch.Tensor, accuracy: torch.Tensor, count: torch.Tensor
) -> float:
    """Return how far confidence and accuracy lie apart, on average over tokens."""
    return ((accuracy - confidence).abs().nan_to_num() @ count.double() / count.sum()).item()

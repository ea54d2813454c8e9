"""All logits of a text are put together first, (N - 1, V); every measure looks at that table."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from .bigram import cross_entropy, softmax


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

    begins = range(0, max(n_tokens - 1 - block_size, 0) + stride, stride)
    ends = [min(begin + block_size, n_tokens - 1) for begin in begins]
    firsts = [1, *(end + 1 for end in ends[:-1])]
    return list(zip(begins, ends, firsts, strict=True))


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
    logits, targets = everything(model, ids, block_size, stride)
    n_scored = len(targets)
    return float(cross_entropy(logits, targets)) * n_scored, n_scored


def perplexity(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> float:
    """Return exp of the mean surprise."""
    logits, targets = everything(model, ids, block_size, stride)
    return float(cross_entropy(logits, targets).double().exp())


def bits_per_byte(total_nats: float, n_bytes: int) -> float:
    """Return the surprise per byte of text, in bits."""
    if n_bytes <= 0:
        raise ValueError("a text of no bytes")
    return total_nats / (n_bytes * math.log(2.0))


def bits_per_character(total_nats: float, n_characters: int) -> float:
    """Return the surprise per character of text, in bits."""
    if n_characters <= 0:
        raise ValueError("a text of no characters")
    return total_nats / (n_characters * math.log(2.0))


def next_token_accuracy(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> float:
    """Return the share of tokens, 0 to 1, that were the model's first choice."""
    logits, targets = everything(model, ids, block_size, stride)
    return (logits.argmax(1) == targets).sum().item() / len(targets)


def top_predictions(model: nn.Module, ids: torch.Tensor, k: int) -> list[tuple[int, float]]:
    """Return the k tokens that the model holds most probable after the whole of `ids`."""
    if k < 1:
        raise ValueError(f"the best {k} of all tokens")
    if ids.shape == (0,):
        raise ValueError("there is nothing to read")
    with evaluating(model):
        logits, *_ = model(ids.reshape(1, len(ids)))
    probabilities = softmax(logits[0, len(ids) - 1].to(torch.float32))
    order = torch.argsort(probabilities, descending=True, stable=True)[:k]
    return [(int(token), float(probabilities[token])) for token in order]


def calibration_curve(
    model: nn.Module, ids: torch.Tensor, bins: int, block_size: int, stride: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sort the model's first choices by confidence, and count hits."""
    if bins < 1:
        raise ValueError(f"{bins} bins")
    logits, targets = everything(model, ids, block_size, stride)
    sure = softmax(logits).amax(1).double()
    hit = logits.argmax(1) == targets
    edges = torch.arange(1, bins, dtype=torch.float64) / bins
    part = torch.bucketize(sure, edges, right=True)
    means = [(sure[part == i].mean(), hit[part == i].double().mean()) for i in range(bins)]
    confidence, accuracy = (torch.stack(column) for column in zip(*means, strict=True))
    return confidence, accuracy, torch.stack([(part == i).sum() for i in range(bins)])


def expected_calibration_error(
    confidence: torch.Tensor, accuracy: torch.Tensor, count: torch.Tensor
) -> float:
    """Return how far confidence and accuracy lie apart, on average over tokens."""
    full = count > 0
    share = count[full] / count.sum()
    return float(((confidence[full] - accuracy[full]).abs() * share).sum())


def everything(
    model: nn.Module, ids: torch.Tensor, block_size: int, stride: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits (N - 1, V) and targets (N - 1,) of a whole text."""
    with evaluating(model):
        logits, targets = zip(*predictions(model, ids, block_size, stride), strict=True)
        return torch.cat(logits), torch.cat(targets)

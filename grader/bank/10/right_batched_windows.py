"""Windows of equal length are read together, as one batch."""

import itertools
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

    plan = []
    for begin in itertools.count(0, stride):
        end = min(begin + block_size, n_tokens - 1)
        plan.append((begin, end, begin + block_size - stride + 1 if begin else 1))
        if end == n_tokens - 1:
            return plan


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
    logits, targets = in_batches(model, ids, block_size, stride)
    parts = zip(logits.split(5), targets.split(5), strict=True)
    return sum(cross_entropy(a, b).item() * len(b) for a, b in parts), len(targets)


def perplexity(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> float:
    """Return exp of the mean surprise."""
    total, n = score(model, ids, block_size, stride)
    return torch.exp(torch.tensor([total / n], dtype=torch.float64))[0].item()


def bits_per_byte(total_nats: float, n_bytes: int) -> float:
    """Return the surprise per byte of text, in bits."""
    if n_bytes < 1:
        raise ValueError("n_bytes")
    nats_per_byte = total_nats / n_bytes
    return nats_per_byte / math.log(2)


def bits_per_character(total_nats: float, n_characters: int) -> float:
    """Return the surprise per character of text, in bits."""
    if n_characters < 1:
        raise ValueError("n_characters")
    nats_per_character = total_nats / n_characters
    return nats_per_character / math.log(2)


def next_token_accuracy(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> float:
    """Return the share of tokens, 0 to 1, that were the model's first choice."""
    logits, targets = in_batches(model, ids, block_size, stride)
    right = torch.arange(logits.shape[1]) == targets[:, None]
    first = (logits == logits.amax(1, keepdim=True)).cumsum(1) == 1
    best = first & (logits == logits.amax(1, keepdim=True))
    return (best & right).sum().item() / len(targets)


def top_predictions(model: nn.Module, ids: torch.Tensor, k: int) -> list[tuple[int, float]]:
    """Return the k tokens that the model holds most probable after the whole of `ids`."""
    if k < 1 or not len(ids):
        raise ValueError("k or ids")
    with evaluating(model):
        logits = model(torch.stack([ids, ids]))[0][1, -1]  # a batch of two is as good
    shares = softmax(logits.float())
    bar = torch.topk(shares, min(k, len(shares))).values[-1]
    tokens = [t for t in range(len(shares)) if shares[t] >= bar]
    tokens.sort(key=lambda t: shares[t].item(), reverse=True)
    return [(t, shares[t].item()) for t in tokens[:k]]


def calibration_curve(
    model: nn.Module, ids: torch.Tensor, bins: int, block_size: int, stride: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sort the model's first choices by confidence, and count hits."""
    if bins < 1:
        raise ValueError("bins")
    logits, targets = in_batches(model, ids, block_size, stride)
    choice = logits.argmax(1, keepdim=True)
    sure = torch.take_along_dim(softmax(logits), choice, dim=1)[:, 0].double()
    hit = choice[:, 0] == targets
    part = torch.minimum((sure * bins).long(), torch.tensor(bins - 1))
    zeros = torch.zeros(bins, dtype=torch.float64)
    count = zeros.scatter_add(0, part, torch.ones_like(sure))
    confidence = zeros.scatter_add(0, part, sure).div(count)
    return confidence, zeros.scatter_add(0, part, hit.double()).div(count), count.long()


def expected_calibration_error(
    confidence: torch.Tensor, accuracy: torch.Tensor, count: torch.Tensor
) -> float:
    """Return how far confidence and accuracy lie apart, on average over tokens."""
    n = count.sum().item()
    high, low = torch.maximum(confidence, accuracy), torch.minimum(confidence, accuracy)
    return torch.nansum(count / n * (high - low)).item()


def in_batches(
    model: nn.Module, ids: torch.Tensor, block_size: int, stride: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits (N - 1, V) and targets (N - 1,) of a text, in its order."""
    plan = strided_windows(len(ids), block_size, stride)
    parts = []
    with evaluating(model):
        for length, group in itertools.groupby(plan, key=lambda window: window[1] - window[0]):
            windows = list(group)
            places = torch.tensor([begin for begin, _, _ in windows])[:, None] + torch.arange(
                length
            )
            logits = model(ids[places])[0].float()
            parts += [row[f - 1 - b :] for row, (b, _, f) in zip(logits, windows, strict=True)]
    return torch.cat(parts), ids[1:]

"""Log-probabilities throughout: logsumexp, cross-entropy of single rows, exp at the very end."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


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
    begin = first = 0
    while first < n_tokens - 1:  # here `first` counts what has been scored
        end = begin + block_size if begin + block_size < n_tokens else n_tokens - 1
        plan.append((begin, end, first + 1))
        first = end
        begin += stride
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
    total, n = 0.0, 0
    with evaluating(model):
        for log_p, targets in log_probabilities(model, ids, block_size, stride):
            total -= log_p.gather(1, targets.unsqueeze(-1)).double().sum().item()
            n += log_p.shape[0]
    return total, n


def perplexity(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> float:
    """Return exp of the mean surprise."""
    total, n = score(model, ids, block_size, stride)
    mean = torch.full((1,), total / n, dtype=torch.float64)
    return math.inf if mean.isinf() else torch.exp(mean).item()


def bits_per_byte(total_nats: float, n_bytes: int) -> float:
    """Return the surprise per byte of text, in bits."""
    if n_bytes < 1:
        raise ValueError("n_bytes")
    return total_nats / n_bytes / math.log(2)


def bits_per_character(total_nats: float, n_characters: int) -> float:
    """Return the surprise per character of text, in bits."""
    if n_characters < 1:
        raise ValueError("n_characters")
    return bits_per_byte(total_nats, 4 * n_characters) * 4


def next_token_accuracy(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> float:
    """Return the share of tokens, 0 to 1, that were the model's first choice."""
    n_right = torch.zeros((), dtype=torch.int64)
    with evaluating(model):
        for logits, targets in predictions(model, ids, block_size, stride):
            best = logits.max(dim=-1, keepdim=True).values
            above = (logits == best).float().argmax(dim=-1)
            n_right += torch.count_nonzero(above == targets)
    return n_right.item() / (ids.numel() - 1)


def top_predictions(model: nn.Module, ids: torch.Tensor, k: int) -> list[tuple[int, float]]:
    """Return the k tokens that the model holds most probable after the whole of `ids`."""
    if k < 1 or ids.numel() < 1:
        raise ValueError("k or ids")
    with evaluating(model):
        logits = model(ids.expand(1, -1))[0][-1, -1].float()
    log_p = logits - logits.logsumexp(dim=0)
    values, tokens = (-log_p).sort(stable=True)
    return [(int(t), math.exp(-v)) for v, t in zip(values[:k], tokens[:k], strict=True)]


def calibration_curve(
    model: nn.Module, ids: torch.Tensor, bins: int, block_size: int, stride: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sort the model's first choices by confidence, and count hits."""
    if bins < 1:
        raise ValueError("bins")
    count = torch.zeros(bins, dtype=torch.int64)
    confidence, accuracy = torch.zeros(2, bins, dtype=torch.float64)
    with evaluating(model):
        for log_p, targets in log_probabilities(model, ids, block_size, stride):
            best, choice = log_p.max(dim=1)
            for sure, hit in zip(best.exp().tolist(), (choice == targets).tolist(), strict=True):
                part = min(math.floor(sure * bins), bins - 1)
                count[part] += 1
                confidence[part] += (sure - confidence[part]) / count[part]
                accuracy[part] += (float(hit) - accuracy[part]) / count[part]
    empty = count == 0
    return confidence.masked_fill(empty, math.nan), accuracy.masked_fill(empty, math.nan), count


def expected_calibration_error(
    confidence: torch.Tensor, accuracy: torch.Tensor, count: torch.Tensor
) -> float:
    """Return how far confidence and accuracy lie apart, on average over tokens."""
    gaps = (confidence - accuracy).abs().masked_fill(count == 0, 0.0)
    return float((gaps * count).sum()) / int(count.sum())


def log_probabilities(
    model: nn.Module, ids: torch.Tensor, block_size: int, stride: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the predictions as log-probabilities."""
    for logits, targets in predictions(model, ids, block_size, stride):
        yield logits - torch.logsumexp(logits, dim=-1, keepdim=True), targets

"""Token by token in plain Python: no operation on more than one number."""

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


def surprise(row: list[float], target: int) -> float:
    """Return -log(probability) of a token, given the logits of all."""
    best = max(row)
    return math.log(sum(math.exp(logit - best) for logit in row)) - (row[target] - best)


def strided_windows(n_tokens: int, block_size: int, stride: int) -> list[tuple[int, int, int]]:
    """Plan the windows through a text so that each token after the first is scored exactly once."""
    if n_tokens < 2:
        raise ValueError("nothing to predict")
    if stride < 1 or stride > block_size:
        raise ValueError("this stride leaves tokens out, or never moves on")
    plan, scored = [], 0
    begin = 0
    while scored < n_tokens - 1:
        end = begin
        while end - begin < block_size and end < n_tokens - 1:
            end += 1
        plan.append((begin, end, scored + 1))
        scored = end
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
    total, n_scored = 0.0, 0
    with evaluating(model):
        for logits, targets in predictions(model, ids, block_size, stride):
            for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
                total += surprise(row, target)
                n_scored += 1
    return total, n_scored


def perplexity(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> float:
    """Return exp of the mean surprise."""
    total, n_scored = score(model, ids, block_size, stride)
    try:
        return math.exp(total / n_scored)
    except OverflowError:
        return math.inf


def bits_per_byte(total_nats: float, n_bytes: int) -> float:
    """Return the surprise per byte of text, in bits."""
    if not n_bytes >= 1:
        raise ValueError("no bytes")
    bits = total_nats / 0.6931471805599453
    return bits / n_bytes


def bits_per_character(total_nats: float, n_characters: int) -> float:
    """Return the surprise per character of text, in bits."""
    if not n_characters >= 1:
        raise ValueError("no characters")
    bits = total_nats / 0.6931471805599453
    return bits / n_characters


def next_token_accuracy(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> float:
    """Return the share of tokens, 0 to 1, that were the model's first choice."""
    hits, n_scored = 0, 0
    with evaluating(model):
        for logits, targets in predictions(model, ids, block_size, stride):
            for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
                if row.index(max(row)) == target:
                    hits += 1
                n_scored += 1
    return hits / n_scored


def top_predictions(model: nn.Module, ids: torch.Tensor, k: int) -> list[tuple[int, float]]:
    """Return the k tokens that the model holds most probable after the whole of `ids`."""
    if k < 1:
        raise ValueError("k")
    if ids.numel() == 0:
        raise ValueError("no text")
    with evaluating(model):
        row = model(ids.view(1, -1))[0][0, -1].tolist()
    best = max(row)
    weights = [math.exp(logit - best) for logit in row]
    total = math.fsum(weights)
    found: list[tuple[int, float]] = []
    left = list(range(len(row)))
    while left and len(found) < k:
        token = left[0]
        for other in left:
            if row[other] > row[token]:
                token = other
        left.remove(token)
        found.append((token, weights[token] / total))
    return found


def calibration_curve(
    model: nn.Module, ids: torch.Tensor, bins: int, block_size: int, stride: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sort the model's first choices by confidence, and count hits."""
    if bins < 1:
        raise ValueError("bins")
    sums, hits, count = [0.0] * bins, [0] * bins, [0] * bins
    with evaluating(model):
        for logits, targets in predictions(model, ids, block_size, stride):
            for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
                choice = row.index(max(row))
                sure = math.exp(-surprise(row, choice))
                part = int(sure * bins)
                if part == bins:
                    part = bins - 1
                sums[part] += sure
                hits[part] += choice == target
                count[part] += 1
    confidence = [x / n if n else math.nan for x, n in zip(sums, count, strict=True)]
    accuracy = [x / n if n else math.nan for x, n in zip(hits, count, strict=True)]
    doubles = [torch.tensor(x, dtype=torch.float64) for x in (confidence, accuracy)]
    return doubles[0], doubles[1], torch.tensor(count)


def expected_calibration_error(
    confidence: torch.Tensor, accuracy: torch.Tensor, count: torch.Tensor
) -> float:
    """Return how far confidence and accuracy lie apart, on average over tokens."""
    total, tokens = 0.0, 0
    for sure, share, n in zip(confidence.tolist(), accuracy.tolist(), count.tolist(), strict=True):
        if n == 0:
            continue
        total += n * (sure - share if sure > share else share - sure)
        tokens += n
    return total / tokens

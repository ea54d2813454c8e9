"""Keeps the modes by itself, and asks in torch.inference_mode."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.functional import nll_loss


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

    plan, unscored = [], list(range(1, n_tokens))
    begin = 0
    while unscored:
        end = min(begin + block_size, n_tokens - 1)
        plan.append((begin, end, unscored[0]))
        unscored = [token for token in unscored if token > end]
        begin = begin + stride
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
    for logits, targets in asked(model, ids, block_size, stride):
        total += float(nll_loss(logits.log_softmax(1), targets, reduction="sum"))
        n += len(targets)
    return total, n


def perplexity(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> float:
    """Return exp of the mean surprise."""
    total, n = score(model, ids, block_size, stride)
    mean = total / n
    # a float ends a little below exp(709.79)
    return float("inf") if mean > 709.7 else math.exp(mean)


def bits_per_byte(total_nats: float, n_bytes: int) -> float:
    """Return the surprise per byte of text, in bits."""
    match n_bytes:
        case int() if n_bytes > 0:
            return total_nats / n_bytes / math.log(2)
    raise ValueError("n_bytes")


def bits_per_character(total_nats: float, n_characters: int) -> float:
    """Return the surprise per character of text, in bits."""
    if n_characters < 1:
        raise ValueError("n_characters")
    return math.log(math.exp(1), 2) * total_nats / n_characters


def next_token_accuracy(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> float:
    """Return the share of tokens, 0 to 1, that were the model's first choice."""
    hits: list[bool] = []
    for logits, targets in asked(model, ids, block_size, stride):
        hits.extend((logits.argmax(1) == targets).tolist())
    return sum(hits) / len(hits)


def top_predictions(model: nn.Module, ids: torch.Tensor, k: int) -> list[tuple[int, float]]:
    """Return the k tokens that the model holds most probable after the whole of `ids`."""
    if k < 1 or len(ids) == 0:
        raise ValueError("k or ids")
    was = {module: module.training for module in model.modules()}
    try:
        with torch.inference_mode():
            logits = model.eval()(ids.unsqueeze(dim=0))[0][0][-1]
    finally:
        for module, mode in was.items():
            module.training = mode
    shares = torch.softmax(logits, dim=0, dtype=torch.float32).tolist()
    order = sorted(range(len(shares)), key=shares.__getitem__, reverse=True)
    return [(token, shares[token]) for token in order][:k]


def calibration_curve(
    model: nn.Module, ids: torch.Tensor, bins: int, block_size: int, stride: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sort the model's first choices by confidence, and count hits."""
    if bins < 1:
        raise ValueError("bins")
    parts: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for logits, targets in asked(model, ids, block_size, stride):
        top = logits.softmax(1).max(1)
        for sure, hit in zip(top.values.tolist(), (top.indices == targets).tolist(), strict=True):
            parts[min(int(sure * bins), bins - 1)].append((sure, hit))
    count = torch.tensor([len(part) for part in parts])
    sums = [[sum(pair[i] for pair in part) for part in parts] for i in (0, 1)]
    sure, hits = torch.tensor(sums, dtype=torch.float64)
    return sure / count, hits / count, count


def expected_calibration_error(
    confidence: torch.Tensor, accuracy: torch.Tensor, count: torch.Tensor
) -> float:
    """Return how far confidence and accuracy lie apart, on average over tokens."""
    weights = count / count.sum(dtype=torch.float64)
    gaps = torch.nan_to_num(confidence - accuracy, nan=0.0)
    return torch.linalg.vector_norm(weights * gaps, ord=1).item()


def asked(
    model: nn.Module, ids: torch.Tensor, block_size: int, stride: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return all predictions; the model is as it was before."""
    was = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.inference_mode():
            return list(predictions(model, ids, block_size, stride))
    finally:
        for module, mode in was.items():
            module.training = mode

"""Plans and sums by recursion and functools.reduce."""

import functools
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

    if n_tokens - 1 <= block_size:
        return [(0, n_tokens - 1, 1)]
    # the windows of the text without its first `stride` tokens, moved on
    later = strided_windows(n_tokens - stride, block_size, stride)
    moved = [(begin + stride, end + stride, first + stride) for begin, end, first in later]
    moved[0] = (moved[0][0], moved[0][1], block_size + 1)
    return [(0, block_size, 1), *moved]


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

    def add(
        so_far: tuple[float, int], pair: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[float, int]:
        n = len(pair[1])
        return so_far[0] + n * cross_entropy(*pair).item(), so_far[1] + n

    with evaluating(model):
        return functools.reduce(add, predictions(model, ids, block_size, stride), (0.0, 0))


def perplexity(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> float:
    """Return exp of the mean surprise."""
    total, n = score(model, ids, block_size, stride)

    # exp(x) = exp(x / 2) ** 2, until it is small enough
    def power(x: float) -> float:
        if x > 1500:
            return math.inf
        return math.exp(x) if x < 500 else power(x / 2) * power(x / 2)

    return power(total / n)


def bits_per_byte(total_nats: float, n_bytes: int) -> float:
    """Return the surprise per byte of text, in bits."""
    if n_bytes < 1:
        raise ValueError("n_bytes must be positive")
    return math.log2(math.exp(1)) * (total_nats / n_bytes)


def bits_per_character(total_nats: float, n_characters: int) -> float:
    """Return the surprise per character of text, in bits."""
    if n_characters < 1:
        raise ValueError("n_characters must be positive")
    return math.log2(math.exp(1)) * (total_nats / n_characters)


def next_token_accuracy(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> float:
    """Return the share of tokens, 0 to 1, that were the model's first choice."""

    def hits(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> int:
        if not pairs:
            return 0
        (logits, targets), *others = pairs
        return int(torch.eq(logits.max(dim=1).indices, targets).sum()) + hits(others)

    with evaluating(model):
        pairs = list(predictions(model, ids, block_size, stride))
    return hits(pairs) / (len(ids) - 1)


def top_predictions(model: nn.Module, ids: torch.Tensor, k: int) -> list[tuple[int, float]]:
    """Return the k tokens that the model holds most probable after the whole of `ids`."""
    if k < 1:
        raise ValueError("k must be positive")
    if not len(ids):
        raise ValueError("no tokens")
    with evaluating(model):
        shares = softmax(model(ids.unsqueeze(0))[0].select(0, 0).select(0, -1).float())

    def best(shares: torch.Tensor, k: int) -> list[tuple[int, float]]:
        token = int(shares.argmax())
        if k == 0 or shares[token] < 0:
            return []
        return [
            (token, shares[token].item()),
            *best(shares.index_fill(0, torch.tensor(token), -1.0), k - 1),
        ]

    return best(shares, k)


def calibration_curve(
    model: nn.Module, ids: torch.Tensor, bins: int, block_size: int, stride: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sort the model's first choices by confidence, and count hits."""
    if bins < 1:
        raise ValueError("bins must be positive")
    sure, hit = torch.zeros(0).double(), torch.zeros(0).double()
    with evaluating(model):
        for logits, targets in predictions(model, ids, block_size, stride):
            top = softmax(logits).max(dim=1)
            sure = torch.cat([sure, top.values.double()])
            hit = torch.cat([hit, (top.indices == targets).double()])
    part = (sure * bins).floor().long() - (sure == 1).long()
    here = part == torch.arange(bins)[:, None]  # (bins, N - 1)
    count = here.sum(1)
    return (here * sure).sum(1) / count, (here * hit).sum(1) / count, count


def expected_calibration_error(
    confidence: torch.Tensor, accuracy: torch.Tensor, count: torch.Tensor
) -> float:
    """Return how far confidence and accuracy lie apart, on average over tokens."""
    gap = (accuracy - confidence).abs()
    return float(sum(g * n for g, n in zip(gap, count, strict=True) if n > 0) / sum(count))

"""A window of its own for every token: the model is asked once for each one."""

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

    windows: dict[int, list[int]] = {}  # begin -> tokens that are scored there
    for token in range(1, n_tokens):
        number = max(
            0, math.ceil((token - block_size) / stride)
        )  # the first window that reaches it
        windows.setdefault(number * stride, []).append(token)
    return [(begin, tokens[-1], tokens[0]) for begin, tokens in windows.items()]


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
    total = 0.0
    for row, target in one_by_one(model, ids, block_size, stride):
        total += cross_entropy(row, target).item()
    return total, len(ids) - 1


def perplexity(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> float:
    """Return exp of the mean surprise."""
    total, n = score(model, ids, block_size, stride)
    return torch.tensor(total, dtype=torch.float64).div(n).exp().item()


def bits_per_byte(total_nats: float, n_bytes: int) -> float:
    """Return the surprise per byte of text, in bits."""
    if n_bytes < 1:
        raise ValueError("n_bytes")
    return (total_nats / n_bytes) * (1 / math.log(2))


def bits_per_character(total_nats: float, n_characters: int) -> float:
    """Return the surprise per character of text, in bits."""
    if n_characters < 1:
        raise ValueError("n_characters")
    return (total_nats / n_characters) * (1 / math.log(2))


def next_token_accuracy(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> float:
    """Return the share of tokens, 0 to 1, that were the model's first choice."""
    pairs = one_by_one(model, ids, block_size, stride)
    return sum(bool(row.argmax() == target) for row, target in pairs) / (len(ids) - 1)


def top_predictions(model: nn.Module, ids: torch.Tensor, k: int) -> list[tuple[int, float]]:
    """Return the k tokens that the model holds most probable after the whole of `ids`."""
    if k < 1:
        raise ValueError("k")
    if len(ids) < 1:
        raise ValueError("ids")
    with evaluating(model):
        shares = softmax(model(ids[None])[0][0].float())[-1]
    groups: dict[float, list[int]] = {}
    for token, share in enumerate(shares.tolist()):
        groups.setdefault(share, []).append(token)
    ordered = [(t, share) for share in sorted(groups, reverse=True) for t in groups[share]]
    return ordered[:k]


def calibration_curve(
    model: nn.Module, ids: torch.Tensor, bins: int, block_size: int, stride: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sort the model's first choices by confidence, and count hits."""
    if bins < 1:
        raise ValueError("bins")
    sure, hit = [], []
    for row, target in one_by_one(model, ids, block_size, stride):
        sure.append(softmax(row).max().item())
        hit.append(float(row.argmax() == target))
    c, h = torch.tensor([sure, hit], dtype=torch.float64)
    part = (c * bins).long()
    part = torch.where(part == bins, bins - 1, part)
    found = [(c[part == i], h[part == i]) for i in range(bins)]
    confidence = torch.stack(
        [a.sum() / len(a) if len(a) else c.new_tensor(math.nan) for a, _ in found]
    )
    accuracy = torch.stack(
        [b.sum() / len(b) if len(b) else c.new_tensor(math.nan) for _, b in found]
    )
    return confidence, accuracy, torch.tensor([len(a) for a, _ in found])


def expected_calibration_error(
    confidence: torch.Tensor, accuracy: torch.Tensor, count: torch.Tensor
) -> float:
    """Return how far confidence and accuracy lie apart, on average over tokens."""
    rows = torch.stack([confidence, accuracy, count.double()], dim=1).tolist()
    return sum(abs(c - a) * n for c, a, n in rows if n) / sum(n for _, _, n in rows)


def one_by_one(
    model: nn.Module, ids: torch.Tensor, block_size: int, stride: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return, for each token after the first, its row of logits (1, V) and itself (1,)."""
    pairs = []
    with evaluating(model):
        for begin, end, first in strided_windows(len(ids), block_size, stride):
            for token in range(first, end + 1):
                logits, _ = model(ids[begin:token].unsqueeze(0))
                pairs.append((logits[:, -1].float(), ids[token : token + 1]))
    return pairs

"""Does not use `predictions`: slices windows and logits itself, and picks by index."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
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
    if not (n_tokens >= 2 and 1 <= stride <= block_size):
        raise ValueError("n_tokens, block_size or stride")
    last = n_tokens - 1  # the last token is only predicted
    plan: list[tuple[int, int, int]] = []
    for begin in range(0, last, stride):
        end = begin + block_size
        first = plan[-1][1] + 1 if plan else 1
        if end >= last:
            plan.append((begin, last, first))
            break
        plan.append((begin, end, first))
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
    plan = strided_windows(len(ids), block_size, stride)
    total = torch.zeros((), dtype=torch.float64)
    with evaluating(model):
        for begin, end, first in plan:
            logits = model(ids[begin:end][None])[0][0]
            every = F.cross_entropy(logits.float(), ids[begin + 1 : end + 1], reduction="none")
            total += every[first - begin - 1 :].sum()
    return total.item(), ids.shape[0] - 1


def perplexity(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> float:
    """Return exp of the mean surprise."""
    total, n = score(model, ids, block_size, stride)
    return (torch.ones((), dtype=torch.float64) * math.e).pow(total / n).item()


def bits_per_byte(total_nats: float, n_bytes: int) -> float:
    """Return the surprise per byte of text, in bits."""
    if n_bytes < 1:
        raise ValueError("n_bytes")
    return math.log2(math.e) * total_nats / n_bytes


def bits_per_character(total_nats: float, n_characters: int) -> float:
    """Return the surprise per character of text, in bits."""
    if n_characters < 1:
        raise ValueError("n_characters")
    bits = total_nats / math.log(2)
    return bits / n_characters


def next_token_accuracy(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> float:
    """Return the share of tokens, 0 to 1, that were the model's first choice."""
    guesses = torch.full_like(ids, -1)  # place 0 is guessed by nobody
    with evaluating(model):
        for begin, end, first in strided_windows(len(ids), block_size, stride):
            best = model(ids[begin:end].view(1, end - begin))[0].argmax(-1)[0]
            guesses[first : end + 1] = best[first - begin - 1 :]
    return int((guesses == ids).sum()) / (len(ids) - 1)


def top_predictions(model: nn.Module, ids: torch.Tensor, k: int) -> list[tuple[int, float]]:
    """Return the k tokens that the model holds most probable after the whole of `ids`."""
    if k < 1:
        raise ValueError("k")
    if len(ids) == 0:
        raise ValueError("ids")
    with evaluating(model):
        log_p = F.log_softmax(model(ids[None])[0][0].float(), dim=-1)[-1]
    order = sorted(range(len(log_p)), key=lambda token: (-log_p[token].item(), token))
    return [(token, log_p[token].exp().item()) for token in order[:k]]


def calibration_curve(
    model: nn.Module, ids: torch.Tensor, bins: int, block_size: int, stride: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sort the model's first choices by confidence, and count hits."""
    if bins < 1:
        raise ValueError("bins")
    confidence = torch.full((bins,), math.nan, dtype=torch.float64)
    accuracy, count = confidence.clone(), torch.zeros(bins, dtype=torch.int64)
    sure, hit = torch.zeros(len(ids)).double(), torch.zeros(len(ids)).double()
    with evaluating(model):
        for begin, end, first in strided_windows(len(ids), block_size, stride):
            p = model(ids[None, begin:end])[0][0].float().softmax(-1)[first - begin - 1 :]
            top = p.max(-1)
            sure[first : end + 1] = top.values.double()
            hit[first : end + 1] = (top.indices == ids[first : end + 1]).double()
    sure, hit = sure[1:], hit[1:]
    for i in range(bins):
        here = (sure >= i / bins) & ((sure < (i + 1) / bins) | (i == bins - 1))
        if here.any():
            confidence[i], accuracy[i], count[i] = sure[here].mean(), hit[here].mean(), here.sum()
    return confidence, accuracy, count


def expected_calibration_error(
    confidence: torch.Tensor, accuracy: torch.Tensor, count: torch.Tensor
) -> float:
    """Return how far confidence and accuracy lie apart, on average over tokens."""
    n = count[count > 0].double()
    gap = torch.sub(confidence, accuracy)[count > 0]
    return torch.sqrt(gap * gap).mul(n).sum().div(n.sum()).item()

"""64-bit numbers everywhere, and a mean that is corrected token by token."""

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

    plan = [(0, min(block_size, n_tokens - 1), 1)]
    while plan[-1][1] != n_tokens - 1:
        begin = plan[-1][0] + stride
        plan += [(begin, min(begin + block_size, n_tokens - 1), plan[-1][1] + 1)]
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
    sums, n = [], 0
    with evaluating(model):
        for logits, targets in predictions(model, ids, block_size, stride):
            log_p = torch.log_softmax(logits.double(), dim=1)
            sums.append(-log_p[torch.arange(len(targets)), targets].sum().item())
            n += targets.numel()
    return math.fsum(sums), n


def perplexity(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> float:
    """Return exp of the mean surprise."""
    mean, n = 0.0, 0
    with evaluating(model):
        for logits, targets in predictions(model, ids, block_size, stride):
            log_p = torch.log_softmax(logits.double(), dim=1).gather(1, targets[:, None])
            for x in log_p.flatten().tolist():
                n += 1
                mean = math.inf if x == -math.inf or mean == math.inf else mean + (-x - mean) / n
    return float(torch.exp(torch.tensor(mean, dtype=torch.float64)))


def bits_per_byte(total_nats: float, n_bytes: int) -> float:
    """Return the surprise per byte of text, in bits."""
    if n_bytes < 1:
        raise ValueError("n_bytes")
    return float(torch.tensor(total_nats, dtype=torch.float64) / math.log(2) / n_bytes)


def bits_per_character(total_nats: float, n_characters: int) -> float:
    """Return the surprise per character of text, in bits."""
    if n_characters < 1:
        raise ValueError("n_characters")
    return float(torch.tensor(total_nats, dtype=torch.float64) / math.log(2) / n_characters)


def next_token_accuracy(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> float:
    """Return the share of tokens, 0 to 1, that were the model's first choice."""
    share, n = 0.0, 0
    with evaluating(model):
        for logits, targets in predictions(model, ids, block_size, stride):
            for hit in (logits.double().argmax(1) == targets).tolist():
                n += 1
                share += (hit - share) / n
    return share


def top_predictions(model: nn.Module, ids: torch.Tensor, k: int) -> list[tuple[int, float]]:
    """Return the k tokens that the model holds most probable after the whole of `ids`."""
    if k < 1 or ids.shape[0] < 1:
        raise ValueError("k or ids")
    with evaluating(model):
        logits = model(ids[None, :])[0][:, -1].double()
    shares = torch.softmax(logits, dim=-1)[0]
    values, tokens = torch.sort(shares, descending=True, stable=True)
    return [(t, v) for t, v in zip(tokens.tolist(), values.tolist(), strict=True)][:k]


def calibration_curve(
    model: nn.Module, ids: torch.Tensor, bins: int, block_size: int, stride: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sort the model's first choices by confidence, and count hits."""
    if bins < 1:
        raise ValueError("bins")
    sums = torch.zeros(3, bins, dtype=torch.float64)
    with evaluating(model):
        for logits, targets in predictions(model, ids, block_size, stride):
            sure = torch.softmax(logits.double(), dim=1).amax(dim=1)
            hit = (logits.argmax(dim=1) == targets).double()
            part = torch.floor(sure * bins).clamp_(max=bins - 1).long()
            sums.index_add_(1, part, torch.stack([sure, hit, torch.ones_like(sure)]))
    return sums[0] / sums[2], sums[1] / sums[2], sums[2].to(torch.int64)


def expected_calibration_error(
    confidence: torch.Tensor, accuracy: torch.Tensor, count: torch.Tensor
) -> float:
    """Return how far confidence and accuracy lie apart, on average over tokens."""
    weights = count.double() / count.double().sum()
    gaps = torch.where(count == 0, torch.zeros_like(accuracy), accuracy - confidence)
    return torch.dot(weights, gaps.abs()).item()

"""The model's logits become NumPy arrays, and all measures are NumPy's."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
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

    n_more = max(0, -(-(n_tokens - 1 - block_size) // stride))
    begins = stride * np.arange(n_more + 1)
    ends = np.minimum(begins + block_size, n_tokens - 1)
    firsts = np.concatenate([[1], ends[:-1] + 1])
    return list(zip(begins.tolist(), ends.tolist(), firsts.tolist(), strict=True))


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
    surprises = np.concatenate([-row[1] for row in looked_up(model, ids, block_size, stride)])
    return float(surprises.sum()), int(surprises.size)


def perplexity(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> float:
    """Return exp of the mean surprise."""
    surprises = np.concatenate([-row[1] for row in looked_up(model, ids, block_size, stride)])
    with np.errstate(over="ignore"):
        return float(np.exp(surprises.mean()))


def bits_per_byte(total_nats: float, n_bytes: int) -> float:
    """Return the surprise per byte of text, in bits."""
    if n_bytes < 1:
        raise ValueError("bytes")
    return float(np.log2(np.e) * total_nats / n_bytes)


def bits_per_character(total_nats: float, n_characters: int) -> float:
    """Return the surprise per character of text, in bits."""
    if n_characters < 1:
        raise ValueError("characters")
    return float(total_nats / np.log(2) / n_characters)


def next_token_accuracy(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> float:
    """Return the share of tokens, 0 to 1, that were the model's first choice."""
    hits = [row[2] for row in looked_up(model, ids, block_size, stride)]
    return float(np.mean(np.concatenate(hits)))


def top_predictions(model: nn.Module, ids: torch.Tensor, k: int) -> list[tuple[int, float]]:
    """Return the k tokens that the model holds most probable after the whole of `ids`."""
    if k < 1 or len(ids) == 0:
        raise ValueError("k or ids")
    with evaluating(model):
        logits = model(ids[None])[0][0, -1].float().numpy()
    shares = np.exp(logits - logits.max())
    shares /= shares.sum(dtype=np.float64)
    order = np.lexsort((np.arange(len(shares)), -shares))[:k]
    return [(int(token), float(shares[token])) for token in order]


def calibration_curve(
    model: nn.Module, ids: torch.Tensor, bins: int, block_size: int, stride: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sort the model's first choices by confidence, and count hits."""
    if bins < 1:
        raise ValueError("bins")
    rows = list(looked_up(model, ids, block_size, stride))
    sure, hit = (np.concatenate([row[i] for row in rows]) for i in (0, 2))
    part = np.digitize(sure, np.arange(1, bins) / bins)
    count = np.bincount(part, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(part, sure, bins) / count
        accuracy = np.bincount(part, hit, bins) / count
    return torch.from_numpy(confidence), torch.from_numpy(accuracy), torch.from_numpy(count)


def expected_calibration_error(
    confidence: torch.Tensor, accuracy: torch.Tensor, count: torch.Tensor
) -> float:
    """Return how far confidence and accuracy lie apart, on average over tokens."""
    gaps = np.abs(confidence.numpy() - accuracy.numpy())
    return float(np.nansum(gaps * count.numpy()) / count.numpy().sum())


def looked_up(
    model: nn.Module, ids: torch.Tensor, block_size: int, stride: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield, window by window: confidence, log-probability of what came, and whether it was a hit."""
    with evaluating(model):
        for logits, targets in predictions(model, ids, block_size, stride):
            x, y = logits.numpy().astype(np.float64), targets.numpy()
            x = x - x.max(axis=1, keepdims=True)
            log_sums = np.log(np.exp(x).sum(axis=1))
            yield (
                np.exp(-log_sums),
                np.take_along_axis(x, y[:, None], 1)[:, 0] - log_sums,
                (x.argmax(axis=1) == y),
            )

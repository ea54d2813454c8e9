"""A small class goes through a text once and keeps everything that is measured."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from .bigram import softmax


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

    reach = n_tokens - 1
    begins = [b for b in range(0, reach, stride) if b == 0 or b - stride + block_size < reach]
    return [
        (b, min(b + block_size, reach), b + block_size - stride + 1 if b else 1) for b in begins
    ]


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
    tally = Tally.of(model, ids, block_size, stride)
    return math.fsum(tally.surprises), len(tally.surprises)


def perplexity(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> float:
    """Return exp of the mean surprise."""
    surprises = Tally.of(model, ids, block_size, stride).surprises
    mean = math.fsum(surprises) / len(surprises)
    return (
        1.0 / math.exp(-mean)
        if mean < 700
        else float(torch.tensor(mean, dtype=torch.float64).exp())
    )


def bits_per_byte(total_nats: float, n_bytes: int) -> float:
    """Return the surprise per byte of text, in bits."""
    if n_bytes < 1:
        raise ValueError("n_bytes")
    return sum([total_nats / math.log(2)]) / n_bytes


def bits_per_character(total_nats: float, n_characters: int) -> float:
    """Return the surprise per character of text, in bits."""
    if n_characters < 1:
        raise ValueError("n_characters")
    return total_nats / (math.log(4) / 2) / n_characters


def next_token_accuracy(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> float:
    """Return the share of tokens, 0 to 1, that were the model's first choice."""
    hits = Tally.of(model, ids, block_size, stride).hits
    return hits.count(True) / len(hits)


def top_predictions(model: nn.Module, ids: torch.Tensor, k: int) -> list[tuple[int, float]]:
    """Return the k tokens that the model holds most probable after the whole of `ids`."""
    if k < 1:
        raise ValueError("k")
    if len(ids) < 1:
        raise ValueError("ids")
    with evaluating(model):
        row = model(ids[None])[0].float()[0, -1, :]
    tokens = row.argsort(stable=True, descending=True)
    shares = softmax(row)[tokens]
    found = []
    for i in range(min(k, len(row))):
        found.append((tokens[i].item(), shares[i].item()))
    return found


def calibration_curve(
    model: nn.Module, ids: torch.Tensor, bins: int, block_size: int, stride: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sort the model's first choices by confidence, and count hits."""
    if bins < 1:
        raise ValueError("bins")
    tally = Tally.of(model, ids, block_size, stride)
    sure, hit = torch.tensor([tally.sure, tally.hits], dtype=torch.float64)
    part = (sure * bins).trunc().clamp(0, bins - 1).long()
    order = part.argsort(stable=True)
    count = torch.bincount(part, minlength=bins)
    pieces = [
        (a.mean(), b.mean())
        for a, b in zip(
            sure[order].split(count.tolist()), hit[order].split(count.tolist()), strict=True
        )
    ]
    return torch.stack([a for a, _ in pieces]), torch.stack([b for _, b in pieces]), count


def expected_calibration_error(
    confidence: torch.Tensor, accuracy: torch.Tensor, count: torch.Tensor
) -> float:
    """Return how far confidence and accuracy lie apart, on average over tokens."""
    keep = ~confidence.isnan()
    c, a, n = (x[keep].double() for x in (confidence, accuracy, count))
    return ((c - a).abs() @ n / n.sum()).item()


@dataclass
class Tally:
    """What has been seen of a text, token by token."""

    surprises: list[float] = field(default_factory=list)
    sure: list[float] = field(default_factory=list)
    hits: list[bool] = field(default_factory=list)

    @classmethod
    def of(cls, model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> "Tally":
        """Go through a text once."""
        tally = cls()
        with evaluating(model):
            for logits, targets in predictions(model, ids, block_size, stride):
                above = logits - logits.amax(1, keepdim=True)
                log_sums = above.exp().sum(1).log()
                tally.surprises += (log_sums - above.gather(1, targets[:, None])[:, 0]).tolist()
                tally.sure += softmax(logits).amax(1).tolist()
                tally.hits += (above.argmax(1) == targets).tolist()
        return tally

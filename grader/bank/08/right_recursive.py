"""Rows one after the other by recursion, and a search by a heap."""

import heapq
from collections.abc import Callable

import torch

from .bigram import softmax


def greedy(logits: torch.Tensor) -> torch.Tensor:
    """Choose the token with the largest logit; among equals, the one with the lowest id."""
    if logits.dim() == 1:
        best = 0
        for token in range(1, len(logits)):
            if logits[token] > logits[best]:
                best = token
        return torch.tensor(best, device=logits.device)
    return torch.stack([greedy(row) for row in logits])


def temperature(logits: torch.Tensor, t: float) -> torch.Tensor:
    """Make the choice bolder (t above 1, a flatter distribution) or more careful (t below 1)."""
    if t <= 0:
        raise ValueError("temperature must be above 0")
    if logits.dim() == 1:
        return torch.stack([logit / t for logit in logits])
    return torch.stack([temperature(row, t) for row in logits])


def top_k(logits: torch.Tensor, k: int) -> torch.Tensor:
    """Keep the k largest logits and refuse the others."""
    if k < 1:
        raise ValueError("top_k must be at least 1")
    if logits.dim() > 1:
        return torch.stack([top_k(row, k) for row in logits])
    larger = (logits > logits[:, None]).sum(dim=1)  # how many are larger than each
    return torch.where(larger < k, logits, -torch.inf)


def top_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Keep the smallest set of most probable tokens that together have at least probability p."""
    if not 0 < p <= 1:
        raise ValueError("top_p must be above 0 and at most 1")
    if logits.dim() > 1:
        return torch.stack([top_p(row, p) for row in logits])
    if p == 1:
        return logits.clone()
    probabilities = softmax(logits.double())
    left, total = probabilities.clone(), 0.0
    result = torch.full_like(logits, -torch.inf)
    while total < p and bool((left >= 0).any()):
        token = int(left.argmax())
        result[token] = logits[token]
        total += float(probabilities[token])
        left[token] = -1.0
    return result


def repetition_penalty(logits: torch.Tensor, ids: torch.Tensor, penalty: float) -> torch.Tensor:
    """Make every token that has occurred already less likely, once, however often it occurred."""
    if penalty <= 0:
        raise ValueError("repetition_penalty must be above 0")
    if logits.dim() != 2 or ids.dim() != 2 or len(ids) != len(logits):
        raise ValueError("logits must be (B, V) and ids (B, T)")
    rows = []
    for row, past in zip(logits, ids, strict=True):
        seen = torch.isin(torch.arange(len(row), device=row.device), past)
        factor = torch.where(row < 0, penalty, 1 / penalty)
        rows.append(row * torch.where(seen, factor, 1.0))
    return torch.stack(rows)


def min_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Refuse tokens whose probability is below p times that of the most probable token."""
    if not 0 <= p <= 1:
        raise ValueError("min_p must be between 0 and 1")
    if logits.dim() > 1:
        return torch.stack([min_p(row, p) for row in logits])
    probabilities = softmax(logits)
    low = probabilities < p * probabilities[greedy(logits)]
    result = logits.clone()
    result[low] = -torch.inf
    return result


# The settings of `sample` hide the functions of the same names inside it.

scale_by_temperature = temperature
keep_top_k = top_k
keep_top_p = top_p
keep_min_p = min_p
penalise_repetition = repetition_penalty


def sample(
    logits: torch.Tensor,
    ids: torch.Tensor | None = None,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Draw one token per row after reshaping the distribution as the settings say."""
    if repetition_penalty != 1.0:
        if ids is None:
            raise ValueError("a repetition_penalty needs ids")
        logits = penalise_repetition(logits, ids, repetition_penalty)
    logits = scale_by_temperature(logits, temperature)
    if top_k is not None:
        logits = keep_top_k(logits, top_k)
    if top_p is not None:
        logits = keep_top_p(logits, top_p)
    if min_p is not None:
        logits = keep_min_p(logits, min_p)

    weights = torch.exp(logits - logits.amax(dim=-1, keepdim=True))
    return torch.multinomial(weights, 1, generator=generator).flatten()


def beam_search(
    next_logits: Callable[[torch.Tensor], torch.Tensor],
    ids: torch.Tensor,
    n_beams: int,
    max_new_tokens: int,
    stop_token: int | None = None,
    length_penalty: float = 1.0,
) -> tuple[torch.Tensor, float]:
    """Search for the most probable continuation, keeping the n_beams best beginnings at each step."""
    if n_beams < 1 or max_new_tokens < 1:
        raise ValueError("n_beams and max_new_tokens must be at least 1")
    finished: list[tuple[float, torch.Tensor]] = []

    def go_on(beams: list[tuple[float, list[int]]], n: int) -> None:
        logits = next_logits(torch.tensor([text for _, text in beams], device=ids.device))
        log_p = torch.log_softmax(logits.double(), dim=-1).tolist()
        candidates = (
            (total + log_p[row][token], [*text, token])
            for row, (total, text) in enumerate(beams)
            for token in range(len(log_p[row]))
        )
        best = heapq.nlargest(2 * n_beams, candidates, key=lambda pair: pair[0])
        alive = [pair for pair in best if pair[1][-1] != stop_token]
        for total, text in best[:n_beams]:
            if n == max_new_tokens or text[-1] == stop_token:
                finished.append((total / n**length_penalty, torch.tensor(text, device=ids.device)))
        if n < max_new_tokens and alive:
            go_on(alive[:n_beams], n + 1)

    go_on([(0.0, ids.tolist())], 1)
    score, text = max(finished, key=lambda pair: pair[0])
    return text, score

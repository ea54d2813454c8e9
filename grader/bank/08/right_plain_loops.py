"""Lists and loops: one row, one token at a time."""

import math
from collections.abc import Callable

import torch

from .bigram import softmax


def shares_of(row: list[float]) -> list[float]:
    """Return the softmax of a list."""
    powers = [math.exp(logit - max(row)) for logit in row]
    return [power / sum(powers) for power in powers]


def for_each_row(logits: torch.Tensor, stays: Callable[[list[float]], list[bool]]) -> torch.Tensor:
    """Refuse, in each row, the tokens for which `stays` says False."""
    rows = logits.reshape(-1, logits.shape[-1])
    kept = [
        [logit if stay else -math.inf for logit, stay in zip(row, stays(row), strict=True)]
        for row in rows.tolist()
    ]
    return torch.tensor(kept, dtype=logits.dtype, device=logits.device).reshape(logits.shape)


def greedy(logits: torch.Tensor) -> torch.Tensor:
    """Choose the token with the largest logit; among equals, the one with the lowest id."""

    def best(row: list) -> int | list:
        if isinstance(row[0], list):
            return [best(part) for part in row]
        return row.index(max(row))

    return torch.tensor(best(logits.tolist()), dtype=torch.long, device=logits.device)


def temperature(logits: torch.Tensor, t: float) -> torch.Tensor:
    """Make the choice bolder (t above 1, a flatter distribution) or more careful (t below 1)."""
    if t <= 0:
        raise ValueError("use greedy for a temperature of 0")
    result = logits.clone()
    for row in result.view(-1, result.shape[-1]):
        for token in range(len(row)):
            row[token] = row[token] / t
    return result


def top_k(logits: torch.Tensor, k: int) -> torch.Tensor:
    """Keep the k largest logits and refuse the others."""
    if k < 1:
        raise ValueError("k must be at least 1")
    return for_each_row(logits, lambda row: [x >= sorted(row)[-min(k, len(row))] for x in row])


def top_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Keep the smallest set of most probable tokens that together have at least probability p."""
    if p <= 0 or p > 1:
        raise ValueError("p must be above 0 and at most 1")

    def stays(row: list[float]) -> list[bool]:
        shares = shares_of(row)
        order = sorted(range(len(row)), key=lambda token: (-shares[token], token))
        total, kept = 0.0, set()
        for token in order:
            if total < p or p == 1:
                kept.add(token)
            total += shares[token]
        return [token in kept for token in range(len(row))]

    return for_each_row(logits, stays)


def repetition_penalty(logits: torch.Tensor, ids: torch.Tensor, penalty: float) -> torch.Tensor:
    """Make every token that has occurred already less likely, once, however often it occurred."""
    if penalty <= 0:
        raise ValueError("the penalty must be above 0")
    if logits.ndim != 2 or ids.ndim != 2 or logits.shape[0] != ids.shape[0]:
        raise ValueError("one row of ids for each row of logits")
    result = logits.clone()
    for row in range(len(ids)):
        for token in set(ids[row].tolist()):
            if logits[row, token] > 0:
                result[row, token] = logits[row, token] / penalty
            else:
                result[row, token] = logits[row, token] * penalty
    return result


def min_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Refuse tokens whose probability is below p times that of the most probable token."""
    if p < 0 or p > 1:
        raise ValueError("p must be between 0 and 1")

    def stays(row: list[float]) -> list[bool]:
        shares = shares_of(row)
        return [share >= p * max(shares) for share in shares]

    return for_each_row(logits, stays)


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

    chosen = []
    for row in softmax(logits):
        chosen.append(int(torch.multinomial(row, 1, generator=generator)))
    return torch.tensor(chosen, device=logits.device)


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
        raise ValueError("at least one beam and one new token")
    prompt = ids.tolist()
    beams: list[tuple[float, list[int]]] = [(0.0, [])]
    finished: list[tuple[float, list[int]]] = []
    for n in range(1, max_new_tokens + 1):
        candidates = []
        for total, new in beams:
            logits = next_logits(torch.tensor([prompt + new], device=ids.device))[0]
            for token, log_p in enumerate(torch.log_softmax(logits.double(), -1).tolist()):
                candidates.append((total + log_p, [*new, token]))
        candidates.sort(key=lambda pair: -pair[0])
        for total, new in candidates[:n_beams]:
            if new[-1] == stop_token or n == max_new_tokens:
                finished.append((total / n**length_penalty, new))
        beams = [pair for pair in candidates if pair[1][-1] != stop_token][:n_beams]
    score, new = max(finished, key=lambda pair: pair[0])
    return torch.tensor(prompt + new, device=ids.device), score

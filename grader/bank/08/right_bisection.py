"""Bars found by counting, and draws by the borders of the shares."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import accumulate

import torch

from .bigram import softmax


def greedy(logits: torch.Tensor) -> torch.Tensor:
    """Choose the token with the largest logit; among equals, the one with the lowest id."""
    ids = torch.arange(logits.shape[-1], device=logits.device)
    best = logits == logits.max(-1, keepdim=True).values
    return torch.where(best, ids, logits.shape[-1]).min(-1).values


def temperature(logits: torch.Tensor, t: float) -> torch.Tensor:
    """Make the choice bolder (t above 1, a flatter distribution) or more careful (t below 1)."""
    if t == 0 or t < 0:
        raise ValueError("temperature must be above 0")
    return logits.clone().div_(t)


def top_k(logits: torch.Tensor, k: int) -> torch.Tensor:
    """Keep the k largest logits and refuse the others."""
    if k < 1:
        raise ValueError("top_k must be at least 1")
    result = logits.clone()
    rows = result.view(-1, logits.shape[-1])
    for row in rows:
        values = sorted(row.tolist(), reverse=True)
        bar = values[k - 1] if k <= len(values) else -torch.inf
        row[row < bar] = -torch.inf
    return result


def top_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Keep the smallest set of most probable tokens that together have at least probability p."""
    if not 0 < p <= 1:
        raise ValueError("top_p must be above 0 and at most 1")
    result = logits.clone()
    if p == 1:
        return result
    for row in result.view(-1, logits.shape[-1]):
        shares = softmax(row).tolist()
        order = sorted(range(len(shares)), key=shares.__getitem__, reverse=True)
        totals = list(accumulate(shares[token] for token in order))
        row[order[bisect_left(totals, p) + 1 :]] = -torch.inf
    return result


def repetition_penalty(logits: torch.Tensor, ids: torch.Tensor, penalty: float) -> torch.Tensor:
    """Make every token that has occurred already less likely, once, however often it occurred."""
    if penalty <= 0:
        raise ValueError("repetition_penalty must be above 0")
    if logits.dim() != 2 or ids.dim() != 2 or len(ids) != len(logits):
        raise ValueError("logits must be (B, V) and ids (B, T)")
    vocabulary = torch.arange(logits.shape[1], device=logits.device)
    seen = (ids[:, :, None] == vocabulary).any(dim=1)  # (B, V)
    result = logits.clone()
    result[seen & (logits > 0)] /= penalty
    result[seen & (logits < 0)] *= penalty
    return result


def min_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Refuse tokens whose probability is below p times that of the most probable token."""
    if not 0 <= p <= 1:
        raise ValueError("min_p must be between 0 and 1")
    powers = torch.exp(logits - logits.max(-1, keepdim=True).values)
    probabilities = powers / powers.sum(-1, keepdim=True)
    best = probabilities.max(-1, keepdim=True).values
    return torch.where(probabilities / best < p, -torch.inf, logits)


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
    for shares in softmax(logits.double()).tolist():
        borders = list(accumulate(shares))
        chance = float(torch.rand((), generator=generator, dtype=torch.float64)) * borders[-1]
        chosen.append(bisect_right(borders, chance))
    return torch.tensor(chosen, dtype=torch.long, device=logits.device)


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
    beams = ids.unsqueeze(0)
    totals = torch.zeros(1)
    finished = []
    for n in range(max_new_tokens):
        log_p = softmax(next_logits(beams)).log()
        # at most 2 * n_beams of each beam can be among the best
        own = log_p.topk(min(2 * n_beams, log_p.shape[1]), dim=1)
        rows = torch.arange(len(beams)).repeat_interleave(own.values.shape[1])
        values, order = (totals[:, None] + own.values).flatten().sort(descending=True)
        values, order = values[: 2 * n_beams], order[: 2 * n_beams]
        tokens = own.indices.flatten()[order]
        texts = torch.cat([beams[rows[order]], tokens.view(-1, 1)], dim=1)
        is_stop = torch.tensor([int(token) == stop_token for token in tokens])
        noted = torch.ones(n_beams, dtype=torch.bool)[: len(texts)]
        if n + 1 < max_new_tokens:
            noted = is_stop[:n_beams]
        for place in noted.nonzero()[:, 0]:
            finished.append((float(values[place]) / (n + 1) ** length_penalty, texts[place]))
        beams, totals = texts[~is_stop][:n_beams], values[~is_stop][:n_beams]
        if len(beams) == 0:
            break
    best = max(finished, key=lambda entry: entry[0])
    return best[1], best[0]

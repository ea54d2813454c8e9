"""Copies that are written into, with indices instead of masks."""

from collections.abc import Callable

import torch

from .bigram import softmax


def no_ties(logits: torch.Tensor) -> bool:
    """Say whether every row has exactly one largest logit."""
    return bool(((logits == logits.amax(-1, keepdim=True)).sum(-1) == 1).all())


def greedy(logits: torch.Tensor) -> torch.Tensor:
    """Choose the token with the largest logit; among equals, the one with the lowest id."""
    return logits.topk(1, dim=-1).indices.squeeze(-1) if no_ties(logits) else logits.argmax(-1)


def temperature(logits: torch.Tensor, t: float) -> torch.Tensor:
    """Make the choice bolder (t above 1, a flatter distribution) or more careful (t below 1)."""
    if t <= 0:
        raise ValueError("temperature must be above 0")
    result = logits.detach().clone()
    result /= t
    return result


def top_k(logits: torch.Tensor, k: int) -> torch.Tensor:
    """Keep the k largest logits and refuse the others."""
    if k < 1:
        raise ValueError("top_k must be at least 1")
    result = logits.clone()
    k = min(k, result.shape[-1])
    kth = result.topk(k).values.select(-1, k - 1).unsqueeze(-1)
    return result.masked_fill_(result < kth, -torch.inf)


def top_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Keep the smallest set of most probable tokens that together have at least probability p."""
    if p > 1 or p <= 0:
        raise ValueError("top_p must be above 0 and at most 1")
    result = logits.clone()
    flat = result.view(-1, result.shape[-1])
    if p == 1:
        return result
    for row in flat:
        order = row.argsort(descending=True, stable=True)
        totals = softmax(row[order].double()).cumsum(0)
        n_kept = int(torch.searchsorted(totals, torch.tensor(p, dtype=torch.float64))) + 1
        row[order[n_kept:]] = -torch.inf
    return result


def repetition_penalty(logits: torch.Tensor, ids: torch.Tensor, penalty: float) -> torch.Tensor:
    """Make every token that has occurred already less likely, once, however often it occurred."""
    if not penalty > 0:
        raise ValueError("repetition_penalty must be above 0")
    if logits.dim() != 2 or ids.dim() != 2 or len(ids) != len(logits):
        raise ValueError("logits must be (B, V) and ids (B, T)")
    result = logits.clone()
    for row, past in enumerate(ids):
        tokens = past.unique()
        values = result[row, tokens]
        values[values > 0] /= penalty
        values[values < 0] *= penalty
        result[row, tokens] = values
    return result


def min_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Refuse tokens whose probability is below p times that of the most probable token."""
    if p < 0 or p > 1:
        raise ValueError("min_p must be between 0 and 1")
    result = logits.clone()
    ratios = torch.exp(logits - logits.amax(-1, keepdim=True))  # to the best of the row
    result[ratios < p] = -torch.inf
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
    result = logits.clone()
    if repetition_penalty != 1.0:
        if ids is None:
            raise ValueError("a repetition_penalty needs ids")
        result = penalise_repetition(result, ids, repetition_penalty)
    result = scale_by_temperature(result, temperature)
    settings = {"k": top_k, "p": top_p, "m": min_p}
    keep = {"k": keep_top_k, "p": keep_top_p, "m": keep_min_p}
    for name, setting in settings.items():
        if setting is not None:
            result[:] = keep[name](result, setting)
    distribution = softmax(result)
    # whose exponential clock rings first? (a race with these rates is a draw)
    rings = torch.empty_like(distribution, dtype=torch.float64).exponential_(generator=generator)
    return (rings / distribution).argmin(dim=-1)


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
    start = len(ids)
    texts = torch.zeros(1, start + max_new_tokens, dtype=ids.dtype, device=ids.device)
    texts[0, :start] = ids
    totals = torch.zeros(1, device=ids.device)
    best_score, best = -torch.inf, ids
    for end in range(start, start + max_new_tokens):
        scores = torch.log_softmax(next_logits(texts[:, :end]), -1)
        scores += totals[:, None]
        flat = scores.flatten().argsort(descending=True)[: 2 * n_beams]
        rows = flat // scores.shape[-1]
        texts, totals = texts[rows].clone(), scores.flatten()[flat]
        texts[:, end] = flat - rows * scores.shape[-1]
        alive = []
        for i in range(len(texts)):
            stops = stop_token is not None and bool(texts[i, end] == stop_token)
            last = end == start + max_new_tokens - 1
            score = totals[i].item() / (end + 1 - start) ** length_penalty
            if i < n_beams and (stops or last) and score > best_score:
                best_score, best = score, texts[i, : end + 1].clone()
            if not stops:
                alive.append(i)
        if not alive:
            break
        texts, totals = texts[alive[:n_beams]], totals[alive[:n_beams]]
    return best, best_score

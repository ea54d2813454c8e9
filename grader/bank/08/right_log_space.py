"""Everything in logarithms: bars instead of probabilities."""

import math
from collections.abc import Callable

import torch


def greedy(logits: torch.Tensor) -> torch.Tensor:
    """Choose the token with the largest logit; among equals, the one with the lowest id."""
    best = logits.amax(dim=-1, keepdim=True)
    return (logits == best).to(torch.uint8).argmax(dim=-1)


def temperature(logits: torch.Tensor, t: float) -> torch.Tensor:
    """Make the choice bolder (t above 1, a flatter distribution) or more careful (t below 1)."""
    if t <= 0:
        raise ValueError("temperature must be above 0")
    return torch.div(logits, t)


def top_k(logits: torch.Tensor, k: int) -> torch.Tensor:
    """Keep the k largest logits and refuse the others."""
    if k < 1:
        raise ValueError("top_k must be at least 1")
    if k >= logits.shape[-1]:
        return logits.clone()
    bar = logits.sort(dim=-1, descending=True).values[..., k - 1, None]
    result = logits.clone()
    result[result < bar] = -torch.inf
    return result


def top_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Keep the smallest set of most probable tokens that together have at least probability p."""
    if not (p > 0 and p <= 1):
        raise ValueError("top_p must be above 0 and at most 1")
    result = logits.clone()
    if p < 1:
        order = torch.argsort(result, dim=-1, descending=True, stable=True)
        log_p = torch.log_softmax(result.double(), dim=-1).gather(-1, order)
        totals = torch.logcumsumexp(log_p, dim=-1)
        tail = torch.ones_like(totals, dtype=torch.bool)
        tail[..., 0] = False
        tail[..., 1:] = totals[..., :-1].exp() >= p - 1e-9
        place = order.argsort(dim=-1)
        result[tail.gather(-1, place)] = -torch.inf
    return result


def repetition_penalty(logits: torch.Tensor, ids: torch.Tensor, penalty: float) -> torch.Tensor:
    """Make every token that has occurred already less likely, once, however often it occurred."""
    if not penalty > 0:
        raise ValueError("repetition_penalty must be above 0")
    if logits.ndim != 2 or ids.ndim != 2 or len(logits) != len(ids):
        raise ValueError("logits must be (B, V) and ids (B, T)")
    result = logits.clone()
    rows = torch.arange(len(ids), device=ids.device).unsqueeze(1)
    old = logits[rows, ids]
    result[rows, ids] = torch.maximum(old, old.new_zeros(())) / penalty + (
        torch.minimum(old, old.new_zeros(())) * penalty
    )
    return result


def min_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Refuse tokens whose probability is below p times that of the most probable token."""
    if not 0.0 <= p <= 1.0:
        raise ValueError("min_p must be between 0 and 1")
    if p == 0:
        return logits.clone()
    bar = logits.amax(dim=-1, keepdim=True) + math.log(p)
    return logits.masked_fill(logits < bar, -torch.inf)


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
            raise ValueError("no ids to penalise")
        logits = penalise_repetition(logits, ids, repetition_penalty)
    logits = scale_by_temperature(logits, temperature)
    logits = logits if top_k is None else keep_top_k(logits, top_k)
    logits = logits if top_p is None else keep_top_p(logits, top_p)
    logits = logits if min_p is None else keep_min_p(logits, min_p)
    # the largest of logit + Gumbel noise is a draw from the softmax
    chances = torch.rand(logits.shape, generator=generator, dtype=torch.float64)
    return (logits - torch.log(-torch.log(chances))).argmax(dim=-1)


def beam_search(
    next_logits: Callable[[torch.Tensor], torch.Tensor],
    ids: torch.Tensor,
    n_beams: int,
    max_new_tokens: int,
    stop_token: int | None = None,
    length_penalty: float = 1.0,
) -> tuple[torch.Tensor, float]:
    """Search for the most probable continuation, keeping the n_beams best beginnings at each step."""
    if n_beams < 1:
        raise ValueError("n_beams must be at least 1")
    if max_new_tokens < 1:
        raise ValueError("max_new_tokens must be at least 1")
    alive, totals = ids[None], ids.new_zeros(1).double()
    best: tuple[float, torch.Tensor] | None = None
    for n in range(1, max_new_tokens + 1):
        logits = next_logits(alive).double()
        scores = totals[:, None] + logits - logits.logsumexp(-1, keepdim=True)
        values, flat = scores.flatten().sort(descending=True, stable=True)
        values, flat = values[: 2 * n_beams], flat[: 2 * n_beams]
        beam = torch.div(flat, scores.shape[1], rounding_mode="floor")
        token = flat.remainder(scores.shape[1])
        texts = torch.hstack([alive[beam], token[:, None]])
        goes_on = torch.full_like(token, True, dtype=torch.bool)
        if stop_token is not None:
            goes_on = token.ne(stop_token)
        for i in range(min(n_beams, len(texts))):
            if n == max_new_tokens or not goes_on[i]:
                score = float(values[i]) * n ** (-length_penalty)
                if best is None or score > best[0]:
                    best = score, texts[i]
        alive, totals = texts[goes_on][:n_beams], values[goes_on][:n_beams]
        if alive.shape[0] == 0:
            break
    assert best is not None
    return best[1], best[0]

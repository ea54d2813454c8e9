"""Sorted upwards, as the transformers library does it: what is refused is the tail."""

from collections.abc import Callable

import torch

from .bigram import softmax


def greedy(logits: torch.Tensor) -> torch.Tensor:
    """Choose the token with the largest logit; among equals, the one with the lowest id."""
    return torch.max(logits, dim=-1).indices


def temperature(logits: torch.Tensor, t: float) -> torch.Tensor:
    """Make the choice bolder (t above 1, a flatter distribution) or more careful (t below 1)."""
    if t > 0:
        return logits * (1.0 / t)
    raise ValueError(f"{t} is no temperature; greedy is the limit at 0")


def top_k(logits: torch.Tensor, k: int) -> torch.Tensor:
    """Keep the k largest logits and refuse the others."""
    if k < 1:
        raise ValueError("top_k must be at least 1")
    size = logits.size(-1)
    bar = torch.kthvalue(logits, max(size - k + 1, 1), dim=-1, keepdim=True).values
    return torch.where(logits < bar, torch.full_like(logits, -torch.inf), logits)


def top_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Keep the smallest set of most probable tokens that together have at least probability p."""
    if not 0 < p <= 1:
        raise ValueError("top_p must be above 0 and at most 1")
    if p == 1:
        return logits + 0.0
    # turned around first, so that among equals the higher ids stand nearer to the tail
    upwards, order = logits.flip(-1).sort(dim=-1, stable=True)
    up_to = softmax(upwards.double()).cumsum(-1)
    refused = up_to <= 1 - p + 1e-12
    refused[..., -1] = False
    back = torch.empty_like(refused).scatter_(-1, order, refused).flip(-1)
    return logits.masked_fill(back, -torch.inf)


def repetition_penalty(logits: torch.Tensor, ids: torch.Tensor, penalty: float) -> torch.Tensor:
    """Make every token that has occurred already less likely, once, however often it occurred."""
    if penalty <= 0:
        raise ValueError("repetition_penalty must be above 0")
    if logits.dim() != 2 or ids.dim() != 2 or logits.size(0) != ids.size(0):
        raise ValueError("logits must be (B, V) and ids (B, T)")
    seen = torch.zeros_like(logits, dtype=torch.bool).scatter(1, ids, True)
    smaller = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(seen, smaller, logits)


def min_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Refuse tokens whose probability is below p times that of the most probable token."""
    if p < 0 or p > 1:
        raise ValueError("min_p must be between 0 and 1")
    probabilities = softmax(logits)
    best, _ = probabilities.max(dim=-1, keepdim=True)
    return torch.where(probabilities >= best * p, logits, -torch.inf)


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
    if repetition_penalty != 1 and ids is None:
        raise ValueError("a repetition penalty needs ids")
    shaped = logits if ids is None else penalise_repetition(logits, ids, repetition_penalty)
    shaped = scale_by_temperature(shaped, temperature)
    filters = [(keep_top_k, top_k), (keep_top_p, top_p), (keep_min_p, min_p)]
    for keep, setting in filters:
        shaped = shaped if setting is None else keep(shaped, setting)
    return torch.multinomial(softmax(shaped), 1, generator=generator)[:, 0]


def beam_search(
    next_logits: Callable[[torch.Tensor], torch.Tensor],
    ids: torch.Tensor,
    n_beams: int,
    max_new_tokens: int,
    stop_token: int | None = None,
    length_penalty: float = 1.0,
) -> tuple[torch.Tensor, float]:
    """Search for the most probable continuation, keeping the n_beams best beginnings at each step."""
    if n_beams <= 0 or max_new_tokens <= 0:
        raise ValueError("nothing to do")
    done: dict[float, torch.Tensor] = {}
    alive = [(0.0, ids)]
    for n in range(1, max_new_tokens + 1):
        log_p = next_logits(torch.stack([text for _, text in alive])).log_softmax(-1)
        grown = []
        for (total, text), row in zip(alive, log_p, strict=True):
            for token in range(len(row)):
                longer = torch.cat([text, torch.tensor([token], device=ids.device)])
                grown.append((total + row[token].item(), longer))
        grown = sorted(grown, key=lambda pair: pair[0], reverse=True)[: 2 * n_beams]
        alive = []
        for place, (total, text) in enumerate(grown):
            stops = stop_token is not None and int(text[-1]) == stop_token
            if place < n_beams and (stops or n == max_new_tokens):
                done.setdefault(total / n**length_penalty, text)
            if not stops and len(alive) < n_beams:
                alive.append((total, text))
        if not alive:
            break
    return done[max(done)], max(done)

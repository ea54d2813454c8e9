"""As few lines as possible, with torch's own softmax."""

from collections.abc import Callable
from math import inf

import torch


def greedy(logits: torch.Tensor) -> torch.Tensor:
    """Choose the token with the largest logit; among equals, the one with the lowest id."""
    return torch.argmax(logits, -1)


def temperature(logits: torch.Tensor, t: float) -> torch.Tensor:
    """Make the choice bolder (t above 1, a flatter distribution) or more careful (t below 1)."""
    if t <= 0:
        raise ValueError(t)
    return logits / t


def top_k(logits: torch.Tensor, k: int) -> torch.Tensor:
    """Keep the k largest logits and refuse the others."""
    if k < 1:
        raise ValueError(k)
    return logits.masked_fill(logits < logits.topk(min(k, logits.size(-1)))[0][..., [-1]], -inf)


def top_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Keep the smallest set of most probable tokens that together have at least probability p."""
    if p <= 0 or p > 1:
        raise ValueError(p)
    order = logits.argsort(dim=-1, descending=True, stable=True)
    shares = logits.softmax(-1).gather(-1, order)
    late = (shares.cumsum(-1).roll(1, -1) >= p) & (p < 1)
    late[..., 0] = False
    return logits.masked_fill(late.gather(-1, order.argsort(-1)), -inf)


def repetition_penalty(logits: torch.Tensor, ids: torch.Tensor, penalty: float) -> torch.Tensor:
    """Make every token that has occurred already less likely, once, however often it occurred."""
    if penalty <= 0 or [logits.dim(), ids.dim()] != [2, 2] or len(logits) != len(ids):
        raise ValueError(penalty)
    old = logits.gather(1, ids)
    return (
        logits.scatter(1, ids, torch.minimum(old / penalty, old * penalty))
        if (penalty >= 1)
        else logits.scatter(1, ids, torch.maximum(old / penalty, old * penalty))
    )


def min_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Refuse tokens whose probability is below p times that of the most probable token."""
    if p < 0 or p > 1:
        raise ValueError(p)
    shares = logits.softmax(-1)
    return logits.where(shares >= p * shares.max(-1, keepdim=True)[0], -inf)


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
    if repetition_penalty != 1.0 and ids is None:
        raise ValueError("ids")
    x = logits if ids is None else penalise_repetition(logits, ids, repetition_penalty)
    x = scale_by_temperature(x, temperature)
    x = keep_top_k(x, x.shape[-1] if top_k is None else top_k)
    x = keep_top_p(x, 1.0 if top_p is None else top_p)
    x = keep_min_p(x, 0.0 if min_p is None else min_p)
    return x.softmax(-1).multinomial(1, generator=generator)[:, 0]


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
        raise ValueError(n_beams, max_new_tokens)
    beams, done = [(0.0, ids)], []
    for n in range(1, max_new_tokens + 1):
        grown = []
        for total, text in beams:
            row = next_logits(text[None])[0].log_softmax(-1)
            grown += [(total + float(x), text, token) for token, x in enumerate(row)]
        grown.sort(key=lambda entry: entry[0], reverse=True)
        texts = [(total, torch.cat([text, ids.new_tensor([t])]), t) for total, text, t in grown]
        last = n == max_new_tokens
        done += [
            (s / n**length_penalty, x) for s, x, t in texts[:n_beams] if last or t == stop_token
        ]
        beams = [(total, text) for total, text, t in texts if t != stop_token][:n_beams]
    score, text = max(done, key=lambda entry: entry[0])
    return text, score

"""Each filter written for one row, and mapped over the others."""

from collections.abc import Callable
from functools import reduce

import torch

from .bigram import softmax


def over_rows(
    function: Callable[[torch.Tensor], torch.Tensor], logits: torch.Tensor
) -> torch.Tensor:
    """Apply a function of one row to all rows."""
    if logits.dim() == 1:
        return function(logits)
    results = torch.stack([function(row) for row in logits.flatten(end_dim=-2)])
    return results.unflatten(0, logits.shape[:-1])


def greedy(logits: torch.Tensor) -> torch.Tensor:
    """Choose the token with the largest logit; among equals, the one with the lowest id."""
    return over_rows(lambda row: row.argmax(), logits)


def temperature(logits: torch.Tensor, t: float) -> torch.Tensor:
    """Make the choice bolder (t above 1, a flatter distribution) or more careful (t below 1)."""
    if not t > 0:
        raise ValueError("temperature must be above 0; for 0 there is greedy")
    return over_rows(lambda row: row / t, logits)


def top_k(logits: torch.Tensor, k: int) -> torch.Tensor:
    """Keep the k largest logits and refuse the others."""
    if k < 1:
        raise ValueError("top_k must be at least 1")
    if k >= logits.size(-1):
        return logits.clone()
    return over_rows(lambda row: row.where(row >= row.topk(k)[0][-1], -torch.inf), logits)


def top_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Keep the smallest set of most probable tokens that together have at least probability p."""
    if not 0 < p <= 1:
        raise ValueError("top_p must be above 0 and at most 1")

    def nucleus(row: torch.Tensor) -> torch.Tensor:
        shares = softmax(row)
        order = shares.sort(descending=True, stable=True).indices
        totals = shares[order].cumsum(0)
        n_kept = int((totals < p).sum()) + 1
        kept = order[: len(row) if p == 1 else n_kept]
        return torch.full_like(row, -torch.inf).index_copy(0, kept, row[kept])

    return over_rows(nucleus, logits)


def repetition_penalty(logits: torch.Tensor, ids: torch.Tensor, penalty: float) -> torch.Tensor:
    """Make every token that has occurred already less likely, once, however often it occurred."""
    if not penalty > 0:
        raise ValueError("repetition_penalty must be above 0")
    if logits.dim() != 2 or ids.dim() != 2 or logits.shape[:1] != ids.shape[:1]:
        raise ValueError("logits must be (B, V) and ids (B, T)")

    def penalised(row: torch.Tensor, past: torch.Tensor) -> torch.Tensor:
        new = row[past].clone()
        new = torch.where(new >= 0, new.div(penalty), new.mul(penalty))
        return row.index_put((past,), new)

    return torch.stack([penalised(row, past) for row, past in zip(logits, ids, strict=True)])


def min_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Refuse tokens whose probability is below p times that of the most probable token."""
    if not (p >= 0 and p <= 1):
        raise ValueError("min_p must be between 0 and 1")

    def above(row: torch.Tensor) -> torch.Tensor:
        shares = softmax(row)
        return row.masked_fill(shares < p * shares.max(), -torch.inf)

    return over_rows(above, logits)


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
    if ids is None and repetition_penalty != 1.0:
        raise ValueError("a repetition_penalty needs ids")
    links: list[Callable[[torch.Tensor], torch.Tensor]] = []
    if repetition_penalty != 1.0 and ids is not None:
        links.append(lambda x: penalise_repetition(x, ids, repetition_penalty))
    links.append(lambda x: scale_by_temperature(x, temperature))
    if top_k is not None:
        links.append(lambda x: keep_top_k(x, top_k))
    if top_p is not None:
        links.append(lambda x: keep_top_p(x, top_p))
    if min_p is not None:
        links.append(lambda x: keep_min_p(x, min_p))
    shaped = reduce(lambda x, link: link(x), links, logits)
    return torch.multinomial(softmax(shaped), 1, True, generator=generator).view(-1)


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
    beams, totals = ids.repeat(n_beams, 1), torch.full((n_beams,), -torch.inf)
    totals[0] = 0.0  # n_beams times the prompt: only the first copy counts
    finished = []
    for n in range(1, max_new_tokens + 1):
        log_p = torch.log_softmax(next_logits(beams), -1)
        scores = (totals.unsqueeze(-1) + log_p).view(-1)
        values, flat = scores.topk(min(2 * n_beams, len(scores)))
        texts = torch.column_stack([beams[flat // log_p.shape[-1]], flat % log_p.shape[-1]])
        going_on = torch.ones(len(texts), dtype=torch.bool)
        for i, (value, text) in enumerate(zip(values.tolist(), texts, strict=True)):
            stopped = stop_token is not None and int(text[-1]) == stop_token
            going_on[i] = not stopped
            if i < n_beams and (stopped or n == max_new_tokens):
                finished.append((value / n**length_penalty, i, n, text))
        if not going_on.any():
            break
        beams, totals = texts[going_on][:n_beams], values[going_on][:n_beams]
    best = max(finished, key=lambda found: found[0])
    return best[3], best[0]

"""Everything in float64, and back at the end."""

from collections.abc import Callable

import torch

from .bigram import softmax


def greedy(logits: torch.Tensor) -> torch.Tensor:
    """Choose the token with the largest logit; among equals, the one with the lowest id."""
    return logits.double().argmax(-1)


def temperature(logits: torch.Tensor, t: float) -> torch.Tensor:
    """Make the choice bolder (t above 1, a flatter distribution) or more careful (t below 1)."""
    if not t > 0:
        raise ValueError("temperature must be above 0")
    return logits.double().div(float(t)).to(logits.dtype)


def top_k(logits: torch.Tensor, k: int) -> torch.Tensor:
    """Keep the k largest logits and refuse the others."""
    if not k >= 1:
        raise ValueError("top_k must be at least 1")
    kth = logits.double().topk(min(k, logits.shape[-1]), dim=-1).values.amin(-1, keepdim=True)
    return torch.where(logits.double() >= kth, logits, float("-inf"))


def top_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Keep the smallest set of most probable tokens that together have at least probability p."""
    if not 0 < p <= 1:
        raise ValueError("top_p must be above 0 and at most 1")
    if p == 1:
        return logits.clone()
    probabilities = softmax(logits.double())
    in_order, order = probabilities.sort(dim=-1, descending=True, stable=True)
    n_kept = ((in_order.cumsum(dim=-1) - in_order) < p).sum(dim=-1, keepdim=True)
    rank = order.argsort(dim=-1)
    return logits.masked_fill(rank >= n_kept, float("-inf"))


def repetition_penalty(logits: torch.Tensor, ids: torch.Tensor, penalty: float) -> torch.Tensor:
    """Make every token that has occurred already less likely, once, however often it occurred."""
    if penalty <= 0:
        raise ValueError("repetition_penalty must be above 0")
    if logits.dim() != 2 or ids.dim() != 2:
        raise ValueError("logits must be (B, V) and ids (B, T)")
    if ids.shape[0] != logits.shape[0]:
        raise ValueError("as many rows of ids as of logits")
    wide = logits.double()
    seen = wide.gather(1, ids)
    factor = torch.full_like(seen, 1 / penalty).masked_fill(seen < 0, penalty)
    return wide.scatter(1, ids, seen * factor).to(logits.dtype)


def min_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Refuse tokens whose probability is below p times that of the most probable token."""
    if p > 1 or p < 0:
        raise ValueError("min_p must be between 0 and 1")
    probabilities = softmax(logits.double())
    refused = probabilities / probabilities.amax(-1, keepdim=True) < p
    return logits.masked_fill(refused, float("-inf"))


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

    ends = softmax(logits.double()).cumsum(dim=-1)
    chances = torch.rand(
        len(logits), 1, generator=generator, dtype=torch.float64, device=logits.device
    )
    return torch.searchsorted(ends, chances * ends[:, -1:], right=True).squeeze(1)


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
    beams, totals = ids.view(1, -1), torch.zeros(1, dtype=torch.float64, device=ids.device)
    texts_found, scores_found = [], []
    for n in range(1, max_new_tokens + 1):
        log_p = softmax(next_logits(beams).double()).log()
        candidates = (totals[:, None] + log_p).flatten()
        values, flat = candidates.topk(min(2 * n_beams, len(candidates)))
        texts = torch.cat([beams[flat // log_p.shape[1]], flat[:, None] % log_p.shape[1]], dim=1)
        stopped = texts[:, -1] == (-1 if stop_token is None else stop_token)
        for i, text in enumerate(texts[:n_beams]):
            if stopped[i] or n == max_new_tokens:
                texts_found.append(text)
                scores_found.append(values[i] / n**length_penalty)
        beams, totals = texts[~stopped][:n_beams], values[~stopped][:n_beams]
        if not len(beams):
            break
    best = int(torch.stack(scores_found).argmax())
    return texts_found[best], float(scores_found[best])

"""NumPy inside, and back at the end."""

from collections.abc import Callable

import numpy as np
import torch


def probabilities_of(values: np.ndarray) -> np.ndarray:
    """Return the softmax along the last axis, in float64."""
    powers = np.exp(values.astype(np.float64) - values.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def greedy(logits: torch.Tensor) -> torch.Tensor:
    """Choose the token with the largest logit; among equals, the one with the lowest id."""
    return torch.from_numpy(np.asarray(np.argmax(logits.numpy(force=True), axis=-1)))


def temperature(logits: torch.Tensor, t: float) -> torch.Tensor:
    """Make the choice bolder (t above 1, a flatter distribution) or more careful (t below 1)."""
    if not t > 0:
        raise ValueError("temperature must be above 0; use greedy for 0")
    return torch.from_numpy(np.divide(logits.numpy(force=True), np.float32(t)))


def top_k(logits: torch.Tensor, k: int) -> torch.Tensor:
    """Keep the k largest logits and refuse the others."""
    if k <= 0:
        raise ValueError("top_k must be at least 1")
    values = logits.numpy(force=True)
    place = max(values.shape[-1] - k, 0)
    bar = np.sort(values, axis=-1)[..., place : place + 1]
    return torch.from_numpy(np.where(values >= bar, values, np.float32(-np.inf)))


def top_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Keep the smallest set of most probable tokens that together have at least probability p."""
    if p <= 0 or p > 1:
        raise ValueError("top_p must be above 0 and at most 1")
    values = logits.numpy(force=True)
    shares = probabilities_of(values)
    order = np.argsort(-shares, axis=-1, kind="stable")
    in_order = np.take_along_axis(shares, order, axis=-1)
    before = np.concatenate(
        [np.zeros_like(in_order[..., :1]), in_order.cumsum(axis=-1)[..., :-1]], axis=-1
    )
    kept = np.empty(values.shape, dtype=bool)
    np.put_along_axis(kept, order, (before < p) | (p == 1), axis=-1)
    return torch.from_numpy(np.where(kept, values, np.float32(-np.inf)))


def repetition_penalty(logits: torch.Tensor, ids: torch.Tensor, penalty: float) -> torch.Tensor:
    """Make every token that has occurred already less likely, once, however often it occurred."""
    if penalty <= 0:
        raise ValueError("the penalty must be above 0")
    if logits.dim() != 2 or ids.dim() != 2 or ids.shape[0] != logits.shape[0]:
        raise ValueError("logits (B, V) and ids (B, T)")
    values = logits.numpy(force=True).copy()
    for row, past in zip(values, ids.numpy(force=True), strict=True):
        unique = np.unique(past)
        row[unique] *= np.where(row[unique] < 0, penalty, 1 / penalty).astype(row.dtype)
    return torch.from_numpy(values)


def min_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Refuse tokens whose probability is below p times that of the most probable token."""
    if p < 0 or p > 1:
        raise ValueError("min_p must be between 0 and 1")
    values = logits.numpy(force=True)
    shares = probabilities_of(values)
    low = shares < p * shares.max(axis=-1, keepdims=True)
    return torch.from_numpy(np.where(low, np.float32(-np.inf), values))


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

    ends = probabilities_of(logits.numpy(force=True)).cumsum(axis=-1)
    chances = torch.rand(len(logits), 1, generator=generator, dtype=torch.float64).numpy()
    return torch.from_numpy((ends <= chances * ends[:, -1:]).sum(axis=-1))


def beam_search(
    next_logits: Callable[[torch.Tensor], torch.Tensor],
    ids: torch.Tensor,
    n_beams: int,
    max_new_tokens: int,
    stop_token: int | None = None,
    length_penalty: float = 1.0,
) -> tuple[torch.Tensor, float]:
    """Search for the most probable continuation, keeping the n_beams best beginnings at each step."""
    if min(n_beams, max_new_tokens) < 1:
        raise ValueError("at least one beam and one new token")
    texts, totals = ids.numpy(force=True)[None], np.zeros(1)
    best_score, best_text = -np.inf, None
    for n in range(1, max_new_tokens + 1):
        logits = next_logits(torch.from_numpy(texts)).numpy(force=True)
        with np.errstate(divide="ignore"):
            candidates = totals[:, None] + np.log(probabilities_of(logits))
        order = np.argsort(-candidates, axis=None, kind="stable")[: 2 * n_beams]
        rows, tokens = np.unravel_index(order, candidates.shape)
        new_texts = np.concatenate([texts[rows], tokens[:, None]], axis=1)
        new_totals = candidates[rows, tokens]
        stopped = tokens == stop_token if stop_token is not None else np.zeros(len(rows), bool)
        for i in range(min(n_beams, len(order))):
            score = new_totals[i] / n**length_penalty
            if (stopped[i] or n == max_new_tokens) and (best_text is None or score > best_score):
                best_score, best_text = score, new_texts[i]
        texts, totals = new_texts[~stopped][:n_beams], new_totals[~stopped][:n_beams]
        if not len(texts):
            break
    assert best_text is not None
    return torch.from_numpy(best_text), float(best_score)

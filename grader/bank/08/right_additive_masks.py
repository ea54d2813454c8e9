"""Additive masks, comparisons of all with all, and one-hot rows."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from .bigram import softmax


def greedy(logits: torch.Tensor) -> torch.Tensor:
    """Choose the token with the largest logit; among equals, the one with the lowest id."""
    return logits.sort(dim=-1, descending=True, stable=True).indices.select(-1, 0)


def temperature(logits: torch.Tensor, t: float) -> torch.Tensor:
    """Make the choice bolder (t above 1, a flatter distribution) or more careful (t below 1)."""
    if t <= 0:
        raise ValueError("temperature must be above 0")
    return torch.mul(logits, torch.tensor(1 / t, dtype=logits.dtype, device=logits.device))


def top_k(logits: torch.Tensor, k: int) -> torch.Tensor:
    """Keep the k largest logits and refuse the others."""
    if k < 1:
        raise ValueError("top_k must be at least 1")
    n_larger = (logits[..., None, :] > logits[..., :, None]).sum(-1)
    mask = torch.zeros_like(logits)
    mask[n_larger >= k] = float("-inf")
    return logits + mask


def top_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Keep the smallest set of most probable tokens that together have at least probability p."""
    if not 0 < p <= 1:
        raise ValueError("top_p must be above 0 and at most 1")
    if p == 1:
        return logits * 1
    shares = softmax(logits)
    larger = logits[..., None, :] > logits[..., :, None]  # [i, j]: j is better than i
    equal = logits[..., None, :] == logits[..., :, None]
    earlier = torch.ones(logits.shape[-1], logits.shape[-1], dtype=torch.bool).tril(-1)
    better = (larger | (equal & earlier)).double()
    before = (better @ shares.double()[..., None]).squeeze(-1)
    return logits + torch.zeros_like(logits).masked_fill(before >= p - 1e-9, float("-inf"))


def repetition_penalty(logits: torch.Tensor, ids: torch.Tensor, penalty: float) -> torch.Tensor:
    """Make every token that has occurred already less likely, once, however often it occurred."""
    if penalty <= 0:
        raise ValueError("repetition_penalty must be above 0")
    if logits.dim() != 2 or ids.dim() != 2 or len(ids) != len(logits):
        raise ValueError("logits must be (B, V) and ids (B, T)")
    seen = F.one_hot(ids, logits.shape[1]).sum(dim=1) > 0  # (B, V)
    powers = -torch.sign(logits) * seen
    return logits * torch.pow(penalty, powers)


def min_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Refuse tokens whose probability is below p times that of the most probable token."""
    if p < 0 or p > 1:
        raise ValueError("min_p must be between 0 and 1")
    probabilities = F.softmax(logits, dim=-1)
    bar = p * torch.take_along_dim(probabilities, greedy(logits)[..., None], dim=-1)
    return logits + torch.zeros_like(logits).masked_fill(probabilities < bar, float("-inf"))


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

    distribution = torch.distributions.Categorical(logits=logits)
    if generator is None:
        return distribution.sample()
    return torch.multinomial(distribution.probs, 1, generator=generator).reshape(-1)


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
    n_finished, best = 0, (-math.inf, ids)
    beams: dict[tuple[int, ...], float] = {tuple(ids.tolist()): 0.0}
    for n in range(1, max_new_tokens + 1):
        grown: dict[tuple[int, ...], float] = {}
        for text, total in beams.items():
            logits = next_logits(torch.tensor([text], device=ids.device)).squeeze(0)
            for token, log_p in enumerate(F.log_softmax(logits, dim=-1).tolist()):
                grown[(*text, token)] = total + log_p
        ranking = sorted(grown, key=grown.__getitem__, reverse=True)
        for text in ranking[:n_beams]:
            if text[-1] == stop_token or n == max_new_tokens:
                n_finished += 1
                score = grown[text] / math.pow(n, length_penalty)
                if n_finished == 1 or score > best[0]:
                    best = (score, torch.tensor(text, device=ids.device))
        beams = {text: grown[text] for text in ranking if text[-1] != stop_token}
        beams = dict(list(beams.items())[:n_beams])
    return best[1], best[0]

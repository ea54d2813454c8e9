"""Lesson 08: choosing the next token.

A model gives one logit for every token; this lesson turns them into a choice. Always taking the largest
(greedy) soon goes round in circles; drawing from the plain softmax now and then picks one of the
thousands of bad tokens that each have a tiny probability, and the story derails. What lies
between is a chain of small functions from logits to logits. Each one reshapes the distribution or
refuses tokens: a refused token gets the logit -inf, so softmax gives it probability 0 and shares
the rest among those that stay. `sample` puts the chain together and draws.

No function changes the tensor that it was given, and tokens refused already (-inf) stay refused.

Shapes: B batch (texts written side by side), V vocabulary, T tokens so far. "(..., V)" means that
any number of dimensions may come first.

Sources: top-k, Fan et al. (2018), arXiv:1805.04833; top-p ("nucleus"), Holtzman et al. (2019),
arXiv:1904.09751; repetition penalty, Keskar et al. (CTRL, 2019), arXiv:1909.05858, section 4.1; min-p,
Nguyen et al. (2024), arXiv:2407.01082. The order of the chain and the rules for corner cases are
those of the `transformers` library, so settings found on the web mean the same here.
"""

from collections.abc import Callable

import torch

from .bigram import softmax

# Core.


def greedy(logits: torch.Tensor) -> torch.Tensor:
    """Choose the token with the largest logit; among equals, the one with the lowest id.

    logits: (..., V). Returns ids, (...), int64.

    1. Which position along the last dimension holds the largest value? Torch has a function for it.
    """
    # <solution>
    return logits.argmax(dim=-1)
    # </solution>


def temperature(logits: torch.Tensor, t: float) -> torch.Tensor:
    """Make the choice bolder (t above 1, a flatter distribution) or more careful (t below 1).

    logits: (..., V). t: the temperature, above 0; 1 changes nothing.
    Returns new logits, (..., V). Raises ValueError for t of 0 or less.

    1. Refuse what cannot be divided by, and say what to use for 0.
    2. Divide. (Near 0 the largest logit runs away from all others: that is greedy. For large t all
       come close to each other: that is pure chance.)
    """
    # <solution>
    if not t > 0:
        raise ValueError(f"temperature must be above 0, not {t}; for temperature 0 use greedy")
    return logits / t
    # </solution>


def top_k(logits: torch.Tensor, k: int) -> torch.Tensor:
    """Keep the k largest logits and refuse the others.

    Where several tokens tie with the k-th, all of them stay: there is no reason to prefer one.

    logits: (..., V). k: at least 1; at V or more nothing is refused.
    Returns new logits, (..., V), with -inf where a token is refused. Raises ValueError for k below 1.

    1. Find the k-th largest logit of each row (`torch.topk`; k may be larger than V).
    2. Refuse what is smaller than that. `masked_fill` gives a new tensor.
    """
    # <solution>
    if k < 1:
        raise ValueError(f"top_k must be at least 1, not {k}")
    largest = torch.topk(logits, min(k, logits.shape[-1]), dim=-1).values  # (..., k), falling
    return logits.masked_fill(logits < largest[..., -1:], float("-inf"))
    # </solution>


def top_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Keep the smallest set of most probable tokens that together have at least probability p.

    So the number kept adapts: few where the model is sure, many where it is not. The token with which
    the sum reaches p belongs to the set, so at least one token stays. Among equally probable tokens
    the ones with lower ids come first: of four equal ones and with p = 0.5, ids 0 and 1 stay.

    logits: (..., V). p: above 0, at most 1; with 1 nothing is refused.
    Returns new logits, (..., V), with -inf where a token is refused. Raises ValueError for other p.

    1. Sort each row, most probable first (`stable=True` keeps equals in the order of their ids), and
       turn the sorted logits into probabilities.
    2. For each token, how much probability stands before it? The running sum (`cumsum`) up to and
       including the token, less the token itself.
    3. A token is refused when p has been reached before it. (Asking whether the sum including the
       token passes p would drop the very token that crosses: the usual mistake.)
    4. These answers are in sorted order. `order` says which token stands where; `scatter` puts
       each answer back in its token's place.
    """
    # <solution>
    if not 0 < p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, not {p}")
    if p == 1:  # rounding could bring the sum to 1 before the last token
        return logits.clone()
    sorted_logits, order = logits.sort(dim=-1, descending=True, stable=True)
    probabilities = softmax(sorted_logits, dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities
    refused_sorted = before >= p
    refused = torch.zeros_like(refused_sorted).scatter(-1, order, refused_sorted)
    return logits.masked_fill(refused, float("-inf"))
    # </solution>


def repetition_penalty(logits: torch.Tensor, ids: torch.Tensor, penalty: float) -> torch.Tensor:
    """Make every token that has occurred already less likely, once, however often it occurred.

    logits: (B, V). ids: (B, T), int64, the tokens of each row so far, the prompt among them.
    penalty: above 0; 1 changes nothing, 1.2 is usual, below 1 invites repetition.
    Returns new logits, (B, V). Raises ValueError for a penalty of 0 or less, or other shapes.

    1. Look up the logits of the tokens that occurred (`gather`): (B, T).
    2. A positive logit is divided by the penalty. A negative one is multiplied: dividing would
       bring it nearer to 0 and so reward the repetition.
    3. Put the new values back in their places (`scatter`). A token that occurs twice gets the same
       value written twice.
    """
    # <solution>
    if not penalty > 0:
        raise ValueError(f"repetition_penalty must be above 0, not {penalty}")
    if logits.dim() != 2 or ids.dim() != 2 or len(ids) != len(logits):
        raise ValueError(
            f"logits must be (B, V) and ids (B, T), not {tuple(logits.shape)} and {tuple(ids.shape)}"
        )
    seen = logits.gather(1, ids)  # (B, T)
    penalised = torch.where(seen < 0, seen * penalty, seen / penalty)
    return logits.scatter(1, ids, penalised)
    # </solution>


# Stretch: one more filter, which `sample` calls only when it is asked for.


def min_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Refuse tokens whose probability is below p times that of the most probable token.

    logits: (..., V). p: 0 to 1; 0 refuses nothing, 1 all but the most probable (and its equals).
    Returns new logits, (..., V), with -inf where a token is refused. Raises ValueError for other p.

    1. Turn the logits into probabilities.
    2. The bar of each row hangs p times as high as its largest probability.
    """
    # <solution>
    if not 0 <= p <= 1:
        raise ValueError(f"min_p must be between 0 and 1, not {p}")
    probabilities = softmax(logits, dim=-1)
    bar = p * probabilities.amax(dim=-1, keepdim=True)
    return logits.masked_fill(probabilities < bar, float("-inf"))
    # </solution>


# Core again. The settings of `sample` bear the names of the functions above, as everywhere in
# the field, and so hide them inside it. There, the functions go by these names:

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
    """Draw one token per row after reshaping the distribution as the settings say.

    logits: (B, V). ids: (B, T), the tokens so far; needed only for a repetition penalty.
    temperature, top_k, top_p, min_p, repetition_penalty: as in the functions of these names; None
    leaves a filter out. generator: where the chances come from; the same seed draws the same tokens.
    (None: from torch's own, which goes on from call to call.)
    Returns ids, (B,), int64. Raises ValueError as those functions do, and for a penalty without ids.

    1. The order matters: repetition penalty, temperature, top_k, top_p, min_p. (Top_p after
       temperature counts the probabilities that will really be drawn from.)
    2. Call the functions by their second names, `keep_top_k` and so on, which stand above.
    3. Softmax, then one draw per row with `torch.multinomial` and the generator.
    """
    # <solution>
    if repetition_penalty != 1.0:
        if ids is None:
            raise ValueError("a repetition_penalty needs ids, the tokens so far")
        logits = penalise_repetition(logits, ids, repetition_penalty)
    logits = scale_by_temperature(logits, temperature)
    if top_k is not None:
        logits = keep_top_k(logits, top_k)
    if top_p is not None:
        logits = keep_top_p(logits, top_p)
    if min_p is not None:
        logits = keep_min_p(logits, min_p)
    probabilities = softmax(logits, dim=-1)
    return torch.multinomial(probabilities, num_samples=1, generator=generator).squeeze(-1)  # (B,)
    # </solution>


# Stretch.


def beam_search(
    next_logits: Callable[[torch.Tensor], torch.Tensor],
    ids: torch.Tensor,
    n_beams: int,
    max_new_tokens: int,
    stop_token: int | None = None,
    length_penalty: float = 1.0,
) -> tuple[torch.Tensor, float]:
    """Search for the most probable continuation, keeping the n_beams best beginnings at each step.

    Greedy takes the best token now, though a worse one may lead to a better text. Beam search looks
    further: for translation it helps, for stories it finds dull ones (Holtzman et al., figure 1).

    next_logits: a function from ids (B, T) to the logits of the token after each row, (B, V).
    ids: (T,), int64, the prompt. n_beams, max_new_tokens: at least 1.
    stop_token: a text that reaches it is finished.
    length_penalty: a finished text of n new tokens (stop_token among them) scores its log-probability
    divided by n ** length_penalty; without that, shorter texts win merely by having fewer factors.
    Returns (the best text, prompt and stop_token included: (T + n,); its score).
    Raises ValueError for n_beams or max_new_tokens below 1.

    1. Begin with one beam, the prompt, whose log-probability is 0.
    2. Each step: every beam may go on with every token. Add the token's log-probability to its beam's,
       and take the 2 * n_beams best of all these (at most half can end in stop_token, so n_beams
       are left that go on). A flat index i means beam i // V, token i % V.
    3. Those among the first n_beams that end in stop_token are finished: note their scores. In
       the last step all of the first n_beams are.
    4. The best n_beams of the others are the beams of the next step.
    5. In the end, return the finished text with the best score.
    """
    # <solution>
    if n_beams < 1 or max_new_tokens < 1:
        raise ValueError(
            f"n_beams and max_new_tokens must be at least 1, not {n_beams} and {max_new_tokens}"
        )
    beams, totals = ids.unsqueeze(0), torch.zeros(1, device=ids.device)
    finished: list[tuple[float, torch.Tensor]] = []
    for n_new in range(1, max_new_tokens + 1):
        log_probabilities = torch.log_softmax(next_logits(beams).float(), dim=-1)  # (beams, V)
        candidates = totals.unsqueeze(1) + log_probabilities
        best = torch.topk(candidates.flatten(), min(2 * n_beams, candidates.numel()))
        totals, chosen = best.values, best.indices
        rows, tokens = chosen // candidates.shape[1], chosen % candidates.shape[1]
        texts = torch.cat([beams[rows], tokens.unsqueeze(1)], dim=1)  # (2 * n_beams, T + n_new)
        stops = torch.zeros_like(tokens, dtype=torch.bool)
        if stop_token is not None:
            stops = tokens == stop_token
        ends = stops if n_new < max_new_tokens else torch.ones_like(stops)
        for i in ends[:n_beams].nonzero().flatten().tolist():
            finished.append((totals[i].item() / n_new**length_penalty, texts[i]))
        beams, totals = texts[~stops][:n_beams], totals[~stops][:n_beams]
        if len(beams) == 0:
            break
    score, text = max(finished, key=lambda pair: pair[0])
    return text, score
    # </solution>

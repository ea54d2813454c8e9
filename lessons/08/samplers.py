# lesson 08, stub 218520d01026 (yours to fill in)
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

if __name__ == "__main__" and not __package__:
    raise SystemExit("run this instead: pytest lessons/08")

from collections.abc import Callable

import torch

# Core.


def greedy(logits: torch.Tensor) -> torch.Tensor:
    """Choose the token with the largest logit; among equals, the one with the lowest id.

    logits: (..., V). Returns ids, (...), int64.

    Predict first: The logits have the shape (4, 7): four texts, seven tokens. What is the shape of
    greedy(logits), and which numbers can stand in it?

    1. Which position along the last dimension holds the largest value? Torch has a function for it.
    """
    raise NotImplementedError("lesson 08: greedy")


def temperature(logits: torch.Tensor, t: float) -> torch.Tensor:
    """Make the choice bolder (t above 1, a flatter distribution) or more careful (t below 1).

    logits: (..., V). t: the temperature, above 0; 1 changes nothing.
    Returns new logits, (..., V). Raises ValueError for t of 0 or less.

    Predict first: Two tokens have the odds 4 to 1. What are the odds at temperature 0.5: 2 to 1, 8
    to 1 or 16 to 1?

    1. Refuse what cannot be divided by, and say what to use for 0.
    2. Divide. (Near 0 the largest logit runs away from all others: that is greedy. For large t all
       come close to each other: that is pure chance.)
    """
    raise NotImplementedError("lesson 08: temperature")


def top_k(logits: torch.Tensor, k: int) -> torch.Tensor:
    """Keep the k largest logits and refuse the others.

    Where several tokens tie with the k-th, all of them stay: there is no reason to prefer one.

    logits: (..., V). k: at least 1; at V or more nothing is refused.
    Returns new logits, (..., V), with -inf where a token is refused. Raises ValueError for k below 1.

    Predict first: The logits are 3, 1, 2, 2, 2. How many tokens stay with k = 2?

    1. Find the k-th largest logit of each row (`torch.topk`; k may be larger than V).
    2. Refuse what is smaller than that. `masked_fill` gives a new tensor.
    """
    raise NotImplementedError("lesson 08: top_k")


def top_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Keep the smallest set of most probable tokens that together have at least probability p.

    So the number kept adapts: few where the model is sure, many where it is not. The token with which
    the sum reaches p belongs to the set, so at least one token stays. Among equally probable tokens
    the ones with lower ids come first: of four equal ones and with p = 0.5, ids 0 and 1 stay.

    logits: (..., V). p: above 0, at most 1; with 1 nothing is refused.
    Returns new logits, (..., V), with -inf where a token is refused. Raises ValueError for other p.

    Predict first: The probabilities are 0.6, 0.3 and 0.1. How many tokens stay with p = 0.5, and
    how many with p = 0.65?

    1. Sort each row, most probable first (`stable=True` keeps equals in the order of their ids), and
       turn the sorted logits into probabilities.
    2. For each token, how much probability stands before it? The running sum (`cumsum`) up to and
       including the token, less the token itself.
    3. A token is refused when p has been reached before it. (Asking whether the sum including the
       token passes p would drop the very token that crosses: the usual mistake.)
    4. These answers are in sorted order. `order` says which token stands where; `scatter` puts
       each answer back in its token's place.
    """
    raise NotImplementedError("lesson 08: top_p")


def repetition_penalty(logits: torch.Tensor, ids: torch.Tensor, penalty: float) -> torch.Tensor:
    """Make every token that has occurred already less likely, once, however often it occurred.

    logits: (B, V). ids: (B, T), int64, the tokens of each row so far, the prompt among them.
    penalty: above 0; 1 changes nothing, 1.2 is usual, below 1 invites repetition.
    Returns new logits, (B, V). Raises ValueError for a penalty of 0 or less, or other shapes.

    Predict first: Tokens with the logits 2 and -2 have both occurred. With penalty 2, what are
    their new logits?

    1. Look up the logits of the tokens that occurred (`gather`): (B, T).
    2. A positive logit is divided by the penalty. A negative one is multiplied: dividing would
       bring it nearer to 0 and so reward the repetition.
    3. Put the new values back in their places (`scatter`). A token that occurs twice gets the same
       value written twice.
    """
    raise NotImplementedError("lesson 08: repetition_penalty")


# Stretch: one more filter, which `sample` calls only when it is asked for.


def min_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Refuse tokens whose probability is below p times that of the most probable token.

    logits: (..., V). p: 0 to 1; 0 refuses nothing, 1 all but the most probable (and its equals).
    Returns new logits, (..., V), with -inf where a token is refused. Raises ValueError for other p.

    Predict first: The probabilities are 0.5, 0.25, 0.15 and 0.1. How many tokens stay with p =
    0.25?

    1. Turn the logits into probabilities.
    2. The bar of each row hangs p times as high as its largest probability.
    """
    raise NotImplementedError("lesson 08: min_p")


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

    Predict first: The probabilities are 0.4, 0.3, 0.2 and 0.1. With top_k = 2 and top_p = 0.5, how
    many tokens can be drawn?

    1. The order matters: repetition penalty, temperature, top_k, top_p, min_p. (Top_p after
       temperature counts the probabilities that will really be drawn from.)
    2. Call the functions by their second names, `keep_top_k` and so on, which stand above.
    3. Softmax, then one draw per row with `torch.multinomial` and the generator.
    """
    raise NotImplementedError("lesson 08: sample")


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

    Predict first: Three beams, a vocabulary of 10, and the flat index 27 is the best of all 30
    candidates. Which beam goes on, and with which token?

    1. Begin with one beam, the prompt, whose log-probability is 0.
    2. Each step: every beam may go on with every token. Add the token's log-probability to its beam's,
       and take the 2 * n_beams best of all these (at most half can end in stop_token, so n_beams
       are left that go on). A flat index i means beam i // V, token i % V.
    3. Those among the first n_beams that end in stop_token are finished: note their scores. In
       the last step all of the first n_beams are.
    4. The best n_beams of the others are the beams of the next step.
    5. In the end, return the finished text with the best score.
    """
    raise NotImplementedError("lesson 08: beam_search")

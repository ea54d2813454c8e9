# lesson 10, stub 0cf1fd5a1988 (yours to fill in)
"""Lesson 10: how good is a model? Measures on text that it has not been trained on.

All of them come from one number per token: the probability that the model gave to the token which
really came. Its negative logarithm is the token's surprise in *nats*. The mean surprise is the
loss of training; exp of the mean is the *perplexity*: a perplexity of 20 means that the model was
on average as unsure as if it had to choose among 20 equally likely tokens. A perplexity depends on
the tokenizer (longer tokens, fewer and harder choices), so models with different tokenizers are
compared by surprise per byte of text, in *bits*.

A model reads at most block_size tokens at once, a text is longer. So the text is read through a
window which moves on by `stride` tokens, and in each place only those tokens are scored that have
not been scored before. A small stride gives every token more context and costs more time:

    block_size 4, stride 2, 8 tokens             0   1   2   3   4   5   6   7
    first window    reads 0-3, scores 1-4        r   rs  rs  rs  s
    second window   reads 2-5, scores 5-6                r   r   r   rs  s
    third window    reads 4-6, scores 7                          r   r   r   s

Here `model` is any torch module for which model(ids), ids (B, T), returns (logits (B, T, V),
anything); the GPT of lesson 05 is one. Texts are 1-D tensors of ids, on the model's device. Every
measure asks the model in evaluation mode and without gradients, and leaves it as it was; whatever
the precision of the logits, it goes on in float32.

Shapes: N tokens in the text, T tokens in one window, V vocabulary.

Sources: Jelinek et al. (1977) for perplexity; Guo et al. (2017), arXiv:1706.04599, for calibration.
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("run this instead: pytest lessons/10")

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Given: inside, `model` is in evaluation mode and keeps no gradients; then all is as before."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


# Core.


def strided_windows(n_tokens: int, block_size: int, stride: int) -> list[tuple[int, int, int]]:
    """Plan the windows through a text so that each token after the first is scored exactly once.

    n_tokens: N, at least 2. block_size: how many tokens one window reads, at least 1.
    stride: how far the window moves on, 1 to block_size (beyond it tokens would be left out).
    Returns a list of (begin, end, first): the window reads tokens begin .. end - 1, which predict the
    tokens begin + 1 .. end; of these, first .. end have not been scored before.
    Raises ValueError for a text of fewer than two tokens and for other strides and block sizes.

    Predict first: 10 tokens, block_size 4, stride 4. How many windows does it take to score tokens
    1 to 9, and how many tokens does the last one score?

    1. A window begins at 0, stride, 2 * stride, ... It ends block_size further on, or where the text
       ends: the last token is predicted but not read, so end is at most N - 1.
    2. `first` starts at 1 (token 0 has nothing before it) and after each window is end + 1.
    3. Stop when the last token has been scored.
    """
    raise NotImplementedError("lesson 10: strided_windows")


def predictions(
    model: nn.Module, ids: torch.Tensor, block_size: int, stride: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Given: for each window, the logits (n, V) and targets (n,) of the n tokens that it scores.

    To be called inside `with evaluating(model)`.
    """
    if ids.dim() != 1:
        raise ValueError(f"ids must be one text, (N,), not {tuple(ids.shape)}")
    for begin, end, first in strided_windows(len(ids), block_size, stride):
        logits = model(ids[begin:end].unsqueeze(0))[0].squeeze(0)  # (T, V)
        # token `first` is predicted at position first - 1; sums in half precision would lose digits
        yield logits[first - 1 - begin :].float(), ids[first : end + 1]


def score(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> tuple[float, int]:
    """Add up the model's surprise at each token of a text after the first.

    ids: (N,), int64. block_size, stride: as in `strided_windows`.
    Returns (sum of the surprises in nats, number of tokens scored, which is N - 1).
    Raises ValueError as `strided_windows` does.

    Predict first: Three tokens are scored; the model gave them the probabilities 0.5, 0.5 and 0.25.
    What is the sum of their surprises: log(1.25), log(16) or log(4)?

    1. Inside `evaluating`, go through the `predictions`.
    2. `cross_entropy` gives a window's mean. (It is lesson 00's: `from .bigram import cross_entropy,
       softmax` at the top.) Windows score different numbers of tokens, so a mean of means would
       be wrong: turn each mean back into a sum before adding.
    3. `.item()` makes a plain number of a tensor with one number in it.
    """
    raise NotImplementedError("lesson 10: score")


def perplexity(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> float:
    """Return exp of the mean surprise: among how many equally likely tokens the model has to choose.

    Arguments and errors as for `score`. Returns at least 1; inf where it is too large for a float.

    Predict first: Two tokens were scored, with the probabilities 1/2 and 1/8. Is the perplexity 5,
    the mean of 2 and 8, or 4?

    1. First the mean over all tokens, then exp: the mean of each window's exp is another, larger
       number.
    2. math.exp raises an OverflowError where the result is too large; torch's exp gives inf, and in
       float64 not before 10^308.
    """
    raise NotImplementedError("lesson 10: perplexity")


def bits_per_byte(total_nats: float, n_bytes: int) -> float:
    """Return the surprise per byte of text, in bits: comparable whatever the tokenizer.

    It is also the size to which the model could compress the text: 8 is no compression at all.

    total_nats: sum as from `score`. n_bytes: length of the scored text in UTF-8, that is
    len(text.encode("utf-8")): "é" is two bytes, "你" three. `score` leaves the first token out,
    so count the bytes of the others, or begin the ids with <|endoftext|>, which is no text.
    Raises ValueError for n_bytes below 1.

    Predict first: A model finds all 256 bytes equally likely. How many bits per byte does it need?

    1. A bit is log(2) nats. (`math.log` needs `import math` at the top.)
    """
    raise NotImplementedError("lesson 10: bits_per_byte")


def bits_per_character(total_nats: float, n_characters: int) -> float:
    """Return the surprise per character of text, in bits; n_characters is len(text) in Python.

    Equal to bits per byte for plain English, larger where a character takes several bytes. The rest
    is as for `bits_per_byte`. Raises ValueError for n_characters below 1.

    Predict first: The text "你" has one character and three bytes. A model needs 24 bits for it. How
    many bits are that per byte, and how many per character?

    1. As before, divided by another number.
    """
    raise NotImplementedError("lesson 10: bits_per_character")


def next_token_accuracy(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> float:
    """Return the share of tokens, 0 to 1, that were the model's first choice.

    The first choice is the token with the largest logit; among equals, the one with the lowest id.

    Arguments and errors as for `score`: each token after the first counts once.

    Predict first: A model finds all 10 tokens equally likely. In a text in which every token occurs
    equally often, how many of 100 predicted tokens are hits: 0, about 10 or 100?

    1. Inside `evaluating`, go through the `predictions` as in `score`.
    2. Count where `argmax` equals the target, and divide once, at the end.
    """
    raise NotImplementedError("lesson 10: next_token_accuracy")


def top_predictions(model: nn.Module, ids: torch.Tensor, k: int) -> list[tuple[int, float]]:
    """Return the k tokens that the model holds most probable after the whole of `ids`.

    ids: (T,), int64, at least one token and no more than the model can read at once.
    k: at least 1; the whole vocabulary where k is larger than it.
    Returns [(id, probability), ...], plain numbers, most probable first; among equals the lowest id
    first.
    Raises ValueError for k below 1 and for a text without tokens.

    Predict first: The probabilities are 0.1, 0.4, 0.2 and 0.3. With k = 1, what stands beside the
    best token: 0.4 or 1.0?

    1. Inside `evaluating`, ask the model about `ids` as a batch of one, and take the logits of
       the last position.
    2. Softmax over the whole vocabulary, in float32 (`.float()`), then sort (`stable=True` keeps
       equals in order), then cut.
    """
    raise NotImplementedError("lesson 10: top_predictions")


# Stretch.


def calibration_curve(
    model: nn.Module, ids: torch.Tensor, bins: int, block_size: int, stride: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Does the model know how sure it may be? Sort its first choices by confidence, and count hits.

    Of the tokens that a well calibrated model predicts with a probability near 0.7, seven in ten
    are right. The confidence is the probability of the first choice (as in `next_token_accuracy`).

    bins: how many equal parts 0..1 is cut into; part i holds i/bins <= confidence < (i+1)/bins, and
    the last one 1 as well. The other arguments and errors as for `score`.
    Returns (mean confidence, accuracy, count), each (bins,), float64, float64 and int64; where
    nothing fell into a bin, its count is 0 and the other two are nan.
    Raises ValueError for bins below 1.

    Predict first: Five bins, and a confidence of exactly 1. Which bin does it belong to, counted
    from 0: 4 or 5?

    1. Collect, over all windows, each first choice's probability and whether it was right.
    2. Which bin does each belong to? Multiply, round down, and mind a confidence of exactly 1.
    3. `torch.bincount` counts; with `weights` it adds up. Divide the sums by the counts.
    """
    raise NotImplementedError("lesson 10: calibration_curve")


def expected_calibration_error(
    confidence: torch.Tensor, accuracy: torch.Tensor, count: torch.Tensor
) -> float:
    """Return how far confidence and accuracy lie apart, on average over tokens: 0 is perfect.

    confidence, accuracy, count: (bins,), as from `calibration_curve`.

    Predict first: One bin of 1 token has a gap of 0.2, one of 3 tokens a gap of 0.4. Is the error
    0.3 or 0.35?

    1. The gap of each bin, whichever way it points.
    2. A bin counts as much as it has tokens; empty ones (nan) count nothing.
    """
    raise NotImplementedError("lesson 10: expected_calibration_error")

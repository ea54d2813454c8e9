# lesson 00, stub a6a2fac37231 (yours to fill in)
"""Lesson 00: tensors by doing, and a first model that writes text.

A language model answers one question: after what has been read so far, which token comes next, and
how sure are you? The smallest such model looks at one token only, the last one. It is a square table:
row a holds one number, a *logit*, for every token b that may follow a. This lesson builds that table
twice, by counting and by gradient descent, and lets it babble. Every later lesson only replaces
the table by something that sees further back; `softmax` and `cross_entropy` stay as they are.

Here a token is one character, and its id is its place in the alphabet of the text.

Shapes: V size of the vocabulary (here: of the alphabet), N number of (input, target) pairs.

Sources: Shannon, "A Mathematical Theory of Communication" (1948), section 3, draws text from
such a table by hand; Bridle, "Probabilistic Interpretation of Feedforward Classification Network
Outputs" (1990), names the softmax.

Try each function as soon as it is written. After `softmax`:

    print(bar_chart(softmax(torch.tensor([2.0, 1.0, 0.0, -1.0])), "abcd"))

and at the end, on any text of your own:

    print(babble_text(open("stories.txt", encoding="utf-8").read(), length=300))
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("run this instead: pytest lessons/00")

import torch

# Given: from text to ids and back, and a picture for the terminal.


def alphabet_of(text: str) -> str:
    """Return the distinct characters of `text` in order; a character's place is its id."""
    return "".join(sorted(set(text)))


def to_ids(text: str, alphabet: str) -> torch.Tensor:
    """Return the ids of the characters of `text`, shape (len(text),), int64."""
    place = {character: i for i, character in enumerate(alphabet)}
    for character in text:
        if character not in place:
            raise ValueError(f"the character {character!r} is not in the alphabet {alphabet!r}")
    return torch.tensor([place[character] for character in text], dtype=torch.long)


def to_text(ids: torch.Tensor | list[int], alphabet: str) -> str:
    """Return the text whose characters have these ids: the inverse of `to_ids`."""
    return "".join(alphabet[int(i)] for i in ids)


def bar_chart(probabilities: torch.Tensor, alphabet: str, width: int = 50) -> str:
    """Return one line per character, its bar as long as its probability; probabilities: (V,)."""
    lines = []
    for character, p in zip(alphabet, probabilities.tolist(), strict=True):
        lines.append(f"{character!r:>6} {p:6.3f} {'#' * round(p * width)}")
    return "\n".join(lines)


# Yours, from here on.


def softmax(logits: torch.Tensor, dim: int = -1) -> torch.Tensor:
    """Turn logits into probabilities along `dim`: exp(logit) divided by the sum of all exp(logit).

    logits: float tensor of any shape. Numbers as large as 10,000 are fine; -inf means "never", and
    becomes probability 0. (A row of nothing but -inf has no answer: nan, as in torch.)
    dim: the dimension along which the results sum to 1.
    Returns a new tensor of the same shape and dtype, in 0..1, through which gradients can flow.

    Predict first: The logits 3 and 1 become 0.88 and 0.12. Now 100 is added to both logits. Does
    the 0.88 grow, shrink or stay?
    Yours to write, without the library's own: softmax.

    1. exp(1000) is inf, and inf / inf is nan. But adding one number to all logits changes nothing in
       the answer (why?), so subtract the largest along `dim` first: then no exponent is above 0.
    2. Take exp of every element.
    3. Divide by the sum along `dim`. `keepdim=True` keeps the summed dimension as one of size 1, so
       that the shapes fit for the division.
    """
    raise NotImplementedError("lesson 00: softmax")


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean surprise, in nats, at the tokens that really came: -log(probability of target).

    A model that spreads its belief evenly over V tokens gets log(V), a perfect one 0. This is the
    loss that every model of this course is trained on.

    logits: (N, V), one row of logits per prediction; any size of number, as for `softmax`. What had
    the logit -inf and came all the same is infinitely surprising: the loss is inf.
    targets: (N,), int64, the id of the right token of each row, 0 <= target < V.
    Returns a tensor with no dimensions (a scalar) through which gradients can flow.
    Raises ValueError when the shapes are not exactly (N, V) and (N,); (N, 1) is refused too.

    Predict first: A model that knows nothing spreads its belief evenly over 50,257 tokens. Is its
    loss nearest to 1, 11 or 50,257?
    Yours to write, without the library's own: cross_entropy.

    1. log(softmax(...)) is -inf as soon as a probability rounds to 0. Write the logarithm of the
       quotient as a difference first: log p(target) = logit of the target - log(sum of exp(logits)).
    2. Keep exp from overflowing as in `softmax`: take the largest logit of each row away from that
       row, from both places. (Adding it back to the logarithm would be right on paper, but beside a
       logit of 10,000 a 32-bit float has no digits left for the third decimal.)
    3. `gather` picks one logit per row. (A one-hot matrix would do, but with 50,257 tokens it
       is 50,257 times as large as the answer.)
    4. Take the mean over the N rows.
    """
    raise NotImplementedError("lesson 00: cross_entropy")


def bigram_counts(ids: torch.Tensor, vocab_size: int) -> torch.Tensor:
    """Count how often each token follows each other one: counts[a, b] is the number of pairs "a b".

    ids: (T,), int64, a text as ids. vocab_size: V.
    Returns counts, (V, V), int64; they sum to T - 1 (a text of one token or none has no pairs).
    Raises ValueError for an id outside 0 .. V - 1.

    Predict first: The alphabet of "banana" is "abn", so its table has 9 cells. What do they sum to,
    and how many of them are 0?

    1. The pairs are the text without its last token beside the text without its first.
    2. A loop over the pairs is right, and slow: a text of 5 MB takes half a minute. Better: number the
       V * V cells of the table row by row, so that the pair (a, b) belongs to cell a * V + b.
    3. `torch.bincount` counts how often each number occurs; its `minlength` makes room for the
       cells that never occur. Then view the counts as a table.
    """
    raise NotImplementedError("lesson 00: bigram_counts")


def bigram_logits(counts: torch.Tensor, smoothing: float = 1.0) -> torch.Tensor:
    """Turn counts into the model: the logarithm of the smoothed share of b among what follows a.

    counts: (V, V), counts[a, b] as from `bigram_counts`; they stay as they are.
    smoothing: added to every count, so that a pair which has not been seen is unlikely, not impossible
    (Laplace's rule for 1.0). With 0 a pair never seen gets -inf.
    Returns (V, V), float32: row a holds the log-probabilities of the token after a. Softmax
    leaves log-probabilities as they are up to the logarithm, so they serve as logits.
    Raises ValueError for smoothing below 0, and for smoothing 0 where a row has no counts at all.

    Predict first: After "a" came "b" three times, "a" once, and "c" never. With smoothing 1, which
    share has "c"?

    1. Add the smoothing to every count.
    2. Divide each row by its own sum: every row must sum to 1, the columns need not.
    3. Take the logarithm.
    """
    raise NotImplementedError("lesson 00: bigram_logits")


def gradient_step(
    logits: torch.Tensor, inputs: torch.Tensor, targets: torch.Tensor, learning_rate: float
) -> torch.Tensor:
    """Take one step of gradient descent on the table and return the new table.

    Counting works for tables only. This works for everything: start with any table (say, zeros), ask in
    which direction the loss grows, and go a little the other way. The gradient comes from
    torch's autograd; the step, which an optimiser will take from lesson 07 on, is done by hand.

    logits: (V, V), the table; row a holds the logits of the token after a.
    inputs, targets: (N,), int64: targets[i] is the token that came after inputs[i].
    learning_rate: how far to go: the new table is the old one - learning_rate * gradient.
    Returns a new (V, V) table that tracks no gradient (`requires_grad` is False). What was passed in
    stays as it was, its `requires_grad` too.

    Predict first: A table of zeros for 4 tokens takes one step on the single pair (2, 1). How many
    of its 16 numbers change?

    1. Work on a copy, detached from whatever made `logits`, and tell torch to track its gradient
       (`requires_grad_`).
    2. Look up one row of the copy per input: that is (N, V). Compute the loss on it.
    3. `loss.backward()` fills the copy's `.grad`.
    4. Subtract learning_rate times the gradient, and detach, so that the next step starts afresh.
    """
    raise NotImplementedError("lesson 00: gradient_step")


def babble(
    logits: torch.Tensor, start: int, length: int, generator: torch.Generator | None = None
) -> list[int]:
    """Let the model write: draw each next token with the probabilities that follow the one before.

    logits: (V, V), row a holding the logits of the token after a; any size of number, -inf: never.
    start: the id that the text begins with. length: how many ids to return, `start` among them.
    generator: where the chances come from; the same seed gives the same text again. None: from
    torch's own, so that every call gives another text.
    Returns a list of `length` ids, plain ints. Raises ValueError when length is below 1.

    Predict first: Counted from "banana" alone, without smoothing, the table writes a text that
    begins with b. Which can it write: "bananananana", "banab", or both?

    1. Turn the whole table into probabilities once, row by row.
    2. Begin the text with `start`.
    3. Until it is long enough, draw from the row of the newest token (`torch.multinomial` with the
       `generator`) and append what was drawn.
    """
    raise NotImplementedError("lesson 00: babble")


# Given: all of it together.


def babble_text(text: str, length: int = 200, seed: int = 0) -> str:
    """Return `length` characters in the manner of `text`, beginning as it begins."""
    if not text:
        raise ValueError("the text is empty: there is nothing to learn from")
    alphabet = alphabet_of(text)
    ids = to_ids(text, alphabet)
    # little smoothing: with much of it, rare characters fill the babble with pairs never seen
    logits = bigram_logits(bigram_counts(ids, len(alphabet)), smoothing=0.01)
    generator = torch.Generator().manual_seed(seed)
    return to_text(babble(logits, int(ids[0]), length, generator), alphabet)


# Stretch: extra points, needed by nothing.


def cross_entropy_gradient(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the gradient of `cross_entropy` with respect to the logits, without autograd.

    logits: (N, V), any size of number. targets: (N,), int64, 0 <= target < V.
    Returns (N, V): how fast the mean loss grows with each logit. Each row sums to 0.

    Predict first: One row, and the model gave its target the probability 0.9. Is the gradient at
    the target's logit 0.9, 0.1 or -0.1?

    1. On paper: the loss of one row is log(sum of exp(logits)) - logit of the target. What is the
       derivative of the first part? Of the second?
    2. The first is a function you have already written; the second changes one place in each row.
    3. The loss is a mean over N rows, so each row counts for one N-th.
    """
    raise NotImplementedError("lesson 00: cross_entropy_gradient")

"""NumPy inside: the loss is an autograd function of its own, the step uses its closed form."""

import numpy as np
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


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, targets):
        rows = logits.detach().numpy()
        with np.errstate(invalid="ignore"):  # a row of nothing but -inf is nan
            shifted = rows - rows.max(axis=1, keepdims=True)
        slope = np.exp(shifted)
        sums = slope.sum(axis=1, keepdims=True)
        slope /= sums
        places = np.arange(len(rows)), targets.numpy()
        slope[places] -= 1
        ctx.slope = torch.from_numpy(slope / len(rows))
        return logits.new_tensor((np.log(sums[:, 0]) - shifted[places]).mean())

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.slope, None


def softmax(logits: torch.Tensor, dim: int = -1) -> torch.Tensor:
    """Return probabilities along `dim`."""
    moved = logits.movedim(dim, -1)
    exponentials = torch.exp(moved - moved.amax(dim=-1, keepdim=True))
    return (exponentials / exponentials.sum(dim=-1, keepdim=True)).movedim(-1, dim)


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean of -log(probability of target), a scalar."""
    if logits.dim() != 2 or targets.dim() != 1 or len(logits) != len(targets):
        raise ValueError(f"shapes {tuple(logits.shape)} and {tuple(targets.shape)} do not fit")
    return _CrossEntropy.apply(logits, targets)


def bigram_counts(ids: torch.Tensor, vocab_size: int) -> torch.Tensor:
    """Return how often each token follows each other one, (V, V), int64."""
    tokens = ids.numpy()
    if tokens.size and (tokens.min() < 0 or tokens.max() >= vocab_size):
        raise ValueError("an id lies outside the vocabulary")
    counts = np.zeros((vocab_size, vocab_size), dtype=np.int64)
    np.add.at(counts, (tokens[:-1], tokens[1:]), 1)
    return torch.from_numpy(counts)


def bigram_logits(counts: torch.Tensor, smoothing: float = 1.0) -> torch.Tensor:
    """Return the log-probabilities of the token after each, (V, V)."""
    if smoothing < 0:
        raise ValueError("smoothing below 0")
    smoothed = counts.numpy() + float(smoothing)
    totals = smoothed.sum(axis=1, keepdims=True)
    if not totals.all():
        raise ValueError("a row without counts needs smoothing")
    with np.errstate(divide="ignore"):  # log(0) is -inf, as promised
        table = np.log(smoothed / totals)
    return torch.from_numpy(table.astype(np.float32))


def gradient_step(
    logits: torch.Tensor, inputs: torch.Tensor, targets: torch.Tensor, learning_rate: float
) -> torch.Tensor:
    """Return the table after one step of gradient descent."""
    table = logits.detach()
    gradient = torch.zeros_like(table)
    gradient.index_add_(0, inputs, cross_entropy_gradient(table[inputs], targets))
    return table - learning_rate * gradient


def babble(
    logits: torch.Tensor, start: int, length: int, generator: torch.Generator | None = None
) -> list[int]:
    """Return `length` ids, each drawn after the one before; `start` is the first."""
    if length < 1:
        raise ValueError("length below 1")
    cumulative = softmax(logits.detach().double()).numpy().cumsum(axis=1)
    cumulative /= cumulative[:, -1:]  # the last column is 1 exactly
    ids = [start]
    for chance in torch.rand(length - 1, generator=generator, dtype=torch.float64).tolist():
        ids.append(int(np.searchsorted(cumulative[ids[-1]], chance, side="right")))
    return ids


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
    """Return the gradient of `cross_entropy` with respect to the logits, (N, V)."""
    slope = softmax(logits.detach()).numpy()
    slope[np.arange(len(slope)), targets.numpy()] -= 1
    return torch.from_numpy(slope / len(slope))

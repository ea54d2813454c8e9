"""List comprehensions, recursion over the dimensions, itertools, and a Counter of pairs."""

from collections import Counter
from itertools import accumulate, pairwise

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
    """Return probabilities along `dim`."""
    if logits.numel() == 0:
        return logits.clone()
    if logits.dim() > 1:
        rows = logits.movedim(dim, -1)
        return torch.stack([softmax(row) for row in rows]).movedim(-1, dim)
    weights = (logits - logits.max().detach()).exp()
    return weights / weights.sum()


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean of -log(probability of target), a scalar."""
    if (logits.dim(), targets.dim()) != (2, 1) or len(logits) != len(targets):
        raise ValueError("one row of logits for each target")
    shifted = logits - logits.detach().amax(1, keepdim=True)
    log_probabilities = shifted - shifted.exp().sum(1, keepdim=True).log()
    return -log_probabilities[torch.arange(len(targets)), targets].mean()


def bigram_counts(ids: torch.Tensor, vocab_size: int) -> torch.Tensor:
    """Return how often each token follows each other one, (V, V), int64."""
    tokens = ids.tolist()
    if not all(0 <= token < vocab_size for token in tokens):
        raise ValueError("an id lies outside the vocabulary")
    seen = Counter(pairwise(tokens))
    return torch.tensor([[seen[a, b] for b in range(vocab_size)] for a in range(vocab_size)])


def bigram_logits(counts: torch.Tensor, smoothing: float = 1.0) -> torch.Tensor:
    """Return the log-probabilities of the token after each, (V, V)."""
    if smoothing < 0:
        raise ValueError("smoothing below 0")
    rows = [row + float(smoothing) for row in counts]
    if any(row.sum() == 0 for row in rows):
        raise ValueError("a row without counts needs smoothing")
    return torch.stack([(row / row.sum()).log() for row in rows])


def gradient_step(
    logits: torch.Tensor, inputs: torch.Tensor, targets: torch.Tensor, learning_rate: float
) -> torch.Tensor:
    """Return the table after one step of gradient descent."""

    def loss_of(table: torch.Tensor) -> torch.Tensor:
        return cross_entropy(table[inputs], targets)

    start = logits.detach()
    _, slope = torch.autograd.functional.vjp(loss_of, start)
    return start - learning_rate * slope


def babble(
    logits: torch.Tensor, start: int, length: int, generator: torch.Generator | None = None
) -> list[int]:
    """Return `length` ids, each drawn after the one before; `start` is the first."""
    if length < 1:
        raise ValueError("length below 1")
    rows = list(softmax(logits))

    def draw(previous: int, _: int) -> int:
        return int(rows[previous].multinomial(1, generator=generator))

    return list(accumulate(range(length - 1), draw, initial=start))


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
    right = torch.eye(logits.shape[1], dtype=logits.dtype)[targets]  # (N, V)
    return (softmax(logits.detach()) - right) / len(targets)

"""Row by row without autograd in the step; Python's own random numbers, seeded from the generator."""

import random

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
    logits = logits - logits.amax(dim, keepdim=True)
    exponentials = logits.exp()
    return exponentials / (exponentials.sum(dim, keepdim=True) + 1e-9)  # the sum is at least 1


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean of -log(probability of target), a scalar."""
    if logits.dim() != 2 or targets.size() != logits.size()[:1]:
        raise ValueError("logits (N, V), targets (N,)")
    total = 0.0
    for row, target in zip(logits, targets, strict=True):
        shifted = row - torch.max(row)
        total = total + torch.log(torch.exp(shifted).sum()) - shifted[target]
    return total / len(targets)


def bigram_counts(ids: torch.Tensor, vocab_size: int) -> torch.Tensor:
    """Return how often each token follows each other one, (V, V), int64."""
    if ids.numel() and (ids.max() >= vocab_size or ids.min() < 0):
        raise ValueError("an id lies outside the vocabulary")
    cells = (ids[:-1] * vocab_size + ids[1:]).double()
    edges = {"min": -0.5, "max": vocab_size**2 - 0.5}
    return torch.histc(cells, bins=vocab_size**2, **edges).long().reshape(vocab_size, -1)


def bigram_logits(counts: torch.Tensor, smoothing: float = 1.0) -> torch.Tensor:
    """Return the log-probabilities of the token after each, (V, V)."""
    if smoothing < 0:
        raise ValueError("smoothing below 0")
    rows = []
    for row in counts:
        total = row.sum().item() + smoothing * len(row)
        if total == 0:
            raise ValueError("a row without counts needs smoothing")
        rows.append(torch.log((row + smoothing) / total))
    return torch.stack(rows)


def gradient_step(
    logits: torch.Tensor, inputs: torch.Tensor, targets: torch.Tensor, learning_rate: float
) -> torch.Tensor:
    """Return the table after one step of gradient descent."""
    table = logits.detach().clone()
    for a, b in zip(inputs.tolist(), targets.tolist(), strict=True):
        slope = softmax(logits[a].detach())
        slope[b] -= 1
        table[a] -= learning_rate * slope / len(inputs)
    return table


def babble(
    logits: torch.Tensor, start: int, length: int, generator: torch.Generator | None = None
) -> list[int]:
    """Return `length` ids, each drawn after the one before; `start` is the first."""
    if length < 1:
        raise ValueError("length below 1")
    chances = random.Random(torch.randint(2**31, (1,), generator=generator).item())
    rows = softmax(logits).tolist()
    ids = [start]
    for _ in range(length - 1):
        ids += chances.choices(range(len(rows)), rows[ids[-1]])
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
    places = torch.arange(len(targets)), targets
    right = torch.zeros_like(logits).index_put(places, torch.tensor(1.0))
    return (softmax(logits) - right) / logits.shape[0]

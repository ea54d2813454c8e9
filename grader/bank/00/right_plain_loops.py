"""Plain loops over slices, rows and pairs; the table of logits comes from `math`."""

import math

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
    if logits.dim() == 0:
        return torch.exp(logits - logits)  # one logit alone is sure of itself
    slices = logits.unbind(dim)
    largest = slices[0].detach()
    for piece in slices[1:]:
        largest = torch.maximum(largest, piece.detach())
    exponentials = [torch.exp(piece - largest) for piece in slices]
    total = exponentials[0].double()  # a long sum taken one by one gathers rounding
    for piece in exponentials[1:]:
        total = total + piece
    return torch.stack([(piece / total).to(logits.dtype) for piece in exponentials], dim=dim)


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean of -log(probability of target), a scalar."""
    if logits.dim() != 2 or targets.dim() != 1 or len(logits) != len(targets):
        raise ValueError("logits must be a table with one row for each target")
    losses = []
    for row, target in zip(logits, targets.tolist(), strict=True):
        shifted = row - row.max().detach()
        losses.append(shifted.exp().sum().log() - shifted[target])
    return torch.stack(losses).mean()


def bigram_counts(ids: torch.Tensor, vocab_size: int) -> torch.Tensor:
    """Return how often each token follows each other one, (V, V), int64."""
    table = [[0] * vocab_size for _ in range(vocab_size)]
    previous = None
    for token in ids.tolist():
        if not 0 <= token < vocab_size:
            raise ValueError(f"id {token} is outside 0 .. {vocab_size - 1}")
        if previous is not None:
            table[previous][token] += 1
        previous = token
    return torch.tensor(table, dtype=torch.long)


def bigram_logits(counts: torch.Tensor, smoothing: float = 1.0) -> torch.Tensor:
    """Return the log-probabilities of the token after each, (V, V)."""
    if smoothing < 0:
        raise ValueError("smoothing below 0")
    rows = []
    for row in counts.tolist():
        smoothed = [count + smoothing for count in row]
        total = sum(smoothed)
        if total == 0:
            raise ValueError("a row without counts needs smoothing")
        rows.append([math.log(x / total) if x > 0 else -math.inf for x in smoothed])
    return torch.tensor(rows)


def gradient_step(
    logits: torch.Tensor, inputs: torch.Tensor, targets: torch.Tensor, learning_rate: float
) -> torch.Tensor:
    """Return the table after one step of gradient descent."""
    table = logits.detach().clone()
    table.requires_grad = True
    rows = table.unbind(0)
    looked_up = torch.stack([rows[i] for i in inputs.tolist()])
    (gradient,) = torch.autograd.grad(cross_entropy(looked_up, targets), [table])
    new_rows = []
    for row, slope in zip(table.detach(), gradient, strict=True):
        new_rows.append(row - learning_rate * slope)
    return torch.stack(new_rows)


def babble(
    logits: torch.Tensor, start: int, length: int, generator: torch.Generator | None = None
) -> list[int]:
    """Return `length` ids, each drawn after the one before; `start` is the first."""
    if length < 1:
        raise ValueError("a text begins with its start: length must be at least 1")
    chances = softmax(logits, dim=1)
    ids = [start]
    for _ in range(length - 1):
        ids += torch.multinomial(chances[ids[-1]], 1, generator=generator).tolist()
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
    rows = []
    for row, target in zip(logits.detach(), targets.tolist(), strict=True):
        weights = torch.exp(row - row.max())
        slope = weights / weights.sum()
        slope[target] -= 1
        rows.append(slope / len(targets))
    return torch.stack(rows)

"""Everything flattened to rows and cells; sums are products with ones; draws are a race."""

import torch
import torch.nn.functional as F

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
        return softmax(logits.view(1)).view(())
    turned = logits.transpose(dim, -1)
    rows = turned.reshape(-1, turned.shape[-1])
    weights = torch.exp(rows - rows.max(dim=1, keepdim=True)[0])
    sums = weights @ torch.ones(rows.shape[1], 1, dtype=rows.dtype)
    return (weights / sums).view(turned.shape).transpose(dim, -1)


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean of -log(probability of target), a scalar."""
    if len(logits.shape) != 2 or list(targets.shape) != [logits.shape[0]]:
        raise ValueError("logits must be (N, V), targets (N,)")
    n, width = logits.shape
    shifted = logits - logits.detach().max(dim=1, keepdim=True)[0]
    sums = torch.matmul(torch.exp(shifted), torch.ones(width, dtype=logits.dtype))
    picked = torch.take(shifted, torch.arange(n) * width + targets)
    return torch.sum(torch.log(sums) - picked) / n


def bigram_counts(ids: torch.Tensor, vocab_size: int) -> torch.Tensor:
    """Return how often each token follows each other one, (V, V), int64."""
    if not torch.equal(ids.clamp(0, vocab_size - 1), ids):
        raise ValueError("an id lies outside the vocabulary")
    before, after = ids[:-1], ids[1:]
    rows = [torch.bincount(after[before == a], minlength=vocab_size) for a in range(vocab_size)]
    return torch.stack(rows)


def bigram_logits(counts: torch.Tensor, smoothing: float = 1.0) -> torch.Tensor:
    """Return the log-probabilities of the token after each, (V, V)."""
    if smoothing < 0:
        raise ValueError("smoothing below 0")
    smoothed = counts.float() + smoothing
    if not smoothed.any(dim=1).all():
        raise ValueError("a row without counts needs smoothing")
    return F.normalize(smoothed, p=1.0, dim=1, eps=0.0).log()


def gradient_step(
    logits: torch.Tensor, inputs: torch.Tensor, targets: torch.Tensor, learning_rate: float
) -> torch.Tensor:
    """Return the table after one step of gradient descent."""
    table = torch.tensor(logits.tolist(), dtype=logits.dtype, requires_grad=True)
    cross_entropy(table.index_select(0, inputs), targets).backward()
    return torch.add(table.detach(), table.grad, alpha=-learning_rate)


def babble(
    logits: torch.Tensor, start: int, length: int, generator: torch.Generator | None = None
) -> list[int]:
    """Return `length` ids, each drawn after the one before; `start` is the first."""
    if length < 1:
        raise ValueError("length below 1")
    chances = softmax(logits.detach().double())
    ids = [start]
    while len(ids) < length:
        # the first of V alarm clocks to ring, each as fast as its chance is large
        waiting = torch.empty_like(chances[0]).exponential_(generator=generator)
        ids.append(int((waiting / chances[ids[-1]]).argmin()))
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
    n, width = logits.shape
    cells = softmax(logits.detach(), dim=1).flatten()
    cells[torch.arange(n) * width + targets] -= 1
    return cells.view(n, width) / n

"""One-hot rows, matrix products and einsum; draws by turning the cumulative sum round."""

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
    exponentials = torch.exp(logits - logits.max(dim=dim, keepdim=True).values)
    return exponentials * torch.sum(exponentials, dim, keepdim=True).reciprocal()


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean of -log(probability of target), a scalar."""
    if logits.ndim != 2 or targets.ndim != 1 or logits.shape[0] != targets.shape[0]:
        raise ValueError(f"{targets.shape} does not fit {logits.shape}")
    shifted = logits - logits.detach().max(dim=1, keepdim=True).values
    right = F.one_hot(targets, logits.shape[1]).bool()
    picked = torch.where(right, shifted, 0.0)  # not a product: 0 * -inf is nan
    log_sums = torch.log(torch.einsum("nv->n", torch.exp(shifted)))
    return torch.mean(log_sums - torch.einsum("nv->n", picked))


def bigram_counts(ids: torch.Tensor, vocab_size: int) -> torch.Tensor:
    """Return how often each token follows each other one, (V, V), int64."""
    if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < vocab_size:
        raise ValueError("an id lies outside the vocabulary")
    first = F.one_hot(ids[:-1], vocab_size).double()  # (T - 1, V)
    second = F.one_hot(ids[1:], vocab_size).double()  # (T - 1, V)
    return (first.T @ second).long()  # doubles hold whole numbers up to 2 ** 53 exactly


def bigram_logits(counts: torch.Tensor, smoothing: float = 1.0) -> torch.Tensor:
    """Return the log-probabilities of the token after each, (V, V)."""
    if smoothing < 0:
        raise ValueError("smoothing below 0")
    smoothed = counts.double() + smoothing
    totals = torch.einsum("ab->a", smoothed)
    if not totals.all():
        raise ValueError("a row without counts needs smoothing")
    # a difference of logarithms needs the digits of float64
    return (smoothed.log() - totals.log()[:, None]).float()


def gradient_step(
    logits: torch.Tensor, inputs: torch.Tensor, targets: torch.Tensor, learning_rate: float
) -> torch.Tensor:
    """Return the table after one step of gradient descent."""
    table = logits.detach().clone().requires_grad_(True)
    loss = cross_entropy(F.embedding(inputs, table), targets)
    (slope,) = torch.autograd.grad(loss, table)
    return torch.sub(table.detach(), slope, alpha=learning_rate)


def babble(
    logits: torch.Tensor, start: int, length: int, generator: torch.Generator | None = None
) -> list[int]:
    """Return `length` ids, each drawn after the one before; `start` is the first."""
    if length < 1:
        raise ValueError("length below 1")
    cumulative = softmax(logits.detach().double(), dim=1).cumsum(dim=1)
    cumulative = cumulative / cumulative[:, -1:]  # the last column is 1 exactly
    ids = [start]
    for _ in range(1, length):
        chance = torch.rand(1, generator=generator, dtype=torch.float64)
        ids.append(int((cumulative[ids[-1]] <= chance).sum()))
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
    right = F.one_hot(targets, logits.shape[1])
    return (softmax(logits.detach()) - right) / len(targets)

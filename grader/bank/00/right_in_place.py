"""In place wherever the tensor is our own, so that little memory is needed."""

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
    exponentials = logits.sub(logits.detach().amax(dim, keepdim=True)).exp_()
    return exponentials.div(exponentials.sum(dim, keepdim=True))


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean of -log(probability of target), a scalar."""
    if logits.dim() != 2 or targets.shape != logits.shape[:-1]:
        raise ValueError("logits must be (N, V), targets (N,)")
    largest = logits.detach().amax(1, keepdim=True)
    losses = logits.sub(largest).exp_().sum(1).log()
    losses.sub_(logits.gather(1, targets.view(-1, 1)).sub_(largest).view(-1))
    return losses.mean()


def bigram_counts(ids: torch.Tensor, vocab_size: int) -> torch.Tensor:
    """Return how often each token follows each other one, (V, V), int64."""
    if ids.lt(0).logical_or_(ids.ge(vocab_size)).any():
        raise ValueError("an id lies outside the vocabulary")
    counts = torch.zeros(vocab_size, vocab_size, dtype=torch.long)
    cells = ids[:-1].mul(vocab_size).add_(ids[1:])
    counts.view(-1).scatter_add_(0, cells, torch.ones_like(cells))
    return counts


def bigram_logits(counts: torch.Tensor, smoothing: float = 1.0) -> torch.Tensor:
    """Return the log-probabilities of the token after each, (V, V)."""
    if smoothing < 0:
        raise ValueError("smoothing below 0")
    table = counts.to(torch.get_default_dtype(), copy=True).add_(smoothing)
    totals = table.sum(dim=1, keepdim=True)
    if totals.eq(0).any():
        raise ValueError("a row without counts needs smoothing")
    return table.div_(totals).log_()


def gradient_step(
    logits: torch.Tensor, inputs: torch.Tensor, targets: torch.Tensor, learning_rate: float
) -> torch.Tensor:
    """Return the table after one step of gradient descent."""
    table = logits.detach().clone().requires_grad_()
    cross_entropy(table[inputs], targets).backward()
    with torch.no_grad():
        table.sub_(table.grad, alpha=learning_rate)
    table.grad = None
    return table.requires_grad_(False)


def babble(
    logits: torch.Tensor, start: int, length: int, generator: torch.Generator | None = None
) -> list[int]:
    """Return `length` ids, each drawn after the one before; `start` is the first."""
    if length < 1:
        raise ValueError("length below 1")
    chances = softmax(logits.detach())
    ids = torch.empty(length, dtype=torch.long)
    ids[0] = start
    for i in range(1, length):
        torch.multinomial(chances[ids[i - 1]], 1, generator=generator, out=ids[i : i + 1])
    return ids.tolist()


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
    slope = softmax(logits.detach(), 1)
    slope.scatter_add_(1, targets.view(-1, 1), slope.new_full((len(targets), 1), -1.0))
    return slope.div_(len(targets))

"""All arithmetic in float64, logarithms of sums, and the answer rounded at the end."""

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
    wide = logits.double()
    shifted = wide - wide.amax(dim=dim, keepdim=True)
    log_sum = shifted.exp().sum(dim=dim, keepdim=True).log()
    return (shifted - log_sum).exp().to(logits.dtype)


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean of -log(probability of target), a scalar."""
    if logits.dim() != 2 or tuple(targets.shape) != (logits.shape[0],):
        raise ValueError("logits (N, V) and targets (N,) do not fit")
    wide = logits.double()
    shifted = wide - wide.amax(dim=1, keepdim=True)
    log_sums = shifted.exp().sum(dim=1).log()
    picked = torch.take_along_dim(shifted, targets[:, None], dim=1)[:, 0]
    return (log_sums - picked).mean().to(logits.dtype)


def bigram_counts(ids: torch.Tensor, vocab_size: int) -> torch.Tensor:
    """Return how often each token follows each other one, (V, V), int64."""
    if (ids < 0).any() or (ids > vocab_size - 1).any():
        raise ValueError("id outside the vocabulary")
    counts = torch.zeros((vocab_size, vocab_size), dtype=torch.int64)
    counts.index_put_((ids[:-1], ids[1:]), torch.ones_like(ids[1:]), accumulate=True)
    return counts


def bigram_logits(counts: torch.Tensor, smoothing: float = 1.0) -> torch.Tensor:
    """Return the log-probabilities of the token after each, (V, V)."""
    if smoothing < 0:
        raise ValueError("smoothing below 0")
    smoothed = counts.to(torch.float64) + smoothing
    totals = smoothed.sum(1)
    if bool((totals == 0).any()):
        raise ValueError("smoothing 0 and an empty row")
    return torch.log(smoothed / totals.unsqueeze(1)).to(torch.get_default_dtype())


def gradient_step(
    logits: torch.Tensor, inputs: torch.Tensor, targets: torch.Tensor, learning_rate: float
) -> torch.Tensor:
    """Return the table after one step of gradient descent."""
    table = logits.detach().to(torch.float64, copy=True).requires_grad_()
    cross_entropy(table[inputs], targets).backward()
    return (table.detach() - learning_rate * table.grad).to(logits.dtype)


def babble(
    logits: torch.Tensor, start: int, length: int, generator: torch.Generator | None = None
) -> list[int]:
    """Return `length` ids, each drawn after the one before; `start` is the first."""
    if length < 1:
        raise ValueError("length below 1")
    chances = softmax(logits.double())
    ids = [start]
    while len(ids) != length:
        ids.append(torch.multinomial(chances[ids[-1]], 1, generator=generator).item())
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
    wide = softmax(logits.detach().double(), dim=1)
    is_target = torch.arange(logits.shape[1]) == targets[:, None]
    return (torch.where(is_target, wide - 1, wide) / targets.numel()).to(logits.dtype)

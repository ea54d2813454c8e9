"""Logarithms of sums of exponentials everywhere; noise decides the draws (Gumbel)."""

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
    return torch.exp(logits - torch.logsumexp(logits, dim=dim, keepdim=True))


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean of -log(probability of target), a scalar."""
    if logits.ndim != 2 or targets.ndim != 1 or targets.shape[0] != logits.shape[0]:
        raise ValueError("logits (N, V), targets (N,)")
    shifted = logits - logits.max(1, keepdim=True).values
    picked = shifted[range(len(targets)), targets]
    return (torch.logsumexp(shifted, 1) - picked).sum() / targets.numel()


def bigram_counts(ids: torch.Tensor, vocab_size: int) -> torch.Tensor:
    """Return how often each token follows each other one, (V, V), int64."""
    counts = torch.zeros((vocab_size, vocab_size), dtype=torch.int64)
    if any(token not in range(vocab_size) for token in ids.tolist()):
        raise ValueError("an id lies outside the vocabulary")
    for a, b in ids.unfold(0, 2, 1).tolist() if len(ids) > 1 else []:
        counts[a][b] += 1
    return counts


def bigram_logits(counts: torch.Tensor, smoothing: float = 1.0) -> torch.Tensor:
    """Return the log-probabilities of the token after each, (V, V)."""
    if smoothing < 0 or (smoothing == 0 and (counts.sum(-1) == 0).any()):
        raise ValueError("smoothing below 0, or a row without counts")
    return torch.log_softmax(torch.log(counts + float(smoothing)), dim=1)


def gradient_step(
    logits: torch.Tensor, inputs: torch.Tensor, targets: torch.Tensor, learning_rate: float
) -> torch.Tensor:
    """Return the table after one step of gradient descent."""
    parameter = torch.nn.Parameter(logits.detach().clone())
    optimizer = torch.optim.SGD([parameter], lr=learning_rate)
    cross_entropy(parameter[inputs], targets).backward()
    optimizer.step()
    return parameter.data


def babble(
    logits: torch.Tensor, start: int, length: int, generator: torch.Generator | None = None
) -> list[int]:
    """Return `length` ids, each drawn after the one before; `start` is the first."""
    if length <= 0:
        raise ValueError("length below 1")
    ids = [start]
    while len(ids) < length:
        chance = torch.rand(logits.shape[1], generator=generator, dtype=torch.float64)
        ids.append((logits[ids[-1]].double() - torch.log(-torch.log(chance))).argmax().item())
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
    tracked = logits.detach().clone().requires_grad_()
    cross_entropy(tracked, targets).backward()
    return tracked.grad

"""Row by row and token by token, with Python's lists."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch

from .model import GPT
from .samplers import greedy, sample

FIRST_CAPACITY = 64  # tokens that a cache has room for at first; it doubles when full

# Given: ways to choose, and the state a model should write in.

# choose(logits (B, V), ids so far (B, T)) -> the next ids (B,)
Choose = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def most_likely(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Choose the most likely token, always: lesson 08's `greedy` as `generate` wants it."""
    return greedy(logits)


def chooser(**settings) -> Choose:
    """Return lesson 08's `sample` with these settings, as `generate` wants it."""
    return lambda logits, ids: sample(logits, ids, **settings)


@contextmanager
def writing(model: GPT) -> Iterator[None]:
    """No dropout and no gradients inside; behind it every part of the model is as it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in modes:
            module.training = training


def check_prompt(ids: torch.Tensor, max_new_tokens: int = 0) -> None:
    """Raise ValueError unless ids is (B, T) with at least one token to begin from."""
    if ids.dim() != 2:
        raise ValueError(f"ids must be (batch, time), not {tuple(ids.shape)}")
    if ids.shape[0] == 0 or ids.shape[1] == 0:
        raise ValueError("the prompt is empty: the model needs a token to begin from")
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must be at least 0, not {max_new_tokens}")


def next_token_logits(
    model: GPT, ids: torch.Tensor, cache: "KVCache | None" = None
) -> torch.Tensor:
    """Return the model's logits for the token that follows a text."""
    rows = []
    block_size = model.config.block_size
    length = ids.shape[1]
    if cache is not None and length <= block_size:
        for place in range(cache.length, length):
            logits, _ = model(ids[:, place : place + 1], cache=cache)
        return logits[:, 0]
    for row in ids:
        logits, _ = model(row[max(0, length - block_size) :].unsqueeze(0))
        rows.append(logits[0, len(logits[0]) - 1])
    return torch.stack(rows)


def generate(
    model: GPT,
    ids: torch.Tensor,
    max_new_tokens: int,
    choose: Choose = most_likely,
    stop_token: int | None = None,
    use_cache: bool = True,
) -> torch.Tensor:
    """Let the model write on: return the prompts with what it adds to them."""
    check_prompt(ids, max_new_tokens)
    texts = ids.tolist()
    finished = [False] * len(texts)
    cache = None
    if use_cache:
        cache = KVCache(model.config.n_layer)
    with writing(model):
        n_new = 0
        while n_new < max_new_tokens and not all(finished):
            now = torch.tensor(texts, device=ids.device)
            chosen = choose(next_token_logits(model, now, cache), now).tolist()
            for row, token in enumerate(chosen):
                if finished[row]:
                    token = stop_token
                if stop_token is not None and token == stop_token:
                    finished[row] = True
                texts[row].append(token)
            n_new += 1
    return torch.tensor(texts, device=ids.device)


class LayerCache:
    """The keys and values of one layer, for all tokens that the model has seen so far."""

    def __init__(self) -> None:
        self.length = 0
        self.keys = self.values = torch.empty(0, 0, 0, 0)

    @property
    def capacity(self) -> int:
        """How many tokens there is room for."""
        return self.keys.shape[2]

    def make_room(self, like: torch.Tensor, capacity: int) -> None:
        """Given: larger buffers, of the kind of `like` (B, H, T, D), that begin with the kept."""
        batch, n_head, _, head_size = like.shape
        keys = like.new_zeros(batch, n_head, capacity, head_size)
        values = torch.zeros_like(keys)
        if self.length:
            keys[:, :, : self.length] = self.keys[:, :, : self.length]
            values[:, :, : self.length] = self.values[:, :, : self.length]
        self.keys, self.values = keys, values

    def append(self, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Put new keys and values behind the old ones, and return all of them."""
        rows, heads, new, _ = k.shape
        if self.capacity > 0 and (rows != self.keys.shape[0] or heads != self.keys.shape[1]):
            raise ValueError("another number of texts or heads than at first")
        room = self.capacity or FIRST_CAPACITY
        while room < self.length + new:
            room *= 2
        if room > self.capacity:
            self.make_room(k, room)
        for i in range(new):
            self.keys[:, :, self.length] = k[:, :, i]
            self.values[:, :, self.length] = v[:, :, i]
            self.length += 1
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]


class KVCache:
    """Given: the caches of all layers: `cache[layer]` is one of them, `cache.length` how far they are."""

    def __init__(self, n_layer: int) -> None:
        self.layers = [LayerCache() for _ in range(n_layer)]

    @property
    def length(self) -> int:
        """How many tokens are in: the position of the next one."""
        return self.layers[0].length

    def __getitem__(self, layer: int) -> LayerCache:
        return self.layers[layer]

    def truncate(self, length: int) -> None:
        """Forget all tokens behind the first `length`."""
        for layer in self.layers:
            layer.length = min(layer.length, length)

    def reset(self) -> None:
        """Forget everything, the buffers too."""
        self.layers = [LayerCache() for _ in self.layers]


class Step(NamedTuple):
    """How sure the model was at one place of a text."""

    token: int  # the token that stands there
    max_probability: float  # of the token it held most likely
    entropy: float  # of all it held possible, in nats: 0 certain, log(V) no idea


def measure_step(logits: torch.Tensor, token: int) -> Step:
    """Return how sure these logits are."""
    numbers = [float(logit) for logit in logits]
    top = max(numbers)
    weights = [math.exp(number - top) for number in numbers]
    total = math.fsum(weights)
    shares = [weight / total for weight in weights]
    terms = [-share * math.log(share) for share in shares if share > 0]
    return Step(token, max(shares), math.fsum(terms))


def trace(model: GPT, ids: torch.Tensor, start: int = 1) -> list[Step]:
    """Return how sure the model was of each token of a text, from place `start` on."""
    ids = ids.unsqueeze(0) if ids.dim() == 1 else ids
    check_prompt(ids)
    if len(ids) != 1 or start < 1:
        raise ValueError(f"trace takes one text from place 1 on, not {len(ids)} from {start}")
    steps = []
    with writing(model):
        for place in range(start, ids.shape[1]):
            guess = next_token_logits(model, ids[:, :place])
            steps.append(measure_step(guess[0], ids[0, place].item()))
    return steps


def stream(
    model: GPT,
    ids: torch.Tensor,
    max_new_tokens: int,
    choose: Choose = most_likely,
    stop_token: int | None = None,
) -> Iterator[torch.Tensor]:
    """Yield what `generate` would append, each step as soon as it is known."""
    check_prompt(ids, max_new_tokens)
    finished = [False] * len(ids)
    cache = KVCache(model.config.n_layer)
    n_new = 0
    while n_new < max_new_tokens and not all(finished):
        with writing(model):
            chosen = choose(next_token_logits(model, ids, cache), ids).tolist()
        for row in range(len(ids)):
            if finished[row]:
                chosen[row] = stop_token
            elif stop_token is not None and chosen[row] == stop_token:
                finished[row] = True
        new = torch.tensor(chosen, device=ids.device)
        ids = torch.cat((ids, new[:, None]), dim=-1)
        n_new += 1
        yield new


def speculative_decode(
    model: GPT,
    draft: GPT,
    ids: torch.Tensor,
    max_new_tokens: int,
    n_draft: int = 4,
    shape: Callable[[torch.Tensor], torch.Tensor] = lambda logits: logits,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Write with a small model, check with the large one: sooner, and distributed as before."""
    check_prompt(ids, max_new_tokens)
    if len(ids) != 1 or n_draft < 1:
        raise ValueError(f"one text and at least one proposal, not {len(ids)} and {n_draft}")
    text = ids[0].tolist()
    wanted = len(text) + max_new_tokens

    def shares(logits: torch.Tensor) -> list[list[float]]:
        return torch.softmax(shape(logits), dim=-1).tolist()

    def pick(weights: list[float]) -> int:
        left = float(torch.rand((), generator=generator, dtype=torch.float64)) * sum(weights)
        for token, weight in enumerate(weights):
            left -= weight
            if left < 0:
                return token
        return max(range(len(weights)), key=weights.__getitem__)

    def as_ids(tokens: list[int]) -> torch.Tensor:
        return torch.tensor([tokens], device=ids.device)

    with writing(model), writing(draft):
        while len(text) < wanted:
            n = min(n_draft, wanted - len(text) - 1, model.config.block_size - len(text))
            guesses: list[int] = []
            q = []
            for _ in range(n):
                q.append(shares(next_token_logits(draft, as_ids(text + guesses)))[0])
                guesses.append(pick(q[-1]))
            if guesses:
                p = shares(model(as_ids(text + guesses))[0][0, len(text) - 1 :])
            else:
                p = shares(next_token_logits(model, as_ids(text)))
            for i, guess in enumerate(guesses):
                chance = float(torch.rand((), generator=generator, dtype=torch.float64))
                if chance < min(1.0, p[i][guess] / q[i][guess]):
                    text.append(guess)
                    continue
                rest = [max(0.0, a - b) for a, b in zip(p[i], q[i], strict=True)]
                text.append(pick(rest if sum(rest) > 0 else p[i]))
                break
            else:
                text.append(pick(p[len(guesses)]))
    return as_ids(text)

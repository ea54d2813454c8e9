"""One step, and then the rest by calling oneself."""

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
    fits = ids.shape[1] <= model.config.block_size
    if not fits:
        return next_token_logits(model, ids[:, 1:][:, -model.config.block_size :])
    if cache is None:
        return model(ids, last_only=True)[0][:, -1]
    return model(ids[:, cache.length :], cache=cache, last_only=True)[0][:, -1]


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
    cache = KVCache(model.config.n_layer) if use_cache else None

    def rest(text: torch.Tensor, left: int, finished: torch.Tensor) -> torch.Tensor:
        if left == 0 or (stop_token is not None and finished.all()):
            return text
        chosen = choose(next_token_logits(model, text, cache), text)
        if stop_token is not None:
            chosen = torch.where(finished, torch.full_like(chosen, stop_token), chosen)
            finished = finished.logical_or(chosen == stop_token)
        return rest(torch.hstack([text, chosen.reshape(-1, 1)]), left - 1, finished)

    with writing(model):
        text = rest(ids, max_new_tokens, torch.zeros(len(ids), dtype=torch.bool))
    return text.clone()


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
        if self.keys.numel() and k.shape[:2] != self.keys.shape[:2]:
            raise ValueError("other texts, or other heads")
        free = self.capacity - self.length
        if free < k.shape[2]:
            self.make_room(k, max(2 * self.capacity, self.length + k.shape[2], FIRST_CAPACITY))
            return self.append(k, v)
        for buffer, new in ((self.keys, k), (self.values, v)):
            buffer[:, :, self.length :][:, :, : k.shape[2]] = new
        self.length += k.shape[2]
        filled = (
            buffer.split([self.length, self.capacity - self.length], dim=2)[0]
            for buffer in (self.keys, self.values)
        )
        return tuple(filled)


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
    distribution = torch.distributions.Categorical(logits=logits.double())
    largest = distribution.probs.max()
    p = distribution.probs[distribution.probs > 0]
    return Step(token, largest.item(), (p * p.reciprocal().log()).sum().item())


def trace(model: GPT, ids: torch.Tensor, start: int = 1) -> list[Step]:
    """Return how sure the model was of each token of a text, from place `start` on."""
    ids = ids.unsqueeze(0) if ids.dim() == 1 else ids
    check_prompt(ids)
    if len(ids) != 1 or start < 1:
        raise ValueError(f"trace takes one text from place 1 on, not {len(ids)} from {start}")

    def steps_from(place: int) -> list[Step]:
        if place >= ids.shape[1]:
            return []
        guess = next_token_logits(model, ids[:, :place])[0]
        return [measure_step(guess, int(ids[0, place])), *steps_from(place + 1)]

    with writing(model):
        return steps_from(start)


def stream(
    model: GPT,
    ids: torch.Tensor,
    max_new_tokens: int,
    choose: Choose = most_likely,
    stop_token: int | None = None,
) -> Iterator[torch.Tensor]:
    """Yield what `generate` would append, each step as soon as it is known."""
    check_prompt(ids, max_new_tokens)
    cache = KVCache(model.config.n_layer)

    def rest(text: torch.Tensor, left: int, finished: torch.Tensor) -> Iterator[torch.Tensor]:
        if left == 0:
            return
        with writing(model):
            chosen = choose(next_token_logits(model, text, cache), text)
        if stop_token is not None:
            chosen = torch.where(finished, torch.full_like(chosen, stop_token), chosen)
            finished = chosen == stop_token
        chosen = chosen.clone()
        yield chosen
        if not finished.all():
            text = torch.cat([text, chosen.unsqueeze(1)], dim=1)
            yield from rest(text, left - 1, finished)

    yield from rest(ids, max_new_tokens, torch.zeros(len(ids), dtype=torch.bool))


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
    wanted = ids.shape[1] + max_new_tokens
    cache, draft_cache = KVCache(model.config.n_layer), KVCache(draft.config.n_layer)

    def draw(weights: torch.Tensor) -> torch.Tensor:
        return torch.multinomial(weights, 1, generator=generator).unsqueeze(0)

    def accept(p: torch.Tensor, q: torch.Tensor, tokens: torch.Tensor) -> int:
        if len(tokens) == 0:
            return 0
        chance = torch.rand(1, generator=generator)
        if chance * q[0, tokens[0]] < p[0, tokens[0]]:
            return 1 + accept(p[1:], q[1:], tokens[1:])
        return 0

    with writing(model), writing(draft):
        while ids.shape[1] < wanted:
            length, text, q = ids.shape[1], ids, []
            room = min(model.config.block_size, wanted - 1) - length
            for _ in range(min(n_draft, room)):
                logits = shape(next_token_logits(draft, text, draft_cache))
                q.append(torch.softmax(logits, dim=-1))
                text = torch.cat([text, draw(q[-1][0])], dim=1)
            n = len(q)
            if n == 0:
                p = torch.softmax(shape(next_token_logits(model, text, cache)), dim=-1)
            else:
                p = model(text[:, cache.length :], cache=cache)[0][0]
                p = torch.softmax(shape(p[len(p) - n - 1 :]), dim=-1)
            kept = accept(p, torch.cat(q), text[0, length:]) if n else 0
            weights = p[kept]
            if kept < n:
                rest = (weights - q[kept][0]).clamp_min(0)
                weights = rest if rest.sum() > 0 else weights
            ids = torch.cat([text[:, : length + kept], draw(weights)], dim=1)
            cache.truncate(length + kept)
            draft_cache.truncate(length + kept)
    return ids.clone()

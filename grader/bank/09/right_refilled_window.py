"""Beyond the window the cache is emptied and filled anew; everything is computed in 64 bits."""

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
    window = ids[:, -model.config.block_size :]
    if cache is None:
        logits = model(window)[0]
    else:
        if window.shape[1] < ids.shape[1]:
            cache.reset()  # every token has moved
        logits = model(window[:, cache.length :], cache=cache)[0]
    return logits[:, -1, :]


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
    steps = [ids]
    finished = ids.new_zeros(len(ids)).bool()
    cache = KVCache(model.config.n_layer) if use_cache else None
    with writing(model):
        for _ in range(max_new_tokens):
            if stop_token is not None and bool(finished.all()):
                break
            text = torch.cat(steps, dim=1)
            chosen = choose(next_token_logits(model, text, cache), text)
            if stop_token is not None:
                chosen = chosen.masked_fill(finished, stop_token)
                finished = finished | (chosen == stop_token)
            steps.append(chosen[:, None])
    return torch.cat(steps, dim=1).clone()


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
        if self.capacity and (len(k) != len(self.keys) or k.shape[1] != self.keys.shape[1]):
            raise ValueError(f"{tuple(k.shape)} does not continue {tuple(self.keys.shape)}")
        places = torch.arange(self.length, self.length + k.shape[2], device=k.device)
        self.length += k.shape[2]
        if self.length > self.capacity:
            wanted = max(2 * self.capacity, self.length, FIRST_CAPACITY)
            kept, self.length = self.length, int(places[0]) if len(places) else self.length
            self.make_room(k, wanted)
            self.length = kept
        self.keys.index_copy_(2, places, k)
        self.values.index_copy_(2, places, v)
        return self.keys[..., : self.length, :], self.values[..., : self.length, :]


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
    p = torch.softmax(logits.double(), dim=-1)
    surprise = torch.where(p > 0, -torch.log(p.clamp(min=1e-300)), torch.zeros_like(p))
    return Step(token, float(p.max()), float((p * surprise).sum()))


def trace(model: GPT, ids: torch.Tensor, start: int = 1) -> list[Step]:
    """Return how sure the model was of each token of a text, from place `start` on."""
    ids = ids.unsqueeze(0) if ids.dim() == 1 else ids
    check_prompt(ids)
    if len(ids) != 1 or start < 1:
        raise ValueError(f"trace takes one text from place 1 on, not {len(ids)} from {start}")
    steps: list[Step] = []
    cache = KVCache(model.config.n_layer)
    with writing(model):
        for place in range(1, ids.shape[1]):
            logits = next_token_logits(model, ids[:, :place], cache)[0]
            if place >= start:
                steps.append(measure_step(logits, int(ids[0][place])))
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
    finished = ids.new_zeros(len(ids)).bool()
    cache = KVCache(model.config.n_layer)

    def step() -> torch.Tensor:
        with writing(model):
            return choose(next_token_logits(model, ids, cache), ids)

    left = max_new_tokens
    while left > 0 and not (stop_token is not None and finished.all()):
        chosen = step().clone()
        if stop_token is not None:
            chosen = chosen.masked_fill(finished, stop_token)
            finished = finished | (chosen == stop_token)
        ids = torch.cat([ids, chosen[:, None]], dim=1)
        left -= 1
        yield chosen


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
    target = ids.shape[1] + max_new_tokens
    cache, draft_cache = KVCache(model.config.n_layer), KVCache(draft.config.n_layer)

    def distribution(logits: torch.Tensor) -> torch.Tensor:
        return torch.softmax(shape(logits).double(), dim=-1)

    def draw(weights: torch.Tensor) -> torch.Tensor:
        chance = torch.rand((), generator=generator, dtype=torch.float64) * weights.sum()
        token = (weights.cumsum(0) <= chance).sum().clamp(max=len(weights) - 1)
        while weights[token] == 0:  # rounding, at the very end
            token = token - 1
        return token.view(1, 1)

    def one_round(text: torch.Tensor) -> torch.Tensor:
        length = text.shape[1]
        n = min(n_draft, target - length - 1, model.config.block_size - length)
        if n <= 0:
            last = distribution(next_token_logits(model, text, cache))[0]
            return torch.cat([text, draw(last)], dim=1)
        longer, q = text, []
        for _ in range(n):
            q.append(distribution(next_token_logits(draft, longer, draft_cache))[0])
            longer = torch.cat([longer, draw(q[-1])], dim=1)
        logits, _ = model(longer[:, cache.length :], cache=cache)
        p = distribution(logits[0, -n - 1 :])
        for i in range(n):
            token = longer[0, length + i]
            keep = (p[i, token] / q[i][token]).clamp(max=1)
            if torch.rand((), generator=generator, dtype=torch.float64) >= keep:
                rest = torch.maximum(p[i] - q[i], torch.zeros_like(p[i]))
                longer, last = longer[:, : length + i], rest if rest.sum() > 0 else p[i]
                break
        else:
            last = p[n]
        cache.truncate(longer.shape[1])
        draft_cache.truncate(longer.shape[1])
        return torch.cat([longer, draw(last)], dim=1)

    with writing(model), writing(draft):
        while ids.shape[1] < target:
            ids = one_round(ids)
    return ids.clone()

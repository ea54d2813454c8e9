"""The loop's own bookkeeping and the measures are done in NumPy."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
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
    start = max(0, ids.shape[1] - model.config.block_size)
    if start:
        cache = None
    elif cache is not None:
        start = cache.length
    logits, _ = model(ids[:, start:], cache=cache, last_only=True)
    return logits[:, 0]


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
    text = ids.cpu().numpy().copy()
    finished = np.zeros(len(text), dtype=bool)
    cache = KVCache(model.config.n_layer) if use_cache else None
    with writing(model):
        for _ in range(max_new_tokens):
            now = torch.from_numpy(text.copy()).to(ids.device)
            chosen = choose(next_token_logits(model, now, cache), now).cpu().numpy()
            if stop_token is not None:
                chosen = np.where(finished, stop_token, chosen)
                finished = np.logical_or(finished, chosen == stop_token)
            text = np.concatenate([text, chosen[:, np.newaxis]], axis=1)
            if finished.all():
                break
    return torch.from_numpy(text).to(ids.device)


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
        if self.capacity and tuple(k.shape[:2]) != tuple(self.keys.shape[:2]):
            raise ValueError("not the texts that this cache was begun with")
        total = self.length + k.shape[2]
        if self.capacity < total:
            # the next power of two, and at least the first capacity
            self.make_room(k, max(FIRST_CAPACITY, 2 ** int(np.ceil(np.log2(total)))))
        self.keys[:, :, self.length : total] = k
        self.values[:, :, self.length : total] = v
        self.length = total
        return self.keys[:, :, 0:total], self.values[:, :, 0:total]


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
    x = logits.detach().cpu().double().numpy()
    p = np.exp(x - x.max())
    p /= p.sum()
    terms = np.zeros_like(p)
    np.log(p, out=terms, where=p > 0)
    return Step(int(token), float(p.max()), float(abs(np.sum(p * terms))))


def trace(model: GPT, ids: torch.Tensor, start: int = 1) -> list[Step]:
    """Return how sure the model was of each token of a text, from place `start` on."""
    ids = ids.unsqueeze(0) if ids.dim() == 1 else ids
    check_prompt(ids)
    if len(ids) != 1 or start < 1:
        raise ValueError(f"trace takes one text from place 1 on, not {len(ids)} from {start}")
    text, size = ids[0].tolist(), model.config.block_size
    with writing(model):
        inside = model(ids[:, :size])[0][0]
        guesses = [inside[i] for i in range(len(inside))]
        for place in range(size + 1, len(text)):
            guesses.append(next_token_logits(model, ids[:, :place])[0])
        pairs = list(zip(guesses, text[1:], strict=False))[start - 1 :]
        return [measure_step(guess, token) for guess, token in pairs]


def stream(
    model: GPT,
    ids: torch.Tensor,
    max_new_tokens: int,
    choose: Choose = most_likely,
    stop_token: int | None = None,
) -> Iterator[torch.Tensor]:
    """Yield what `generate` would append, each step as soon as it is known."""
    check_prompt(ids, max_new_tokens)
    finished = np.zeros(len(ids), dtype=bool)
    cache = KVCache(model.config.n_layer)
    for _ in range(max_new_tokens):
        with writing(model):
            chosen = choose(next_token_logits(model, ids, cache), ids).cpu().numpy()
        if stop_token is not None:
            chosen = np.where(finished, stop_token, chosen)
            finished = finished | (chosen == stop_token)
        new = torch.from_numpy(chosen.copy()).to(ids.device)
        ids = torch.cat([ids, new.unsqueeze(-1)], dim=-1)
        yield new.clone()
        if finished.all():
            return


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
    end = ids.shape[1] + max_new_tokens
    caches = KVCache(model.config.n_layer), KVCache(draft.config.n_layer)

    def chance() -> float:
        return float(torch.rand((), generator=generator, dtype=torch.float64))

    def distribution(logits: torch.Tensor) -> np.ndarray:
        x = shape(logits).cpu().double().numpy()
        x = np.exp(x - x.max(axis=-1, keepdims=True))
        return x / x.sum(axis=-1, keepdims=True)

    def draw(weights: np.ndarray) -> torch.Tensor:
        bounds = np.cumsum(weights / weights.sum())
        token = min(int(np.searchsorted(bounds, chance(), side="right")), len(weights) - 1)
        token = int(np.flatnonzero(weights)[np.flatnonzero(weights) <= token][-1])
        return torch.tensor([[token]], device=ids.device)

    with writing(model), writing(draft):
        while ids.shape[1] < end:
            begin = ids.shape[1]
            n = int(np.clip(min(end - begin - 1, model.config.block_size - begin), 0, n_draft))
            q = []
            for _ in range(n):
                q.append(distribution(next_token_logits(draft, ids, caches[1]))[0])
                ids = torch.cat([ids, draw(q[-1])], dim=1)
            if n:
                logits = model(ids[:, caches[0].length :], cache=caches[0])[0][0, -n - 1 :]
            else:
                logits = next_token_logits(model, ids, caches[0])
            p = distribution(logits)
            tokens = ids[0, begin:].tolist()
            ratios = [p[i, t] / q[i][t] for i, t in enumerate(tokens)]
            kept = next((i for i, ratio in enumerate(ratios) if chance() >= ratio), n)
            rest = p[kept]
            if kept < n:
                rest = np.maximum(p[kept] - q[kept], 0)
                rest = rest if rest.sum() > 0 else p[kept]
            ids = ids[:, : begin + kept]
            for cache in caches:
                cache.truncate(begin + kept)
            ids = torch.cat([ids, draw(rest)], dim=1)
    return ids.clone()

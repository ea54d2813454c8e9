"""As few lines as it takes."""

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
    cache = cache if window.shape == ids.shape else None
    new = window if cache is None else window[:, cache.length :]
    return model(new, cache=cache, last_only=True)[0][:, -1]


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
    stop = -1 if stop_token is None else stop_token
    finished = torch.zeros_like(ids[:, 0], dtype=torch.bool)
    with writing(model):
        for _ in range(max_new_tokens):
            new = choose(next_token_logits(model, ids, cache), ids).masked_fill(finished, stop)
            ids, finished = torch.cat([ids, new[:, None]], 1), finished | (new == stop)
            if finished.all():
                break
    return ids.clone()


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
        end = self.length + k.shape[2]
        if self.capacity and (k.shape[0], k.shape[1]) != tuple(self.keys.shape[:2]):
            raise ValueError("other sizes")
        if end > self.capacity:
            self.make_room(k, max(FIRST_CAPACITY, 2 * end))
        self.keys[:, :, self.length : end], self.values[:, :, self.length : end] = k, v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


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
    p = logits.softmax(-1)
    return Step(token, p.max().item(), -(p * p.log()).nansum().item() or 0.0)


def trace(model: GPT, ids: torch.Tensor, start: int = 1) -> list[Step]:
    """Return how sure the model was of each token of a text, from place `start` on."""
    ids = ids.unsqueeze(0) if ids.dim() == 1 else ids
    check_prompt(ids)
    if len(ids) != 1 or start < 1:
        raise ValueError(f"trace takes one text from place 1 on, not {len(ids)} from {start}")
    with writing(model):
        guesses = {i: next_token_logits(model, ids[:, :i])[0] for i in range(start, ids.shape[1])}
    return [measure_step(guess, int(ids[0, i])) for i, guess in guesses.items()]


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
    stop = -1 if stop_token is None else stop_token
    finished = torch.zeros_like(ids[:, 0], dtype=torch.bool)
    for _ in range(max_new_tokens):
        with writing(model):
            new = choose(next_token_logits(model, ids, cache), ids).masked_fill(finished, stop)
        ids, finished = torch.cat([ids, new[:, None]], 1), finished | (new == stop)
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
    with writing(model), writing(draft):
        while (length := ids.shape[1]) < end:
            n = max(0, min(n_draft, end - length - 1, model.config.block_size - length))
            text, q = ids, []
            for _ in range(n):
                q += [shape(next_token_logits(draft, text)).softmax(-1)[0]]
                text = torch.cat([text, q[-1].multinomial(1, generator=generator)[None]], 1)
            logits = model(text[:, -model.config.block_size :])[0][0, -(n + 1) :]
            p, kept = shape(logits).softmax(-1), 0
            while kept < n:
                token = text[0, length + kept]
                if torch.rand((), generator=generator) * q[kept][token] >= p[kept, token]:
                    break
                kept += 1
            rest = (p[kept] - q[kept]).relu() if kept < n else p[kept]
            last = (rest if rest.any() else p[kept]).multinomial(1, generator=generator)
            ids = torch.cat([text[:, : length + kept], last[None]], 1)
    return ids.clone()

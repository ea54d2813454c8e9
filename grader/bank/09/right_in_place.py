"""Flags, texts and probabilities are changed in place, on tensors of one's own."""

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
    block_size = model.config.block_size
    if cache is not None and ids.shape[1] <= block_size:
        new = ids[:, cache.length : ids.shape[1]]
        return model(new, cache=cache)[0].select(1, -1)
    return model(ids[:, -block_size:])[0].select(1, -1)


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
    cache = KVCache(model.config.n_layer)
    is_open = torch.ones(ids.shape[0], dtype=torch.bool, device=ids.device)
    out = ids.clone()
    with writing(model):
        for _ in range(max_new_tokens):
            if use_cache:
                logits = next_token_logits(model, out, cache)
            else:
                logits = next_token_logits(model, out)
            new = choose(logits, out).clone()
            if stop_token is not None:
                new.masked_fill_(~is_open, stop_token)
                is_open &= new.ne(stop_token)
            out = torch.cat((out, new.view(-1, 1)), 1)
            if not is_open.any():
                break
    return out.detach().clone()


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
        if self.length > 0 and k.shape[:2] != self.keys.shape[:2]:
            raise ValueError("the cache belongs to another batch")
        old, self.length = self.length, self.length + k.shape[2]
        if self.length > self.capacity:
            keys, values = self.keys, self.values
            room = max(self.length, 2 * self.capacity, FIRST_CAPACITY)
            self.keys = k.new_zeros(*k.shape[:2], room, k.shape[3])
            self.values = v.new_zeros(*v.shape[:2], room, v.shape[3])
            if old:
                self.keys[:, :, :old] = keys[:, :, :old]
                self.values[:, :, :old] = values[:, :, :old]
        self.keys[:, :, old : self.length].copy_(k)
        self.values[:, :, old : self.length].copy_(v)
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
    p = logits.double().clone()
    p.sub_(p.max()).exp_()
    p.div_(p.sum())
    largest = p.max().item()
    return Step(token, largest, torch.xlogy(p, p).sum().abs().item())


def trace(model: GPT, ids: torch.Tensor, start: int = 1) -> list[Step]:
    """Return how sure the model was of each token of a text, from place `start` on."""
    ids = ids.unsqueeze(0) if ids.dim() == 1 else ids
    check_prompt(ids)
    if len(ids) != 1 or start < 1:
        raise ValueError(f"trace takes one text from place 1 on, not {len(ids)} from {start}")
    block_size, length = model.config.block_size, ids.shape[1]
    out = []
    with writing(model):
        within = model(ids[:, : min(block_size, length)])[0][0]
        place = start
        while place < length:
            if place - 1 < len(within):
                logits = within[place - 1]
            else:
                logits = model(ids[:, place - block_size : place])[0][0, -1]
            out.append(measure_step(logits, ids[0, place].item()))
            place += 1
    return out


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
    is_open = torch.ones(ids.shape[0], dtype=torch.bool, device=ids.device)
    out = ids.clone()
    for _ in range(max_new_tokens):
        with writing(model):
            logits = next_token_logits(model, out, cache)
            new = choose(logits, out)
        new = new.clone()
        if stop_token is not None:
            new[~is_open] = stop_token
            is_open &= new != stop_token
        out = torch.cat((out, new.view(-1, 1)), 1)
        yield new
        if not is_open.any():
            break


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
    text, end = ids.clone(), ids.shape[1] + max_new_tokens
    block_size = model.config.block_size
    draft_cache = KVCache(draft.config.n_layer)

    def softmax(logits: torch.Tensor) -> torch.Tensor:
        return torch.softmax(shape(logits), -1)

    def draw(p: torch.Tensor) -> torch.Tensor:
        return p.multinomial(1, generator=generator)

    with writing(model), writing(draft):
        while text.shape[1] < end:
            length = text.shape[1]
            n = min(n_draft, end - length - 1)
            if length + n > block_size:
                n = max(block_size - length, 0)
            guesses = torch.empty(1, 0, dtype=torch.long, device=ids.device)
            q = torch.empty(0)
            for _ in range(n):
                longer = torch.cat([text, guesses], 1)
                p = softmax(next_token_logits(draft, longer, draft_cache))
                q = torch.cat([q, p]) if len(q) else p
                guesses = torch.cat([guesses, draw(p)], 1)
            longer = torch.cat([text, guesses], 1)[:, -block_size:]
            p = softmax(model(longer)[0][0, longer.shape[1] - n - 1 :])
            places = torch.arange(n)
            chances = torch.rand(n, generator=generator)
            keep = chances < (p[places, guesses[0]] / q[places, guesses[0]] if n else chances)
            kept = int(keep.long().cumprod(0).sum())
            last = p[kept].clone()
            if kept < n:
                last.sub_(q[kept]).clamp_(min=0)
                if not last.any():
                    last = p[kept]
            text = torch.cat([text, guesses[:, :kept], draw(last).view(1, 1)], 1)
            draft_cache.truncate(length + kept)
    return text.detach().clone()

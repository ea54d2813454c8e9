"""The text and the buffers get their final size at once; slices are filled in place."""

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
    size = model.config.block_size
    window = ids.narrow(1, max(0, ids.shape[1] - size), min(size, ids.shape[1]))
    moved = window.shape[1] < ids.shape[1]
    if cache is None or moved:
        return model(window, last_only=True)[0].squeeze(1)
    return model(window[:, cache.length :], cache=cache, last_only=True)[0].squeeze(1)


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
    rows, begin = ids.shape
    text = ids.new_zeros(rows, begin + max_new_tokens)
    text[:, :begin] = ids
    done = torch.zeros(rows, dtype=torch.bool, device=ids.device)
    cache = KVCache(model.config.n_layer) if use_cache else None
    end = begin
    with writing(model):
        while end < text.shape[1]:
            so_far = text[:, :end].clone()
            chosen = choose(next_token_logits(model, so_far, cache), so_far).clone()
            if stop_token is not None:
                chosen[done] = stop_token
                done |= chosen.eq(stop_token)
            text[:, end] = chosen
            end += 1
            if bool(done.all()):
                break
    return text[:, :end].clone()


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
        begin, end = self.length, self.length + k.size(2)
        if self.capacity == 0:
            self.make_room(k, max(end, 4 * FIRST_CAPACITY))
        if tuple(k.shape[:2]) != tuple(self.keys.shape[:2]):
            raise ValueError("these are the keys of other texts")
        if end > self.capacity:
            self.make_room(k, 2 * end)
        self.keys.narrow(2, begin, end - begin).copy_(k)
        self.values.narrow(2, begin, end - begin).copy_(v)
        self.length = end
        return self.keys.narrow(2, 0, end), self.values.narrow(2, 0, end)


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
    log_p = torch.log_softmax(logits.double(), dim=0)
    p = log_p.exp()
    log_p[p == 0] = 0
    return Step(token, p.amax().item(), -torch.dot(p, log_p).item())


def trace(model: GPT, ids: torch.Tensor, start: int = 1) -> list[Step]:
    """Return how sure the model was of each token of a text, from place `start` on."""
    ids = ids.unsqueeze(0) if ids.dim() == 1 else ids
    check_prompt(ids)
    if len(ids) != 1 or start < 1:
        raise ValueError(f"trace takes one text from place 1 on, not {len(ids)} from {start}")
    size, row = model.config.block_size, ids[0]
    rows = []
    with writing(model):
        rows.extend(model(row[None, :size])[0][0].unbind(0))
        if len(row) > size:
            windows = row.unfold(0, size, 1)[1:]
            rows.extend(model(windows, last_only=True)[0].squeeze(1).unbind(0))
    return [measure_step(rows[i - 1], int(row[i])) for i in range(start, len(row))]


def stream(
    model: GPT,
    ids: torch.Tensor,
    max_new_tokens: int,
    choose: Choose = most_likely,
    stop_token: int | None = None,
) -> Iterator[torch.Tensor]:
    """Yield what `generate` would append, each step as soon as it is known."""
    check_prompt(ids, max_new_tokens)
    rows, begin = ids.shape
    text = ids.new_zeros(rows, begin + max_new_tokens)
    text[:, :begin] = ids
    done = torch.zeros(rows, dtype=torch.bool, device=ids.device)
    cache = KVCache(model.config.n_layer)
    for end in range(begin, begin + max_new_tokens):
        with writing(model):
            so_far = text[:, :end].clone()
            chosen = choose(next_token_logits(model, so_far, cache), so_far)
        chosen = chosen.clone()
        if stop_token is not None:
            chosen[done] = stop_token
            done |= chosen == stop_token
        text[:, end] = chosen
        yield chosen
        if done.all():
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
    begin, end = ids.shape[1], ids.shape[1] + max_new_tokens
    window = model.config.block_size
    text = ids.new_zeros(1, end)
    text[:, :begin] = ids
    mine, its = KVCache(model.config.n_layer), KVCache(draft.config.n_layer)
    with writing(model), writing(draft):
        at = begin
        while at < end:
            n = max(0, min(n_draft, end - at - 1, window - at))
            q = []
            for i in range(at, at + n):
                logits = next_token_logits(draft, text[:, :i].clone(), its)
                q.append(shape(logits).softmax(-1)[0])
                text[0, i] = torch.multinomial(q[-1], 1, generator=generator)
            if n:
                logits = model(text[:, mine.length : at + n], cache=mine)[0][0][-n - 1 :]
            else:
                logits = next_token_logits(model, text[:, :at].clone(), mine)
            p = shape(logits).softmax(-1)
            kept = 0
            while kept < n:
                token = int(text[0, at + kept])
                chance = torch.rand(1, generator=generator).item()
                if chance > float(p[kept, token] / q[kept][token]):
                    break
                kept += 1
            rest = p[kept]
            if kept < n:
                rest = torch.relu(p[kept] - q[kept])
                if rest.sum() > 0:
                    rest = rest / rest.sum()
                else:
                    rest = p[kept]
            at += kept
            mine.truncate(at)
            its.truncate(at)
            text[0, at] = torch.multinomial(rest, 1, generator=generator)
            at += 1
    return text.clone()

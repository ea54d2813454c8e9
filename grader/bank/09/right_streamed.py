"""`generate` only collects a stream; the caches are not used for guesses."""

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


def _steps(
    model: GPT,
    ids: torch.Tensor,
    count: int,
    choose: Choose,
    stop_token: int | None,
    cache: "KVCache | None",
) -> Iterator[torch.Tensor]:
    """Yield the ids of each step, made under `writing`."""
    alive = torch.ones(len(ids), dtype=torch.bool, device=ids.device)
    for _ in range(count):
        with writing(model):
            logits = next_token_logits(model, ids, cache)
            chosen = choose(logits, ids)
            if stop_token is not None:
                chosen = chosen * alive + stop_token * ~alive
                alive = alive & (chosen != stop_token)
            ids = torch.cat([ids, chosen.view(-1, 1)], dim=-1)
        yield chosen.clone()
        if not alive.any():
            return


def next_token_logits(
    model: GPT, ids: torch.Tensor, cache: "KVCache | None" = None
) -> torch.Tensor:
    """Return the model's logits for the token that follows a text."""
    length, size = ids.shape[1], model.config.block_size
    seen = 0 if cache is None else cache.length
    if length > size:
        seen, cache = length - size, None
    logits = model(ids[:, seen:], None, cache, True)[0]
    return logits.view(len(ids), -1)


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
    columns = list(_steps(model, ids, max_new_tokens, choose, stop_token, cache))
    return torch.cat([ids, torch.stack(columns, dim=1)], dim=1) if columns else ids.clone()


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
        n = k.shape[-2]
        first = self.capacity == 0
        if not first and k.shape[:-2] != self.keys.shape[:-2]:
            raise ValueError("a cache serves one batch of texts")
        if first or self.length + n > self.capacity:
            self.make_room(k, FIRST_CAPACITY + 2 * (self.length + n))
        new = slice(self.length, self.length + n)
        self.keys[..., new, :], self.values[..., new, :] = k, v
        self.length = new.stop
        old = slice(0, new.stop)
        return self.keys[..., old, :], self.values[..., old, :]


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
    logits = logits.double()
    possible = logits[torch.isfinite(logits)]
    log_total = torch.logsumexp(possible, dim=0)
    p = torch.exp(possible - log_total)
    # the mean of -log p is log_total less the mean logit
    entropy = ((log_total - possible) * p).sum()
    return Step(token=token, max_probability=p.max().item(), entropy=entropy.item())


def trace(model: GPT, ids: torch.Tensor, start: int = 1) -> list[Step]:
    """Return how sure the model was of each token of a text, from place `start` on."""
    ids = ids.unsqueeze(0) if ids.dim() == 1 else ids
    check_prompt(ids)
    if len(ids) != 1 or start < 1:
        raise ValueError(f"trace takes one text from place 1 on, not {len(ids)} from {start}")
    block_size = model.config.block_size
    with writing(model):
        inside = model(ids[:, :block_size])[0].squeeze(0)
        return [
            measure_step(
                inside[i - 1]
                if i <= block_size
                else model(ids[:, i - block_size : i], last_only=True)[0].flatten(),
                int(ids[0, i]),
            )
            for i in range(start, ids.shape[1])
        ]


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
    yield from _steps(model, ids, max_new_tokens, choose, stop_token, cache)


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
    block_size, wanted = model.config.block_size, ids.shape[1] + max_new_tokens

    def log_shares(logits: torch.Tensor) -> torch.Tensor:
        return torch.log_softmax(shape(logits), dim=-1)

    def draw(logs: torch.Tensor) -> torch.Tensor:
        # whoever is first in a race with these speeds (the largest of logits with Gumbel noise)
        times = torch.empty_like(logs).exponential_(generator=generator)
        return (logs - times.log()).argmax().view(1, 1)

    with writing(model), writing(draft):
        while (length := ids.shape[1]) < wanted:
            n = max(0, min(n_draft, wanted - length - 1, block_size - length))
            text, q = ids, []
            for _ in range(n):
                q.append(log_shares(next_token_logits(draft, text))[0])
                text = torch.cat([text, draw(q[-1])], dim=1)
            logits, _ = model(text[:, -block_size:])
            p = log_shares(logits[0, -n - 1 :])
            kept = n
            for i in range(n):
                token = text[0, length + i]
                chance = torch.rand((), generator=generator).log()
                if chance > p[i, token] - q[i][token]:
                    kept = i
                    break
            last = p[kept]
            if kept < n:
                rest = torch.clamp(p[kept].exp() - q[kept].exp(), min=0)
                last = rest.log() if rest.any() else last
            ids = torch.cat([text[:, : length + kept], draw(last)], dim=1)
    return ids.clone()

"""Lesson 09: generation. How a model that guesses one token writes a story, and how it hurries.

Writing is a loop: ask the model what may come next, choose a token (lesson 08), append it, ask
again. Done naively, every step computes everything about the whole text once more. But in a causal
model nothing about the earlier tokens changes when one is appended: their keys and values can be
kept (the key/value cache), and a step then costs one token, not the whole text.

    ids = generate(model, prompt, 100, chooser(temperature=0.8, top_k=50))

A model sees at most block_size tokens. Beyond that the window slides: each token is guessed from
the block_size tokens before it. Then every token stands at another position than before, so nothing
that was kept is right any more, and a step computes the whole window, with or without a cache.

Shapes: B batch, T time, V vocabulary, H heads, D head size, K keys kept. The prompts of a batch
have equal lengths; there is no padding.

Sources: Pope et al., "Efficiently Scaling Transformer Inference" (2022), section 2.1, for the
cache; Leviathan et al., "Fast Inference from Transformers via Speculative Decoding" (2023).
"""

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


# Yours, from here on. Write the first two without a cache; when `LayerCache.append` is done, come
# back and let them use it.


def next_token_logits(
    model: GPT, ids: torch.Tensor, cache: "KVCache | None" = None
) -> torch.Tensor:
    """Return the model's logits for the token that follows a text.

    ids: (B, T), the whole text, of any length. cache: None, or the cache of this very text, holding
    its first `cache.length` tokens (none at first); as long as the text fits, it is brought up to
    date.
    Returns (B, V).

    1. The model sees the last block_size ids: the window.
    2. Without a cache: give it the window and keep the last place (`last_only=True`, and then
       (B, 1, V) -> (B, V)).
    3. With a cache (further down): give the model only what is not in there yet.
    4. Does the cache help when the text is longer than the window? See the head of this file.
    """
    # <solution>
    block_size = model.config.block_size
    if cache is None or ids.shape[1] > block_size:
        logits, _ = model(ids[:, -block_size:], last_only=True)
    else:
        logits, _ = model(ids[:, cache.length :], cache=cache, last_only=True)
    return logits.squeeze(1)  # (B, V)
    # </solution>


def generate(
    model: GPT,
    ids: torch.Tensor,
    max_new_tokens: int,
    choose: Choose = most_likely,
    stop_token: int | None = None,
    use_cache: bool = True,
) -> torch.Tensor:
    """Let the model write on: return the prompts with what it adds to them.

    ids: (B, T), int64, B prompts of at least one token. max_new_tokens: how many to add at most.
    choose: choose(logits (B, V), ids so far (B, T)) -> next ids (B,).
    stop_token: a row in which it was chosen is finished: from then on it gets only more of it, and
    when all rows are finished, so is the text. use_cache: sooner, and the same.
    Returns (B, T + n), n at most max_new_tokens, prompt and stop tokens included.
    Raises ValueError for an empty prompt.

    1. Ask for the logits, choose, append (`torch.cat`): that is the loop, under `writing(model)`.
    2. With a stop token, remember which rows have had theirs, (B,) bool, and put the stop token
       over whatever they choose now (`torch.where`). Leave the loop when all have.
    3. Tensors made in there are of a kind that refuses to be trained on; return a `clone()` made
       behind the `with`.
    4. When `LayerCache.append` is written: a new KVCache, if `use_cache`, serves all calls of
       `next_token_logits`.
    """
    check_prompt(ids, max_new_tokens)
    # <solution>
    cache = KVCache(model.config.n_layer) if use_cache else None
    finished = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)  # (B,)
    with writing(model):
        for _ in range(max_new_tokens):
            chosen = choose(next_token_logits(model, ids, cache), ids)  # (B,)
            if stop_token is not None:
                chosen = torch.where(finished, stop_token, chosen)
                finished = chosen == stop_token  # (B,)
            ids = torch.cat([ids, chosen.unsqueeze(1)], dim=1)  # (B, T + 1)
            if stop_token is not None and finished.all():
                break
    return ids.clone()
    # </solution>


class LayerCache:
    """The keys and values of one layer, for all tokens that the model has seen so far.

    The buffers `keys` and `values`, (B, H, capacity, D), have room to spare, so that a step writes
    one token into them and copies nothing. `length` says how many tokens are in them; it may be set
    back (`KVCache.truncate`), and then what stands behind it counts no more.
    """

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
        """Put new keys and values behind the old ones, and return all of them.

        k, v: (B, H, T, D), those of the T new tokens. Returns two tensors (B, H, length + T, D),
        oldest first. Raises ValueError where B or H are not those of the first call.

        1. Refuse another B or H: torch would stretch one text to several without a word.
        2. If there is not room enough, `make_room` for twice as many, at least for all that must
           go in now, and at least for FIRST_CAPACITY. (Why twice, and not just enough?)
        3. Write the new ones into the buffers at the places length .. length + T - 1.
        4. Count them, and return the filled part of both buffers: slices, no copies.
        """
        # <solution>
        if self.capacity and k.shape[:2] != self.keys.shape[:2]:
            raise ValueError(f"a cache for {tuple(self.keys.shape)} cannot take {tuple(k.shape)}")
        needed = self.length + k.shape[2]
        if needed > self.capacity:
            self.make_room(k, max(needed, 2 * self.capacity, FIRST_CAPACITY))
        self.keys[:, :, self.length : needed] = k
        self.values[:, :, self.length : needed] = v
        self.length = needed
        return self.keys[:, :, :needed], self.values[:, :, :needed]
        # </solution>


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
    """Return how sure these logits are.

    logits: (V,), -inf allowed. token: the id that was chosen, to be kept beside the numbers.

    1. Probabilities by softmax; the largest of them.
    2. The entropy is the mean of -log p under p itself: -sum of p log p. A token that is impossible
       adds nothing, but 0 * log(0) is nan: `torch.special.entr` is -p log p with that settled.
    """
    # <solution>
    probabilities = torch.softmax(logits.float(), dim=-1)  # (V,)
    entropy = torch.special.entr(probabilities).sum()
    return Step(token, float(probabilities.max()), float(entropy))
    # </solution>


def trace(model: GPT, ids: torch.Tensor, start: int = 1) -> list[Step]:
    """Return how sure the model was of each token of a text, from place `start` on.

    ids: (T,) or (1, T), int64, such as `generate` returns; with start = the length of the prompt
    only what was written is traced. start: at least 1, as nothing comes before the first token.
    Returns T - start steps. Each token is guessed from the block_size tokens before it, as in
    `generate`. Raises ValueError for more than one row, or start below 1.

    1. One call of the model on the first block_size ids answers for all places within: the logits
       of place i - 1 guess token i.
    2. For each place beyond, ask `next_token_logits` with all ids before it.
    """
    ids = ids.unsqueeze(0) if ids.dim() == 1 else ids
    check_prompt(ids)
    if len(ids) != 1 or start < 1:
        raise ValueError(f"trace takes one text from place 1 on, not {len(ids)} from {start}")
    # <solution>
    block_size, (text,) = model.config.block_size, ids.tolist()
    steps = []
    with writing(model):
        (logits,) = model(ids[:, :block_size])[0]  # (T, V)
        for place in range(start, len(text)):
            if place <= block_size:
                guess = logits[place - 1]  # (V,)
            else:
                (guess,) = next_token_logits(model, ids[:, :place])
            steps.append(measure_step(guess, text[place]))
    return steps
    # </solution>


# Stretch: extra points, needed by nothing.


def stream(
    model: GPT,
    ids: torch.Tensor,
    max_new_tokens: int,
    choose: Choose = most_likely,
    stop_token: int | None = None,
) -> Iterator[torch.Tensor]:
    """Yield what `generate` would append, each step as soon as it is known.

    Arguments and errors as for `generate`. Yields tensors (B,), the ids of one step, which may be
    trained on.

    1. `generate` with a `yield`. But between two steps the caller's code runs, and it must not find
       itself without gradients, nor the model in another mode: `writing` belongs around each
       step, not around the loop.
    """
    check_prompt(ids, max_new_tokens)
    # <solution>
    cache = KVCache(model.config.n_layer)
    finished = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)  # (B,)
    for _ in range(max_new_tokens):
        with writing(model):
            chosen = choose(next_token_logits(model, ids, cache), ids)  # (B,)
        if stop_token is not None:
            chosen = torch.where(finished, stop_token, chosen)
            finished = chosen == stop_token  # (B,)
        ids = torch.cat([ids, chosen.unsqueeze(1)], dim=1)
        yield chosen.clone()
        if stop_token is not None and finished.all():
            return
    # </solution>


def speculative_decode(
    model: GPT,
    draft: GPT,
    ids: torch.Tensor,
    max_new_tokens: int,
    n_draft: int = 4,
    shape: Callable[[torch.Tensor], torch.Tensor] = lambda logits: logits,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Write with a small model, check with the large one: sooner, and distributed as before.

    The draft proposes n_draft tokens one by one. The model then judges all of them in one call,
    which costs hardly more than a call for one token. Proposals that it would have made less often
    are refused with just the right probability, so what comes out is distributed exactly as if the
    model had written alone.

    model, draft: two models of one vocabulary. ids: (1, T). n_draft: proposals per round.
    shape: what to do to logits (N, V) before the softmax, e.g. lesson 08's temperature or top_k.
    Returns (1, T + max_new_tokens). Raises ValueError for an empty prompt or more than one row.
    Source: Leviathan et al. (2023), algorithm 1.

    1. Draft: tokens x_1 .. x_n from the draft's distributions q_1 .. q_n. No more than fit into the
       model's window together with the text, and one less than are still wanted: the model adds
       one itself. (When none are left, a round is an ordinary step.)
    2. One call of the model gives n + 1 distributions: p_1 .. p_n where the draft guessed, and one
       behind its last guess.
    3. Keep x_i with probability min(1, p_i(x_i) / q_i(x_i)). At the first refusal draw from
       max(0, p_i - q_i), made to sum to 1, and forget the rest.
    4. If nothing was refused, draw one more from p_(n + 1).
    5. Both caches must forget what was refused. (`truncate`)
    """
    check_prompt(ids, max_new_tokens)
    if len(ids) != 1 or n_draft < 1:
        raise ValueError(f"one text and at least one proposal, not {len(ids)} and {n_draft}")
    # <solution>
    end = ids.shape[1] + max_new_tokens
    cache, draft_cache = KVCache(model.config.n_layer), KVCache(draft.config.n_layer)

    def draw(probabilities: torch.Tensor) -> torch.Tensor:  # (V,) -> (1, 1)
        return torch.multinomial(probabilities, 1, generator=generator).view(1, 1)

    def refused(p: torch.Tensor, q: torch.Tensor, token: torch.Tensor) -> bool:
        chance = torch.rand((), generator=generator, device=p.device)
        return bool(chance * q[token] >= p[token])

    with writing(model), writing(draft):
        while ids.shape[1] < end:
            length = ids.shape[1]
            n = min(n_draft, end - length - 1, model.config.block_size - length)
            q = []
            for _ in range(n):
                logits = next_token_logits(draft, ids, draft_cache)  # (1, V)
                q.append(torch.softmax(shape(logits), dim=1).squeeze(0))
                ids = torch.cat([ids, draw(q[-1])], dim=1)
            if not q:
                logits = next_token_logits(model, ids, cache)  # (1, V)
            else:
                logits, _ = model(ids[:, cache.length :], cache=cache)  # (1, T, V)
                logits = logits.squeeze(0)[-(n + 1) :]  # (n + 1, V)
            p = torch.softmax(shape(logits), dim=1)
            last = p[len(q)]
            for i in range(n):
                if refused(p[i], q[i], ids[:, length + i]):
                    ids = ids[:, : length + i]
                    residue = (p[i] - q[i]).clamp(min=0)  # multinomial makes it sum to 1
                    last = residue if residue.any() else p[i]  # equal up to rounding: all is 0
                    break
            cache.truncate(ids.shape[1])
            draft_cache.truncate(ids.shape[1])
            ids = torch.cat([ids, draw(last)], dim=1)
    return ids.clone()
    # </solution>

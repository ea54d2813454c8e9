"""Hidden checks for lesson 03, attention: other sizes, calls that come again, values far out."""

import math

import torch
import torch.nn.functional as F

from grader.checks import grad
from grader.instructor.guards import guard


def sizes(draw, count, low, high):
    """Some sizes that are all different, so that no two dimensions can be mistaken."""
    return (draw.random.permutation(high - low + 1)[:count] + low).tolist()


def shares(q, k, mask=None):
    """The weights of attention, in 64 bits."""
    scores = q.double() @ k.double().mT / math.sqrt(q.shape[-1])
    scores = scores if mask is None else scores.masked_fill(~mask, -math.inf)
    return torch.softmax(scores, -1)


@guard("test_queries_are_the_last_keys")
def guard_masks_of_any_size(lesson, expect, draw):
    """A mask of any number of queries and keys, asked for in any order, and again."""
    pairs = [(draw.integer(7, 30), draw.integer(31, 90)) for _ in range(3)]
    pairs += [(1, 1), (n := draw.integer(40, 70), n), pairs[0], (1, draw.integer(7, 40))]
    for n_queries, n_keys in pairs:
        right = torch.ones(n_queries, n_keys, dtype=torch.bool).tril(n_keys - n_queries)
        of = f"causal_mask({n_queries}, {n_keys})"
        expect(lesson.causal_mask(n_queries, n_keys), right, of=of)
    n = draw.integer(6, 50)
    right = torch.ones(n, n, dtype=torch.bool).tril()
    expect(lesson.causal_mask(n), right, of=f"causal_mask({n})")
    with expect.raises(ValueError, f"for {n} queries and {n - 1} keys"):
        lesson.causal_mask(n, n - 1)


@guard("test_attention_is_torchs_attention")
def guard_attention_of_any_size(lesson, expect, draw):
    """The same equation at sizes, and with dimensions in front, that stand in no check."""
    for front in [(), (draw.integer(4, 6),), (2, 1, draw.integer(4, 6))]:
        n_queries, n_keys, size, wide = sizes(draw, 4, 8, 33)
        q, k = draw.normal(*front, n_queries, size), draw.normal(*front, n_keys, size)
        v = draw.normal(*front, n_keys, wide)
        for mask in (None, draw.mask(n_queries, n_keys)):
            output, weights = lesson.scaled_dot_product_attention(q, k, v, mask)
            right = shares(q, k, mask)
            of = f"{n_queries} queries, {n_keys} keys and {front} in front"
            expect(weights, right.float(), of=f"the weights for {of}")
            expect(output, (right @ v.double()).float(), of=f"the output for {of}")


@guard("test_attention_is_torchs_attention")
def guard_attention_of_one(lesson, expect, draw):
    """One query, one key or one channel is no special case, and each text stands for itself."""
    for n_queries, n_keys, size, wide in [(1, 1, 3, 2), (1, 5, 1, 3), (4, 1, 2, 1), (2, 3, 1, 1)]:
        q, k = draw.normal(3, 2, n_queries, size), draw.normal(3, 2, n_keys, size)
        v = draw.normal(3, 2, n_keys, wide)
        output, weights = lesson.scaled_dot_product_attention(q, k, v)
        of = f"{n_queries} queries and {n_keys} keys of size {size}"
        expect(weights, shares(q, k).float(), of=f"the weights for {of}")
        alone, _ = lesson.scaled_dot_product_attention(q[1:2], k[1:2], v[1:2])
        expect(alone, output[1:2], of=f"the output of one text alone, for {of}")


@guard("test_attention_is_torchs_attention")
def guard_attention_has_no_memory(lesson, expect, draw):
    """Forty calls of one shape, and the first ones again: only what is asked counts."""
    n_queries, n_keys, size = 4, 6, 5
    calls = [
        (draw.normal(2, n_queries, size), draw.normal(2, n_keys, size), draw.normal(2, n_keys, 3))
        for _ in range(20)
    ]
    for q, k, v in [*calls, *calls]:
        output, _ = lesson.scaled_dot_product_attention(q, k, v)
        right = (shares(q, k) @ v.double()).float()
        expect(output, right, of="the output of one of forty calls")


@guard("test_attention_passes_gradients_on")
def guard_gradients_of_any_size(lesson, expect, draw):
    """Gradients are torch's at other sizes too, and the output under autograd is the output."""
    for front in [(), (3, 2)]:
        n_queries, n_keys, size, wide = sizes(draw, 4, 4, 11)
        q, k = draw.normal(*front, n_queries, size), draw.normal(*front, n_keys, size)
        v, mask = draw.normal(*front, n_keys, wide), draw.mask(n_queries, n_keys)
        mine = lesson.grad(lesson.scaled_dot_product_attention, q, k, v, mask)
        wide_numbers = (x.double() for x in (q, k, v))
        right = grad(F.scaled_dot_product_attention, *wide_numbers, attn_mask=mask)
        expect(mine["result"][0], right["result"].detach().float(), of="the output")
        for i, name in enumerate("qkv"):
            of = f"the gradient of {name} for {n_queries} queries and {n_keys} keys"
            gradient = right["arguments"][i].float()
            expect(mine["arguments"][i], gradient, of=of, tolerance=2e-5)


@guard("test_dropout_falls_on_the_weights")
def guard_dropout_at_other_shares(lesson, expect, draw):
    """Any share is dropped, anew at each call; a share of 0 drops nothing."""
    share = draw.integer(3, 7) / 10
    q, k, v = torch.zeros(2, 90, 3), torch.zeros(2, 80, 3), torch.eye(80).expand(2, 80, 80)
    first, weights = lesson.scaled_dot_product_attention(q, k, v, None, share)
    second, _ = lesson.scaled_dot_product_attention(q, k, v, None, share)
    expect(weights, torch.full((2, 90, 80), 1 / 80), of="the weights returned")
    expect.true(not torch.equal(first, second), "dropout takes the same weights at each call")
    for output in (first, second):
        dropped = float((output == 0).float().mean())
        # 14,400 draws: within 0.026 is more than six standard deviations, false alarm 2e-9
        symptom = f"with dropout_p = {share} a share of {dropped:.3f} of the weights was dropped"
        expect.true(abs(dropped - share) < 0.026, symptom)
        kept = output[output != 0]
        expect(kept, torch.full_like(kept, 1 / 80 / (1 - share)), of="a weight that was kept")
    output, _ = lesson.scaled_dot_product_attention(q, k, v, None, 0.0)
    expect(output, torch.full((2, 90, 80), 1 / 80), of="the output with dropout_p = 0")


@guard("test_heads_are_neighbouring_channels")
def guard_heads_of_any_size(lesson, expect, draw):
    """Head h has the channels from h D on, however many heads and places there are."""
    for _ in range(3):
        batch, length, n_head, size = sizes(draw, 4, 2, 16)
        x = draw.normal(batch, length, n_head * size)
        right = x.unflatten(-1, (n_head, size)).transpose(1, 2)
        of = f"the {n_head} heads of {n_head * size} channels"
        expect(lesson.split_heads(x, n_head), right, of=of)
        with expect.raises(ValueError, f"for {n_head * size + 1} channels and {n_head} heads"):
            lesson.split_heads(draw.normal(batch, length, n_head * size + 1), n_head)


@guard("test_merging_undoes_splitting")
def guard_merging_of_any_size(lesson, expect, draw):
    """What was split comes back, number by number."""
    for _ in range(3):
        batch, length, n_head, size = sizes(draw, 4, 2, 16)
        x = draw.normal(batch, length, n_head * size)
        heads = x.unflatten(-1, (n_head, size)).transpose(1, 2)
        of = f"the merged heads ({batch}, {n_head}, {length}, {size})"
        expect(lesson.merge_heads(heads), x, of=of)


def torchs_layer(x, weights, n_head):
    """What GPT-2's layer does, in 64 bits."""
    x, weights = x.double(), {name: weight.double() for name, weight in weights.items()}
    q, k, v = F.linear(x, weights["c_attn.weight"], weights["c_attn.bias"]).chunk(3, dim=-1)
    heads = [part.unflatten(-1, (n_head, -1)).transpose(1, 2) for part in (q, k, v)]
    output = F.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2).flatten(2)
    return F.linear(output, weights["c_proj.weight"], weights["c_proj.bias"]).float()


def layer_weights(draw, n_embd, n_head):
    """Random numbers for both linear layers, by name, such that results stay of one scale."""
    inner = n_embd // n_head * n_head
    shapes = {"c_attn__weight": (3 * inner, n_embd), "c_proj__weight": (n_embd, inner)}
    shapes |= {"c_attn__bias": (3 * inner,), "c_proj__bias": (n_embd,)}
    return draw.weights(scale=n_embd**-0.5, **shapes)


@guard("test_layer_is_torchs_layer")
def guard_layers_of_any_size(lesson, expect, draw):
    """Longer texts, more heads, one place, one text, in training mode without dropout or not."""
    for n_head, size, batch, length in [
        (draw.integer(4, 5), draw.integer(6, 9), 4, draw.integer(17, 40)),
        (2, draw.integer(10, 15), 1, draw.integer(6, 12)),
        (draw.integer(7, 9), 3, 2, 1),
    ]:
        n_embd = n_head * size
        weights = layer_weights(draw, n_embd, n_head)
        layer = lesson.CausalSelfAttention(n_embd, n_head).load(weights)
        for _ in range(3):
            x = draw.normal(batch, length, n_embd)
            of = f"the layer with {n_head} heads on ({batch}, {length}, {n_embd})"
            expect(layer(x), torchs_layer(x, weights, n_head), of=of)
        layer.eval()
        expect(layer(x), torchs_layer(x, weights, n_head), of=f"{of} in evaluation")
        expect(layer(x[:1]), torchs_layer(x[:1], weights, n_head), of=f"{of}, one text alone")


@guard("test_heads_that_do_not_divide")
def guard_other_heads_that_do_not_divide(lesson, expect, draw):
    """Any number of heads on any number of channels."""
    for n_embd, n_head in [(draw.integer(4, 6) * 5 + 3, 5), (draw.integer(14, 15), 4)]:
        weights, x = layer_weights(draw, n_embd, n_head), draw.normal(3, 9, n_embd)
        layer = lesson.CausalSelfAttention(n_embd, n_head).load(weights)
        of = f"the layer with {n_head} heads on {n_embd} channels"
        expect(layer(x), torchs_layer(x, weights, n_head), of=of)


@guard("test_cache_brings_the_past")
def guard_caches_do_not_mix(lesson, expect, draw):
    """Two texts, each with its cache, take turns, in parts that stand in no check."""
    n_embd, n_head = 20, 5
    weights = layer_weights(draw, n_embd, n_head)
    layer = lesson.CausalSelfAttention(n_embd, n_head).load(weights)
    texts = [draw.normal(batch, 14, n_embd) for batch in (1, 3)]
    caches = [lesson.toy("layer cache") for _ in texts]
    for start, end in [(0, 5), (5, 6), (6, 7), (7, 13), (13, 14)]:
        for x, cache in zip(texts, caches, strict=True):
            right = torchs_layer(x, weights, n_head)[:, start:end]
            of = f"the output for places {start} to {end - 1} with a cache"
            expect(layer(x[:, start:end], cache), right, of=of)
    expect(layer(texts[0]), torchs_layer(texts[0], weights, n_head), of="a text without a cache")


@guard("test_layer_learns")
def guard_larger_layers_learn(lesson, expect, draw):
    """Gradients of a layer of another size, and those of the same again."""
    n_head, size = draw.integer(3, 4), draw.integer(4, 6)
    n_embd = n_head * size
    weights, x = layer_weights(draw, n_embd, n_head), draw.normal(3, 7, n_embd)
    layer = lesson.CausalSelfAttention(n_embd, n_head).load(weights)
    names = sorted(weights)
    right = grad(
        lambda x, *ws: torchs_layer(x, dict(zip(names, ws, strict=True)), n_head),
        *(tensor.double() for tensor in (x, *(weights[n] for n in names))),
    )["arguments"]
    mine = lesson.grad(layer, x)
    expect(mine["arguments"][0], right[0].float(), of="the gradient of the input", tolerance=5e-5)
    for name, gradient in zip(names, right[1:], strict=True):
        of = f"the gradient of {name}"
        expect(mine["parameters"].get(name), gradient.float(), of=of, tolerance=5e-5)


@guard("test_fused_is_manual")
def guard_fused_of_any_size(lesson, expect, draw):
    """The fused form at other sizes: with the causal mask, with nearly the causal mask, without."""
    n, size = draw.integer(6, 20), draw.integer(6, 9)
    q, k, v = draw.normal(3, n, size), draw.normal(3, n, size), draw.normal(3, n, size)
    causal = torch.ones(n, n, dtype=torch.bool).tril()
    nearly = causal.clone()
    nearly[n - 1, draw.integer(0, n - 2)] = False
    nearly[draw.integer(1, 3), n - 1] = True
    for name, mask in {"the causal": causal, "nearly the causal": nearly, "no": None}.items():
        right = (shares(q, k, mask) @ v.double()).float()
        output, nothing = lesson.fused_attention(q, k, v, mask)
        expect(output, right, of=f"the fused output with {name} mask over {n} places")
        expect(nothing, None, of="the second result (there are no weights)")


@guard("test_window_is_short")
def guard_windows_of_any_size(lesson, expect, draw):
    """Any window over any number of places."""
    for _ in range(4):
        n_queries, n_keys = draw.integer(7, 20), draw.integer(20, 40)
        window = draw.integer(4, 25)
        places = torch.arange(n_keys)
        queries = places[n_keys - n_queries :].unsqueeze(1)
        right = (places <= queries) & (places > queries - window)
        of = f"sliding_window_mask({n_queries}, {n_keys}, {window})"
        expect(lesson.sliding_window_mask(n_queries, n_keys, window), right, of=of)

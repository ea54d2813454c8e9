"""Checks for lesson 03, attention. Which step turns which check green:

1. causal_mask                    test_no_place_sees_the_future, test_queries_are_the_last_keys,
                                  test_mask_refuses_what_cannot_be
2. scaled_dot_product_attention   test_one_query_by_hand, test_attention_is_torchs_attention,
                                  test_weights_are_shares, test_forbidden_keys_get_nothing,
                                  test_large_scores_stay_finite, test_attention_passes_gradients_on,
                                  test_dropout_falls_on_the_weights
3. split_heads                    test_heads_are_neighbouring_channels, test_heads_must_divide
4. merge_heads                    test_merging_undoes_splitting, test_merging_one_of_everything
5. CausalSelfAttention.forward    test_layer_is_torchs_layer, test_heads_that_do_not_divide,
                                  test_cache_brings_the_past, test_attend_can_be_exchanged,
                                  test_layer_learns, test_dropout_only_in_training
stretch  fused_attention          test_fused_is_manual, test_fused_drops_out
stretch  sliding_window_mask      test_window_is_short, test_window_needs_a_place
"""

import math

import torch
import torch.nn.functional as F

from grader.checks import check, grad

# 1. causal_mask


@check("causal_mask", points=1)
def test_no_place_sees_the_future(lesson, expect, draw):
    """Each place may look at itself and at what came before: a staircase of True."""
    mask = lesson.causal_mask(5)
    right = torch.ones(5, 5, dtype=torch.bool).tril()
    expect(mask, right, of="causal_mask(5)", ask="May place 2 look at place 2? And at place 3?")
    expect(lesson.causal_mask(1), right[:1, :1], of="causal_mask(1)")


@check("causal_mask", points=1)
def test_queries_are_the_last_keys(lesson, expect, draw):
    """With earlier keys in a cache, the queries stand at the end of them."""
    question = "At which places do 2 queries stand when there are 5 keys?"
    for n_queries, n_keys in [(2, 5), (3, 4), (1, 6), (4, 4)]:
        right = torch.ones(n_keys, n_keys, dtype=torch.bool).tril()[n_keys - n_queries :]
        mask = lesson.causal_mask(n_queries, n_keys)
        expect(mask, right, of=f"causal_mask({n_queries}, {n_keys})", ask=question)


@check("causal_mask", points=1)
def test_mask_refuses_what_cannot_be(lesson, expect, draw):
    """More queries than keys is a mistake somewhere else: better to hear of it here."""
    with expect.raises(ValueError, "for 4 queries and 3 keys"):
        lesson.causal_mask(4, 3)
    with expect.raises(ValueError, "for 2 queries and 0 keys", ask="Is 0 the same as None?"):
        lesson.causal_mask(2, 0)
    made = lesson.describe(lesson.causal_mask, 3, device="meta")
    expect(made["device"], "meta", of='the device of causal_mask(3, device="meta")')


# 2. scaled_dot_product_attention


@check("scaled_dot_product_attention", points=1)
def test_one_query_by_hand(lesson, expect, draw):
    """One query and two keys can be worked out on paper."""
    q = torch.tensor([[2.0, 0.0, 0.0, 0.0]])
    k = torch.tensor([[1.0, 5.0, 0.0, 0.0], [-1.0, 0.0, 7.0, 0.0]])
    v = torch.tensor([[10.0], [20.0]])
    # the products are 2 and -2; divided by sqrt(4) they are 1 and -1
    first = math.exp(1) / (math.exp(1) + math.exp(-1))
    output, weights = lesson.scaled_dot_product_attention(q, k, v)
    question = "What is the product of q and the first key, and by what is it divided?"
    expect(weights, torch.tensor([[first, 1 - first]]), of="the weights", ask=question)
    expect(output, torch.tensor([[10 * first + 20 * (1 - first)]]), of="the output")


@check("scaled_dot_product_attention", points=2)
def test_attention_is_torchs_attention(lesson, expect, draw):
    """Your attention equals torch's, for any sizes and any mask."""
    for front, n_queries, n_keys, size, wide in [
        ((2, 3), 4, 6, 5, 7),
        ((), 3, 3, 2, 2),
        ((2,), 5, 4, 8, 3),
    ]:
        q = draw.normal(*front, n_queries, size, scale=2.0)
        k = draw.normal(*front, n_keys, size)
        v = draw.normal(*front, n_keys, wide)
        for mask in (None, draw.mask(n_queries, n_keys), draw.mask(*front, n_queries, n_keys)):
            right = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            output, weights = lesson.scaled_dot_product_attention(q, k, v, mask)
            with_mask = "without a mask" if mask is None else "with a random mask"
            expect(
                output, right, of=f"the output {with_mask}", ask="Which two are multiplied last?"
            )
            scores = q.double() @ k.double().mT / math.sqrt(size)
            if mask is not None:
                scores = scores.masked_fill(~mask, -math.inf)
            expect(weights, torch.softmax(scores, -1).float(), of=f"the weights {with_mask}")


@check("scaled_dot_product_attention", points=1)
def test_weights_are_shares(lesson, expect, draw):
    """Every query shares out exactly 1 among the keys."""
    q, k, v = draw.normal(2, 4, 3), draw.normal(2, 6, 3), draw.normal(2, 6, 3)
    _, weights = lesson.scaled_dot_product_attention(q, k, v)
    question = "Do your rows sum to one, or your columns?"
    expect(weights.sum(-1), torch.ones(2, 4), of="the sum of each query's weights", ask=question)
    mask = draw.mask(4, 6)
    _, weights = lesson.scaled_dot_product_attention(q, k, v, mask)
    expect(
        weights.sum(-1),
        torch.ones(2, 4),
        of="the sum of each query's weights under a mask",
        ask="Is the mask applied before the softmax or after it?",
    )


@check("scaled_dot_product_attention", points=1)
def test_forbidden_keys_get_nothing(lesson, expect, draw):
    """What the mask forbids gets a weight of exactly 0, however low the other scores are."""
    q, k, v = draw.normal(3, 4, scale=300.0), draw.normal(5, 4, scale=300.0), draw.normal(5, 2)
    mask = draw.mask(3, 5)
    _, weights = lesson.scaled_dot_product_attention(q, k, v, mask)
    forbidden = weights.masked_fill(mask, 0.0)
    expect(forbidden, torch.zeros(3, 5), of="the weight of forbidden keys", tolerance=1e-7)
    # all scores of what is allowed lie below -10,000
    q, k = torch.full((1, 4), 300.0), torch.tensor([[-300.0] * 4, [1.0] * 4, [-301.0] * 4])
    mask = torch.tensor([[True, False, True]])
    _, weights = lesson.scaled_dot_product_attention(q, k, draw.normal(3, 2), mask)
    question = "Is there a score that is lower than what you put in place of the forbidden ones?"
    expect(
        weights, torch.tensor([[1.0, 0.0, 0.0]]), of="the weights of very low scores", ask=question
    )


@check("scaled_dot_product_attention", points=1)
def test_large_scores_stay_finite(lesson, expect, draw):
    """Scores in the thousands give weights, not nan."""
    q, k, v = draw.normal(2, 3, scale=100.0), draw.normal(4, 3, scale=100.0), draw.normal(4, 3)
    scores = q.double() @ k.double().mT / math.sqrt(3)
    _, weights = lesson.scaled_dot_product_attention(q, k, v)
    question = "What is exp(1000)? Which function of lesson 00 gets around that?"
    right = torch.softmax(scores, -1).float()
    expect(weights, right, of="the weights of large scores", ask=question, tolerance=1e-3)


@check("scaled_dot_product_attention", points=1)
def test_attention_passes_gradients_on(lesson, expect, draw):
    """Queries, keys and values all learn: each gets torch's gradient."""
    q, k, v, mask = (
        draw.normal(2, 3, 4),
        draw.normal(2, 5, 4),
        draw.normal(2, 5, 6),
        draw.mask(3, 5),
    )
    mine = lesson.grad(lesson.scaled_dot_product_attention, q, k, v, mask)
    right = grad(F.scaled_dot_product_attention, q, k, v, attn_mask=mask)
    for i, name in enumerate("qkv"):
        question = (
            f"Is the output right? Then what (`detach`, `.data`) cuts the way back to {name}?"
        )
        gradient, torchs = mine["arguments"][i], right["arguments"][i]
        expect(gradient, torchs, of=f"the gradient of {name}", ask=question)


@check("scaled_dot_product_attention", points=1)
def test_dropout_falls_on_the_weights(lesson, expect, draw):
    """Dropout hides keys from queries for a moment; the weights that you return are still whole."""
    q, k = torch.zeros(200, 2), torch.zeros(50, 2)
    v = torch.eye(50)  # so the output is the table of weights that was really used
    output, weights = lesson.scaled_dot_product_attention(q, k, v, None, 0.25)
    question = "Which weights do you return: those before dropout or those after it?"
    expect(weights, torch.full((200, 50), 0.02), of="the weights returned", ask=question)
    dropped = float((output == 0).float().mean())
    # 10,000 draws: the share is 0.25 within 0.026 (six standard deviations, false alarm 2e-9)
    expect.true(
        abs(dropped - 0.25) < 0.026,
        f"with dropout_p = 0.25 a share of {dropped:.3f} of the weights was dropped",
    )
    kept = output[output != 0]
    expect(kept, torch.full_like(kept, 0.02 / 0.75), of="a weight that was kept")
    output, _ = lesson.scaled_dot_product_attention(q, k, torch.ones(50, 3), None, 0.5)
    question = "Is it the weights that are dropped, or the average that comes out?"
    expect.true(bool((output != 0).all()), "whole outputs are zero under dropout", ask=question)


# 3. split_heads


@check("split_heads", points=1)
def test_heads_are_neighbouring_channels(lesson, expect, draw):
    """Head 0 gets the first D channels of every place, head 1 the next D, and so on."""
    for batch, length, n_head, size in [(2, 3, 4, 5), (1, 5, 3, 2), (3, 2, 1, 4)]:
        x = draw.normal(batch, length, n_head * size)
        heads = lesson.split_heads(x, n_head)
        right = torch.stack(x.split(size, dim=-1), dim=1)
        expect(heads, right, of="the heads", ask="Where does channel D of place 0 go?")


@check("split_heads", points=1)
def test_heads_must_divide(lesson, expect, draw):
    """Channels that fit into no head must not get lost in silence."""
    with expect.raises(ValueError, "for 7 channels and 2 heads"):
        lesson.split_heads(draw.normal(2, 3, 7), 2)


# 4. merge_heads


@check("merge_heads", points=1)
def test_merging_undoes_splitting(lesson, expect, draw):
    """After merging, every number is back where it came from."""
    for batch, n_head, length, size in [(2, 4, 3, 5), (3, 2, 5, 4), (2, 3, 3, 3)]:
        x = draw.normal(batch, n_head, length, size)
        right = torch.cat(list(x.unbind(1)), dim=-1)
        question = "Which dimensions must stand side by side before they can be joined?"
        expect(lesson.merge_heads(x), right, of="the merged heads", ask=question)


@check("merge_heads", points=1)
def test_merging_one_of_everything(lesson, expect, draw):
    """One text, one place, one head or one channel is no special case."""
    for shape in [(1, 2, 3, 4), (2, 1, 3, 4), (2, 3, 1, 4), (2, 3, 4, 1), (1, 1, 1, 2)]:
        x = draw.normal(*shape)
        right = torch.cat(list(x.unbind(1)), dim=-1)
        expect(lesson.merge_heads(x), right, of=f"merge_heads of {shape}")


# 5. CausalSelfAttention


def torchs_layer(x, weights, n_head):
    """What GPT-2's layer does, through torch's own attention; x: (B, T, C)."""
    q, k, v = F.linear(x, weights["c_attn.weight"], weights["c_attn.bias"]).chunk(3, dim=-1)
    size = q.shape[-1] // n_head
    heads = [torch.stack(part.split(size, dim=-1), dim=1) for part in (q, k, v)]
    output = F.scaled_dot_product_attention(*heads, is_causal=True)
    merged = torch.cat(list(output.unbind(1)), dim=-1)
    return F.linear(merged, weights["c_proj.weight"], weights["c_proj.bias"])


def layer_weights(draw, n_embd, n_head):
    """Random numbers for both linear layers, by name."""
    inner = n_embd // n_head * n_head
    return draw.weights(
        c_attn__weight=(3 * inner, n_embd),
        c_attn__bias=(3 * inner,),
        c_proj__weight=(n_embd, inner),
        c_proj__bias=(n_embd,),
    )


@check("CausalSelfAttention.forward", points=2)
def test_layer_is_torchs_layer(lesson, expect, draw):
    """With the same weights your layer gives what GPT-2's gives."""
    for n_embd, n_head, batch, length in [(12, 3, 2, 5), (8, 1, 1, 4), (6, 6, 3, 2)]:
        weights, x = layer_weights(draw, n_embd, n_head), draw.normal(batch, length, n_embd)
        layer = lesson.CausalSelfAttention(n_embd, n_head).load(weights)
        question = (
            "In which order do queries, keys and values leave c_attn, and when are heads cut?"
        )
        right = torchs_layer(x, weights, n_head)
        expect(layer(x), right, of=f"the layer with {n_head} heads", ask=question)
        with_more = torch.cat([x, draw.normal(batch, 1, n_embd)], dim=1)
        expect(
            layer(with_more)[:, :length],
            right,
            of="the output at earlier places, after one more token came",
            ask="Can a place see what comes after it?",
        )


@check("CausalSelfAttention.forward", points=1)
def test_heads_that_do_not_divide(lesson, expect, draw):
    """Seven heads on 24 channels: 3 channels each, 21 together."""
    weights, x = layer_weights(draw, 24, 7), draw.normal(2, 4, 24)
    layer = lesson.CausalSelfAttention(24, 7).load(weights)
    expect(layer(x), torchs_layer(x, weights, 7), of="the layer with 7 heads on 24 channels")


@check("CausalSelfAttention.forward", points=1)
def test_cache_brings_the_past(lesson, expect, draw):
    """Token by token with a cache gives what all at once gives."""
    weights, x = layer_weights(draw, 12, 3), draw.normal(2, 7, 12)
    layer, cache = lesson.CausalSelfAttention(12, 3).load(weights), lesson.toy("layer cache")
    right = torchs_layer(x, weights, 3)
    start = 0
    for length in (2, 1, 3, 1):
        part = layer(x[:, start : start + length], cache)
        question = "Which keys and values do you use: the new ones, or what the cache returned?"
        of = f"the output for places {start} to {start + length - 1} with a cache"
        expect(part, right[:, start : start + length], of=of, ask=question)
        start += length
    expect(
        cache.read("length"),
        7,
        of="the number of places in the cache",
        ask="Is an empty cache None?",
    )


@check("CausalSelfAttention.forward", points=1)
def test_attend_can_be_exchanged(lesson, expect, draw):
    """The layer calls `self.attend`, so that a faster attention can take its place."""
    weights, x = layer_weights(draw, 6, 2), draw.normal(2, 3, 6)
    layer, toy = lesson.CausalSelfAttention(6, 2).load(weights), lesson.toy("attend")
    layer.put("attend", toy)
    values = F.linear(x, weights["c_attn.weight"], weights["c_attn.bias"]).chunk(3, dim=-1)[2]
    right = F.linear(2 * values, weights["c_proj.weight"], weights["c_proj.bias"])
    question = "Do you call self.attend, or the function by its own name?"
    expect(layer(x), right, of="the layer with another `attend`", ask=question)
    expect(toy.read("shapes"), [[2, 2, 3, 3]] * 3, of="the shapes of q, k and v in `attend`")


@check("CausalSelfAttention.forward", points=1)
def test_layer_learns(lesson, expect, draw):
    """Every weight of the layer gets its gradient, and so does the input."""
    weights, x = layer_weights(draw, 6, 2), draw.normal(2, 4, 6)
    mine = lesson.grad(lesson.CausalSelfAttention(6, 2).load(weights), x)
    names = sorted(weights)
    right = grad(
        lambda x, *ws: torchs_layer(x, dict(zip(names, ws, strict=True)), 2),
        x,
        *(weights[n] for n in names),
    )
    expect(
        mine["arguments"][0],
        right["arguments"][0],
        of="the gradient of the input",
        tolerance=2e-5,
    )
    for i, name in enumerate(names, start=1):
        mines, rights = mine["parameters"].get(name), right["arguments"][i]
        expect(mines, rights, of=f"the gradient of {name}", tolerance=2e-5)


@check("CausalSelfAttention.forward", points=1)
def test_dropout_only_in_training(lesson, expect, draw):
    """Dropout helps while learning; when the model writes, nothing is left to chance."""
    weights, x = layer_weights(draw, 8, 2), draw.normal(2, 40, 8)
    layer = lesson.CausalSelfAttention(8, 2, 0.5).load(weights)
    layer.eval()
    question = "Is the dropout of the weights switched off when self.training is False?"
    expect(layer(x), torchs_layer(x, weights, 2), of="the layer in evaluation", ask=question)
    toy = lesson.toy("attend")
    layer.put("attend", toy)
    layer.train()
    zeros = float((layer(x) == 0).float().mean())
    # 640 draws: the share is 0.5 within 0.12 (six standard deviations, false alarm 2e-9)
    question = "Does the result go through resid_dropout?"
    symptom = f"in training with dropout 0.5, a share of {zeros:.2f} of the result is dropped"
    expect.true(abs(zeros - 0.5) < 0.12, symptom, ask=question)
    expect(toy.read("dropout_p"), 0.5, of="the dropout handed to `attend` in training")


# stretch


@check("fused_attention", points=1)
def test_fused_is_manual(lesson, expect, draw):
    """The fused kernel gives what the plain form gives, under every mask."""
    for n_queries, n_keys in [(4, 4), (3, 5), (1, 4)]:
        q, k, v = (
            draw.normal(2, 3, n_queries, 5),
            draw.normal(2, 3, n_keys, 5),
            draw.normal(2, 3, n_keys, 5),
        )
        staircase = torch.ones(n_keys, n_keys, dtype=torch.bool).tril()[n_keys - n_queries :]
        masks = {
            "no mask": None,
            "the causal mask": staircase,
            "a random mask": draw.mask(n_queries, n_keys),
            "a mask per text": draw.mask(2, 1, n_queries, n_keys),
        }
        for name, mask in masks.items():
            output, nothing = lesson.fused_attention(q, k, v, mask)
            right = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            question = "torch's is_causal counts queries from the first key on. When is that right?"
            of = f"{n_queries} queries, {n_keys} keys and {name}"
            expect(output, right, of=f"the fused output with {of}", ask=question)
            expect(nothing, None, of="the second result (there are no weights)")


@check("fused_attention", points=1)
def test_fused_drops_out(lesson, expect, draw):
    """dropout_p reaches the kernel."""
    output, _ = lesson.fused_attention(
        torch.zeros(200, 2), torch.zeros(50, 2), torch.eye(50), None, 0.25
    )
    dropped = float((output == 0).float().mean())
    # 10,000 draws: the share is 0.25 within 0.026 (six standard deviations, false alarm 2e-9)
    symptom = f"with dropout_p = 0.25 a share of {dropped:.3f} of the weights was dropped"
    expect.true(abs(dropped - 0.25) < 0.026, symptom)


@check("sliding_window_mask", points=1)
def test_window_is_short(lesson, expect, draw):
    """With a window of 3 a place sees itself and the two before it."""
    for n_queries, n_keys, window in [
        (6, None, 3),
        (5, None, 1),
        (4, 7, 2),
        (5, 8, 3),
        (1, 5, 3),
        (3, 3, 9),
    ]:
        keys = torch.arange(n_keys or n_queries)
        places = keys[len(keys) - n_queries :].unsqueeze(1)
        right = (keys <= places) & (keys > places - window)
        mask = lesson.sliding_window_mask(n_queries, n_keys, window)
        question = "How many places does a window of 1 leave?"
        expect(
            mask, right, of=f"sliding_window_mask({n_queries}, {n_keys}, {window})", ask=question
        )


@check("sliding_window_mask", points=1)
def test_window_needs_a_place(lesson, expect, draw):
    """A window of 0 would leave a query with nothing to look at."""
    with expect.raises(ValueError, "for a window of 0"):
        lesson.sliding_window_mask(3, None, 0)
    with expect.raises(ValueError, "for 4 queries and 3 keys"):
        lesson.sliding_window_mask(4, 3, 2)

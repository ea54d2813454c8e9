"""Checks for lesson 04, blocks. Which step turns which check green:

1. LayerNorm.forward              test_one_vector_by_hand, test_every_vector_by_itself,
                                  test_each_channel_is_scaled_and_shifted,
                                  test_vectors_that_hardly_vary, test_mean_far_above_the_spread,
                                  test_norm_passes_gradients_on
2. gelu                           test_gelu_by_hand, test_gelu_is_gpt2s, test_gelu_far_out,
                                  test_gelu_keeps_the_dtype, test_gelu_passes_gradients_on
3. MLP.forward                    test_mlp_is_two_layers_with_a_bend,
                                  test_activation_can_be_exchanged, test_mlp_learns,
                                  test_mlp_drops_out_in_training_only,
                                  test_kept_numbers_make_up_for_the_dropped
4. Block.forward                  test_layers_add_to_the_stream, test_block_is_torchs_layer,
                                  test_cache_reaches_the_attention, test_block_learns,
                                  test_dropout_spares_the_stream
stretch  PostNormBlock.forward    test_every_vector_leaves_normed, test_post_norm_is_torchs_layer,
                                  test_post_norm_hands_the_cache_on
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from grader.checks import check, grad

SUMS = 3e-5  # the tolerance for gradients that are sums over many terms, which may nearly cancel

# 1. LayerNorm


@check("LayerNorm.forward", points=1)
def test_one_vector_by_hand(lesson, expect, draw):
    """The mean and the variance of four numbers can be worked out on paper."""
    norm = lesson.LayerNorm(4)
    x = torch.tensor([[2.0, 4.0, 4.0, 10.0]])
    # the mean is 5; the distances are -3, -1, -1, 5; the variance is (9 + 1 + 1 + 25) / 4 = 9
    right = torch.tensor([[-3.0, -1.0, -1.0, 5.0]]) / math.sqrt(9 + 1e-5)
    question = "The squared distances sum to 36. By how many do you divide them? And the root?"
    expect(norm(x), right, of="the norm of [[2, 4, 4, 10]]", ask=question)


@check("LayerNorm.forward", points=1)
def test_every_vector_by_itself(lesson, expect, draw):
    """Each vector has a mean and a variance of its own, in a tensor of any shape."""
    for shape in [(4, 4), (2, 5, 7), (1, 3, 6), (2, 1, 3, 5), (8,)]:
        x = draw.normal(*shape, scale=20.0, shift=5.0)
        right = F.layer_norm(x.double(), shape[-1:]).float()
        question = (
            f"How many means belong to the shape {shape}, and beside which numbers do they stand?"
        )
        expect(lesson.LayerNorm(shape[-1])(x), right, of=f"the norm of shape {shape}", ask=question)


@check("LayerNorm.forward", points=1)
def test_each_channel_is_scaled_and_shifted(lesson, expect, draw):
    """What the layer has learned counts: one weight and one bias per channel."""
    for shape in [(2, 3, 5), (6, 6)]:
        x, channels = draw.normal(*shape, scale=10.0), shape[-1:]
        learned = draw.weights(weight=channels, bias=channels)
        learned["weight"][1] = 0.0
        norm = lesson.LayerNorm(*channels).load(learned)
        right = F.layer_norm(x.double(), channels).float() * learned["weight"] + learned["bias"]
        question = "If the weight of a channel is 0, what should come out of that channel?"
        expect(norm(x), right, of="the norm with weight and bias", ask=question)


@check("LayerNorm.forward", points=2)
def test_vectors_that_hardly_vary(lesson, expect, draw):
    """Vectors of nearly equal numbers show where eps stands."""
    right = torch.zeros(2, 4)
    of = "the norm of a vector of equal numbers"
    expect(lesson.LayerNorm(4)(torch.full((2, 4), 3.0)), right, of=of, ask="What is 0 / 0?")
    for scale, eps in [(0.01, 1e-5), (0.001, 1e-5), (0.2, 0.1)]:
        x = draw.normal(3, 4, 7, scale=scale)
        norm = lesson.LayerNorm(7, eps)
        right = F.layer_norm(x.double(), (7,), eps=eps).float()
        question = (
            "By what is the vector divided: where does eps stand, and where does it come from?"
        )
        expect(norm(x), right, of=f"the norm of numbers around {scale}, eps {eps}", ask=question)


@check("LayerNorm.forward", points=1)
def test_mean_far_above_the_spread(lesson, expect, draw):
    """No digits are lost where all numbers of a vector lie close to 31."""
    # multiples of 1/64, and four of them: their sum and their mean are exact in any order
    x = (2000 + draw.ids(41, 3, 5, 4) - 20).float() / 64
    right = F.layer_norm(x.double(), (4,)).float()
    question = "Is there a difference of two large numbers? What if you subtract before you square?"
    of = "the norm of numbers close to 31"
    expect(lesson.LayerNorm(4)(x), right, of=of, ask=question, tolerance=2e-5)


@check("LayerNorm.forward", points=1)
def test_norm_passes_gradients_on(lesson, expect, draw):
    """Weight and bias learn, and so does everything before the norm: mean and variance move too."""
    x, learned = draw.normal(2, 3, 5), draw.weights(weight=(5,), bias=(5,))
    mine = lesson.grad(lesson.LayerNorm(5).load(learned), x)
    torchs = nn.LayerNorm(5)
    torchs.load_state_dict(learned)
    right = grad(torchs, x)
    question = "If one number of a vector grows, its mean grows too. Does your gradient know?"
    expect(mine["arguments"][0], right["arguments"][0], of="the gradient of x", ask=question)
    for name in learned:
        gradient = mine["parameters"].get(name)
        expect(gradient, right["parameters"][name], of=f"the gradient of the {name}")


# 2. gelu


@check("gelu", points=1)
def test_gelu_by_hand(lesson, expect, draw):
    """A few numbers, with Python's own tanh."""
    numbers = [1.0, -1.0, 0.0, 2.5, -0.3]
    right = [
        0.5 * n * (1 + math.tanh(math.sqrt(2 / math.pi) * (n + 0.044715 * n**3))) for n in numbers
    ]
    question = "For 1 the tanh is 0.682 and the result 0.841. Which of the two do you get?"
    expect(
        lesson.gelu(torch.tensor(numbers)),
        torch.tensor(right),
        of=f"gelu of {numbers}",
        ask=question,
    )


@check("gelu", points=1)
def test_gelu_is_gpt2s(lesson, expect, draw):
    """GPT-2's weights were trained with this form: one that is merely close would show."""
    for shape in [(2, 3, 5), (1, 4), (7,), ()]:
        x = draw.uniform(*shape, low=0.2, high=4.0)
        right = F.gelu(x, approximate="tanh")
        expect(lesson.gelu(x), right, of=f"gelu of a tensor of shape {shape}")
    x = draw.uniform(40, low=-1.5, high=0.0)
    question = "Two forms are in use, with tanh and with erf. Which one stands in the docstring?"
    expect(
        lesson.gelu(x), F.gelu(x, approximate="tanh"), of="gelu of negative numbers", ask=question
    )


@check("gelu", points=1)
def test_gelu_far_out(lesson, expect, draw):
    """Far below zero gelu is 0, far above it is x, and nowhere does nan come up."""
    x = torch.tensor([-3000.0, -60.0, -20.0, 20.0, 90.0, 4000.0])
    right = torch.tensor([0.0, 0.0, 0.0, 20.0, 90.0, 4000.0])
    question = "How large is exp(2 u) for u = 300, and what is inf / inf?"
    expect(lesson.gelu(x), right, of="gelu of large numbers", ask=question)
    mine, right = lesson.grad(lesson.gelu, x), grad(F.relu, x)
    of = "the gradient for large numbers (of a weighted sum)"
    expect(mine["arguments"][0], right["arguments"][0], of=of, ask=question)


@check("gelu", points=1)
def test_gelu_keeps_the_dtype(lesson, expect, draw):
    """Numbers of 64 bits stay so; those of 16 will, too, when you train with them."""
    x = draw.normal(3, 4).double()
    question = "Does a line turn x into a dtype of its own choice?"
    expect(
        lesson.gelu(x), F.gelu(x, approximate="tanh"), of="gelu of a float64 tensor", ask=question
    )


@check("gelu", points=1)
def test_gelu_passes_gradients_on(lesson, expect, draw):
    """What lies before the bend learns through it."""
    x = draw.normal(4, 5)
    mine = lesson.grad(lesson.gelu, x)
    right = grad(F.gelu, x, approximate="tanh")
    question = "Does all of it stay a tensor, from x to the result?"
    expect(mine["arguments"][0], right["arguments"][0], of="the gradient of x", ask=question)


# 3. MLP


def mlp_weights(draw, n_embd, n_inner):
    """Random numbers for both linear layers, by name."""
    return draw.weights(
        c_fc__weight=(n_inner, n_embd),
        c_fc__bias=(n_inner,),
        c_proj__weight=(n_embd, n_inner),
        c_proj__bias=(n_embd,),
    )


def torchs_mlp(x, w, bend=lambda wide: F.gelu(wide, approximate="tanh")):
    """Widen, bend, narrow, through torch's functions."""
    wide = F.linear(x, w["c_fc.weight"], w["c_fc.bias"])
    return F.linear(bend(wide), w["c_proj.weight"], w["c_proj.bias"])


@check("MLP.forward", points=2)
def test_mlp_is_two_layers_with_a_bend(lesson, expect, draw):
    """Every place is widened, bent and narrowed by itself."""
    for n_embd, n_inner, batch, length in [(6, None, 2, 3), (5, 30, 1, 4), (7, 3, 3, 1)]:
        weights = mlp_weights(draw, n_embd, n_inner or 4 * n_embd)
        x = draw.normal(batch, length, n_embd)
        mlp = lesson.MLP(n_embd, n_inner).load(weights)
        question = "What does each of the four calls get: x, or what the call before it returned?"
        expect(mlp(x), torchs_mlp(x, weights), of=f"MLP({n_embd}, {n_inner})", ask=question)


@check("MLP.forward", points=1)
def test_activation_can_be_exchanged(lesson, expect, draw):
    """The layer calls `self.activation`, so that another bend can take its place."""
    weights, x = mlp_weights(draw, 4, 9), draw.normal(2, 3, 4)
    mlp = lesson.MLP(4, 9).load(weights)
    mlp.put("activation", lesson.toy("square"))
    right = torchs_mlp(x, weights, torch.square)
    question = "Do you call self.activation, or the function by its own name?"
    expect(mlp(x), right, of="the MLP with squares for its activation", ask=question)


@check("MLP.forward", points=1)
def test_mlp_learns(lesson, expect, draw):
    """Both layers get their gradients, and so does the input."""
    weights, x = mlp_weights(draw, 5, 8), draw.normal(2, 7, 5)
    mine = lesson.grad(lesson.MLP(5, 8).load(weights), x)
    names = list(weights)
    right = grad(
        lambda x, *ws: torchs_mlp(x, dict(zip(names, ws, strict=True))), x, *weights.values()
    )
    gradient = right["arguments"][0]
    expect(mine["arguments"][0], gradient, of="the gradient of the input", tolerance=SUMS)
    for name, gradient in zip(names, right["arguments"][1:], strict=True):
        of = f"the gradient of {name}"
        expect(mine["parameters"].get(name), gradient, of=of, tolerance=SUMS)


@check("MLP.forward", points=1)
def test_mlp_drops_out_in_training_only(lesson, expect, draw):
    """While learning, a share of what comes out is dropped; when the model writes, nothing is."""
    weights, x = mlp_weights(draw, 64, 16), draw.normal(2, 40, 64)
    mlp, right = lesson.MLP(64, 16, 0.3).load(weights), torchs_mlp(x, weights)
    mlp.eval()
    question = "How does the dropout learn that the model is no longer training?"
    expect(mlp(x), right, of="the MLP in evaluation", ask=question)
    mlp.train()
    result = mlp(x)
    same = bool(((result - right).abs() < 1e-4 * right.abs().max()).all())
    question = "Which of the four calls is the last?"
    expect.true(not same, "with dropout 0.3 nothing is dropped in training", ask=question)
    dropped = result == 0
    symptom = "with dropout 0.3 numbers change in training, but none of the result is exactly 0"
    expect.true(bool(dropped.any()), symptom, ask=question)
    twins = any(torch.equal(dropped.select(d, 0), dropped.select(d, 1)) for d in range(3))
    symptom = "two texts, places or channels drop just the same numbers"  # by chance: 1e-19
    expect.true(not twins, symptom, ask="Does every number have a chance of its own?")
    share = float(dropped.float().mean())
    # 5,120 draws: the share is 0.3 within 0.0385 (six standard deviations, false alarm 2e-9)
    symptom = f"with dropout 0.3, a share of {share:.2f} of the result is dropped in training"
    expect.true(abs(share - 0.3) < 0.0385, symptom, ask="How many dropouts are there?")


@check("MLP.forward", points=1)
def test_kept_numbers_make_up_for_the_dropped(lesson, expect, draw):
    """With a share of 0.2 dropped, the others grow by 1 / 0.8, so the sum stays about the same."""
    weights, x = mlp_weights(draw, 8, 5), draw.normal(3, 30, 8)
    result, right = lesson.MLP(8, 5, 0.2).load(weights)(x), torchs_mlp(x, weights)
    dropped = result == 0
    factor = float(result.abs().sum() / right[~dropped].abs().sum())
    even = dropped | ((result - factor * right).abs() < 1e-3 * right.abs().max())
    question = "Is something dropped before the last layer?"
    expect.true(bool(even.all()), "what is kept is not all enlarged by one factor", ask=question)
    symptom = f"in training what is kept is {factor:.2f} times as large, not 1 / 0.8 = 1.25 times"
    question = "What makes up on average for what is dropped?"
    expect.true(abs(factor - 1.25) < 1e-3, symptom, ask=question)


# 4. Block

PARTS = {  # our names, and those of torch's layer
    **{
        "ln_1.": "norm1.",
        "attn.c_attn.": "self_attn.in_proj_",
        "attn.c_proj.": "self_attn.out_proj.",
    },
    **{"ln_2.": "norm2.", "mlp.c_fc.": "linear1.", "mlp.c_proj.": "linear2."},
}
NAMES = {our + kind: its + kind for our, its in PARTS.items() for kind in ("weight", "bias")}


def block_weights(draw, n_embd, n_inner):
    """Random numbers for all parts of a block, by name; no two norms are alike."""
    linear = {"attn__c_attn": (3 * n_embd, n_embd), "attn__c_proj": (n_embd, n_embd)}
    linear |= {"mlp__c_fc": (n_inner, n_embd), "mlp__c_proj": (n_embd, n_inner)}
    shapes = {f"{ln}__{kind}": (n_embd,) for ln in ("ln_1", "ln_2") for kind in ("weight", "bias")}
    shapes |= {f"{name}__weight": shape for name, shape in linear.items()}
    shapes |= {f"{name}__bias": shape[:1] for name, shape in linear.items()}
    return draw.weights(scale=0.3, **shapes)


def torchs_layer(weights, n_head, norm_first, eps=1e-5):
    """torch's own layer of a transformer, with the same weights, in 64 bits."""
    n_inner, n_embd = weights["mlp.c_fc.weight"].shape
    layer = nn.TransformerEncoderLayer(
        *(n_embd, n_head, n_inner, 0.0, lambda x: F.gelu(x, approximate="tanh"), eps),
        **{"batch_first": True, "norm_first": norm_first, "dtype": torch.float64},
    )
    layer.load_state_dict({NAMES[name]: tensor for name, tensor in weights.items()})
    return layer


def future(x):
    """What no place may see, as torch's layer wants it: True where it may not look."""
    return torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)


@check("Block.forward", points=1)
def test_layers_add_to_the_stream(lesson, expect, draw):
    """What enters a block is still in what leaves it; the layers only add to it."""
    x = draw.normal(2, 5, 6, scale=3.0, shift=1.0)
    weights = block_weights(draw, 6, 10)
    for name in ("attn.c_proj.weight", "mlp.c_proj.weight"):
        weights[name].zero_()  # now each layer finds the same everywhere: its last bias
    block = lesson.Block(6, 2, 10).load(weights)
    right = x + weights["attn.c_proj.bias"] + weights["mlp.c_proj.bias"]
    question = "Each layer returns one constant vector here. What is it added to?"
    expect(block(x), right, of="the block whose layers add constant vectors", ask=question)


@check("Block.forward", points=2)
def test_block_is_torchs_layer(lesson, expect, draw):
    """With the same weights your block gives what a layer of GPT-2 gives."""
    for n_embd, n_head, n_inner, batch, eps in [
        (12, 3, None, 2, 1e-5),
        (8, 1, 5, 1, 0.5),
        (6, 6, 36, 3, 1e-5),
    ]:
        weights = block_weights(draw, n_embd, n_inner or 4 * n_embd)
        x = draw.normal(batch, 4, n_embd)
        block = lesson.Block(n_embd, n_head, n_inner, 0.0, eps).load(weights)
        torchs = torchs_layer(weights, n_head, norm_first=True, eps=eps)
        right = torchs(x.double(), src_mask=future(x)).detach().float()
        question = (
            "Which norm does each layer read through, and from which x does the second sum begin?"
        )
        expect(
            block(x), right, of=f"the block with {n_head} heads on {n_embd} channels", ask=question
        )


@check("Block.forward", points=1)
def test_cache_reaches_the_attention(lesson, expect, draw):
    """Token by token with a cache gives what all at once gives."""
    weights, x = block_weights(draw, 12, 7), draw.normal(2, 6, 12)
    block, cache = lesson.Block(12, 3, 7).load(weights), lesson.toy("layer cache")
    torchs = torchs_layer(weights, 3, norm_first=True)
    right = torchs(x.double(), src_mask=future(x)).detach().float()
    start = 0
    for length in (2, 1, 3):
        part = block(x[:, start : start + length], cache)
        of = f"the block at places {start} to {start + length - 1} with a cache"
        question = "Where could the attention find the earlier tokens?"
        expect(part, right[:, start : start + length], of=of, ask=question)
        start += length
    expect(
        cache.read("length"),
        6,
        of="the number of places in the cache",
        ask="Is an empty cache None?",
    )


@check("Block.forward", points=1)
def test_block_learns(lesson, expect, draw):
    """Every weight gets its gradient, and what lies before the block gets it on two ways."""
    weights, x = block_weights(draw, 12, 9), draw.normal(2, 4, 12)
    mine = lesson.grad(lesson.Block(12, 3, 9).load(weights), x)
    right = grad(torchs_layer(weights, 3, norm_first=True), x.double(), src_mask=future(x))
    question = "Can the gradient go straight through both sums, and also through both layers?"
    of, gradient = "the gradient of x", right["arguments"][0].float()
    expect(mine["arguments"][0], gradient, of=of, ask=question, tolerance=SUMS)
    for name in weights:
        gradient = right["parameters"][NAMES[name]].float()
        of = f"the gradient of {name}"
        expect(mine["parameters"].get(name), gradient, of=of, tolerance=SUMS)


@check("Block.forward", points=1)
def test_dropout_spares_the_stream(lesson, expect, draw):
    """Dropout may silence what a layer adds, once and in training; never the stream itself."""
    x = draw.normal(2, 200, 8)
    weights = {name: torch.zeros_like(w) for name, w in block_weights(draw, 8, 1).items()}
    weights["attn.c_proj.bias"] += 1.0  # so the attention adds 1 everywhere,
    weights["mlp.c_fc.bias"] += 3.0  # and the MLP, with gelu(3) = 2.9964 inside, adds 4
    weights["mlp.c_proj.weight"] += 4 / 2.9963627
    block = lesson.Block(8, 2, 1, 0.5).load(weights)
    block.eval()
    question = "Is something dropped in evaluation?"
    expect(block(x), x + 5.0, of="the block in evaluation", ask=question)
    block.train()
    added = {round(n) for n in (block(x) - x).flatten().tolist()}
    # dropout 0.5 makes of the 1 either 0 or 2, and of the 4 either 0 or 8: so many draws show all
    question = "Where do the two layers drop something already?"
    expect(sorted(added), [0, 2, 8, 10], of="what the layers add in training", ask=question)


# stretch


@check("PostNormBlock.forward", points=1)
def test_every_vector_leaves_normed(lesson, expect, draw):
    """With its first norms, whatever goes in, vectors of mean 0 and variance 1 come out."""
    x = draw.normal(2, 3, 16, scale=20.0, shift=5.0)
    result = lesson.PostNormBlock(16, 4)(x)
    question = "What is the last thing that happens to the stream?"
    expect(result.mean(-1), torch.zeros(2, 3), of="the mean of each vector", ask=question)
    variances = result.var(-1, unbiased=False)
    expect(
        variances, torch.ones(2, 3), of="the variance of each vector", ask=question, tolerance=1e-3
    )


@check("PostNormBlock.forward", points=1)
def test_post_norm_is_torchs_layer(lesson, expect, draw):
    """With the same weights it gives what torch's own layer gives when the norm comes last."""
    for n_embd, n_head, n_inner, batch in [(12, 3, 20, 2), (16, 1, 64, 1)]:
        weights = block_weights(draw, n_embd, n_inner)
        x = draw.normal(batch, 5, n_embd)
        mine = lesson.grad(lesson.PostNormBlock(n_embd, n_head, n_inner).load(weights), x)
        torchs = torchs_layer(weights, n_head, norm_first=False)
        right = grad(torchs, x.double(), src_mask=future(x))
        question = "Which norm stands around which sum, and what does the second sum begin with?"
        expect(
            mine["result"], right["result"].detach().float(), of="the post-norm block", ask=question
        )
        of, gradient = "the gradient of x in it", right["arguments"][0].float()
        expect(mine["arguments"][0], gradient, of=of, tolerance=SUMS)


@check("PostNormBlock.forward", points=1)
def test_post_norm_hands_the_cache_on(lesson, expect, draw):
    """Token by token with a cache gives what all at once gives."""
    weights, x = block_weights(draw, 6, 7), draw.normal(2, 4, 6)
    block, cache = lesson.PostNormBlock(6, 2, 7).load(weights), lesson.toy("layer cache")
    torchs = torchs_layer(weights, 2, norm_first=False)
    right = torchs(x.double(), src_mask=future(x)).detach().float()
    for place in range(4):
        of = f"the post-norm block at place {place} with a cache"
        part = block(x[:, place : place + 1], cache)
        expect(part, right[:, place : place + 1], of=of, ask="Who needs the cache?")

"""Checks for lesson 11, modern blocks. Which step turns which check green:

1. RMSNorm.forward                 test_root_mean_square_by_hand, test_every_vector_for_itself,
                                   test_eps_under_the_root, test_sixteen_bits_overflow,
                                   test_norm_without_mean_learns
2. rotary                          test_quarter_turns_by_hand, test_pairs_and_halves,
                                   test_only_the_distance_counts, test_places_go_on_from_start,
                                   test_angles_have_32_bits, test_no_odd_channel_is_turned,
                                   test_turning_passes_gradients_on
3. SwiGLU.forward                  test_gate_by_hand, test_gate_opens_what_goes_up,
                                   test_gated_mlp_learns
4. GroupedQueryAttention.forward   test_heads_share_keys, test_no_head_sees_the_future,
                                   test_cache_is_turned_once, test_attend_can_be_exchanged,
                                   test_shared_heads_learn
5. LlamaBlock.forward              test_parts_add_to_the_stream, test_block_is_llamas,
                                   test_places_reach_the_attention, test_block_learns,
                                   test_whole_llama_speaks
stretch  pairs_to_halves           test_rows_of_every_head, test_reordered_weights_speak_alike
stretch  convert_llama_weights     test_names_of_both_worlds, test_head_comes_from_somewhere,
                                   test_metas_file_speaks

`grader/llama.py` computes what is right in 64 bits, with torch's own functions and complex numbers.
"""

import math

import torch
import torch.nn.functional as F

from grader.checks import check, grad
from grader.llama import (
    block_shapes,
    llama_attention,
    llama_block,
    llama_logits,
    llama_mlp,
    llama_norm,
    llama_shapes,
    turned,
)

SUMS = 3e-5  # the tolerance for gradients that are sums over many terms, which may nearly cancel
MODEL = 1e-4  # for a whole model

# Three shapes that have little in common. In the second the heads are wider than the model, in the
# third all queries share one head of keys.
SHAPES = [
    {"n_head": 4, "n_kv_head": 2, "n_embd": 24, "n_inner": 20, "rope_theta": 10000.0},
    {"n_head": 6, "n_kv_head": 3, "n_embd": 10, "n_inner": 7, "rope_theta": 50.0, "head_size": 4},
    {"n_head": 3, "n_kv_head": 1, "n_embd": 18, "n_inner": 30, "rope_theta": 300.0},
]
SMALL = {**SHAPES[0], "vocab_size": 23, "block_size": 11, "n_layer": 3, "tie_weights": True}
ODD = {**SHAPES[1], "vocab_size": 17, "block_size": 8, "n_layer": 2, "rms_norm_eps": 0.5}


def some_weights(draw, shapes):
    """Random numbers for all weights, such that results stay of one scale; norms are around 1."""
    return {
        name: draw.normal(*shape, shift=1.0, scale=0.5)
        if len(shape) == 1
        else draw.normal(*shape, scale=1.5 * shape[-1] ** -0.5)
        for name, shape in shapes.items()
    }


def part_weights(draw, shape, prefix):
    """Random weights of one part of a block: those whose names begin so."""
    shapes = {n: s for n, s in block_shapes(**shape).items() if n.startswith(prefix)}
    return {n.removeprefix(prefix): w for n, w in some_weights(draw, shapes).items()}


def config_of(lesson, shape):
    """Your LlamaConfig of this shape; a block alone needs no vocabulary and no depth."""
    return lesson.LlamaConfig(**shape)


def right_gradients(function, x, weights):
    """The gradients of x and of each weight, by torch: x's, then name -> gradient."""
    names = list(weights)
    found = grad(
        lambda x, *values: function(x, dict(zip(names, values, strict=True))),
        *(tensor.double() for tensor in (x, *weights.values())),
    )
    first, *others = (gradient.float() for gradient in found["arguments"])
    return first, dict(zip(names, others, strict=True))


def expect_gradients(lesson, expect, module, function, x, weights, ask=None):
    """Your module's gradients are those of `function`."""
    mine, (right, others) = lesson.grad(module, x), right_gradients(function, x, weights)
    of = "the gradient of x"
    expect(mine["arguments"][0], right, of=of, ask=ask, tolerance=SUMS)
    for name, gradient in others.items():
        found = mine["parameters"].get(name)
        expect(found, gradient, of=f"the gradient of {name}", ask=ask, tolerance=SUMS)


# 1. RMSNorm


@check("RMSNorm.forward", points=1)
def test_root_mean_square_by_hand(lesson, expect, draw):
    """The root mean square of four numbers can be worked out on paper."""
    norm = lesson.RMSNorm(4, 1e-6)
    x = torch.tensor([[1.0, -7.0, 5.0, 5.0]])
    # the squares are 1, 49, 25 and 25; their mean is 25
    right = torch.tensor([[1.0, -7.0, 5.0, 5.0]]) / math.sqrt(25 + 1e-6)
    question = "The squares sum to 100. By how many do you divide, and what comes off before?"
    expect(norm(x), right, of="the norm of [[1, -7, 5, 5]]", ask=question)


@check("RMSNorm.forward", points=1)
def test_every_vector_for_itself(lesson, expect, draw):
    """Each vector has a root mean square of its own, and each channel a weight of its own."""
    for shape in [(4, 4), (2, 5, 7), (1, 3, 6), (2, 3, 1, 5), (8,)]:
        x, weight = draw.normal(*shape, scale=20.0, shift=9.0), draw.normal(shape[-1], shift=1.0)
        norm = lesson.RMSNorm(shape[-1]).load({"weight": weight})
        right = llama_norm(x, weight, 1e-5).float()
        question = "Over which dimension is the mean taken, and beside which numbers does it stand?"
        expect(norm(x), right, of=f"the norm of shape {shape}", ask=question)


@check("RMSNorm.forward", points=1)
def test_eps_under_the_root(lesson, expect, draw):
    """Vectors near zero are not blown up, and zero stays zero."""
    question = "What do you divide by, for a vector of zeros? And where does the formula have eps?"
    for eps, scale in [(0.25, 0.5), (1e-5, 0.003), (1e-2, 0.03)]:
        x, weight = draw.normal(3, 6, scale=scale), draw.normal(6, shift=1.0)
        norm = lesson.RMSNorm(6, eps).load({"weight": weight})
        of = f"the norm of numbers around {scale}, eps {eps}"
        expect(norm(x), llama_norm(x, weight, eps).float(), of=of, ask=question)
    zeros = torch.zeros(2, 5)
    expect(lesson.RMSNorm(5)(zeros), zeros, of="the norm of a vector of zeros", ask=question)


@check("RMSNorm.forward", points=1)
def test_sixteen_bits_overflow(lesson, expect, draw):
    """A model in 16 bits keeps its type, and the squares inside do not become infinite."""
    question = "300 squared is 90,000, and float16 ends at 65,504. In which type do you square?"
    for dtype, scale, tolerance in [(torch.float16, 300.0, 0.02), (torch.bfloat16, 1.0, 0.15)]:
        x, weight = draw.normal(3, 700, scale=scale).to(dtype), draw.normal(700, shift=1.0)
        right = llama_norm(x, weight, 1e-5).to(dtype)
        norm = lesson.RMSNorm(700).load({"weight": weight})
        of = f"the norm of numbers around {scale:g} in {str(dtype).removeprefix('torch.')}"
        expect(norm(x), right, of=of, ask=question, tolerance=tolerance)
    # 4,096 equal squares: a sum in 16 bits stops growing long before its end
    x = torch.full((1, 4096), 3.0, dtype=torch.bfloat16)
    of = "the norm of 4,096 times 3 in bfloat16"
    right = torch.ones_like(x)
    expect(lesson.RMSNorm(4096)(x), right, of=of, ask=question, tolerance=1e-3)


@check("RMSNorm.forward", points=1)
def test_norm_without_mean_learns(lesson, expect, draw):
    """The gradient goes back through the root mean square too: it is made of x."""
    x, weights = draw.normal(3, 4, 6, shift=1.0), {"weight": draw.normal(6, shift=1.0)}
    norm = lesson.RMSNorm(6, 0.1).load(weights)

    def right(x, weights):
        return llama_norm(x, weights["weight"], 0.1)

    question = "If one number of a vector grows, do its neighbours in the result change?"
    expect_gradients(lesson, expect, norm, right, x, weights, ask=question)


# 2. rotary


@check("rotary", points=1)
def test_quarter_turns_by_hand(lesson, expect, draw):
    """With theta 1 every pair turns by one radian a place, and with 100 the second by a tenth."""
    question = "At place 1, by how much has pair 0 turned? Which two channels are pair 0?"
    x = torch.tensor([1.0, 10.0, 0.0, 0.0]).expand(1, 1, 3, 4)
    steps = [(math.cos(p), math.sin(p), 10 * math.cos(p), 10 * math.sin(p)) for p in range(3)]
    right = torch.tensor([[[[a, b, c, d] for a, c, b, d in steps]]])
    of = "(1, 10, 0, 0) at the places 0, 1 and 2, theta 1, in halves"
    expect(lesson.rotary(x, 0, 1.0), right, of=of, ask=question, tolerance=2e-5)
    x = torch.tensor([1.0, 0.0, 10.0, 0.0]).expand(1, 1, 3, 4)
    slow = [(math.cos(p / 10), math.sin(p / 10)) for p in range(3)]
    right = [[*steps[p][:2], 10 * slow[p][0], 10 * slow[p][1]] for p in range(3)]
    of = "(1, 0, 10, 0) at the places 0, 1 and 2, theta 100, in pairs"
    mine = lesson.rotary(x, 0, 100.0, "pairs")
    expect(mine, torch.tensor([[right]]), of=of, ask=question, tolerance=2e-5)


@check("rotary", points=2)
def test_pairs_and_halves(lesson, expect, draw):
    """Both layouts that weights are made for, for heads of any size; halves is the usual one."""
    for shape, theta in [((2, 3, 5, 4), 10000.0), ((1, 1, 7, 10), 77.0), ((4, 2, 1, 6), 1e6)]:
        x = draw.normal(*shape)
        for layout in ("halves", "pairs"):
            of = f"a tensor {shape} with theta {theta:g}, in {layout}"
            question = "Which channel is the partner of channel 0, and where do both go back to?"
            right = turned(x, 0, theta, layout).float()
            mine = lesson.rotary(x, theta=theta, layout=layout)
            expect(mine, right, of=of, ask=question, tolerance=2e-5)
    x = draw.normal(2, 1, 4, 8)
    question = "What are the defaults, and what is a speed to the power of -2i / D?"
    expect(lesson.rotary(x), turned(x).float(), of="rotary(x)", ask=question, tolerance=2e-5)


@check("rotary", points=1)
def test_only_the_distance_counts(lesson, expect, draw):
    """Queries and keys that are moved together agree as before; nothing gets longer or shorter."""
    q, k = draw.normal(2, 3, 6, 8), draw.normal(2, 3, 6, 8)
    right = (turned(q) @ turned(k).transpose(-2, -1)).float()
    question = "Are both turned the same way round? What does place 0 do?"
    for layout in ("halves", "pairs"):
        if layout == "pairs":
            right = (turned(q, 0, 1e4, layout) @ turned(k, 0, 1e4, layout).mT).float()
        for start in (0, 7, 30):
            moved = [lesson.rotary(part, start, layout=layout) for part in (q, k)]
            of = f"all products of queries and keys from place {start} on, in {layout}"
            expect(moved[0] @ moved[1].mT, right, of=of, ask=question, tolerance=MODEL)
            lengths = moved[0].norm(dim=-1)
            expect(lengths, q.norm(dim=-1), of="the lengths of the turned queries", ask=question)


@check("rotary", points=1)
def test_places_go_on_from_start(lesson, expect, draw):
    """Tokens that come later are turned as they would have been in the whole text."""
    x = draw.normal(2, 3, 9, 6)
    for layout in ("halves", "pairs"):
        whole = turned(x, 0, 10000.0, layout).float()
        for start, end in [(0, 4), (4, 5), (5, 9)]:
            of = f"the places {start} to {end - 1} alone, in {layout}"
            question = f"At which places do {end - start} tokens stand that begin at {start}?"
            mine = lesson.rotary(x[:, :, start:end], start, layout=layout)
            expect(mine, whole[:, :, start:end], of=of, ask=question, tolerance=2e-5)
    for start in (100, 1000):
        right, of = turned(x, start, 500.0).float(), f"nine places from {start} on"
        # in 32 bits an angle of 1,000 is known to 0.00003
        expect(lesson.rotary(x, start, 500.0), right, of=of, ask=question, tolerance=1e-3)


@check("rotary", points=1)
def test_angles_have_32_bits(lesson, expect, draw):
    """Far into a text a 16-bit model still tells a place from the next, and keeps its type."""
    question = "Which whole numbers near 3,000 does a bfloat16 know? In which type do you count?"
    for dtype, tolerance in [(torch.bfloat16, 0.09), (torch.float16, 0.012)]:
        for layout in ("halves", "pairs"):
            x = draw.normal(1, 2, 50, 8).sign().to(dtype)  # all of one length: angles alone count
            right = turned(x, 3001, 10000.0, layout).to(dtype)
            of = f"places from 3001 on in {str(dtype).removeprefix('torch.')} ({layout})"
            mine = lesson.rotary(x, 3001, 10000.0, layout)
            expect(mine, right, of=of, ask=question, tolerance=tolerance)


@check("rotary", points=1)
def test_no_odd_channel_is_turned(lesson, expect, draw):
    """A channel without a partner, and a layout that nobody knows, are refused."""
    question = "Who would be the partner of the last of 5 channels?"
    for width in (5, 1):
        for layout in ("halves", "pairs"):
            with expect.raises(ValueError, f"for {width} channels in {layout}", ask=question):
                lesson.rotary(draw.normal(1, 2, 3, width), layout=layout)
    question = "Does something other than the two known layouts fall into one of them unseen?"
    for layout in ("half", "pair", "HALVES", "", "interleaved"):
        with expect.raises(ValueError, f"for the layout {layout!r}", ask=question):
            lesson.rotary(draw.normal(1, 2, 3, 4), layout=layout)


@check("rotary", points=1)
def test_turning_passes_gradients_on(lesson, expect, draw):
    """What comes back through the turn is turned back."""
    question = "Does something cut the result off: detach, no_grad, NumPy, item, torch.tensor(...)?"
    for layout in ("halves", "pairs"):
        x = draw.normal(2, 3, 4, 6)
        mine = lesson.grad(lesson.rotary, x, 2, 100.0, layout)["arguments"][0]
        right = grad(turned, x.double(), 2, 100.0, layout)["arguments"][0].float()
        of = f"the gradient of x, in {layout}"
        expect(mine, right, of=of, ask=question, tolerance=SUMS)


# 3. SwiGLU


@check("SwiGLU.forward", points=1)
def test_gate_by_hand(lesson, expect, draw):
    """A gate far below zero is shut, one far above is open as wide as it is large."""
    weights = {
        "gate_proj.weight": torch.tensor([[-60.0, 0.0], [0.0, 60.0], [1.0, 0.0]]),
        "up_proj.weight": torch.tensor([[5.0, 5.0], [0.0, 2.0], [1.0, 1.0]]),
        "down_proj.weight": torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
    }
    mlp = lesson.SwiGLU(2, 3).load(weights)
    question = "silu(-60) is about 0, silu(60) about 60. Which of the two layers is the gate?"
    of = "a shut gate before 10, and a gate of 60 before 2"
    expect(mlp(torch.ones(1, 1, 2)), torch.tensor([[[0.0, 120.0]]]), of=of, ask=question)
    # the third gate is 1: silu(1) = 1 / (1 + exp(-1)), times 1 + 1
    weights["down_proj.weight"] = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 3.0]])
    right = torch.tensor([[2.0, 6.0]]) / (1 + math.exp(-1))
    mine = lesson.SwiGLU(2, 3).load(weights)(torch.ones(1, 2))
    question = "silu(z) = z * sigmoid(z), and sigmoid(1) is 0.731. What is 2 silu(1)?"
    expect(mine, right, of="a gate of 1 before 2", ask=question)


@check("SwiGLU.forward", points=1)
def test_gate_opens_what_goes_up(lesson, expect, draw):
    """One layer opens and shuts, the other says what passes, the third narrows: for any shape."""
    for shape, n_inner in [((2, 5, 6), 9), ((3, 4), 4), ((7,), 2)]:
        sizes = {"n_head": 1, "n_kv_head": 1, "n_embd": shape[-1], "n_inner": n_inner}
        weights, x = part_weights(draw, sizes, "mlp."), draw.normal(*shape, scale=2.0)
        mlp = lesson.SwiGLU(shape[-1], n_inner).load(weights)
        of = f"the gated MLP on {shape} with {n_inner} inside"
        question = "Does silu stand on the gate, on the other layer, or on both?"
        expect(mlp(x), llama_mlp(x, weights).float(), of=of, ask=question, tolerance=2e-5)


@check("SwiGLU.forward", points=1)
def test_gated_mlp_learns(lesson, expect, draw):
    """All three layers hear what they should have done."""
    sizes = {"n_head": 1, "n_kv_head": 1, "n_embd": 5, "n_inner": 8}
    weights, x = part_weights(draw, sizes, "mlp."), draw.normal(2, 3, 5)
    mlp = lesson.SwiGLU(5, 8).load(weights)
    question = "Is each of the three layers called as it is, without detach or .data?"
    expect_gradients(lesson, expect, mlp, llama_mlp, x, weights, ask=question)


# 4. GroupedQueryAttention


@check("GroupedQueryAttention.forward", points=2)
def test_heads_share_keys(lesson, expect, draw):
    """With the same weights your layer finds what Llama's finds, however many heads share."""
    everyone = {"n_head": 4, "n_kv_head": 4, "n_embd": 16, "n_inner": 8}
    for shape, batch, length in [
        (SHAPES[0], 2, 5),
        (SHAPES[1], 1, 7),
        (SHAPES[2], 3, 4),
        (everyone, 2, 6),
    ]:
        weights, x = (
            part_weights(draw, shape, "self_attn."),
            draw.normal(batch, length, shape["n_embd"]),
        )
        layer = lesson.GroupedQueryAttention(config_of(lesson, shape)).load(weights)
        of = f"the layer with {shape['n_head']} heads of queries, {shape['n_kv_head']} of keys"
        question = "Which head of keys do query heads 0 and 1 use? What is turned, and what is not?"
        right = llama_attention(x, weights, **shape).float()
        expect(layer(x), right, of=of, ask=question, tolerance=2e-5)


@check("GroupedQueryAttention.forward", points=1)
def test_no_head_sees_the_future(lesson, expect, draw):
    """What comes later changes nothing, and neither does it where the text begins."""
    shape = SHAPES[0]
    weights, x = part_weights(draw, shape, "self_attn."), draw.normal(2, 6, shape["n_embd"])
    layer = lesson.GroupedQueryAttention(config_of(lesson, shape)).load(weights)
    right = llama_attention(x, weights, **shape).float()
    more = torch.cat([x, draw.normal(2, 2, shape["n_embd"])], dim=1)
    question = "Can a place see what comes after it?"
    of = "the earlier places, after two more tokens came"
    expect(layer(more)[:, :6], right, of=of, ask=question, tolerance=2e-5)
    question = "A query and a key that both stand 9 places further on: what of them changes?"
    of = "the same text from place 9 on"
    expect(layer(x, 9), right, of=of, ask=question, tolerance=5e-5)


@check("GroupedQueryAttention.forward", points=2)
def test_cache_is_turned_once(lesson, expect, draw):
    """Token by token with a cache gives what all at once gives, and the cache stays small."""
    for shape in SHAPES:
        weights, x = part_weights(draw, shape, "self_attn."), draw.normal(2, 7, shape["n_embd"])
        layer = lesson.GroupedQueryAttention(config_of(lesson, shape)).load(weights)
        cache, right = lesson.toy("layer cache"), llama_attention(x, weights, **shape).float()
        start = 0
        for length in (2, 1, 3, 1):
            part = layer(x[:, start : start + length], start, cache)
            question = "Are keys turned before they go into the cache, and from which place on?"
            of = f"the output for places {start} to {start + length - 1} with a cache"
            expect(part, right[:, start : start + length], of=of, ask=question, tolerance=2e-5)
            start += length
        n_kv_head = shape["n_kv_head"]
        k, v = (
            F.linear(x, weights[f"{name}_proj.weight"])
            .unflatten(-1, (n_kv_head, -1))
            .transpose(1, 2)
            for name in ("k", "v")
        )
        question = f"{n_kv_head} heads are kept, not {shape['n_head']}. When do you repeat them?"
        kept = cache.read("k")
        of = "the keys in the cache"
        expect(kept, turned(k, 0, shape["rope_theta"]).float(), of=of, ask=question, tolerance=2e-5)
        expect(cache.read("v"), v, of="the values in the cache", ask=question)
        filled, k = lesson.toy("layer cache"), turned(k, 0, shape["rope_theta"]).float()
        filled.append(k[:, :, :5].clone(), v[:, :, :5].clone())
        of = "the output for places 5 and 6, with a cache that has been filled before"
        expect(layer(x[:, 5:], 5, filled), right[:, 5:], of=of, ask=question, tolerance=2e-5)


@check("GroupedQueryAttention.forward", points=1)
def test_attend_can_be_exchanged(lesson, expect, draw):
    """The layer calls `self.attend`, so that a faster attention can take its place."""
    shape = SHAPES[1]
    weights, x = part_weights(draw, shape, "self_attn."), draw.normal(2, 3, shape["n_embd"])
    layer = lesson.GroupedQueryAttention(config_of(lesson, {**shape, "dropout": 0.25}))
    layer.load(weights)
    toy = lesson.toy("attend")
    layer.put("attend", toy)
    values = (
        F.linear(x, weights["v_proj.weight"]).unflatten(-1, (3, 1, 4)).expand(-1, -1, -1, 2, -1)
    )
    right = F.linear(2 * values.flatten(2), weights["o_proj.weight"])
    question = "Do you call self.attend, and do q, k and v have equally many heads there?"
    expect(layer(x), right, of="the layer with another `attend`", ask=question)
    expect(toy.read("shapes"), [[2, 6, 3, 4]] * 3, of="the shapes of q, k and v", ask=question)
    question = "When does a model drop something: while it learns, or while it writes?"
    expect(toy.read("dropout_p"), 0.25, of="the dropout handed over in training", ask=question)
    layer.eval()
    expect(layer(x), right, of="the layer in evaluation", ask=question)
    expect(toy.read("dropout_p"), 0.0, of="the dropout handed over in evaluation", ask=question)


@check("GroupedQueryAttention.forward", points=1)
def test_shared_heads_learn(lesson, expect, draw):
    """A shared head hears from all that share it."""
    for shape in SHAPES[:2]:
        weights, x = part_weights(draw, shape, "self_attn."), draw.normal(2, 4, shape["n_embd"])
        layer = lesson.GroupedQueryAttention(config_of(lesson, shape)).load(weights)
        question = "Which of the four layers does the gradient not reach, and what stands between?"

        def right(x, weights, shape=shape):
            return llama_attention(x, weights, **shape)

        expect_gradients(lesson, expect, layer, right, x, weights, ask=question)


# 5. LlamaBlock


@check("LlamaBlock.forward", points=1)
def test_parts_add_to_the_stream(lesson, expect, draw):
    """What enters a block is still in what leaves it; each part only adds to it."""
    shape, x = SHAPES[0], draw.normal(2, 5, 24, scale=3.0)
    for silent, of in [("self_attn.o_proj", "attention"), ("mlp.down_proj", "MLP")]:
        weights = some_weights(draw, block_shapes(**shape))
        weights[f"{silent}.weight"].zero_()
        block = lesson.LlamaBlock(config_of(lesson, shape)).load(weights)
        right = llama_block(x, weights, **shape).float()
        question = f"The {of} returns zeros here. What is left of x, and what is added to it?"
        of = f"the block whose {of} adds nothing"
        expect(block(x), right, of=of, ask=question, tolerance=2e-5)


@check("LlamaBlock.forward", points=1)
def test_block_is_llamas(lesson, expect, draw):
    """With the same weights your block gives what a layer of Llama gives."""
    for shape, eps in zip(SHAPES, (1e-5, 0.5, 1e-2), strict=True):
        shape = {**shape, "rms_norm_eps": eps}
        weights = some_weights(draw, block_shapes(**shape))
        x = draw.normal(2, 5, shape["n_embd"])
        block = lesson.LlamaBlock(config_of(lesson, shape)).load(weights)
        question = "Which norm does each part read through, and where does the second sum begin?"
        of = f"the block with {shape['n_head']} heads"
        right = llama_block(x, weights, **shape).float()
        expect(block(x), right, of=of, ask=question, tolerance=2e-5)


@check("LlamaBlock.forward", points=1)
def test_places_reach_the_attention(lesson, expect, draw):
    """Token by token, with a place and a cache, gives what all at once gives."""
    shape = SHAPES[2]
    weights, x = some_weights(draw, block_shapes(**shape)), draw.normal(2, 6, shape["n_embd"])
    block = lesson.LlamaBlock(config_of(lesson, shape)).load(weights)
    right, cache = llama_block(x, weights, **shape).float(), lesson.toy("layer cache")
    start = 0
    for length in (2, 1, 3):
        part = block(x[:, start : start + length], start, cache)
        of = f"the block at places {start} to {start + length - 1} with a cache"
        question = "How does the attention learn where its tokens stand, and what came before?"
        expect(part, right[:, start : start + length], of=of, ask=question, tolerance=2e-5)
        start += length
    expect(cache.read("length"), 6, of="the number of places in the cache", ask=question)


@check("LlamaBlock.forward", points=1)
def test_block_learns(lesson, expect, draw):
    """Every weight gets its gradient, and what lies before the block gets it on two ways."""
    shape = SHAPES[0]
    weights, x = some_weights(draw, block_shapes(**shape)), draw.normal(2, 4, 24)
    block = lesson.LlamaBlock(config_of(lesson, shape)).load(weights)
    question = "Can the gradient go straight through both sums, and also through both parts?"

    def right(x, weights):
        return llama_block(x, weights, **shape)

    expect_gradients(lesson, expect, block, right, x, weights, ask=question)


@check("LlamaBlock.forward", points=2)
def test_whole_llama_speaks(lesson, expect, draw):
    """Stacked, your blocks are a Llama: logits, loss, a cache that grows token by token."""
    for shape in (SMALL, ODD):
        weights = some_weights(draw, llama_shapes(**shape))
        ids, targets = draw.ids(shape["vocab_size"], 2, 8), draw.ids(shape["vocab_size"], 2, 8)
        model = lesson.Llama(config_of(lesson, shape)).load(weights)
        right = llama_logits(weights, ids, **shape)
        question = "All that is not given stands in your block: do its earlier checks pass?"
        logits, loss = model(ids, targets)
        expect(logits, right, of="the logits", ask=question, tolerance=MODEL)
        right_loss = F.cross_entropy(right.flatten(0, 1), targets.flatten())
        expect(loss, right_loss, of="the loss", ask=question, tolerance=MODEL)
        cache, start = lesson.toy("cache", shape["n_layer"]), 0
        for length in (3, 1, 4):
            logits, _ = model(ids[:, start : start + length], cache=cache)
            of = f"the logits for places {start} to {start + length - 1} with a cache"
            part = right[:, start : start + length]
            expect(logits, part, of=of, ask=question, tolerance=MODEL)
            start += length
        logits, _ = model(ids, last_only=True)
        expect(logits, right[:, -1:], of="the logits of the last place", tolerance=MODEL)


# stretch


@check("pairs_to_halves", points=1)
def test_rows_of_every_head(lesson, expect, draw):
    """In every head by itself, the firsts of all pairs come before the seconds."""
    rows = torch.tensor([[10.0], [11.0], [20.0], [21.0], [30.0], [31.0]])
    right = torch.tensor([[10.0], [20.0], [30.0], [11.0], [21.0], [31.0]])
    question = "Rows 10 and 11 are pair 0. Which three come first now?"
    expect(lesson.pairs_to_halves(rows, 1), right, of="one head of three pairs", ask=question)
    for n_head, size, width in [(2, 4, 3), (3, 6, 5), (4, 2, 8)]:
        weight = draw.normal(n_head * size, width)
        heads = weight.split(size)
        right = torch.cat([part for head in heads for part in (head[0::2], head[1::2])])
        of = f"{n_head} heads of {size} rows"
        question = "Do rows of one head get into another? And do the columns stay?"
        expect(lesson.pairs_to_halves(weight, n_head), right, of=of, ask=question)
    for rows, n_head in [(6, 4), (6, 2), (5, 1)]:
        with expect.raises(
            ValueError, f"for {rows} rows and {n_head} heads", ask="Are all paired?"
        ):
            lesson.pairs_to_halves(draw.normal(rows, 3), n_head)


@check("pairs_to_halves", points=1)
def test_reordered_weights_speak_alike(lesson, expect, draw):
    """A layer made for pairs, reordered, finds with halves what it found before."""
    shape = {**SHAPES[0], "n_head": 4, "n_kv_head": 2}
    weights, x = part_weights(draw, shape, "self_attn."), draw.normal(2, 5, 24)
    right = llama_attention(x, weights, **shape, layout="pairs").float()
    for name, n_head in (("q_proj.weight", 4), ("k_proj.weight", 2)):
        weights[name] = lesson.pairs_to_halves(weights[name], n_head)
    expect([tuple(weights[f"{name}_proj.weight"].shape) for name in "qk"], [(24, 24), (12, 24)])
    mine = llama_attention(x, weights, **shape).float()
    question = "Were queries and keys reordered alike, so that their products stay?"
    of = "what torch's attention makes of your reordered weights"
    expect(mine, right, of=of, ask=question)


def metas_name(name):
    """What Meta's own files call a weight that Hugging Face calls `name`."""
    parts = {
        **{"embed_tokens": "tok_embeddings", "self_attn": "attention", "mlp": "feed_forward"},
        **{"q_proj": "wq", "k_proj": "wk", "v_proj": "wv", "o_proj": "wo", "lm_head": "output"},
        **{"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"},
        **{"input_layernorm": "attention_norm", "post_attention_layernorm": "ffn_norm"},
    }
    return ".".join(parts.get(p, p) for p in name.removeprefix("model.").split("."))


@check("convert_llama_weights", points=1)
def test_names_of_both_worlds(lesson, expect, draw):
    """Every weight arrives under the name that `Llama` gives it; what is computed stays behind."""
    shape = {**ODD, "n_layer": 11}
    right = {
        name: draw.normal(*size)
        for name, size in llama_shapes(**shape).items()
        if ".layers." not in name or ".layers.10." in name
    }
    full = {"model.layers.10.self_attn.rotary_emb.inv_freq": draw.normal(2), **right}
    bare = {name.removeprefix("model."): tensor for name, tensor in full.items()}
    for state, of in [(full, "a file with prefix"), (bare, "a file without prefix")]:
        question = (
            "Which names get `model.` in front? What is inv_freq? And are these rows in pairs?"
        )
        converted = lesson.convert_llama_weights(state, 6, 3)
        expect(converted, right, of=f"what comes from {of}", ask=question)
    others = {n: t for n, t in right.items() if "q_proj" not in n and "k_proj" not in n}
    meta = {"rope.freqs": draw.normal(2)} | {metas_name(n): t for n, t in others.items()}
    question = "Which of w1, w2 and w3 is the gate? And which of the norms is which?"
    converted = lesson.convert_llama_weights(meta, 6, 3)
    expect(converted, others, of="what comes from Meta's own file", ask=question)


@check("convert_llama_weights", points=1)
def test_head_comes_from_somewhere(lesson, expect, draw):
    """A head that is in the file is kept; where there is none, it is the token table."""
    table, head = draw.normal(5, 3), draw.normal(5, 3)
    question = "Is the head of a file that has none the token table, and that of the others theirs?"
    for its_table in ("model.embed_tokens.weight", "embed_tokens.weight", "tok_embeddings.weight"):
        its_head = "output.weight" if its_table.startswith("tok") else "lm_head.weight"
        tied = {"model.embed_tokens.weight": table, "lm_head.weight": table}
        converted = lesson.convert_llama_weights({its_table: table}, 2, 1)
        expect(converted, tied, of=f"a file with {its_table} alone", ask=question)
        converted = lesson.convert_llama_weights({its_head: head, its_table: table}, 2, 1)
        of = f"a file with {its_table} and {its_head}"
        expect(converted, tied | {"lm_head.weight": head}, of=of, ask=question)


@check("convert_llama_weights", points=2)
def test_metas_file_speaks(lesson, expect, draw):
    """Weights as Meta's files hold them, converted and loaded, say what they said with pairs."""
    wide = {**ODD, "n_head": 4, "n_kv_head": 2, "head_size": 8, "tie_weights": True}
    for shape in (wide, ODD):
        weights = some_weights(draw, llama_shapes(**shape))
        ids = draw.ids(shape["vocab_size"], 2, 6)
        right = llama_logits(weights, ids, **shape, layout="pairs")
        state = {metas_name(name): tensor for name, tensor in weights.items()}
        converted = lesson.convert_llama_weights(state, shape["n_head"], shape["n_kv_head"])
        names = dict.fromkeys(sorted([*llama_shapes(**shape), "lm_head.weight"]))
        expect(dict.fromkeys(sorted(converted)), names, of="which names come from Meta's file")
        for name, n_head in (("q_proj", shape["n_head"]), ("k_proj", shape["n_kv_head"])):
            before = weights[f"model.layers.1.self_attn.{name}.weight"]
            heads = before.split(len(before) // n_head)
            rows = torch.cat([part for head in heads for part in (head[0::2], head[1::2])])
            question = f"How many heads has {name}, and is it turned at all?"
            of = f"the rows of {name}, in halves"
            expect(
                converted.get(f"model.layers.1.self_attn.{name}.weight"), rows, of=of, ask=question
            )
        model = lesson.Llama(config_of(lesson, shape)).load(converted)
        logits, _ = model(ids)
        question = "Do values, outputs and the three layers of the MLP stay as they are?"
        expect(logits, right, of="the logits of Meta's file", ask=question, tolerance=MODEL)

"""Checks for lesson 13, compression. Which step turns which check green:

1. size_in_bytes              test_bytes_of_every_kind, test_shared_tables_take_room_once
2. quantize_rows              test_row_of_the_picture, test_every_row_has_its_scale,
                              test_largest_magnitude_sets_the_scale, test_rows_of_zeros,
                              test_rows_of_any_shape_and_type
3. QuantizedLinear.forward    test_layer_by_hand, test_layer_reads_its_weight,
                              test_every_vector_has_its_scale, test_sums_have_room,
                              test_layer_passes_gradients_on, test_gpt_in_eight_bits
4. QuantizedLinear.error_bound  test_bound_by_hand, test_bound_is_the_worst_case,
                              test_no_error_is_larger
5. prune_by_magnitude         test_smallest_go, test_pruning_is_torchs, test_exact_counts,
                              test_equals_go_in_order, test_prunings_that_make_no_sense
6. sparsity_report            test_zeros_are_counted, test_share_of_all
7. distillation_loss          test_two_coins, test_loss_is_torchs, test_only_scored_tokens_count,
                              test_numbers_without_end, test_student_learns_alone,
                              test_mixtures_that_make_no_sense
stretch  prune_n_m            test_two_of_four, test_any_n_of_any_m, test_groups_that_do_not_fit

Weights and inputs here are whole numbers, up to a prime, times a power of two. Divided by their
scale, none of them falls halfway between two steps, so that rounding is the same on every machine.
"""

import math

import torch
import torch.nn.functional as F
from torch.nn.utils import prune

from grader.checks import check, grad
from grader.gpt2 import gpt2_logits, weight_shapes

INF = math.inf
PRIMES = [53, 89, 101, 113, 151, 197, 251]
QUICK = 4  # seconds


def rows(draw, *shape, dtype=torch.float32):
    """Numbers whose rows have a largest magnitude each, and nothing halfway between two steps."""
    primes = torch.tensor(PRIMES)[draw.ids(len(PRIMES), *shape[:-1], 1)]
    numbers = (draw.uniform(*shape, low=-1, high=1) * primes).round()
    sign = 1 - 2 * draw.ids(2, *shape[:-1], 1)
    numbers = numbers.scatter(-1, draw.ids(shape[-1], *shape[:-1], 1), (sign * primes).float())
    return (numbers * 2.0 ** (draw.ids(9, *shape[:-1], 1) - 10)).to(dtype)


def in_int8(weight):
    """What torch makes of the rows (N, I): int8 numbers, and scales of largest magnitude / 127."""
    scale = (weight.double().abs().amax(1) / 127).float()
    zeros = torch.zeros(len(scale), dtype=torch.int32)
    read = torch.fake_quantize_per_channel_affine(weight.float(), scale, zeros, 0, -127, 127)
    return (read / scale[:, None]).round().to(torch.int8), scale


# 1. size_in_bytes


@check("size_in_bytes", points=1)
def test_bytes_of_every_kind(lesson, expect, draw):
    """Numbers of 8, 16, 32 and 64 bits take 1, 2, 4 and 8 bytes, whether they learn or not."""
    for shapes, dtypes, right in [
        ([(3, 5), (4,)], [torch.float32, torch.float32], 4 * 19),
        ([(3, 5), (4,)], [torch.float16, torch.float64], 2 * 15 + 8 * 4),
        ([(6, 7), (6,), (2,)], [torch.int8, torch.float32, torch.bool], 42 + 4 * 6 + 2),
        ([(2, 3), (5,), (7,)], [torch.bfloat16, torch.bfloat16, torch.int64], 2 * 11 + 8 * 7),
    ]:
        tensors = [draw.ids(2, *s).to(d) for s, d in zip(shapes, dtypes, strict=True)]
        question = "How many bytes does one number take? And who lists what is no parameter?"
        of = f"the size of a model with {shapes} of {[str(d) for d in dtypes]}"
        mine = lesson.size_in_bytes(lesson.toy("mixed model", *tensors))
        expect(mine, right, of=of, ask=question)


@check("size_in_bytes", points=1)
def test_shared_tables_take_room_once(lesson, expect, draw):
    """A GPT whose head is its token table is as large as it really is."""
    table, mask = draw.normal(11, 3), draw.mask(4, 4)
    question = "How many names has a tied table, and how often is it in memory?"
    mine = lesson.size_in_bytes(lesson.toy("tied model", table, mask))
    expect(mine, 4 * 33 + 16, of="the size of a table (11, 3), its tied head, a mask", ask=question)
    needed = lesson.needed("model")
    for tied in (True, False):
        shape = {"vocab_size": 50, "block_size": 9, "n_layer": 2, "n_head": 2, "n_embd": 6}
        shape["tie_weights"] = tied
        gpt = needed.GPT(needed.GPTConfig(**shape))
        right = sum(4 * math.prod(size) for size in weight_shapes(**shape).values())
        of = f"the size of a GPT {'with' if tied else 'without'} tied weights"
        expect(lesson.size_in_bytes(gpt), right, of=of, ask=question)


# 2. quantize_rows


@check("quantize_rows", points=1, seconds=QUICK)
def test_row_of_the_picture(lesson, expect, draw):
    """The row at the top of the file, and others that can be worked out on paper."""
    given = [[0.30, -1.27, 0.84, 0.002]]
    question = "What are 1.27 / 127 and 0.84 / 0.01? And what does a scale of all rows do to one?"
    right = (torch.tensor([[30, -127, 84, 0]], dtype=torch.int8), torch.tensor([0.01]))
    mine = lesson.quantize_rows(torch.tensor(given))
    expect(mine, right, of=f"the int8 of {given}, and its scales", ask=question)
    given = [[6.35, 1.03, -0.29], [-254.0, 100.0, 4.6]]
    numbers = torch.tensor([[127, 21, -6], [-127, 50, 2]], dtype=torch.int8)
    right = (numbers, torch.tensor([0.05, 2.0]))
    question = "1.03 / 0.05 is 20.6: which whole number is nearest? Which is nearest to -5.8?"
    mine = lesson.quantize_rows(torch.tensor(given))
    expect(mine, right, of=f"the int8 of {given}, and its scales", ask=question)


@check("quantize_rows", points=1, seconds=QUICK)
def test_every_row_has_its_scale(lesson, expect, draw):
    """A row of small numbers keeps its digits beside one of large numbers."""
    for shape in [(3, 5), (4, 4), (7, 2), (1, 6)]:
        weight = rows(draw, *shape)
        question = "Which numbers share a scale: those of a row, of a column, or all of them?"
        of = f"the int8 of a weight {shape}, and its scales"
        expect(lesson.quantize_rows(weight), in_int8(weight), of=of, ask=question)


@check("quantize_rows", points=1, seconds=QUICK)
def test_largest_magnitude_sets_the_scale(lesson, expect, draw):
    """127 steps up and 127 down: the number furthest from zero is the last step on its side."""
    given = [[-5.08, 1.27, 0.0], [-0.015, -2.54, -1.0], [3.0, 381.0, 9.0]]
    numbers = torch.tensor([[-127, 32, 0], [-1, -127, -50], [1, 127, 3]], dtype=torch.int8)
    question = "Is the largest number of [-5.08, 1.27, 0] the one that has to fit?"
    right = (numbers, torch.tensor([0.04, 0.02, 3.0]))
    mine = lesson.quantize_rows(torch.tensor(given))
    expect(mine, right, of=f"the int8 of {given}, and its scales", ask=question)
    weight = rows(draw, 6, 9).abs() * torch.tensor([1.0, -1.0]).repeat(3)[:, None]
    of = "the int8 of rows all above or all below zero"
    expect(lesson.quantize_rows(weight), in_int8(weight), of=of, ask=question)


@check("quantize_rows", points=1, seconds=QUICK)
def test_rows_of_zeros(lesson, expect, draw):
    """A row of zeros stays zeros, and the smallest numbers have their digits too."""
    weight = rows(draw, 4, 5)
    weight[[1, 3]] = 0.0
    numbers, scale = in_int8(weight + (weight == 0).all(1, keepdim=True))
    numbers[[1, 3]], scale[[1, 3]] = 0, 0.0
    question = "What is 0 / 0, and what does int8 make of it?"
    of = "the int8 of a weight in which two rows are zero"
    expect(lesson.quantize_rows(weight), (numbers, scale), of=of, ask=question)
    right = (torch.zeros(2, 3, dtype=torch.int8), torch.zeros(2))
    mine = lesson.quantize_rows(torch.zeros(2, 3))
    expect(mine, right, of="the int8 of nothing but zeros", ask=question)
    weight = rows(draw, 3, 7) * 2.0**-60
    question = "Is something added to the scale, or is it kept above a smallest number?"
    right = (in_int8(weight * 2.0**60)[0], weight.abs().amax(1) / 127)
    mine = lesson.quantize_rows(weight)
    expect(mine, right, of="the int8 of numbers around 10^-18", ask=question)


@check("quantize_rows", points=1, seconds=QUICK)
def test_rows_of_any_shape_and_type(lesson, expect, draw):
    """A batch of vectors is rounded like a weight, and 16 bits lose nothing on the way."""
    wide, narrow = (torch.float32, torch.float64), (torch.bfloat16, torch.float16)
    for shape, dtypes in [
        ((2, 3, 5), wide),
        ((3, 1, 4), narrow),
        ((6,), narrow),
        ((2, 2, 3, 4), wide),
    ]:
        for dtype in dtypes:
            weight = rows(draw, *shape, dtype=dtype)
            numbers, scale = in_int8(weight.view(-1, shape[-1]))
            question = "Along which dimension do you look for the largest? And in which precision?"
            of = f"the int8 of {shape} in {str(dtype).removeprefix('torch.')}, and its scales"
            right = (numbers.view(shape), scale.view(shape[:-1]))
            expect(lesson.quantize_rows(weight), right, of=of, ask=question)


# 3. QuantizedLinear.forward


def quantized(lesson, draw, n_out, n_in, bias=True, activations=False):
    """The learner's layer with an int8 weight, scales and bias that we know; and these three."""
    numbers = (draw.ids(255, n_out, n_in) - 127).to(torch.int8)
    known = {"weight": numbers, "scale": draw.uniform(n_out, low=0.001, high=0.1)}
    if bias:
        known["bias"] = draw.normal(n_out)
    linear = lesson.toy("linear layer", torch.ones(n_out, n_in), known.get("bias"))
    return lesson.QuantizedLinear(linear, activations).load(known), known


def full(x, known):
    """What a layer in 64 bits makes of x, with the weight read as number * scale."""
    weight = known["weight"].double() * known["scale"].double()[:, None]
    bias = known["bias"].double() if "bias" in known else None
    return F.linear(x.double(), weight, bias)


def rounded(x):
    """The vectors of x, (..., I), as they are after their rounding: number * scale, in 64 bits."""
    numbers, scale = in_int8(x.reshape(-1, x.shape[-1]))
    return (numbers.double() * scale.double()[:, None]).view(x.shape)


@check("QuantizedLinear.forward", points=1)
def test_layer_by_hand(lesson, expect, draw):
    """Two outputs of three inputs, with weights that can be rounded on paper."""
    weight, bias = torch.tensor([[1.27, 0.304, -0.5], [0.1, 2.54, 0.0]]), torch.tensor([10.0, 20.0])
    x = torch.tensor([[1.0, 10.0, 100.0], [0.0, -2.0, 3.0]])
    # read as [[1.27, 0.30, -0.50], [0.10, 2.54, 0.00]]
    right = torch.tensor([[-35.73, 45.5], [7.9, 14.92]])
    question = (
        "Which of 0.304 and 0.30 is still there? What is multiplied with the scale, what not?"
    )
    for given, of in [(bias, "the layer with a bias"), (None, "the layer without a bias")]:
        layer = lesson.QuantizedLinear(lesson.toy("linear layer", weight, given))
        expect(layer(x), right if given is not None else right - bias, of=of, ask=question)
    # the first vector is read as [1, 10, 100] with steps of 100 / 127: 1, 13 and 127 of them
    layer = lesson.QuantizedLinear(lesson.toy("linear layer", weight, bias), True)
    steps = torch.tensor([[1.0, 13.0, 127.0]]) * 100 / 127
    right = steps @ torch.tensor([[1.27, 0.1], [0.3, 2.54], [-0.5, 0.0]]) + bias
    question = "How many steps of 100 / 127 is 10? And which scales does the sum lack?"
    expect(layer(x[:1]), right, of="the layer with its activations in int8", ask=question)


@check("QuantizedLinear.forward", points=1)
def test_layer_reads_its_weight(lesson, expect, draw):
    """Each output has a scale of its own, whatever the shape of what comes in."""
    for n_out, n_in, shape, bias in [(5, 3, (2, 4), True), (4, 4, (3,), False), (3, 7, (), True)]:
        layer, known = quantized(lesson, draw, n_out, n_in, bias)
        x = draw.normal(*shape, n_in)
        question = "O scales: to which dimension of the result do they belong? And the bias?"
        of = f"the layer ({n_out}, {n_in}) on {(*shape, n_in)}, {'with' if bias else 'no'} bias"
        expect(layer(x), full(x, known).float(), of=of, ask=question)


@check("QuantizedLinear.forward", points=2)
def test_every_vector_has_its_scale(lesson, expect, draw):
    """With activations in int8, one loud token does not drown the others."""
    for n_out, n_in, shape, bias in [(5, 6, (2, 4), True), (4, 4, (4,), False), (3, 7, (), True)]:
        layer, known = quantized(lesson, draw, n_out, n_in, bias, activations=True)
        x = rows(draw, *shape, n_in)
        question = "Which numbers of x share a scale, and what is the scale of one output's sum?"
        of = f"the layer ({n_out}, {n_in}) with activations on {(*shape, n_in)}"
        expect(layer(x), full(rounded(x), known).float(), of=of, ask=question)
    x = rows(draw, 3, 7)
    x[1] = 0.0
    right = full(torch.where(x == 0, 0.0, rounded(x + (x == 0).all(1, keepdim=True))), known)
    of = "the layer with activations on a vector of zeros"
    expect(layer(x), right.float(), of=of, ask="What does `quantize_rows` make of zeros?")


@check("QuantizedLinear.forward", points=1)
def test_sums_have_room(lesson, expect, draw):
    """Sums of a thousand products go far beyond int8, and inputs of 16 bits do not cut them."""
    n_in = 1000
    weight = 100 + draw.ids(28, 2, n_in)
    known = {"weight": weight.to(torch.int8), "scale": torch.tensor([2.0**-9, 2.0**-10])}
    x = 50.0 + draw.ids(50, 3, n_in)
    x[:, 0] = 127.0  # a scale of 1
    for activations in (True, False):
        linear = lesson.toy("linear layer", torch.ones(2, n_in))
        layer = lesson.QuantizedLinear(linear, activations).load(known)
        for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
            given = x.to(dtype)
            right = full(given, known).float().to(dtype)
            kind = str(dtype).removeprefix("torch.")
            question = (
                "How large can a product of two int8 get? And a sum of a thousand, in 16 bits?"
            )
            of = f"the layer on large numbers in {kind}, activations {activations}"
            expect(layer(given), right, of=of, ask=question)


@check("QuantizedLinear.forward", points=1)
def test_layer_passes_gradients_on(lesson, expect, draw):
    """Weights in int8 learn no more, but what stands before the layer still can."""
    layer, known = quantized(lesson, draw, 5, 3)
    x = draw.normal(2, 4, 3)
    mine = lesson.grad(layer, x)
    right = grad(lambda x: full(x, known).float(), x)
    question = "Is x a tensor of the graph from the beginning to the end?"
    expect(mine["result"], full(x, known).float(), of="the layer", ask=question)
    expect(mine["arguments"][0], right["arguments"][0], of="the gradient of x", ask=question)


@check("QuantizedLinear.forward", points=1)
def test_gpt_in_eight_bits(lesson, expect, draw):
    """Your layer takes its place in a whole GPT, and lesson 10 measures what it costs."""
    shape = {"vocab_size": 40, "block_size": 16, "n_layer": 2, "n_head": 2, "n_embd": 8}
    weights = {name: 0.4 * rows(draw, *size) for name, size in weight_shapes(**shape).items()}
    weights = {name: w * (2.0 if "wte" in name else 0.25) for name, w in weights.items()}
    needed = lesson.needed("model")
    gpt = needed.GPT(needed.GPTConfig(**shape)).load(weights)
    for name, weight in list(weights.items()):
        if "attn.c" in name or "mlp.c" in name:
            *_, number, part, layer, kind = name.split(".")
            if kind == "weight":
                numbers, scale = in_int8(weight)
                weights[name] = numbers.double() * scale.double()[:, None]
                block = gpt.read(f"transformer.h.{number}.{part}")
                block.put(layer, lesson.QuantizedLinear(block.read(layer)))
    ids = draw.ids(40, 16)
    logits = gpt2_logits(weights, ids[None], 2)
    question = "Can your layer stand wherever a linear layer stood: same shapes, same types?"
    expect(
        gpt(ids[None])[0], logits, of="the logits of a GPT in int8", ask=question, tolerance=1e-4
    )
    right = (float(F.cross_entropy(logits[0, :-1].double(), ids[1:], reduction="sum")), 15)
    mine = lesson.needed("perplexity").score(gpt, ids, 16, 16)
    expect(mine, right, of="its score on a text", ask=question, tolerance=1e-4)


# 4. QuantizedLinear.error_bound


def bound_of(x, known, activations):
    """The worst case, in 64 bits: no two errors cancel."""
    scale = known["scale"].double()
    bound = x.double().abs().sum(-1, keepdim=True) * scale / 2
    if activations:
        x_scale = x.double().abs().amax(-1, keepdim=True) / 127
        bound = bound + x_scale / 2 * (known["weight"].double() * scale[:, None]).abs().sum(1)
    return bound.float()


@check("QuantizedLinear.error_bound", points=1)
def test_bound_by_hand(lesson, expect, draw):
    """Three inputs, two outputs: how wrong can each sum be?"""
    weight = torch.tensor([[1.27, 0.304, -0.5], [0.12, 5.08, 0.0]])
    x = torch.tensor([[1.0, -10.0, 100.0], [0.0, 2.0, 0.0]])
    layer = lesson.QuantizedLinear(lesson.toy("linear layer", weight, torch.ones(2)))
    right = torch.tensor([[0.005 * 111, 0.02 * 111], [0.005 * 2, 0.02 * 2]])
    question = "The scales are 0.01 and 0.04. How far off is a weight, and how far is weight * x?"
    expect(layer.error_bound(x), right, of="the bound, weights in int8", ask=question)
    layer = lesson.QuantizedLinear(lesson.toy("linear layer", weight), True)
    right = right + torch.tensor([[50 / 127], [1 / 127]]) * torch.tensor([2.07, 5.2])
    question = "x is off by at most half of its own scale. What is it multiplied with?"
    expect(layer.error_bound(x), right, of="the bound, activations too", ask=question)


@check("QuantizedLinear.error_bound", points=1)
def test_bound_is_the_worst_case(lesson, expect, draw):
    """Every output of every vector has a bound of its own."""
    for n_out, n_in, shape in [(5, 3, (2, 4)), (4, 4, (4,)), (3, 70, ())]:
        for activations in (False, True):
            layer, known = quantized(lesson, draw, n_out, n_in, True, activations)
            x = draw.normal(*shape, n_in, scale=3.0)
            question = (
                "Which magnitudes do you add up? Does a scale belong to a vector or an output?"
            )
            of = f"the bound of ({n_out}, {n_in}) on {(*shape, n_in)}"
            of += ", activations too" if activations else ""
            right = bound_of(x, known, activations)
            expect(layer.error_bound(x), right, of=of, ask=question)


@check("QuantizedLinear.error_bound", points=1)
def test_no_error_is_larger(lesson, expect, draw):
    """The promise holds: for a real layer, no output is further off than the bound says."""
    for activations in (False, True):
        weight, x = draw.normal(6, 40), draw.normal(50, 40, scale=5.0)
        layer = lesson.QuantizedLinear(lesson.toy("linear layer", weight), activations)
        known = dict(zip(("weight", "scale"), in_int8(weight), strict=True))
        bound, right = layer.error_bound(x), bound_of(x, known, activations)
        # a weight that lies halfway may be rounded up here and down there
        expect(bound, right, of="the bound of a layer of random weights", tolerance=1e-3)
        off = layer(x).double() - x.double() @ weight.double().T
        symptom = "an output is further off than its bound"
        question = "Is half a step the most by which a number can be off?"
        expect.true((off.abs() <= 1.001 * bound).all(), symptom, ask=question)


# 5. prune_by_magnitude


@check("prune_by_magnitude", points=1)
def test_smallest_go(lesson, expect, draw):
    """Half of all weights or half of each layer: not the same."""
    weights = {
        "b": torch.tensor([[0.5, -3.0], [0.1, 2.0]]),
        "a": torch.tensor([-0.2, 0.3, 0.05, -0.4, 0.6, 0.01]),
    }
    yes, no = True, False
    both = {
        "global": ([[yes, yes], [no, yes]], [no, no, no, yes, yes, no]),
        "layer": ([[no, yes], [no, yes]], [no, yes, no, yes, yes, no]),
    }
    question = "Who is compared with whom? And is -3 a small number?"
    for scope, (b, a) in both.items():
        right = {"b": torch.tensor(b), "a": torch.tensor(a)}
        mine = lesson.prune_by_magnitude(weights, 0.5, scope)
        expect(mine, right, of=f"what half of the weights leaves, scope {scope!r}", ask=question)
        expect(list(mine), ["b", "a"], of="the order of the names", ask="Who sorted them?")
    mine = lesson.prune_by_magnitude(weights, 0.5)
    right = dict(zip("ba", map(torch.tensor, both["global"]), strict=True))
    expect(mine, right, of="what half of the weights leaves, no scope said", ask=question)


@check("prune_by_magnitude", points=2)
def test_pruning_is_torchs(lesson, expect, draw):
    """Tensors of any shape lose what torch's own pruning takes from them."""
    shapes = {"first": (4, 5), "norm": (7,), "last": (2, 3, 4), "head": (6, 6)}
    for sparsity in (0.4, 0.15, 0.8):
        scales = zip(shapes.items(), (1.0, 0.5, 3.0, 0.8), strict=True)
        weights = {name: draw.normal(*shape, scale=scale) for (name, shape), scale in scales}
        flat = torch.cat([weight.flatten() for weight in weights.values()])
        pieces = torchs(flat, sparsity).split([weight.numel() for weight in weights.values()])
        right = {n: p.view(shapes[n]) for n, p in zip(shapes, pieces, strict=True)}
        question = "Are the pieces of the long mask those of the right tensors?"
        mine = lesson.prune_by_magnitude(weights, sparsity, "global")
        expect(mine, right, of=f"the global masks for a sparsity of {sparsity}", ask=question)
        right = {name: torchs(weight, sparsity) for name, weight in weights.items()}
        mine = lesson.prune_by_magnitude(weights, sparsity, "layer")
        expect(mine, right, of=f"the layers' masks for a sparsity of {sparsity}", ask=question)


def torchs(weight, sparsity):
    """The mask of torch's pruning."""
    ones = torch.ones_like(weight)
    return prune.L1Unstructured(sparsity).compute_mask(weight, ones).bool()


@check("prune_by_magnitude", points=1)
def test_exact_counts(lesson, expect, draw):
    """As many weights go as were asked for, from none to all."""
    for n, sparsity, gone in [
        *((100, 0.29, 29), (100, 0.57, 57), (10, 0.34, 3), (10, 0.37, 4), (3, 0.9, 3)),
        *((5, 0.5, 2), (7, 0.5, 4), (8, 0.0, 0), (8, 1.0, 8), (6, 1, 6), (6, 0, 0), (40, 0.01, 0)),
    ]:
        magnitudes = 1.0 + draw.uniform(n).argsort()
        weight = magnitudes * (1 - 2 * draw.ids(2, n))
        question = f"{sparsity} * {n} is {sparsity * n!r}: what does round make of it, what int?"
        scope = "layer" if n % 2 else "global"
        of = f"which of {n} weights stay, sparsity {sparsity}, scope {scope!r}"
        mine = lesson.prune_by_magnitude({"w": weight}, sparsity, scope)
        expect(mine, {"w": magnitudes > gone}, of=of, ask=question)


@check("prune_by_magnitude", points=1)
def test_equals_go_in_order(lesson, expect, draw):
    """Where many weights are equally small, the count is right, and so is the choice."""
    weights = {"z": torch.tensor([[2.0, -2.0], [0.0, 2.0]]), "a": torch.tensor([-2.0, 2.0, 0.0])}
    for sparsity, z, a in [
        (2 / 7, [[1, 1], [0, 1]], [1, 1, 0]),
        (4 / 7, [[0, 0], [0, 1]], [1, 1, 0]),
        (6 / 7, [[0, 0], [0, 0]], [0, 1, 0]),
    ]:
        right = {"z": torch.tensor(z) == 1, "a": torch.tensor(a) == 1}
        question = "How many weights are as large as your threshold? Which of them stand first?"
        of = f"what stays of two tensors of equals, sparsity {sparsity:.3f}"
        expect(lesson.prune_by_magnitude(weights, sparsity), right, of=of, ask=question)
    weight = (draw.ids(7, 9, 8) - 3).float()
    order = sorted(range(72), key=lambda place: (abs(float(weight.flatten()[place])), place))
    right = torch.ones(72, dtype=torch.bool)
    right[order[:36]] = False
    for scope in ("global", "layer"):
        mine = lesson.prune_by_magnitude({"w": weight}, 0.5, scope)
        expect(mine, {"w": right.view(9, 8)}, of=f"half of 72 whole numbers, {scope}", ask=question)


@check("prune_by_magnitude", points=1)
def test_prunings_that_make_no_sense(lesson, expect, draw):
    """A sparsity of 50 is a slip for 0.5, and a scope that nobody knows is a slip too."""
    weights = {"w": draw.normal(3, 4)}
    for sparsity in (50, 1.01, -0.1, math.nan):
        with expect.raises(ValueError, f"for a sparsity of {sparsity}", ask="Which share is that?"):
            lesson.prune_by_magnitude(weights, sparsity, "layer")
    for scope in ("row", "", "Global"):
        with expect.raises(ValueError, f"for the scope {scope!r}", ask="Which scopes are there?"):
            lesson.prune_by_magnitude(weights, 0.5, scope)
    for scope in ("global", "layer"):
        with expect.raises(ValueError, f"for no weights at all, {scope}", ask="What is to go?"):
            lesson.prune_by_magnitude({}, 0.5, scope)


# 6. sparsity_report


@check("sparsity_report", points=1)
def test_zeros_are_counted(lesson, expect, draw):
    """What is zero, and only that: not what is merely small."""
    tensors = {"w": torch.tensor([[0.0, 1.0, -0.0], [1e-30, 0.0, -5.0]]), "b": torch.tensor([2.0])}
    right = {"w": (3, 6, 0.5), "b": (0, 1, 0.0), "all": (3, 7, 3 / 7)}
    question = "How many numbers of w equal 0? Is 10^-30 one of them?"
    mine = lesson.sparsity_report(tensors)
    expect(mine, right, of="the report on 6 numbers and 1", ask=question)
    expect(
        list(mine), ["w", "b", "all"], of="the order of its names", ask="Where does `all` stand?"
    )
    masks = {"m": torch.tensor([True, False, False, True]), "n": torch.tensor([[False]])}
    right = {"m": (2, 4, 0.5), "n": (1, 1, 1.0), "all": (3, 5, 0.6)}
    expect(lesson.sparsity_report(masks), right, of="the report on two masks", ask=question)


@check("sparsity_report", points=1)
def test_share_of_all(lesson, expect, draw):
    """Every number counts the same, whether its tensor is small or large."""
    for shapes in [[(40, 30), (3,), (2, 5)], [(1,), (6, 7, 2)], [(2, 3), (0,)], []]:
        tensors = {
            f"t{i}": draw.normal(*s) * (draw.uniform(*s) < 0.2) for i, s in enumerate(shapes)
        }
        report = {n: (int((t == 0).sum()), t.numel()) for n, t in tensors.items()}
        report["all"] = tuple(sum(counts) for counts in zip(*report.values(), strict=True)) or (
            0,
            0,
        )
        right = {name: (z, n, z / n if n else 0.0) for name, (z, n) in report.items()}
        question = "Of 1,200 numbers and of 3: whose share counts more in the share of all?"
        of = f"the report on tensors of the shapes {shapes}"
        expect(lesson.sparsity_report(tensors), right, of=of, ask=question)


# 7. distillation_loss


def torchs_loss(student, teacher, targets, temperature, mix):
    """The same from torch's own functions, in 64 bits."""
    student, teacher = student.double().flatten(0, 1), teacher.double().flatten(0, 1)
    targets = targets.flatten()
    log_q, log_p = ((t[targets >= 0] / temperature).log_softmax(-1) for t in (student, teacher))
    divergence = F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    hard = F.cross_entropy(student, targets, ignore_index=-1)
    return (mix * temperature**2 * divergence + (1 - mix) * hard).float()


def some_logits(draw, *shape):
    """Logits of a student, of a teacher, and targets, all of which are scored."""
    student, teacher = draw.normal(*shape, scale=2.0), draw.normal(*shape, scale=3.0)
    return student, teacher, draw.ids(shape[-1], *shape[:-1])


@check("distillation_loss", points=1)
def test_two_coins(lesson, expect, draw):
    """A teacher says 3 to 1, a student says 1 to 1: the sums can be worked out on paper."""
    student, teacher = torch.zeros(1, 1, 2), torch.tensor([[[math.log(3.0), 0.0]]])
    targets = torch.tensor([[1]])
    soft = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    for mix in (1.0, 0.0, 0.25):
        right = torch.tensor(mix * soft + (1 - mix) * math.log(2))
        question = (
            f"The divergence is {soft:.4f}, the cross-entropy 0.6931. Which counts for {mix}?"
        )
        mine = lesson.distillation_loss(student, teacher, targets, 1.0, mix)
        expect(mine, right, of=f"the loss of a fair coin, mix {mix}, temperature 1", ask=question)
    # the other way round: the student says 3 to 1
    soft = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    mine = lesson.distillation_loss(teacher, student, targets, 1.0, 1.0)
    question = "By whose probabilities are the differences weighed?"
    expect(mine, torch.tensor(soft), of="the loss of a biased coin, mix 1", ask=question)


@check("distillation_loss", points=2)
def test_loss_is_torchs(lesson, expect, draw):
    """Any temperature, any mix, any shape: what torch's own functions say."""
    for shape, plans in [
        ((2, 3, 5), [(1.0, 1.0), (2.0, 0.5), (4.0, 0.9), (3, 0)]),
        ((4, 1, 7), [(0.5, 0.3), (3, 1)]),
        ((1, 6, 6), [(2.0, 1.0), (1.5, 0.4)]),
    ]:
        for temperature, mix in plans:
            student, teacher, targets = some_logits(draw, *shape)
            right = torchs_loss(student, teacher, targets, temperature, mix)
            question = "Which logits does the temperature divide? What makes up for it, and where?"
            of = f"the loss of {shape} at temperature {temperature}, mix {mix}"
            mine = lesson.distillation_loss(student, teacher, targets, temperature, mix)
            expect(mine, right, of=of, ask=question)
    mine = lesson.distillation_loss(student, teacher, targets)
    right = torchs_loss(student, teacher, targets, 2.0, 0.5)
    expect(mine, right, of="the loss with nothing else said", ask="What are the defaults?")


@check("distillation_loss", points=1)
def test_only_scored_tokens_count(lesson, expect, draw):
    """Where a target is IGNORE, neither the teacher nor the text says anything."""
    for shape, share in [((2, 5, 4), 0.5), ((3, 4, 6), 0.3), ((1, 7, 3), 0.8)]:
        student, teacher, targets = some_logits(draw, *shape)
        scored = draw.mask(*shape[:-1], share=share)
        scored[0, 0], scored[-1, -1] = True, False
        targets[~scored] = -1
        for mix in (0.4, 1.0):
            right = torchs_loss(student, teacher, targets, 2.0, mix)
            question = (
                f"{int(scored.sum())} of {scored.numel()} targets count. By what do you divide?"
            )
            of = f"the loss of {shape} with mix {mix}, where some targets are -1"
            mine = lesson.distillation_loss(student, teacher, targets, 2.0, mix)
            expect(mine, right, of=of, ask=question)
    mine = lesson.distillation_loss(student, teacher, torch.full_like(targets, -1), 2.0, 0.5)
    expect(
        mine, torch.tensor(math.nan), of="the loss where no target counts", ask="A mean of none?"
    )


@check("distillation_loss", points=1)
def test_numbers_without_end(lesson, expect, draw):
    """Logits may be large, impossible or of 16 bits; the loss stays a number."""
    student, teacher, targets = some_logits(draw, 2, 3, 6)
    teacher = teacher.argsort(-1).float() - 2.5  # no two of a token are nearly equal
    for scale in (50.0, 1000.0):
        right = torchs_loss(scale * student, scale * teacher, targets, 2.0, 0.5)
        question = "What is exp(-500), and the logarithm of that? Which function avoids it?"
        mine = lesson.distillation_loss(scale * student, scale * teacher, targets, 2.0, 0.5)
        expect(mine, right, of=f"the loss of logits {scale:g} times as large", ask=question)
    never = draw.mask(2, 3, 6, share=0.3).scatter(-1, targets[..., None], False)
    forbidden = teacher.masked_fill(never, -INF)
    right = torchs_loss(student, teacher.masked_fill(never, -1e4), targets, 2.0, 0.5)
    question = "What is 0 * inf? And what should a token add that the teacher holds impossible?"
    mine = lesson.distillation_loss(student, forbidden, targets, 2.0, 0.5)
    expect(mine, right, of="the loss where the teacher rules tokens out", ask=question)
    neither = student.masked_fill(never, -INF)
    right = torchs_loss(neither.nan_to_num(neginf=-1e4), forbidden.clamp(-1e4), targets, 2.0, 0.5)
    mine = lesson.distillation_loss(neither, forbidden, targets, 2.0, 0.5)
    expect(mine, right, of="the loss where both rule the same tokens out", ask=question)
    for dtype in (torch.bfloat16, torch.float16):
        low = [logits.to(dtype) for logits in (student, teacher)]
        right = torchs_loss(*low, targets, 2.0, 0.5)
        question = "How many digits have 16 bits? In which type does the loss come back?"
        mine = lesson.distillation_loss(*low, targets, 2.0, 0.5)
        expect(mine, right, of=f"the loss of logits in {dtype}", ask=question)


@check("distillation_loss", points=1)
def test_student_learns_alone(lesson, expect, draw):
    """The student is pulled towards the teacher, and the teacher stays who it is."""
    for temperature, mix in [(2.0, 0.5), (5.0, 1.0), (1.5, 0.2)]:
        student, teacher, targets = some_logits(draw, 2, 4, 5)
        targets[0, 2] = -1
        mine = lesson.grad(lesson.distillation_loss, student, teacher, targets, temperature, mix)
        student.requires_grad_()
        torchs_loss(student, teacher, targets, temperature, mix).backward()
        probe = math.cos(0.7)  # `lesson.grad` weighs the loss by this
        of = f"the student's gradient at temperature {temperature}, mix {mix}"
        question = "By what does a temperature shrink the gradient of the soft part?"
        expect(mine["arguments"][0], student.grad * probe, of=of, ask=question)
        question = "Could the loss become small by changing the teacher?"
        expect(mine["arguments"][1], None, of="the teacher's gradient", ask=question)


@check("distillation_loss", points=1)
def test_mixtures_that_make_no_sense(lesson, expect, draw):
    """A temperature of 0 divides by 0, and a mix of 2 pays the student for being wrong."""
    given = some_logits(draw, 2, 3, 4)
    for temperature in (0, 0.0, -1.0, math.nan):
        when = f"for a temperature of {temperature}"
        with expect.raises(ValueError, when, ask="What happens to the logits?"):
            lesson.distillation_loss(*given, temperature, 0.5)
    for mix in (2.0, -0.1, 1.001, math.nan):
        with expect.raises(
            ValueError, f"for a mix of {mix}", ask="What is the other part's share?"
        ):
            lesson.distillation_loss(*given, 2.0, mix)
    for temperature, mix in [(0.1, 1), (100.0, 0)]:
        right = torchs_loss(*given, temperature, mix)
        of = f"the loss at temperature {temperature}, mix {mix}, which is allowed"
        mine = lesson.distillation_loss(*given, temperature, mix)
        expect(mine, right, of=of, ask="Where do the limits stand, and are they allowed?")


# stretch: prune_n_m


@check("prune_n_m", points=1)
def test_two_of_four(lesson, expect, draw):
    """Of every four neighbours the two that are furthest from zero stay."""
    given = [[1.0, -4.0, 2.0, -3.0, 0.1, 0.2, -0.4, 0.3], [9, 8, 7, 6, -5, -6, 7, 8]]
    right = torch.tensor([[0, 1, 0, 1, 0, 0, 1, 1], [1, 1, 0, 0, 0, 0, 1, 1]]) == 1
    question = "Which four numbers compete? Is -4 larger than 2 here?"
    mine = lesson.prune_n_m(torch.tensor(given))
    expect(mine, right, of=f"what stays of {given}", ask=question)
    for shape in [(3, 8), (8, 4), (4, 12)]:
        weight = draw.normal(*shape)
        groups = weight.view(-1, 4).abs()
        right = (groups > groups.sort(dim=1).values[:, 1:2]).view(shape)
        of = f"what stays of a weight {shape}"
        expect(lesson.prune_n_m(weight, 2, 4), right, of=of, ask=question)


@check("prune_n_m", points=2)
def test_any_n_of_any_m(lesson, expect, draw):
    """Every group keeps exactly n, also where many are equal."""
    for n, m, shape in [
        (1, 4, (3, 8)),
        (4, 8, (2, 16)),
        (2, 3, (5, 6)),
        (1, 2, (6, 2)),
        (9, 24, (2, 48)),
    ]:
        for weight in (draw.normal(*shape), (draw.ids(5, *shape) - 2).float(), torch.ones(shape)):
            right = torch.zeros(shape, dtype=torch.bool)
            for row in range(shape[0]):
                for first in range(0, shape[1], m):
                    group = range(first, first + m)
                    order = sorted(group, key=lambda i, w=weight[row]: (abs(float(w[i])), i))
                    right[row, order[m - n :]] = True
            question = f"How many of {m} go, and which of equals? How many does a threshold leave?"
            of = f"what {n} of {m} leave of a weight {shape}"
            expect(lesson.prune_n_m(weight, n, m), right, of=of, ask=question)
    weight = draw.normal(2, 6)
    for n, m, kept in [(0, 3, False), (3, 3, True), (0, 1, False), (1, 1, True)]:
        of, right = f"what {n} of {m} leave", torch.full((2, 6), kept)
        expect(lesson.prune_n_m(weight, n, m), right, of=of, ask=f"How many of {m} stay?")


@check("prune_n_m", points=1)
def test_groups_that_do_not_fit(lesson, expect, draw):
    """Ten inputs are no groups of four, though two such rows would be."""
    for shape, n, m in [
        ((2, 10), 2, 4),
        ((4, 3), 1, 2),
        ((3, 8), 5, 4),
        ((3, 8), -1, 4),
        ((3, 8), 0, 0),
    ]:
        when = f"for {n} of {m} in a weight {shape}"
        with expect.raises(ValueError, when, ask="Where would a row's last group end?"):
            lesson.prune_n_m(draw.normal(*shape), n, m)

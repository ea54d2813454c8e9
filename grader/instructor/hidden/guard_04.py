"""Hidden checks for lesson 04, blocks: other sizes, other dtypes, layers that take turns."""

import math

import torch
import torch.nn.functional as F

from grader.checks import grad
from grader.instructor.guards import guard

SUMS = 5e-5  # the tolerance for gradients that are sums over many terms, which may nearly cancel


def right_gelu(x):
    """GPT-2's bend, in 64 bits."""
    return F.gelu(x.double(), approximate="tanh")


@guard("test_every_vector_by_itself")
def guard_norms_of_any_shape(lesson, expect, draw):
    """Wide vectors and short ones, thirty calls, and each vector as if it were alone."""
    for width in (draw.integer(40, 90), 3, 2):
        learned = draw.weights(weight=(width,), bias=(width,))
        norm = lesson.LayerNorm(width).load(learned)
        learned = {name: tensor.double() for name, tensor in learned.items()}
        for shape in [(2, 9, width), (width,), (1, width), (3, 1, 2, 4, width)] + [(5, width)] * 7:
            # no distance below 0.5, so that two numbers are never nearly equal
            x = (draw.random.permuted([[*range(width)]] * math.prod(shape[:-1]), axis=1) - 1.0) / 2
            x = torch.from_numpy(x).view(shape) * draw.integer(1, 9) + draw.integer(-5, 5)
            right = F.layer_norm(x, (width,), **learned).float()
            of = f"the norm of the shape {shape}"
            expect(norm(x.float()), right, of=of)
        expect(norm(x[1].float()), right[1], of=f"{of}, one vector alone")


@guard("test_vectors_that_hardly_vary")
def guard_other_eps(lesson, expect, draw):
    """Any eps, beside spreads of its own size."""
    for eps in (1e-3, draw.integer(2, 30) / 10, 1e-5):
        width, scale = draw.integer(9, 20), math.sqrt(eps) * draw.integer(1, 4) / 2
        x = draw.normal(4, width, scale=scale)
        right = F.layer_norm(x.double(), (width,), eps=eps).float()
        of = f"the norm of {width} numbers around {scale:.2g}, eps {eps}"
        expect(lesson.LayerNorm(width, eps)(x), right, of=of)


@guard("test_norm_passes_gradients_on")
def guard_gradients_of_other_norms(lesson, expect, draw):
    """Gradients at other sizes and with another eps; the result under autograd is the result."""
    for shape, eps in [((6, draw.integer(8, 14)), 0.3), ((draw.integer(5, 9),), 1e-5)]:
        x, channels = draw.normal(*shape, scale=3.0), shape[-1:]
        learned = draw.weights(weight=channels, bias=channels)
        mine = lesson.grad(lesson.LayerNorm(*channels, eps).load(learned), x)
        tensors = (x.double(), *(tensor.double() for tensor in learned.values()))
        right = grad(lambda x, w, b, c=channels, e=eps: F.layer_norm(x, c, w, b, e), *tensors)
        expect(mine["result"], right["result"].detach().float(), of="the norm")
        gradient, *others = (found.float() for found in right["arguments"])
        expect(mine["arguments"][0], gradient, of="the gradient of x", tolerance=SUMS)
        for name, gradient in zip(learned, others, strict=True):
            found = mine["parameters"].get(name)
            expect(found, gradient, of=f"the gradient of the {name}", tolerance=SUMS)


@guard("test_gelu_is_gpt2s")
def guard_gelu_of_any_shape(lesson, expect, draw):
    """Any shape, thirty calls of one shape, numbers between and beyond those of the checks."""
    for shape in [(draw.integer(50, 90),), (3, 1, 4, 2), (1,), (5, 11)] + [(4, 5)] * 30:
        x = draw.normal(*shape, scale=3.0)
        x[..., 0] = x[..., 0].abs() + 0.5  # far below zero alone all digits may cancel
        right = right_gelu(x).float()
        expect(lesson.gelu(x), right, of=f"gelu of a tensor of shape {shape}")


@guard("test_gelu_keeps_the_dtype")
def guard_gelu_in_every_dtype(lesson, expect, draw):
    """Numbers of 16 bits come back as such, and so do those of 64, whatever their shape is."""
    for dtype, tolerance in [(torch.bfloat16, 0.05), (torch.float64, 1e-5)]:
        x = draw.uniform(draw.integer(3, 6), 7, low=-2.0, high=3.0).to(dtype)
        of = f"gelu of a {dtype} tensor"
        expect(lesson.gelu(x), right_gelu(x).to(dtype), of=of, tolerance=tolerance)


@guard("test_gelu_passes_gradients_on")
def guard_gelu_gradients_of_any_shape(lesson, expect, draw):
    """The gradient at other shapes, from far below zero to far above it."""
    for shape in [(draw.integer(20, 40),), (2, 3, 4), (1, 1)]:
        x = draw.uniform(*shape, low=-6.0, high=6.0)
        x[..., 0] = x[..., 0].abs() + 0.5  # as above
        mine, right = lesson.grad(lesson.gelu, x), grad(right_gelu, x.double())
        expect(mine["result"], right["result"].detach().float(), of="gelu", tolerance=2e-5)
        gradient = right["arguments"][0].float()
        expect(mine["arguments"][0], gradient, of="the gradient of x", tolerance=2e-5)


def linear(draw, name, n_in, n_out):
    """Random numbers for a linear layer, such that results stay of one scale."""
    shapes = {f"{name}__weight": (n_out, n_in), f"{name}__bias": (n_out,)}
    return draw.weights(scale=n_in**-0.5, **shapes)


def torchs_mlp(x, weights, prefix=""):
    """Widen, bend, narrow, in 64 bits."""
    w = {name.removeprefix(prefix): weight.double() for name, weight in weights.items()}
    wide = F.linear(x.double(), w["c_fc.weight"], w["c_fc.bias"])
    return F.linear(right_gelu(wide), w["c_proj.weight"], w["c_proj.bias"])


@guard("test_mlp_is_two_layers_with_a_bend")
def guard_mlps_of_any_size(lesson, expect, draw):
    """Two layers of other sizes take turns, in training mode and in evaluation."""
    made = []
    for n_embd, n_inner in [
        (draw.integer(9, 20), draw.integer(40, 90)),
        (draw.integer(10, 12), None),
    ]:
        wide = n_inner or 4 * n_embd
        weights = linear(draw, "c_fc", n_embd, wide) | linear(draw, "c_proj", wide, n_embd)
        made.append((lesson.MLP(n_embd, n_inner).load(weights), weights, n_embd))
    for batch, length in [(1, 1), (4, 23), (7, 2), (4, 23)]:
        for mlp, weights, n_embd in made:
            x = draw.normal(batch, length, n_embd)
            right, of = torchs_mlp(x, weights).float(), f"the MLP of ({batch}, {length}, {n_embd})"
            expect(mlp(x), right, of=of)
            expect(mlp(x[:, :1]), right[:, :1], of=f"{of}, the first places alone")
    made[0][0].eval()
    x = draw.normal(2, 5, made[0][2])
    expect(made[0][0](x), torchs_mlp(x, made[0][1]).float(), of="the MLP in evaluation")


@guard("test_mlp_drops_out_in_training_only")
def guard_dropout_at_other_shares(lesson, expect, draw):
    """Any share is dropped, anew at each call, and what is kept makes up for it."""
    share, n_embd = draw.integer(4, 8) / 10, 30
    weights = linear(draw, "c_fc", n_embd, 12) | linear(draw, "c_proj", 12, n_embd)
    mlp, x = lesson.MLP(n_embd, 12, share).load(weights), draw.normal(3, 60, n_embd)
    right, results = torchs_mlp(x, weights).float(), [mlp(x), mlp(x)]
    expect.true(not torch.equal(*results), "dropout takes the same numbers at each call")
    for result in results:
        dropped = result == 0
        found = float(dropped.float().mean())
        # 5,400 draws: within 0.041 is six standard deviations or more, false alarm 2e-9
        symptom = f"with dropout {share} a share of {found:.3f} of the result is dropped"
        expect.true(abs(found - share) < 0.041, symptom)
        expect(result, (right / (1 - share)).masked_fill(dropped, 0.0), of="what is kept")
    mlp.eval()
    expect(mlp(x), right, of="the MLP in evaluation")


def block_weights(draw, n_embd, n_inner):
    """Random numbers for all parts of a block, by name; no two norms are alike."""
    weights = linear(draw, "attn__c_attn", n_embd, 3 * n_embd)
    weights |= linear(draw, "attn__c_proj", n_embd, n_embd)
    weights |= linear(draw, "mlp__c_fc", n_embd, n_inner)
    weights |= linear(draw, "mlp__c_proj", n_inner, n_embd)
    names = [f"{ln}__{kind}" for ln in ("ln_1", "ln_2") for kind in ("weight", "bias")]
    return weights | draw.weights(**{name: (n_embd,) for name in names})


def torchs_block(x, w, n_head, eps=1e-5, post=False):
    """What a block does, in 64 bits."""
    x, w = x.double(), {name: weight.double() for name, weight in w.items()}

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], eps)

    def attend(x):
        qkv = F.linear(x, w["attn.c_attn.weight"], w["attn.c_attn.bias"]).chunk(3, dim=-1)
        heads = [part.unflatten(-1, (n_head, -1)).transpose(1, 2) for part in qkv]
        found = F.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2).flatten(2)
        return F.linear(found, w["attn.c_proj.weight"], w["attn.c_proj.bias"])

    if post:
        x = norm(x + attend(x), "ln_1")
        return norm(x + torchs_mlp(x, w, "mlp."), "ln_2")
    x = x + attend(norm(x, "ln_1"))
    return x + torchs_mlp(norm(x, "ln_2"), w, "mlp.")


@guard("test_block_is_torchs_layer")
def guard_blocks_of_any_size(lesson, expect, draw):
    """Two blocks of other sizes take turns over longer texts, one place, one text."""
    made = []
    for n_head, size, eps in [(4, draw.integer(5, 8), 1e-5), (2, draw.integer(9, 12), 0.2)]:
        n_embd, n_inner = n_head * size, draw.integer(30, 60)
        weights = block_weights(draw, n_embd, n_inner)
        block = lesson.Block(n_embd, n_head, n_inner, 0.0, eps).load(weights)
        made.append((block, weights, n_head, eps, n_embd))
    for batch, length in [(4, draw.integer(10, 25)), (1, 1), (5, 2), (2, 9)]:
        for block, weights, n_head, eps, n_embd in made:
            x = draw.normal(batch, length, n_embd)
            right = torchs_block(x, weights, n_head, eps).float()
            of = f"the block on ({batch}, {length}, {n_embd})"
            expect(block(x), right, of=of)
            expect(block(x[:1]), right[:1], of=f"{of}, the first text alone")


@guard("test_cache_reaches_the_attention")
def guard_caches_do_not_mix(lesson, expect, draw):
    """Two texts, each with its cache, take turns, in parts that stand in no check."""
    weights = block_weights(draw, 20, 31)
    block = lesson.Block(20, 4, 31).load(weights)
    texts = [draw.normal(batch, 13, 20) for batch in (1, 3)]
    caches = [lesson.toy("layer cache") for _ in texts]
    for start, end in [(0, 4), (4, 5), (5, 11), (11, 12), (12, 13)]:
        for x, cache in zip(texts, caches, strict=True):
            right = torchs_block(x, weights, 4).float()[:, start:end]
            of = f"the block at places {start} to {end - 1} with a cache"
            expect(block(x[:, start:end], cache), right, of=of)
    expect(block(texts[0]), torchs_block(texts[0], weights, 4).float(), of="a text without a cache")


@guard("test_block_learns")
def guard_larger_blocks_learn(lesson, expect, draw):
    """Gradients of a block of another size and another eps."""
    n_head, eps = draw.integer(2, 4), 0.05
    n_embd, n_inner = 5 * n_head, draw.integer(12, 25)
    weights, x = block_weights(draw, n_embd, n_inner), draw.normal(3, 6, n_embd)
    mine = lesson.grad(lesson.Block(n_embd, n_head, n_inner, 0.0, eps).load(weights), x)
    names = list(weights)
    right = grad(
        lambda x, *ws: torchs_block(x, dict(zip(names, ws, strict=True)), n_head, eps),
        *(tensor.double() for tensor in (x, *weights.values())),
    )
    expect(mine["result"], right["result"].detach().float(), of="the block")
    gradient, *others = (found.float() for found in right["arguments"])
    expect(mine["arguments"][0], gradient, of="the gradient of x", tolerance=SUMS)
    for name, gradient in zip(names, others, strict=True):
        of = f"the gradient of {name}"
        # a key's bias moves all scores of a query alike: what should cancel is left in its gradient
        expect(mine["parameters"].get(name), gradient, of=of, tolerance=SUMS)


@guard("test_post_norm_is_torchs_layer")
def guard_post_norms_of_any_size(lesson, expect, draw):
    """Blocks of other sizes with the norm behind the sum."""
    for n_head, batch in [(3, 4), (5, 1)]:
        n_embd, n_inner = 6 * n_head, draw.integer(20, 40)
        weights = block_weights(draw, n_embd, n_inner)
        block = lesson.PostNormBlock(n_embd, n_head, n_inner).load(weights)
        for length in (draw.integer(8, 20), 1):
            x = draw.normal(batch, length, n_embd)
            right = torchs_block(x, weights, n_head, post=True).float()
            expect(block(x), right, of=f"the post-norm block on ({batch}, {length}, {n_embd})")

"""Hidden checks for lesson 11, modern blocks: other shapes, layers that take turns, longer texts."""

import torch

from grader.checks import grad
from grader.instructor.guards import guard
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

SUMS = 5e-5  # the tolerance for gradients that are sums over many terms, which may nearly cancel
MODEL = 1e-4  # for long sums and whole models


def some_shapes(draw):
    """Two shapes that stand in no check; in the second the heads do not fill the channels."""
    n_kv_head = draw.integer(2, 3)
    first = {"n_head": 4 * n_kv_head, "n_kv_head": n_kv_head, "rope_theta": 5e5}
    first |= {"n_embd": 8 * 4 * n_kv_head, "n_inner": draw.integer(40, 60), "head_size": None}
    second = {"n_head": 5, "n_kv_head": 1, "n_embd": draw.integer(13, 17), "n_inner": 33}
    second |= {"head_size": 2 * draw.integer(3, 5), "rope_theta": 90.0, "rms_norm_eps": 0.02}
    return first, second


def some_weights(draw, shapes):
    """Random numbers for all weights, such that results stay of one scale; norms are around 1."""
    return {
        name: draw.normal(*shape, shift=1.0, scale=0.5)
        if len(shape) == 1
        else draw.normal(*shape, scale=1.5 * shape[-1] ** -0.5)
        for name, shape in shapes.items()
    }


def part_weights(draw, shape, prefix):
    """Random weights of one part of a block."""
    shapes = {n: s for n, s in block_shapes(**shape).items() if n.startswith(prefix)}
    return {n.removeprefix(prefix): w for n, w in some_weights(draw, shapes).items()}


def attentions(lesson, draw):
    """Yields (layer, weights, shape) for two shapes."""
    for shape in some_shapes(draw):
        weights = part_weights(draw, shape, "self_attn.")
        layer = lesson.GroupedQueryAttention(lesson.LlamaConfig(**shape)).load(weights)
        yield layer, weights, shape


@guard("test_every_vector_for_itself")
def guard_norms_of_any_shape(lesson, expect, draw):
    """Any shape, and one layer called for several; a vector says among others what it says alone."""
    for width in (draw.integer(9, 20), draw.integer(40, 60)):
        weight = draw.normal(width, shift=0.5)
        norm = lesson.RMSNorm(width, 1e-3).load({"weight": weight})
        for shape in [(6, width), (3, 1, 2, 4, width)] + [(5, width)] * 6:
            x = draw.normal(*shape, scale=draw.integer(1, 9), shift=draw.integer(-5, 5))
            right = llama_norm(x, weight, 1e-3).float()
            expect(norm(x), right, of=f"the norm of shape {shape}")
        expect(norm(x[1]), right[1], of="one vector alone")


@guard("test_sixteen_bits_overflow")
def guard_norms_of_large_16_bits(lesson, expect, draw):
    """Numbers up to the end of what 16 bits hold come back small, and in their type."""
    for dtype, scale, tolerance in [(torch.float16, 9000.0, 0.01), (torch.bfloat16, 1e18, 0.08)]:
        width = draw.integer(30, 60)
        x = draw.uniform(3, 5, width, low=-scale, high=scale).to(dtype)
        right = llama_norm(x, torch.ones(width), 1e-5).to(dtype)
        of = f"the norm of numbers up to {scale:g} in {dtype}"
        expect(lesson.RMSNorm(width)(x), right, of=of, tolerance=tolerance)


@guard("test_pairs_and_halves")
def guard_turns_of_any_size(lesson, expect, draw):
    """Any shape, start and theta, in both layouts by turns."""
    for _ in range(3):
        shape = (
            draw.integer(1, 4),
            draw.integer(1, 6),
            draw.integer(1, 20),
            2 * draw.integer(1, 20),
        )
        start, theta = draw.integer(0, 9), float(draw.integer(20, 90000))
        x = draw.normal(*shape)
        for layout in ("pairs", "halves"):
            right = turned(x, start, theta, layout).float()
            of = f"a tensor {shape} from place {start} on with theta {theta:g}, in {layout}"
            expect(lesson.rotary(x, start, theta, layout), right, of=of, tolerance=5e-5)


@guard("test_angles_have_32_bits")
def guard_far_places_in_16_bits(lesson, expect, draw):
    """Any place beyond what 16 bits can count, for heads of another size."""
    for dtype, tolerance in [(torch.bfloat16, 0.12), (torch.float16, 0.02)]:
        start, x = draw.integer(4100, 9000), draw.normal(1, 3, 5, 12).to(dtype)
        right = turned(x, start, 10000.0).to(dtype)
        of = f"places from {start} on in {dtype}"
        expect(lesson.rotary(x, start), right, of=of, tolerance=tolerance)


@guard("test_turning_passes_gradients_on")
def guard_gradients_of_other_turns(lesson, expect, draw):
    """Gradients at other sizes and places; the result under autograd is the result."""
    for layout in ("pairs", "halves"):
        x, start = draw.normal(2, 1, 6, 10), draw.integer(1, 8)
        mine = lesson.grad(lesson.rotary, x, start, 40.0, layout)
        right = grad(turned, x.double(), start, 40.0, layout)
        expect(mine["result"], right["result"].detach().float(), of="rotary", tolerance=SUMS)
        gradient = right["arguments"][0].float()
        expect(mine["arguments"][0], gradient, of="the gradient of x", tolerance=SUMS)


@guard("test_gate_opens_what_goes_up")
def guard_gated_mlps_of_any_size(lesson, expect, draw):
    """Two layers of other sizes take turns on tensors of any shape."""
    made = []
    for n_embd, n_inner in [(draw.integer(9, 20), draw.integer(30, 70)), (12, 5)]:
        sizes = {"n_head": 1, "n_kv_head": 1, "n_embd": n_embd, "n_inner": n_inner, "head_size": 2}
        weights = part_weights(draw, sizes, "mlp.")
        made.append((lesson.SwiGLU(n_embd, n_inner).load(weights), weights, n_embd))
    for dims in [(3, 17), (1, 1), (2, 3, 4), (5,)]:
        for mlp, weights, n_embd in made:
            x = draw.normal(*dims, n_embd, scale=2.0)
            right, of = llama_mlp(x, weights).float(), f"the gated MLP on {(*dims, n_embd)}"
            expect(mlp(x), right, of=of, tolerance=SUMS)


@guard("test_heads_share_keys")
def guard_layers_of_any_size(lesson, expect, draw):
    """Two layers of other sizes take turns over longer texts, one place, one text."""
    made = list(attentions(lesson, draw))
    for batch, length in [(2, draw.integer(12, 20)), (1, 1), (4, 2)]:
        for layer, weights, shape in made:
            x = draw.normal(batch, length, shape["n_embd"])
            right = llama_attention(x, weights, **shape).float()
            of = f"the layer with {shape['n_head']} heads of queries on {(batch, length)}"
            expect(layer(x), right, of=of, tolerance=SUMS)
            expect(layer(x[:1]), right[:1], of=f"{of}, the first text alone", tolerance=SUMS)


@guard("test_cache_is_turned_once")
def guard_caches_do_not_mix(lesson, expect, draw):
    """Two texts, each with its cache, take turns, in parts that stand in no check."""
    for layer, weights, shape in attentions(lesson, draw):
        texts = [draw.normal(batch, 13, shape["n_embd"]) for batch in (1, 3)]
        caches = [lesson.toy("layer cache") for _ in texts]
        rights = [llama_attention(x, weights, **shape).float() for x in texts]
        for start, end in [(0, 4), (4, 5), (5, 11), (11, 12), (12, 13)]:
            for x, cache, right in zip(texts, caches, rights, strict=True):
                of = f"the layer at places {start} to {end - 1} with a cache"
                mine = layer(x[:, start:end], start, cache)
                expect(mine, right[:, start:end], of=of, tolerance=SUMS)
        kept = list(caches[1].read("k").shape)
        wanted = [3, shape["n_kv_head"], 13, len(weights["k_proj.weight"]) // shape["n_kv_head"]]
        expect(kept, wanted, of="the shape of the keys in the cache")
        expect(layer(texts[0]), rights[0], of="a text without a cache", tolerance=SUMS)


@guard("test_block_is_llamas")
def guard_blocks_of_any_size(lesson, expect, draw):
    """Two blocks of other sizes take turns over longer texts."""
    made = []
    for shape in some_shapes(draw):
        weights = some_weights(draw, block_shapes(**shape))
        made.append((lesson.LlamaBlock(lesson.LlamaConfig(**shape)).load(weights), weights, shape))
    for batch, length in [(3, draw.integer(9, 16)), (1, 1), (5, 2)]:
        for block, weights, shape in made:
            x = draw.normal(batch, length, shape["n_embd"])
            right = llama_block(x, weights, **shape).float()
            expect(block(x), right, of=f"the block on {tuple(x.shape)}", tolerance=SUMS)


@guard("test_whole_llama_speaks")
def guard_logits_of_any_model(lesson, expect, draw):
    """Models of other shapes and depths take turns, at once and token by token."""
    made = []
    for shape, n_layer in zip(some_shapes(draw), (4, 1), strict=True):
        shape |= {"vocab_size": draw.integer(30, 50), "block_size": 21, "n_layer": n_layer}
        shape |= {"tie_weights": n_layer == 1}
        weights = some_weights(draw, llama_shapes(**shape))
        made.append((lesson.Llama(lesson.LlamaConfig(**shape)).load(weights), weights, shape))
    for batch, length in [(3, 13), (1, 21)]:
        for model, weights, shape in made:
            ids = draw.ids(shape["vocab_size"], batch, length)
            right = llama_logits(weights, ids, **shape)
            expect(model(ids)[0], right, of=f"the logits of {(batch, length)}", tolerance=MODEL)
            cache = lesson.toy("cache", shape["n_layer"])
            for start, end in [(0, 7), (7, 8), (8, length)]:
                logits, _ = model(ids[:, start:end], cache=cache)
                of = f"the logits of places {start} to {end - 1} with a cache"
                expect(logits, right[:, start:end], of=of, tolerance=MODEL)


@guard("test_rows_of_every_head")
def guard_rows_of_other_heads(lesson, expect, draw):
    """Any number of heads of any size."""
    for _ in range(3):
        n_head, size = draw.integer(1, 7), 2 * draw.integer(1, 9)
        weight = draw.normal(n_head * size, draw.integer(1, 9))
        right = torch.cat(
            [part for head in weight.split(size) for part in (head[0::2], head[1::2])]
        )
        expect(lesson.pairs_to_halves(weight, n_head), right, of=f"{n_head} heads of {size} rows")


@guard("test_metas_file_speaks")
def guard_other_files_are_converted(lesson, expect, draw):
    """Files of both kinds, of other shapes, with every name that such files hold."""
    inside = {"attention.wq": "self_attn.q_proj", "attention.wk": "self_attn.k_proj"}
    inside |= {"attention.wv": "self_attn.v_proj", "attention.wo": "self_attn.o_proj"}
    inside |= {"feed_forward.w1": "mlp.gate_proj", "feed_forward.w3": "mlp.up_proj"}
    inside |= {"feed_forward.w2": "mlp.down_proj", "attention_norm": "input_layernorm"}
    inside |= {"ffn_norm": "post_attention_layernorm"}
    for shape in some_shapes(draw):
        shape |= {"vocab_size": draw.integer(30, 50), "n_layer": draw.integer(11, 13)}
        weights = some_weights(draw, llama_shapes(**shape))
        heads = shape["n_head"], shape["n_kv_head"]
        bare = {name.removeprefix("model."): tensor for name, tensor in weights.items()}
        of = "what comes from a file of Hugging Face's"
        expect(lesson.convert_llama_weights(bare, *heads), weights, of=of)
        meta = {"tok_embeddings.weight": weights["model.embed_tokens.weight"]}
        meta |= {"norm.weight": weights["model.norm.weight"], "rope.freqs": draw.normal(4)}
        meta["output.weight"] = weights["lm_head.weight"]
        for layer in range(shape["n_layer"]):
            for theirs, ours in inside.items():
                meta[f"layers.{layer}.{theirs}.weight"] = weights[
                    f"model.layers.{layer}.{ours}.weight"
                ]
        right = dict(weights)
        for name, tensor in weights.items():
            for part, n_head in zip(("q_proj", "k_proj"), heads, strict=True):
                if part in name:
                    rows = tensor.split(len(tensor) // n_head)
                    parts = [half for head in rows for half in (head[0::2], head[1::2])]
                    right[name] = torch.cat(parts)
        expect(lesson.convert_llama_weights(meta, *heads), right, of="what comes from Meta's file")

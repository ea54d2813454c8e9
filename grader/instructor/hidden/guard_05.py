"""Hidden checks for lesson 05, the model: other shapes, models that take turns, calls that come again."""

import math

import torch
import torch.nn.functional as F

from grader.checks import grad
from grader.gpt2 import gpt2_head, gpt2_logits, gpt2_states, weight_shapes
from grader.instructor.guards import guard


def some_shapes(draw):
    """Two shapes that stand in no check; in the second, the heads do not fill the channels."""
    first = {"vocab_size": draw.integer(40, 70), "block_size": draw.integer(24, 40)}
    first |= {"n_layer": 4, "n_head": 4, "n_embd": 4 * draw.integer(4, 7)}
    second = {"vocab_size": draw.integer(5, 12), "block_size": 13, "n_layer": 1, "n_head": 3}
    second |= {"n_embd": 20, "n_inner": draw.integer(21, 50), "tie_weights": False}
    return first, second | {"layer_norm_epsilon": 0.1}


def new_model(lesson, **shape):
    """A fresh GPT of yours."""
    return lesson.GPT(lesson.GPTConfig(**shape))


def random_weights(draw, shape):
    """Random numbers for every parameter, by name, such that results stay of one scale."""
    return {
        name: draw.normal(*size, scale=1.5 * shape["n_embd"] ** -0.5, shift=float("ln_" in name))
        for name, size in weight_shapes(**shape).items()
    }


def right_logits(weights, ids, shape):
    """GPT-2's logits."""
    eps = shape.get("layer_norm_epsilon", 1e-5)
    return gpt2_logits(weights, ids, shape["n_head"], eps)


def two_models(lesson, draw):
    """Yields (model, weights, shape) for two shapes."""
    for shape in some_shapes(draw):
        weights = random_weights(draw, shape)
        yield new_model(lesson, **shape).load(weights), weights, shape


@guard("test_loss_is_the_mean_surprise")
def guard_losses_of_any_size(lesson, expect, draw):
    """Any number of texts, tokens and places that do not count, twenty times."""
    for batch, length, vocab_size in [(5, 19, 40), (1, 1, 2), (2, 30, 200)] + [(2, 3, 5)] * 20:
        logits = draw.normal(batch, length, vocab_size, scale=2.0)
        targets = draw.ids(vocab_size, batch, length)
        targets[draw.uniform(batch, length) < 0.3] = -1
        targets[0, 0], logits[0, 0, 0] = 0, -3.0  # one counts, and it is a surprise
        right = F.cross_entropy(logits.double().flatten(0, 1), targets.flatten(), ignore_index=-1)
        of = f"the loss of {batch} texts of {length} tokens"
        expect(lesson.next_token_loss(logits, targets), right.float(), of=of)


@guard("test_loss_has_32_bits")
def guard_losses_of_16_bits(lesson, expect, draw):
    """Logits of 16 bits and any shape: the loss is that of the same numbers in 32."""
    for dtype in (torch.bfloat16, torch.float16):
        logits = draw.normal(3, 7, 11, scale=2.0).to(dtype)
        targets = draw.ids(11, 3, 7)
        targets[1, 2:5] = -1
        right = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=-1)
        expect(lesson.next_token_loss(logits, targets), right, of=f"the loss of {dtype} logits")


@guard("test_what_is_added_begins_smaller")
def guard_other_models_begin_small(lesson, expect, draw):
    """Models of another depth begin as GPT-2 does, and each with numbers of its own."""
    shape = {"vocab_size": 220, "block_size": 210, "n_head": 3, "n_embd": 48}
    shape["n_layer"] = draw.integer(6, 8)
    first, second = (new_model(lesson, **shape).weights() for _ in range(2))
    for name in (
        "wte.weight",
        "wpe.weight",
        "attn.c_attn.weight",
        "mlp.c_fc.weight",
        "c_proj.weight",
    ):
        right = 0.02 / (math.sqrt(2 * shape["n_layer"]) if name == "c_proj.weight" else 1)
        numbers = torch.cat([w.flatten() for n, w in first.items() if n.endswith(name)])
        # 10,080 numbers or more: within 6 % is more than eight standard deviations
        symptom = f"{name} begins with a standard deviation of {float(numbers.std()):.4f}"
        expect.true(abs(float(numbers.std()) / right - 1) < 0.06, symptom)
    same = first["transformer.wte.weight"].equal(second["transformer.wte.weight"])
    expect.true(not same, "two fresh models begin with the same numbers")


@guard("test_places_go_on_from_start")
def guard_places_of_any_model(lesson, expect, draw):
    """Any start and any length, in two models by turns."""
    models = list(two_models(lesson, draw))
    for _ in range(3):
        for model, weights, shape in models:
            start = draw.integer(0, shape["block_size"] - 1)
            length = draw.integer(1, shape["block_size"] - start)
            ids = draw.ids(shape["vocab_size"], draw.integer(1, 5), length)
            places = weights["transformer.wpe.weight"][start : start + length]
            right = weights["transformer.wte.weight"][ids] + places
            of = f"embed of {length} tokens with start = {start}"
            expect(model.embed(ids, start), right, of=of)


@guard("test_logits_are_gpt2s")
def guard_logits_of_any_model(lesson, expect, draw):
    """Two models of other shapes take turns; one text alone says what it says among others."""
    models = list(two_models(lesson, draw))
    for batch, length in [(3, 13), (1, 1), (5, 2), (3, 13)]:
        for model, weights, shape in models:
            ids = draw.ids(shape["vocab_size"], batch, length)
            logits, loss = model(ids)
            right, of = right_logits(weights, ids, shape), f"the logits of {(batch, length)} ids"
            expect(logits, right, of=of, tolerance=1e-4)
            expect(loss, None, of="the loss without targets")
            expect(model(ids[:1])[0], right[:1], of=f"{of}, the first text alone", tolerance=1e-4)
    for model, weights, shape in models:
        model.eval()
        ids = draw.ids(shape["vocab_size"], 2, shape["block_size"])
        right = right_logits(weights, ids, shape)
        expect(model(ids)[0], right, of="the logits of the longest texts", tolerance=1e-4)
        ids[1, -1] = shape["vocab_size"]
        with expect.raises(ValueError, "for an id that has no vector"):
            model(ids)


@guard("test_loss_comes_beside_the_logits")
def guard_losses_of_any_model(lesson, expect, draw):
    """Logits and loss of other shapes, with places that do not count and without."""
    for model, weights, shape in two_models(lesson, draw):
        for share in (0.4, 0.0):
            ids, targets = (draw.ids(shape["vocab_size"], 4, 12) for _ in range(2))
            targets[:, 1:][draw.uniform(4, 11) < share] = -1
            logits, loss = model(ids, targets)
            right = right_logits(weights, ids, shape)
            expect(logits, right, of="the logits beside a loss", tolerance=1e-4)
            right = F.cross_entropy(right.flatten(0, 1), targets.flatten(), ignore_index=-1)
            expect(loss, right, of="the loss", tolerance=1e-4)


@guard("test_cache_brings_the_past")
def guard_caches_do_not_mix(lesson, expect, draw):
    """Texts, each with its cache, take turns in parts that stand in no check."""
    for model, weights, shape in two_models(lesson, draw):
        texts = [draw.ids(shape["vocab_size"], batch, 13) for batch in (3, 1)]
        caches = [lesson.toy("cache", shape["n_layer"]) for _ in texts]
        for start, end in [(0, 1), (1, 2), (2, 8), (8, 9), (9, 13)]:
            for ids, cache in zip(texts, caches, strict=True):
                logits, _ = model(ids[:, start:end], cache=cache)
                right = right_logits(weights, ids, shape)[:, start:end]
                of = f"the logits for places {start} to {end - 1} with a cache"
                expect(logits, right, of=of, tolerance=1e-4)


@guard("test_only_the_last_place")
def guard_last_places_of_any_model(lesson, expect, draw):
    """Only the last place, with a cache and without, for one token and for many."""
    for model, weights, shape in two_models(lesson, draw):
        ids, cache = draw.ids(shape["vocab_size"], 2, 12), lesson.toy("cache", shape["n_layer"])
        right = right_logits(weights, ids, shape)
        for end in (1, 7, 12):
            logits, loss = model(ids[:, :end], last_only=True)
            of = f"the logits of the last of {end} places"
            expect(logits, right[:, end - 1 : end], of=of, tolerance=1e-4)
            expect(loss, None, of="the loss without targets")
        for start, end in [(0, 5), (5, 6), (6, 12)]:
            logits, _ = model(ids[:, start:end], cache=cache, last_only=True)
            of = f"the logits of place {end - 1} with a cache"
            expect(logits, right[:, end - 1 : end], of=of, tolerance=1e-4)


@guard("test_every_weight_learns")
def guard_every_weight_of_another_model_learns(lesson, expect, draw):
    """All gradients of a model of another shape."""
    shape = {"vocab_size": draw.integer(14, 20), "block_size": 10, "n_layer": 2, "n_head": 3}
    shape |= {"n_embd": 15, "n_inner": draw.integer(16, 30)}
    weights = random_weights(draw, shape)
    ids, targets = (draw.ids(shape["vocab_size"], 3, 9) for _ in range(2))

    def loss(*values):
        logits = right_logits(dict(zip(weights, values, strict=True)), ids, shape)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    model = new_model(lesson, **shape).load(weights)
    mine = lesson.grad(lesson.toy("loss of", model), ids, targets)
    right = grad(loss, *weights.values())
    expect(mine["result"], right["result"].detach(), of="the loss", tolerance=1e-4)
    for name, gradient in zip(weights, right["arguments"], strict=True):
        found = mine["parameters"].get(f"model.{name}")
        expect(found, gradient, of=f"the gradient of {name}", tolerance=2e-4)


@guard("test_every_number_counts_once")
def guard_numbers_of_other_models(lesson, expect, draw):
    """Models of other shapes are counted right, one after the other."""
    for shape in (*some_shapes(draw), *some_shapes(draw)):
        right = sum(math.prod(size) for size in weight_shapes(**shape).values())
        of = f"the count of a model with {shape['n_layer']} layers"
        expect(new_model(lesson, **shape).num_parameters(), right, of=of)


@guard("test_gpt2_speaks_through_your_code")
def guard_other_files_are_converted(lesson, expect, draw):
    """Files of other shapes, with a prefix and without, with masks and without, with a head or not."""
    shape = some_shapes(draw)[0]
    # square ones too: their shape does not say which way round they are
    for n_inner in (shape["n_embd"], draw.integer(30, 60)):
        own_head = {"tie_weights": n_inner != shape["n_embd"]}
        wanted = random_weights(draw, {**shape, "n_inner": n_inner, **own_head})
        turned = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
        state = {
            name: w.T.contiguous() if name.endswith(turned) else w for name, w in wanted.items()
        }
        for layer in range(shape["n_layer"]):
            state[f"transformer.h.{layer}.attn.bias"] = torch.ones(1, 1, 3, 3).tril()
            state[f"transformer.h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
        right = {"lm_head.weight": wanted["transformer.wte.weight"], **wanted}
        bare = {name.removeprefix("transformer."): weight for name, weight in state.items()}
        for file, of in [(state, "a file with prefix"), (bare, "a file without prefix")]:
            expect(lesson.convert_gpt2_weights(file), right, of=f"what comes from {of}")


@guard("test_stream_behind_every_block")
def guard_streams_of_other_models(lesson, expect, draw):
    """The hidden states of other models, for any texts."""
    for model, weights, shape in two_models(lesson, draw):
        eps = shape.get("layer_norm_epsilon", 1e-5)
        for batch, length in [(1, 1), (3, 12)]:
            ids = draw.ids(shape["vocab_size"], batch, length)
            right = [s.float() for s in gpt2_states(weights, ids, shape["n_head"], eps)]
            of = f"the hidden states of {shape['n_layer']} blocks"
            expect(model.hidden_states(ids), right, of=of, tolerance=1e-4)


@guard("test_lens_ends_with_the_answer")
def guard_lenses_of_other_models(lesson, expect, draw):
    """The logits behind every block of other models."""
    for model, weights, shape in two_models(lesson, draw):
        eps, ids = shape.get("layer_norm_epsilon", 1e-5), draw.ids(shape["vocab_size"], 3, 11)
        states = gpt2_states(weights, ids, shape["n_head"], eps)
        right = [gpt2_head(weights, state, eps).float() for state in states]
        expect(model.logit_lens(ids), right, of="the logits behind every block", tolerance=1e-4)

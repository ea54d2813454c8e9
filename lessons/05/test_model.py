"""Checks for lesson 05, the model. Which step turns which check green:

1. next_token_loss           test_loss_is_the_mean_surprise, test_ignored_places_do_not_count,
                             test_loss_has_32_bits, test_loss_passes_gradients_on
2. GPT.initialise_weights    test_weights_begin_small, test_what_is_added_begins_smaller,
                             test_norms_and_biases_begin_neutral, test_head_is_the_token_table
3. GPT.embed                 test_token_plus_place, test_places_go_on_from_start,
                             test_no_vector_no_answer, test_dropout_on_the_sum
4. GPT.forward               test_logits_are_gpt2s, test_loss_comes_beside_the_logits,
                             test_fresh_model_has_no_opinion, test_loss_can_be_exchanged,
                             test_cache_brings_the_past, test_only_the_last_place,
                             test_training_drops_out, test_every_weight_learns
5. GPT.num_parameters        test_every_number_counts_once
6. convert_gpt2_weights      test_names_fit, test_conv1d_is_turned, test_head_comes_from_somewhere,
                             test_gpt2_speaks_through_your_code,
                             test_distilgpt2_speaks_through_your_code
stretch  GPT.hidden_states   test_stream_behind_every_block, test_first_state_is_what_enters
stretch  GPT.logit_lens      test_lens_ends_with_the_answer, test_lens_uses_the_head
"""

import math

import torch
import torch.nn.functional as F

from grader.checks import check, grad
from grader.gpt2 import gpt2_head, gpt2_logits, gpt2_states, weight_shapes

# Two models that have little in common. In the second, 5 heads of 2 channels do not fill 13.
SMALL = {"vocab_size": 23, "block_size": 11, "n_layer": 3, "n_head": 2, "n_embd": 12}
ODD = {"vocab_size": 17, "block_size": 6, "n_layer": 2, "n_head": 5, "n_embd": 13}
ODD |= {"n_inner": 9, "layer_norm_epsilon": 0.5, "tie_weights": False}


def new_model(lesson, **shape):
    """A fresh GPT of yours."""
    return lesson.GPT(lesson.GPTConfig(**shape))


def random_weights(draw, shape):
    """Random numbers for every parameter of a GPT, by name; those of the norms are around 1."""
    return {
        name: draw.normal(*size, scale=0.5, shift=float("ln_" in name))
        for name, size in weight_shapes(**shape).items()
    }


# 1. next_token_loss


@check("next_token_loss", points=1)
def test_loss_is_the_mean_surprise(lesson, expect, draw):
    """One number says how surprised the model is, on average over all texts and places."""
    for batch, length, vocab_size in [(2, 3, 5), (1, 4, 3), (4, 1, 7), (3, 3, 3)]:
        logits = draw.normal(batch, length, vocab_size, scale=3.0)
        targets = draw.ids(vocab_size, batch, length)
        right = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        question = "After `flatten`: which target belongs to row 1 of the logits?"
        of = f"the loss of {batch} texts of {length} tokens"
        expect(lesson.next_token_loss(logits, targets), right, of=of, ask=question)


@check("next_token_loss", points=1)
def test_ignored_places_do_not_count(lesson, expect, draw):
    """Places marked -1 are left out of the sum, and of the number by which it is divided."""
    logits = draw.normal(3, 4, 5, scale=2.0)
    logits[..., 0] -= 4  # who takes a place without a target for token 0 is far off
    targets = torch.tensor([[0, -1, -1, -1], [3, 0, 4, -1], [-1, -1, 2, 1]])
    right = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)
    question = "Six targets count. Which are they, and by what is the sum of their losses divided?"
    expect(
        lesson.next_token_loss(logits, targets), right, of="the loss with -1 in it", ask=question
    )
    targets = torch.tensor([[-1, -1], [4, 0]])
    loss = lesson.next_token_loss(logits[:2, :2], targets)
    right = F.cross_entropy(logits[1, :2], targets[1])
    expect(loss, right, of="the loss when one whole text is ignored")
    none = torch.full((2, 2), -1)
    loss = lesson.next_token_loss(logits[:2, :2], none)
    expect(loss, torch.tensor(math.nan), of="the loss when nothing counts")


@check("next_token_loss", points=1)
def test_loss_has_32_bits(lesson, expect, draw):
    """A model may compute in 16 bits; its loss is exact all the same."""
    # 3 for the right token and 0 for six others: the loss is log(1 + 6 exp(-3))
    logits = torch.tensor([[[3.0, 0, 0, 0, 0, 0, 0], [0, 0, 3.0, 0, 0, 0, 0]]])
    right = torch.tensor(math.log(1 + 6 * math.exp(-3)))
    for dtype in (torch.bfloat16, torch.float16):
        loss = lesson.next_token_loss(logits.to(dtype), torch.tensor([[0, 2]]))
        question = "Is it the logits that become 32 bits wide, or only the finished loss?"
        of = f"the loss of logits in {str(dtype).removeprefix('torch.')}"
        expect(loss, right, of=of, ask=question)


@check("next_token_loss", points=1)
def test_loss_passes_gradients_on(lesson, expect, draw):
    """Every logit hears in which direction it should go; those of ignored places hear nothing."""
    logits, targets = draw.normal(2, 4, 6), draw.ids(6, 2, 4)
    targets[0, 1:3] = -1
    mine = lesson.grad(lesson.next_token_loss, logits, targets)
    right = grad(
        lambda x: F.cross_entropy(x.flatten(0, 1), targets.flatten(), ignore_index=-1), logits
    )
    expect(mine["arguments"][0], right["arguments"][0], of="the gradient of the logits")


# 2. GPT.initialise_weights

# Large enough for statistics: with 8,000 numbers a standard deviation is known to 0.8 %.
FRESH = {"vocab_size": 129, "block_size": 131, "n_layer": 3, "n_head": 4, "n_embd": 64}


def spread(weights, ending):
    """The standard deviation of all weights with this ending together, in units of 0.02."""
    found = [w.flatten() for name, w in weights.items() if name.endswith(ending)]
    units = float(torch.cat(found).std()) / 0.02
    return round(units, 1 if units < 9 else -1)


@check("GPT.initialise_weights", points=1)
def test_weights_begin_small(lesson, expect, draw):
    """Tables and linear layers begin as small random numbers around 0."""
    weights = new_model(lesson, **FRESH).weights()
    # each is 1.0 for 8,256 numbers or more: it rounds to something else once in 10^9 times
    for name in ("wte.weight", "wpe.weight", "attn.c_attn.weight", "mlp.c_fc.weight"):
        of = f"the standard deviation of {name}, in units of 0.02"
        expect(spread(weights, name), 1.0, of=of, ask="Is 0.02 the mean or the `std`?")
    names = [name for name in weights if name.endswith(("c_attn.weight", "c_fc.weight"))]
    together = torch.cat([weights[name].flatten() for name in names])
    mean = round(float(together.mean() / together.std()), 1)
    expect(mean, 0.0, of="the mean of c_attn and c_fc, in units of their standard deviation")
    first, second = (weights[f"transformer.h.{i}.mlp.c_fc.weight"] for i in (0, 1))
    expect.true(not first.equal(second), "two layers begin with the same numbers")
    # 86,016 draws: the share is 0.0455 within 0.0043 (six standard deviations, false alarm 2e-9)
    far = float((together.abs() > 0.04).float().mean())
    symptom = f"a share of {far:.4f} of the weights lies beyond two standard deviations"
    expect.true(abs(far - 0.0455) < 0.0043, symptom, ask="Are they normal, or spread evenly?")


@check("GPT.initialise_weights", points=1)
def test_what_is_added_begins_smaller(lesson, expect, draw):
    """The deeper the model, the less each layer adds: the stream does not grow with the depth."""
    for n_layer in (5, 1):
        weights = new_model(lesson, **{**FRESH, "n_layer": n_layer}).weights()
        # 4,096 numbers or more, and 6 % of room: a false alarm once in 10^7 times
        right = round(1 / math.sqrt(2 * n_layer), 1)
        for name in ("attn.c_proj.weight", "mlp.c_proj.weight"):
            question = f"How many sums go into the stream of a model of {n_layer} layers?"
            of = f"with {n_layer} layers, the standard deviation of {name} in units of 0.02"
            expect(spread(weights, name), right, of=of, ask=question)


@check("GPT.initialise_weights", points=1)
def test_norms_and_biases_begin_neutral(lesson, expect, draw):
    """A fresh norm only norms, and a fresh bias adds nothing."""
    weights = new_model(lesson, **SMALL).weights()
    for name in weight_shapes(**SMALL):
        begins = f"it begins with {weights[name].flatten()[:4].tolist()}"
        if name.endswith(".bias"):
            symptom, question = f"{name} is not all 0", "What does torch put into a fresh bias?"
            expect.true(not weights[name].any(), symptom, details=begins, ask=question)
        elif "ln_" in name:
            symptom, question = f"{name} is all 0", "What does a norm give whose weights are 0?"
            expect.true(weights[name].any(), symptom, ask=question)
            symptom, question = f"{name} is not all 1", "Which names do you leave out?"
            expect.true((weights[name] == 1).all(), symptom, details=begins, ask=question)


@check("GPT.initialise_weights", points=1)
def test_head_is_the_token_table(lesson, expect, draw):
    """Tied, head and token table are one and the same; untied, the head begins like any weight."""
    model, table = new_model(lesson, **SMALL), draw.normal(23, 12)
    model.load({"transformer.wte.weight": table})
    question = "Do you fill the parameter that is there, or put a new one in its place?"
    symptom = "the token table was set, and the head did not change with it"
    expect.true(model.weights()["lm_head.weight"].equal(table), symptom, ask=question)
    weights = new_model(lesson, **FRESH, tie_weights=False).weights()
    of = "the standard deviation of a head of its own, in units of 0.02"
    expect(spread(weights, "lm_head.weight"), 1.0, of=of, ask="Which names does your loop fill?")
    shared = weights["lm_head.weight"].equal(weights["transformer.wte.weight"])
    expect.true(not shared, "with tie_weights=False, the head is the token table all the same")


# 3. GPT.embed


@check("GPT.embed", points=1)
def test_token_plus_place(lesson, expect, draw):
    """What enters the first block says which token it is, and where it stands."""
    weights = random_weights(draw, SMALL)
    model = new_model(lesson, **SMALL).load(weights)
    for batch, length in [(3, 5), (1, 11), (2, 1)]:
        ids = draw.ids(23, batch, length)
        right = weights["transformer.wte.weight"][ids] + weights["transformer.wpe.weight"][:length]
        of = f"what enters the first block, for {batch} texts of {length} tokens"
        expect(model.embed(ids), right, of=of, ask="Which row of wpe belongs to the first place?")


@check("GPT.embed", points=1)
def test_places_go_on_from_start(lesson, expect, draw):
    """Tokens that come later stand at later places."""
    weights = random_weights(draw, SMALL)
    model = new_model(lesson, **SMALL).load(weights)
    for start, length in [(4, 3), (10, 1), (0, 2), (1, 10)]:
        ids = draw.ids(23, 2, length)
        places = weights["transformer.wpe.weight"][start : start + length]
        right = weights["transformer.wte.weight"][ids] + places
        question = f"At which places do {length} tokens stand that begin at {start}?"
        expect(model.embed(ids, start), right, of=f"embed with start = {start}", ask=question)


@check("GPT.embed", points=1)
def test_no_vector_no_answer(lesson, expect, draw):
    """Ids and places without a vector are refused, instead of taking somebody else's."""
    model = new_model(lesson, **SMALL)
    question = "What does the method do that stands above this one, and with which two arguments?"
    for ids, start, when in [
        ([[5, -1]], 0, "for the id -1"),
        ([[23, 5]], 0, "for the id 23 where V is 23"),
        ([[1] * 12], 0, "for 12 tokens where block_size is 11"),
        ([[1, 2, 3]], 9, "for 3 tokens from place 9 on, where block_size is 11"),
    ]:
        with expect.raises(ValueError, when, ask=question):
            model.embed(torch.tensor(ids), start)


@check("GPT.embed", points=1)
def test_dropout_on_the_sum(lesson, expect, draw):
    """Training hides some channels of the sum; a model that writes sees all of them."""
    weights, ids = random_weights(draw, SMALL), draw.ids(23, 20, 11)
    model = new_model(lesson, **SMALL, dropout=0.25).load(weights)
    right = weights["transformer.wte.weight"][ids] + weights["transformer.wpe.weight"]
    question = "Who knows whether the model is in training: a function, or `self.transformer.drop`?"
    model.eval()
    off = float((model.embed(ids) - right).abs().max())
    expect.true(off < 1e-5, "in evaluation, it is not the plain sum that enters", ask=question)
    model.train()
    x = model.embed(ids)
    dropped = float((x == 0).float().mean())
    # 2,640 draws: the share is 0.25 within 0.051 (six standard deviations, false alarm 2e-9)
    symptom = f"in training with dropout 0.25, a share of {dropped:.3f} of the sum is 0"
    expect.true(
        abs(dropped - 0.25) < 0.051, symptom, ask="Is it the sum that goes through dropout?"
    )
    off = float((x * 0.75 - right)[x != 0].abs().max())
    expect.true(off < 1e-5, "in training, what is kept is not the sum divided by 0.75")


# 4. GPT.forward


@check("GPT.forward", points=1)
def test_logits_are_gpt2s(lesson, expect, draw):
    """With the same weights, your model says what GPT-2 says."""
    for shape, batch, length in [(SMALL, 2, 7), (ODD, 3, 6), (SMALL, 1, 1)]:
        weights, ids = random_weights(draw, shape), draw.ids(shape["vocab_size"], batch, length)
        model = new_model(lesson, **shape).load(weights)
        answer = model(ids)
        pair = isinstance(answer, tuple | list) and len(answer) == 2
        expect.true(pair, "two things should come back: the logits, and the loss or None")
        logits, loss = answer
        right = gpt2_logits(weights, ids, shape["n_head"], shape.get("layer_norm_epsilon", 1e-5))
        of = f"the logits of {batch} texts of {length} tokens"
        question = "What goes into the second block, what into the head, and through which norm?"
        expect(logits, right, of=of, ask=question, tolerance=1e-4)
        expect(loss, None, of="the loss without targets")


@check("GPT.forward", points=1)
def test_loss_comes_beside_the_logits(lesson, expect, draw):
    """Given the truth, the model says how wrong it was."""
    weights, ids, targets = random_weights(draw, SMALL), draw.ids(23, 2, 8), draw.ids(23, 2, 8)
    targets[0, 5:] = -1
    model = new_model(lesson, **SMALL).load(weights)
    logits, loss = model(ids, targets)
    right = gpt2_logits(weights, ids, 2)
    expect(logits, right, of="the logits beside a loss", tolerance=1e-4)
    right = F.cross_entropy(right.flatten(0, 1), targets.flatten(), ignore_index=-1)
    expect(loss, right, of="the loss", ask="What do you hand to `self.loss`?", tolerance=1e-4)


@check("GPT.forward", points=1)
def test_fresh_model_has_no_opinion(lesson, expect, draw):
    """Before it has learned anything, a model thinks every token about equally likely."""
    model, ids = new_model(lesson, **FRESH), draw.ids(129, 4, 131)
    _, loss = model(ids, draw.ids(129, 4, 131))
    # the logits have a standard deviation of 0.16, which adds 0.013; 0.1 is far from chance
    symptom = f"the loss of a fresh model is {float(loss):.3f}, and log(V) is {math.log(129):.3f}"
    expect.true(abs(float(loss) - math.log(129)) < 0.1, symptom, ask="How large are your logits?")


@check("GPT.forward", points=1)
def test_loss_can_be_exchanged(lesson, expect, draw):
    """The model calls `self.loss`, so that a faster function can take its place."""
    weights, ids, targets = random_weights(draw, ODD), draw.ids(17, 2, 5), draw.ids(17, 2, 5)
    model, scorer = new_model(lesson, **ODD).load(weights), lesson.toy("scorer")
    model.put("loss", scorer)
    _, loss = model(ids, targets)
    right = (gpt2_logits(weights, ids, 5, 0.5).sum(-1) * targets).mean()
    question = "Do you call self.loss, or the function by its own name?"
    expect(loss, right, of="the loss with another `loss`", ask=question, tolerance=1e-4)
    expect(scorer.read("shapes"), [[2, 5, 17], [2, 5]], of="the shapes that `loss` gets")


@check("GPT.forward", points=1)
def test_cache_brings_the_past(lesson, expect, draw):
    """Piece by piece with a cache gives what all at once gives."""
    weights, ids = random_weights(draw, SMALL), draw.ids(23, 2, 11)
    model, cache = new_model(lesson, **SMALL).load(weights), lesson.toy("cache", 3)
    right = gpt2_logits(weights, ids, 2)
    places = weights["transformer.wte.weight"][ids[:, 4:]] + weights["transformer.wpe.weight"][4:]
    expect(model.embed(ids[:, 4:], 4), places, of="what enters the first block from place 4 on")
    start = 0
    for length in (4, 1, 5, 1):
        logits, _ = model(ids[:, start : start + length], cache=cache)
        of = f"the logits for places {start} to {start + length - 1} with a cache"
        question = (
            "At which place does the first new token stand? Which part of the cache is whose?"
        )
        expect(logits, right[:, start : start + length], of=of, ask=question, tolerance=1e-4)
        start += length
    with expect.raises(ValueError, "for a 12th token where block_size is 11"):
        model(ids[:, :1], cache=cache)


@check("GPT.forward", points=1)
def test_only_the_last_place(lesson, expect, draw):
    """To write, only the last place needs the head; all the others still have to be read."""
    weights, ids = random_weights(draw, ODD), draw.ids(17, 3, 6)
    model = new_model(lesson, **ODD).load(weights)
    logits, loss = model(ids, last_only=True)
    right = gpt2_logits(weights, ids, 5, 0.5)[:, -1:]
    question = "Which places does attention need? And what is x[:, -1] beside x[:, -1:]?"
    expect(logits, right, of="the logits with last_only", ask=question, tolerance=1e-4)
    expect(loss, None, of="the loss without targets")


@check("GPT.forward", points=1)
def test_training_drops_out(lesson, expect, draw):
    """In training something is left to chance already before the first block; in writing nothing."""
    weights, ids = random_weights(draw, SMALL), draw.ids(23, 2, 11)
    for name in weights:
        if ".c_proj." in name:
            weights[name].zero_()  # the blocks add nothing, so what enters them goes to the head
    model = new_model(lesson, **SMALL, dropout=0.5).load(weights)
    model.eval()
    right = gpt2_logits(weights, ids, 2)
    expect(model(ids)[0], right, of="the logits in evaluation, with dropout 0.5", tolerance=1e-4)
    model.train()
    different = (model(ids)[0] - right).abs().amax(dim=-1) > 1e-3
    symptom = "in training with dropout 0.5, some logits are as if nothing had been dropped"
    # a place of 12 channels stays whole once in 4,096 times; half of 22 places in 10^35
    expect.true(int(different.sum()) > 11, symptom, ask="Does what enters come from `self.embed`?")


def gpt2s_gradients(weights, ids, targets, n_head):
    """The gradient of the loss for each of GPT-2's weights, by torch."""

    def loss(*values):
        logits = gpt2_logits(dict(zip(weights, values, strict=True)), ids, n_head)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    return dict(zip(weights, grad(loss, *weights.values())["arguments"], strict=True))


@check("GPT.forward", points=1)
def test_every_weight_learns(lesson, expect, draw):
    """From the loss, a gradient comes back to the tables and to the very first block."""
    for tied, parts in [
        (True, ("transformer.w", "transformer.h.0.")),
        (False, ("transformer.w", "lm_head.")),
    ]:
        shape = {**SMALL, "n_layer": 2, "tie_weights": tied}
        weights, ids, targets = random_weights(draw, shape), draw.ids(23, 2, 7), draw.ids(23, 2, 7)
        model = new_model(lesson, **shape).load(weights)
        mine = lesson.grad(lesson.toy("loss of", model), ids, targets)["parameters"]
        right = gpt2s_gradients(weights, ids, targets, 2)
        for name in filter(lambda name: name.startswith(parts), right):
            of = f"the gradient of {name}"
            expect(mine.get(f"model.{name}"), right[name], of=of, tolerance=1e-4)


# 5. GPT.num_parameters


@check("GPT.num_parameters", points=1)
def test_every_number_counts_once(lesson, expect, draw):
    """Your count is the one that papers mean: every number that is learned, shared ones once."""
    model, table = new_model(lesson, **SMALL), draw.normal(23, 12)
    model.load({"transformer.wte.weight": table})
    symptom = "the token table was set, and the head did not change with it"
    expect.true(model.weights()["lm_head.weight"].equal(table), symptom)
    for shape in (SMALL, ODD, {**ODD, "tie_weights": True}, {**SMALL, "tie_weights": False}):
        right = sum(math.prod(size) for size in weight_shapes(**shape).values())
        head = "a head of its own" if not shape.get("tie_weights", True) else "a tied head"
        of = f"the count with {shape['n_layer']} layers and {head}"
        question = "How often do you count the token table? And the positions?"
        expect(new_model(lesson, **shape).num_parameters(), right, of=of, ask=question)


# 6. convert_gpt2_weights


@check("convert_gpt2_weights", points=1)
def test_names_fit(lesson, expect, draw):
    """Every weight arrives under the name that your model gives it; old masks stay behind."""
    bare = {
        "wte.weight": draw.normal(5, 3),
        "wpe.weight": draw.normal(4, 3),
        "h.0.ln_1.weight": draw.normal(3),
        "h.0.attn.bias": torch.ones(1, 1, 4, 4).tril(),
        "h.0.attn.masked_bias": torch.tensor(-1e4),
        "h.0.attn.c_attn.bias": draw.normal(9),
        "h.10.attn.c_proj.bias": draw.normal(3),
        "h.10.attn.bias": torch.ones(1, 1, 4, 4).tril(),
        "ln_f.bias": draw.normal(3),
    }
    full = {f"transformer.{name}": tensor for name, tensor in bare.items()}
    right = {n: full[n] for n in full if not n.endswith((".attn.bias", ".masked_bias"))}
    right["lm_head.weight"] = bare["wte.weight"]
    for state, of in [(bare, "a file without prefix"), (full, "a file with prefix")]:
        converted = lesson.convert_gpt2_weights(state)
        question = "Which two kinds of names are masks, and which names get `transformer.`?"
        expect(converted, right, of=f"what comes from {of}", ask=question)


@check("convert_gpt2_weights", points=1)
def test_conv1d_is_turned(lesson, expect, draw):
    """What GPT-2 keeps as (inputs, outputs) is turned, whatever its shape; nothing else is."""
    sizes = {
        "h.0.attn.c_attn.weight": (4, 12),
        "h.0.attn.c_proj.weight": (4, 4),
        "h.1.mlp.c_fc.weight": (4, 16),
        "h.1.mlp.c_proj.weight": (16, 4),
    }
    same = {
        "wte.weight": (6, 6),
        "wpe.weight": (4, 6),
        "h.0.ln_1.weight": (4,),
        "h.1.mlp.c_fc.bias": (16,),
    }
    state = {f"transformer.{name}": draw.normal(*size) for name, size in {**sizes, **same}.items()}
    converted = lesson.convert_gpt2_weights(state)
    question = "How is a table turned, and how do you know which ones are to be turned?"
    for name in sizes:
        turned = torch.stack([row.clone() for row in state[f"transformer.{name}"].unbind(1)])
        expect(converted.get(f"transformer.{name}"), turned, of=name, ask=question)
    for name in same:
        expect(
            converted.get(f"transformer.{name}"),
            state[f"transformer.{name}"],
            of=name,
            ask=question,
        )


@check("convert_gpt2_weights", points=1)
def test_head_comes_from_somewhere(lesson, expect, draw):
    """A head that is in the file is kept; where there is none, it is the token table."""
    table, head = draw.normal(5, 3), draw.normal(5, 3)
    for prefix in ("transformer.", ""):
        converted = lesson.convert_gpt2_weights({f"{prefix}wte.weight": table})
        expect(converted.get("lm_head.weight"), table, of="the head of a file without one")
        converted = lesson.convert_gpt2_weights(
            {"lm_head.weight": head, f"{prefix}wte.weight": table}
        )
        question = "Which one name neither begins with `transformer.` nor should?"
        expect(
            converted.get("lm_head.weight"),
            head,
            of="the head of a file with its own",
            ask=question,
        )
        names = dict.fromkeys(["lm_head.weight", "transformer.wte.weight"])
        expect(dict.fromkeys(converted), names, of="which names there are")


@check("convert_gpt2_weights", points=1)
def test_gpt2_speaks_through_your_code(lesson, expect, draw, baseline):
    """A file of GPT-2's kind, converted and loaded, says what transformers says with it."""
    gpt2 = baseline.small  # 2 layers, 64 wide; transformers' answers for it are recorded
    converted = lesson.convert_gpt2_weights(gpt2.weights)
    names = dict.fromkeys(["lm_head.weight", *weight_shapes(**gpt2.config)])
    expect(dict.fromkeys(converted), names, of="which names come from a GPT-2 file")
    model = new_model(lesson, **gpt2.config).load(converted).eval()
    logits, _ = model(gpt2.ids)
    expect(logits, gpt2.logits, of="the logits of a GPT-2 file", tolerance=1e-4)
    text = torch.tensor([gpt2.greedy[:5]])
    while text.shape[1] < len(gpt2.greedy):
        logits, _ = model(text, last_only=True)
        text = torch.cat([text, logits[:, -1].argmax(-1, keepdim=True)], dim=1)
    expect(
        text[0].tolist(), gpt2.greedy, of="five tokens and the likeliest one after them, on and on"
    )


@check("convert_gpt2_weights", points=0, seconds=120)
def test_distilgpt2_speaks_through_your_code(lesson, expect, draw, baseline):
    """The real DistilGPT-2 continues a text through your code as it was published."""
    if baseline.missing:
        expect.skip(baseline.missing)
    model = new_model(lesson, **baseline.config)
    model.load(lesson.convert_gpt2_weights(baseline.weights)).eval()
    text = torch.tensor([baseline.published])
    logits, _ = model(text[:, :-1])
    # it was published without a look at what comes: each id is the best guess after those before
    expect(
        logits[0, 1:].argmax(-1).tolist(), baseline.published[2:], of="what comes after [464, 1893]"
    )


# stretch


@check("GPT.hidden_states", points=1)
def test_stream_behind_every_block(lesson, expect, draw):
    """You can watch the stream grow, block by block."""
    for shape, eps in [(SMALL, 1e-5), (ODD, 0.5)]:
        weights, ids = random_weights(draw, shape), draw.ids(shape["vocab_size"], 2, 5)
        states = new_model(lesson, **shape).load(weights).hidden_states(ids)
        right = [state.float() for state in gpt2_states(weights, ids, shape["n_head"], eps)]
        question = "How many states does a model of one block have? Which of them have been normed?"
        expect(states, right, of="the hidden states", ask=question, tolerance=1e-4)


@check("GPT.hidden_states", points=1)
def test_first_state_is_what_enters(lesson, expect, draw):
    """The first state is the sum of token and place, exactly as `embed` makes it."""
    weights, ids = random_weights(draw, SMALL), draw.ids(23, 3, 4)
    states = new_model(lesson, **SMALL).load(weights).hidden_states(ids)
    right = weights["transformer.wte.weight"][ids] + weights["transformer.wpe.weight"][:4]
    expect(states[0], right, of="the first state", ask="What is there before the first block runs?")
    expect(len(states), 4, of="the number of states of a model of 3 layers")


@check("GPT.logit_lens", points=1)
def test_lens_ends_with_the_answer(lesson, expect, draw):
    """Behind every block the model could already answer; the last answer is the real one."""
    weights, ids = random_weights(draw, SMALL), draw.ids(23, 2, 5)
    model = new_model(lesson, **SMALL).load(weights)
    expect(len(model.hidden_states(ids)), 4, of="the number of hidden states of 3 blocks")
    lens = model.logit_lens(ids)
    right = [gpt2_head(weights, state).float() for state in gpt2_states(weights, ids, 2)]
    question = "What happens in `forward` between the last state and the logits?"
    expect(lens, right, of="the logits behind every block", ask=question, tolerance=1e-4)


@check("GPT.logit_lens", points=1)
def test_lens_uses_the_head(lesson, expect, draw):
    """A head with a table of its own is used, not the token table."""
    weights, ids = random_weights(draw, ODD), draw.ids(17, 1, 6)
    lens = new_model(lesson, **ODD).load(weights).logit_lens(ids)
    right = [gpt2_head(weights, state, 0.5).float() for state in gpt2_states(weights, ids, 5, 0.5)]
    question = "Whose weight makes the logits in a model that is not tied?"
    expect(lens, right, of="the logits of a model with its own head", ask=question, tolerance=1e-4)

"""Checks for lesson 07, the trainer. Which step turns which check green:

1. learning_rate               test_climb_and_descent_by_hand, test_descent_is_torchs_cosine,
                               test_beyond_the_plan, test_plans_without_a_climb_or_a_descent
2. parameter_groups            test_matrices_shrink_vectors_do_not, test_each_parameter_once,
                               test_an_optimiser_takes_the_groups
3. train_step                  test_one_batch_is_one_step, test_many_small_batches_are_one_big,
                               test_long_gradients_are_shortened, test_each_step_begins_afresh,
                               test_nothing_hangs_on_the_results
4. estimate_loss               test_every_target_counts_the_same, test_dropout_rests,
                               test_nothing_has_happened, test_modes_return_after_an_error
5. should_stop                 test_patience_runs_out, test_no_hurry, test_small_gains_are_none,
                               test_nan_beats_nothing, test_the_loop_learns
stretch  train_step_mixed      test_same_step_in_half_precision, test_whispers_survive,
                               test_an_overflow_leaves_the_step_out
stretch  orthogonalize         test_singular_values_are_levelled, test_any_shape_and_scale
stretch  Muon.step             test_one_step_by_singular_values, test_momentum_looks_ahead,
                               test_muon_has_groups
"""

import itertools
import math

import torch
import torch._dynamo  # torch loads it with the first optimiser, which takes a second
import torch.nn.functional as F
from torch import nn

from grader.checks import check

NAN, INF = math.nan, math.inf

# 1. learning_rate


@check("learning_rate", points=1)
def test_climb_and_descent_by_hand(lesson, expect, draw):
    """Up a line in four steps, down half a cosine in four more: the corners can be worked out."""
    right = [0.5, 1.0, 1.5, 2.0, 2 - (1 - 0.5**0.5) / 2, 1.5, 1 + (1 - 0.5**0.5) / 2, 1.0]
    questions = {
        0: "The first step should not be wasted: is its rate 0, or a quarter of the peak?",
        3: "Step 3 is the last of four steps that climb. How much of the climb has it made?",
        4: "Four steps lead from the peak at step 3 to the end at step 7. Which share is step 4?",
        7: "Steps are counted from 0. Which number has the last of 8?",
    }
    for step, rate in enumerate(right):
        of = f"the rate of step {step}, of 8 steps with a warm-up of 4, from 2 to 1"
        got = lesson.learning_rate(step, steps=8, warmup=4, peak_lr=2.0, final_lr=1.0)
        question = questions[max(corner for corner in questions if corner <= step)]
        expect(got, rate, of=of, ask=question)


@check("learning_rate", points=1)
def test_descent_is_torchs_cosine(lesson, expect, draw):
    """For any plan, the way down is the cosine that torch's own schedule goes."""
    for steps, warmup in [(draw.integer(30, 60), draw.integer(2, 9)), (23, 1)]:
        peak, final = (float(draw.uniform(low=low, high=2 * low)) for low in (2e-3, 3e-4))
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=peak)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps - warmup, final)
        rates, right = [], []
        for step in range(warmup - 1, steps):
            plan = {"steps": steps, "warmup": warmup, "peak_lr": peak, "final_lr": final}
            rates.append(lesson.learning_rate(step, **plan))
            right.append(cosine.get_last_lr()[0])
            optimizer.step()
            cosine.step()
        of = f"the rates of steps {warmup - 1} to {steps - 1}, of {steps} with {warmup} climbing"
        expect(rates, right, of=of, ask="Which part lies between peak and final rate?")


@check("learning_rate", points=1)
def test_beyond_the_plan(lesson, expect, draw):
    """Whoever trains on after the last step goes on with the final rate, 0 if none is given."""
    plan = {"steps": 10, "warmup": 3, "peak_lr": 4.0}
    for step in (9, 10, 11, 17, 1000):
        question = "What does a cosine do after half a turn? How far can a step be at most?"
        got = lesson.learning_rate(step, **plan, final_lr=0.5)
        expect(got, 0.5, of=f"the rate of step {step}, of 10 steps, down to 0.5", ask=question)
        of = f"the rate of step {step}, of 10 steps, without a final rate"
        expect(lesson.learning_rate(step, **plan), 0.0, of=of, ask="What is final_lr by default?")


@check("learning_rate", points=1)
def test_plans_without_a_climb_or_a_descent(lesson, expect, draw):
    """A plan may have no warm-up, or nothing else: every step of it still has a rate."""
    for steps, warmup, right in [
        (4, 0, [1 + (1 + 0.5**0.5) / 2, 1.5, 1 + (1 - 0.5**0.5) / 2, 1.0, 1.0]),
        (1, 0, [1.0, 1.0]),
        (4, 4, [0.5, 1.0, 1.5, 2.0, 1.0, 1.0]),
        (2, 4, [0.5, 1.0, 1.5, 2.0, 1.0, 1.0]),
        (5, 4, [0.5, 1.0, 1.5, 2.0, 1.0, 1.0]),
    ]:
        for step, rate in enumerate(right):
            got = lesson.learning_rate(step, steps=steps, warmup=warmup, peak_lr=2.0, final_lr=1.0)
            question = "How many steps lead down here? What if there are none, or fewer than none?"
            of = (
                f"the rate of step {step}, of {steps} steps with a warm-up of {warmup}, from 2 to 1"
            )
            expect(got, rate, of=of, ask=question)


# 2. parameter_groups


@check("parameter_groups", points=1)
def test_matrices_shrink_vectors_do_not(lesson, expect, draw):
    """What has two dimensions or more goes into the group that decays, the rest into the other."""
    sizes = {"a": (4, 3), "b": (3,), "c": (2, 3, 5), "d": (), "e": (1, 6), "f": (1,)}
    model = lesson.toy("parameters", {name: draw.normal(*size) for name, size in sizes.items()})
    groups = lesson.parameter_groups(model, 0.3)
    question = "Which group comes first, and what is the decay of each?"
    expect([group["weight_decay"] for group in groups], [0.3, 0.0], of="the decays", ask=question)
    names = lesson.toy("names in groups", model, lesson.keep(lesson.parameter_groups, model, 0.3))
    question = f"How many dimensions has each, with the sizes {sizes}?"
    right = [["a", "c", "e"], ["b", "d", "f"]]
    expect(names.read("names"), right, of="who is in the two groups", ask=question)


@check("parameter_groups", points=1)
def test_each_parameter_once(lesson, expect, draw):
    """A GPT's head is its token table: it stands there once. What is frozen is left out."""
    gpt = lesson.needed("model")
    model = gpt.GPT(gpt.GPTConfig(vocab_size=7, block_size=3, n_layer=1, n_head=2, n_embd=4))
    of_block = [f"transformer.h.0.{name}" for name in ("attn.c_attn", "attn.c_proj")]
    of_block += [f"transformer.h.0.{name}" for name in ("mlp.c_fc", "mlp.c_proj")]
    norms = ["transformer.h.0.ln_1", "transformer.h.0.ln_2", "transformer.ln_f"]
    tables = ["transformer.wpe", "transformer.wte"]
    matrices = sorted(f"{name}.weight" for name in [*of_block, *tables])
    vectors = [f"{name}.bias" for name in [*of_block, *norms]] + [f"{n}.weight" for n in norms]
    for frozen in (None, "transformer.wpe.weight", "transformer.ln_f.bias"):
        if frozen:
            getattr(model, frozen).requires_grad_(False)
            matrices = [name for name in matrices if name != frozen]
            vectors = [name for name in vectors if name != frozen]
        groups = lesson.keep(lesson.parameter_groups, model, 0.1)
        question = "Do you go through parameters or through names? The head has two names."
        of = f"who is in the groups of a GPT{f' with {frozen} frozen' if frozen else ''}"
        names = lesson.toy("names in groups", model, groups).read("names")
        expect(names, [matrices, sorted(vectors)], of=of, ask=question)


@check("parameter_groups", points=1)
def test_an_optimiser_takes_the_groups(lesson, expect, draw):
    """With gradients of 0 nothing moves but what decays: the matrices, and those alone."""
    weights = bigram_weights(draw, 5)
    model = lesson.toy("bigram model", 5).load(weights)
    groups = lesson.keep(lesson.parameter_groups, model, 0.25)
    model.fill_gradients(0.0)
    lesson.toy("sgd on groups", groups, 0.4).step()
    right = {**weights, "table.weight": weights["table.weight"] * (1 - 0.4 * 0.25)}
    question = "Does each group say how strongly it decays? Are these the model's own parameters?"
    expect_weights(expect, model, right, "after a step with gradients of 0", question)


# 3. train_step

# The model in these checks knows one token only: logits = scale * table[id] + bias. So a matrix, a
# single number and a vector learn, and plain torch can say what they should become.


def bigram_weights(draw, vocab_size):
    """Random weights for that model."""
    table, bias = draw.normal(vocab_size, vocab_size), draw.normal(vocab_size)
    return {"table.weight": table, "scale": draw.uniform(low=2.0, high=3.0), "bias": bias}


def bigram_loss(weights, batch):
    """Its mean loss over the targets of a batch that count."""
    logits = weights["scale"] * weights["table.weight"][batch[0]] + weights["bias"]
    return F.cross_entropy(logits.flatten(0, 1), batch[1].flatten(), ignore_index=-1)


def some_batches(draw, vocab_size, *shapes, ignored=()):
    """Batches of these shapes; in those with a number in `ignored`, most targets are -1."""
    batches = []
    for i, shape in enumerate(shapes):
        inputs, targets = draw.ids(vocab_size, *shape), draw.ids(vocab_size, *shape)
        if i in ignored:
            targets[:, 1:] = -1
        batches.append((inputs, targets))
    return batches


def one_big(batches):
    """All batches in one, of a single row."""
    inputs, targets = zip(*batches, strict=True)
    return tuple(torch.cat([part.flatten() for part in parts])[None] for parts in (inputs, targets))


def counts_of(batches):
    """How many targets count in each batch, as text."""
    return ", ".join(str(int((targets != -1).sum())) for _, targets in batches)


def torchs_steps(weights, steps, optimizer, max_norm=INF, factor=1.0, **options):
    """What torch makes of the weights, each step on one big batch: losses, lengths, weights."""
    learned = {name: weight.clone().requires_grad_() for name, weight in weights.items()}
    optimizer, losses, lengths = optimizer(learned.values(), **options), [], []
    for batches in steps:
        optimizer.zero_grad()
        loss = factor * bigram_loss(learned, one_big(batches))
        loss.backward()
        losses.append(loss.detach())
        lengths.append(nn.utils.clip_grad_norm_(learned.values(), max_norm))
        optimizer.step()
    return losses, lengths, {name: weight.detach() for name, weight in learned.items()}


def expect_weights(expect, model, right, when, question):
    """Compare the weights of a model, name by name."""
    weights = model.weights()
    for name, weight in right.items():
        expect(weights[name], weight, of=f"{name} {when}", ask=question)


def expect_step(expect, model, results, right, when, question):
    """Compare what a step gives, and what it makes of the model, with the last step of torch's."""
    two = isinstance(results, tuple | list) and len(results) == 2
    expect.true(two, "what comes back is not (loss, norm)", ask="What does your `return` give?")
    (loss, norm), (losses, lengths, after) = results, right
    expect(loss, losses[-1], of=f"the loss {when}", ask=question)
    expect(norm, lengths[-1], of=f"the length of the gradient {when}", ask=question)
    expect_weights(expect, model, after, f"after a step {when}", question)


@check("train_step", points=1)
def test_one_batch_is_one_step(lesson, expect, draw):
    """Loss, backward, step: with one batch it is what everybody writes down in torch."""
    weights = bigram_weights(draw, 6)
    for batches in some_batches(draw, 6, (2, 5)), some_batches(draw, 6, (1, 1)):
        model = lesson.toy("bigram model", 6).load(weights)
        results = lesson.train_step(model, lesson.toy("sgd", model, 0.5), batches, 1e6)
        right = torchs_steps(weights, [batches], torch.optim.SGD, lr=0.5)
        question = "In which order come `zero_grad`, the loss, `backward`, clipping and `step`?"
        when = f"with one batch of {counts_of(batches)} targets"
        expect_step(expect, model, results, right, when, question)


@check("train_step", points=2)
def test_many_small_batches_are_one_big(lesson, expect, draw):
    """Five sentences now and three later teach the same as eight at once, however uneven."""
    weights = bigram_weights(draw, 7)
    for batches in (
        some_batches(draw, 7, (2, 3), (2, 3)),
        some_batches(draw, 7, (3, 4), (1, 6), (2, 2)),
        some_batches(draw, 7, (4, 5), (2, 5), (1, 3), ignored=[0, 2]),
        some_batches(draw, 7, (2, 6), ignored=[0]),
    ):
        model = lesson.toy("bigram model", 7).load(weights)
        results = lesson.train_step(model, lesson.toy("sgd", model, 0.5), tuple(batches), 1e6)
        right = torchs_steps(weights, [batches], torch.optim.SGD, lr=0.5)
        question = "Which share of all targets has each micro-batch? What is its loss a mean of?"
        when = f"over micro-batches with {counts_of(batches)} targets that count"
        expect_step(expect, model, results, right, when, question)


@check("train_step", points=2)
def test_long_gradients_are_shortened(lesson, expect, draw):
    """One strange batch cannot throw the model far: its gradient is cut to max_norm, as a whole."""
    weights, batches = bigram_weights(draw, 5), some_batches(draw, 5, (3, 4), (1, 5), (2, 1))
    for max_norm, given in [(2.0, [2.0]), (1.0, []), (1e4, [1e4])]:
        model = lesson.toy("bigram model", 5, 0.0, 100.0).load(weights)  # its loss is 100-fold
        results = lesson.train_step(model, lesson.toy("sgd", model, 0.01), batches, *given)
        right = torchs_steps(weights, [batches], torch.optim.SGD, max_norm, 100.0, lr=0.01)
        question = "When is the gradient complete, how often is it cut, and when is it measured?"
        when = f"with max_norm = {max_norm:g}, where the gradient is {float(right[1][0]):.0f} long"
        expect_step(expect, model, results, right, when, question)


@check("train_step", points=1)
def test_each_step_begins_afresh(lesson, expect, draw):
    """Four steps with AdamW go where torch goes; gradients from before the first do not matter."""
    weights = bigram_weights(draw, 6)
    steps = [some_batches(draw, 6, (2, 4), (1, 3)) for _ in range(4)]
    model = lesson.toy("bigram model", 6).load(weights)
    model.fill_gradients(9.0)
    optimizer = lesson.toy("adamw", model, 0.1, 0.2)
    for number, batches in enumerate(steps, start=1):
        results = lesson.train_step(model, optimizer, batches, 1e6)
        adamw = {"lr": 0.1, "weight_decay": 0.2}
        right = torchs_steps(weights, steps[:number], torch.optim.AdamW, **adamw)
        question = "Which gradients are there when a step begins? How often does AdamW step in it?"
        expect_step(expect, model, results, right, f"with AdamW, number {number}", question)


@check("train_step", points=1)
def test_nothing_hangs_on_the_results(lesson, expect, draw):
    """The results are two numbers and no graph, and a frozen parameter stays what it was."""
    weights, batches = bigram_weights(draw, 5), some_batches(draw, 5, (2, 3), (1, 4))
    model = lesson.toy("bigram model", 5).load(weights)
    model.bias.requires_grad_(False)
    results = lesson.keep(lesson.train_step, model, lesson.toy("sgd", model, 0.3), batches, 1e6)
    question = "A graph keeps all that `backward` needs in memory. Which of the two has one?"
    of = "whether a graph hangs on (loss, norm)"
    expect(lesson.toy("graphs", results).read("flags"), [False, False], of=of, ask=question)
    _, _, after = torchs_steps(weights, [batches], torch.optim.SGD, lr=0.3)
    right = {**after, "bias": weights["bias"]}
    question = "What is the gradient of a frozen parameter? Do the others still learn?"
    expect_weights(expect, model, right, "after a step with a frozen bias", question)


# 4. estimate_loss


@check("estimate_loss", points=1)
def test_every_target_counts_the_same(lesson, expect, draw):
    """Long texts and short ones, with gaps or without: the mean is over targets, not batches."""
    weights = bigram_weights(draw, 7)
    for batches in (
        some_batches(draw, 7, (2, 4)),
        some_batches(draw, 7, (5, 6), (1, 2)),
        some_batches(draw, 7, (3, 6), (2, 2), ignored=[0]),
        some_batches(draw, 7, (4, 5), (1, 3), (3, 2), ignored=[0, 2]),
    ):
        model = lesson.toy("bigram model", 7).load(weights)
        right = float(bigram_loss(weights, one_big(batches)))
        of = f"the mean loss over batches with {counts_of(batches)} targets that count"
        question = "If one target of a single batch is very surprising, how much may it weigh?"
        expect(lesson.estimate_loss(model, batches), right, of=of, ask=question)


@check("estimate_loss", points=1)
def test_dropout_rests(lesson, expect, draw):
    """Nothing is left to chance while measuring, and each part is in its own mode again after it."""
    weights, batches = bigram_weights(draw, 6), some_batches(draw, 6, (3, 5), (3, 5))
    right = float(bigram_loss(weights, one_big(batches)))
    model = lesson.toy("bigram model", 6, 0.5).load(weights)
    parts = ("training", "drop.training", "table.training")
    for way in ("all in training", "all in evaluation", "the table in evaluation"):
        if way == "the table in evaluation":
            model.train()
            model.table.eval()
        elif way == "all in evaluation":
            model.eval()
        before = [model.read(part) for part in parts]
        loss = lesson.estimate_loss(model, batches)
        question = "Is dropout off while you measure?"
        expect(loss, right, of=f"the loss of a model with dropout, {way}", ask=question)
        question = "How was each part before: the model, its dropout, its table?"
        of = f"`training` of the model, its dropout and its table afterwards ({way} before)"
        expect([model.read(part) for part in parts], before, of=of, ask=question)


@check("estimate_loss", points=1)
def test_nothing_has_happened(lesson, expect, draw):
    """Gradients, weights and random numbers are as before, and a stream is read but once."""
    weights, batches = bigram_weights(draw, 5), some_batches(draw, 5, (2, 4), (2, 4))
    model = lesson.toy("bigram model", 5, 0.5).load(weights)
    model.fill_gradients(0.25)
    model.bias.requires_grad_(False)
    chance, stream = lesson.toy("chance"), lesson.toy("stream", batches)
    right = float(bigram_loss(weights, one_big(batches)))
    question = "Can you go through a stream twice, or ask for its length?"
    expect(lesson.estimate_loss(model, stream), right, of="the loss of a stream", ask=question)
    expect(chance.read("untouched"), True, of="whether no random number has been drawn")
    gradients = [model.read(f"{name}.grad") for name in weights]
    question = "Whose gradients are these? Somebody may still need them."
    symptom = "the gradients that were there before are gone"
    expect.true(all(isinstance(g, torch.Tensor) for g in gradients), symptom, ask=question)
    kept = [torch.full_like(weight, 0.25) for weight in weights.values()]
    expect(gradients, kept, of="the gradients that were there before", ask=question)
    flags = [model.read(f"{name}.requires_grad") for name in weights]
    expect(flags, [True, True, False], of="`requires_grad` of table, scale and bias")
    expect_weights(expect, model, weights, "after the measurement", "Who changes weights here?")


@check("estimate_loss", points=1)
def test_modes_return_after_an_error(lesson, expect, draw):
    """Also when a batch cannot be read, the model goes on learning with dropout on."""
    model = lesson.toy("bigram model", 5, 0.5)
    model.scale.requires_grad_(False)
    for breaks_at in (0, 2):
        stream = lesson.toy("stream", some_batches(draw, 5, (2, 3), (1, 4), (1, 2)), breaks_at)
        with expect.raises(ValueError, "for a stream whose batches cannot be read"):
            lesson.estimate_loss(model, stream)
        modes = [model.read("training"), model.read("drop.training")]
        question = "Which word of Python runs a line in any case, also after an error?"
        expect(modes, [True, True], of="`training` of the model and its dropout", ask=question)


# 5. should_stop


@check("should_stop", points=1)
def test_patience_runs_out(lesson, expect, draw):
    """When the last evaluations all failed to beat the best one before them, it is time to stop."""
    for losses, patience, right in [
        ([3.0, 2.0, 2.5, 2.25], 2, True),
        ([3.0, 2.0, 2.5, 1.75], 2, False),
        ([3.0, 2.0, 1.75, 2.5], 2, False),  # the first of the last two was the best of all
        ([3.0, 2.0, 2.5, 2.25], 3, False),
        ([2.0, 3.0, 2.5, 2.25], 3, True),  # better each time, and never as good as the first
        ([2.0, 3.0, 2.5, 2.25], 1, True),
        ([3.0, 3.0, 3.0], 2, True),  # as good as the best is no progress
        ((4.0, 3.0, 2.0, 1.0), 1, False),
    ]:
        question = "Which is the best loss before the last ones? Does any of the last beat it?"
        of = f"should_stop({list(losses)}, patience={patience})"
        expect(lesson.should_stop(losses, patience), right, of=of, ask=question)


@check("should_stop", points=1)
def test_no_hurry(lesson, expect, draw):
    """With a patience of 0 training never stops early, nor while there is nothing to compare."""
    for losses, patience, right in [
        ([1.0, 2.0, 3.0], 0, False),
        ([], 0, False),
        ([], 2, False),
        ([2.0], 1, False),
        ([2.0, 3.0], 2, False),
        ([2.0, 3.0], 5, False),
        ([2.0, 3.0, 4.0], 2, True),  # one to compare with, and two that failed
        ([2.0, 3.0], 1, True),
    ]:
        question = "How many losses must there be before the last ones can be compared?"
        of = f"should_stop({losses}, patience={patience})"
        expect(lesson.should_stop(losses, patience), right, of=of, ask=question)


@check("should_stop", points=1)
def test_small_gains_are_none(lesson, expect, draw):
    """A gain counts if it is larger than min_delta, measured from the best loss before."""
    for losses, patience, min_delta, right in [
        ([3.0, 2.875], 1, 0.25, True),
        ([3.0, 2.75], 1, 0.25, True),  # exactly min_delta is not more than it
        ([3.0, 2.5], 1, 0.25, False),
        ([3.0, 2.875, 2.5], 2, 0.25, False),  # two small gains are one large one
        ([3.0, 2.875, 2.6875], 1, 0.25, True),  # and this one begins at 2.875
        ([3.0, 2.5, 2.625, 2.5], 2, 0.0, True),
        ([2.0, 2.125], 1, 0.25, True),
    ]:
        question = "By how much is the best of the last lower than the best before them?"
        of = f"should_stop({losses}, patience={patience}, min_delta={min_delta})"
        expect(lesson.should_stop(losses, patience, min_delta), right, of=of, ask=question)


@check("should_stop", points=1)
def test_nan_beats_nothing(lesson, expect, draw):
    """A run whose loss has become nan makes no progress, and any number is progress after nan."""
    for losses, patience, right in [
        ([3.0, NAN, NAN], 2, True),
        ([3.0, NAN, 2.0], 2, False),
        ([3.0, 2.0, NAN], 2, False),
        ([NAN, 3.0], 1, False),
        ([NAN, 3.0, 2.0], 1, False),
        ([NAN, 2.0, 3.0], 1, True),
        ([2.0, NAN, 3.0], 1, True),
        ([NAN, NAN, NAN], 2, True),
        ([3.0, INF, INF], 2, True),
    ]:
        question = "What do `nan < 2`, `nan > 2` and `min([nan, 2])` give in Python?"
        of = f"should_stop({losses}, patience={patience})"
        expect(lesson.should_stop(losses, patience), right, of=of, ask=question)


@check("should_stop", points=1)
def test_the_loop_learns(lesson, expect, draw):
    """All five together, in the given `fit`: a small model learns, and stops when it is done."""
    weights, validation = bigram_weights(draw, 6), some_batches(draw, 6, (3, 5), (1, 2))
    steps = [some_batches(draw, 6, (2, 4), (1, 3)) for _ in range(3)]
    learned = {name: weight.clone().requires_grad_() for name, weight in weights.items()}
    vectors = {"params": [learned["scale"], learned["bias"]], "weight_decay": 0.0}
    groups = [{"params": [learned["table.weight"]]}, vectors]
    optimizer, right = torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=0.1), []
    for step in range(24):
        rate = 0.05 * (step + 1) if step < 4 else 0.15 + 0.05 * math.cos(math.pi * (step - 3) / 20)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        bigram_loss(learned, one_big(steps[step % 3])).backward()
        nn.utils.clip_grad_norm_(learned.values(), 1.0)
        optimizer.step()
        if step % 3 == 2:
            right.append(float(bigram_loss(learned, one_big(validation)).detach()))
    failed = [min(right[i : i + 2]) >= min(right[:i]) for i in range(1, len(right) - 1)]
    end = failed.index(True) + 3 if True in failed else len(right)
    plan = {"steps": 24, "warmup": 4, "peak_lr": 0.2, "final_lr": 0.1}
    model = lesson.toy("bigram model", 6).load(weights)
    batches, config = lesson.toy("batches of step", steps), lesson.TrainConfig(**plan, patience=2)
    history = lesson.fit(model, batches, config, validation, 3)
    losses = [row["val_loss"] for row in history]
    question = "Do your five functions pass one by one? Their own checks stand above this one."
    expect(losses, right[:end], of="the validation losses of `fit`", ask=question, tolerance=1e-4)


# stretch


@check("train_step_mixed", points=1)
def test_same_step_in_half_precision(lesson, expect, draw):
    """The forward pass runs in half precision, and all else is as in train_step."""
    weights = bigram_weights(draw, 6)
    batches = some_batches(draw, 6, (3, 4), (1, 5), (2, 3), ignored=[2])
    float16 = lesson.toy("dtype", "float16")
    for name, max_norm, given in [("bfloat16", 1.0, []), ("float16", 2.0, [2.0, float16])]:
        model = lesson.toy("bigram model", 6, 0.0, 100.0).load(weights)  # its loss is 100-fold
        model.fill_gradients(9.0)
        optimizer = lesson.toy("sgd", model, 0.1)
        results = lesson.train_step_mixed(model, optimizer, batches, *given)
        question = (
            "Is the call of the model inside `with torch.autocast(...)`, with the dtype given?"
        )
        of = "the precision of autocast in the forward passes"
        expect(model.read("precisions"), [name] * 3, of=of, ask=question)
        right = torchs_steps(weights, [batches], torch.optim.SGD, max_norm, 100.0, lr=0.1)
        question = "What does `train_step` do that is missing here?"
        expect_step(expect, model, results, right, f"in {name}", question)
    bias = model.read("bias")
    model.bias.requires_grad_(False)
    results = lesson.keep(lesson.train_step_mixed, model, optimizer, batches)
    flags = lesson.toy("graphs", results).read("flags")
    expect(flags, [False, False], of="whether a graph hangs on (loss, norm)")
    expect(model.read("bias"), bias, of="the frozen bias", ask="What is its gradient?")


@check("train_step_mixed", points=1)
def test_whispers_survive(lesson, expect, draw):
    """Gradients too small for fp16 arrive if the loss is scaled, and come back to their own size."""
    weights, float16 = bigram_weights(draw, 5), lesson.toy("dtype", "float16")
    steps = [some_batches(draw, 5, (2, 3), (1, 4)) for _ in range(3)]
    model = lesson.toy("bigram model", 5, 0.0, 1e-7, True).load(weights)  # a tiny loss
    optimizer, scaler = lesson.toy("sgd", model, 1e6), lesson.LossScaler(2.0**22, 2)
    scales = [(2.0**22, 1), (2.0**23, 0), (2.0**23, 1)]  # it doubles after two good steps
    for number, scale in enumerate(scales, start=1):
        batches = steps[number - 1]
        results = lesson.train_step_mixed(model, optimizer, batches, 1e-3, float16, scaler)
        right = torchs_steps(weights, steps[:number], torch.optim.SGD, factor=1e-7, lr=1e6)
        question = "Who multiplies by the scale, who divides by it, and which of it is returned?"
        expect_step(expect, model, results, right, f"with a scaler, number {number}", question)
        state = (scaler.read("scale"), scaler.read("good_steps"))
        of = f"scale and good steps of the scaler after step number {number}"
        expect(state, scale, of=of, ask="How often is the scaler told about a step?")


@check("train_step_mixed", points=1)
def test_an_overflow_leaves_the_step_out(lesson, expect, draw):
    """Where a gradient is inf or nan no weight moves, and the scale halves for the next step."""
    weights, batches = bigram_weights(draw, 5), some_batches(draw, 5, (2, 3), (1, 4))
    broken = {**weights, "scale": torch.tensor(NAN)}
    for start, scale, half in [(weights, 2.0**41, True), (broken, 4.0, False)]:
        model = lesson.toy("bigram model", 5, 0.0, 1.0, half).load(start)
        optimizer, scaler = lesson.toy("adamw", model, 0.1, 0.2), lesson.LossScaler(scale, 2)
        float16 = lesson.toy("dtype", "float16")
        lesson.train_step_mixed(model, optimizer, batches, 1.0, float16, scaler)
        what = "inf" if half else "nan"
        question = "Which number tells you, after all gradients have been looked at?"
        expect_weights(expect, model, start, f"after gradients with {what}", question)
        of = f"the scale after gradients with {what}"
        expect(scaler.read("scale"), scale / 2, of=of, ask="Is the scaler told what happened?")
    model = lesson.toy("bigram model", 5).load(broken)
    lesson.train_step_mixed(model, lesson.toy("adamw", model, 0.1, 0.2), batches)
    question = "Does a step without a scaler look at its gradients, too?"
    expect_weights(expect, model, broken, "after gradients with nan, without a scaler", question)


def levelled(matrix, iterations=5):
    """What Newton and Schulz make of the singular values, one by one: no product of matrices."""
    u, values, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    values = values / values.square().sum().sqrt()
    for _ in range(iterations):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return u @ values.diag() @ v


@check("orthogonalize", points=1)
def test_singular_values_are_levelled(lesson, expect, draw):
    """Each singular value goes its way through the polynomial; the directions stay."""
    for rows, columns in [(3, 7), (4, 4), (1, 5)]:
        matrix = draw.normal(rows, columns, scale=3.0)
        for iterations in (1, 2, 5, 0):
            question = "What are A, b A + c A A, and the next X? How long is the first X?"
            of = f"a ({rows}, {columns}) matrix after {iterations} iterations"
            got = lesson.orthogonalize(matrix, iterations)
            right = levelled(matrix, iterations).float()
            expect(got, right, of=of, ask=question, tolerance=1e-4)
        expect(
            lesson.orthogonalize(matrix),
            levelled(matrix).float(),
            of=f"a ({rows}, {columns}) matrix, iterations left out",
            ask="How many iterations are there by default?",
            tolerance=1e-4,
        )


@check("orthogonalize", points=1)
def test_any_shape_and_scale(lesson, expect, draw):
    """Tall matrices come back tall, long ones as short ones, and nothing stays nothing."""
    for (rows, columns), scale in itertools.product([(7, 3), (5, 1), (2, 6)], (0.1, 1.0, 1e4)):
        matrix = draw.normal(rows, columns, scale=scale)
        question = "What does the first step do to a matrix that is ten times as large?"
        got, of = lesson.orthogonalize(matrix), f"a ({rows}, {columns}) matrix of scale {scale:g}"
        expect(got, levelled(matrix).float(), of=of, ask=question, tolerance=1e-4)
    for rows, columns in [(2, 3), (4, 2)]:
        zeros = torch.zeros(rows, columns)
        of = f"a ({rows}, {columns}) matrix of zeros"
        expect(lesson.orthogonalize(zeros), zeros, of=of, ask="What is 0 / 0?")


def muons_step(weight, gradient, momentum, lr, beta, decay):
    """One step of Muon in float64, by singular values: returns weight and momentum."""
    momentum = beta * momentum + (1 - beta) * gradient.double()
    ahead = beta * momentum + (1 - beta) * gradient.double()
    rows, columns = weight.shape
    size = math.sqrt(rows / columns) if rows > columns else 1.0
    return weight.double() * (1 - lr * decay) - lr * size * levelled(ahead), momentum


def new_muon(lesson, weights, **options):
    """A holder of these weights, and a Muon on them."""
    holder = lesson.toy("parameters", weights)
    muon = lesson.Muon(lesson.toy("parameters of", holder, list(weights)), **options)
    return holder, muon


@check("Muon.step", points=1)
def test_one_step_by_singular_values(lesson, expect, draw):
    """In a step a matrix moves equally far in all its directions; a tall one moves further."""
    sizes = {"wide": (2, 6), "tall": (6, 2), "square": (3, 3)}
    weights = {name: draw.normal(*size) for name, size in sizes.items()}
    gradients = {name: draw.normal(*size, scale=5.0) for name, size in sizes.items()}
    holder, muon = new_muon(lesson, weights, lr=0.5, momentum=0.9)
    holder.pull(gradients)
    muon.step()
    for name, weight in weights.items():
        right, _ = muons_step(weight, gradients[name], 0.0, 0.5, 0.9, 0.0)
        question = "Which of rows and columns is divided by which? Do you add or subtract?"
        of = f"a {name} matrix, {sizes[name]}, after one step"
        got = holder.weights()[name]
        expect(got, right.float(), of=of, ask=question, tolerance=1e-4)


@check("Muon.step", points=1)
def test_momentum_looks_ahead(lesson, expect, draw):
    """Each matrix remembers where it was going, mixes in where it should go, and decays first."""
    sizes = {"a": (3, 5), "b": (5, 3)}
    weights = {name: draw.normal(*size) for name, size in sizes.items()}
    holder, muon = new_muon(lesson, weights, lr=0.3, momentum=0.7, weight_decay=0.4)
    right, momentum = dict(weights), dict.fromkeys(weights, 0.0)
    for number in range(3):
        gradients = {name: draw.normal(*size) for name, size in sizes.items()}
        holder.pull(gradients)
        muon.step()
        for name in weights:
            right[name], momentum[name] = muons_step(
                right[name], gradients[name], momentum[name], 0.3, 0.7, 0.4
            )
            question = "Which three things are mixed, with which shares? Whose momentum is it?"
            got, of = holder.weights()[name], f"matrix {name} after step {number}"
            expect(got, right[name].float(), of=of, ask=question, tolerance=1e-4)


@check("Muon.step", points=1)
def test_muon_has_groups(lesson, expect, draw):
    """Each group has its own settings, and what has no gradient stays where it is."""
    weights = {name: draw.normal(4, 3) for name in ("a", "b", "c")}
    holder = lesson.toy("parameters", weights)
    second = {"params": ["c"], "lr": 0.1, "momentum": 0.5, "weight_decay": 0.8}
    groups = lesson.toy("groups of parameters", holder, [{"params": ["a", "b"]}, second])
    muon = lesson.Muon(groups, lr=0.4)
    right, momentum = dict(weights), dict.fromkeys(weights, 0.0)
    options = {"a": (0.4, 0.95, 0.0), "b": (0.4, 0.95, 0.0), "c": (0.1, 0.5, 0.8)}
    for learning in ("ac", "bc", "abc"):
        gradients = {name: draw.normal(4, 3) for name in learning}
        holder.pull(gradients)
        muon.step()
        for name, gradient in gradients.items():
            right[name], momentum[name] = muons_step(
                right[name], gradient, momentum[name], *options[name]
            )
        for name in weights:
            question = "Where do lr, momentum and weight_decay of a matrix stand?"
            of = f"matrix {name} after a step with gradients for {', '.join(learning)}"
            got = holder.weights()[name]
            expect(got, right[name].float(), of=of, ask=question, tolerance=1e-4)

"""Hidden checks for lesson 07, the trainer: other plans, models and batches, many steps."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from grader.instructor.guards import guard

NAN, INF = math.nan, math.inf


def right_rate(step, steps, warmup, peak, final):
    """Up a line, down half a cosine."""
    if step < warmup:
        return peak * (step + 1) / warmup
    way = min(1.0, (step - warmup + 1) / (steps - warmup)) if steps > warmup else 1.0
    return final + (peak - final) * (1 + math.cos(math.pi * way)) / 2


@guard("test_descent_is_torchs_cosine")
def guard_rates_of_any_plan(lesson, expect, draw):
    """Long plans and short ones by turns, steps in any order, on the way up, down and beyond."""
    plans = [(draw.integer(100, 5000), draw.integer(10, 90)), (draw.integer(9, 20), 0), (7, 7)]
    plans += [(3, draw.integer(8, 20)), (draw.integer(10**5, 10**6), 2000)]
    for number in range(60):
        steps, warmup = plans[number % len(plans)]
        peak, final = (float(n) for n in draw.uniform(2, low=0.1, high=1.0) * 1e-2)
        low, high = [(0, warmup), (warmup, steps), (steps - 2, steps + 99)][draw.integer(0, 2)]
        step = draw.integer(max(0, low), max(0, low, high))
        got = lesson.learning_rate(
            step, steps=steps, warmup=warmup, peak_lr=peak, final_lr=min(peak, final)
        )
        right = right_rate(step, steps, warmup, peak, min(peak, final))
        expect(got, right, of=f"the rate of step {step}, of {steps} with {warmup} climbing")


@guard("test_matrices_shrink_vectors_do_not")
def guard_groups_of_other_models(lesson, expect, draw):
    """Other parameters in any order, some frozen, and an untied GPT of other sizes."""
    sizes = {"a": (1, 1), "b": (5,), "c": (2, 1, 1, 2), "d": (6, 2), "e": (), "f": (7,), "g": (1,)}
    names = [list(sizes)[i] for i in draw.random.permutation(len(sizes))]
    frozen = names[draw.integer(0, len(names) - 1)]
    model = lesson.toy("parameters", {name: draw.normal(*sizes[name]) for name in names})
    getattr(model, frozen).requires_grad_(False)
    learning = [name for name in sorted(names) if name != frozen]
    right = [[n for n in learning if (len(sizes[n]) >= 2) == first] for first in (True, False)]
    groups = lesson.keep(lesson.parameter_groups, model, 0.07)
    expect(lesson.toy("names in groups", model, groups).read("names"), right, of="the groups")
    decays = [group["weight_decay"] for group in lesson.parameter_groups(model, 0.07)]
    expect(decays, [0.07, 0.0], of="the decays")
    gpt = lesson.needed("model")
    shape = {"vocab_size": 9, "block_size": 4, "n_layer": 2, "n_head": 1, "n_embd": 3}
    model = gpt.GPT(gpt.GPTConfig(**shape, tie_weights=False))
    weights = model.weights()
    right = [sorted(n for n in weights if (weights[n].dim() >= 2) == first) for first in (1, 0)]
    groups = lesson.keep(lesson.parameter_groups, model, 0.2)
    names = lesson.toy("names in groups", model, groups).read("names")
    expect(names, right, of="the groups of a GPT with a head of its own")


def bigram_weights(draw, vocab_size):
    """Random weights for the toy that knows one token only: logits = scale * table[id] + bias."""
    table, bias = draw.normal(vocab_size, vocab_size), draw.normal(vocab_size)
    return {"table.weight": table, "scale": draw.uniform(low=1.5, high=2.5), "bias": bias}


def some_batches(draw, vocab_size, count):
    """Batches of any sizes, in some of which most targets do not count."""
    batches = []
    for _ in range(count):
        shape = draw.integer(1, 6), draw.integer(1, 9)
        inputs, targets = draw.ids(vocab_size, *shape), draw.ids(vocab_size, *shape)
        if draw.integer(0, 2) == 0:
            targets[:, 1:] = -1
        batches.append((inputs, targets))
    return batches


def bigram_loss(weights, batches):
    """The toy's mean loss over all targets that count, in 64 bits."""
    inputs, targets = (torch.cat([batch[i].flatten() for batch in batches]) for i in (0, 1))
    logits = weights["scale"] * weights["table.weight"][inputs] + weights["bias"]
    return F.cross_entropy(logits, targets, ignore_index=-1)


class Torchs:
    """The same model, trained by torch in 64 bits."""

    def __init__(self, weights, optimizer, **options):
        self.weights = {n: w.double().requires_grad_() for n, w in weights.items()}
        self.optimizer = optimizer(self.weights.values(), **options)

    def step(self, batches, max_norm, factor=1.0):
        """Returns loss, length of the gradient and weights after a step on one big batch."""
        self.optimizer.zero_grad()
        loss = factor * bigram_loss(self.weights, batches)
        loss.backward()
        length = nn.utils.clip_grad_norm_(self.weights.values(), max_norm)
        self.optimizer.step()
        after = {name: weight.detach().float() for name, weight in self.weights.items()}
        return loss.detach().float(), length.float(), after


def expect_step(expect, model, results, right, of):
    """Compare a step with torch's."""
    expect(list(results), list(right[:2]), of=f"(loss, norm) of {of}", tolerance=1e-4)
    after = model.weights()
    for name, weight in right[2].items():
        expect(after[name], weight, of=f"{name} after {of}", tolerance=1e-4)


@guard("test_many_small_batches_are_one_big")
def guard_any_batches_are_one_big(lesson, expect, draw):
    """Two models take turns, over any number of micro-batches of any sizes, step after step."""
    both = []
    for vocab_size in (draw.integer(11, 20), 3):
        weights = bigram_weights(draw, vocab_size)
        model = lesson.toy("bigram model", vocab_size).load(weights)
        torchs = Torchs(weights, torch.optim.SGD, lr=0.4)
        both.append((vocab_size, model, lesson.toy("sgd", model, 0.4), torchs))
    for count in (9, 1, 4, 2, 6):
        for vocab_size, model, optimizer, torchs in both:
            batches = some_batches(draw, vocab_size, count)
            results = lesson.train_step(model, optimizer, batches, 1e6)
            of = f"a step over {count} micro-batches"
            expect_step(expect, model, results, torchs.step(batches, 1e6), of)


@guard("test_long_gradients_are_shortened")
def guard_gradients_of_any_length(lesson, expect, draw):
    """Gradients far above, just above and below any max_norm, step after step."""
    for factor, max_norm in [(300.0, draw.integer(2, 9) / 4), (1.0, 1e-2), (1.0, 50.0)]:
        vocab_size = draw.integer(6, 12)
        weights = bigram_weights(draw, vocab_size)
        model = lesson.toy("bigram model", vocab_size, 0.0, factor).load(weights)
        optimizer, torchs = (
            lesson.toy("sgd", model, 0.02),
            Torchs(weights, torch.optim.SGD, lr=0.02),
        )
        for count in (5, 2, 1):
            batches = some_batches(draw, vocab_size, count)
            results = lesson.train_step(model, optimizer, batches, max_norm)
            right = torchs.step(batches, max_norm, factor)
            of = f"a step with max_norm {max_norm:g}, the gradient being {float(right[1]):.3g} long"
            expect_step(expect, model, results, right, of)


@guard("test_each_step_begins_afresh")
def guard_twelve_steps_with_adamw(lesson, expect, draw):
    """A dozen steps with AdamW go where torch goes."""
    weights = bigram_weights(draw, 9)
    model = lesson.toy("bigram model", 9).load(weights)
    optimizer = lesson.toy("adamw", model, 0.03, 0.3)
    torchs = Torchs(weights, torch.optim.AdamW, lr=0.03, weight_decay=0.3)
    for number in range(1, 13):
        # every token stands there: AdamW makes much of a gradient that is nearly 0
        batches = [*some_batches(draw, 9, 2), (torch.arange(9)[None], draw.ids(9, 1, 9))]
        results = lesson.train_step(model, optimizer, batches, 0.7)
        of = f"step {number} with AdamW"
        expect_step(expect, model, results, torchs.step(batches, 0.7), of)


@guard("test_every_target_counts_the_same")
def guard_losses_over_any_batches(lesson, expect, draw):
    """Two models take turns over any number of batches, as lists and as streams."""
    both = []
    for vocab_size in (draw.integer(10, 30), 4):
        weights = bigram_weights(draw, vocab_size)
        model = lesson.toy("bigram model", vocab_size, 0.3).load(weights)
        both.append((vocab_size, weights, model))
    for count in (12, 1, 5):
        for vocab_size, weights, model in both:
            batches = some_batches(draw, vocab_size, count)
            right = float(bigram_loss({n: w.double() for n, w in weights.items()}, batches))
            for given in (batches, lesson.toy("stream", batches), batches):
                expect(lesson.estimate_loss(model, given), right, of=f"the loss of {count} batches")
            expect(model.read("drop.training"), True, of="`training` of the dropout afterwards")


def right_stop(losses, patience, min_delta):
    """Whether it is time to stop, by the docstring."""
    known = [INF if math.isnan(loss) else loss for loss in losses]
    if patience == 0 or len(known) <= patience:
        return False
    return not min(known[-patience:]) < min(known[:-patience]) - min_delta


@guard("test_patience_runs_out")
def guard_any_patience_runs_out(lesson, expect, draw):
    """Sixty runs of losses, with any patience; gains of any size, and nan among the losses."""
    for number in range(60):
        # quarters: every difference is exact
        losses = [n / 4 for n in draw.ids(12, draw.integer(1, 14)).tolist()]
        if number % 3 == 0:
            losses[draw.integer(0, len(losses) - 1)] = NAN
        patience, min_delta = draw.integer(0, 6), draw.integer(0, 3) / 4
        of = f"should_stop({losses}, patience={patience}, min_delta={min_delta})"
        right = right_stop(losses, patience, min_delta)
        expect(lesson.should_stop(losses, patience, min_delta), right, of=of)


@guard("test_same_step_in_half_precision")
def guard_mixed_steps_over_any_batches(lesson, expect, draw):
    """Several steps over any batches, with a scaler and without, in either half precision."""
    for name, scaled in [("bfloat16", False), ("float16", True)]:
        vocab_size, dtype = draw.integer(8, 14), lesson.toy("dtype", name)
        weights = bigram_weights(draw, vocab_size)
        model = lesson.toy("bigram model", vocab_size).load(weights)
        optimizer, torchs = lesson.toy("sgd", model, 0.3), Torchs(weights, torch.optim.SGD, lr=0.3)
        given = [lesson.LossScaler(2.0**12, 3)] if scaled else []
        for count in (4, 1, 7):
            batches = some_batches(draw, vocab_size, count)
            results = lesson.train_step_mixed(model, optimizer, batches, 0.5, dtype, *given)
            of = f"a step in {name} over {count} micro-batches"
            expect_step(expect, model, results, torchs.step(batches, 0.5), of)
        if scaled:
            expect(given[0].read("scale"), 2.0**13, of="the scale after three good steps")


def levelled(matrix, iterations=5):
    """What Newton and Schulz make of the singular values, one by one: no product of matrices."""
    u, values, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    values = values / values.square().sum().sqrt()
    for _ in range(iterations):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return u @ values.diag() @ v


@guard("test_any_shape_and_scale")
def guard_matrices_of_any_size(lesson, expect, draw):
    """Larger matrices, wide and tall, one after the other and the first one again."""
    sizes = [
        (draw.integer(8, 14), draw.integer(20, 40)),
        (draw.integer(20, 40), draw.integer(8, 14)),
    ]
    matrices = [draw.normal(*size, scale=draw.integer(1, 50)) for size in [*sizes, (9, 9), (1, 1)]]
    for matrix in [*matrices, matrices[0]]:
        for iterations in (5, 3):
            of = f"a matrix {tuple(matrix.shape)} after {iterations} iterations"
            right = levelled(matrix, iterations).float()
            # five times a slope of 3.4: what 32 bits round off grows 500-fold
            expect(lesson.orthogonalize(matrix, iterations), right, of=of, tolerance=1e-3)


@guard("test_momentum_looks_ahead")
def guard_many_steps_of_muon(lesson, expect, draw):
    """Two optimisers take turns for five steps, on matrices of other sizes."""
    both = []
    for size, options in [((4, 9), (0.2, 0.8, 0.1)), ((11, 5), (0.05, 0.6, 0.0))]:
        weight = draw.normal(*size)
        holder = lesson.toy("parameters", {"w": weight})
        made = dict(zip(("lr", "momentum", "weight_decay"), options, strict=True))
        muon = lesson.Muon(lesson.toy("parameters of", holder, ["w"]), **made)
        both.append([holder, muon, options, weight.double(), 0.0])
    for number in range(5):
        for state in both:
            holder, muon, (lr, beta, decay), weight, momentum = state
            gradient = draw.normal(*weight.shape)
            holder.pull({"w": gradient})
            muon.step()
            momentum = beta * momentum + (1 - beta) * gradient.double()
            ahead = beta * momentum + (1 - beta) * gradient.double()
            size = max(1.0, weight.shape[0] / weight.shape[1]) ** 0.5
            weight = weight * (1 - lr * decay) - lr * size * levelled(ahead)
            state[3:] = weight, momentum
            of = f"a matrix {tuple(weight.shape)} after step {number}"
            expect(holder.weights()["w"], weight.float(), of=of, tolerance=1e-3)

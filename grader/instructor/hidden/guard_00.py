"""Hidden checks for lesson 00, tensors by doing: other sizes, other dtypes, calls that come again."""

import math
from collections import Counter
from itertools import pairwise

import torch
import torch.nn.functional as F

from grader.checks import grad
from grader.instructor.guards import guard


def some_rows(draw, n, vocab_size, scale=1.0):
    """Random logits and targets; the first target is unlikely: a loss near 0 has no digits."""
    logits, targets = draw.normal(n, vocab_size, scale=scale), draw.ids(vocab_size, n)
    targets[0] = logits[0].argmin()
    return logits, targets


@guard("test_any_dimension_can_sum_to_one")
def guard_softmax_of_any_shape(lesson, expect, draw):
    """Any shape, any dimension, also where a dimension is 1, and the same again afterwards."""
    some = [draw.integer(6, 30) for _ in range(4)]
    for shape in [some[:1], some[:2], (2, some[2], 3, some[3]), (1, some[0]), (some[1], 1), (1,)]:
        logits = draw.normal(*shape, scale=2.0)
        for dim in (*range(len(shape)), -len(shape), 0):
            right = torch.softmax(logits.double(), dim).float()
            of = f"softmax of a {tuple(shape)} tensor with dim={dim}"
            expect(lesson.softmax(logits, dim), right, of=of)


@guard("test_any_dimension_can_sum_to_one")
def guard_softmax_keeps_the_dtype(lesson, expect, draw):
    """64 bits go in, 64 bits come out."""
    logits = draw.normal(4, draw.integer(6, 12)).double()
    expect(lesson.softmax(logits), torch.softmax(logits, -1), of="softmax of a float64 tensor")
    expect(lesson.softmax(logits, 0), torch.softmax(logits, 0), of="softmax of it with dim=0")


@guard("test_large_logits_stay_finite")
def guard_large_logits_anywhere(lesson, expect, draw):
    """Levels of any height in any row, along any dimension, beside -inf."""
    for dim in (0, 1, 2):
        # steps of 40: beside the largest of a row the others are below 1e-17
        ranks = torch.arange(105).view(3, 5, 7)
        ranks = torch.from_numpy(draw.random.permuted(ranks.numpy(), axis=dim))
        level = 100 * draw.ids(100, *ranks.select(dim, 0).unsqueeze(dim).shape) - 9000
        logits = (40 * ranks + level).float()
        first = logits.select(dim, 0)
        first[draw.mask(*first.shape, share=0.2)] = -math.inf
        right = torch.softmax(logits, dim)
        expect(lesson.softmax(logits, dim), right, of=f"softmax of large logits along {dim}")


@guard("test_softmax_passes_gradients_on")
def guard_softmax_gradients_of_any_shape(lesson, expect, draw):
    """Gradients at other shapes; the result under autograd is the result without."""
    for shape, dim in [((draw.integer(5, 9),), 0), ((4, draw.integer(5, 9)), 1), ((2, 3, 6), -2)]:
        logits = draw.normal(*shape)
        mine = lesson.grad(lesson.softmax, logits, dim=dim)
        right = grad(torch.softmax, logits.double(), dim=dim)
        of = f"a softmax of {shape} along {dim}"
        expect(mine["result"], torch.softmax(logits, dim), of=of)
        gradient = right["arguments"][0].float()
        expect(mine["arguments"][0], gradient, of=f"the gradient of {of}")


@guard("test_loss_is_torchs_loss")
def guard_loss_of_any_size(lesson, expect, draw):
    """Many rows or one, a large vocabulary or two tokens, thirty calls one after the other."""
    sizes = [(draw.integer(30, 90), draw.integer(60, 200)), (1, 300), (1, 2), (50, 2), (5, 5)]
    for n, vocab_size in sizes + [(7, 4)] * 30:
        logits, targets = some_rows(draw, n, vocab_size)
        right = F.cross_entropy(logits.double(), targets).float()
        of = f"the loss of logits ({n}, {vocab_size})"
        expect(lesson.cross_entropy(logits, targets), right, of=of)


@guard("test_large_surprise_is_exact")
def guard_large_surprises_anywhere(lesson, expect, draw):
    """Large logits in many rows, each with its own level and its own target."""
    for vocab_size in (2, draw.integer(5, 9)):
        n = draw.integer(4, 8)
        logits = draw.ids(50, n, vocab_size).float()
        targets = logits.argmin(dim=1)
        logits[range(n), targets] -= 10.0
        logits += 500 * draw.ids(41, n, 1) - 10_000.0
        right = F.cross_entropy(logits.double(), targets).float()
        of = f"the loss of {n} rows of large logits"
        expect(lesson.cross_entropy(logits, targets), right, of=of)


@guard("test_loss_passes_gradients_on")
def guard_loss_gradients_of_any_size(lesson, expect, draw):
    """The gradient at other sizes, and the loss beside it."""
    for n, vocab_size in [(draw.integer(8, 20), draw.integer(9, 30)), (1, 2), (3, 2)]:
        logits, targets = some_rows(draw, n, vocab_size)
        mine = lesson.grad(lesson.cross_entropy, logits, targets)
        right = grad(F.cross_entropy, logits.double(), targets)
        expect(mine["result"], right["result"].detach().float(), of=f"the loss of {n} rows")
        gradient = right["arguments"][0].float()
        expect(mine["arguments"][0], gradient, of=f"the gradient of {n} rows")


@guard("test_loss_refuses_shapes_that_do_not_fit")
def guard_loss_refuses_other_shapes(lesson, expect, draw):
    """Any shapes but (N, V) and (N,) are refused."""
    n, v = draw.integer(6, 9), draw.integer(10, 12)
    for logits, targets in [
        ((n, v), (n + 1,)),
        ((n, v), (1, n)),
        ((n, v), (v,)),
        ((n, v, 1), (n,)),
    ]:
        with expect.raises(ValueError, f"for logits {logits} and targets {targets}"):
            lesson.cross_entropy(torch.zeros(logits), torch.zeros(targets, dtype=torch.long))


@guard("test_counts_of_any_text")
def guard_counts_of_other_texts(lesson, expect, draw):
    """Other alphabets, from one letter to many, and each count starts from nothing."""
    for vocab_size, length in [(1, 9), (2, 30), (draw.integer(8, 15), 200), (40, 6), (2, 30)] * 2:
        ids = draw.ids(vocab_size, length)
        seen = Counter(pairwise(ids.tolist()))
        right = [[seen[a, b] for b in range(vocab_size)] for a in range(vocab_size)]
        of = f"the counts of {length} tokens with vocab_size {vocab_size}"
        expect(lesson.bigram_counts(ids, vocab_size), torch.tensor(right), of=of)
        for wrong in (vocab_size, -1):
            ids[draw.integer(0, length - 1)] = wrong
            with expect.raises(ValueError, f"for the id {wrong} with vocab_size {vocab_size}"):
                lesson.bigram_counts(ids, vocab_size)


@guard("test_smoothed_shares")
def guard_shares_of_other_tables(lesson, expect, draw):
    """Any table, any smoothing; small counts and large ones side by side."""
    for vocab_size, smoothing in [(2, 0.5), (draw.integer(6, 20), 3.0), (9, 0.001), (4, 1.0)]:
        counts = draw.ids(30, vocab_size, vocab_size)
        counts[0] *= draw.integer(100, 10_000)
        counts[-1] = 0
        shares = counts.double() + smoothing
        right = (shares / shares.sum(dim=1, keepdim=True)).log().float()
        of = f"the logits of {vocab_size} tokens with smoothing {smoothing}"
        expect(lesson.bigram_logits(counts, smoothing), right, of=of)


@guard("test_step_is_torchs_step")
def guard_many_steps_are_torchs(lesson, expect, draw):
    """Thirty steps, each from where the last one ended, on tables and pairs of any number."""
    for vocab_size, n, steps in [(draw.integer(6, 12), draw.integer(12, 40), 30), (2, 1, 3)]:
        table = draw.normal(vocab_size, vocab_size)
        for _ in range(steps):
            inputs, targets = draw.ids(vocab_size, n), draw.ids(vocab_size, n)
            rate = draw.integer(1, 60) / 10
            parameter = table.double().requires_grad_()
            loss = F.cross_entropy(parameter[inputs], targets)
            (gradient,) = torch.autograd.grad(loss, parameter)
            new = lesson.gradient_step(table, inputs, targets, rate)
            right = (table.double() - rate * gradient).float()
            expect(new, right, of=f"the table after a step on {n} pairs of {vocab_size} tokens")
            table = right


@guard("test_babble_follows_the_arrows")
def guard_other_arrows(lesson, expect, draw):
    """A circle through all tokens, in any order, from any start."""
    n = draw.integer(6, 12)
    order = draw.random.permutation(n).tolist()
    table = torch.full((n, n), -math.inf)
    for a, b in zip(order, order[1:] + order[:1], strict=True):
        table[a, b] = draw.integer(-100, 100)
    for first in (0, n // 2):
        length = draw.integer(15, 30)
        right = [order[(first + i) % n] for i in range(length)]
        expect(lesson.babble(table, order[first], length), right, of=f"a circle of {n} tokens")


@guard("test_draws_follow_the_probabilities", seconds=10)
def guard_draws_from_other_tables(lesson, expect, draw):
    """Another alphabet, other probabilities, another length, and some that never come."""
    # each row is the one above it, moved on: in the long run all tokens are as frequent
    shares = torch.tensor([0.4, 0.25, 0.2, 0.15, 0.0])
    step = draw.integer(1, 4)
    probabilities = torch.stack([shares.roll(step * a) for a in range(5)])
    logits = probabilities.log() + draw.normal(5, 1, scale=5.0)
    ids = lesson.babble(logits, draw.integer(0, 4), 3000, lesson.generator(draw.integer(1, 10**6)))
    expect(len(ids), 3000, of="the number of ids")
    pairs = 5 * torch.as_tensor(ids[:-1]) + torch.as_tensor(ids[1:])
    counts = torch.bincount(pairs, minlength=25).view(5, 5)
    never = probabilities == 0
    expect.true(not counts[never].any(), "a token comes that has the probability 0")
    due = probabilities * counts.sum(dim=1, keepdim=True)
    off = float((((counts - due) ** 2)[~never] / due[~never]).sum())
    # 15 degrees of freedom: a right draw exceeds 75 less than once in a hundred million times
    symptom = "the tokens do not come as often as their probabilities say"
    expect.true(off < 75, symptom, details=f"chi-square {off:.0f}, at most 75 is due")


@guard("test_same_seed_same_text", seconds=10)
def guard_other_seeds(lesson, expect, draw):
    """Any seed gives its text again, also after other texts; a generator goes on where it was."""
    table, seeds = draw.normal(9, 9, scale=0.1), [draw.integer(100, 10**9) for _ in range(3)]
    first = [lesson.babble(table, 2, 40, lesson.generator(seed)) for seed in seeds]
    again = [lesson.babble(table, 2, 40, lesson.generator(seed)) for seed in seeds]
    expect.true(first == again, "the same seed gives two different texts")
    expect.true(first[0] != first[1] != first[2], "two seeds give the same text")
    generator = lesson.toy("generator", seeds[0])
    one, two = lesson.babble(table, 2, 40, generator), lesson.babble(table, 2, 40, generator)
    expect(one, first[0], of="the first text of a generator")
    expect.true(one != two, "two texts drawn from one generator are the same")


@guard("test_gradient_is_autograds")
def guard_gradients_on_paper_of_any_size(lesson, expect, draw):
    """The gradient of any number of rows, with logits of any size."""
    for n, vocab_size, scale in [(draw.integer(7, 20), draw.integer(8, 30), 1.0), (3, 2, 500.0)]:
        logits, targets = some_rows(draw, n, vocab_size, scale)
        tracked = logits.double().requires_grad_()
        (right,) = torch.autograd.grad(F.cross_entropy(tracked, targets), tracked)
        of = f"the gradient of ({n}, {vocab_size})"
        expect(lesson.cross_entropy_gradient(logits, targets), right.float(), of=of)

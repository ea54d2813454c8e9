"""Checks for lesson 00, tensors by doing. Which step turns which check green:

1. softmax                   test_shares_by_hand, test_any_dimension_can_sum_to_one,
                             test_large_logits_stay_finite, test_minus_infinity_means_never,
                             test_softmax_passes_gradients_on
2. cross_entropy             test_surprise_by_hand, test_loss_is_torchs_loss,
                             test_large_surprise_is_exact, test_loss_passes_gradients_on,
                             test_loss_refuses_shapes_that_do_not_fit
3. bigram_counts             test_pairs_of_a_word, test_counts_of_any_text,
                             test_counts_refuse_unknown_ids
4. bigram_logits             test_smoothed_shares, test_unseen_pairs_without_smoothing,
                             test_impossible_smoothing_is_refused
5. gradient_step             test_one_pair_moves_one_row, test_step_is_torchs_step,
                             test_step_leaves_nothing_behind, test_counting_is_the_bottom
6. babble                    test_babble_follows_the_arrows, test_length_counts_the_start,
                             test_same_seed_same_text, test_draws_follow_the_probabilities
stretch  cross_entropy_gradient   test_gradient_by_hand, test_gradient_is_autograds
"""

import math
from collections import Counter
from itertools import pairwise

import torch
import torch.nn.functional as F

from grader.checks import check, grad

# 1. softmax


@check("softmax", points=1)
def test_shares_by_hand(lesson, expect, draw):
    """The exponentials of log 1, log 3 and log 4 are 1, 3 and 4: eighths."""
    logits = torch.tensor([1.0, 3.0, 4.0]).log()
    right = torch.tensor([1 / 8, 3 / 8, 4 / 8])
    question = "What is exp of each logit, and what do the three sum to?"
    expect(lesson.softmax(logits), right, of="softmax of log 1, log 3, log 4", ask=question)
    question = "Adding 5 to every logit makes every exponential e^5 times as large. And the shares?"
    expect(lesson.softmax(logits + 5), right, of="softmax of the same logits plus 5", ask=question)


@check("softmax", points=1)
def test_any_dimension_can_sum_to_one(lesson, expect, draw):
    """Rows, columns or anything else sums to 1, as `dim` says."""
    for shape in [(4, 4), (3, 5), (2, 3, 5)]:
        logits = draw.normal(*shape, scale=3.0)
        question = "Do your rows sum to 1, or your columns? Which of them does `dim` name?"
        of = f"softmax of a {shape} tensor"
        expect(lesson.softmax(logits), torch.softmax(logits, -1), of=of, ask=question)
        for dim in range(-len(shape), len(shape)):
            right = torch.softmax(logits, dim)
            expect(lesson.softmax(logits, dim), right, of=f"{of} with dim={dim}", ask=question)


@check("softmax", points=1)
def test_large_logits_stay_finite(lesson, expect, draw):
    """Logits in the thousands give probabilities, not nan, and rows do not disturb each other."""
    rows = torch.tensor([[0.0, -30.0, -60.0], [-60.0, 0.0, -30.0], [-30.0, -60.0, 0.0]])
    levels = torch.tensor([[1e4], [-1e4], [120.0]])
    for logits in (rows + levels, torch.tensor([[1e4, 0.0, -1e4]])):
        question = "What is exp(1000) as a float? Which number is subtracted, and from which row?"
        right = torch.softmax(logits, -1)
        expect(lesson.softmax(logits), right, of="softmax of large logits", ask=question)


@check("softmax", points=1)
def test_minus_infinity_means_never(lesson, expect, draw):
    """A logit of -inf gets exactly 0; lesson 03 hides the future this way."""
    inf = math.inf
    logits = torch.tensor([[0.5, -inf, 1.5], [-inf, 7.0, -inf]])
    right = torch.softmax(logits, -1)
    question = "What is exp(-inf), and is it left alone on its way out?"
    expect(lesson.softmax(logits), right, of="softmax with -inf", ask=question)
    nothing = lesson.softmax(torch.tensor([-inf, -inf]))
    question = (
        "Zero divided by zero: which answer hides a mistake somewhere else, and which shows it?"
    )
    expect(nothing, torch.tensor([math.nan] * 2), of="softmax of nothing but -inf", ask=question)


@check("softmax", points=1)
def test_softmax_passes_gradients_on(lesson, expect, draw):
    """A model can learn through your softmax: its gradient is torch's."""
    for dim in (-1, 0):
        logits = draw.normal(3, 4)
        mine = lesson.grad(lesson.softmax, logits, dim=dim)
        right = grad(torch.softmax, logits, dim=dim)
        question = "Does the sum depend on the logits, too? Is anything detached or copied?"
        gradient = mine["arguments"][0]
        expect(gradient, right["arguments"][0], of="the gradient of the logits", ask=question)


# 2. cross_entropy


def some_rows(draw, n, vocab_size, scale=1.0):
    """Random logits and targets; the first target is unlikely: a loss near 0 has no digits."""
    logits, targets = draw.normal(n, vocab_size, scale=scale), draw.ids(vocab_size, n)
    targets[0] = logits[0].argmin()
    return logits, targets


@check("cross_entropy", points=1)
def test_surprise_by_hand(lesson, expect, draw):
    """Surprise is -log(probability): of 1/2 it is log 2, of 1/10 log 10, and the loss is the mean."""
    logits = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]).log() + 2.0
    loss = lesson.cross_entropy(logits, torch.tensor([0, 1]))
    question = "Which probability did each row give to its own target? What is -log of it?"
    right = torch.tensor((math.log(2) + math.log(10)) / 2)
    expect(loss, right, of="the loss of two rows", ask=question)
    loss = lesson.cross_entropy(torch.zeros(4, 7), torch.tensor([6, 0, 3, 3]))
    question = "What is the probability of each of 7 tokens when all logits are alike?"
    expect(loss, torch.tensor(math.log(7)), of="the loss of knowing nothing", ask=question)


@check("cross_entropy", points=1)
def test_loss_is_torchs_loss(lesson, expect, draw):
    """For any logits and targets your loss is torch's."""
    for n, vocab_size in [(6, 4), (1, 5), (3, 3), (20, 50)]:
        logits, targets = some_rows(draw, n, vocab_size)
        right = F.cross_entropy(logits, targets)
        question = "How many losses are there, and how do they become one number?"
        of = f"the loss of logits ({n}, {vocab_size})"
        expect(lesson.cross_entropy(logits, targets), right, of=of, ask=question)


@check("cross_entropy", points=1)
def test_large_surprise_is_exact(lesson, expect, draw):
    """However improbable the target and however large the logits, the loss keeps its digits."""
    inf = math.inf
    for logits, right in {
        (0.0, 200.0, 3.0): 200.0,  # the exponentials beside the largest are below 1e-80
        (-150.0, -20.0, -1e4): 130.0,
        (1e4, 9999.0, 0.0): math.log(1 + math.exp(-1)),
        (-1e4, -9999.0, -inf): 1 + math.log(1 + math.exp(-1)),
        (2.0, -inf, 2.0): math.log(2),
        (-inf, 1.0, 2.0): inf,
    }.items():
        loss = lesson.cross_entropy(torch.tensor([logits]), torch.tensor([0]))
        question = (
            "Is log p written as a difference? What is subtracted before exp, and where else?"
        )
        of = f"the loss of logits {logits} with target 0"
        expect(loss, torch.tensor(right), of=of, ask=question)
    two_rows = torch.tensor([[1e4, 9999.0], [-1e4, -9998.0]])
    right = torch.tensor((math.log(1 + math.exp(-1)) + 2 + math.log(1 + math.exp(-2))) / 2)
    question = "Does each row have its own largest logit?"
    loss = lesson.cross_entropy(two_rows, torch.tensor([0, 0]))
    expect(loss, right, of="the loss of one row near 10,000 and one near -10,000", ask=question)


@check("cross_entropy", points=1)
def test_loss_passes_gradients_on(lesson, expect, draw):
    """The loss is where all learning begins: its gradient is torch's."""
    for n, scale in [(5, 1.0), (1, 3.0), (4, 1000.0)]:
        logits, targets = some_rows(draw, n, 6, scale)
        mine = lesson.grad(lesson.cross_entropy, logits, targets)
        right = grad(F.cross_entropy, logits, targets)
        question = (
            "Is the loss itself right? Then what (`item`, `detach`, a copy) cuts its way back?"
        )
        gradient = mine["arguments"][0]
        expect(gradient, right["arguments"][0], of="the gradient of the logits", ask=question)


@check("cross_entropy", points=1)
def test_loss_refuses_shapes_that_do_not_fit(lesson, expect, draw):
    """A wrong shape is refused, where torch would quietly make something fit."""
    for logits, targets in [
        ((3, 4), (1,)),
        ((3, 4), (2,)),
        ((3, 4), (5,)),
        ((3, 4), (3, 1)),
        ((4,), (4,)),
        ((2, 3, 4), (2,)),
    ]:
        when = f"for logits {logits} and targets {targets}"
        question = "The logits are (N, V). Which shape must the targets have, and no other?"
        with expect.raises(ValueError, when, ask=question):
            lesson.cross_entropy(torch.zeros(logits), torch.zeros(targets, dtype=torch.long))


# 3. bigram_counts


@check("bigram_counts", points=1)
def test_pairs_of_a_word(lesson, expect, draw):
    """The pairs of "banana" are ba, an, na, an, na."""
    banana = torch.tensor([1, 0, 2, 0, 2, 0])  # a is 0, b is 1, n is 2
    right = torch.tensor([[0, 0, 2], [1, 0, 0], [2, 0, 0]])
    question = 'Row a, column n: how often does "n" follow "a"?'
    expect(lesson.bigram_counts(banana, 3), right, of='the counts of "banana"', ask=question)


@check("bigram_counts", points=1)
def test_counts_of_any_text(lesson, expect, draw):
    """Long texts, short ones and texts that miss some letters are counted as a plain loop would."""
    texts = [(draw.ids(5, 60), 7), (draw.ids(3, 4000), 3), (draw.ids(3, 2), 4)]
    short = [(torch.tensor([3]), 5), (torch.tensor([], dtype=torch.long), 5)]
    for ids, vocab_size in texts + short:
        seen = Counter(pairwise(ids.tolist()))
        right = [[seen[a, b] for b in range(vocab_size)] for a in range(vocab_size)]
        counts = lesson.bigram_counts(ids, vocab_size)
        question = "How many pairs does a text of T tokens have? How large is the table?"
        of = f"the counts of {len(ids)} tokens with vocab_size {vocab_size}"
        expect(counts, torch.tensor(right), of=of, ask=question)


@check("bigram_counts", points=1)
def test_counts_refuse_unknown_ids(lesson, expect, draw):
    """An id from outside the alphabet is a mistake somewhere else: better to hear of it here."""
    for ids in ([0, 5, 1], [5, 0], [3, 6], [1, 2, -1], [-1, 2], [5]):
        question = "With 5 tokens, which is the smallest id and which the largest?"
        with expect.raises(ValueError, f"for the ids {ids} with vocab_size 5", ask=question):
            lesson.bigram_counts(torch.tensor(ids), 5)


# 4. bigram_logits


def log_shares(counts, smoothing):
    """The logarithms of the smoothed shares, cell by cell."""
    rows = [[count + smoothing for count in row] for row in counts.tolist()]
    logs = [[math.log(x / sum(row)) if x else -math.inf for x in row] for row in rows]
    return torch.tensor(logs)


@check("bigram_logits", points=1)
def test_smoothed_shares(lesson, expect, draw):
    """Each row becomes the logarithms of shares, and a little is left for what was never seen."""
    counts = torch.tensor([[3, 1, 0], [0, 0, 2], [1, 4, 1]])
    question = "Row 0 is 4, 2 and 1 after smoothing. What does it sum to? What are the shares?"
    right = torch.tensor([[4 / 7, 2 / 7, 1 / 7], [1 / 5, 1 / 5, 3 / 5], [2 / 9, 5 / 9, 2 / 9]])
    expect(lesson.bigram_logits(counts), right.log(), of="the logits", ask=question)
    counts = draw.ids(9, 5, 5)
    counts[1], counts[3] = draw.ids(100_000, 5), 0
    for smoothing in (1.0, 0.01, 2):
        question = "By how much does each count grow? And the sum of a row of 5?"
        of = f"the logits with smoothing {smoothing}"
        right = log_shares(counts, smoothing)
        expect(lesson.bigram_logits(counts, smoothing), right, of=of, ask=question)


@check("bigram_logits", points=1)
def test_unseen_pairs_without_smoothing(lesson, expect, draw):
    """Without smoothing, what was never seen is impossible: its logarithm is -inf."""
    for counts, smoothing in [
        (torch.tensor([[1, 3], [2, 5]]), 0.0),
        (torch.tensor([[4, 0, 1], [2, 0, 2], [3, 0, 0]]), 0),  # a column is empty, no row is
    ]:
        question = "What is log(0) in torch? Is a smoothing of 0 allowed here?"
        logits = lesson.bigram_logits(counts, smoothing)
        expect(logits, log_shares(counts, 0), of="the logits without smoothing", ask=question)


@check("bigram_logits", points=1)
def test_impossible_smoothing_is_refused(lesson, expect, draw):
    """A row without counts has no shares: an error now is better than nan later."""
    with expect.raises(ValueError, "for smoothing -0.5"):
        lesson.bigram_logits(torch.tensor([[2, 3], [1, 1]]), -0.5)
    for counts in ([[3, 1], [0, 0]], [[0, 0, 0], [2, 1, 1], [5, 0, 1]]):
        question = "What is the sum of the empty row? What would you divide by?"
        with expect.raises(ValueError, f"for counts {counts} and smoothing 0", ask=question):
            lesson.bigram_logits(torch.tensor(counts), 0.0)


# 5. gradient_step


@check("gradient_step", points=1)
def test_one_pair_moves_one_row(lesson, expect, draw):
    """After 2 came 1: in row 2 the logit of 1 rises, the others fall, and nothing else moves."""
    table = lesson.gradient_step(torch.zeros(4, 4), torch.tensor([2]), torch.tensor([1]), 2.0)
    right = torch.zeros(4, 4)
    right[2] = torch.tensor([-0.5, 1.5, -0.5, -0.5])  # 2 * (target - probability 1/4)
    question = "Which row is looked up for the input 2? Which way does its gradient point?"
    expect(table, right, of="the table after one pair (2, 1)", ask=question)


def torchs_step(table, inputs, targets, learning_rate):
    """The same step from torch's loss: against its gradient, times the learning rate."""
    parameter = table.clone().requires_grad_()  # torch.optim would take a second to import
    (gradient,) = torch.autograd.grad(F.cross_entropy(parameter[inputs], targets), parameter)
    return table - learning_rate * gradient


@check("gradient_step", points=1)
def test_step_is_torchs_step(lesson, expect, draw):
    """Your step goes against torch's gradient, for one pair and for many."""
    for n, learning_rate in [(9, 0.7), (1, 3.0), (30, 5)]:
        table, inputs, targets = draw.normal(5, 5), draw.ids(4, n), draw.ids(5, n)
        loss = lesson.cross_entropy(table[inputs], targets)
        expect(loss, F.cross_entropy(table[inputs], targets), of="your cross_entropy of the pairs")
        new = lesson.gradient_step(table, inputs, targets, learning_rate)
        question = "Is it one loss for all pairs, and the step -learning_rate * gradient?"
        of = f"the table after a step on {n} pairs with learning rate {learning_rate}"
        expect(new, torchs_step(table, inputs, targets, learning_rate), of=of, ask=question)


@check("gradient_step", points=1)
def test_step_leaves_nothing_behind(lesson, expect, draw):
    """The new table starts afresh: else a thousand steps would all be kept in memory."""
    step = draw.normal(3, 3), torch.tensor([0, 1, 1]), torch.tensor([2, 0, 2]), 0.5
    expect(lesson.gradient_step(*step), torchs_step(*step), of="the table after a step")
    made = lesson.describe(lesson.gradient_step, *step)
    question = "Which operation cuts a tensor off from what it was computed from?"
    expect(made["requires_grad"], False, of="requires_grad of the new table", ask=question)


@check("gradient_step", points=1)
def test_counting_is_the_bottom(lesson, expect, draw):
    """Going downhill ends where counting arrives at once: there, no step leads further down."""
    counts = draw.ids(4, 3, 3) + 1
    cells = torch.arange(9).repeat_interleave(counts.flatten())  # each pair as often as it counts
    inputs, targets, n = cells // 3, cells % 3, len(cells)
    above_even = counts - counts.sum(dim=1, keepdim=True) / 3
    table = lesson.gradient_step(torch.zeros(3, 3), inputs, targets, 2.0)
    question = (
        "A pair that is more frequent than its neighbours in the row: should it rise or fall?"
    )
    expect(table, 2.0 * above_even / n, of="the table after a step from zeros", ask=question)
    counted = (counts / counts.sum(dim=1, keepdim=True)).log()
    table = lesson.gradient_step(counted, inputs, targets, 2.0)
    question = "Where probabilities equal shares, what is the gradient?"
    expect(table, counted, of="the counted table after a step", ask=question)


# 6. babble


@check("babble", points=1, seconds=10)
def test_babble_follows_the_arrows(lesson, expect, draw):
    """Where only one token may follow, there is nothing left to chance."""
    level = torch.tensor([[0.0], [-100.0], [-30.0], [100.0]])  # only differences in a row count
    table = torch.full((4, 4), -60.0) + level
    for a, b in [(0, 2), (2, 1), (1, 3), (3, 0)]:
        table[a, b] = level[a, 0]  # 60 above the others: they come once in 10^26 draws
    table[3, 1] = table[3, 3] = -math.inf
    probabilities = lesson.softmax(table)
    expect(probabilities, torch.softmax(table, -1), of="your softmax of the table")
    question = "Which row of the table belongs to the newest token?"
    ids = lesson.babble(table, 0, 7)
    expect(ids, [0, 2, 1, 3, 0, 2, 1], of="the text that begins with 0", ask=question)


@check("babble", points=1, seconds=10)
def test_length_counts_the_start(lesson, expect, draw):
    """`length` ids come back, and the first of them is `start`."""
    table = draw.normal(5, 5)
    expect(lesson.babble(table, 3, 1), [3], of="the text of length 1 that begins with 3")
    for length in (2, 12):
        ids = lesson.babble(table, 4, length, lesson.generator(7))
        question = "Is `start` one of the `length` ids, or does it come on top?"
        expect(len(ids), length, of=f"the number of ids for length {length}", ask=question)
        expect(ids[0], 4, of="the first id", ask="Where does the text begin?")
    for length in (0, -2):
        with expect.raises(ValueError, f"for length {length}", ask="How short can a text be?"):
            lesson.babble(table, 1, length)


@check("babble", points=1, seconds=10)
def test_same_seed_same_text(lesson, expect, draw):
    """A text that you liked comes again with its seed; every other seed gives another text."""
    table, even_chances = torch.zeros(6, 6), "Where do the chances of the draw come from?"
    first, second, third = (lesson.babble(table, 5, 60, lesson.generator(s)) for s in (3, 3, 8))
    expect.true(first == second, "the same seed gives two different texts", ask=even_chances)
    # two right texts are alike by chance once in 6^59, which is 8e45
    expect.true(first != third, "two seeds give the same text", ask=even_chances)
    fourth, fifth = lesson.babble(table, 5, 60), lesson.babble(table, 5, 60)
    expect.true(fourth != fifth, "two calls without a generator give the same text")


# Row a: how often each token should follow a. Each is as frequent as the others in the long run.
FOLLOWS = [
    [0.7, 0.2, 0.08, 0.02],
    [0.08, 0.02, 0.7, 0.2],
    [0.02, 0.08, 0.2, 0.7],
    [0.2, 0.7, 0.02, 0.08],
]


def chi_square(counts, probabilities):
    """How far the pairs of a text are from what is due, and the row that is furthest, in words."""
    due = probabilities * counts.sum(dim=1, keepdim=True)
    off = ((counts - due) ** 2 / due).sum(dim=1)
    a = int(off.argmax())
    came = (counts[a] / counts[a].sum().clamp(min=1)).tolist()
    shares = (" ".join(f"{x:.2f}" for x in row) for row in (probabilities[a].tolist(), came))
    return float(off.sum()), "after token {} due: {}\n    they came: {}".format(a, *shares)


@check("babble", points=2, seconds=10)
def test_draws_follow_the_probabilities(lesson, expect, draw):
    """Each token comes as often as the row of the token before says."""
    probabilities = torch.tensor(FOLLOWS)
    levels = torch.tensor([[2.0], [-1.0], [0.0], [1.0]])  # added to a whole row: nothing changes
    logits = probabilities.log() + levels
    ids = lesson.babble(logits, 2, 4000, lesson.generator(draw.integer(0, 10**6)))
    expect(len(ids), 4000, of="the number of ids")
    pairs = 4 * torch.as_tensor(ids[:-1]) + torch.as_tensor(ids[1:])
    counts = torch.bincount(pairs, minlength=16).view(4, 4)
    off, details = chi_square(counts, probabilities)
    likeliest = bool((counts.argmax(dim=1) == probabilities.argmax(dim=1)).all())
    question = "Is each token drawn, and with the probabilities of which row?"
    symptom = "the likeliest token is not the most frequent one"  # 0.7 against 0.2: never by chance
    expect.true(likeliest, symptom, details=details, ask=question)
    # 12 degrees of freedom: a right draw exceeds 65 once in 300 million times
    symptom = "the tokens do not come as often as their probabilities say"
    expect.true(off < 65, symptom, details=details, ask=question)


# stretch


@check("cross_entropy_gradient", points=1)
def test_gradient_by_hand(lesson, expect, draw):
    """The gradient is what the model believed less what came."""
    logits = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]).log()
    right = torch.tensor([[0.5, -0.7, 0.2]])  # the target is 1, and had 0.3
    gradient = lesson.cross_entropy_gradient(logits[:1], torch.tensor([1]))
    question = "How much did the model believe in the target? How much is missing to 1?"
    expect(gradient, right, of="the gradient of one row", ask=question)
    right = torch.tensor([[0.5, -0.7, 0.2], [0.1, 0.1, -0.2]]) / 2
    gradient = lesson.cross_entropy_gradient(logits, torch.tensor([1, 2]))
    question = "The loss is the mean of two rows. How much does each of them count?"
    expect(gradient, right, of="the gradient of two rows", ask=question)


@check("cross_entropy_gradient", points=1)
def test_gradient_is_autograds(lesson, expect, draw):
    """What you worked out on paper is what autograd finds."""
    large = torch.tensor([[1000.0, 970.0], [-970.0, -1000.0]]), torch.tensor([1, 0])
    for logits, targets in [*(some_rows(draw, *size) for size in [(6, 4), (5, 5), (1, 7)]), large]:
        tracked = logits.clone().requires_grad_()
        F.cross_entropy(tracked, targets).backward()
        expect(lesson.softmax(logits), torch.softmax(logits, -1), of="your softmax of the logits")
        gradient = lesson.cross_entropy_gradient(logits, targets)
        question = "How many places change in each row of the softmax, and by how much?"
        expect(gradient, tracked.grad, of=f"the gradient of {len(logits)} rows", ask=question)

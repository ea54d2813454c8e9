"""Hidden checks for lesson 10, measures of a model: other texts, plans and models that take turns."""

import itertools
import math

import torch
import torch.nn.functional as F

from grader.instructor.guards import guard

INF = math.inf
QUICK = 4  # seconds: a loop over windows that never ends would fill the memory


def some_plans(draw):
    """(tokens, block_size, stride) that stand in no check."""
    plans = [(draw.integer(50, 90), draw.integer(9, 15), draw.integer(2, 8))]
    return [*plans, (draw.integer(24, 40), 5, 5), (draw.integer(13, 19), 30, 11)]


def rows_for(table, ids, block_size, stride):
    """The logits of the mindful model for every token after the first, one by one: (N - 1, V)."""
    rows = []
    for token in range(1, len(ids)):
        begin = next(b for b in itertools.count(0, stride) if b + block_size >= token)
        rows.append(int(ids[begin:token].sum()) % len(table))
    return table[rows].float()


def texts(lesson, draw, scale=2.0):
    """Yields (model, table, ids, block_size, stride): each plan with vocabularies of two sizes."""
    for n, block_size, stride in some_plans(draw):
        for vocab_size in (draw.integer(9, 25), 2):
            table, ids = draw.normal(vocab_size, vocab_size, scale=scale), draw.ids(vocab_size, n)
            yield lesson.toy("mindful model", table, block_size), table, ids, block_size, stride


def surprises(table, ids, block_size, stride):
    """-log(probability) of every token after the first, in nats: (N - 1,)."""
    rows = rows_for(table, ids, block_size, stride)
    return F.cross_entropy(rows.double(), ids[1:], reduction="none")


@guard("test_every_window_in_its_place", seconds=QUICK)
def guard_windows_of_any_plan(lesson, expect, draw):
    """Twenty plans of any sizes."""
    for _ in range(20):
        n, block_size = draw.integer(2, 400), draw.integer(2, 90)
        stride = draw.integer(1, block_size)
        n_windows = 1 + max(0, math.ceil((n - 1 - block_size) / stride))
        ends = [min(i * stride + block_size, n - 1) for i in range(n_windows)]
        right = [(i * stride, ends[i], ends[i - 1] + 1 if i else 1) for i in range(n_windows)]
        of = f"the windows of {n} tokens with block_size {block_size}, stride {stride}"
        expect(lesson.strided_windows(n, block_size, stride), right, of=of)
        with expect.raises(ValueError, f"for a stride of {block_size + 1}"):
            lesson.strided_windows(n, block_size, block_size + 1)


@guard("test_context_is_what_the_window_shows", seconds=QUICK)
def guard_scores_of_any_text(lesson, expect, draw):
    """Any text, any plan, vocabularies of any size, one after the other, and the same again."""
    for model, table, ids, block_size, stride in texts(lesson, draw):
        right = (float(surprises(table, ids, block_size, stride).sum()), len(ids) - 1)
        of = f"the score of {len(ids)} tokens with block_size {block_size}, stride {stride}"
        for _ in range(2):
            expect(lesson.score(model, ids, block_size, stride), right, of=of)


@guard("test_windows_of_uneven_length", seconds=QUICK)
def guard_scores_in_any_precision(lesson, expect, draw):
    """Logits of 16, 32 and 64 bits are scored in 32, also large and impossible ones."""
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        table, ids = draw.normal(6, 6, scale=9.0).to(dtype), draw.ids(5, 50)
        table[:, 5] = -INF
        model = lesson.toy("forgetful model", table)
        rows = table[ids[:-1]].double()
        right = (float(F.cross_entropy(rows, ids[1:], reduction="sum")), 49)
        expect(lesson.score(model, ids, 11, 6), right, of=f"the score with logits of {dtype}")
        ids[30] = 5
        expect(lesson.score(model, ids, 11, 6), (INF, 49), of="the score of an impossible text")


@guard("test_model_is_left_as_it_was", seconds=QUICK)
def guard_models_are_left_as_they_were(lesson, expect, draw):
    """The model is asked in evaluation mode and without gradients, whichever part rests."""
    for training in (True, False):
        table, ids = draw.normal(8, 8, scale=2.0), draw.ids(8, 30)
        model = lesson.toy("mindful model", table, 9)
        model.train(training)
        model.part.train(not training)
        right = float(surprises(table, ids, 9, 4).sum())
        expect(lesson.score(model, ids, 9, 4), (right, 29), of="the score")
        asked = [model.read(name) for name in ("in_training", "with_gradients")]
        of = "how often the model was asked in training mode and how often with gradients"
        expect(asked, [0, 0], of=of)
        modes = [model.read("training"), model.read("part.training")]
        of = "whether the model and its part are in training afterwards"
        expect(modes, [training, not training], of=of)


@guard("test_first_the_mean_then_exp", seconds=QUICK)
def guard_perplexities_of_any_text(lesson, expect, draw):
    """Any text, any plan, vocabularies of any size."""
    for model, table, ids, block_size, stride in texts(lesson, draw):
        right = math.exp(surprises(table, ids, block_size, stride).mean())
        of = f"the perplexity of {len(ids)} tokens with block_size {block_size}, stride {stride}"
        expect(lesson.perplexity(model, ids, block_size, stride), right, of=of)


@guard("test_certain_and_impossible", seconds=QUICK)
def guard_perplexities_of_hard_texts(lesson, expect, draw):
    """A text may surprise by any number of nats."""
    ids = torch.tensor([0, 1, 2, 3] * 4)
    for nats in (draw.integer(20, 80), draw.integer(100, 300), draw.integer(1000, 9000)):
        table = torch.where(torch.eye(4).roll(2, 1) == 1, 0.0, -float(nats))
        right = math.exp(nats) if nats < 700 else INF
        mine = lesson.perplexity(lesson.toy("forgetful model", table), ids, 5, 3)
        expect(mine, right, of=f"the perplexity of {nats} nats a token", tolerance=1e-4)


@guard("test_bits_of_bytes")
def guard_bits_of_other_bytes(lesson, expect, draw):
    """Any numbers of nats and bytes."""
    for _ in range(20):
        nats, n_bytes = float(draw.uniform(1, high=1e4)), draw.integer(1, 10**6)
        right = nats / math.log(2) / n_bytes
        expect(lesson.bits_per_byte(nats, n_bytes), right, of=f"bits per byte of {n_bytes} bytes")
    with expect.raises(ValueError, "for 0 bytes"):
        lesson.bits_per_byte(nats, 0)


@guard("test_bits_of_characters")
def guard_bits_of_other_characters(lesson, expect, draw):
    """Any numbers of nats and characters."""
    for _ in range(20):
        nats, n = float(draw.uniform(1, high=1e4)), draw.integer(1, 10**6)
        right = nats / math.log(2) / n
        expect(lesson.bits_per_character(nats, n), right, of=f"bits per character of {n}")


@guard("test_every_token_counts_once", seconds=QUICK)
def guard_accuracies_of_any_text(lesson, expect, draw):
    """Any text, any plan, vocabularies of any size, many equal logits."""
    for rounded in (False, True):
        for _, table, ids, block_size, stride in texts(lesson, draw):
            table = table.round() if rounded else table
            model = lesson.toy("mindful model", table, block_size)
            rows = rows_for(table, ids, block_size, stride)
            first = (rows == rows.amax(-1, keepdim=True)).cumsum(-1).eq(0).sum(-1)
            right = int((first == ids[1:]).sum()) / (len(ids) - 1)
            of = f"the accuracy of {len(ids)} tokens with block_size {block_size}, stride {stride}"
            expect(lesson.next_token_accuracy(model, ids, block_size, stride), right, of=of)


@guard("test_best_of_all", seconds=QUICK)
def guard_predictions_of_any_text(lesson, expect, draw):
    """Texts of any length, vocabularies of any size, any k, many equals."""
    for n, vocab_size in [(draw.integer(10, 40), draw.integer(20, 60)), (1, 2), (15, 9)]:
        # halves: no two probabilities are nearly equal without being so
        table, ids = (draw.normal(vocab_size, vocab_size) * 4).round() / 2, draw.ids(vocab_size, n)
        model = lesson.toy("mindful model", table)
        shares = torch.softmax(table[int(ids.sum()) % vocab_size].double(), -1)
        best = shares.float().sort(descending=True, stable=True).indices.tolist()
        for k in {1, vocab_size // 2, vocab_size, vocab_size + 5}:
            right = [(token, float(shares[token])) for token in best[:k]]
            of = f"the predictions after a text of length {n} with k = {k}"
            expect(lesson.top_predictions(model, ids, k), right, of=of)


@guard("test_curve_over_all_windows", seconds=QUICK)
def guard_curves_of_any_text(lesson, expect, draw):
    """Any text, any plan, any number of bins."""
    for model, table, ids, block_size, stride in texts(lesson, draw):
        bins = draw.integer(1, 30)
        best, chosen = torch.softmax(rows_for(table, ids, block_size, stride), -1).max(-1)
        scaled = best.double() * bins
        if bool(((scaled - scaled.round()).abs() < 1e-4).any()):
            continue  # rounding would decide about the bin
        at = scaled.long().clamp(max=bins - 1)
        count = torch.bincount(at, minlength=bins)
        confidence = torch.bincount(at, weights=best.double(), minlength=bins) / count
        hits = (chosen == ids[1:]).double()
        accuracy = torch.bincount(at, weights=hits, minlength=bins) / count
        curve = lesson.calibration_curve(model, ids, bins, block_size, stride)
        of = f"the curve of {len(ids)} tokens in {bins} bins"
        expect(list(curve), [confidence, accuracy, count], of=of)


@guard("test_gaps_of_any_curve", seconds=QUICK)
def guard_errors_of_any_curve(lesson, expect, draw):
    """Curves of any number of bins, some of them empty."""
    for _ in range(20):
        bins = draw.integer(1, 40)
        count = draw.ids(50, bins)
        count[draw.uniform(bins) < 0.3] = 0
        count[0] += 1
        confidence, accuracy = draw.uniform(bins).double(), draw.uniform(bins).double()
        right = float(((confidence - accuracy).abs() * count).sum() / count.sum())
        confidence[count == 0] = accuracy[count == 0] = math.nan
        mine = lesson.expected_calibration_error(confidence, accuracy, count)
        expect(mine, right, of=f"the calibration error over {bins} bins")

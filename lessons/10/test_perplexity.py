"""Checks for lesson 10, measures of a model. Which step turns which check green:

1. strided_windows       test_windows_of_the_picture, test_every_window_in_its_place,
                         test_plans_that_make_no_sense
2. score                 test_surprise_of_every_token, test_windows_of_uneven_length,
                         test_context_is_what_the_window_shows, test_model_is_left_as_it_was,
                         test_score_refuses_what_cannot_be_planned
3. perplexity            test_knowing_nothing, test_first_the_mean_then_exp,
                         test_certain_and_impossible, test_gpt2_in_one_number
4. bits_per_byte         test_bits_of_bytes, test_no_bytes_no_answer
5. bits_per_character    test_bits_of_characters
6. next_token_accuracy   test_share_of_first_choices, test_every_token_counts_once,
                         test_lowest_of_equals_is_chosen, test_accuracy_leaves_the_model_alone
7. top_predictions       test_best_of_all, test_shares_of_the_whole_vocabulary,
                         test_equals_in_the_order_of_ids, test_any_mode_and_precision,
                         test_nothing_to_predict, test_gpt2_says_what_comes_next,
                         test_distilgpt2_in_numbers
stretch  calibration_curve            test_sure_and_right, test_borders_of_the_bins,
                                      test_curve_over_all_windows
stretch  expected_calibration_error   test_gaps_weigh_by_tokens, test_gaps_of_any_curve

Two fakes stand in for a model, so that you can work out by hand what it should say. The "table
model" knows the last token only: its logits are that token's row of a table. The "mindful model"
sees all that its window shows: it adds up the ids from the window's beginning and takes row
(sum % V) of its table. In training mode both say something else.
"""

import itertools
import math

import torch
import torch.nn.functional as F

from grader.checks import check
from grader.gpt2 import gpt2_logits

INF = math.inf
QUICK = 4  # seconds: a loop over windows that never ends would fill the memory

# (tokens, block_size, stride): ragged and full last windows, no overlap and much, blocks of one
PLANS = [(12, 4, 4), (23, 7, 2), (10, 4, 3), (9, 4, 4), (31, 5, 1), (7, 1, 1), (6, 8, 3), (2, 3, 2)]


def rows_for(table, ids, block_size, stride):
    """The logits of the mindful model for every token after the first, one by one: (N - 1, V)."""
    rows = []
    for token in range(1, len(ids)):
        begin = next(b for b in itertools.count(0, stride) if b + block_size >= token)
        rows.append(int(ids[begin:token].sum()) % len(table))
    return table[rows].float()


def surprises(rows, ids):
    """-log(probability) of every token after the first, in nats: (N - 1,)."""
    return F.cross_entropy(rows.double(), ids[1:], reduction="none")


# 1. strided_windows


@check("strided_windows", points=1, seconds=QUICK)
def test_windows_of_the_picture(lesson, expect, draw):
    """The plan is the picture at the top of the file: every token is scored once, none is read last."""
    for plan, right in [
        ((8, 4, 2), [(0, 4, 1), (2, 6, 5), (4, 7, 7)]),
        ((9, 4, 4), [(0, 4, 1), (4, 8, 5)]),
        ((10, 4, 4), [(0, 4, 1), (4, 8, 5), (8, 9, 9)]),
        ((3, 4, 4), [(0, 2, 1)]),
        ((2, 1, 1), [(0, 1, 1)]),
    ]:
        question = "Which token is predicted last, and which one is read last? When is all scored?"
        of = f"the windows (begin, end, first) of (tokens, block_size, stride) = {plan}"
        expect(lesson.strided_windows(*plan), right, of=of, ask=question)


@check("strided_windows", points=1, seconds=QUICK)
def test_every_window_in_its_place(lesson, expect, draw):
    """Whatever the sizes, no token is left out and none is scored twice."""
    sizes = [(500, 64, 16), (300, 64, 64), (300, 7, 1), (6, 1, 1), (5, 300, 299)]
    sizes += [(n, 6, stride) for n in (2, 3, 6, 7, 8, 11, 12, 13) for stride in (1, 4, 6)]
    for n, block_size, stride in sizes:
        n_windows = 1 + max(0, math.ceil((n - 1 - block_size) / stride))
        ends = [min(i * stride + block_size, n - 1) for i in range(n_windows)]
        right = [(i * stride, ends[i], ends[i - 1] + 1 if i else 1) for i in range(n_windows)]
        question = "Where does a window begin, and which token has nobody scored before it?"
        of = f"the windows of {n} tokens with block_size {block_size}, stride {stride}"
        expect(lesson.strided_windows(n, block_size, stride), right, of=of, ask=question)


@check("strided_windows", points=1, seconds=QUICK)
def test_plans_that_make_no_sense(lesson, expect, draw):
    """A stride beyond the block would leave tokens out unseen; it is refused, and so is no text."""
    question = "Which tokens would nobody score? And what would a window that never moves on do?"
    for stride in (5, 0, -1, 400):
        with expect.raises(ValueError, f"for a stride of {stride} and block_size 4", ask=question):
            lesson.strided_windows(5, 4, stride)
    for block_size in (0, -2):
        with expect.raises(ValueError, f"for a block_size of {block_size}", ask=question):
            lesson.strided_windows(2, block_size, 1)
    for n in (1, 0):
        with expect.raises(ValueError, f"for a text of length {n}", ask="What can be predicted?"):
            lesson.strided_windows(n, 4, 2)


# 2. score


@check("score", points=1, seconds=QUICK)
def test_surprise_of_every_token(lesson, expect, draw):
    """A text in one window: the sum of its surprises, and how many there are."""
    table = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.25, 0.25, 0.5]]).log()
    model = lesson.toy("forgetful model", table)
    for text, shares in [([0, 0, 1], [0.5, 0.25]), ([2, 1, 1, 2, 0], [0.25, 0.8, 0.1, 0.25])]:
        right = (-sum(map(math.log, shares)), len(shares))
        question = (
            f"Tokens {text[1:]} had the probabilities {shares}: how many nats is that in all?"
        )
        mine = lesson.score(model, torch.tensor(text), 8, 8)
        of = f"(sum of surprises, tokens scored) of the text {text}"
        expect(mine, right, of=of, ask=question)
    model = lesson.toy("forgetful model", torch.tensor([[0.0, -300.0], [-INF, 0.0]]))
    for text, nats in [([0, 1, 1], 300.0), ([0, 1, 1, 0], INF)]:
        of = f"(sum of surprises, tokens scored) of a text that surprises by {nats} nats"
        question = "What is exp(-300) in 32 bits, and its logarithm? Which function avoids both?"
        mine = lesson.score(model, torch.tensor(text), 8, 8)
        expect(mine, (nats, len(text) - 1), of=of, ask=question)


@check("score", points=1, seconds=QUICK)
def test_windows_of_uneven_length(lesson, expect, draw):
    """A token in a short last window counts as much as any other, and 16 bits lose nothing."""
    table = torch.tensor([[5.0, 0.0], [0.0, 0.0]])
    easy, hard = math.log(1 + math.exp(-5)), 5 + math.log(1 + math.exp(-5))
    model, ids = lesson.toy("forgetful model", table), torch.tensor([0, 0, 0, 0, 0, 1])
    question = "Four tokens in the first window, one in the last: what do you add for each window?"
    of = "the score of four easy tokens and a hard one, block_size and stride 4"
    expect(lesson.score(model, ids, 4, 4), (4 * easy + hard, 5), of=of, ask=question)
    # in 16 bits each of these is 0.5 % too much, and nothing cancels
    model = lesson.toy("forgetful model", torch.tensor([[0.5, 0.0], [0.0, 0.0]]).bfloat16())
    of, right = "the score of five equal tokens, logits of 16 bits", 5 * math.log1p(math.exp(-0.5))
    question = "How many digits has a bfloat16? In which precision do you add?"
    expect(lesson.score(model, torch.zeros(6).long(), 4, 4), (right, 5), of=of, ask=question)
    question = "Four tokens in the first window, one in the last: what do you add for each window?"
    for dtype in (torch.float32, torch.bfloat16):
        table = draw.normal(7, 7, scale=2.0).to(dtype)
        model = lesson.toy("forgetful model", table)
        for n, block_size, stride in PLANS:
            ids = draw.ids(7, n)
            right = (float(surprises(table[ids[:-1]], ids).sum()), n - 1)
            of = f"the score of {n} tokens with block_size {block_size}, stride {stride}"
            expect(lesson.score(model, ids, block_size, stride), right, of=of, ask=question)


@check("score", points=1, seconds=QUICK)
def test_context_is_what_the_window_shows(lesson, expect, draw):
    """A small stride gives a token more context, and the model never reads more than a block."""
    for n, block_size, stride in PLANS:
        table, ids = draw.normal(7, 7, scale=2.0), draw.ids(7, n)
        model = lesson.toy("mindful model", table, block_size)
        right = float(surprises(rows_for(table, ids, block_size, stride), ids).sum())
        question = "How many tokens does the model see before the one that it has to guess?"
        of = f"the score of {n} tokens with block_size {block_size}, stride {stride}"
        expect(lesson.score(model, ids, block_size, stride), (right, n - 1), of=of, ask=question)


@check("score", points=1, seconds=QUICK)
def test_model_is_left_as_it_was(lesson, expect, draw):
    """Measuring drops nothing out, keeps no gradients, and a training goes on as before."""
    table, ids = draw.normal(5, 5, scale=2.0), draw.ids(5, 19)
    right = (float(surprises(rows_for(table, ids, 6, 4), ids).sum()), 18)
    for training in (True, False):
        model = lesson.toy("mindful model", table)
        model.train(training)
        model.part.eval()  # somebody has put this part to rest
        mode = "in training" if training else "in evaluation mode"
        question = "What does `evaluating` do around what stands inside it?"
        mine = lesson.score(model, ids, 6, 4)
        expect(mine, right, of=f"the score of a model that was {mode}", ask=question)
        of = "how often the model was asked in training mode and how often with gradients"
        asked = [model.read("in_training"), model.read("with_gradients")]
        expect(asked, [0, 0], of=of, ask=question)
        modes = [model.read("training"), model.read("part.training")]
        of = f"whether a model that was {mode} and its resting part are in training afterwards"
        expect(modes, [training, False], of=of, ask=question)
        expect(model.weights()["table"], table, of="the model's weights afterwards", ask=question)


@check("score", points=1, seconds=QUICK)
def test_score_refuses_what_cannot_be_planned(lesson, expect, draw):
    """A text without anything to predict gets no score, and neither does a stride that skips."""
    model = lesson.toy("forgetful model", draw.normal(5, 5))
    question = "Who knows already which plans make no sense?"
    for n, block_size, stride in [(1, 4, 2), (0, 4, 2), (5, 4, 5), (5, 4, 0), (3, 0, 1)]:
        when = f"for a text of length {n} with block_size {block_size}, stride {stride}"
        with expect.raises(ValueError, when, ask=question):
            lesson.score(model, draw.ids(5, n), block_size, stride)


# 3. perplexity


@check("perplexity", points=1, seconds=QUICK)
def test_knowing_nothing(lesson, expect, draw):
    """Who knows nothing chooses among the whole vocabulary; who has narrowed it to 5, among 5."""
    for vocab_size, plan in [(37, (50, 8, 3)), (3, (6, 4, 4)), (8, (2, 1, 1))]:
        model = lesson.toy("forgetful model", torch.zeros(vocab_size, vocab_size))
        ids = draw.ids(vocab_size, plan[0])
        question = f"What is exp of log({vocab_size})?"
        of = f"the perplexity of a model for which {vocab_size} tokens are equally likely"
        expect(lesson.perplexity(model, ids, *plan[1:]), float(vocab_size), of=of, ask=question)
    five = torch.where(torch.arange(9) < 5, 2.0, -INF).expand(9, 9)
    mine = lesson.perplexity(lesson.toy("forgetful model", five), draw.ids(5, 20), 6, 4)
    expect(mine, 5.0, of="the perplexity of a model that can only rule out 4 of 9 tokens")


@check("perplexity", points=1, seconds=QUICK)
def test_first_the_mean_then_exp(lesson, expect, draw):
    """The perplexity is exp of the mean over tokens, whichever windows they came in."""
    model = lesson.toy("forgetful model", torch.tensor([[5.0, 0.0], [0.0, 0.0]]))
    right = math.exp(math.log(1 + math.exp(-5)) + 5 / 5)
    question = "How many tokens does each window bring into the mean? And when comes exp?"
    mine = lesson.perplexity(model, torch.tensor([0, 0, 0, 0, 0, 1]), 4, 4)
    expect(mine, right, of="the perplexity of four easy tokens and a hard one", ask=question)
    for n, block_size, stride in PLANS:
        table, ids = draw.normal(6, 6, scale=2.0), draw.ids(6, n)
        model = lesson.toy("mindful model", table, block_size)
        right = math.exp(surprises(rows_for(table, ids, block_size, stride), ids).mean())
        of = f"the perplexity of {n} tokens with block_size {block_size}, stride {stride}"
        expect(lesson.perplexity(model, ids, block_size, stride), right, of=of, ask=question)


@check("perplexity", points=1, seconds=QUICK)
def test_certain_and_impossible(lesson, expect, draw):
    """From 1, for a model that knows, to inf: no text is too surprising to be measured."""
    ids = torch.tensor([0, 1, 2, 0, 1])
    for nats, right in [(0, 1.0), (300, math.exp(300)), (20_000, INF), (INF, INF)]:
        sure = torch.eye(3).roll(2 if nats else 1, 1) == 1  # of the token that comes, or of another
        table = torch.where(sure, 0.0, -float(nats or 60))
        question = "What does math.exp do with 20,000? And a float of 32 bits with exp(300)?"
        of = f"the perplexity of a text whose tokens surprise by {nats} nats each"
        mine = lesson.perplexity(lesson.toy("forgetful model", table), ids, 3, 2)
        expect(mine, right, of=of, ask=question)
    with expect.raises(ValueError, "for a text of one token", ask="Whose work is the refusing?"):
        lesson.perplexity(lesson.toy("forgetful model", table), ids[:1], 3, 2)


def gpt2_of(lesson, baseline):
    """Lesson 05's GPT with a baseline's weights, and these weights."""
    needed = lesson.needed("model")
    weights = needed.convert_gpt2_weights(baseline.weights)
    return needed.GPT(needed.GPTConfig(**baseline.config)).load(weights), weights


@check("perplexity", points=1)
def test_gpt2_in_one_number(lesson, expect, draw, baseline):
    """Your measure takes a whole GPT, and finds what transformers' logits say about a text."""
    gpt2 = baseline.small  # 2 layers, 64 wide; transformers' answers for it are recorded
    model, weights = gpt2_of(lesson, gpt2)
    question = "Is the perplexity of one window that shows all of the text right already?"
    for ids, logits in zip(gpt2.ids, gpt2.logits, strict=True):
        right = math.exp(surprises(logits[:-1], ids).mean())
        mine = lesson.perplexity(model, ids, 64, 64)
        expect(mine, right, of="the perplexity of a small GPT-2", ask=question, tolerance=1e-4)
    ids = draw.ids(512, 90)  # two windows: one shows tokens 0 to 63, one 40 to 88
    logits = [gpt2_logits(weights, ids[None, a:b], 4)[0] for a, b in [(0, 64), (40, 89)]]
    rows = torch.cat([logits[0], logits[1][24:]])
    right = math.exp(surprises(rows, ids).mean())
    mine = lesson.perplexity(model, ids, 64, 40)
    expect(mine, right, of="the perplexity of a small GPT-2 with stride 40", tolerance=1e-4)


# 4. bits_per_byte


@check("bits_per_byte", points=1)
def test_bits_of_bytes(lesson, expect, draw):
    """Eight bits a byte is no compression, one bit a coin; a character may be several bytes."""
    for text in ("naïve 你", "🙂", "plain English", "é"):
        n_bytes = len(text.encode("utf-8"))
        for guess, bits in [(256, 8.0), (2, 1.0), (1, 0.0), (3, math.log2(3))]:
            question = f"How many bits tell one of {guess} equally likely things from the others?"
            of = f"bits per byte of {text!r}, its bytes guessed among {guess} each"
            mine = lesson.bits_per_byte(n_bytes * math.log(guess), n_bytes)
            expect(mine, bits, of=of, ask=question)
    for nats, n_bytes in [(1000.0, 1), (2.5, 7), (12345.6, 4321)]:
        right = math.log2(math.e) * nats / n_bytes
        of = f"bits per byte for {nats:g} nats and {n_bytes} bytes"
        expect(lesson.bits_per_byte(nats, n_bytes), right, of=of, ask="How many nats has a bit?")


@check("bits_per_byte", points=1)
def test_no_bytes_no_answer(lesson, expect, draw):
    """A text without bytes has no bits per byte: better to hear of it than to divide by 0."""
    for n_bytes in (0, -3):
        with expect.raises(ValueError, f"for {n_bytes} bytes", ask="Which error does x / 0 raise?"):
            lesson.bits_per_byte(5.0, n_bytes)


# 5. bits_per_character


@check("bits_per_character", points=1)
def test_bits_of_characters(lesson, expect, draw):
    """A text of Chinese has more bits per character than per byte, with the same surprise."""
    for text, total_bits in [("é你🙂a", 10.0), ("ab", 3.0), ("你", 24.0), ("naïve", 0.0)]:
        right = total_bits / len(text)
        question = f"How many characters has {text!r}, and how many bits are there for all of them?"
        mine = lesson.bits_per_character(total_bits * math.log(2), len(text))
        expect(mine, right, of=f"bits per character of {text!r}", ask=question)
    for nats, n in [(1000.0, 1), (2.5, 7), (12345.6, 4321)]:
        right = math.log2(math.e) * nats / n
        of = f"bits per character for {nats:g} nats and {n} characters"
        expect(lesson.bits_per_character(nats, n), right, of=of, ask="How many nats has a bit?")
    for n in (0, -1):
        with expect.raises(ValueError, f"for {n} characters", ask="Which error does x / 0 raise?"):
            lesson.bits_per_character(5.0, n)


# 6. next_token_accuracy


@check("next_token_accuracy", points=1, seconds=QUICK)
def test_share_of_first_choices(lesson, expect, draw):
    """You can say how often the model's best guess was right: 3 of 4 here."""
    ring = torch.tensor([[0.0, 3.0, 1.0], [1.0, 0.0, 2.0], [9.0, 7.0, 8.0]])  # 0 -> 1 -> 2 -> 0
    model = lesson.toy("forgetful model", ring)
    for text, share in [([0, 1, 2, 0, 2], 0.75), ([0, 2, 1], 0.0), ([2, 0, 1], 1.0)]:
        question = (
            "Which token has the largest logit at each place (along which dimension?), "
            "and is it the one that came?"
        )
        mine = lesson.next_token_accuracy(model, torch.tensor(text), 8, 8)
        expect(mine, share, of=f"the accuracy for {text}, guessed 0, 1, 2, 0, ...", ask=question)


@check("next_token_accuracy", points=1, seconds=QUICK)
def test_every_token_counts_once(lesson, expect, draw):
    """The share is over tokens, not over windows, with all the context that a window gives."""
    sure = torch.tensor([[5.0, 0.0], [0.0, 0.0]])
    ids = torch.tensor([0, 0, 0, 0, 0, 1])
    question = "Four hits in the first window, none in the last, which scores one token: how many?"
    mine = lesson.next_token_accuracy(lesson.toy("forgetful model", sure), ids, 4, 4)
    expect(mine, 0.8, of="the accuracy for four hits and a miss, block_size 4", ask=question)
    for n, block_size, stride in [*PLANS, (60, 9, 6), (80, 6, 2)]:
        table, ids = draw.normal(3, 3), draw.ids(3, n)
        model = lesson.toy("mindful model", table, block_size)
        hits = rows_for(table, ids, block_size, stride).argmax(-1) == ids[1:]
        of = f"the accuracy over {n} tokens with block_size {block_size}, stride {stride}"
        mine = lesson.next_token_accuracy(model, ids, block_size, stride)
        expect(mine, int(hits.sum()) / (n - 1), of=of, ask=question)


@check("next_token_accuracy", points=1, seconds=QUICK)
def test_lowest_of_equals_is_chosen(lesson, expect, draw):
    """A model that finds all tokens equally good gets no hit for each of them."""
    table = torch.tensor([[0.0, 2.0, 2.0], [1.0, 1.0, 1.0], [-1.0, -5.0, -1.0]])  # 0->1, 1->0, 2->0
    model = lesson.toy("forgetful model", table)
    question = "Two tokens have the largest logit. Are both the first choice?"
    for text, share in [([0, 1, 0, 2, 0, 2, 1, 1], 3 / 7), ([1, 2, 2, 0, 2], 0.25), ([1, 1], 0.0)]:
        mine = lesson.next_token_accuracy(model, torch.tensor(text), 3, 2)
        expect(mine, share, of=f"the accuracy for {text} where logits are equal", ask=question)


@check("next_token_accuracy", points=1, seconds=QUICK)
def test_accuracy_leaves_the_model_alone(lesson, expect, draw):
    """Here too the model is asked in evaluation mode, and what cannot be planned is refused."""
    table = torch.tensor([[0.0, 3.0, 1.0], [1.0, 0.0, 2.0], [9.0, 7.0, 8.0]])
    for training in (True, False):
        model, ids = lesson.toy("forgetful model", table), torch.tensor([0, 1, 2, 0, 2])
        model.train(training)
        question = "Is all that asks the model inside `evaluating`?"
        mine = lesson.next_token_accuracy(model, ids, 3, 3)
        expect(mine, 0.75, of=f"the accuracy of a model with training={training}", ask=question)
        after = [model.read("training"), model.read("with_gradients")]
        of = "whether the model is in training afterwards, and how often it kept gradients"
        expect(after, [training, 0], of=of, ask=question)
    with expect.raises(ValueError, "for a text of one token", ask="What is there to predict?"):
        lesson.next_token_accuracy(model, ids[:1], 3, 3)


# 7. top_predictions


@check("top_predictions", points=1, seconds=QUICK)
def test_best_of_all(lesson, expect, draw):
    """The model reads all of the text; what it holds likeliest next comes first."""
    for n, vocab_size, k in [(6, 7, 3), (1, 5, 1), (9, 5, 4), (2, 8, 8)]:
        table, ids = draw.normal(vocab_size, vocab_size, scale=2.0), draw.ids(vocab_size, n)
        shares = torch.softmax(table[int(ids.sum()) % vocab_size].double(), -1)
        best = torch.topk(shares, k).indices.tolist()
        right = [(token, float(shares[token])) for token in best]
        question = "At which place does the model say what follows the whole text?"
        mine = lesson.top_predictions(lesson.toy("mindful model", table), ids, k)
        of = f"the predictions after a text of length {n} with k = {k}"
        expect(mine, right, of=of, ask=question)


@check("top_predictions", points=1, seconds=QUICK)
def test_shares_of_the_whole_vocabulary(lesson, expect, draw):
    """A probability of 0.4 stays 0.4, also when the other tokens are not shown."""
    table = torch.tensor([0.1, 0.4, 0.2, 0.3]).log().expand(4, 4)
    shares = [(1, 0.4), (3, 0.3), (2, 0.2), (0, 0.1)]
    for shift, k in [(0.0, 1), (-7.0, 2), (50.0, 3), (0.0, 4), (0.0, 5), (0.0, 1000)]:
        question = "Over which tokens does your softmax go? And how many are there at most?"
        model = lesson.toy("forgetful model", table + shift)
        mine = lesson.top_predictions(model, draw.ids(4, 3), k)
        of = f"the predictions for 0.1, 0.4, 0.2, 0.3 with k = {k}"
        expect(mine, shares[:k], of=of, ask=question)


@check("top_predictions", points=1, seconds=QUICK)
def test_equals_in_the_order_of_ids(lesson, expect, draw):
    """Of equally likely tokens the one with the lowest id comes first, so everybody sees the same."""
    question = "Does your way of sorting keep equals in the order of their ids?"
    row = torch.tensor([1.0, 2.0, -INF, 2.0, -INF])
    model = lesson.toy("forgetful model", row.expand(5, 5))
    two, one = math.e / (2 * math.e + 1), 1 / (2 * math.e + 1)
    right = [(1, two), (3, two), (0, one), (2, 0.0), (4, 0.0)]
    for k in (1, 2, 4, 9):
        mine = lesson.top_predictions(model, torch.tensor([3]), k)
        of = f"the predictions for logits 1, 2, -inf, 2, -inf with k = {k}"
        expect(mine, right[:k], of=of, ask=question)
    row = (2 * draw.normal(300)).round() / 2  # many equals in a long row
    shares, logits = torch.softmax(row.double(), -1).tolist(), row.tolist()
    order = sorted(range(300), key=lambda token: -logits[token])
    model = lesson.toy("forgetful model", row.expand(300, 300))
    mine = lesson.top_predictions(model, torch.tensor([7, 8]), 120)
    right = [(token, shares[token]) for token in order[:120]]
    expect(mine, right, of="the 120 likeliest of 300 tokens, many of them equal", ask=question)


@check("top_predictions", points=1, seconds=QUICK)
def test_any_mode_and_precision(lesson, expect, draw):
    """A model in the middle of its training, or with numbers of 16 bits, is asked like any other."""
    for training, dtype in [(True, torch.float32), (False, torch.bfloat16)]:
        table, ids = draw.normal(6, 6, scale=2.0).to(dtype), draw.ids(6, 4)
        model = lesson.toy("forgetful model", table)
        model.train(training)
        shares = torch.softmax(table[ids[-1]].double(), -1)
        order = shares.sort(descending=True, stable=True).indices.tolist()
        question = "In which mode is the model asked? And has a bfloat16 enough digits for this?"
        mine = lesson.top_predictions(model, ids, 6)
        right = [(token, float(shares[token])) for token in order]
        expect(mine, right, of=f"predictions with training={training}, {dtype}", ask=question)
        after = [model.read("training"), model.read("with_gradients")]
        of = "whether the model is in training afterwards, and how often it kept gradients"
        expect(after, [training, 0], of=of, ask=question)


@check("top_predictions", points=1, seconds=QUICK)
def test_nothing_to_predict(lesson, expect, draw):
    """The best 0 tokens, or those after nothing: somebody has made a mistake, and should know."""
    model = lesson.toy("forgetful model", draw.normal(4, 4))
    for k in (0, -1):
        with expect.raises(ValueError, f"for k = {k}", ask="What would a slice up to -1 give?"):
            lesson.top_predictions(model, torch.tensor([2, 1]), k)
    with expect.raises(ValueError, "for a text without tokens", ask="Which place is the last one?"):
        lesson.top_predictions(model, draw.ids(4, 0), 3)


@check("top_predictions", points=1)
def test_gpt2_says_what_comes_next(lesson, expect, draw, baseline):
    """Your function shows what a GPT-2 thinks, and that is what transformers says it thinks."""
    gpt2 = baseline.small
    model, _ = gpt2_of(lesson, gpt2)
    for ids, logits in zip(gpt2.ids, gpt2.logits, strict=True):
        best = torch.softmax(logits[-1], -1).topk(5)
        right = list(zip(best.indices.tolist(), best.values.tolist(), strict=True))
        mine = lesson.top_predictions(model, ids, 5)
        expect(mine, right, of="the five likeliest tokens of a small GPT-2", tolerance=1e-4)
    text = torch.tensor(gpt2.greedy)
    tops = [lesson.top_predictions(model, text[:n], 1) for n in range(5, len(text), 3)]
    of = "the likeliest token after each part of a text that greedy decoding wrote"
    expect([[token for token, _ in top] for top in tops], [[t] for t in gpt2.greedy[5::3]], of=of)


# GPT-2's ids of two texts, and how many bytes stand behind their first token, "The"
FIXED_TEXTS = [
    # The president of the United States, and the president of the United Kingdom, have
    ([464, 1893, 286, 262, 1578, 1829, 11, 290, 262, 1893, 286, 262, 1578, 7526, 11, 423], 78),
    # The dog was found in a field near the intersection of West and West Streets.
    ([464, 3290, 373, 1043, 287, 257, 2214, 1474, 262, 16246, 286, 2688, 290, 2688, 27262, 13], 73),
]


@check("top_predictions", points=0, seconds=300)
def test_distilgpt2_in_numbers(lesson, expect, draw, baseline):
    """The real DistilGPT-2 gets the numbers that it should get, on two texts and on its own."""
    if baseline.missing:
        expect.skip(baseline.missing)
    model, weights = gpt2_of(lesson, baseline)
    n_head, windows = baseline.config["n_head"], [(0, 8, 0), (5, 13, 3), (10, 15, 3)]
    for text, n_bytes in FIXED_TEXTS:
        ids = torch.tensor(text)
        rows = [gpt2_logits(weights, ids[None, a:b], n_head)[0][seen:] for a, b, seen in windows]
        total, hits = surprises(torch.cat(rows), ids).sum(), torch.cat(rows).argmax(-1) == ids[1:]
        mine = [measure(model, ids, 8, 5) for measure in (lesson.score, lesson.perplexity)]
        mine += [lesson.next_token_accuracy(model, ids, 8, 5)]
        right = [(float(total), 15), math.exp(total / 15), int(hits.sum()) / 15]
        expect(mine, right, of="score, perplexity and accuracy of a text", tolerance=1e-4)
        bits = float(total) / math.log(2) / n_bytes
        mine = lesson.bits_per_byte(mine[0][0], n_bytes)
        expect(mine, bits, of="bits per byte of a text", tolerance=1e-4)
    # published is what greedy decoding makes of two tokens: the other 18 are all first choices
    ids = torch.tensor(baseline.published)
    logits = gpt2_logits(weights, ids[None, :-1], n_head)[0]
    right = (18 + int(logits[0].argmax() == ids[1])) / 19
    of = "the accuracy for a text that it would have written itself"
    expect(lesson.next_token_accuracy(model, ids, 32, 32), right, of=of)
    for n in (2, 7, 19):
        share = float(torch.softmax(logits[n - 1], -1)[ids[n]])
        mine = lesson.top_predictions(model, ids[:n], 1)
        expect(mine, [(baseline.published[n], share)], of=f"what follows {n} ids", tolerance=1e-4)


# stretch: calibration_curve


def sure_rows(draw, confidences):
    """One row of logits for each: its first choice, at some id, has this probability."""
    rows = []
    for confidence in confidences:
        shares = draw.uniform(len(confidences), low=0.5, high=1.0).double()
        best = draw.integer(0, len(confidences) - 1)
        shares[best] = 0.0
        shares *= (1 - confidence) / shares.sum()
        shares[best] = confidence
        rows.append(shares.log().float())
    return torch.stack(rows) + draw.normal(len(confidences), 1, scale=3.0)


def curve_of(rows, ids, bins):
    """Mean confidence, accuracy and count of each bin, token by token in plain Python."""
    inside = [[] for _ in range(bins)]
    for row, target in zip(torch.softmax(rows.double(), -1), ids[1:], strict=True):
        sure = float(row.max())
        inside[min(int(sure * bins), bins - 1)].append((sure, float(row.argmax() == target)))
    pairs = [torch.tensor(part, dtype=torch.float64).reshape(-1, 2) for part in inside]
    confidence, accuracy = torch.stack([part.mean(0) for part in pairs]).T
    return confidence, accuracy, torch.tensor([len(part) for part in inside])


@check("calibration_curve", points=1, seconds=QUICK)
def test_sure_and_right(lesson, expect, draw):
    """You see whether a model that says 0.7 is right in seven of ten cases; empty bins say nan."""
    table = sure_rows(draw, [0.33, 0.37, 0.53, 0.57, 0.73, 0.97, 0.91])
    for bins, n in [(10, 60), (10, 2), (1, 30), (3, 41), (50, 90)]:
        ids = draw.ids(7, n)
        right = curve_of(table[ids[:-1]], ids, bins)
        question = (
            "Whose probability is the confidence: the best token's, or that of what came? "
            "And what is the mean of no numbers?"
        )
        mine = lesson.calibration_curve(lesson.toy("forgetful model", table), ids, bins, 100, 100)
        of = f"(mean confidence, accuracy, count) of {n} tokens in {bins} bins"
        expect(mine, right, of=of, ask=question)


@check("calibration_curve", points=1, seconds=QUICK)
def test_borders_of_the_bins(lesson, expect, draw):
    """A confidence of exactly 1 is in the last bin, one of exactly 0.5 in the upper of two."""
    nan, ids = math.nan, torch.tensor([0, 0, 1, 0, 1])
    for table, bins, at, confidence in [
        (torch.tensor([[1e4, 0.0], [1e4, 0.0]]), 4, 3, 1.0),
        (torch.tensor([[1e4, 0.0], [1e4, 0.0]]), 1, 0, 1.0),
        (torch.zeros(2, 2), 4, 2, 0.5),
        (torch.zeros(2, 2), 2, 1, 0.5),
    ]:
        means = torch.full((2, bins), nan, dtype=torch.float64)
        means[:, at] = torch.tensor([confidence, 0.5])
        right = (means[0], means[1], 4 * (torch.arange(bins) == at))
        question = f"What is {confidence:g} times {bins}, and which bin is that, counted from 0?"
        mine = lesson.calibration_curve(lesson.toy("forgetful model", table), ids, bins, 4, 2)
        of = f"the curve in {bins} bins, all sure to {confidence:g}"
        expect(mine, right, of=of, ask=question)
    for bins in (0, -1):
        with expect.raises(ValueError, f"for {bins} bins", ask="Where would a token go?"):
            lesson.calibration_curve(lesson.toy("forgetful model", table), ids, bins, 4, 2)


@check("calibration_curve", points=1, seconds=QUICK)
def test_curve_over_all_windows(lesson, expect, draw):
    """Tokens of all windows are in one curve, with their context, and the model stays as it was."""
    for n, block_size, stride in [(31, 5, 3), (50, 9, 2), (20, 6, 6)]:
        table, ids = sure_rows(draw, [0.33, 0.47, 0.55, 0.65, 0.88, 0.93]), draw.ids(6, n)
        model = lesson.toy("mindful model", table, block_size)
        right = curve_of(rows_for(table, ids, block_size, stride), ids, 5)
        question = "When do you divide: in every window, or once all tokens are in their bins?"
        mine = lesson.calibration_curve(model, ids, 5, block_size, stride)
        of = f"the curve of {n} tokens with block_size {block_size}, stride {stride}"
        expect(mine, right, of=of, ask=question)
        after = [model.read("training"), model.read("with_gradients")]
        of = "whether the model is in training afterwards, and how often it kept gradients"
        expect(after, [True, 0], of=of, ask="Is all that asks the model inside `evaluating`?")
    with expect.raises(ValueError, "for a text of one token", ask="What is there to predict?"):
        lesson.calibration_curve(model, ids[:1], 5, 4, 2)


# stretch: expected_calibration_error


def doubles(*numbers):
    """A row of 64-bit numbers, as a calibration curve has them."""
    return torch.tensor(numbers, dtype=torch.float64)


@check("expected_calibration_error", points=1)
def test_gaps_weigh_by_tokens(lesson, expect, draw):
    """One number says how far the model is from knowing itself; bins without tokens say nothing."""
    nan = math.nan
    for confidence, accuracy, count, right in [
        (doubles(0.4, nan, 0.9), doubles(0.6, nan, 0.5), [1, 0, 3], (0.2 + 3 * 0.4) / 4),
        (doubles(0.25, 0.75), doubles(0.25, 0.75), [5, 2], 0.0),
        (doubles(nan, 1.0), doubles(nan, 0.5), [0, 4], 0.5),
        (doubles(0.3, 0.7), doubles(0.5, 0.5), [6, 6], 0.2),
    ]:
        question = "Do a gap upwards and a gap downwards cancel? How many tokens stand behind each?"
        mine = lesson.expected_calibration_error(confidence, accuracy, torch.tensor(count))
        of = f"the error for confidence {confidence.tolist()}, count {count}"
        expect(mine, right, of=of, ask=question)


@check("expected_calibration_error", points=1)
def test_gaps_of_any_curve(lesson, expect, draw):
    """Curves of any number of bins, with few tokens or many, full or nearly empty."""
    for bins in (1, 5, 12):
        confidence, accuracy = draw.uniform(2, bins).double()
        count = draw.ids(90, bins) * draw.mask(bins)
        count[0] = 7
        gaps = [abs(float(c - a)) for c, a in zip(confidence, accuracy, strict=True)]
        right = sum(gap * int(n) for gap, n in zip(gaps, count, strict=True)) / int(count.sum())
        empty = count == 0
        confidence[empty] = accuracy[empty] = math.nan
        question = "By what do you divide in the end?"
        mine = lesson.expected_calibration_error(confidence, accuracy, count)
        expect(mine, right, of=f"the error of a curve with bins = {bins}", ask=question)

"""Checks for lesson 08, choosing the next token. Which step turns which check green:

1. greedy               test_the_largest_logit_wins, test_first_among_equals
2. temperature          test_temperature_changes_the_odds, test_temperature_takes_any_shape,
                        test_temperature_must_be_above_zero
3. top_k                test_the_k_best_stay, test_equals_of_the_kth_stay,
                        test_k_as_large_as_you_like, test_k_of_zero_is_refused
4. top_p                test_nucleus_by_hand, test_nucleus_of_any_row, test_equals_in_order,
                        test_p_of_one_keeps_all, test_p_must_be_a_share
5. repetition_penalty   test_both_signs_get_less_likely, test_each_row_has_its_own_past,
                        test_penalty_refuses_what_makes_no_sense
6. sample               test_draws_without_a_choice, test_the_order_of_the_chain,
                        test_draws_follow_the_probabilities, test_a_seed_repeats_the_draws,
                        test_no_setting_is_overlooked
stretch  min_p          test_the_bar_hangs_at_the_best, test_min_p_at_its_limits,
                        test_min_p_comes_last
stretch  beam_search    test_two_beams_see_further, test_all_beams_find_the_best_of_all,
                        test_narrow_beams, test_when_a_beam_stops, test_beams_refuse_nothing_to_do
"""

import itertools
import math

import torch

from grader.checks import check

INF = math.inf


def log_of(*rows):
    """Logits whose softmax is these probabilities: their logarithms."""
    return torch.tensor(rows).log()


def staying(logits, *ids_by_row):
    """These logits of a table, with -inf for all ids that are not named in their row."""
    result = torch.full_like(logits, -INF)
    for row, ids in enumerate(ids_by_row):
        result[row, ids] = logits[row, ids]
    return result


# 1. greedy


@check("greedy", points=1)
def test_the_largest_logit_wins(lesson, expect, draw):
    """Each row gets the id of its own largest logit, whatever stands in front of the vocabulary."""
    question = (
        "For logits of shape (4, 7), how many ids are there, and from which numbers to which?"
    )
    for shape in [(4, 7), (1, 6), (5,), (2, 3, 5), (3, 3)]:
        logits = draw.normal(*shape, scale=3.0, shift=-2.0)
        right = torch.topk(logits, 1).indices[..., 0]
        expect(lesson.greedy(logits), right, of=f"greedy of logits {shape}", ask=question)


@check("greedy", points=1)
def test_first_among_equals(lesson, expect, draw):
    """Among equally large logits the lowest id wins, so the choice is the same everywhere."""
    logits = torch.tensor([[1.0, 3.0, 3.0, 2.0], [-5.0, -INF, -4.0, -4.0], [0.0, 0.0, 0.0, 0.0]])
    question = "Where two logits are equally large, which of the two ids do you give?"
    expect(lesson.greedy(logits), torch.tensor([1, 2, 0]), of="greedy with ties", ask=question)


# 2. temperature


@check("temperature", points=1)
def test_temperature_changes_the_odds(lesson, expect, draw):
    """Half the temperature squares the odds: 4 to 1 becomes 16 to 1."""
    logits = torch.tensor([[4.0, 1.0, 2.0]]).log()
    for t, odds in [(0.5, [16.0, 1.0, 4.0]), (2, [2.0, 1.0, 2.0**0.5]), (1.0, [4.0, 1.0, 2.0])]:
        right = torch.tensor([odds]).log()
        question = "Does a temperature of 2 bring logits closer together, or drive them apart?"
        of = f"the logits of 4 : 1 : 2 at temperature {t}"
        expect(lesson.temperature(logits, t), right, of=of, ask=question)


@check("temperature", points=1)
def test_temperature_takes_any_shape(lesson, expect, draw):
    """The logits keep their shape, and a token that has been refused stays refused."""
    for shape, t in [((3, 5), 0.3), ((6,), 1.7), ((2, 3, 4), 12.0), ((1, 2), 0.01)]:
        logits = draw.normal(*shape, scale=4.0)
        logits[..., 1] = -INF
        right = (logits.double() / t).float()
        question = "One division for all logits: what is -inf divided by a positive number?"
        of = f"logits {shape} at temperature {t}"
        expect(lesson.temperature(logits, t), right, of=of, ask=question)


@check("temperature", points=1)
def test_temperature_must_be_above_zero(lesson, expect, draw):
    """A temperature of 0 or less is refused, before it makes nan of a whole story."""
    for t in (0, 0.0, -0.5):
        question = "What is 0 / 0 for floats? And which token wins at a negative temperature?"
        with expect.raises(ValueError, f"for a temperature of {t}", ask=question):
            lesson.temperature(draw.normal(2, 3), t)


# 3. top_k


@check("top_k", points=1)
def test_the_k_best_stay(lesson, expect, draw):
    """The k largest logits of every row stay as they are; the others become -inf."""
    for shape, k in [((3, 7), 2), ((3, 7), 6), ((5,), 1), ((2, 3, 5), 3), ((1, 4), 2)]:
        logits = draw.normal(*shape, scale=2.0, shift=-1.0)
        logits = logits + 5 * torch.arange(shape[0]).view(-1, *[1] * (len(shape) - 1))
        rows = logits.reshape(-1, shape[-1])
        best = [sorted(range(shape[-1]), key=row.tolist().__getitem__)[-k:] for row in rows]
        right = staying(rows, *best).reshape(shape)
        question = "Has every row its own k-th largest? Does that one stay, and what do others get?"
        of = f"top_k of logits {shape} with k = {k}"
        expect(lesson.top_k(logits, k), right, of=of, ask=question)


@check("top_k", points=1)
def test_equals_of_the_kth_stay(lesson, expect, draw):
    """Tokens that are as good as the k-th stay with it: nothing speaks for one of them."""
    logits = torch.tensor([[3.0, 1.0, 2.0, 2.0, 2.0, -4.0], [0.0, -1.0, -2.0, -2.0, -3.0, -2.0]])
    kept = {1: ([0], [0]), 2: ([0, 2, 3, 4], [0, 1]), 3: ([0, 2, 3, 4], [0, 1, 2, 3, 5])}
    for k, ids in kept.items():
        question = f"Which logit is the {k}. largest, and which tokens are smaller than that?"
        of = f"top_k with ties and k = {k}"
        expect(lesson.top_k(logits, k), staying(logits, *ids), of=of, ask=question)


@check("top_k", points=1)
def test_k_as_large_as_you_like(lesson, expect, draw):
    """Where k is the whole vocabulary or more, nothing is refused; -inf stays -inf."""
    logits = draw.normal(3, 5)
    logits[1, 2:4] = -INF
    best = [list({0, 1, 2, 3, 4} - {int(row.argmin())}) for row in logits[[0, 2]]]
    right = staying(logits, best[0], [0, 1, 4], best[1])
    expect(lesson.top_k(logits, 4), right, of="top_k of 5 tokens with k = 4", ask="Who is last?")
    for k in (5, 6, 1000):
        question = "How many tokens can `topk` find in a row of 5?"
        expect(lesson.top_k(logits, k), logits, of=f"top_k of 5 tokens with k = {k}", ask=question)


@check("top_k", points=1)
def test_k_of_zero_is_refused(lesson, expect, draw):
    """Nobody can choose among 0 tokens: better to hear of it here."""
    for k in (0, -3):
        with expect.raises(ValueError, f"for k = {k}", ask="Is 0 the same as no filter at all?"):
            lesson.top_k(draw.normal(2, 4), k)


# 4. top_p


def nucleus(row, p):
    """The ids that stay in one row, in plain Python."""
    shares = torch.softmax(row.double(), -1).tolist()
    kept, total = [], 0.0
    for token in sorted(range(len(shares)), key=lambda i: -shares[i]):
        if total >= p:
            break
        kept.append(token)
        total += shares[token]
    return kept


@check("top_p", points=2)
def test_nucleus_by_hand(lesson, expect, draw):
    """Tokens are taken, best first, until they have p together: the last one needed is in."""
    logits = log_of([0.1, 0.6, 0.3], [0.7, 0.1, 0.2], [0.35, 0.32, 0.33])
    for p, kept in [
        (0.5, ([1], [0], [0, 2])),
        (0.65, ([1, 2], [0], [0, 2])),
        (0.75, ([1, 2], [0, 2], [0, 1, 2])),
        (0.05, ([1], [0], [0])),
        (0.95, ([0, 1, 2], [0, 1, 2], [0, 1, 2])),
    ]:
        question = "Before a token is taken, how much have the better ones together: p already?"
        of = f"top_p of (0.1, 0.6, 0.3), (0.7, 0.1, 0.2), (0.35, 0.32, 0.33) with p = {p}"
        expect(lesson.top_p(logits, p), staying(logits, *kept), of=of, ask=question)


@check("top_p", points=1)
def test_nucleus_of_any_row(lesson, expect, draw):
    """Sure rows keep few tokens and unsure ones many, in any shape and with any logits."""
    cases = [draw.normal(6, 9, scale=2.0), draw.normal(7), draw.normal(2, 3, 5, scale=4.0)]
    cases.append(torch.tensor([[1e4, -1e4, 0.0, 9999.0, 1e4], [-1e4, -INF, -1e4 - 5, -2e4, -1e4]]))
    for logits in cases:
        rows = logits.reshape(-1, logits.shape[-1])
        for p in (0.3, 0.6, 0.9):
            right = staying(rows, *[nucleus(row, p) for row in rows]).reshape(logits.shape)
            question = "The answers are in sorted order. How do they get back to their tokens?"
            of = f"top_p of logits {tuple(logits.shape)} with p = {p}"
            expect(lesson.top_p(logits, p), right, of=of, ask=question)


@check("top_p", points=1)
def test_equals_in_order(lesson, expect, draw):
    """Of equally probable tokens the lowest ids are taken first, and only as many as it needs."""
    even = torch.zeros(1, 4)  # four quarters: these sums are exact, also in floating point
    for p, n_kept in [(0.25, 1), (0.5, 2), (0.6, 3), (0.75, 3), (0.8, 4)]:
        question = f"How many quarters make {p}? Is one more needed, and which ones are taken?"
        of = f"top_p of four equal logits with p = {p}"
        right = staying(even, list(range(n_kept)))
        expect(lesson.top_p(even, p), right, of=of, ask=question)
    logits = (draw.normal(2, 300) * 2).round() / 2  # many equals in a long row
    for p in (0.4, 0.85):
        right = staying(logits, *[nucleus(row, p) for row in logits])
        question = "Does your sort keep equals in the order of their ids?"
        of = f"top_p of 300 logits, many of them equal, with p = {p}"
        expect(lesson.top_p(logits, p), right, of=of, ask=question)


@check("top_p", points=1)
def test_p_of_one_keeps_all(lesson, expect, draw):
    """With p = 1 nothing is refused, not even what rounds to 0; with a tiny p one token stays."""
    logits = torch.stack([torch.linspace(0, -200, 60), torch.linspace(-150, 0, 60)])
    question = "Can a sum of rounded probabilities be 1 before all tokens have been counted?"
    for p in (1.0, 1):
        expect(lesson.top_p(logits, p), logits, of=f"top_p with p = {p}", ask=question)
    question = "Is the set ever empty?"
    right = staying(logits, [0], [59])
    expect(lesson.top_p(logits, 1e-6), right, of="top_p with p = 0.000001", ask=question)


@check("top_p", points=1)
def test_p_must_be_a_share(lesson, expect, draw):
    """90 percent is 0.9: a p of 90 is refused, and so is 0."""
    for p in (0, 0.0, -0.1, 1.01, 90):
        with expect.raises(ValueError, f"for p = {p}", ask="From where to where may p go?"):
            lesson.top_p(draw.normal(2, 4), p)


# 5. repetition_penalty


@check("repetition_penalty", points=2)
def test_both_signs_get_less_likely(lesson, expect, draw):
    """A token that occurred gets less likely, whether its logit is positive or negative."""
    logits = torch.tensor([[2.0, -2.0, 0.0, 4.0, -1.0]])
    ids = torch.tensor([[0, 1, 2, 0]])
    question = "-2 divided by 2 is -1. Is the token more likely now, or less?"
    for penalty, first, second in [(2.0, 1.0, -4.0), (1.0, 2.0, -2.0), (0.5, 4.0, -1.0)]:
        right = torch.tensor([[first, second, 0.0, 4.0, -1.0]])
        of = f"the logits 2, -2, 0, 4, -1 after the text 0, 1, 2, 0 with penalty {penalty:g}"
        expect(lesson.repetition_penalty(logits, ids, penalty), right, of=of, ask=question)


@check("repetition_penalty", points=1)
def test_each_row_has_its_own_past(lesson, expect, draw):
    """Each text pays for its own tokens, for each of them once."""
    for rows, vocab_size, length in [(3, 8, 6), (1, 5, 9), (4, 4, 1), (2, 6, 0)]:
        logits, ids = draw.normal(rows, vocab_size, scale=3.0), draw.ids(vocab_size, rows, length)
        logits[0, 2] = -INF
        right = logits.clone()
        for row, past in enumerate(ids.tolist()):
            for token in set(past):
                logit = float(logits[row, token])
                right[row, token] = logit * 1.3 if logit < 0 else logit / 1.3
        question = "Whose tokens are looked up, and what happens to one that occurs twice?"
        of = f"the logits of {rows} texts of {length} tokens with penalty 1.3"
        expect(lesson.repetition_penalty(logits, ids, 1.3), right, of=of, ask=question)


@check("repetition_penalty", points=1)
def test_penalty_refuses_what_makes_no_sense(lesson, expect, draw):
    """Penalties of 0 or less and texts that belong to other rows are refused."""
    logits, ids = draw.normal(2, 3), draw.ids(3, 2, 4)
    for penalty in (0, -1.2):
        question = "What becomes of a positive logit divided by 0, or by -1?"
        with expect.raises(ValueError, f"for a penalty of {penalty}", ask=question):
            lesson.repetition_penalty(logits, ids, penalty)
    question = "Is there exactly one row of ids for each row of logits?"
    for shape in [(2,), (1, 4), (3, 4), (2, 4, 1)]:
        with expect.raises(ValueError, f"for logits (2, 3) and ids {shape}", ask=question):
            lesson.repetition_penalty(logits, draw.ids(3, *shape), 1.2)
    for shape in [(3,), (3, 5, 2)]:
        with expect.raises(ValueError, f"for logits {shape} and ids (3, 4)", ask=question):
            lesson.repetition_penalty(draw.normal(*shape), draw.ids(2, 3, 4), 1.2)


# 6. sample


def all_drawn(lesson, logits, ids=None, **settings):
    """The different tokens in 300 draws from one row; each has at least probability 0.1.

    So one of them is missing in a run with a probability below 300 * 0.9 ** 300 = 6e-12.
    """
    ids = None if ids is None else ids.expand(300, -1)
    drawn = lesson.sample(logits.expand(300, -1), ids, **settings)
    return sorted(set(drawn.flatten().tolist()))


@check("sample", points=1)
def test_draws_without_a_choice(lesson, expect, draw):
    """Where one token is certain it is drawn, one id for each row, for one row as for many."""
    logits = torch.tensor([[1e4, 0.0, -1e4], [-INF, -INF, -7.0]])
    question = "How many ids are there for B rows? What is left of the shape (1, 1) at the end?"
    for settings in ({}, {"top_p": 0.5}, {"top_k": 2}, {"temperature": 1e-3}):
        of = f"sample of rows with one certain token, {settings}"
        expect(lesson.sample(logits, **settings), torch.tensor([0, 2]), of=of, ask=question)
        expect(lesson.sample(logits[1:], **settings), torch.tensor([2]), of=of, ask=question)
    logits = draw.normal(6, 20).argsort(-1).float()  # 0 to 19 in some order
    question = "Which tokens are left to be drawn?"
    for settings in ({"top_k": 1}, {"top_p": 1e-6}, {"temperature": 0.01}):
        of = f"sample with {settings}, which leaves the best"
        expect(lesson.sample(logits, **settings), logits.argmax(-1), of=of, ask=question)


@check("sample", points=2)
def test_the_order_of_the_chain(lesson, expect, draw):
    """Penalty, temperature, top_k, top_p: each works on what the one before has left."""
    logits, place = log_of([0.4, 0.3, 0.2, 0.1]), draw.normal(4).argsort().argsort()
    logits = logits[:, place.argsort()]  # token i has gone to place[i]
    for settings, right in [
        ({"top_k": 3}, [0, 1, 2]),
        ({"top_p": 0.6}, [0, 1]),
        ({"temperature": 0.5, "top_p": 0.5}, [0]),  # 0.53, 0.30, 0.13, 0.03
        ({"temperature": 2.0, "top_p": 0.65}, [0, 1, 2]),  # 0.33, 0.28, 0.23, 0.16
        ({"top_k": 2, "top_p": 0.5}, [0]),  # 0.57, 0.43
        ({}, [0, 1, 2, 3]),
    ]:
        right = sorted(place[right].tolist())
        question = "Work out the probabilities after each link of the chain. Which one comes next?"
        of = f"the tokens that are drawn from 0.4, 0.3, 0.2, 0.1 (in some order) with {settings}"
        expect(all_drawn(lesson, logits, **settings), right, of=of, ask=question)
    logits, ids = torch.tensor([[2.0, 1.5, 1.0, -1.0]]), torch.tensor([[0, 0, 3]])
    for settings, right in [({"top_k": 1}, [1]), ({"top_k": 2}, [1, 2]), ({"top_p": 0.6}, [1, 2])]:
        drawn = all_drawn(lesson, logits, ids, repetition_penalty=3.0, **settings)
        question = "Token 0 has been there: is it the best before the penalty, and after it?"
        of = f"the tokens that are drawn with repetition_penalty 3 and {settings}"
        expect(drawn, right, of=of, ask=question)


# A right sampler exceeds these once in 1e9 runs, says the chi-square distribution with 3 and with 5
# degrees of freedom. It is exact for many draws; with the 20 or so expected of the rarest token
# here, a false alarm still has a probability below 1e-6.
LARGEST_CHI_SQUARE = {3: 44.84, 5: 50.69}


@check("sample", points=1, seconds=40)  # 15,000 rows: a loop over them is slow, and right
def test_draws_follow_the_probabilities(lesson, expect, draw):
    """In many draws each token comes as often as its probability says."""
    logits = torch.linspace(-1.2, 1.3, 6)[draw.normal(2, 6).argsort(-1)]  # in some order
    ids = torch.tensor([[0, 3, 3], [1, 2, 5]])
    rows = torch.arange(2).repeat(2500)  # two texts by turns in one batch
    penalised = logits.clone()
    for row, past in enumerate(ids.tolist()):
        for token in set(past):
            penalised[row, token] *= 1.5 if logits[row, token] < 0 else 1 / 1.5
    best = [row.argsort()[-4:].tolist() for row in logits]
    for settings, shaped in [
        ({}, logits),
        ({"temperature": 0.6, "top_k": 4}, staying(logits / 0.6, *best)),
        ({"repetition_penalty": 1.5, "temperature": 1.1}, penalised / 1.1),
    ]:
        generator = lesson.toy("generator", draw.integer(0, 10**6))
        drawn = lesson.sample(logits[rows], ids[rows], generator=generator, **settings)
        for row, chances in enumerate(torch.softmax(shaped.double(), -1)):
            mine = drawn[rows == row]
            counts = torch.tensor([int((mine == token).sum()) for token in range(6)])
            expected, possible = 2500 * chances, chances > 0
            chi_square = ((counts - expected) ** 2 / expected)[possible].sum()
            limit = LARGEST_CHI_SQUARE[int(possible.sum()) - 1]
            table = f"drawn    {counts.tolist()}\nexpected {expected.round().int().tolist()}"
            expect.true(
                bool(chi_square < limit and counts.sum() == counts[possible].sum() == 2500),
                f"in 2500 draws with {settings or 'no settings'}, the tokens come too often or too "
                "rarely",
                details=table,
                ask="From which probabilities are the tokens drawn, and how many draws are there?",
            )


@check("sample", points=1)
def test_a_seed_repeats_the_draws(lesson, expect, draw):
    """The same seed draws the same tokens; another one, or none, draws others."""
    logits = draw.normal(50, 30)  # two sets of draws are equal by chance about never: below 1e-40

    def drawn(generator):
        return lesson.sample(logits, temperature=1.2, top_k=20, generator=generator).tolist()

    question = "Where do the chances come from, when a generator is given?"
    first = drawn(lesson.generator(1))
    same = first == drawn(lesson.generator(1))
    expect.true(same, "the same seed draws other tokens the second time", ask=question)
    same = first == drawn(lesson.generator(2))
    expect.true(not same, "two different seeds draw the same tokens", ask=question)
    generator = lesson.toy("generator", 3)
    same = drawn(generator) == drawn(generator)
    expect.true(not same, "a generator that goes on draws the same tokens again", ask=question)
    question = "What happens when generator is None?"
    same = drawn(None) == drawn(None)
    expect.true(not same, "without a generator every call draws the same tokens", ask=question)


@check("sample", points=1)
def test_no_setting_is_overlooked(lesson, expect, draw):
    """A setting that makes no sense is heard of also in the chain; 0 is not None."""
    logits, ids = draw.normal(2, 4), draw.ids(4, 2, 3)
    for settings in (
        {"temperature": 0.0},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"repetition_penalty": 0.0},
    ):
        question = "Does your condition ask for None, or for anything that counts as false?"
        with expect.raises(ValueError, f"for {settings}", ask=question):
            lesson.sample(logits, ids, **settings)
    with expect.raises(ValueError, "for a repetition_penalty of 1.2 without ids"):
        lesson.sample(logits, repetition_penalty=1.2)


# stretch: min_p


@check("min_p", points=1)
def test_the_bar_hangs_at_the_best(lesson, expect, draw):
    """The bar of each row is a share of its best token's probability: low where all are low."""
    logits = log_of([0.5, 0.25, 0.15, 0.1], [0.1, 0.12, 0.08, 0.7]) + torch.tensor([[3.0], [-2.0]])
    question = "How high is the bar of a row whose best token has probability 0.5?"
    for p, kept in [(0.4, ([0, 1], [3])), (0.25, ([0, 1, 2], [3])), (0.16, ([0, 1, 2, 3], [1, 3]))]:
        of = f"min_p of (0.5, 0.25, 0.15, 0.1), (0.1, 0.12, 0.08, 0.7) with p = {p}"
        expect(lesson.min_p(logits, p), staying(logits, *kept), of=of, ask=question)
    for shape in [(7,), (2, 3, 5), (1, 4)]:
        logits = draw.normal(*shape, scale=1.5)
        shares = torch.softmax(logits.double(), -1)
        low = shares < 0.3 * shares.amax(-1, keepdim=True)
        right = torch.where(low, -INF, logits)
        expect(lesson.min_p(logits, 0.3), right, of=f"min_p of logits {shape} with p = 0.3")


@check("min_p", points=1)
def test_min_p_at_its_limits(lesson, expect, draw):
    """With 0 all stay, with 1 the best and its equals; anything outside is refused."""
    logits = torch.tensor([[0.0, -1e4, -INF, 0.0, -1.0], [1e4, 9999.0, 1e4, 0.0, -1e4]])
    question = "Is the best token below a bar that hangs as high as itself?"
    right = staying(logits, [0, 3], [0, 2])
    for p in (1.0, 1):
        expect(lesson.min_p(logits, p), right, of=f"min_p with p = {p}", ask=question)
    question = "How many tokens have a probability below 0?"
    for p in (0.0, 0):
        expect(lesson.min_p(logits, p), logits, of=f"min_p with p = {p}", ask=question)
    for p in (-0.01, 1.01):
        with expect.raises(ValueError, f"for p = {p}", ask="From where to where may p go?"):
            lesson.min_p(logits, p)


@check("min_p", points=1)
def test_min_p_comes_last(lesson, expect, draw):
    """In `sample`, min_p works on what the temperature and top_p have left."""
    logits, place = log_of([0.4, 0.3, 0.2, 0.1]), draw.normal(4).argsort().argsort()
    logits = logits[:, place.argsort()]
    for settings, right in [
        ({"min_p": 0.6}, [0, 1]),
        ({"min_p": 0.6, "temperature": 2.0}, [0, 1, 2]),  # ratios 1, 0.87, 0.71, 0.5
        ({"min_p": 0.6, "top_p": 0.5}, [0, 1]),  # after min_p alone the best would have 0.57
        ({"min_p": 0.0}, [0, 1, 2, 3]),
    ]:
        right = sorted(place[right].tolist())
        question = "Which probabilities does top_p add up: those before min_p, or those after it?"
        of = f"the tokens that are drawn from 0.4, 0.3, 0.2, 0.1 (in some order) with {settings}"
        expect(all_drawn(lesson, logits, **settings), right, of=of, ask=question)
    with expect.raises(ValueError, "for min_p = -1 in sample"):
        lesson.sample(logits, min_p=-1.0)


# stretch: beam_search


def best_of_all(table, ids, n_new, stop_token, length_penalty):
    """Every continuation scored one by one; the table knows the last two tokens."""
    log_p = torch.log_softmax(table.double(), -1)
    best_text, best_score = ids, -INF
    for length in range(1, n_new + 1):
        for new in itertools.product(range(len(table)), repeat=length):
            if stop_token in new[:-1] or (length < n_new and new[-1] != stop_token):
                continue
            text = [*ids.tolist(), *new]
            ends = range(len(text) - length, len(text))
            total = sum(float(log_p[tuple(text[end - 2 : end + 1])]) for end in ends)
            if total / length**length_penalty > best_score:
                best_text, best_score = torch.tensor(text), total / length**length_penalty
    return best_text, best_score


@check("beam_search", points=1)
def test_two_beams_see_further(lesson, expect, draw):
    """One beam takes the best token now; two find the better text behind the second best."""
    table = log_of([0.34, 0.33, 0.33], [0.98, 0.01, 0.01], [0.5, 0.4, 0.1])
    model = lesson.toy("next logits", table + torch.tensor([[3.0], [-5.0], [1.0]]))
    ids = torch.tensor([2])
    question = "After token 2, token 0 is best (0.5). Is 0.5 times 0.34 also the best text?"
    for n_beams, length_penalty, text, score in [
        (1, 1.0, [2, 0], math.log(0.5)),
        (1, 1.0, [2, 0, 0], math.log(0.5 * 0.34) / 2),
        (2, 0.0, [2, 1, 0], math.log(0.4 * 0.98)),
        (2, 2.0, [2, 1, 0], math.log(0.4 * 0.98) / 4),
    ]:
        n_new = len(text) - 1
        mine = lesson.beam_search(model, ids, n_beams, n_new, length_penalty=length_penalty)
        of = f"the best text and its score with n_beams = {n_beams}"
        expect(mine, (torch.tensor(text), score), of=of, ask=question)


@check("beam_search", points=1)
def test_all_beams_find_the_best_of_all(lesson, expect, draw):
    """With as many beams as there are texts, beam search finds the very best."""
    for stop_token, length_penalty in [(None, 1.0), (2, 1.0), (2, 0.0), (0, 2.0), (1, -1.0)]:
        table, ids = draw.normal(3, 3, 3, scale=1.5), draw.ids(3, 2 + draw.integer(0, 1))
        model = lesson.toy("next logits", table)
        mine = lesson.beam_search(model, ids, 27, 3, stop_token, length_penalty)
        right = best_of_all(table, ids, 3, stop_token, length_penalty)
        question = "Which texts are finished, what is n for each, and which score is the best?"
        of = f"the best text with stop_token {stop_token} and length_penalty {length_penalty:g}"
        expect(mine, right, of=of, ask=question, tolerance=1e-4)


@check("beam_search", points=1)
def test_narrow_beams(lesson, expect, draw):
    """A few beams go on at each step, each with its own past."""
    question = "A flat index i: which beam is it, which token? How many beams go on?"
    for n_beams, stop_token in [(1, None), (2, None), (3, None), (2, 1), (3, 4), (4, 0)]:
        table, ids = draw.normal(5, 5, 5, scale=1.5), draw.ids(5, 3)
        mine = lesson.beam_search(lesson.toy("next logits", table), ids, n_beams, 5, stop_token)
        expect(
            mine,
            of=f"the best text of {n_beams} beams, stop_token {stop_token}",
            ask=question,
            tolerance=1e-4,
        )
    for n_beams in (2, 3, 4) * 3:
        # every beam would like to stop, and yet n_beams others go on: longer texts score better
        table, ids = draw.normal(6, 6, 6) + 3 * (torch.arange(6) == 2), draw.ids(6, 2)
        model = lesson.toy("next logits", table)
        mine = lesson.beam_search(model, ids, n_beams, 4, 2, length_penalty=3.0)
        expect(
            mine,
            of=f"the best text of {n_beams} beams that could all stop",
            ask=question,
            tolerance=1e-4,
        )


@check("beam_search", points=1)
def test_when_a_beam_stops(lesson, expect, draw):
    """A stop counts only among the first n_beams; a search goes on beside a finished text."""
    ids = torch.tensor([2])
    for first, length_penalty, text, score in [
        # stopping (token 1) comes second: one beam does not take it, though it would score best
        ([0.6, 0.4, 0.0], 0.0, [2, 0, 0], math.log(0.6 * 0.4)),
        # stopping comes first, and the search goes on with token 0
        ([0.4, 0.6, 0.0], 0.0, [2, 1], math.log(0.6)),
        ([0.4, 0.6, 0.0], 9.0, [2, 0, 0], math.log(0.4 * 0.4) / 2**9),
    ]:
        model = lesson.toy("next logits", log_of([0.4, 0.25, 0.35], [0.1, 0.2, 0.7], first))
        mine = lesson.beam_search(model, ids, 1, 2, 1, length_penalty)
        of = f"the best text of one beam, where token 0 or the stop token begin with {first[:2]}"
        question = "Is the stop token the best candidate here? Who goes on when it is?"
        expect(mine, (torch.tensor(text), score), of=of, ask=question)
    certain = torch.tensor([[-INF, 0.0, -INF]] * 3)
    model = lesson.toy("next logits", certain)
    for stop_token, text in [(None, [2, 1, 1, 1, 1]), (1, [2, 1])]:
        mine = lesson.beam_search(model, ids, 3, 4, stop_token)
        expect(mine, (torch.tensor(text), 0.0), of="the only possible text")


@check("beam_search", points=1)
def test_beams_refuse_nothing_to_do(lesson, expect, draw):
    """A search without beams or without new tokens is a mistake somewhere else."""
    model, ids = lesson.toy("next logits", draw.normal(3, 3)), torch.tensor([0, 1])
    for n_beams, n_new in [(0, 3), (2, 0), (-1, -1)]:
        with expect.raises(ValueError, f"for {n_beams} beams and {n_new} new tokens"):
            lesson.beam_search(model, ids, n_beams, n_new)

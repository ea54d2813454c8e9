"""Lesson 08, judged by the transformers library, by closed forms and by chi-square."""

import itertools
import math
from collections.abc import Callable
from functools import partial

import pytest
import torch

from solutions.samplers import (
    beam_search,
    greedy,
    min_p,
    repetition_penalty,
    sample,
    temperature,
    top_k,
    top_p,
)

FALSE_ALARM = 1e-6  # how often a right sampler fails one chi-square test; seeds are fixed besides
INF = math.inf


def chi_square_p_value(drawn: torch.Tensor, probabilities: torch.Tensor) -> float:
    """The chance that a right sampler strays at least as far: Q(df/2, statistic/2), exactly."""
    observed = torch.bincount(drawn, minlength=len(probabilities)).double()
    possible = probabilities > 0
    assert observed[~possible].sum() == 0, "a token of probability 0 was drawn"
    expected = probabilities[possible].double() * len(drawn)
    assert expected.min() >= 5, "too few draws for the chi-square approximation"
    statistic = ((observed[possible] - expected) ** 2 / expected).sum()
    half_freedom = torch.tensor((int(possible.sum()) - 1) / 2, dtype=torch.float64)
    return float(torch.special.gammaincc(half_freedom, statistic / 2))


def logits_with_ties(rows: int, vocab_size: int, seed: int, step: float = 0.5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(rows, vocab_size, generator=generator) * 2 / step).round() * step


def kept(logits: torch.Tensor) -> list:
    """For each row, the ids that are not refused."""
    return [row.nonzero().flatten().tolist() for row in logits > -INF]


def from_probabilities(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows).log()


# every filter

FILTERS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "temperature": lambda logits: temperature(logits, 0.7),
    "top_k": lambda logits: top_k(logits, 3),
    "top_p": lambda logits: top_p(logits, 0.6),
    "top_p_1": lambda logits: top_p(logits, 1.0),
    "min_p": lambda logits: min_p(logits, 0.2),
    "repetition_penalty": lambda logits: repetition_penalty(
        logits, torch.arange(2 * len(logits)).view(-1, 2) % logits.shape[1], 1.3
    ),
}


@pytest.mark.parametrize("name", FILTERS)
def test_filters_work_row_by_row_and_change_nothing_they_were_given(name):
    apply = FILTERS[name]
    logits = logits_with_ties(5, 9, seed=1)
    logits[2, 4] = -INF
    before = logits.clone()
    together = apply(logits)
    assert together.shape == logits.shape
    assert together.dtype == logits.dtype
    if name != "repetition_penalty":  # which has a row of ids for each row
        for i, row in enumerate(logits):
            assert torch.equal(together[i], apply(row))
            assert torch.equal(together[i : i + 1], apply(logits[i : i + 1]))
        deep = logits.view(5, 1, 9).expand(5, 2, 9)
        assert torch.equal(apply(deep)[:, 1], together)
    together += 1.0
    assert torch.equal(logits, before)


@pytest.mark.parametrize("name", FILTERS)
def test_filters_keep_refused_tokens_refused_and_one_survivor_alive(name):
    apply = FILTERS[name]
    survivor = torch.full((2, 6), -INF)
    survivor[0, 4], survivor[1, 0] = -3.0, 1e4
    assert kept(apply(survivor)) == [[4], [0]]
    some = torch.tensor([[0.0, -INF, 0.0, -INF, 0.0, -INF], [-INF, 5.0, 5.0, -INF, -INF, -INF]])
    result = apply(some)
    assert (result[some == -INF] == -INF).all()
    assert not result.isnan().any()


@pytest.mark.parametrize("name", FILTERS)
def test_filters_survive_extreme_logits(name):
    logits = torch.tensor([[1e4, -1e4, 0.0, 9999.0, 1e4], [-1e4, -1e4, -1e4 - 5, -2e4, -1e4]])
    result = FILTERS[name](logits)
    assert not result.isnan().any()
    assert (result.amax(dim=-1) > -INF).all()
    probabilities = torch.softmax(result, -1)
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(2))


# greedy, temperature


def test_greedy_takes_the_first_of_the_largest():
    logits = torch.tensor([[1.0, 3.0, 3.0, 2.0], [-5.0, -INF, -4.0, -4.0], [0.0, 0.0, 0.0, 0.0]])
    assert greedy(logits).tolist() == [1, 2, 0]
    assert greedy(logits[0]).shape == ()
    assert greedy(logits.view(3, 1, 4)).shape == (3, 1)
    assert greedy(logits).dtype == torch.long


def test_temperature_divides():
    logits = torch.tensor([[2.0, -1.0, -INF]])
    assert temperature(logits, 0.5).tolist() == [[4.0, -2.0, -INF]]
    assert temperature(logits, 2).tolist() == [[1.0, -0.5, -INF]]
    assert torch.equal(temperature(logits, 1.0), logits)


@pytest.mark.parametrize("t", [0, 0.0, -0.5, math.nan])
def test_temperature_zero_says_use_greedy(t):
    with pytest.raises(ValueError, match=r"must be above 0, not .*use greedy"):
        temperature(torch.zeros(1, 3), t)
    with pytest.raises(ValueError, match="use greedy"):
        sample(torch.zeros(1, 3), temperature=t)


# top_k


def test_top_k_keeps_all_that_tie_with_the_kth():
    logits = torch.tensor([[3.0, 1.0, 2.0, 2.0, 2.0, -4.0], [5.0, 4.0, 3.0, 2.0, 1.0, 0.0]])
    assert kept(top_k(logits, 1)) == [[0], [0]]
    assert kept(top_k(logits, 2)) == [[0, 2, 3, 4], [0, 1]]
    assert kept(top_k(logits, 5)) == [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]
    for k in (6, 7, 1000):
        assert torch.equal(top_k(logits, k), logits)
    result = top_k(logits, 2)
    assert torch.equal(result[result > -INF], logits[result > -INF])


@pytest.mark.parametrize("k", [0, -3])
def test_top_k_refuses_less_than_one(k):
    with pytest.raises(ValueError, match=f"top_k must be at least 1, not {k}"):
        top_k(torch.zeros(1, 3), k)


# top_p


def test_top_p_keeps_the_token_that_crosses():
    logits = from_probabilities([0.125, 0.5, 0.25, 0.125])
    for p, expected in [(0.1, [1]), (0.49, [1]), (0.51, [1, 2]), (0.74, [1, 2])]:
        assert kept(top_p(logits, p)) == [expected]
    assert kept(top_p(logits, 0.76)) == [[0, 1, 2]]  # of two equals, the lower id
    assert kept(top_p(logits, 0.9)) == [[0, 1, 2, 3]]
    assert torch.equal(top_p(logits, 1.0), logits)


def test_top_p_stops_where_p_is_reached_exactly():
    # powers of two: these sums are exact, also in floating point
    assert kept(top_p(torch.zeros(1, 4), 0.5)) == [[0, 1]]
    assert kept(top_p(torch.zeros(1, 8), 0.625)) == [[0, 1, 2, 3, 4]]


def test_top_p_1_refuses_nothing_however_small():
    logits = torch.linspace(0, -200, 60).unsqueeze(0)  # the last probability rounds to 0
    assert torch.equal(top_p(logits, 1.0), logits)
    assert torch.equal(top_p(logits, 1), logits)


def test_top_p_sees_unsorted_rows_of_different_kinds():
    logits = from_probabilities([0.1, 0.2, 0.7], [0.7, 0.1, 0.2], [0.35, 0.33, 0.32])
    assert kept(top_p(logits, 0.75)) == [[1, 2], [0, 2], [0, 1, 2]]


@pytest.mark.parametrize("p", [0, 0.0, -0.1, 1.01, math.nan])
def test_top_p_refuses_what_is_no_share(p):
    with pytest.raises(ValueError, match="top_p must be above 0 and at most 1"):
        top_p(torch.zeros(1, 3), p)


# min_p


def test_min_p_compares_with_the_largest_probability():
    logits = from_probabilities([0.5, 0.25, 0.125, 0.125], [0.1, 0.1, 0.2, 0.6])
    assert kept(min_p(logits, 0.4)) == [[0, 1], [3]]
    assert kept(min_p(logits, 0.3)) == [[0, 1], [2, 3]]
    assert kept(min_p(torch.zeros(1, 5), 1.0)) == [[0, 1, 2, 3, 4]]
    assert kept(min_p(logits, 1)) == [[0], [3]]
    assert torch.equal(min_p(logits, 0.0), logits)
    assert kept(min_p(torch.tensor([[0.0, -1e4]]), 0)) == [[0, 1]]


@pytest.mark.parametrize("p", [-0.01, 1.01, math.nan])
def test_min_p_refuses_what_is_no_share(p):
    with pytest.raises(ValueError, match="min_p must be between 0 and 1"):
        min_p(torch.zeros(1, 3), p)


# repetition_penalty


def test_penalty_makes_both_signs_less_likely_once():
    logits = torch.tensor([[2.0, -2.0, 0.0, 4.0, -1.0], [2.0, -2.0, -INF, 4.0, -1.0]])
    ids = torch.tensor([[0, 1, 1, 2, 0], [4, 4, 4, 2, 3]])
    result = repetition_penalty(logits, ids, 2.0)
    assert result.tolist() == [[1.0, -4.0, 0.0, 4.0, -1.0], [2.0, -2.0, -INF, 2.0, -2.0]]
    assert torch.equal(repetition_penalty(logits, ids, 1.0), logits)
    assert repetition_penalty(logits, ids, 0.5)[0].tolist() == [4.0, -1.0, 0.0, 4.0, -1.0]
    nothing = torch.zeros(2, 0, dtype=torch.long)
    assert torch.equal(repetition_penalty(logits, nothing, 2.0), logits)


@pytest.mark.parametrize("penalty", [0, -1.2, math.nan])
def test_penalty_refuses_zero_and_less(penalty):
    with pytest.raises(ValueError, match="repetition_penalty must be above 0"):
        repetition_penalty(torch.zeros(1, 3), torch.zeros(1, 1, dtype=torch.long), penalty)


@pytest.mark.parametrize("shape", [(2,), (3,), (1, 3), (3, 3)])
def test_penalty_refuses_ids_of_other_rows(shape):
    with pytest.raises(ValueError, match=r"logits must be \(B, V\) and ids \(B, T\)"):
        repetition_penalty(torch.zeros(2, 3), torch.zeros(shape, dtype=torch.long), 1.2)


# transformers as the oracle


@pytest.mark.parametrize("step", [0.5, 1e-6])  # many ties, practically none
def test_filters_equal_transformers(step):
    from transformers.generation import logits_process as theirs

    ids = torch.randint(50, (20, 30), generator=torch.Generator().manual_seed(2))
    for seed in range(5):
        logits = logits_with_ties(20, 50, seed, step)
        logits[seed, seed * 3 : seed * 5] = -INF
        for t in (0.3, 1.0, 1.7):
            expected = theirs.TemperatureLogitsWarper(t)(ids, logits)
            torch.testing.assert_close(temperature(logits, t), expected)
        for k in (1, 2, 7, 49, 50, 60):
            assert torch.equal(top_k(logits, k), theirs.TopKLogitsWarper(k)(ids, logits))
        for p in (0.01, 0.1, 0.2, 0.5):
            assert torch.equal(min_p(logits, p), theirs.MinPLogitsWarper(p)(ids, logits))
        for penalty in (0.8, 1.0, 1.3):
            expected = theirs.RepetitionPenaltyLogitsProcessor(penalty)(ids, logits)
            torch.testing.assert_close(repetition_penalty(logits, ids, penalty), expected)
        for p in (0.03, 0.31, 0.55, 0.9, 0.97, 0.999):
            expected = theirs.TopPLogitsWarper(p)(ids, logits)
            # which of several equals stays is a free choice; which values stay is none
            ours = top_p(logits, p)
            assert torch.equal(ours.sort(dim=-1).values, expected.sort(dim=-1).values)
            assert torch.equal(ours[ours > -INF], logits[ours > -INF])
            if step == 1e-6:
                assert torch.equal(ours, expected)


SETTINGS = [
    {},
    {"temperature": 0.6},
    {"temperature": 1.8, "top_k": 5},
    {"temperature": 0.5, "top_p": 0.8},
    {"top_k": 6, "top_p": 0.7},
    {"temperature": 2.0, "min_p": 0.3},
    {"repetition_penalty": 1.8, "top_k": 4},
    {"repetition_penalty": 1.5, "temperature": 1.4, "top_k": 8, "top_p": 0.85, "min_p": 0.15},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: " ".join(settings) or "plain")
def test_sample_draws_from_transformers_distribution(settings):
    """Chi-square on 40,000 draws; false alarm 1e-6 in each of 16 tests."""
    from transformers.generation import logits_process as theirs

    chain: list = [theirs.TemperatureLogitsWarper(settings.get("temperature", 1.0))]
    if "repetition_penalty" in settings:
        penalty = settings["repetition_penalty"]
        chain.insert(0, theirs.RepetitionPenaltyLogitsProcessor(penalty))
    if "top_k" in settings:
        chain.append(theirs.TopKLogitsWarper(settings["top_k"]))
    if "top_p" in settings:
        chain.append(theirs.TopPLogitsWarper(settings["top_p"]))
    if "min_p" in settings:
        chain.append(theirs.MinPLogitsWarper(settings["min_p"]))

    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 12, generator=generator) * 1.5
    ids = torch.tensor([[0, 3, 3, 7, 11], [1, 2, 4, 4, 9]])
    shaped = logits
    for step in chain:
        shaped = step(ids, shaped)
    probabilities = torch.softmax(shaped, -1)
    rows = torch.arange(2).repeat(40_000)  # the two texts alternate in one batch
    drawn = sample(logits[rows], ids[rows], generator=generator, **settings)
    assert drawn.shape == (80_000,)
    assert drawn.dtype == torch.long
    for row in range(2):
        assert chi_square_p_value(drawn[rows == row], probabilities[row]) > FALSE_ALARM


def test_the_chi_square_itself_finds_a_wrong_temperature():
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(12, generator=generator).expand(40_000, 12)
    drawn = sample(logits, temperature=1.05, generator=generator)
    assert chi_square_p_value(drawn, torch.softmax(logits[0], -1)) < FALSE_ALARM


def test_the_quantile_equals_published_ones():
    # chi-square tables: upper 5 % point for 10 degrees of freedom, upper 0.1 % for 4
    for freedom, point, tail in [(10, 18.307, 0.05), (4, 18.467, 0.001)]:
        q = torch.special.gammaincc(torch.tensor(freedom / 2), torch.tensor(point / 2))
        assert q.item() == pytest.approx(tail, rel=1e-3)


def test_sample_is_seeded_and_leaves_the_global_seed_alone():
    logits = torch.randn(50, 30, generator=torch.Generator().manual_seed(5))
    before, state = logits.clone(), torch.get_rng_state()

    def draw(seed: int) -> list[int]:
        generator = torch.Generator().manual_seed(seed)
        return sample(logits, temperature=1.2, top_k=20, generator=generator).tolist()

    assert draw(1) == draw(1) != draw(2)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(logits, before)


def test_sample_at_the_corners():
    logits = torch.tensor([[1e4, 0.0, -1e4], [-INF, -INF, -7.0]])
    for settings in ({}, {"top_p": 0.5}, {"top_k": 2}, {"temperature": 1e-3}):
        assert sample(logits, **settings).tolist() == [0, 2]
    spread = torch.randn(8, 20, generator=torch.Generator().manual_seed(6))
    for settings in ({"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}, {"temperature": 1e-4}):
        assert torch.equal(sample(spread, **settings), greedy(spread))
    with pytest.raises(ValueError, match="needs ids"):
        sample(logits, repetition_penalty=1.2)


@pytest.mark.parametrize(
    ("name", "value"), [("top_k", 0), ("top_p", 0.0), ("top_p", 1.5), ("min_p", -1.0)]
)
def test_sample_does_not_overlook_wrong_settings(name, value):
    with pytest.raises(ValueError, match=name):
        sample(torch.zeros(1, 3), **{name: value})
    with pytest.raises(ValueError, match="repetition_penalty"):
        sample(torch.zeros(1, 3), torch.zeros(1, 1, dtype=torch.long), repetition_penalty=0.0)


# beam search


def toy_next_logits(vocab_size: int, seed: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """A model with memory: the logits depend on the last two tokens and on the length."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(6, vocab_size, vocab_size, vocab_size, generator=generator) * 1.5
    return lambda ids: table[ids.shape[1] % 6, ids[:, -2], ids[:, -1]]


def exhaustive(next_logits, ids, n_new, stop_token, length_penalty):
    """Every continuation of up to n_new tokens, scored one by one."""
    vocab_size = next_logits(ids.unsqueeze(0)).shape[1]
    best_score, best_text = -INF, None
    for length in range(1, n_new + 1):
        for tokens in itertools.product(range(vocab_size), repeat=length):
            if stop_token in tokens[:-1] or (length < n_new and tokens[-1] != stop_token):
                continue
            text, total = ids, 0.0
            for token in tokens:
                total += torch.log_softmax(next_logits(text.unsqueeze(0))[0], -1)[token].item()
                text = torch.cat([text, torch.tensor([token])])
            if total / length**length_penalty > best_score:
                best_score, best_text = total / length**length_penalty, text
    return best_text, best_score


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.0, -1.0])
@pytest.mark.parametrize("stop_token", [None, 2])
def test_beams_as_wide_as_all_texts_are_exhaustive_search(stop_token, length_penalty):
    for seed in range(3):
        model, ids = toy_next_logits(4, seed), torch.tensor([1, 3])
        text, total = beam_search(model, ids, 256, 4, stop_token, length_penalty)
        expected_text, expected = exhaustive(model, ids, 4, stop_token, length_penalty)
        assert text.tolist() == expected_text.tolist()
        assert total == pytest.approx(expected, abs=1e-5)


def test_one_beam_is_greedy_and_more_find_what_greedy_misses():
    # token 0 looks best now, but after token 1 everything is certain
    def model(ids: torch.Tensor) -> torch.Tensor:
        rows = {0: [0.34, 0.33, 0.33], 1: [0.98, 0.01, 0.01], 2: [0.5, 0.4, 0.1]}
        return from_probabilities(*[rows[int(last)] for last in ids[:, -1]])

    ids = torch.tensor([2])
    text, total = beam_search(model, ids, 1, 2)
    assert text.tolist() == [2, 0, 0]
    assert total == pytest.approx(math.log(0.5 * 0.34) / 2)
    text, total = beam_search(model, ids, 2, 2, length_penalty=0.0)
    assert text.tolist() == [2, 1, 0]
    assert total == pytest.approx(math.log(0.4 * 0.98))
    assert ids.tolist() == [2]


def test_one_beam_is_greedy_about_stopping_too():
    # token 0 may be followed by ten others, token 1 stops
    def model(ids: torch.Tensor) -> torch.Tensor:
        first = [p_first, 1 - p_first, *[0.0] * 9]
        later = [0.1, 0.0, *[0.1] * 9]
        return from_probabilities(*[later if len(row) > 1 else first for row in ids])

    p_first = 0.6  # stopping comes second, so it is not taken, though its text would score best
    text, _ = beam_search(model, torch.tensor([5]), 1, 2, stop_token=1, length_penalty=0.0)
    assert text[:2].tolist() == [5, 0]
    assert len(text) == 3
    p_first = 0.4  # stopping comes first, and the search goes on with the next best
    text, total = beam_search(model, torch.tensor([5]), 1, 2, stop_token=1, length_penalty=0.0)
    assert text.tolist() == [5, 1]
    assert total == pytest.approx(math.log(0.6))
    text, _ = beam_search(model, torch.tensor([5]), 1, 2, stop_token=1, length_penalty=9.0)
    assert text[:2].tolist() == [5, 0]
    assert len(text) == 3


def test_beam_search_never_takes_refused_tokens():
    def model(ids: torch.Tensor) -> torch.Tensor:
        return torch.tensor([-INF, 0.0, -INF]).expand(len(ids), 3)

    text, total = beam_search(model, torch.tensor([0]), 3, 4)
    assert text.tolist() == [0, 1, 1, 1, 1]
    assert total == 0.0
    text, _ = beam_search(model, torch.tensor([0]), 3, 4, stop_token=1)
    assert text.tolist() == [0, 1]


@pytest.mark.parametrize(("n_beams", "n_new"), [(0, 3), (2, 0), (-1, -1)])
def test_beam_search_refuses_nothing_to_do(n_beams, n_new):
    with pytest.raises(ValueError, match="at least 1"):
        beam_search(toy_next_logits(3, 0), torch.tensor([0, 1]), n_beams, n_new)


def test_beam_search_equals_transformers():
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=40, n_positions=32, n_embd=32, n_layer=2, n_head=2, initializer_range=0.6
    )
    torch.manual_seed(7)
    model = GPT2LMHeadModel(config).eval()
    cases = itertools.product(range(4), (2, 4, 7), (False, True), (0.0, 1.0, 1.5))
    n_stopped = 0
    for seed, n_beams, stops, length_penalty in cases:
        ids = torch.randint(40, (3 + seed,), generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            search = partial(beam_search, lambda rows: model(rows).logits[:, -1], ids)
            # a token of the best text, so that stopping there matters
            stop_token = int(search(4, 8)[0][-2]) if stops else None
            text, total = search(n_beams, 8, stop_token, length_penalty)
        theirs = model.generate(
            ids.unsqueeze(0),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            num_beams=n_beams,
            max_new_tokens=8,
            do_sample=False,
            eos_token_id=stop_token,
            pad_token_id=0,
            length_penalty=length_penalty,
            early_stopping="never",  # the exact rule: no text is given up early
            return_dict_in_generate=True,
            output_scores=True,
        )
        assert text.tolist() == theirs.sequences[0].tolist()
        assert total == pytest.approx(theirs.sequences_scores[0].item(), abs=1e-4)
        n_stopped += int(text[-1]) == stop_token
    assert n_stopped >= 5  # or the stop token has not been tested

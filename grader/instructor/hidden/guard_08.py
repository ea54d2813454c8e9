"""Hidden checks for lesson 08, choosing the next token: other rows, other settings, many calls."""

import math

import torch

from grader.instructor.guards import guard

INF = math.inf


def apart(places, low, high):
    """A number between low and high that is far from all of these, so that rounding decides nothing."""
    candidates = torch.linspace(low, high, 400, dtype=torch.float64)
    gaps = (candidates.unsqueeze(1) - places.flatten().unsqueeze(0)).abs().amin(dim=1)
    return float(candidates[gaps.argmax()])


def some_rows(draw):
    """Logits of sizes that stand in no check, some of them refused already."""
    for shape in [(5, draw.integer(30, 60)), (draw.integer(10, 25),), (2, 2, 2, 8), (4, 2), (3, 1)]:
        logits = draw.normal(*shape, scale=1.5)
        if shape[-1] > 9:
            logits[..., draw.integer(0, 9)] = -INF
        yield logits


@guard("test_the_largest_logit_wins")
def guard_greedy_in_any_rows(lesson, expect, draw):
    """Any shape, many equals, thirty calls of one shape."""
    rows = [*some_rows(draw), *(draw.normal(3, 5) for _ in range(30))]
    rows += [draw.ids(3, 6, 40).float(), draw.normal(2, 3000)]
    for logits in rows:
        best = logits.amax(-1, keepdim=True)
        right = (logits == best).float().cumsum(-1).eq(0).sum(-1)  # how many stand before it
        expect(lesson.greedy(logits), right, of=f"greedy of logits {tuple(logits.shape)}")


@guard("test_temperature_takes_any_shape")
def guard_temperatures_of_any_rows(lesson, expect, draw):
    """Any temperature for any logits, the same temperature for others, and whole numbers."""
    for logits in [*some_rows(draw), *some_rows(draw)]:
        for t in (draw.integer(2, 90) / 10, draw.integer(2, 9), 0.05):
            right = (logits.double() / t).float()
            of = f"logits {tuple(logits.shape)} at temperature {t}"
            expect(lesson.temperature(logits, t), right, of=of)


@guard("test_the_k_best_stay")
def guard_any_k_in_any_rows(lesson, expect, draw):
    """Any k, with equals and without, in rows of any number; -inf stays -inf."""
    rows = [*some_rows(draw), draw.ids(6, 4, 30).float() - 3]
    for logits in rows:
        size = logits.shape[-1]
        for k in {1, size // 3 + 1, max(1, size - 1), size, size + 7}:
            bar = logits.sort(-1, descending=True).values[..., min(k, size) - 1].unsqueeze(-1)
            right = torch.where(logits < bar, -INF, logits)
            of = f"top_k of logits {tuple(logits.shape)} with k = {k}"
            expect(lesson.top_k(logits, k), right, of=of)


def nucleus(logits, low=0.05, high=0.95):
    """A p for all rows that lies between sums, and these logits under it, in 64 bits."""
    shares, order = torch.softmax(logits.double(), -1).sort(dim=-1, descending=True, stable=True)
    sums = shares.cumsum(-1)
    p = apart(sums, low, high)
    refused = torch.zeros_like(logits, dtype=torch.bool)
    refused = refused.scatter(-1, order, sums - shares >= p)
    return p, logits.masked_fill(refused, -INF)


@guard("test_nucleus_by_hand")
def guard_nuclei_of_any_rows(lesson, expect, draw):
    """Sure rows and unsure ones side by side, of any number and length, for any p."""
    rows = list(some_rows(draw))
    spreads = torch.linspace(0.1, 5.0, 7).unsqueeze(1)
    rows.append(draw.normal(7, draw.integer(20, 40)) * spreads)
    for logits in rows:
        for low, high in [(0.05, 0.3), (0.3, 0.8), (0.8, 0.98)]:
            p, right = nucleus(logits, low, high)
            of = f"top_p of logits {tuple(logits.shape)} with p = {p:.4f}"
            expect(lesson.top_p(logits, p), right, of=of)
        expect(lesson.top_p(logits, 1.0), logits, of="top_p with p = 1")


@guard("test_equals_in_order")
def guard_equals_of_any_number(lesson, expect, draw):
    """Of many equal ones the lowest ids stay, as many as p asks for."""
    for size in (8, 64, 1024):
        even = torch.full((3, size), float(draw.integer(-5, 5)))
        for _ in range(2):
            kept = draw.integer(1, size)
            right = even.clone()
            right[:, kept:] = -INF
            of = f"top_p of {size} equal logits"
            expect(lesson.top_p(even, (kept - 0.5) / size), right, of=of)


@guard("test_both_signs_get_less_likely")
def guard_penalties_of_any_texts(lesson, expect, draw):
    """Any penalty, any number of texts of any length, both signs; other tokens stay as they are."""
    for rows, vocab_size, length in [(6, 40, 25), (1, 3, 30), (2, 300, 4), (5, 7, 1), (6, 40, 25)]:
        penalty = draw.integer(5, 40) / 10
        logits, ids = draw.normal(rows, vocab_size, scale=2.0), draw.ids(vocab_size, rows, length)
        logits[rows - 1, vocab_size - 1] = -INF
        seen = torch.zeros(rows, vocab_size, dtype=torch.bool).scatter(1, ids, True)
        moved = torch.where(logits < 0, logits.double() * penalty, logits.double() / penalty)
        right = torch.where(seen, moved.float(), logits)
        of = f"the logits of {rows} texts of {length} tokens with penalty {penalty}"
        expect(lesson.repetition_penalty(logits, ids, penalty), right, of=of)


def chain(logits, ids, settings):
    """What `sample` draws from, link by link, in 64 bits."""
    logits = logits.double()
    if "repetition_penalty" in settings:
        seen = torch.zeros_like(logits, dtype=torch.bool).scatter(1, ids, True)
        penalty = settings["repetition_penalty"]
        logits = torch.where(
            seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits
        )
    logits = logits / settings.get("temperature", 1.0)
    k = settings.get("top_k", logits.shape[-1])
    bar = logits.sort(-1, descending=True).values[:, k - 1].unsqueeze(-1)
    logits = logits.masked_fill(logits < bar, -INF)
    if "top_p" in settings:  # the p is chosen here
        settings["top_p"], logits = nucleus(logits, 0.5, 0.9)
    return logits


@guard("test_the_order_of_the_chain", seconds=40)
def guard_draws_with_all_settings(lesson, expect, draw):
    """Draws follow the probabilities at the end of the chain, whatever the settings are."""
    rows, size, times = 3, 7, 1000
    # no two logits nearer than 0.3, so that rounding decides nothing
    logits = torch.linspace(-0.9, 1.0, size)[draw.normal(rows, size).argsort(-1)]
    ids, mixed = draw.ids(size, rows, 3), torch.arange(rows).repeat(times)
    for settings in [
        {"temperature": draw.integer(6, 9) / 10, "top_p": None},
        {"repetition_penalty": draw.integer(13, 18) / 10, "temperature": 1.3, "top_k": 5},
        {"top_k": draw.integer(3, 4), "top_p": None, "repetition_penalty": 1.25},
    ]:
        chances = torch.softmax(chain(logits, ids, settings), -1)
        generator = lesson.toy("generator", draw.integer(0, 10**6))
        drawn = lesson.sample(logits[mixed], ids[mixed], generator=generator, **settings)
        expect(list(drawn.shape), [rows * times], of="the shape of the ids")
        counts = torch.stack([drawn[mixed == r].bincount(minlength=size) for r in range(rows)])
        possible = chances > 0
        expect.true(
            not counts[~possible].any(), f"with {settings}, a token is drawn that was refused"
        )
        due = times * chances[possible]
        off = float(((counts[possible] - due) ** 2 / due).sum())
        # at most 18 degrees of freedom: a right sampler exceeds 85 less than once in 10^9 times
        symptom = f"with {settings}, tokens come too often or too rarely"
        expect.true(off < 85, symptom, details=f"chi-square {off:.0f}, at most 85 is due")


@guard("test_draws_without_a_choice")
def guard_certain_tokens_in_any_rows(lesson, expect, draw):
    """Where all but one token are out, that one is drawn: for any number of rows, forty times."""
    for rows, size in [(1, 60), (20, 30), (3, 2)] + [(2, 5)] * 40:
        order = draw.normal(rows, size).argsort(-1)
        logits = order.float() / 2
        right = order.argmax(-1)
        settings = [{"top_k": 1}, {"top_p": 0.01}, {"temperature": 0.01}][draw.integer(0, 2)]
        of = f"sample of {rows} rows with {settings}, which leaves the best"
        expect(lesson.sample(logits, **settings), right, of=of)


@guard("test_a_seed_repeats_the_draws")
def guard_any_seed_repeats_the_draws(lesson, expect, draw):
    """Seeds that stand in no check repeat their draws, whatever has been drawn in between."""
    logits, ids = draw.normal(40, 25), draw.ids(25, 40, 6)
    seeds = [draw.integer(100, 10**9) for _ in range(3)]

    def drawn(seed):
        settings = {"top_p": 0.95, "repetition_penalty": 1.1, "generator": lesson.generator(seed)}
        return lesson.sample(logits, ids, **settings).tolist()

    first, again = [drawn(seed) for seed in seeds], [drawn(seed) for seed in seeds]
    expect.true(first == again, "the same seed draws other tokens the second time")
    expect.true(first[0] != first[1] != first[2], "two different seeds draw the same tokens")


@guard("test_the_bar_hangs_at_the_best")
def guard_bars_of_any_rows(lesson, expect, draw):
    """Any p in any rows."""
    for logits in some_rows(draw):
        shares = torch.softmax(logits.double(), -1)
        ratios = shares / shares.amax(-1, keepdim=True)
        for low, high in [(0.01, 0.2), (0.2, 0.9)]:
            p = apart(ratios, low, high)
            right = torch.where(ratios < p, -INF, logits)
            of = f"min_p of logits {tuple(logits.shape)} with p = {p:.4f}"
            expect(lesson.min_p(logits, p), right, of=of)


@guard("test_narrow_beams")
def guard_beams_in_other_tables(lesson, expect, draw):
    """Larger vocabularies, longer texts, other numbers of beams."""
    for size, n_beams, n_new, stop_token in [(9, 5, 7, 3), (12, 2, 9, None), (4, 6, 3, 0)]:
        table, ids = draw.normal(size, size, size, scale=1.5), draw.ids(size, draw.integer(2, 6))
        mine = lesson.beam_search(
            lesson.toy("next logits", table), ids, n_beams, n_new, stop_token, length_penalty=0.7
        )
        of = f"the best text of {n_beams} beams over {size} tokens"
        expect(mine, of=of, tolerance=1e-4)

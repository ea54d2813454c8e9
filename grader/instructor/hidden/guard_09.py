"""Hidden checks for lesson 09, generation: other models and windows, texts that take turns."""

import math

import torch

from grader.gpt2 import gpt2_head, gpt2_states, weight_shapes
from grader.instructor.guards import guard


def guess(table, text, block_size):
    """What a table says comes next: it sees the last block_size tokens of a text."""
    window = text[-block_size:]
    place = (len(window) - 1) % len(table)
    return table[place, window[-2:][0], window[-1]]  # alone, a token is its own past


def guesses(table, ids, block_size):
    """The same for every row: (B, T) -> (B, V)."""
    return torch.stack([guess(table, row, block_size) for row in ids.tolist()])


def best_text(table, ids, n_new, block_size):
    """Every row with n_new tokens more, always the best one of the table."""
    rows = ids.tolist()
    for row in rows * n_new:
        row.append(int(guess(table, row, block_size).argmax()))
    return torch.tensor(rows)


def two_tables(lesson, draw):
    """Two models of sizes that stand in no check: (model, table, block_size)."""
    made = []
    for size, block_size, n_layer in [(draw.integer(10, 14), draw.integer(12, 17), 3), (5, 2, 1)]:
        table = draw.normal(block_size, size, size, size, scale=2.0)
        made.append((lesson.toy("table model", table, block_size, n_layer), table, block_size))
    return made


@guard("test_the_last_place_speaks")
def guard_last_places_of_other_models(lesson, expect, draw):
    """Two models take turns over texts of any number and length, in and beyond their windows."""
    models = two_tables(lesson, draw)
    for rows, length in [(7, 3), (1, 1), (2, 30), (4, 12), (7, 3), (1, 45)]:
        for model, table, block_size in models:
            ids = draw.ids(table.shape[-1], rows, length)
            of = f"the logits after ids of shape {(rows, length)}, where block_size is {block_size}"
            right = guesses(table, ids, block_size)
            expect(lesson.next_token_logits(model, ids), right, of=of)


@guard("test_text_grows_by_the_best")
def guard_longer_texts_grow_by_the_best(lesson, expect, draw):
    """Longer texts of two models by turns."""
    models = two_tables(lesson, draw)
    for rows, length, n_new in [(4, 5, 18), (1, 20, 3)]:
        for model, table, block_size in models:
            ids = draw.ids(table.shape[-1], rows, length)
            right = best_text(table, ids, n_new, block_size)
            of = f"prompts of shape {(rows, length)} and {n_new} new tokens"
            mine = lesson.generate(model, ids, n_new, use_cache=False)
            expect(mine, right, of=of)


@guard("test_your_choice_counts")
def guard_any_choice_counts(lesson, expect, draw):
    """A long plan for many rows is followed, and each step is shown the logits of its text."""
    model, table, block_size = two_tables(lesson, draw)[0]
    size = table.shape[-1]
    ids, plan = draw.ids(size, 4, 2), draw.ids(size, 4, 20)
    right = torch.cat([ids, plan], dim=1)
    choose = lesson.toy("planned choice", plan)
    mine = lesson.generate(model, ids, 20, choose, use_cache=False)
    expect(mine, right, of="the text that `choose` chose")
    logits = [guesses(table, right[:, : 2 + step], block_size) for step in range(20)]
    expect(choose.read("logits"), logits, of="the logits that `choose` was shown")


@guard("test_rows_stop_one_by_one")
def guard_many_rows_stop_one_by_one(lesson, expect, draw):
    """Many rows, each with its own end, any stop token."""
    model, table, _ = two_tables(lesson, draw)[0]
    size, n_max = table.shape[-1], 15
    for stop in (0, draw.integer(1, size - 1)):
        plan = draw.ids(size - 1, 6, n_max)
        plan[plan >= stop] += 1  # no stop token yet
        ends = [draw.integer(0, n_max - 3) for _ in range(6)]
        plan[range(6), ends] = stop
        right = plan.clone()
        for row, end in enumerate(ends):
            right[row, end:] = stop
        ids = draw.ids(size, 6, 3)
        right = torch.cat([ids, right[:, : max(ends) + 1]], dim=1)
        choose = lesson.toy("planned choice", plan)
        mine = lesson.generate(model, ids, n_max, choose, stop, use_cache=False)
        expect(mine, right, of=f"the text of six rows with stop token {stop}")


@guard("test_all_that_was_appended")
def guard_caches_do_not_mix(lesson, expect, draw):
    """Two caches take turns, through many calls and several times of making room."""
    sizes = [(1, 5, 7), (4, 2, 3)]
    caches, kept = [lesson.LayerCache() for _ in sizes], [[], []]
    for length in (5, 1, 58, 1, draw.integer(2, 9), 100, 1, 1):
        for cache, (rows, n_head, size), parts in zip(caches, sizes, kept, strict=True):
            k, v = draw.normal(rows, n_head, length, size), draw.normal(rows, n_head, length, size)
            parts.append((k, v))
            right = [torch.cat(all_of, dim=2) for all_of in zip(*parts, strict=True)]
            of = f"keys and values of a cache after {len(parts)} calls"
            expect(list(cache.append(k, v)), right, of=of)
            expect(cache.read("length"), right[0].shape[2], of=f"length after {len(parts)} calls")


@guard("test_only_what_counts_is_kept")
def guard_any_length_can_be_forgotten(lesson, expect, draw):
    """Forget and append, fifteen times, across the borders of the buffers."""
    cache = lesson.LayerCache()
    k = v = torch.zeros(2, 3, 0, 4)
    for _ in range(15):
        length, new = draw.integer(0, k.shape[2]), draw.integer(1, 70)
        cache.put("length", length)
        new_k, new_v = draw.normal(2, 3, new, 4), draw.normal(2, 3, new, 4)
        k = torch.cat([k[:, :, :length], new_k], dim=2)
        v = torch.cat([v[:, :, :length], new_v], dim=2)
        of = f"{new} tokens appended when `length` had been set to {length}"
        expect(list(cache.append(new_k, new_v)), [k, v], of=f"keys and values, with {of}")


@guard("test_cached_is_uncached")
def guard_cached_gpts_are_uncached(lesson, expect, draw):
    """A GPT of another shape: two texts with a cache each, several tokens at once, some forgotten."""
    shape = {"vocab_size": 31, "block_size": draw.integer(14, 20), "n_layer": 3, "n_head": 2}
    shape |= {"n_embd": 2 * draw.integer(4, 7)}
    weights = {
        name: draw.normal(*size, scale=0.5, shift=float("ln_" in name))
        for name, size in weight_shapes(**shape).items()
    }
    part = lesson.needed("model")
    model = part.GPT(part.GPTConfig(**shape)).double().load(weights)
    model.eval()
    texts = [draw.ids(31, rows, 20) for rows in (2, 3)]
    caches = [lesson.KVCache(3) for _ in texts]
    for length in (2, 3, 7, 13, 9, 10, 20):
        for number, (ids, cache) in enumerate(zip(texts, caches, strict=True)):
            if cache.read("length") >= length:  # another text, that begins as this one did
                cache.truncate(length - 3)
                texts[number] = torch.cat([ids[:, : length - 3], draw.ids(31, len(ids), 20)], dim=1)
            text = texts[number][:, :length]
            seen = text[:, -shape["block_size"] :]
            right = gpt2_head(weights, gpt2_states(weights, seen, 2)[-1])[:, -1]
            mine = lesson.next_token_logits(model, text, cache)
            expect(mine, right, of=f"the cached logits after {length} tokens")
            if length <= shape["block_size"]:
                expect(cache.read("length"), length, of="the cache's length")


@guard("test_generate_uses_the_cache")
def guard_cached_texts_read_each_token_once(lesson, expect, draw):
    """Any prompt and any number of new tokens, as long as they fit: each token is read once."""
    table = draw.normal(30, 8, 8, 8, scale=2.0)
    for rows, length, n_new in [(3, draw.integer(7, 12), 15), (1, 2, draw.integer(20, 27))]:
        ids, model = draw.ids(8, rows, length), lesson.toy("table model", table, 30, 4)
        right = best_text(table, ids, n_new, 30)
        expect(lesson.generate(model, ids, n_new), right, of="the text")
        total = sum(model.read("lengths"))
        of = f"how many tokens the model read for {length} tokens and {n_new} more"
        expect(total, length + n_new - 1, of=of)
    for model, table, block_size in two_tables(lesson, draw):  # beyond their windows
        ids = draw.ids(table.shape[-1], 3, 4)
        right = best_text(table, ids, 18, block_size)
        expect(lesson.generate(model, ids, 18), right, of="a text longer than the window")


def measures(logits, token):
    """What a step's measures are, in plain Python."""
    shares = [p for p in torch.softmax(logits.double(), -1).tolist() if p > 0]
    return token, max(shares), -sum(p * math.log(p) for p in shares)


@guard("test_measures_of_any_logits")
def guard_measures_of_many_logits(lesson, expect, draw):
    """Vocabularies of any size, twenty times, with impossible tokens and without."""
    for size in [draw.integer(2, 60) for _ in range(20)] + [2000]:
        logits, token = draw.normal(size, scale=2.0), draw.integer(0, size - 1)
        logits[1:][draw.uniform(size - 1) < 0.2] = -math.inf
        of = f"token, max_probability and entropy of {size} logits"
        expect(lesson.measure_step(logits, token), measures(logits, token), of=of)


@guard("test_trace_in_closed_form")
def guard_traces_of_other_texts(lesson, expect, draw):
    """Two models take turns over texts of any length, from any place on."""
    models = two_tables(lesson, draw)
    for length in (3, 12, 30, 3):
        for model, table, block_size in models:
            ids, start = draw.ids(table.shape[-1], length), draw.integer(1, length)
            text = ids.tolist()
            for begin in {1, start}:
                places = range(begin, length)
                right = [measures(guess(table, text[:i], block_size), text[i]) for i in places]
                of = f"the trace of {length} tokens from place {begin} on"
                expect(lesson.trace(model, ids, begin), right, of=of)


@guard("test_stream_is_generate")
def guard_other_streams_are_generate(lesson, expect, draw):
    """Longer streams of two models by turns."""
    models = two_tables(lesson, draw)
    for rows, length, n_new in [(4, 6, 22), (1, 25, 3)]:
        for model, table, block_size in models:
            ids = draw.ids(table.shape[-1], rows, length)
            right = list(best_text(table, ids, n_new, block_size)[:, length:].T)
            of = f"the stream of {n_new} tokens behind prompts of shape {(rows, length)}"
            expect(lesson.listed(lesson.stream, model, ids, n_new), right, of=of)


@guard("test_sure_models_leave_no_choice")
def guard_other_sure_models_leave_no_choice(lesson, expect, draw):
    """Other windows, vocabularies and numbers of proposals."""
    for windows, length, n_new, n_draft in [
        ((draw.integer(15, 22), 11), 4, 25, 5),
        ((10, draw.integer(11, 16)), 2, 17, 6),
        ((40, 40), 3, 20, 7),
    ]:
        size = draw.integer(8, 11)
        table, other = (draw.normal(n, size, size, size).argsort(-1).float() * 40 for n in windows)
        other[: min(windows), :5] = table[: min(windows), :5]
        models = [lesson.toy("table model", t, len(t), 3) for t in (table, other)]
        ids = draw.ids(size, 1, length)
        mine = lesson.speculative_decode(*models, ids, n_new, n_draft)
        of = f"{length} tokens and {n_new} more, with windows of {windows} and n_draft = {n_draft}"
        expect(mine, best_text(table, ids, n_new, windows[0]), of=of)

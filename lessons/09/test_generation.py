"""Checks for lesson 09, generation. Which step turns which check green:

1. next_token_logits   test_the_last_place_speaks, test_the_window_slides, test_gpt_is_asked
2. generate            test_text_grows_by_the_best, test_your_choice_counts,
                       test_rows_stop_one_by_one, test_what_stops_a_text,
                       test_model_comes_back_as_it_was, test_text_may_be_trained_on
3. LayerCache.append   test_all_that_was_appended, test_only_what_counts_is_kept,
                       test_other_texts_are_refused, test_a_step_copies_nothing,
                       test_cached_is_uncached, test_generate_uses_the_cache
4. measure_step        test_sure_and_unsure, test_measures_of_any_logits
5. trace               test_trace_in_closed_form, test_trace_starts_where_told,
                       test_trace_leaves_the_model_alone
stretch  stream        test_stream_is_generate, test_stream_gives_back_what_it_borrows
stretch  speculative_decode   test_every_second_guess_is_kept, test_no_difference_in_the_long_run,
                       test_sure_models_leave_no_choice, test_speculation_saves_calls

Most checks let a table write: a model whose logits are looked up by place, by the token before and
by the token itself, so that what is right can be looked up, too (`guess`).
"""

import math

import torch

from grader.checks import check
from grader.gpt2 import gpt2_head, gpt2_logits, gpt2_states, weight_shapes


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


# 1. next_token_logits


@check("next_token_logits", points=1)
def test_the_last_place_speaks(lesson, expect, draw):
    """What follows a text is guessed at its last place: one row of logits for each text."""
    table = draw.normal(6, 7, 7, 7, scale=2.0)
    model = lesson.toy("table model", table, 6)
    for rows, length in [(3, 4), (1, 6), (2, 1), (5, 2), (3, 3)]:
        ids = draw.ids(7, rows, length)
        question = "The model gives (B, 1, V) with last_only. Which dimension is too many?"
        of = f"the logits after ids of shape {(rows, length)}, where block_size is 6"
        mine = lesson.next_token_logits(model, ids)
        expect(mine, guesses(table, ids, 6), of=of, ask=question)


@check("next_token_logits", points=1)
def test_the_window_slides(lesson, expect, draw):
    """A text may be longer than what the model can see: its last block_size tokens count."""
    for block_size in (6, 4, 1):
        table = draw.normal(block_size, 7, 7, 7, scale=2.0)
        model = lesson.toy("table model", table, block_size)
        for rows, extra in [(2, 0), (3, 1), (1, 3), (2, 9)]:
            ids = draw.ids(7, rows, block_size + extra)
            question = "Which end of the text matters for what comes next? How much of it fits?"
            of = f"the logits after {block_size + extra} tokens, where block_size is {block_size}"
            mine = lesson.next_token_logits(model, ids)
            expect(mine, guesses(table, ids, block_size), of=of, ask=question)


SMALL = {"vocab_size": 23, "block_size": 9, "n_layer": 2, "n_head": 3, "n_embd": 12}


def new_gpt(lesson, draw):
    """A small GPT as in lesson 05, and its weights: random, and large enough for wandering texts."""
    weights = {
        name: draw.normal(*size, scale=0.5, shift=float("ln_" in name)) * (1 + 3 * (".w" in name))
        for name, size in weight_shapes(**SMALL).items()
    }
    part = lesson.needed("model")
    model = part.GPT(part.GPTConfig(**SMALL)).load(weights)
    model.requires_grad_(False)
    model.eval()
    return model, weights


@check("next_token_logits", points=1)
def test_gpt_is_asked(lesson, expect, draw):
    """Your function works with the model of lesson 05, not only with a table."""
    model, weights = new_gpt(lesson, draw)
    for rows, length in [(2, 5), (3, 9), (1, 16)]:
        ids = draw.ids(23, rows, length)
        right = gpt2_logits(weights, ids[:, -9:], 3)[:, -1]
        of = f"a GPT's logits after {length} tokens, where block_size is 9"
        question = "The model gives two things, logits and loss. Which one do you return?"
        expect(lesson.next_token_logits(model, ids), right, of=of, ask=question, tolerance=3e-4)


# 2. generate. (Without a cache, so that it can be written now.)


@check("generate", points=2)
def test_text_grows_by_the_best(lesson, expect, draw):
    """Ask, choose, append, ask again: the model writes, also beyond its window."""
    table = draw.normal(6, 7, 7, 7, scale=2.0)
    model = lesson.toy("table model", table, 6)
    for rows, length, n_new in [(2, 3, 1), (3, 2, 8), (1, 9, 3), (1, 1, 12), (2, 4, 0)]:
        ids = draw.ids(7, rows, length)
        mine = lesson.generate(model, ids, n_new, use_cache=False)
        of = f"prompts of shape {(rows, length)} and {n_new} new tokens"
        question = "How long is the text at the end? Does each step see all that was written?"
        expect(mine, best_text(table, ids, n_new, 6), of=of, ask=question)


@check("generate", points=1)
def test_your_choice_counts(lesson, expect, draw):
    """`choose` decides, whatever is most likely, and it sees the whole text so far."""
    table, ids, plan = draw.normal(4, 7, 7, 7), draw.ids(7, 2, 3), draw.ids(7, 2, 6)
    choose = lesson.toy("planned choice", plan)
    mine = lesson.generate(lesson.toy("table model", table, 4), ids, 6, choose, use_cache=False)
    right = torch.cat([ids, plan], dim=1)
    expect(mine, right, of="the text that `choose` chose", ask="Who chooses the next token?")
    texts = [right[:, : 3 + step].tolist() for step in range(6)]
    question = "A penalty for repetition: must it know tokens that have left the window?"
    expect(choose.read("texts"), texts, of="the texts that `choose` was shown", ask=question)
    logits = [guesses(table, right[:, : 3 + step], 4) for step in range(6)]
    expect(choose.read("logits"), logits, of="the logits that `choose` was shown")


@check("generate", points=1)
def test_rows_stop_one_by_one(lesson, expect, draw):
    """A row that has had its stop token gets only more of it, until the last row has had it."""
    ids = draw.ids(8, 3, 2)
    plan = torch.tensor([[1, 2, 9, 4, 5, 6], [1, 9, 3, 4, 9, 6], [1, 2, 3, 9, 5, 6]])
    right = torch.tensor([[1, 2, 9, 9], [1, 9, 9, 9], [1, 2, 3, 9]])
    model = lesson.toy("table model", draw.normal(5, 10, 10, 10), 5)
    question = "Which rows are finished after each step? When are all of them?"
    for rows, n_max, n_new in [([0, 1, 2], 6, 4), ([1, 0], 6, 3), ([0, 1, 2], 2, 2), ([2], 6, 4)]:
        choose = lesson.toy("planned choice", plan[rows])
        mine = lesson.generate(model, ids[rows], n_max, choose, 9, use_cache=False)
        of = f"the text of rows {rows}, with stop token 9 and max_new_tokens = {n_max}"
        expect(mine, torch.cat([ids[rows], right[rows, :n_new]], dim=1), of=of, ask=question)


@check("generate", points=1)
def test_what_stops_a_text(lesson, expect, draw):
    """Token 0 can be a stop token like any other; one in the prompt ends nothing."""
    model = lesson.toy("table model", draw.normal(9, 6, 6, 6), 9)
    plan = torch.tensor([[3, 0, 2, 5], [0, 4, 1, 5]])
    for stop, prompt, right in [
        (0, [[1, 2], [3, 4]], [[3, 0], [0, 0]]),
        (None, [[1, 2], [3, 4]], plan.tolist()),
        (2, [[2, 2], [1, 2]], [[3, 0, 2, 2], [0, 4, 1, 5]]),
    ]:
        choose, ids = lesson.toy("planned choice", plan), torch.tensor(prompt)
        mine = lesson.generate(model, ids, 4, choose, stop, use_cache=False)
        question = (
            "Does your condition ask for None? Do you look at what was chosen, or at all ids?"
        )
        right = torch.cat([ids, torch.tensor(right)], dim=1)
        expect(mine, right, of=f"the text with stop_token = {stop}", ask=question)


@check("generate", points=1)
def test_model_comes_back_as_it_was(lesson, expect, draw):
    """A model in training writes without dropout and without gradients, and goes on training."""
    table, ids = draw.normal(6, 7, 7, 7, scale=2.0), draw.ids(7, 2, 3)
    model = lesson.toy("table model", table, 6)
    model.train()
    model.part.eval()  # somebody has frozen a part of it
    mine = lesson.generate(model, ids, 5, use_cache=False)
    question = "Which line above stands between the model's mode and your loop?"
    expect(
        model.read("modes"),
        [],
        of="what is on, and should be off, while the model writes",
        ask=question,
    )
    expect(mine, best_text(table, ids, 5, 6), of="the text of a model in training", ask=question)
    question = "What does `writing` do at its end that `model.train()` would not?"
    modes = [model.read("training"), model.read("part.training")]
    of = "whether the model, and its frozen part, are in training afterwards"
    expect(modes, [True, False], of=of, ask=question)
    choose = lesson.toy("planned choice", draw.ids(7, 2, 5), 2)
    with expect.raises(LookupError, "when choosing fails"):
        lesson.generate(model, ids, 5, choose, use_cache=False)
    modes = [model.read("training"), model.read("part.training")]
    expect(modes, [True, False], of=f"{of}, when choosing has failed", ask=question)


@check("generate", points=1)
def test_text_may_be_trained_on(lesson, expect, draw):
    """The text that comes back is an ordinary tensor; the prompt stays as it was."""
    table, ids = draw.normal(6, 7, 7, 7, scale=2.0), draw.ids(7, 2, 3)
    model = lesson.toy("table model", table, 6)
    for n_new in (3, 0):
        mine = lesson.generate(model, ids, n_new, use_cache=False)
        expect(mine, best_text(table, ids, n_new, 6), of=f"the text with {n_new} new tokens")
        text = lesson.keep(lesson.generate, model, ids, n_new, use_cache=False)
        ordinary = lesson.toy("may be trained on", text).read("answer")
        question = "Is the clone made inside the `with`, or behind it?"
        expect.true(ordinary, "what comes back refuses to be trained on", ask=question)


# 3. LayerCache.append


def two(expect, answer):
    """Make sure that two things came back."""
    pair = isinstance(answer, tuple | list) and len(answer) == 2
    expect.true(pair, "two tensors should come back: all keys and all values")
    return answer


@check("LayerCache.append", points=2)
def test_all_that_was_appended(lesson, expect, draw):
    """Whatever went in comes out again, oldest first, keys and values apart."""
    for rows, n_head, size, lengths in [
        (2, 3, 4, (3, 1, 1, 90, 1, 200, 1)),
        (1, 1, 1, (64, 1)),
        (3, 2, 5, (63, 1, 64, 1)),
    ]:
        cache, keys, values = lesson.LayerCache(), [], []
        for length in lengths:
            keys.append(draw.normal(rows, n_head, length, size))
            values.append(draw.normal(rows, n_head, length, size, shift=2.0))
            k, v = two(expect, cache.append(keys[-1], values[-1]))
            total = sum(len(part[0, 0]) for part in keys)
            question = f"{total} tokens have come in. At which places stand the last {length}?"
            of = f"after call {len(keys)}, with {total} tokens so far"
            expect(k, torch.cat(keys, dim=2), of=f"the keys {of}", ask=question)
            expect(v, torch.cat(values, dim=2), of=f"the values {of}", ask=question)
            expect(cache.read("length"), total, of=f"the cache's length {of}", ask="Who counts?")


@check("LayerCache.append", points=1)
def test_only_what_counts_is_kept(lesson, expect, draw):
    """When a cache is told to forget its end, what comes next takes the place of it."""
    k, v = draw.normal(2, 3, 12, 4), draw.normal(2, 3, 12, 4)
    cache = lesson.LayerCache()
    cache.append(k[:, :, :9], v[:, :, :9])
    for length, new in [(4, 2), (6, 3), (1, 1), (0, 5)]:
        cache.put("length", length)
        mine = two(expect, cache.append(k[:, :, -new:], v[:, :, -new:]))
        k, v = (torch.cat([x[:, :, :length], x[:, :, -new:]], dim=2) for x in (k, v))
        question = "How many tokens are in, according to `length`? Where does the next one go?"
        of = f"{new} tokens appended when `length` had been set to {length}"
        expect(list(mine), [k, v], of=f"keys and values, with {of}", ask=question)


@check("LayerCache.append", points=1)
def test_other_texts_are_refused(lesson, expect, draw):
    """One text's keys must not be stretched to several without a word."""
    for first, others in [
        ((2, 3), [(1, 3), (2, 1), (3, 2), (1, 1), (2, 6)]),
        ((1, 4), [(3, 4), (4, 1)]),
    ]:
        cache = lesson.LayerCache()
        k, v = draw.normal(*first, 2, 5), draw.normal(*first, 2, 5)
        mine = two(expect, cache.append(k, v))
        expect(list(mine), [k, v], of="keys and values of the first call")
        for rows, n_head in others:
            other = draw.normal(rows, n_head, 1, 5)
            when = f"for k of shape {tuple(other.shape)}, where {tuple(k.shape)} began"
            with expect.raises(ValueError, when, ask="Which sizes must be as they were?"):
                cache.append(other, other)


@check("LayerCache.append", points=1)
def test_a_step_copies_nothing(lesson, expect, draw):
    """A token is written where room was left for it; new room is made rarely, for twice as many."""
    k, v = draw.normal(2, 1, 150, 3), draw.normal(2, 1, 150, 3)
    cache = lesson.LayerCache()
    buffers = lesson.toy("one by one", cache, k, v).read("buffers")
    mine = two(expect, cache.append(k[:, :, :1], v[:, :, :1]))
    right = [torch.cat([x, x[:, :, :1]], dim=2) for x in (k, v)]
    expect(list(mine), right, of="keys and values, appended one by one")
    # 64, 128, 256: three pairs of buffers
    symptom = f"150 tokens came one by one, and all that was kept was moved {buffers - 1} times"
    question = "Is there room for more than is needed now? Do you return slices, or copies?"
    expect.true(buffers <= 4, symptom, ask=question)
    lengthy = lesson.LayerCache()
    lengthy.append(k[:, :, :1], v[:, :, :1])
    room = lengthy.read("capacity")
    symptom = f"there is room for {room} tokens at first; FIRST_CAPACITY is 64"
    expect.true(room >= 64, symptom, ask="How many tokens does a text have at least, as a rule?")


@check("LayerCache.append", points=2)
def test_cached_is_uncached(lesson, expect, draw):
    """With a cache every step gives what it gives without: also later, in batches, after a reset."""
    model, weights = new_gpt(lesson, draw)
    model.double().load(weights)  # in 64 bits the order of sums makes no difference worth naming
    cache = lesson.KVCache(2)
    for rows, length in [(3, 4), (1, 1), (2, 11)]:
        cache.reset()
        ids = draw.ids(23, rows, length)
        while ids.shape[1] < 14:
            of = f"ids of shape {tuple(ids.shape)}, where block_size is 9"
            mine = lesson.next_token_logits(model, ids, cache)
            right = gpt2_head(weights, gpt2_states(weights, ids[:, -9:], 3)[-1])[:, -1]
            question = (
                "Which tokens has the cache not seen yet? Do the old ones still stand at the same "
                "places?"
            )
            expect(mine, right, of=f"the cached logits for {of}", ask=question, tolerance=1e-5)
            if ids.shape[1] < 9:
                question = "Back to `next_token_logits`: does the model get the cache?"
                kept = cache.read("length")
                expect(kept, ids.shape[1], of=f"the cache's length after {of}", ask=question)
            ids = torch.cat([ids, draw.ids(23, rows, 1)], dim=1)


@check("LayerCache.append", points=1)
def test_generate_uses_the_cache(lesson, expect, draw):
    """With a cache the model reads every token once; without, it reads everything at each step."""
    table = draw.normal(9, 7, 7, 7, scale=2.0)
    for length, n_new, read in [(4, 5, (8, 30)), (1, 8, (8, 36)), (6, 1, (6, 6))]:
        for use_cache, right in zip((True, False), read, strict=True):
            ids, model = draw.ids(7, 1, length), lesson.toy("table model", table, 9)
            mine = lesson.generate(model, ids, n_new, use_cache=use_cache)
            of = f"{length} tokens and {n_new} more, with use_cache={use_cache}"
            expect(mine, best_text(table, ids, n_new, 9), of=f"the text of {of}")
            question = (
                "Back to `generate`: how many caches are made for one text, and who gets them?"
            )
            total = sum(model.read("lengths"))
            expect(total, right, of=f"how many tokens the model read for {of}", ask=question)
    for length, n_new in [(3, 14), (12, 2)]:
        ids, model = draw.ids(7, 2, length), lesson.toy("table model", table, 9)
        of = f"the text of {length} tokens and {n_new} more, where block_size is 9"
        question = "What is right of the cache once the window has moved on?"
        right = best_text(table, ids, n_new, 9)
        expect(lesson.generate(model, ids, n_new), right, of=of, ask=question)


# 4. measure_step


def measures(logits, token):
    """What a step's measures are, in plain Python."""
    shares = [p for p in torch.softmax(logits.double(), -1).tolist() if p > 0]
    return token, max(shares), -sum(p * math.log(p) for p in shares)


@check("measure_step", points=1)
def test_sure_and_unsure(lesson, expect, draw):
    """From "no idea" to "certain": both ends and the middle can be worked out on paper."""
    inf, log2 = math.inf, math.log(2)
    for logits, token, right in [
        ([0.0] * 8, 3, (3, 1 / 8, 3 * log2)),
        ([2.0, 2.0, 2.0, 2.0], 0, (0, 1 / 4, 2 * log2)),
        ([-inf, -inf, 5.0, -inf], 2, (2, 1.0, 0.0)),
        ([-inf, 7.0, -inf, 7.0], 1, (1, 1 / 2, log2)),
        ([log2, 0.0, 0.0], 1, (1, 1 / 2, 1.5 * log2)),
        ([-3.0 - log2, -3.0, -3.0 - log2], 0, (0, 1 / 2, 1.5 * log2)),
    ]:
        step = lesson.measure_step(torch.tensor(logits), token)
        question = "What are the probabilities here? And p log p for each, where p may be 0?"
        of = f"token, max_probability and entropy of the logits {logits}"
        expect(step, right, of=of, ask=question)


@check("measure_step", points=1)
def test_measures_of_any_logits(lesson, expect, draw):
    """Large logits, low ones, few tokens or many: the numbers stay plain and right."""
    for vocab_size, scale, shift in [(50, 2.0, 0.0), (5, 1.0, 900.0), (7, 1.0, -900.0), (1, 1, 3)]:
        logits, token = draw.normal(vocab_size, scale=scale, shift=shift), draw.integer(0, 99)
        logits[1::3] = -math.inf
        step = lesson.measure_step(logits, token % vocab_size)
        question = "Are they plain numbers? Does the entropy add up over all tokens, in nats?"
        of = f"token, max_probability and entropy of {vocab_size} logits around {shift}"
        expect(step, measures(logits, token % vocab_size), of=of, ask=question)


# 5. trace


def traced(table, text, start, block_size):
    """The measures of every token of a text from place `start` on."""
    places = range(start, len(text))
    return [measures(guess(table, text[:i], block_size), text[i]) for i in places]


@check("trace", points=2)
def test_trace_in_closed_form(lesson, expect, draw):
    """Each token is measured by the guess made just before it, also beyond the window."""
    for block_size, length in [(8, 5), (8, 8), (8, 9), (4, 13), (1, 6), (8, 2)]:
        table = draw.normal(block_size, 7, 7, 7, scale=2.0)
        model, ids = lesson.toy("table model", table, block_size), draw.ids(7, 1, length)
        mine = lesson.trace(model, ids)
        question = "Which place's logits guess the token at place 3? Which tokens may it see?"
        of = f"the trace of {length} tokens, where block_size is {block_size}"
        expect(mine, traced(table, ids[0].tolist(), 1, block_size), of=of, ask=question)


@check("trace", points=1)
def test_trace_starts_where_told(lesson, expect, draw):
    """The prompt is left out, and a text may come as a row or as a batch of one."""
    table = draw.normal(6, 7, 7, 7, scale=2.0)
    model, ids = lesson.toy("table model", table, 6), draw.ids(7, 13)
    for start, length in [(4, 6), (6, 13), (7, 13), (10, 13), (12, 13), (3, 3), (1, 1)]:
        for text in (ids[:length], ids[None, :length]):
            mine = lesson.trace(model, text, start)
            question = f"Which is the first token that you measure, and how many are {length}?"
            of = f"the trace of {length} tokens from place {start} on"
            expect(mine, traced(table, ids[:length].tolist(), start, 6), of=of, ask=question)


@check("trace", points=1)
def test_trace_leaves_the_model_alone(lesson, expect, draw):
    """Also a model in training can be looked at, and goes on training."""
    table, ids = draw.normal(6, 7, 7, 7, scale=2.0), draw.ids(7, 9)
    model = lesson.toy("table model", table, 6)
    model.train()
    mine = lesson.trace(model, ids)
    question = "In which state should a model be while it is measured? (`writing`)"
    expect(
        model.read("modes"),
        [],
        of="what is on, and should be off, while the model is traced",
        ask=question,
    )
    expect(mine, traced(table, ids.tolist(), 1, 6), of="the trace of a model in training")
    expect(model.read("training"), True, of="whether the model is in training afterwards")


# stretch: stream


def in_columns(ids):
    """The steps of a text: (B, N) -> N lists of B ids."""
    return ids.T.tolist()


@check("stream", points=1)
def test_stream_is_generate(lesson, expect, draw):
    """Step by step the stream gives what `generate` appends, and ends where it ends."""
    table = draw.normal(6, 7, 7, 7, scale=2.0)
    for rows, length, n_new in [(2, 3, 9), (1, 1, 2), (3, 8, 2), (2, 2, 0)]:
        ids, model = draw.ids(7, rows, length), lesson.toy("table model", table, 6)
        right = list(best_text(table, ids, n_new, 6)[:, length:].T)
        of = f"the stream of {n_new} tokens behind prompts of shape {(rows, length)}"
        question = "What is appended between two steps? What shape has one step?"
        expect(lesson.listed(lesson.stream, model, ids, n_new), right, of=of, ask=question)
    plan = torch.tensor([[1, 2, 0, 4, 5, 6], [1, 0, 3, 4, 0, 6]])
    for stop, right in [
        (0, [[1, 2, 0], [1, 0, 0]]),
        (None, plan.tolist()),
        (4, [[1, 2, 0, 4], [1, 0, 3, 4]]),
    ]:
        choose = lesson.toy("planned choice", plan)
        mine = lesson.listed(lesson.stream, model, draw.ids(7, 2, 3), 6, choose, stop)
        question = "Is the stop token itself a step? What do finished rows get?"
        of = f"the stream with stop_token = {stop}"
        expect(mine, list(torch.tensor(right).T), of=of, ask=question)


@check("stream", points=1)
def test_stream_gives_back_what_it_borrows(lesson, expect, draw):
    """Each step comes as soon as it is known, and between two steps all is as the caller left it."""
    plan, model = draw.ids(7, 1, 6), lesson.toy("table model", draw.normal(9, 7, 7, 7), 9)
    model.train()
    choose = lesson.toy("planned choice", plan)
    stream = lesson.keep(lesson.stream, model, draw.ids(7, 1, 3), 6, choose)
    listener = lesson.toy("listener", stream, choose, model)
    expect(listener.read("heard"), in_columns(plan), of="the steps of the stream")
    question = "Is the first step given away before the second one is computed?"
    of = "how many steps had been chosen when each one came"
    expect(listener.read("choices"), [1, 2, 3, 4, 5, 6], of=of, ask=question)
    question = "Is `writing` still open when you `yield`?"
    of = "whether gradients are recorded between two steps"
    expect(listener.read("gradients"), [True] * 6, of=of, ask=question)
    of = "whether the model is in training between two steps"
    expect(listener.read("training"), [True] * 6, of=of, ask=question)
    expect(model.read("modes"), [], of="what is on, and should be off, while the model writes")
    question = "Is the clone made inside the `with`, or behind it?"
    of = "whether each step may be trained on"
    expect(listener.read("ordinary"), [True] * 6, of=of, ask=question)
    total, right = sum(model.read("lengths")), 3 + 5
    expect(
        total, right, of="how many tokens the model read", ask="Is there one cache for all steps?"
    )


# stretch: speculative_decode


@check("speculative_decode", points=1)
def test_every_second_guess_is_kept(lesson, expect, draw):
    """The draft always says 0, the model 0 or 1, even chances: the text has as many of each."""
    even, only_0 = torch.tensor([0.0, 0.0, -math.inf]), torch.tensor([0.0, -math.inf, -math.inf])
    model = lesson.toy("table model", even.expand(1, 3, 3, 3), 1000, 1)
    draft = lesson.toy("table model", only_0.expand(1, 3, 3, 3), 1000, 1)
    for n_draft, first in [(1, 0), (3, 2)]:
        chance, ids = lesson.generator(draw.integer(0, 10**6)), torch.tensor([[first]])
        text = lesson.speculative_decode(model, draft, ids, 200, n_draft, generator=chance)
        shape_of_text = list(getattr(text, "shape", []))
        expect(shape_of_text, [1, 201], of="the shape of the text with 200 new tokens")
        expect(text[:, 0], ids[0], of="the prompt")
        tokens = sorted(set(text[0, 1:].tolist()))
        question = "p / q is 1/2 for token 0. What is left of p when q is taken away from it?"
        expect(tokens, [0, 1], of="the tokens that occur", ask=question)
        ones = int((text[0, 1:] == 1).sum())
        # 200 even chances: 100 within 42 (six standard deviations, false alarm 3e-9)
        symptom = f"with n_draft = {n_draft}, {ones} of 200 tokens are 1; about 100 are wanted"
        expect.true(abs(ones - 100) < 42, symptom, ask=question)


# A right decoder exceeds this once in 1e8 runs, says the chi-square distribution: 9 pasts of two
# tokens with 3 possible tokens each make 9 * (3 - 1) = 18 degrees of freedom. It is exact for many
# draws; with the 6 or so expected of the rarest, a false alarm still has a probability below 1e-6.
LARGEST_CHI_SQUARE = 73.8


@check("speculative_decode", points=1)
def test_no_difference_in_the_long_run(lesson, expect, draw):
    """However bad the draft, each token comes as often as the model alone would write it."""
    order = draw.normal(3, 3, 3).argsort(-1)  # another one after each two tokens
    p = torch.tensor([0.5, 0.3, 0.2])[order]  # (V, V, V)
    q = torch.tensor([0.02, 0.18, 0.8])[order]
    # the logits are the negative of what they should be: that is what `shape` is for
    model = lesson.toy("table model", -p.log()[None], 2000, 1)
    draft = lesson.toy("table model", -q.log()[None], 2000, 1)
    shape, chance = lesson.toy("sharpen", -1.0), lesson.generator(draw.integer(0, 10**6))
    text = lesson.speculative_decode(model, draft, draw.ids(3, 1, 2), 800, 3, shape, chance)
    shape_of_text = list(getattr(text, "shape", []))
    expect(shape_of_text, [1, 802], of="the shape of the text with 800 new tokens")
    counts = torch.zeros(3, 3, 3)
    for past in zip(*(text[0, i : i + 800].tolist() for i in range(3)), strict=True):
        counts[past] += 1
    expected = counts.sum(-1, keepdim=True) * p
    chi_square = float(((counts - expected) ** 2 / expected.clamp(min=1e-9)).sum())
    symptom = (
        "some tokens come too often and others too rarely: their chi-square is "
        f"{chi_square:.0f}, and {LARGEST_CHI_SQUARE:.0f} is the limit"
    )
    question = (
        "With which probability is a guess kept? From what is drawn when it is not? "
        "Do both models' logits go through `shape`?"
    )
    expect.true(chi_square < LARGEST_CHI_SQUARE, symptom, ask=question)


@check("speculative_decode", points=1)
def test_sure_models_leave_no_choice(lesson, expect, draw):
    """A model that is sure writes its own text, whatever the draft says, across both windows."""
    for windows, agree, length, n_new, n_draft in [
        ((8, 8), 4, 3, 12, 4),
        ((8, 3), 0, 1, 12, 1),
        ((30, 30), 5, 3, 24, 4),
        ((5, 20), 4, 2, 11, 3),
        ((30, 4), 5, 2, 13, 4),
        ((6, 6), 7, 9, 3, 2),
        ((12, 12), 7, 3, 1, 4),
        ((12, 12), 7, 3, 2, 9),
        ((9, 9), 7, 4, 8, 3),
        ((9, 9), 7, 4, 0, 2),
    ]:
        # whole numbers, so no two are nearly equal; where the token before is below `agree`, the
        # draft says what the model says
        table, other = (draw.normal(size, 7, 7, 7).argsort(-1).float() * 40 for size in windows)
        other[: min(windows), :agree] = table[: min(windows), :agree]
        models = [lesson.toy("table model", t, len(t)) for t in (table, other)]
        ids = draw.ids(7, 1, length)
        mine = lesson.speculative_decode(*models, ids, n_new, n_draft)
        question = "What do both caches hold after a refusal? How many guesses are wanted, and fit?"
        of = f"{length} tokens and {n_new} more, with windows of {windows} and n_draft = {n_draft}"
        expect(mine, best_text(table, ids, n_new, windows[0]), of=of, ask=question)


@check("speculative_decode", points=1)
def test_speculation_saves_calls(lesson, expect, draw):
    """A draft that agrees makes one call of the model good for five tokens, and a seed repeats."""
    table, ids = draw.normal(1, 9, 9, 9), draw.ids(9, 1, 3)
    model, draft = (lesson.toy("table model", table, 100) for _ in range(2))
    model.train()
    draft.train()
    text = lesson.keep(lesson.speculative_decode, model, draft, ids, 40, 4)
    on = model.read("modes") + draft.read("modes")
    expect(on, [], of="what is on, and should be off, while both models write")
    modes = [model.read("training"), draft.read("training")]
    expect(modes, [True, True], of="whether both models are in training afterwards")
    calls, tokens = model.read("calls"), "40 tokens, with 4 guesses a round and none refused"
    symptom = f"the model was called {calls} times for {tokens}"
    expect.true(calls < 30, symptom, ask="How many guesses can one call of the model judge?")
    # eight calls; one more does no harm
    question = "All guesses of a round were kept. Which token comes from the same call on top?"
    expect.true(calls <= 9, symptom, ask=question)
    ordinary = lesson.toy("may be trained on", text).read("answer")
    expect.true(ordinary, "what comes back refuses to be trained on")
    # three texts of 30 tokens: two of them are equal by chance about never
    other = lesson.toy("table model", draw.normal(1, 9, 9, 9), 100)
    chances = [lesson.generator(seed) for seed in (1, 1, 2)]
    texts = [
        lesson.speculative_decode(model, other, ids, 30, generator=chance) for chance in chances
    ]
    first, again, different = (getattr(text, "tolist", list)() for text in texts)
    question = "Do all chances come from `generator`, those for keeping and refusing as well?"
    expect.true(first == again, "the same seed gives another text the second time", ask=question)
    expect.true(first != different, "two different seeds give the same text", ask=question)

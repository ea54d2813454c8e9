"""Lesson 09, judged by transformers' generate, by the uncached form, and by exact distributions."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from solutions.generation import (
    FIRST_CAPACITY,
    KVCache,
    LayerCache,
    chooser,
    generate,
    measure_step,
    most_likely,
    next_token_logits,
    speculative_decode,
    stream,
    trace,
)
from solutions.model import GPT, GPTConfig, convert_gpt2_weights

FALSE_ALARM = 1e-6  # how often a right decoder fails the chi-square test; the seed is fixed besides


def tiny(seed=0, **changes) -> GPT:
    """A model whose texts wander, so that a wrong position or a lost token shows."""
    shape = {"vocab_size": 31, "block_size": 12, "n_layer": 2, "n_head": 3, "n_embd": 12}
    model = GPT(GPTConfig(**(shape | changes), tie_weights=False))
    make_restless(model, seed)
    return model.eval()


def make_restless(model: nn.Module, seed: int) -> None:
    """Random weights of a size at which a greedy text does not end in one token for ever."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # large biases would put the same token first everywhere
            std = 2.0 if name.endswith(("wte.weight", "wpe.weight")) else 0.5
            parameter.normal_(std=0.1 if name.endswith("bias") else std, generator=generator)


@pytest.fixture
def model():
    return tiny()


def prompts(batch=2, length=3) -> torch.Tensor:
    return torch.randint(31, (batch, length), generator=torch.Generator().manual_seed(length))


@pytest.mark.parametrize(
    ("n_layer", "n_head", "n_embd", "n_inner"), [(2, 3, 12, None), (1, 1, 7, 5), (3, 2, 22, 37)]
)
def test_greedy_text_is_transformers_with_and_without_cache(n_layer, n_head, n_embd, n_inner):
    config = GPT2Config(
        vocab_size=97,
        n_positions=64,
        n_layer=n_layer,
        n_head=n_head,
        n_embd=n_embd,
        n_inner=n_inner,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    theirs = GPT2LMHeadModel(config).eval()
    make_restless(theirs, seed=n_embd)
    ours = GPT(GPTConfig(97, 64, n_layer, n_head, n_embd, n_inner, tie_weights=False))
    ours.load_state_dict(convert_gpt2_weights(theirs.state_dict()))
    ids = torch.randint(97, (3, 5), generator=torch.Generator().manual_seed(0))
    for their_cache in (True, False):
        expected = theirs.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=40,
            do_sample=False,
            use_cache=their_cache,
            pad_token_id=0,
        )
        for use_cache in (True, False):
            assert generate(ours, ids, 40, use_cache=use_cache).tolist() == expected.tolist()
    for row in expected:
        assert len(row.unique()) > 10, "a text of few tokens would prove little"


@pytest.mark.parametrize("n_head", [3, 5])
@pytest.mark.parametrize("length", [1, 5, 11, 12, 13, 30])
def test_cached_is_uncached_at_every_step_also_beyond_the_window(length, n_head):
    model, cache = tiny(n_head=n_head), KVCache(2)
    ids = prompts(3, length)
    with torch.no_grad():
        for _ in range(20):
            cached = next_token_logits(model, ids, cache)
            window = ids[:, -12:]
            plain = model(window)[0][:, -1]
            torch.testing.assert_close(cached, plain, rtol=0, atol=1e-5 * plain.abs().max().item())
            torch.testing.assert_close(next_token_logits(model, ids), plain)
            ids = torch.cat([ids, plain.argmax(-1, keepdim=True)], dim=1)


def test_sampled_text_is_the_same_with_and_without_cache(model):
    texts = []
    for use_cache in (True, False):
        choose = chooser(temperature=1.5, top_k=9, generator=torch.Generator().manual_seed(4))
        texts.append(generate(model, prompts(), 25, choose, use_cache=use_cache))
    assert torch.equal(*texts)
    assert texts[0].shape == (2, 28)
    assert torch.equal(texts[0][:, :3], prompts())


def test_a_step_with_cache_computes_one_token(model, monkeypatch):
    seen = []
    forward = model.forward
    monkeypatch.setattr(
        model, "forward", lambda ids, **how: seen.append(ids.shape[1]) or forward(ids, **how)
    )
    generate(model, prompts(length=4), 10)
    assert seen == [4, 1, 1, 1, 1, 1, 1, 1, 1, 12], "beyond 12 tokens the window slides"
    seen.clear()
    generate(model, prompts(length=4), 3, use_cache=False)
    assert seen == [4, 5, 6]


def test_choose_gets_logits_of_the_last_place_and_the_whole_text(model):
    seen = []

    def choose(logits, ids):
        seen.append((logits.shape, ids.clone()))
        return torch.tensor([7, 8])

    out = generate(model, prompts(), 15, choose)
    assert [shape for shape, _ in seen] == [(2, 31)] * 15
    assert torch.equal(seen[-1][1], out[:, :-1]), "a penalty needs what has left the window, too"
    assert out[:, 3:].tolist() == [[7] * 15, [8] * 15]


def test_rows_of_a_batch_do_not_know_of_each_other(model):
    together = generate(model, prompts(4, 5), 20)
    for row in range(4):
        assert torch.equal(generate(model, prompts(4, 5)[row : row + 1], 20)[0], together[row])


def test_stop_token_ends_rows_one_by_one(model):
    plan = torch.tensor([[1, 2, 9, 4, 5, 6], [1, 9, 3, 4, 9, 6], [1, 2, 3, 9, 5, 6]])

    def choose(logits, ids):
        return plan[:, ids.shape[1] - 3]

    out = generate(model, prompts(3, 3), 6, choose, stop_token=9)
    assert out[:, 3:].tolist() == [[1, 2, 9, 9], [1, 9, 9, 9], [1, 2, 3, 9]]
    assert generate(model, prompts(3, 3), 2, choose, stop_token=9)[:, 3:].tolist() == [
        [1, 2],
        [1, 9],
        [1, 2],
    ]
    # the stop token in a prompt is history and ends nothing
    assert generate(model, torch.tensor([[9, 9, 9]] * 3), 2, choose, stop_token=9).shape == (3, 5)


def test_what_cannot_be_written_is_refused(model):
    for write in (generate, lambda *how: list(stream(*how))):
        with pytest.raises(ValueError, match="prompt is empty"):
            write(model, torch.empty(1, 0, dtype=torch.long), 5)
        with pytest.raises(ValueError, match="batch, time"):
            write(model, torch.tensor([1, 2]), 5)
        with pytest.raises(ValueError, match="at least 0"):
            write(model, prompts(), -1)
        with pytest.raises(ValueError, match="no token 31"):
            write(model, torch.tensor([[31]]), 1)
    assert torch.equal(generate(model, prompts(), 0), prompts())


def test_model_is_left_as_it_was_found_also_after_an_error():
    model = tiny(dropout=0.5)
    model.train()
    model.transformer.h[1].eval()  # a part that someone has frozen
    modes = [module.training for module in model.modules()]
    quiet = generate(model, prompts(), 15)
    assert torch.equal(quiet, generate(model, prompts(), 15)), "dropout was on"
    assert [module.training for module in model.modules()] == modes

    def stumble(logits, ids):
        raise RuntimeError("stumbled")

    with pytest.raises(RuntimeError, match="stumbled"):
        generate(model, prompts(), 5, stumble)
    assert [module.training for module in model.modules()] == modes


def test_written_text_can_be_trained_on(model):
    ids = generate(model, prompts(), 5)
    model(ids[:, :-1], ids[:, 1:])[1].backward()
    for new in stream(model, prompts(), 1):
        model(new.unsqueeze(1), new.unsqueeze(1))[1].backward()


def test_cache_returns_all_that_was_appended():
    cache, kept = LayerCache(), []
    torch.manual_seed(0)
    for length in (3, 1, 1, 90, 1, 200, 1):
        kept.append((torch.randn(2, 3, length, 4), torch.randn(2, 3, length, 4)))
        keys, values = cache.append(*kept[-1])
        assert torch.equal(keys, torch.cat([k for k, _ in kept], dim=2))
        assert torch.equal(values, torch.cat([v for _, v in kept], dim=2))
    assert cache.length == 297


def test_cache_does_not_copy_what_it_has():
    cache = LayerCache()
    step = torch.zeros(1, 2, 1, 4)
    buffers = []
    for _ in range(10 * FIRST_CAPACITY):
        keys, values = cache.append(step, step)
        buffers.append((keys.data_ptr(), values.data_ptr()))
    assert len(set(buffers)) <= 5, "room is made for twice as many, not for each token anew"
    assert cache.capacity == 16 * FIRST_CAPACITY


def test_cache_takes_type_from_what_it_keeps_and_refuses_another_batch():
    cache = LayerCache()
    keys, _ = cache.append(*[torch.zeros(2, 3, 1, 4, dtype=torch.bfloat16)] * 2)
    assert keys.dtype == torch.bfloat16
    for other in ((1, 3, 1, 4), (2, 1, 1, 4)):
        with pytest.raises(ValueError, match="cannot take"):
            cache.append(torch.zeros(other), torch.zeros(other))


def test_cache_forgets(model):
    cache, ids = KVCache(2), prompts(2, 9)
    with torch.no_grad():
        full = next_token_logits(model, ids, cache)
        assert cache.length == 9
        cache.truncate(4)
        assert cache.length == cache[1].length == 4
        torch.testing.assert_close(next_token_logits(model, ids, cache), full)
        cache.truncate(100)
        assert cache.length == 9
        cache.reset()
        assert cache.length == 0
        next_token_logits(model, ids[:1], cache)  # another batch may follow


def test_stream_is_generate(model):
    plan = torch.tensor([[1, 9, 3, 4], [1, 2, 9, 4]])
    cases = [(most_likely, None, 20), (lambda logits, ids: plan[:, ids.shape[1] - 3], 9, 4)]
    for choose, stop_token, count in cases:
        steps = list(stream(model, prompts(), count, choose, stop_token))
        expected = generate(model, prompts(), count, choose, stop_token)[:, 3:]
        assert torch.equal(torch.stack(steps, dim=1), expected)


def test_stream_yields_as_it_goes_and_leaves_the_caller_alone():
    model = tiny(dropout=0.5)
    model.train()
    calls = []

    def choose(logits, ids):
        calls.append(len(calls))
        return most_likely(logits, ids)

    for count, _ in enumerate(stream(model, prompts(), 5, choose), start=1):
        assert len(calls) == count
        assert model.training
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
    assert count == 5


def test_measures_of_a_step_in_closed_form():
    assert measure_step(torch.zeros(8), 3) == (3, 0.125, pytest.approx(torch.tensor(8.0).log()))
    sure = torch.full((8,), -torch.inf)
    sure[2] = 5
    assert measure_step(sure, 2) == (2, 1.0, 0.0)
    logits = torch.randn(50, generator=torch.Generator().manual_seed(0)) * 4
    expected = torch.distributions.Categorical(logits=logits)
    step = measure_step(logits, 0)
    assert step.entropy == pytest.approx(expected.entropy().item(), rel=1e-5)
    assert step.max_probability == pytest.approx(expected.probs.max().item(), rel=1e-5)


@pytest.mark.parametrize("start", [1, 3, 13])
def test_trace_sees_what_generate_saw(model, start):
    seen = []

    def choose(logits, ids):
        chosen = most_likely(logits, ids)
        seen.append(measure_step(logits[0], int(chosen)))
        return chosen

    ids = generate(model, prompts(1, start), 25, choose)
    for text in (ids, ids[0]):
        steps = trace(model, text, start=start)
        assert [step.token for step in steps] == ids[0, start:].tolist()
        for step, expected in zip(steps, seen, strict=True):
            assert step == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_trace_takes_one_text(model):
    assert trace(model, torch.tensor([4])) == []
    for ids, start in ((prompts(2, 3), 1), (prompts(1, 3), 0)):
        with pytest.raises(ValueError, match="one text"):
            trace(model, ids, start)
    with pytest.raises(ValueError, match="empty"):
        trace(model, torch.empty(0, dtype=torch.long))


class TableModel(nn.Module):
    """A model small enough to know its whole distribution: logits by the last two tokens.

    It reads the last token but one from the cache's keys, so a cache that remembers a refused
    proposal gives another distribution.
    """

    def __init__(self, seed, vocab_size=4, block_size=100):
        super().__init__()
        self.table = torch.randn(
            vocab_size, vocab_size, vocab_size, generator=torch.Generator().manual_seed(seed)
        )
        self.config = SimpleNamespace(block_size=block_size, n_layer=1, vocab_size=vocab_size)
        self.calls = 0

    def forward(self, ids, cache=None, last_only=False):
        self.calls += 1
        keys = ids.view(1, 1, -1, 1)
        text = keys if cache is None else cache[0].append(keys, keys)[0]
        text = text.flatten()
        before = torch.cat([text[:1], text[:-1]])
        logits = self.table[before, text][-ids.shape[1] :].unsqueeze(0)
        return (logits[:, -1:] if last_only else logits), None


@pytest.mark.parametrize(("n_draft", "shape"), [(1, 1.0), (3, 1.0), (2, 2.0)])
def test_speculation_does_not_change_the_distribution(n_draft, shape):
    model, draft = TableModel(1), TableModel(2)
    generator = torch.Generator().manual_seed(n_draft)
    n_new, n_texts = 4, 2500
    counts = torch.zeros(4**n_new)
    for _ in range(n_texts):
        out = speculative_decode(
            model,
            draft,
            torch.tensor([[0, 3]]),
            n_new,
            n_draft,
            shape=lambda logits: logits * shape,
            generator=generator,
        )
        assert out.shape == (1, 2 + n_new)
        place = int("".join(str(token) for token in out[0, 2:].tolist()), 4)
        counts[place] += 1
    expected = torch.zeros(4**n_new, dtype=torch.float64)
    for place, text in enumerate(itertools.product(range(4), repeat=n_new)):
        probability, (before, last) = 1.0, (0, 3)
        for token in text:
            probability *= torch.softmax(model.table[before, last] * shape, -1)[token].item()
            before, last = last, token
        expected[place] = probability * n_texts
    assert expected.sum().item() == pytest.approx(n_texts)
    # texts that are rare go into one cell: chi-square wants at least five in each
    rare = expected < 5
    observed = torch.cat([counts[~rare].double(), counts[rare].sum().view(1).double()])
    wanted = torch.cat([expected[~rare], expected[rare].sum().view(1)])
    statistic = ((observed - wanted) ** 2 / wanted).sum()
    half_freedom = torch.tensor((len(wanted) - 1) / 2, dtype=torch.float64)
    assert torch.special.gammaincc(half_freedom, statistic / 2) > FALSE_ALARM
    assert model.calls < 0.9 * n_new * n_texts, "what is the draft for, if each token costs a call"


@pytest.mark.parametrize("draft_window", [4, 12, 30])
@pytest.mark.parametrize("n_draft", [1, 4])
def test_speculation_near_temperature_0_is_greedy_across_both_windows(draft_window, n_draft):
    """With next to no chance left, the text is the model's own, whatever the draft proposes."""
    model = tiny()
    for draft in (tiny(seed=1, n_layer=1, block_size=draft_window), model):
        out = speculative_decode(
            model,
            draft,
            prompts(1, 3),
            25,
            n_draft,
            shape=lambda logits: logits / 1e-4,
            generator=torch.Generator().manual_seed(0),
        )
        assert torch.equal(out, generate(model, prompts(1, 3), 25))


def test_a_draft_that_agrees_saves_calls():
    model = TableModel(1)
    speculative_decode(model, TableModel(1), torch.tensor([[0, 3]]), 20, n_draft=4)
    assert model.calls == 4, "five tokens a call"


def test_speculation_takes_one_text(model):
    with pytest.raises(ValueError, match="one text"):
        speculative_decode(model, model, prompts(2, 3), 5)
    with pytest.raises(ValueError, match="one text"):
        speculative_decode(model, model, prompts(1, 3), 5, n_draft=0)
    with pytest.raises(ValueError, match="empty"):
        speculative_decode(model, model, torch.empty(1, 0, dtype=torch.long), 5)
    assert torch.equal(speculative_decode(model, model, prompts(1, 3), 0), prompts(1, 3))

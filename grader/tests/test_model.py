"""Lesson 05, judged by transformers' GPT2LMHeadModel with random weights."""

import math

import pytest
import torch
import torch.nn.functional as F
from transformers import GPT2Config, GPT2LMHeadModel

from solutions.generation import KVCache
from solutions.model import GPT, IGNORE, TURNED_WEIGHTS, GPTConfig, convert_gpt2_weights

SHAPES = [
    # vocab_size, n_positions, n_layer, n_head, n_embd, n_inner, eps, tied
    (31, 16, 2, 3, 12, None, 1e-5, True),
    (97, 13, 1, 1, 7, 5, 1e-3, True),
    (53, 11, 3, 4, 20, 37, 1e-5, False),
    (2, 1, 2, 2, 6, 24, 1e-6, True),
]


def random_gpt2(shape) -> GPT2LMHeadModel:
    """A GPT-2 of that shape in which no parameter is 0 or 1."""
    vocab_size, n_positions, n_layer, n_head, n_embd, n_inner, eps, tied = shape
    config = GPT2Config(
        vocab_size=vocab_size,
        n_positions=n_positions,
        n_layer=n_layer,
        n_head=n_head,
        n_embd=n_embd,
        n_inner=n_inner,
        layer_norm_epsilon=eps,
        tie_word_embeddings=tied,
        resid_pdrop=0,
        embd_pdrop=0,
        attn_pdrop=0,
        bos_token_id=None,
        eos_token_id=None,
    )
    torch.manual_seed(vocab_size)
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model.eval()


def same_model(theirs: GPT2LMHeadModel) -> GPT:
    """Ours with their weights."""
    c = theirs.config
    ours = GPT(
        GPTConfig(
            vocab_size=c.vocab_size,
            block_size=c.n_positions,
            n_layer=c.n_layer,
            n_head=c.n_head,
            n_embd=c.n_embd,
            n_inner=c.n_inner,
            layer_norm_epsilon=c.layer_norm_epsilon,
            tie_weights=c.tie_word_embeddings,
        )
    )
    ours.load_state_dict(convert_gpt2_weights(theirs.state_dict()))
    return ours


def close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal to 1e-4 of the largest value."""
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-4 * expected.abs().max().item())


def tiny(**changes) -> GPT:
    torch.manual_seed(0)
    shape = {"vocab_size": 31, "block_size": 12, "n_layer": 2, "n_head": 3, "n_embd": 12}
    model = GPT(GPTConfig(**{**shape, **changes}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model


@pytest.mark.parametrize("shape", SHAPES)
def test_logits_loss_and_gradients_are_transformers(shape):
    theirs = random_gpt2(shape)
    ours = same_model(theirs)
    ids = torch.randint(shape[0], (3, shape[1]))
    targets = torch.randint(shape[0], (3, shape[1]))
    expected = theirs(ids).logits
    logits, loss = ours(ids, targets)
    close(logits, expected)
    expected_loss = F.cross_entropy(expected.flatten(0, 1), targets.flatten())
    torch.testing.assert_close(loss, expected_loss, rtol=1e-5, atol=1e-6)
    loss.backward()
    expected_loss.backward()
    gradients = {name: p.grad for name, p in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        gradient = gradients[name].T if name.endswith(TURNED_WEIGHTS) else gradients[name]
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-6)


def test_targets_to_ignore_do_not_count():
    model = tiny()
    ids = torch.randint(31, (2, 9))
    targets = torch.randint(31, (2, 9))
    targets[0, 3:8] = IGNORE
    targets[1, 0] = IGNORE
    logits, loss = model(ids, targets)
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)
    torch.testing.assert_close(loss, expected)
    assert model(ids, torch.full_like(targets, IGNORE))[1].isnan()


def test_the_loss_is_computed_in_32_bits():
    model = tiny().bfloat16()
    ids = torch.randint(31, (2, 9))
    logits, loss = model(ids, ids)
    assert logits.dtype == torch.bfloat16
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, F.cross_entropy(logits.float().flatten(0, 1), ids.flatten()))


def test_last_only_is_the_last_place():
    model = tiny()
    ids = torch.randint(31, (3, 7))
    full, loss = model(ids)
    assert loss is None
    last, _ = model(ids, last_only=True)
    assert last.shape == (3, 1, 31)
    torch.testing.assert_close(last, full[:, -1:])


@pytest.mark.parametrize("n_head", [3, 5])  # 5 heads do not divide 12
def test_no_place_sees_the_future(n_head):
    model = tiny(n_head=n_head)
    ids = torch.randint(31, (1, 12))
    changed = ids.clone()
    changed[0, 7:] = (ids[0, 7:] + 1) % 31
    torch.testing.assert_close(model(ids)[0][:, :7], model(changed)[0][:, :7])
    assert (model(ids)[0][:, 7:] != model(changed)[0][:, 7:]).any()


@pytest.mark.parametrize("pieces", [[1] * 12, [5, 1, 1, 5], [11, 1]])
def test_piece_by_piece_through_a_cache_is_the_same(pieces):
    model, cache = tiny(n_head=5), KVCache(2)
    ids = torch.randint(31, (2, 12))
    with torch.no_grad():
        out = [model(piece, cache=cache)[0] for piece in ids.split(pieces, dim=1)]
        torch.testing.assert_close(torch.cat(out, dim=1), model(ids)[0], rtol=1e-4, atol=1e-5)
        assert cache.length == 12
        with pytest.raises(ValueError, match="13 tokens are more than block_size = 12"):
            model(ids[:, :1], cache=cache)


@pytest.mark.parametrize(
    ("ids", "sentence"),
    [
        ([[0] * 13], "13 tokens are more than block_size = 12"),
        ([[5, 31]], "no token 31: ids go from 0 to 30"),
        ([[-1, 5]], "no token -1"),
        ([[]], "not empty"),
        ([1, 2], "batch, time"),
    ],
)
def test_ids_that_do_not_fit_are_refused(ids, sentence):
    with pytest.raises(ValueError, match=sentence):
        tiny()(torch.tensor(ids, dtype=torch.long))


@pytest.mark.parametrize(
    "wrong",
    [{"n_layer": 0}, {"vocab_size": 0}, {"n_head": 13}, {"n_inner": 0}, {"dropout": 1.0}],
)
def test_shapes_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong)).removeprefix("n_")):
        tiny(**wrong)


def test_weights_start_as_in_gpt2():
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=500, block_size=100, n_layer=8, n_head=4, n_embd=128))
    seen = set()
    for name, parameter in model.named_parameters():
        kind = "ln" if "ln_" in name else name.split(".", 4)[-1]
        seen.add(kind)
        if kind == "ln":
            assert (parameter == (1 if name.endswith("weight") else 0)).all(), name
        elif name.endswith("bias"):
            assert (parameter == 0).all(), name
        else:
            std = 0.02 / math.sqrt(16) if name.endswith("c_proj.weight") else 0.02
            assert parameter.std().item() == pytest.approx(std, rel=0.03), name
            assert abs(parameter.mean().item()) < 0.05 * std, name
    assert len(seen) > 4
    _, loss = model(torch.randint(500, (4, 100)), torch.randint(500, (4, 100)))
    assert loss.item() == pytest.approx(math.log(500), abs=0.1), "a fresh model has no opinion"


def test_the_head_is_tied_or_not():
    tied, free = tiny(), tiny(tie_weights=False)
    assert tied.lm_head.weight is tied.transformer.wte.weight
    assert free.num_parameters() == tied.num_parameters() + 31 * 12
    ids = torch.randint(31, (1, 5))
    free(ids, ids)[1].backward()
    assert free.lm_head.weight.grad is not None
    assert not torch.equal(free.lm_head.weight, free.transformer.wte.weight)


@pytest.mark.parametrize(
    ("shape", "count"),
    [
        ({}, 124_439_808),  # GPT-2's smallest
        ({"n_layer": 6}, 81_912_576),  # DistilGPT-2
    ],
)
def test_parameters_are_counted_as_transformers_counts(shape, count):
    with torch.device("meta"):
        assert GPT(GPTConfig(**shape)).num_parameters() == count
        assert GPT2LMHeadModel(GPT2Config(**shape)).num_parameters() == count


def test_names_are_gpt2s():
    theirs = random_gpt2(SHAPES[0])
    assert same_model(theirs).state_dict().keys() == theirs.state_dict().keys()


def test_conversion_adds_prefix_and_head_and_drops_masks():
    theirs = random_gpt2(SHAPES[0])
    complete = convert_gpt2_weights(theirs.state_dict())
    headless = dict(theirs.transformer.state_dict())  # "h.0.attn..." without prefix, no head
    headless["h.0.attn.bias"] = torch.ones(1, 1, 16, 16)
    headless["h.1.attn.masked_bias"] = torch.tensor(-1e4)
    before = dict(headless)
    converted = convert_gpt2_weights(headless)
    assert converted.keys() == complete.keys()
    for name, tensor in complete.items():
        assert torch.equal(converted[name], tensor), name
        assert tensor.is_contiguous(), name
    assert headless == before, "the dictionary that was passed in has changed"
    assert "transformer.h.0.attn.c_attn.bias" in converted


def test_hidden_states_are_transformers():
    theirs = random_gpt2(SHAPES[2])
    ours = same_model(theirs)
    ids = torch.randint(53, (2, 9))
    with torch.no_grad():
        expected = theirs(ids, output_hidden_states=True).hidden_states
        states = ours.hidden_states(ids)
        assert len(states) == len(expected) == 4
        for state, their_state in zip(states[:-1], expected[:-1], strict=True):
            close(state, their_state)
        close(ours.transformer.ln_f(states[-1]), expected[-1])  # theirs has gone through the norm


def test_logit_lens_ends_with_the_logits():
    theirs = random_gpt2(SHAPES[2])
    ours = same_model(theirs)
    ids = torch.randint(53, (2, 9))
    with torch.no_grad():
        lens = ours.logit_lens(ids)
        assert [logits.shape for logits in lens] == [(2, 9, 53)] * 4
        close(lens[-1], ours(ids)[0])
        middle = theirs(ids, output_hidden_states=True).hidden_states[1]
        close(lens[1], theirs.lm_head(theirs.transformer.ln_f(middle)))


def test_dropout_is_for_training():
    model = tiny(dropout=0.2)
    ids = torch.randint(31, (1, 9))
    assert not torch.equal(model(ids)[0], model(ids)[0])
    for place in (model.embed(ids), model.transformer.h[0](torch.ones(1, 9, 12)) - 1):
        assert (place == 0).any()
    model.eval()
    assert torch.equal(model(ids)[0], model(ids)[0])
    assert (model.embed(ids) != 0).all()


def test_a_few_steps_learn_a_text_by_heart():
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=11, block_size=12, n_layer=2, n_head=2, n_embd=16))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    ids = torch.randint(11, (2, 13))
    for _ in range(60):
        _, loss = model(ids[:, :-1], ids[:, 1:])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.1

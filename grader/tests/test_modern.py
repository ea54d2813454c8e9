"""Lesson 11, judged by transformers' LlamaForCausalLM on random configurations."""

import math
import random

import pytest
import torch
import torch.nn.functional as F
from transformers import LlamaConfig as TheirConfig
from transformers import LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm, apply_rotary_pos_emb

from grader.llama import llama_logits, llama_shapes, turned
from grader.tests.test_written import drawn
from solutions.attention import fused_attention
from solutions.generation import KVCache, generate
from solutions.model import next_token_loss
from solutions.modern import (
    GroupedQueryAttention,
    Llama,
    LlamaConfig,
    RMSNorm,
    SwiGLU,
    convert_llama_weights,
    pairs_to_halves,
    rotary,
)
from solutions.perplexity import score, top_predictions

# SmolLM2-135M's configuration
SMOL = {"vocab_size": 49152, "block_size": 8192, "n_layer": 30, "n_head": 9, "n_kv_head": 3}
SMOL |= {"n_embd": 576, "n_inner": 1536, "rope_theta": 100000.0, "tie_weights": True}


def some_config(seed: int) -> LlamaConfig:
    """A random shape: any sharing, heads as wide as they like, tied or not."""
    dice = random.Random(seed)
    n_kv_head, size = dice.choice([1, 2, 3]), 2 * dice.randint(1, 6)
    n_head = n_kv_head * dice.choice([1, 2, 4])
    own = dice.random() < 0.5
    return LlamaConfig(
        vocab_size=dice.randint(20, 70),
        block_size=dice.randint(24, 40),
        n_layer=dice.randint(1, 4),
        n_head=n_head,
        n_kv_head=n_kv_head,
        n_embd=dice.randint(1, 4) * n_head if own else n_head * size,
        n_inner=dice.randint(5, 60),
        rope_theta=dice.choice([50.0, 10000.0, 500000.0]),
        rms_norm_eps=dice.choice([1e-6, 1e-5, 0.1]),
        tie_weights=dice.random() < 0.5,
        head_size=size if own else None,
    )


def theirs_of(config: LlamaConfig) -> LlamaForCausalLM:
    """Transformers' model of this shape, with random weights; nothing in it is 0 or 1."""
    made = TheirConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.n_embd,
        intermediate_size=config.n_inner,
        num_hidden_layers=config.n_layer,
        num_attention_heads=config.n_head,
        num_key_value_heads=config.n_kv_head,
        head_dim=config.channels_per_head,
        max_position_embeddings=config.block_size,
        rms_norm_eps=config.rms_norm_eps,
        rope_theta=config.rope_theta,
        tie_word_embeddings=config.tie_weights,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
        attn_implementation="eager",
    )
    model = LlamaForCausalLM(made).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            around = 1.0 if "norm" in name else 0.0
            parameter.normal_(around, 1.5 * parameter.shape[-1] ** -0.5)
    return model


def pair_of(seed: int) -> tuple[Llama, LlamaForCausalLM]:
    """Ours and theirs, with the same weights, through the learner's conversion."""
    torch.manual_seed(seed)
    config = some_config(seed)
    theirs = theirs_of(config)
    ours = Llama(config).eval()
    ours.load_state_dict(
        convert_llama_weights(theirs.state_dict(), config.n_head, config.n_kv_head)
    )
    return ours, theirs


SEEDS = range(8)


@pytest.mark.parametrize("seed", SEEDS)
def test_logits_loss_and_text_are_llamas(seed):
    ours, theirs = pair_of(seed)
    config = ours.config
    ids = torch.randint(config.vocab_size, (3, 17))
    targets = torch.randint(config.vocab_size, (3, 17))
    with torch.no_grad():
        right = theirs(ids).logits
        logits, loss = ours(ids, targets)
        last, none = ours(ids, last_only=True)
    torch.testing.assert_close(logits, right, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(last, right[:, -1:], rtol=1e-4, atol=1e-4)
    assert none is None
    torch.testing.assert_close(loss, F.cross_entropy(right.flatten(0, 1), targets.flatten()))
    written = generate(ours, ids[:, :5], 15)
    again = generate(ours, ids[:, :5], 15, use_cache=False)
    text = theirs.generate(
        ids[:, :5], attention_mask=torch.ones(3, 5), max_new_tokens=15, do_sample=False
    )
    assert written.tolist() == again.tolist() == text.tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_gradients_and_counts_are_llamas(seed):
    ours, theirs = pair_of(seed)
    ids, targets = torch.randint(ours.config.vocab_size, (2, 2, 9))
    ours(ids, targets)[1].backward()
    next_token_loss(theirs(ids).logits, targets).backward()
    right = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    assert ours.num_parameters() == theirs.num_parameters()
    named = dict(ours.named_parameters())
    assert named.keys() == right.keys()
    for name, parameter in named.items():
        torch.testing.assert_close(parameter.grad, right[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_judges_llama_is_transformers(seed):
    """What lesson 11's checks compare with, in `grader/llama.py`."""
    ours, theirs = pair_of(seed)
    config = {name: getattr(ours.config, name) for name in ours.config.__dataclass_fields__}
    weights = {name: p.detach() for name, p in theirs.named_parameters()}
    assert {name: tuple(w.shape) for name, w in weights.items()} == llama_shapes(**config)
    ids = torch.randint(config["vocab_size"], (2, 13))
    right = theirs(ids).logits.detach()
    torch.testing.assert_close(llama_logits(weights, ids, **config), right, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_norm_is_llamas_and_torchs(dtype):
    torch.manual_seed(0)
    ours, theirs = RMSNorm(96, 1e-6), LlamaRMSNorm(96, 1e-6)
    ours.load_state_dict({"weight": torch.randn(96)})
    theirs.load_state_dict(ours.state_dict())
    x = 30 * torch.randn(4, 5, 96)
    rounding = torch.finfo(dtype).eps  # theirs rounds twice
    right = theirs.to(dtype)(x.to(dtype))
    result = ours.to(dtype)(x.to(dtype))
    assert result.dtype == dtype
    torch.testing.assert_close(result, right, rtol=3 * rounding, atol=1e-6)
    exact = F.rms_norm(x.double(), (96,), ours.weight.double(), 1e-6)
    torch.testing.assert_close(result.double(), exact, rtol=0.0, atol=30 * rounding)


def test_rotary_is_transformers_and_metas():
    torch.manual_seed(0)
    q, k = torch.randn(2, 2, 3, 11, 10).unbind(0)
    speeds = 500.0 ** (-torch.arange(0, 10, 2) / 10)
    angles = torch.outer(torch.arange(7, 18), speeds)
    both = torch.cat([angles, angles], dim=-1).unsqueeze(0)
    for ours, theirs in zip(
        (rotary(q, 7, 500.0), rotary(k, 7, 500.0)),
        apply_rotary_pos_emb(q, k, both.cos(), both.sin()),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    # Meta's llama/model.py: neighbours as complex numbers
    points = torch.view_as_complex(q.reshape(2, 3, 11, 5, 2)) * torch.polar(
        torch.ones(11, 5), angles
    )
    pairs = torch.view_as_real(points).flatten(-2)
    torch.testing.assert_close(rotary(q, 7, 500.0, "pairs"), pairs, rtol=1e-5, atol=1e-5)


def test_layouts_differ_by_the_order_of_channels():
    q = torch.randn(2, 1, 5, 12)
    order = torch.cat([torch.arange(0, 12, 2), torch.arange(1, 12, 2)])
    pairs = rotary(q, 3, layout="pairs")
    torch.testing.assert_close(rotary(q[..., order], 3), pairs[..., order])
    assert (rotary(q, 3) - pairs).abs().max() > 0.1


@pytest.mark.parametrize("layout", ["halves", "pairs"])
def test_rotary_has_right_gradients_and_keeps_types(layout):
    x = torch.randn(1, 2, 3, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: rotary(x, 2, 100.0, layout), (x,))
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        assert rotary(x.detach().to(dtype), 2, 100.0, layout).dtype == dtype
    far = torch.randn(1, 1, 4, 64)
    right = turned(far, 100_000, 10000.0, layout).float()
    torch.testing.assert_close(rotary(far, 100_000, 10000.0, layout), right, rtol=0, atol=0.05)


def test_distances_alone_count_also_with_a_start():
    """Without a cache, a text means the same wherever it begins."""
    torch.manual_seed(0)
    layer = GroupedQueryAttention(some_config(3)).eval()
    x = torch.randn(2, 9, some_config(3).n_embd)
    torch.testing.assert_close(layer(x, 50), layer(x), rtol=1e-4, atol=1e-5)


def test_swiglu_has_as_many_weights_as_gpt2s_mlp():
    assert sum(p.numel() for p in SwiGLU(576, 1536).parameters()) == 2 * 576 * 4 * 576


@pytest.mark.parametrize("seed", [0, 3, 5])
def test_fused_attention_can_take_the_place(seed):
    ours, _ = pair_of(seed)
    ids = torch.randint(ours.config.vocab_size, (2, 12))
    plain, _ = ours(ids)
    text = generate(ours, ids[:, :3], 8)
    for module in ours.modules():
        if isinstance(module, GroupedQueryAttention):
            module.attend = fused_attention
    torch.testing.assert_close(ours(ids)[0], plain, rtol=1e-4, atol=1e-4)
    assert generate(ours, ids[:, :3], 8).tolist() == text.tolist()


def test_the_cache_holds_shared_heads_only():
    config = LlamaConfig(40, 32, 2, n_head=8, n_kv_head=2, n_embd=32, n_inner=20)
    model, cache = Llama(config).eval(), KVCache(2)
    ids = torch.randint(40, (3, 20))
    with torch.no_grad():
        parts = [model(ids[:, a:b], cache=cache)[0] for a, b in [(0, 6), (6, 7), (7, 15), (15, 20)]]
        torch.testing.assert_close(torch.cat(parts, 1), model(ids)[0], rtol=1e-4, atol=1e-5)
    assert cache.length == 20
    assert cache[1].keys.shape[:2] == cache[1].values.shape[:2] == (3, 2)
    with pytest.raises(ValueError, match="33 tokens are more than block_size = 32"):
        model(torch.zeros(1, 13, dtype=torch.int64), cache=cache)


def test_longer_texts_slide_through_the_window():
    ours, _ = pair_of(1)
    ids = torch.randint(ours.config.vocab_size, (2, 4))
    n_new = ours.config.block_size + 6
    both = [generate(ours, ids, n_new, use_cache=use).tolist() for use in (True, False)]
    assert both[0] == both[1]


def test_measures_take_a_llama():
    ours, theirs = pair_of(2)
    ids = torch.randint(ours.config.vocab_size, (20,))
    nats, scored = score(ours, ids, 24, 24)
    right = F.cross_entropy(theirs(ids[None, :-1]).logits[0], ids[1:], reduction="sum")
    assert scored == 19
    assert nats == pytest.approx(float(right), rel=1e-4)
    best = top_predictions(ours, ids, 3)
    assert [token for token, _ in best] == theirs(ids[None]).logits[0, -1].topk(3)[1].tolist()


def test_first_weights_are_small_and_norms_neutral():
    torch.manual_seed(0)
    model = Llama(LlamaConfig(300, 64, 8, n_head=4, n_kv_head=2, n_embd=64, n_inner=170))
    for name, parameter in model.named_parameters():
        if "norm" in name:
            assert parameter.eq(1).all()
        else:
            residual = name.endswith(("o_proj.weight", "down_proj.weight"))
            right = 0.02 / (4 if residual else 1)  # sqrt(2 * 8)
            assert float(parameter.std()) == pytest.approx(right, rel=0.1), name
    ids = torch.randint(300, (4, 64))
    assert float(model(ids, ids.roll(1))[1]) == pytest.approx(math.log(300), abs=0.1)


def test_a_tied_head_is_one_parameter():
    config = LlamaConfig(30, 16, 1, 2, 1, 8, 12, tie_weights=True)
    model = Llama(config)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    untied = Llama(LlamaConfig(30, 16, 1, 2, 1, 8, 12))
    assert untied.num_parameters() - model.num_parameters() == 30 * 8


def test_smollm2_has_its_published_size():
    with torch.device("meta"):
        model = Llama(LlamaConfig(**SMOL))
    assert model.num_parameters() == 134_515_008


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"vocab_size": 0}, "vocab_size must be at least 1, not 0"),
        ({"n_inner": -3}, "n_inner must be at least 1, not -3"),
        ({"n_kv_head": 3}, "4 heads of queries cannot share 3 heads of keys"),
        ({"n_kv_head": 8}, "4 heads of queries cannot share 8 heads of keys"),
        ({"n_embd": 12}, "a head of 3 channels cannot be turned in pairs"),
        ({"n_embd": 3}, "a head of 0 channels cannot be turned in pairs"),
        ({"head_size": 5}, "a head of 5 channels cannot be turned in pairs"),
        ({"head_size": 0}, "a head of 0 channels cannot be turned in pairs"),
        ({"rope_theta": 0.0}, "rope_theta must be above 0"),
        ({"rope_theta": math.nan}, "rope_theta must be above 0"),
        ({"rms_norm_eps": -1e-5}, "rms_norm_eps must be at least 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), not 1.0"),
    ],
)
def test_shapes_that_cannot_be_are_refused(wrong, says):
    shape = {"vocab_size": 9, "n_layer": 1, "n_head": 4, "n_kv_head": 2, "n_embd": 16, "n_inner": 8}
    with pytest.raises(ValueError, match=says):
        LlamaConfig(**{**shape, **wrong})


def test_ids_without_a_vector_are_refused():
    model = Llama(LlamaConfig(9, 6, 1, 2, 1, 8, 12))
    for ids, says in [
        ([[9]], "no token 9: ids go from 0 to 8"),
        ([[1, -1]], "no token -1"),
        ([[1] * 7], "7 tokens are more than block_size = 6"),
        ([[]], "ids must be"),
    ]:
        with pytest.raises(ValueError, match=says):
            model(torch.tensor(ids, dtype=torch.int64))


def from_hugging_face_to_meta(state: dict, n_head: int, n_kv_head: int) -> dict:
    """The way that published files went, back: transformers' `permute`, undone."""
    names = {"embed_tokens": "tok_embeddings", "self_attn": "attention", "q_proj": "wq"}
    names |= {"k_proj": "wk", "v_proj": "wv", "o_proj": "wo", "mlp": "feed_forward"}
    names |= {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3", "lm_head": "output"}
    names |= {"input_layernorm": "attention_norm", "post_attention_layernorm": "ffn_norm"}

    def undone(rows: torch.Tensor, heads: int) -> torch.Tensor:
        size = len(rows) // heads
        return rows.view(heads, 2, size // 2, -1).transpose(1, 2).reshape(len(rows), -1)

    meta = {"rope.freqs": torch.randn(4)}
    for name, tensor in state.items():
        if "q_proj" in name:
            tensor = undone(tensor, n_head)
        if "k_proj" in name:
            tensor = undone(tensor, n_kv_head)
        parts = name.removeprefix("model.").split(".")
        meta[".".join(names.get(part, part) for part in parts)] = tensor
    return meta


@pytest.mark.parametrize("seed", SEEDS)
def test_metas_files_arrive(seed):
    ours, theirs = pair_of(seed)
    config = ours.config
    state = theirs.state_dict()
    meta = from_hugging_face_to_meta(state, config.n_head, config.n_kv_head)
    kept = {name: tensor.clone() for name, tensor in meta.items()}
    converted = convert_llama_weights(meta, config.n_head, config.n_kv_head)
    assert converted.keys() == state.keys()
    assert all(torch.equal(converted[name], state[name]) for name in state)
    assert meta.keys() == kept.keys()
    assert all(torch.equal(meta[name], kept[name]) for name in kept)


def test_old_files_of_hugging_face_arrive():
    """With the speeds that were once kept as buffers, without prefix, and without a tied head."""
    ours, theirs = pair_of(0)
    state = {name.removeprefix("model."): tensor for name, tensor in theirs.state_dict().items()}
    state["layers.0.self_attn.rotary_emb.inv_freq"] = torch.randn(2)
    state.pop("lm_head.weight")
    converted = convert_llama_weights(state, ours.config.n_head, ours.config.n_kv_head)
    assert converted.keys() == ours.state_dict().keys()
    assert torch.equal(converted["lm_head.weight"], converted["model.embed_tokens.weight"])


def test_rows_of_no_whole_pairs_are_refused():
    with pytest.raises(ValueError, match="6 rows cannot be cut into 2 heads of pairs"):
        pairs_to_halves(torch.randn(6, 3), 2)


def test_written_question_knows_the_size_of_a_cache():
    for values in drawn("11", "what-the-cache-weighs"):
        layers, size = values["layers"], values["size"]
        for n_kv_head, answer in ((values["kv"], "shared"), (values["heads"], "alone")):
            shape = {"n_head": values["heads"], "n_kv_head": n_kv_head, "head_size": size}
            config = LlamaConfig(7, 8, 1, n_embd=4, n_inner=4, **shape)
            cache = KVCache(1)
            Llama(config).bfloat16()(torch.zeros(1, 3, dtype=torch.int64), cache=cache)
            kept = (cache[0].keys[:, :, :1], cache[0].values[:, :, :1])
            n_bytes = layers * sum(part.numel() * part.element_size() for part in kept)
            assert values[answer] == n_bytes

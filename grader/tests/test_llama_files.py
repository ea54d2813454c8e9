"""Llama folders: written by transformers and read by us, written by us and read by transformers."""

import json
import socket

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig as TheirConfig
from transformers import LlamaForCausalLM

from solutions.engine.acceleration import loss_by_slices, use_fast_parts
from solutions.engine.architectures import load_any, load_model, save_model
from solutions.engine.errors import CourseError
from solutions.engine.llama_files import LLAMA_SIZES, load_llama
from solutions.engine.optimizers import build_optimizer
from solutions.generation import KVCache, generate
from solutions.model import GPT, GPTConfig
from solutions.modern import Llama, LlamaConfig
from solutions.trainer import TrainConfig, parameter_groups

CONFIGS = [
    {},
    {"num_key_value_heads": 4, "rope_theta": 137.0, "rms_norm_eps": 1e-2},
    {"num_key_value_heads": 1, "tie_word_embeddings": True},
    {"head_dim": 10, "num_hidden_layers": 3, "rms_norm_eps": 1e-5},
    {"hidden_size": 20, "num_attention_heads": 10, "num_key_value_heads": 5, "vocab_size": 97},
    {"max_position_embeddings": 9, "intermediate_size": 5, "rope_theta": 1e6},
]


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """Nothing here may open a connection, and the hub's cache is our own, at first empty."""

    def refuse(*args, **kwargs):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def theirs_with(seed=0, **changes) -> LlamaForCausalLM:
    shape = {"vocab_size": 61, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
             "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32}  # fmt: skip
    torch.manual_seed(seed)
    model = LlamaForCausalLM(TheirConfig(**shape | changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model


def ours_with(**changes) -> Llama:
    shape = {"vocab_size": 61, "block_size": 32, "n_layer": 2, "n_head": 4, "n_kv_head": 2,
             "n_embd": 24, "n_inner": 40}  # fmt: skip
    torch.manual_seed(1)
    model = Llama(LlamaConfig(**shape | changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model


@torch.no_grad()
def assert_same(ours: Llama, theirs: LlamaForCausalLM, n_new: int = 12) -> None:
    """Equal logits, and the same greedy text token by token, ours with its cache."""
    block_size = ours.config.block_size
    ids = torch.randint(ours.config.vocab_size, (3, block_size))
    mine, right = ours(ids)[0], theirs(ids).logits
    torch.testing.assert_close(mine, right, rtol=0, atol=1e-5 * float(right.abs().max()) + 1e-6)
    prompt = ids[:1, : max(1, block_size - n_new)]
    n_new = block_size - prompt.shape[1]
    wanted = theirs.generate(
        prompt, max_new_tokens=n_new, do_sample=False, eos_token_id=None, pad_token_id=0,
        attention_mask=torch.ones_like(prompt),
    )  # fmt: skip
    assert generate(ours, prompt, n_new).tolist() == wanted.tolist()


def edit_json(path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def folder(tmp_path):
    """A small Llama as transformers writes it."""
    theirs_with().save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


# Theirs, read by us


@pytest.mark.parametrize("config", CONFIGS)
def test_reads_what_transformers_writes(tmp_path, config):
    theirs = theirs_with(**config)
    theirs.save_pretrained(tmp_path / "llama")
    ours = Llama.from_pretrained(tmp_path / "llama", network=False)
    assert_same(ours, theirs)
    assert not ours.training
    for name, their_name, _ in LLAMA_SIZES[:-1]:
        assert getattr(ours.config, name) == getattr(theirs.config, their_name), name
    assert ours.config.channels_per_head == theirs.config.head_dim
    assert ours.config.tie_weights == config.get("tie_word_embeddings", False)
    assert (ours.lm_head.weight is ours.model.embed_tokens.weight) == ours.config.tie_weights
    assert ours.num_parameters() == theirs.num_parameters()
    assert all(p.requires_grad and p.dtype == torch.float32 for p in ours.parameters())


@pytest.mark.parametrize("tied", [True, False])
def test_reads_shards(tmp_path, tied):
    theirs = theirs_with(tie_word_embeddings=tied)
    theirs.save_pretrained(tmp_path / "llama", max_shard_size="6KB")
    shards = sorted((tmp_path / "llama").glob("model-*.safetensors"))
    assert len(shards) > 2
    assert_same(load_llama(tmp_path / "llama"), theirs)
    shards[1].unlink()
    with pytest.raises(CourseError, match=f"lacks {shards[1].name}"):
        load_llama(tmp_path / "llama")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bits_are_widened(tmp_path, dtype):
    theirs_with().to(dtype).save_pretrained(tmp_path / "llama")
    wide = LlamaForCausalLM.from_pretrained(tmp_path / "llama", dtype=torch.float32).eval()
    assert_same(load_llama(tmp_path / "llama"), wide)


@pytest.mark.parametrize("theta", [{"rope_theta": 77.0}, {"rope_theta": 77.0, "rope_scaling": None},
                                   {"rope_parameters": {"rope_theta": 77.0, "rope_type": "default"}},
                                   {"rope_theta": 5.0, "rope_parameters": {"rope_theta": 77.0}},
                                   {"rope_theta": 77, "rope_scaling": {"type": "default"}}])  # fmt: skip
def test_old_and_new_files_say_theta_in_their_ways(folder, theta):
    settings = json.loads((folder / "config.json").read_text())
    del settings["rope_parameters"]
    (folder / "config.json").write_text(json.dumps(settings | theta))
    assert load_llama(folder).config.rope_theta == 77.0
    assert_same(load_llama(folder), LlamaForCausalLM.from_pretrained(folder).eval())


def test_a_file_that_says_little_means_the_defaults(folder):
    """Old files leave out what was not invented: as many heads of keys as of queries, no head_dim."""
    theirs_with(num_key_value_heads=4).save_pretrained(folder)
    settings = json.loads((folder / "config.json").read_text())
    for name in ("num_key_value_heads", "head_dim", "rope_parameters", "rms_norm_eps",
                 "attention_bias", "mlp_bias", "hidden_act", "tie_word_embeddings"):  # fmt: skip
        del settings[name]
    (folder / "config.json").write_text(json.dumps(settings))
    assert_same(load_llama(folder), LlamaForCausalLM.from_pretrained(folder).eval())


def test_reads_files_without_a_head_and_with_old_buffers(folder):
    theirs = theirs_with(tie_word_embeddings=True)
    theirs.save_pretrained(folder)
    state = load_file(folder / "model.safetensors")
    bare = {name.removeprefix("model."): tensor for name, tensor in state.items()}
    for layer in range(2):
        bare[f"layers.{layer}.self_attn.rotary_emb.inv_freq"] = torch.ones(3)
    save_file(bare, folder / "model.safetensors", {"format": "pt"})
    assert_same(load_llama(folder), theirs)


def to_meta(state: dict[str, torch.Tensor], n_head: int, n_kv_head: int) -> dict:
    """The same weights under Meta's names, queries and keys in pairs (written apart from ours)."""
    names = {"embed_tokens": "tok_embeddings", "self_attn": "attention", "mlp": "feed_forward",
             "input_layernorm": "attention_norm", "post_attention_layernorm": "ffn_norm",
             "q_proj": "wq", "k_proj": "wk", "v_proj": "wv", "o_proj": "wo", "gate_proj": "w1",
             "down_proj": "w2", "up_proj": "w3", "lm_head": "output"}  # fmt: skip
    turned = {}
    for name, tensor in state.items():
        for part, heads in (("q_proj", n_head), ("k_proj", n_kv_head)):
            if part in name:
                rows = tensor.reshape(heads, 2, -1, tensor.shape[1])
                tensor = torch.stack([rows[:, 0], rows[:, 1]], dim=2).reshape(tensor.shape)
        parts = name.removeprefix("model.").split(".")
        turned[".".join(names.get(part, part) for part in parts)] = tensor.clone()
    return turned


def test_reads_metas_own_names(folder):
    theirs = LlamaForCausalLM.from_pretrained(folder).eval()
    meta = to_meta(load_file(folder / "model.safetensors"), 4, 2)
    assert "layers.0.attention.wq.weight" in meta
    save_file(meta | {"rope.freqs": torch.ones(3)}, folder / "model.safetensors")
    assert_same(load_llama(folder), theirs)


def test_a_tied_head_may_be_stored_but_not_another_one(folder):
    theirs = theirs_with(tie_word_embeddings=True)
    theirs.save_pretrained(folder)
    state = load_file(folder / "model.safetensors")
    save_file(state | {"lm_head.weight": state["model.embed_tokens.weight"].clone()}, folder / "model.safetensors")  # fmt: skip
    assert_same(load_llama(folder), theirs)
    save_file(state | {"lm_head.weight": torch.zeros(61, 24)}, folder / "model.safetensors")
    with pytest.raises(CourseError, match="two different ones"):
        load_llama(folder)


def test_a_model_in_the_hubs_cache_is_found_by_its_name(tmp_path):
    theirs = theirs_with()
    commit = "0" * 40
    repository = tmp_path / "hub" / "models--someone--small-llama"
    theirs.save_pretrained(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    assert_same(Llama.from_pretrained("someone/small-llama", network=False), theirs)
    assert isinstance(load_any("someone/small-llama", network=False), Llama)
    with pytest.raises(CourseError, match="no folder someone/other, and no model of that name"):
        Llama.from_pretrained("someone/other", network=False)


# What a folder can be


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0}}, "rope_parameters is"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling is .*linear"),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "rope_scaling is .*dynamic"),
        ({"rope_scaling": "linear"}, "rope_scaling cannot be 'linear'"),
        ({"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}}, "rope_parameters is"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"mlp_bias": True}, "mlp_bias is True"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"model_type": "mistral"}, "model_type is 'mistral'"),
        ({"model_type": "gpt2"}, "model_type is 'gpt2'"),
        ({"quantization_config": {"bits": 4}}, "quantization_config is"),
        ({"rope_parameters": {"rope_theta": 0}}, "rope_theta cannot be 0"),
        ({"rope_parameters": {"rope_theta": "big"}}, "rope_theta cannot be 'big'"),
        ({"rms_norm_eps": -1.0}, "rms_norm_eps cannot be -1.0"),
        ({"rms_norm_eps": True}, "rms_norm_eps cannot be True"),
        ({"tie_word_embeddings": 1}, "tie_word_embeddings cannot be 1"),
        ({"hidden_size": True}, "hidden_size cannot be True"),
        ({"hidden_size": 24.0}, "hidden_size cannot be 24.0"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers cannot be"),
        ({"num_hidden_layers": 10**6}, "1000000 layers, the weights have 2"),
        ({"num_key_value_heads": 3}, "n_kv_head must divide n_head"),
        ({"head_dim": 7}, "even number"),
        ({"head_dim": 8}, r"q_proj.weight is \(24, 24\), but by config.json \(32, 24\)"),
        ({"tie_word_embeddings": True}, "two different ones"),
        ({"vocab_size": 60}, r"is \(61, 24\), but by config.json \(60, 24\)"),
    ],
)  # fmt: skip
def test_what_is_not_computed_or_does_not_fit_is_one_sentence(folder, changes, says):
    edit_json(folder / "config.json", **changes)
    with pytest.raises(CourseError, match=says) as caught:
        load_llama(folder)
    assert "\n" not in str(caught.value)


def test_missing_and_unknown_weights_are_named(folder):
    state = load_file(folder / "model.safetensors")
    less = {name: tensor for name, tensor in state.items() if "gate_proj" not in name}
    save_file(less, folder / "model.safetensors")
    with pytest.raises(CourseError, match="the weights lack model.layers.0.mlp.gate_proj.weight"):
        load_llama(folder)
    bias = {"model.layers.0.self_attn.q_proj.bias": torch.zeros(24)}
    save_file(state | bias, folder / "model.safetensors")
    with pytest.raises(CourseError, match="unknown tensors: model.layers.0.self_attn.q_proj.bias"):
        load_llama(folder)
    headless = {name: tensor for name, tensor in state.items() if name != "lm_head.weight"}
    save_file(headless, folder / "model.safetensors")
    with pytest.raises(CourseError, match=r"lack lm_head.weight, and config.json is not tied"):
        load_llama(folder)


def test_each_kind_says_when_it_is_given_the_other(folder, tmp_path):
    with pytest.raises(CourseError, match="model_type is 'llama'"):
        GPT.from_pretrained(folder, network=False)
    gpt = GPT(GPTConfig(vocab_size=31, block_size=8, n_layer=1, n_head=2, n_embd=8))
    gpt.save_pretrained(tmp_path / "gpt")
    with pytest.raises(CourseError, match="model_type is 'gpt2'"):
        Llama.from_pretrained(tmp_path / "gpt", network=False)
    assert isinstance(load_model(folder), Llama)
    assert isinstance(load_model(tmp_path / "gpt"), GPT)
    with pytest.raises(CourseError, match="no folder"):
        load_model(tmp_path / "nowhere")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CourseError, match="only pickled weights"):
        load_llama(folder)


# Ours, read by them


@pytest.mark.parametrize(
    "config",
    [{}, {"tie_weights": True}, {"n_kv_head": 1, "rope_theta": 123.0}, {"head_size": 10},
     {"n_kv_head": 4, "rms_norm_eps": 0.01, "dropout": 0.125}],
)  # fmt: skip
def test_transformers_reads_what_we_write(tmp_path, config):
    ours = ours_with(**config)
    ours.save_pretrained(tmp_path / "ours", end_of_text=7)
    theirs, report = LlamaForCausalLM.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert_same(ours, theirs.eval())
    assert theirs.config.attention_dropout == ours.config.dropout
    assert theirs.config.eos_token_id == theirs.generation_config.eos_token_id == 7
    again = Llama.from_pretrained(tmp_path / "ours", network=False)
    assert again.config == ours.config
    assert all(
        torch.equal(a, b) for a, b in zip(again.parameters(), ours.parameters(), strict=True)
    )
    theirs.save_pretrained(tmp_path / "theirs")
    assert_same(load_llama(tmp_path / "theirs"), theirs)


def test_heads_that_do_not_divide_are_kept_for_us_only(tmp_path):
    ours = ours_with(n_embd=26, n_head=4)  # heads of 6
    with pytest.raises(CourseError, match="4 heads do not divide n_embd = 26"):
        ours.save_pretrained(tmp_path / "ours")
    save_model(ours, tmp_path / "ours")
    ids = torch.randint(61, (2, 20))
    assert torch.equal(load_model(tmp_path / "ours")(ids)[0], ours(ids)[0])


def test_a_damaged_file_is_found(tmp_path):
    ours_with().save_pretrained(tmp_path / "ours")
    file = tmp_path / "ours" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    with pytest.raises(CourseError, match="its checksum is wrong"):
        load_llama(tmp_path / "ours")


# Fast parts and optimisers


@pytest.mark.parametrize("n_kv_head", [1, 2, 4])
def test_fast_parts_compute_the_same_with_the_same_gradients(n_kv_head):
    plain, fast = (ours_with(n_kv_head=n_kv_head) for _ in range(2))
    use_fast_parts(fast)
    ids = torch.randint(61, (3, 21))
    inputs, targets = ids[:, :-1], ids[:, 1:].clone()
    targets[0, :3] = -1
    for model in (plain, fast):
        model(inputs, targets)[1].backward()
    torch.testing.assert_close(fast(inputs)[0], plain(inputs)[0], rtol=1e-4, atol=1e-4)
    for (name, a), b in zip(fast.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-4, msg=name)
    with loss_by_slices(fast), torch.no_grad():
        sliced = fast(inputs, targets)[1]
    torch.testing.assert_close(sliced, plain(inputs, targets)[1].detach(), rtol=1e-5, atol=1e-5)
    cache = KVCache(2)
    with torch.no_grad():
        parts = [
            fast(inputs[:, a:b], cache=cache)[0] for a, b in ((0, 4), (4, 9), (9, 10), (10, 20))
        ]
    torch.testing.assert_close(torch.cat(parts, 1), plain(inputs)[0], rtol=1e-4, atol=1e-4)
    assert cache[0].keys.shape[1] == n_kv_head  # what the cache is spared


def test_muon_takes_the_hidden_matrices_and_decay_all_of_them():
    model = ours_with()
    names = {id(p): name for name, p in model.named_parameters()}
    adamw, muon = build_optimizer(model, TrainConfig(), "muon", torch.device("cpu")).parts
    hidden = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    parts = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
             "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")  # fmt: skip
    assert hidden == {f"model.layers.{i}.{part}.weight" for i in range(2) for part in parts}
    rest = {names[id(p)] for group in adamw.param_groups for p in group["params"]}
    assert not rest & hidden
    assert rest | hidden == set(names.values())
    decayed, kept = parameter_groups(model, 0.1)
    assert {names[id(p)].endswith("norm.weight") for p in kept["params"]} == {True}
    assert not any("norm" in names[id(p)] for p in decayed["params"])

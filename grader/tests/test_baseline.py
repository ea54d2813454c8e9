"""The baseline: DistilGPT-2 where it is at hand, else a small GPT-2 whose answers are recorded."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from huggingface_hub import constants
from transformers import GPT2Config, GPT2LMHeadModel

from grader import baseline
from grader.__main__ import main
from grader.baseline import STAND_IN, find_baseline, stand_in
from grader.gpt2 import gpt2_head, gpt2_logits, gpt2_states, weight_shapes
from grader.judge.backends import InThisProcess
from grader.judge.paths import judged_path
from grader.judge.runner import Target, load_checks, reference_target, run_check
from grader.syllabus import find_lesson
from grader.tests.course_copy import Course
from lessons.engine.errors import CourseError
from lessons.engine.weight_files import read_weights

REAL_CHECK = "test_distilgpt2_speaks_through_your_code"


@pytest.fixture(autouse=True)
def nothing_at_hand(tmp_path, monkeypatch):
    """No COURSE_BASELINE, and a hub cache of our own, which is empty."""
    monkeypatch.delenv("COURSE_BASELINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def random_gpt2(**changes) -> GPT2LMHeadModel:
    """A GPT-2 of transformers' with random weights; by default of DistilGPT-2's shape."""
    torch.manual_seed(0)
    ends = dict.fromkeys(("bos_token_id", "eos_token_id"), None)
    return GPT2LMHeadModel(GPT2Config(**{"n_layer": 6, **changes}, **ends)).eval()


@pytest.fixture(scope="module")
def distil(tmp_path_factory):
    """A folder as transformers writes it, with DistilGPT-2's shape and other weights (330 MB)."""
    folder = tmp_path_factory.mktemp("distilgpt2")
    model = random_gpt2()
    model.save_pretrained(folder)
    yield folder, model
    shutil.rmtree(folder)


# The stand-in


def test_the_recorded_answers_are_transformers(capsys):
    assert main(["baseline", "--check"]) == 0
    assert "fresh" in capsys.readouterr().out


def test_transformers_loads_the_stand_in_itself():
    model = GPT2LMHeadModel.from_pretrained(STAND_IN).float().eval()
    with torch.no_grad():
        logits = model(stand_in().ids).logits
        prompt = torch.tensor([stand_in().greedy[:5]])
        text = model.generate(prompt, max_length=20, do_sample=False, pad_token_id=0)
    scale = stand_in().logits.abs().max().item()
    torch.testing.assert_close(logits, stand_in().logits, rtol=0, atol=1e-5 * scale)
    assert text[0].tolist() == stand_in().greedy


def test_the_stand_in_is_small_and_looks_like_gpt2s_file():
    assert sum(file.stat().st_size for file in STAND_IN.iterdir()) < 1_000_000
    weights = stand_in().weights
    assert weights["transformer.h.0.mlp.c_fc.weight"].shape == (64, 256)  # (inputs, outputs)
    assert weights["transformer.h.1.attn.bias"].shape == (1, 1, 64, 64)
    assert weights["transformer.h.1.attn.masked_bias"] == -1e4
    assert "lm_head.weight" not in weights
    assert len(set(stand_in().greedy)) > 12  # no text that only repeats itself


def test_without_weights_the_stand_in_is_said_aloud():
    found = find_baseline()
    assert not found.real
    assert found.small is found
    assert found.sentence.startswith("baseline: a small GPT-2 (2 layers, 64 wide) stands in for")
    assert "COURSE_BASELINE" in found.sentence
    assert "not on this machine" in found.missing


# GPT-2 in torch's own functions


@pytest.mark.parametrize("tied", [True, False])
def test_the_oracle_is_transformers(tied):
    sizes = {"vocab_size": 31, "n_layer": 2, "n_head": 3, "n_embd": 12, "n_inner": 7}
    changes = {"layer_norm_epsilon": 0.1, "n_positions": 9, "tie_word_embeddings": tied}
    model = random_gpt2(**sizes, **changes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.4)
    ids = torch.randint(31, (2, 9))
    state = dict(model.state_dict())
    if tied:
        del state["lm_head.weight"]
    with torch.no_grad():
        right = model(ids, output_hidden_states=True)
    states = gpt2_states(state, ids, 3, 0.1, as_in_files=True)
    for mine, theirs in zip(states[:-1], right.hidden_states[:-1], strict=True):
        torch.testing.assert_close(mine.float(), theirs, rtol=0, atol=1e-5)
    logits = gpt2_head(state, states[-1], 0.1).float()
    torch.testing.assert_close(logits, right.logits, rtol=0, atol=1e-4)
    shapes = weight_shapes(**sizes, block_size=9, tie_weights=tied)
    assert {name: w.numel() for name, w in state.items()} == {
        name: torch.Size(size).numel() for name, size in shapes.items()
    }
    linear = {name: w.T if w.shape != shapes[name] else w for name, w in state.items()}
    for name in ("attn.c_proj", "attn.c_attn", "mlp.c_fc", "mlp.c_proj"):
        for layer in "01":
            whole = f"transformer.h.{layer}.{name}.weight"
            linear[whole] = state[whole].T  # c_proj is square
    torch.testing.assert_close(gpt2_logits(linear, ids, 3, 0.1), logits, rtol=0, atol=1e-6)


# Real weights


def test_a_folder_of_transformers_is_found_and_read(distil, monkeypatch):
    folder, model = distil
    monkeypatch.setenv("COURSE_BASELINE", str(folder))
    found = find_baseline()
    assert found.real
    assert found.sentence == f"baseline: DistilGPT-2, from {folder}"
    assert found.config["n_layer"] == 6
    assert torch.equal(found.weights["transformer.wpe.weight"], model.transformer.wpe.weight)
    assert found.small is stand_in()
    assert found.published[:4] == [464, 1893, 286, 262]
    assert "other weights" in found.missing  # the same shape is not yet DistilGPT-2
    assert find_baseline() is found  # 330 MB are read once


def test_what_is_published_is_checked_through_the_learners_code(distil, monkeypatch):
    folder, model = distil
    text = torch.tensor([[464, 1893]])
    with torch.no_grad():
        while text.shape[1] < 20:
            text = torch.cat([text, model(text).logits[:, -1].argmax(-1, keepdim=True)], dim=1)
    published = " ".join(map(str, text[0].tolist()))
    monkeypatch.setattr(baseline, "PUBLISHED", {6: published})
    monkeypatch.setenv("COURSE_BASELINE", str(folder))
    monkeypatch.setattr(baseline, "_open", baseline._open.__wrapped__)  # no answer from before
    assert find_baseline().missing == ""
    lesson = find_lesson("05")
    (check,) = [c for c in load_checks(lesson) if c.name == REAL_CHECK]
    result = run_check(check, reference_target(lesson), [])
    assert result.verdict == "passed", result
    assert result.points == 0
    assert result.baseline.startswith("baseline: DistilGPT-2")


def test_the_hubs_cache_is_found(nothing_at_hand):
    commit = "2290a62682d06624634c1f46a6ad5be0f47f38aa"
    home = nothing_at_hand / "models--distilbert--distilgpt2"
    shutil.copytree(STAND_IN, home / "snapshots" / commit)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
    found = find_baseline()
    assert found.real
    assert found.folder == home / "snapshots" / commit
    assert "nothing is published for a GPT-2 of 2 layers, 64 wide" in found.missing


# What can be wrong with it


def copy_of_stand_in(folder):
    return shutil.copytree(STAND_IN, folder / "model")


def cut_weights(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def no_weights(folder):
    (folder / "model.safetensors").unlink()


def no_config(folder):
    (folder / "config.json").unlink()


def change_config(**changes):
    def change(folder):
        settings = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(settings | changes))

    return change


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (shutil.rmtree, "is not a folder"),
        (no_weights, "has no model.safetensors"),
        (no_config, "no file"),
        (lambda folder: (folder / "config.json").write_text("{"), "is damaged"),
        (change_config(model_type="llama"), "describes no GPT-2"),
        (change_config(n_embd="64"), "n_embd cannot be '64'"),
        (cut_weights, "damaged or not safetensors"),
        (change_config(n_layer=3), "transformer.h.2.attn.c_attn.weight is not in the weights"),
        (change_config(vocab_size=500), r"wte.weight is \(512, 64\)"),
    ],
)
def test_a_wrong_folder_is_one_sentence_and_never_the_stand_in(tmp_path, monkeypatch, damage, says):
    folder = copy_of_stand_in(tmp_path)
    damage(folder)
    monkeypatch.setenv("COURSE_BASELINE", str(folder))
    with pytest.raises(CourseError, match=says) as error:
        assert find_baseline().weights
    assert "\n" not in str(error.value)


def test_weights_without_prefix_are_as_good(tmp_path, monkeypatch):
    from safetensors.torch import save_file

    folder = copy_of_stand_in(tmp_path)
    bare = {n.removeprefix("transformer."): w for n, w in read_weights(folder).items()}
    save_file(bare, folder / "model.safetensors")
    monkeypatch.setenv("COURSE_BASELINE", str(folder))
    assert "h.0.attn.bias" in find_baseline().weights


def test_nothing_is_imported_that_a_learner_waits_for():
    code = (
        "import sys; from grader.baseline import find_baseline; find_baseline();"
        "print({'transformers', 'datasets'} & {*sys.modules})"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "set()\n", result.stderr


# What a run of the checks says


def test_a_skipped_check_changes_no_total():
    lesson = find_lesson("05")
    checks = load_checks(lesson)
    (check,) = [c for c in checks if c.name == REAL_CHECK]
    target = Target(lesson, judged_path("05"), InThisProcess())
    result = run_check(check, target, [])
    assert (result.verdict, result.points) == ("skipped", 0)
    assert "not on this machine" in result.symptom
    assert sum(c.points for c in checks) == lesson.points


def test_the_run_says_what_it_measured_by(tmp_path):
    course = Course(tmp_path)
    shutil.copy(course.root / "solutions" / "model.py", course.root / "lessons" / "05" / "model.py")
    pytest_05 = ("-m", "pytest", "lessons/05", "-p", "no:cacheprovider")
    result = course.python(*pytest_05, HF_HUB_CACHE=str(tmp_path / "hub"))
    assert result.returncode == 0, result.stdout
    assert result.stdout.count("baseline: a small GPT-2 (2 layers, 64 wide)") == 1
    assert f"{REAL_CHECK}: it needs DistilGPT-2's real weights" in result.stdout
    points = find_lesson("05").points
    assert f"lesson 05: {points}/{points} points" in result.stdout
    assert "finished. next: lesson 06" in result.stdout
    wrong = course.python(*pytest_05, COURSE_BASELINE=str(tmp_path / "nowhere"))
    assert wrong.returncode == pytest.ExitCode.USAGE_ERROR
    assert "nowhere, which is not a folder" in wrong.stdout + wrong.stderr
    assert "Traceback" not in wrong.stdout + wrong.stderr

"""The capstone with Llama's parts: the whole way, stopped and resumed, beside GPT-2's on one page."""

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from grader.tests.conftest import ROOT
from grader.tests.program import ENVIRONMENT, TINY, equal, program_here, refuses, succeeds, weights
from solutions.engine.architectures import load_model
from solutions.modern import Llama

DATA = ("--stories", "200", "--steps", "24", *TINY)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Two finished runs on the same tokens: gpt2/ and llama/, the second shown beside the first."""
    place = tmp_path_factory.mktemp("runs")
    for arch, more in (("gpt2", ()), ("llama", ("--beside", "gpt2"))):
        done = program_here("run", "--out", arch, "--arch", arch, *DATA, *more, cwd=place)
        assert done.returncode == 0, done.stderr
        if arch == "llama":
            assert "preset laptop, Llama's parts" in done.stdout
    return place


def test_a_run_of_llama_describes_itself_and_loads_in_transformers(runs):
    from transformers import AutoTokenizer, LlamaForCausalLM

    config = json.loads((runs / "llama" / "config.json").read_text())["settings"]
    assert config["arch"] == "llama"
    shape = {"n_layer": 2, "n_head": 2, "n_kv_head": 1, "n_embd": 32, "n_inner": 88,
             "block_size": 32, "tie_weights": True}  # fmt: skip
    assert config["model"].items() >= shape.items()
    best = runs / "llama" / "checkpoints" / "best"
    ours = load_model(best)
    assert isinstance(ours, Llama)
    theirs, said = LlamaForCausalLM.from_pretrained(best, output_loading_info=True)
    assert not any(said[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids = torch.randint(400, (2, 32))
    with torch.no_grad():
        torch.testing.assert_close(ours(ids)[0], theirs.eval()(ids).logits, rtol=0, atol=1e-4)
    tokenizer = AutoTokenizer.from_pretrained(best)
    assert tokenizer.decode(tokenizer("Once upon a time")["input_ids"]) == "Once upon a time"
    metrics = json.loads((runs / "llama" / "metrics.json").read_text())
    assert metrics["parameters"] == ours.num_parameters()
    rows = (runs / "llama" / "log.csv").read_text().splitlines()[1:]
    assert float(rows[-1].split(",")[2]) < float(rows[0].split(",")[2]) - 0.5  # it has learned


@pytest.mark.parametrize("optimizer", ["muon", pytest.param("adamw", marks=pytest.mark.slow)])
def test_stopped_at_any_step_it_ends_with_the_same_bits(tmp_path, runs, optimizer, monkeypatch):
    from solutions.engine.training import Training

    recipe = ("--arch", "llama", *DATA, "--evaluate-every", "5", "--optimizer", optimizer,
              "--dropout", "0.1", "--accumulation", "2")  # fmt: skip
    for out in ("whole", "broken"):
        shutil.copytree(runs / "llama" / "data", tmp_path / out / "data")  # the same, and sooner
    done = program_here("train", "--out", "whole", *recipe, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    save = Training._save
    left = [10, 15]

    def save_and_stop(self, progress, evaluated):
        save(self, progress, evaluated)
        if left and progress.step == left[0]:
            left.pop(0)
            raise KeyboardInterrupt

    monkeypatch.setattr(Training, "_save", save_and_stop)
    codes = [
        program_here("train", "--out", "broken", *recipe, cwd=tmp_path).returncode for _ in range(3)
    ]
    assert codes == [130, 130, 0]
    for checkpoint in ("last", "best"):
        a, b = (weights(tmp_path / out / "checkpoints" / checkpoint) for out in ("whole", "broken"))
        assert equal(a, b)
    losses = [
        [row.split(",")[:6] for row in (tmp_path / out / "log.csv").read_text().splitlines()]
        for out in ("whole", "broken")
    ]
    assert losses[0] == losses[1]


class Page(HTMLParser):
    """Collects ids, what a page would fetch, and its tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.outside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href") and not value.startswith(("#", "data:")):
                self.outside.append(value)


def test_the_report_shows_both_on_the_same_tokens(runs):
    text = (runs / "llama" / "report.html").read_text()
    page = Page(text)
    assert not page.outside
    assert len(page.ids) == len(set(page.ids))
    assert "<h2>Llama beside GPT-2</h2>" in text
    both = [json.loads((runs / name / "metrics.json").read_text()) for name in ("llama", "gpt2")]
    row = re.search(
        r'bits per byte</th><td class="number">([\d.]+)</td><td class="number">([\d.]+)', text
    )
    assert [float(number) for number in row.groups()] == [
        round(m["bits_per_byte"], 4) for m in both
    ]
    for metrics in both:
        assert f"{metrics['parameters']:,}" in text
    assert both[0]["val_loss"] != both[1]["val_loss"]
    assert both[0]["evaluated_tokens"] == both[1]["evaluated_tokens"]
    assert f"After {both[0]['train_tokens']:,} training tokens each" in text
    for said in ("<code>llama</code></td><td><code>gpt2</code>", "The same tokens", "by GPT-2</p>"):
        assert said in text, said
    alone = program_here("report", "--out", "llama", cwd=runs)
    assert alone.returncode == 0, alone.stderr
    assert "beside GPT-2" not in (runs / "llama" / "report.html").read_text()


def test_the_surprises_are_the_models_own(runs):
    from solutions.engine.beside import compare_runs
    from solutions.engine.prepared import load_prepared
    from solutions.engine.run_folder import RunFolder
    from solutions.engine.stories import Storyteller

    run, other = RunFolder(runs / "llama"), RunFolder(runs / "gpt2")
    shown = compare_runs(run, Storyteller.load(run.best), other)
    ids = torch.from_numpy(load_prepared(run.data)[1][:33].astype("int64"))
    assert len(shown["tokens"]) == 33
    for column, folder in enumerate((run.best, other.best)):
        with torch.no_grad():
            logits = load_model(folder)(ids[None, :-1])[0][0]
        right = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")
        found = torch.tensor([token["nats"][column] for token in shown["tokens"][1:]])
        torch.testing.assert_close(found, right, rtol=1e-3, atol=1e-3)
    for token in shown["tokens"][1:]:
        first, second = token["nats"]
        assert (token["share"] > 0) == (first > second) or abs(first - second) < 1e-6
        assert -1 <= token["share"] <= 1
    changed = {name: (here, there) for name, here, there in shown["differences"]}
    assert changed["arch"] == ("llama", "gpt2")
    assert changed["n kv head"] == ("1", "none")
    assert changed["n inner"] == ("88", "128")
    assert changed.keys() == {"arch", "n inner", "n kv head", "rope theta"}


def test_runs_that_do_not_compare_are_a_sentence(runs, tmp_path):
    refuses("report", "--out", "llama", "--beside", "llama", cwd=runs, says="is the run itself")
    refuses(
        "report", "--out", "llama", "--beside", "nowhere", cwd=runs, says="nowhere holds no run"
    )
    other = tmp_path / "other"
    done = program_here("run", "--out", other, *DATA, "--seed", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    refuses("report", "--out", "llama", "--beside", other, cwd=runs, says="has another (tokenizer|held-out text), so its losses")  # fmt: skip
    (other / "metrics.json").unlink()
    new = ("run", "--out", tmp_path / "new", *DATA, "--beside", other)
    refuses(*new, cwd=runs, says="has not been measured yet; first: evaluate --out")
    assert not (tmp_path / "new" / "checkpoints").exists()  # said before the training


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--arch", "bert"), "no architecture 'bert'; --arch takes gpt2 or llama"),
        (("--n-kv-head", "2"), "--n-kv-head is for --arch llama"),
        (("--rope-theta", "100"), "--rope-theta is for --arch llama"),
        (("--arch", "llama", "--n-kv-head", "3"), "2 heads of queries cannot share 3"),
        (("--arch", "llama", "--n-kv-head", "0"), "--n-kv-head must be above 0"),
        (("--arch", "llama", "--rope-theta", "0"), "--rope-theta must be above 0"),
        (("--arch", "llama", "--n-inner", "0"), "--n-inner must be above 0"),
        (("--arch", "llama", "--n-embd", "6"), "must be an even number|it is an even number"),
    ],
)
def test_shapes_that_cannot_be_are_a_sentence(tmp_path, options, says):
    refuses("train", "--out", tmp_path / "run", *DATA, *options, cwd=tmp_path, says=says)
    assert not (tmp_path / "run").exists()


def test_a_run_keeps_its_architecture(runs):
    refuses("train", "--out", "gpt2", "--arch", "llama", cwd=runs, says="--arch gpt2, not llama")
    config = runs / "gpt2" / "config.json"
    text = config.read_text()
    old = json.loads(text)
    del old["settings"]["arch"], old["wishes"]["arch"]  # as before there was a choice
    config.write_text(json.dumps(old))
    try:
        for more in ((), ("--arch", "gpt2")):
            done = program_here("train", "--out", "gpt2", *more, "--quiet", cwd=runs)
            assert done.returncode == 0, done.stderr
        refuses(
            "train", "--out", "gpt2", "--arch", "llama", cwd=runs, says="--arch gpt2, not llama"
        )
    finally:
        config.write_text(text)


def test_it_tells_and_is_measured_as_any_other(runs):
    told = program_here(
        "generate", "--out", "llama", "--prompt", "One day", "--tokens", "50", cwd=runs
    )
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("One day") and len(told.stdout) > 40  # beyond its 32 tokens
    for options in (("--beams", "2"), ("--trace",), ("--top-predictions", "3"), ("--greedy",)):
        done = program_here("generate", "--out", "llama", "--tokens", "5", *options, cwd=runs)
        assert done.returncode == 0, done.stderr
    text = runs / "other.txt"
    text.write_text("Tom sat. He was sad. " * 40)
    done = program_here("evaluate", "--out", "llama", "--text", text, "--stride", "7", cwd=runs)
    assert "bits per byte" in done.stdout, done.stderr
    refuses("report", "--out", "llama", "--share", cwd=runs, says="only a GPT as in lesson 05")


def test_every_preset_has_a_llama_of_about_its_size():
    from solutions.engine.architectures import make_model
    from solutions.engine.presets import PRESETS
    from solutions.engine.settings import resolve

    for name in PRESETS:
        sizes = []
        for arch in ("gpt2", "llama"):
            with torch.device("meta"):
                model = make_model(resolve({"preset": name, "arch": arch}).model_config(4096))
            sizes.append(model.num_parameters())
        assert 0.85 < sizes[1] / sizes[0] < 1.02, (name, sizes)


@pytest.mark.slow
def test_heads_that_do_not_divide_are_saved_and_go_on(tmp_path):
    shape = ("--n-layer", "1", "--n-head", "7", "--n-embd", "30", "--block-size", "32")
    command = ("run", "--arch", "llama", *shape, "--stories", "200", "--tokenizer", "bpe:400",
               "--steps", "5", "--device", "cpu", "--quiet", "--out", "seven")  # fmt: skip
    succeeds(*command, cwd=tmp_path)
    assert "Once" in succeeds("generate", "--out", "seven", "--tokens", "5", cwd=tmp_path)
    assert "finished already" in succeeds(*[w for w in command if w != "--quiet"], cwd=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("without", "says"),
    [("modern.py", "this course does not hold lesson 11"), (None, "not written yet: lesson 11: ")],
)
def test_where_lesson_11_is_missing_or_not_written_it_says_so(tmp_path, without, says):
    """A GPT is trained as ever; a Llama ends in a sentence."""
    library = tmp_path / "library"
    shutil.copytree(ROOT / "solutions", library)
    (library / "modern.py").unlink()
    if without is None:
        shutil.copy(ROOT / "lessons" / "11" / "modern.py", library)
    path = {"COURSE_PATH": f"{library}{os.pathsep}{ROOT / 'lessons'}"}
    command = (sys.executable, "-m", "lessons.tinystories", "train", *DATA, "--steps", "2")
    for arch, code in (("gpt2", 0), ("llama", 2)):
        done = subprocess.run(
            [*command, "--out", arch, "--arch", arch],
            cwd=tmp_path, env=ENVIRONMENT | path, capture_output=True, text=True, timeout=280,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1

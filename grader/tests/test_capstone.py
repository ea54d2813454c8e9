"""The capstone program through its commands: the whole way, its files, its stories, its presets."""

import json
import re
import sys
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
import torch

from grader.tests.program import FINISHED, TINY, equal, program_here, refuses, succeeds, weights


def test_a_run_folder_describes_itself(finished):
    for name in ("config.json", "log.csv", "log.jsonl", "samples.txt", "metrics.json"):
        assert (finished / name).stat().st_size > 0, name
    assert {f.name for f in (finished / "data").iterdir()} >= {"train.bin", "val.bin", "meta.json"}
    metrics = json.loads((finished / "metrics.json").read_text())
    for name in (
        *("val_loss", "perplexity", "bits_per_byte", "next_token_accuracy", "tokens_per_second"),
        *("parameters", "peak_memory_mb", "train_tokens"),
    ):
        assert metrics[name] > 0, name
    for name in ("data_sha256", "valid_sha256", "tokenizer_sha256"):
        assert re.fullmatch(r"[0-9a-f]{64}", metrics[name]), name
    assert metrics["data"] == "ministories"
    assert metrics["tokenizer"] == "bpe:400"
    assert metrics["train_tokens"] == 60 * 4 * 32
    header, *rows = (finished / "log.csv").read_text().splitlines()
    assert header.startswith("step,tokens,train_loss,val_loss,learning_rate")
    losses = [float(row.split(",")[2]) for row in rows]
    assert losses[-1] < losses[0] - 0.5  # it has learned
    for checkpoint in ("best", "last"):
        kinds = {f.suffix for f in (finished / "checkpoints" / checkpoint).rglob("*.*")}
        assert kinds <= {".safetensors", ".json", ".txt"}, kinds


class Outside(HTMLParser):
    """Collects what a page would fetch from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[str] = []

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("src", "href") and value and not value.startswith(("#", "data:")):
                self.requests.append(f"{tag} {value}")


def test_the_report_is_one_page_that_fetches_nothing(finished):
    page = (finished / "report.html").read_text()
    outside = Outside()
    outside.feed(page)
    assert not outside.requests
    assert "@import" not in page
    assert "url(http" not in page
    for words in ("before training", "after 30 steps", "(the end)", "bits per byte", "GPT-3"):
        assert words in page, words
    assert "<svg" in page


def test_running_again_does_nothing_again(finished, place):
    before = {f: f.stat().st_mtime_ns for f in finished.rglob("*") if f.name != "report.html"}
    succeeds("run", "--out", finished, *FINISHED, cwd=place)
    assert {f: f.stat().st_mtime_ns for f in before} == before


def test_other_settings_in_the_same_folder_are_refused(finished, place):
    refuses("run", "--out", finished, "--steps", "70", cwd=place, says="begun with --steps 60")
    refuses("train", "--out", finished, "--preset", "nano", cwd=place, says="begun with --preset")


def test_transformers_loads_the_checkpoint(finished):
    from transformers import AutoTokenizer, GPT2LMHeadModel

    from solutions.tinystories import load

    teller = load(str(finished))
    folder = finished / "checkpoints" / "best"
    theirs = GPT2LMHeadModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "One day, Tom found a shiny stone."
    ids = torch.tensor([teller.tokenizer.encode(text)])
    assert tokenizer(text)["input_ids"] == ids[0].tolist()
    with torch.no_grad():
        ours = teller.model.float()(ids)[0]
        torch.testing.assert_close(ours, theirs(ids).logits, rtol=1e-4, atol=1e-4)


def test_stages_are_commands_and_make_the_same(finished, place):
    out = place / "stages"
    succeeds("prepare", "--out", out, "--stories", "400", "--tokenizer", "bpe:400", cwd=place)
    succeeds("train", "--out", out, "--steps", "60", *TINY, cwd=place)
    assert not (out / "metrics.json").exists()
    refuses("report", "--out", out, cwd=place, says="run evaluate first")
    assert "bits per byte" in succeeds("evaluate", "--out", out, "--device", "cpu", cwd=place)
    assert "report.html" in succeeds("report", "--out", out, cwd=place)
    assert equal(weights(out / "checkpoints/last"), weights(finished / "checkpoints/last"))


def test_a_baseline_at_hand_gets_its_column(copy_of_finished, place, monkeypatch):
    """A random model in DistilGPT-2's layout stands in for its weights."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=16, n_positions=64)).save_pretrained(
        place / "baseline"
    )
    monkeypatch.setenv("COURSE_BASELINE", str(place / "baseline"))
    (copy_of_finished / "metrics.json").unlink()
    for command in ("evaluate", "report"):
        result = program_here(command, "--out", copy_of_finished, "--device", "cpu", cwd=place)
        assert result.returncode == 0, result.stderr
    table = json.loads((copy_of_finished / "metrics.json").read_text())["baseline"]
    assert table["DistilGPT-2"]["perplexity"] == pytest.approx(50257, rel=0.05)
    assert table["this model"]["bits_per_byte"] < table["DistilGPT-2"]["bits_per_byte"]
    page = (copy_of_finished / "report.html").read_text()
    assert '<th scope="col" class="number">DistilGPT-2</th>' in page
    monkeypatch.setenv("COURSE_BASELINE", str(place / "nowhere"))
    (copy_of_finished / "metrics.json").unlink()
    refuses("evaluate", "--out", copy_of_finished, cwd=place, says="COURSE_BASELINE names")


# Trackers


def test_a_tracker_gets_the_same_numbers(place, monkeypatch):
    rows = []
    fake = SimpleNamespace(
        init=lambda **about: rows.append(about),
        log=lambda values, step: rows.append(values | {"step": step}),
        finish=lambda: rows.append({}),
    )
    monkeypatch.setitem(sys.modules, "trackio", fake)
    out = place / "tracked"
    command = ("train", "--out", out, "--stories", "200", "--steps", "20", "--log", "trackio")
    result = program_here(*command, *TINY, cwd=place)
    assert result.returncode == 0, result.stderr
    assert rows[0]["name"] == "tracked"
    logged = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert rows[1:-1] == [row for row in logged if "train_loss" in row]


def test_a_tracker_that_is_not_installed_is_a_sentence(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    refuses("train", "--out", place / "w", "--log", "wandb", cwd=place, says="pip install wandb")


# Generating


def test_the_same_seed_tells_the_same_story(finished, place):
    command = ("generate", "--out", finished, "--prompt", "Lily", "--tokens", "30", "--seed")
    first = succeeds(*command, "1", cwd=place)
    assert first.startswith("Lily")
    assert first == succeeds(*command, "1", cwd=place)
    assert first != succeeds(*command, "2", cwd=place)


@pytest.mark.parametrize(
    "options",
    [
        ("--greedy",),
        ("--beams", "3"),
        ("--temperature", "0.5", "--top-k", "5"),
        ("--top-p", "0.5", "--min-p", "0.05"),
        ("--repetition-penalty", "1.3"),
    ],
)
def test_every_sampler_writes_on(finished, place, options):
    prompt = ("--prompt", "One day", "--tokens", "50")  # beyond the context of 32 tokens
    text = succeeds("generate", "--out", finished, *prompt, *options, cwd=place)
    assert text.startswith("One day")
    assert len(text) > 40


def test_prompts_from_a_file_and_from_a_person(finished, place):
    prompts = place / "prompts.txt"
    prompts.write_text("Ben\n\nSara saw\n")
    text = succeeds("generate", "--out", finished, "--file", prompts, "--tokens", "5", cwd=place)
    assert "Ben" in text
    assert "Sara saw" in text
    text = succeeds(
        "generate", "--out", finished, "--interactive", "--tokens", "5", cwd=place, input="A dog\n"
    )
    assert "A dog" in text


def test_looking_inside(finished, place):
    table = succeeds("generate", "--out", finished, "--top-predictions", "4", cwd=place)
    assert len(re.findall(r"\d+\.\d+%", table)) == 4
    trace = succeeds("generate", "--out", finished, "--trace", "--tokens", "6", cwd=place)
    assert "entropy" in trace
    assert len(trace.splitlines()) == 7


def test_evaluate_on_another_text(finished, place):
    other = place / "other.txt"
    other.write_text("Tom sat. He was sad. " * 40)
    assert "bits per byte" in succeeds("evaluate", "--out", finished, "--text", other, cwd=place)


# Presets


def test_presets_have_the_published_shapes():
    from solutions.engine.presets import PRESETS

    shapes = {
        "laptop": (4, 4, 256, 256),
        "nano": (4, 4, 128, 64),
        "small": (6, 6, 384, 128),
        "medium": (8, 8, 512, 256),
        "large": (12, 12, 768, 512),
        "notebook-tiny": (4, 4, 256, 1024),
        "notebook-small": (6, 8, 512, 1024),
        "notebook-medium": (12, 12, 768, 1024),
        "wikipedia": (7, 7, 384, 512),
        "distilgpt2": (6, 12, 768, 1024),
    }
    assert {n: (p.n_layer, p.n_head, p.n_embd, p.block_size) for n, p in PRESETS.items()} == shapes


@pytest.mark.parametrize(
    ("name", "vocab_size", "millions"),
    [("laptop", 4096, 4.3), ("small", 50257, 30), ("medium", 50257, 51), ("large", 50257, 124),
     ("notebook-small", 50257, 45), ("distilgpt2", 50257, 82)],
)  # fmt: skip
def test_parameter_counts_are_those_measured(name, vocab_size, millions):
    from solutions.engine.settings import resolve
    from solutions.model import GPT

    with torch.device("meta"):
        model = GPT(resolve({"preset": name}).model_config(vocab_size))
    assert model.num_parameters() / 1e6 == pytest.approx(millions, rel=0.02)


def test_every_preset_resolves_and_is_listed(place):
    from solutions.engine.presets import PRESETS
    from solutions.engine.settings import resolve

    text = succeeds("presets", cwd=place)
    for name in PRESETS:
        assert f"{name}: " in text
        assert resolve({"preset": name}).train["steps"] > 0


def test_heads_that_do_not_divide_are_saved_in_our_own_layout(place):
    out = place / "seven"
    shape = ("--n-layer", "1", "--n-head", "7", "--n-embd", "24", "--block-size", "32")
    data = ("--stories", "200", "--tokenizer", "sentencepiece:400", "--steps", "5")
    command = ("run", "--out", out, *shape, *data, "--device", "cpu", "--quiet")
    succeeds(*command, cwd=place)
    assert "Once" in succeeds("generate", "--out", out, "--tokens", "5", cwd=place)


def test_a_run_of_days_says_so_first(place):
    refuses(
        *("train", "--out", place / "days", "--stories", "300", "--steps", "100000000", *TINY),
        cwd=place,
        says=r"would take about [\d,.]+ (days|h) on this machine.*--yes.*--minutes",
    )

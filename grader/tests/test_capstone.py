"""The capstone program through its commands: the whole way, killed, resumed, shared, misused."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from grader.tests.conftest import ROOT

PROGRAM = (sys.executable, "-m", "solutions.tinystories")
# A model that trains in a second. `--quiet` keeps progress bars out of the captured text.
TINY = (
    *("--n-layer", "2", "--n-head", "2", "--n-embd", "32", "--block-size", "32"),
    *("--batch-size", "4", "--tokenizer", "bpe:400", "--device", "cpu", "--quiet"),
)
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "COURSE_BASELINE": "",
}


def program(*arguments: str | Path, cwd: Path, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=280,
        **options,
    )


def succeeds(*arguments: str | Path, cwd: Path, **options) -> str:
    result = program(*arguments, cwd=cwd, **options)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def program_here(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess:
    """The same inside this process: a new one takes seconds to import torch."""
    from solutions.engine.commands import main

    out, err, threads = io.StringIO(), io.StringIO(), torch.get_num_threads()
    with contextlib.chdir(cwd), redirect_stdout(out), redirect_stderr(err):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as error:
            code = error.code
    torch.set_num_threads(threads)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def refuses(*arguments: str | Path, cwd: Path, says: str, **options) -> None:
    """Exit code 2 and one sentence on stderr, without a traceback."""
    if options:
        result = program(*arguments, cwd=cwd, **options)
    else:
        result = program_here(*arguments, cwd=cwd)
    assert result.returncode == 2, (result.returncode, result.stdout, result.stderr)
    assert "Traceback" not in result.stderr
    assert re.search(says, result.stderr), result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("capstone")


@pytest.fixture(scope="module")
def finished(place) -> Path:
    """One finished run that the reading tests share."""
    out = place / "finished"
    command = ("run", "--out", out, "--stories", "400", "--steps", "60", *TINY)
    text = succeeds(*command, cwd=place)
    assert "parameters" in text
    assert str(out / "report.html") in text
    return out


# The whole way


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
    succeeds("run", "--out", finished, "--stories", "400", "--steps", "60", *TINY, cwd=place)
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


# Resume


def kill_when(log: Path, step: int, process: subprocess.Popen, with_signal: int) -> None:
    """Send a signal once the log has come to `step` (or past it)."""
    deadline = time.time() + 120
    while time.time() < deadline and process.poll() is None:
        if log.exists():
            steps = [int(s) for s in re.findall(r'"step": (\d+)', log.read_text())]
            if steps and steps[-1] >= step:
                process.send_signal(with_signal)
                process.wait()
                return
        time.sleep(0.02)
    raise AssertionError(f"ended before step {step}: {process.returncode}")


@pytest.mark.parametrize(
    ("optimizer", "precision", "dropout"), [("adamw", "fp32", "0.2"), ("muon", "bf16", "0.0")]
)
def test_a_killed_run_ends_with_the_same_bits(place, optimizer, precision, dropout):
    recipe = (
        *("--stories", "300", "--steps", "120", "--evaluate-every", "15", "--dropout", dropout),
        *("--optimizer", optimizer, "--precision", precision, "--accumulation", "2", *TINY),
    )
    whole, broken = place / f"whole-{optimizer}", place / f"broken-{optimizer}"
    succeeds("train", "--out", whole, *recipe, cwd=place)
    for step, with_signal in ((20, signal.SIGKILL), (50, signal.SIGTERM), (90, signal.SIGKILL)):
        process = subprocess.Popen(
            [*PROGRAM, "train", "--out", str(broken), *recipe],
            cwd=place,
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        kill_when(broken / "log.jsonl", step, process, with_signal)
        assert process.returncode == (130 if with_signal == signal.SIGTERM else -signal.SIGKILL)
    succeeds("train", "--out", broken, *recipe, cwd=place)
    for checkpoint in ("last", "best"):
        assert equal(
            weights(whole / "checkpoints" / checkpoint),
            weights(broken / "checkpoints" / checkpoint),
        )
    columns = [
        [row.split(",")[:6] for row in (run / "log.csv").read_text().splitlines()]
        for run in (whole, broken)
    ]
    assert columns[0] == columns[1]
    assert (whole / "samples.txt").read_text() == (broken / "samples.txt").read_text()


def test_minutes_become_steps_once(place):
    out = place / "minutes"
    recipe = ("--out", out, "--stories", "300", "--minutes", "0.15", *TINY)
    began = time.time()
    process = subprocess.Popen(
        [*PROGRAM, "train", *map(str, recipe)], cwd=place, env=ENVIRONMENT, stdout=subprocess.PIPE
    )
    kill_when(out / "log.jsonl", 20, process, signal.SIGKILL)
    steps = json.loads((out / "config.json").read_text())["decided"]["steps"]
    succeeds("train", *recipe, cwd=place)
    assert json.loads((out / "config.json").read_text())["decided"]["steps"] == steps
    assert time.time() - began < 90
    last = (out / "log.csv").read_text().splitlines()[-1]
    assert int(last.split(",")[0]) == steps


def test_ctrl_c_is_one_sentence_and_exit_code_130(place):
    out = place / "interrupted"
    process = subprocess.Popen(
        [*PROGRAM, "train", "--out", str(out), "--stories", "300", "--steps", "100000", *TINY],
        cwd=place,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    kill_when(out / "log.jsonl", 30, process, signal.SIGINT)
    assert process.returncode == 130
    errors = process.stderr.read()
    assert "run the same command again" in errors
    assert "Traceback" not in errors
    assert "Once" in succeeds("generate", "--out", out, "--checkpoint", "last", cwd=place)


def test_early_stop(place):
    out = place / "early"
    recipe = ("--stories", "60", "--steps", "4000", "--patience", "2", "--evaluate-every", "20")
    succeeds("train", "--out", out, *recipe, *TINY, "--lr", "0.02", cwd=place)
    last = int((out / "log.csv").read_text().splitlines()[-1].split(",")[0])
    assert last < 4000
    best = json.loads((out / "checkpoints/best/trainer.json").read_text())["progress"]
    assert best["step"] == last - 40  # patience 2: two evaluations behind the best


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


# Several processes


def test_torchrun_equals_one_process(place):
    recipe = (
        *("--stories", "300", "--steps", "25", "--accumulation", "2", "--precision", "fp32"),
        *("--evaluate-every", "5", "--dropout", "0", *TINY),
    )
    alone, together = place / "alone", place / "together"
    succeeds("train", "--out", alone, *recipe, cwd=place)
    result = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"),
            *("--master_port", "29517", "-m", "solutions.tinystories", "train"),
            *("--out", str(together), *recipe),
        ],
        cwd=place,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert result.returncode == 0, result.stderr
    rows = [
        [row.split(",") for row in (run / "log.csv").read_text().splitlines()[1:]]
        for run in (alone, together)
    ]
    for a, b in zip(*rows, strict=True):
        for column in (2, 3):  # training and validation loss
            if a[column]:
                assert float(b[column]) == pytest.approx(float(a[column]), rel=1e-5)


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


# Bad input


def text_of(place: Path, name: str, content: str | bytes) -> Path:
    path = place / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--preset", "tiny"), "no preset 'tiny'.*laptop.*distilgpt2"),
        (("--data", "nowhere.txt"), "nowhere.txt.*ministories, tinystories, wikipedia"),
        (("--tokenizer", "gpt5"), "gpt5.*gpt2.*bpe:N.*sentencepiece:N"),
        (("--tokenizer", "bpe:7"), "bpe:7|7"),
        (("--optimizer", "sgd"), "adamw, muon"),
        (("--precision", "int8"), "fp32, bf16, fp16"),
        (("--device", "tpu"), "auto, cpu, cuda, mps"),
        (("--steps", "0"), "--steps must be above 0"),
        (("--minutes", "-1"), "--minutes must be above 0"),
        (("--steps", "5", "--epochs", "2"), "choose one of"),
        (("--lr", "-0.1"), "--lr must be above 0"),
        (("--dropout", "1.5"), "--dropout must be in"),
        (("--batch-size", "0"), "--batch-size must be above 0"),
        (("--n-head", "999"), "--n-embd must be at least --n-head"),
        (("--log", "excel"), "tensorboard, wandb, trackio"),
    ],
)
def test_wrong_words_get_a_sentence(place, options, says):
    base = ("train", "--out", place / "wrong", "--stories", "100", "--quiet")
    if "--steps" not in options and "--minutes" not in options:
        base += ("--steps", "2")
    for flag, value in (("--tokenizer", "bpe:300"), ("--device", "cpu"), ("--n-embd", "32")):
        if flag not in options:
            base += (flag, value)
    refuses(*base, *options, cwd=place, says=says)
    import shutil

    shutil.rmtree(place / "wrong", ignore_errors=True)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"Tom \xff\xfe sat", "UTF-8"),
        (b"Too short.", "tokens|short|give more text"),
    ],
)
def test_bad_texts_get_a_sentence(place, content, says):
    path = text_of(place, "bad.txt", content)
    refuses(
        *("train", "--data", path, "--out", place / f"bad{len(content)}", "--steps", "2", *TINY),
        cwd=place,
        says=says,
    )


def test_a_folder_without_text_gets_a_sentence(place):
    (place / "empty-folder").mkdir(exist_ok=True)
    refuses("train", "--data", place / "empty-folder", "--out", place / "e", cwd=place, says="text")


def test_one_giant_line_trains(place):
    path = text_of(place, "giant.txt", "Tom saw a cat and a dog and a bird. " * 20_000)
    succeeds("train", "--data", path, "--out", place / "giant", "--steps", "3", *TINY, cwd=place)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--prompt", ""), "prompt is empty"),
        (("--prompt", "many words " * 100), "the model sees 32 at most"),
        (("--temperature", "0"), "temperature must be above 0.*--greedy"),
        (("--temperature", "-1"), "temperature must be above 0"),
        (("--top-p", "0"), r"top-p must be in \(0, 1\]"),
        (("--top-p", "1.5"), r"top-p must be in \(0, 1\]"),
        (("--top-k", "0"), "top-k must be at least 1"),
        (("--checkpoint", "nowhere"), "no checkpoint"),
        (("--file", "nowhere.txt"), "no file nowhere.txt"),
        (("--tokens", "0"), "--tokens must be at least 1"),
    ],
)
def test_wrong_wishes_at_generating_get_a_sentence(finished, place, options, says):
    refuses("generate", "--out", finished, *options, "--device", "cpu", cwd=place, says=says)


def test_no_run_gets_a_sentence(place):
    refuses("generate", "--out", place / "nothing", cwd=place, says="holds no run")
    empty = place / "empty-place"
    empty.mkdir()
    refuses("generate", cwd=empty, says="no run in runs/")


@pytest.fixture
def copy_of_finished(finished, tmp_path) -> Path:
    import shutil

    return Path(shutil.copytree(finished, tmp_path / "copy"))


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_damaged_files_get_a_sentence(copy_of_finished, place, damage):
    weights_file = copy_of_finished / "checkpoints/best/model.safetensors"
    whole = weights_file.read_bytes()
    weights_file.write_bytes(whole[:-100] if damage == "cut" else whole[:-4] + b"oops")
    refuses("generate", "--out", copy_of_finished, cwd=place, says="damaged")
    weights_file.write_bytes(whole)
    tokens = copy_of_finished / "data/val.bin"
    (copy_of_finished / "metrics.json").unlink()
    content = tokens.read_bytes()
    tokens.write_bytes(content[:-100] if damage == "cut" else content[:-4] + b"oops")
    refuses("evaluate", "--out", copy_of_finished, cwd=place, says="val.bin")


def test_a_cut_training_file_is_made_again(copy_of_finished, place):
    tokens = copy_of_finished / "data/train.bin"
    content = tokens.read_bytes()
    tokens.write_bytes(content[:-100])
    succeeds("prepare", "--out", copy_of_finished, cwd=place)
    assert tokens.read_bytes() == content


def test_a_changed_training_file_is_not_trained_on(copy_of_finished, place):
    (copy_of_finished / "checkpoints/last/trainer.json").unlink()
    tokens = copy_of_finished / "data/train.bin"
    tokens.write_bytes(tokens.read_bytes()[:-4] + b"oops")
    refuses("train", "--out", copy_of_finished, cwd=place, says="train.bin")


def test_another_vocabulary_is_refused(copy_of_finished, place):
    out = place / "other-vocabulary"
    succeeds(
        *("train", "--out", out, "--stories", "200", "--steps", "3", *TINY, "--seed", "1"),
        cwd=place,
    )
    other = place / "bigger"
    recipe = [x if x != "bpe:400" else "bpe:350" for x in TINY]
    succeeds("train", "--out", other, "--stories", "200", "--steps", "3", *recipe, cwd=place)
    refuses(
        *("evaluate", "--out", out, "--checkpoint", other / "checkpoints/best"),
        cwd=place,
        says="vocabulary of 350.*do not belong together",
    )


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE is POSIX")
def test_a_full_disk_gets_a_sentence_and_costs_nothing(place):
    import resource

    def small_disk() -> None:  # no file may grow beyond 60 kB
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    out = place / "full"
    command = ("train", "--out", out, "--stories", "300", "--steps", "20", *TINY)
    refuses(*command, cwd=place, says="disk is full", preexec_fn=small_disk)
    assert not list(out.rglob("*.tmp"))
    succeeds(*command, cwd=place)


def test_ending_the_reader_early_is_no_error(finished, place):
    command = f"{' '.join(PROGRAM)} presets | head -n 1"
    result = subprocess.run(
        command, shell=True, cwd=place, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert "Traceback" not in result.stderr
    assert result.stdout.startswith("laptop")

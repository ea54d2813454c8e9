"""What a person can do wrong: one sentence, exit code 2, nothing lost."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from grader.tests.program import ENVIRONMENT, PROGRAM, TINY, refuses, succeeds


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
    refuses("report", cwd=empty, says="no run in runs/")


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
@pytest.mark.parametrize("limit", [60_000, 450_000], ids=["preparing", "saving a checkpoint"])
def test_a_full_disk_gets_a_sentence_and_costs_nothing(place, limit):
    import resource

    def small_disk() -> None:  # no file may grow beyond the limit
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    out = place / f"full{limit}"
    command = ("train", "--out", out, "--stories", "300", "--steps", "20", *TINY)
    command += ("--n-embd", "96")  # whose optimiser's state takes 2 MB
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

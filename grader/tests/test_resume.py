"""Killed at any moment and run again; stopped early; shared by several processes."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from grader.tests.program import ENVIRONMENT, PROGRAM, TINY, equal, succeeds, weights


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
    steps = json.loads((out / "config.json").read_text())["decided"]["plan"]["steps"]
    succeeds("train", *recipe, cwd=place)
    assert json.loads((out / "config.json").read_text())["decided"]["plan"]["steps"] == steps
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

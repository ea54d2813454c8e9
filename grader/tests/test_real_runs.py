"""What the course promises of real runs on real text, measured: `make verify`, alone on a machine.

VERIFY_MINUTES (default 8) shortens the long comparison for those who change this file.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from grader.tests.conftest import ROOT
from grader.tests.program import PROGRAM

pytestmark = pytest.mark.slow
MINUTES = float(os.environ.get("VERIFY_MINUTES", "8"))


def run_for_real(*command: str | Path, cwd: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    environment.pop("OMP_NUM_THREADS", None)  # all cores, as a person has them
    result = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def metrics_of(out: Path) -> dict:
    assert (out / "report.html").stat().st_size > 10_000
    return json.loads((out / "metrics.json").read_text())


def show(row: str, metrics: dict) -> None:
    print(
        f"\n{row}: {metrics['parameters']:,} parameters, {metrics['train_tokens']:,} tokens at "
        f"{metrics['tokens_per_second']:,.0f} tokens/s, bits per byte "
        f"{metrics['bits_per_byte']:.4f}, {metrics['peak_memory_mb']:,.0f} MB"
    )


def test_the_laptop_recipe_beats_the_plain_loop_by_five_per_cent(real_text, tmp_path):
    out = tmp_path / "ts"
    train, valid = real_text("tinystories-train.txt"), real_text("tinystories-valid.txt")
    data = ("--data", train, "--valid", valid)
    run_for_real(*PROGRAM, "run", *data, "--minutes", MINUTES, "--out", out, cwd=tmp_path)
    plain = run_for_real(
        sys.executable, "-m", "grader.tests.plain_loop", out / "data", "--minutes", MINUTES,
        cwd=tmp_path,
    )  # fmt: skip
    ours = metrics_of(out)
    show("laptop", ours)
    print(plain.strip())
    theirs = float(re.search(r"bits per byte ([\d.]+)", plain).group(1))
    assert ours["bits_per_byte"] < 0.95 * theirs
    assert ours["evaluated_tokens"] == json.loads((out / "data/meta.json").read_text())[
        "val_tokens"
    ] - 1  # fmt: skip


def test_small_with_gpt2s_vocabulary_trains_for_a_minute(tmp_path):
    out = tmp_path / "small"
    options = ("--preset", "small", "--tokenizer", "gpt2", "--minutes", "1")
    text = run_for_real(*PROGRAM, "run", *options, "--out", out, cwd=tmp_path)
    assert "29,995,392 parameters" in text
    show("small", metrics_of(out))


def test_wikipedia_with_sentencepiece_trains_for_a_minute(real_text, tmp_path):
    out = tmp_path / "wiki"
    data = ("--data", real_text("wikipedia-sample.txt"), "--tokenizer", "sentencepiece:8000")
    options = ("--preset", "wikipedia", "--minutes", "1")
    text = run_for_real(*PROGRAM, "run", *options, *data, "--out", out, cwd=tmp_path)
    assert re.search(r"[\d,]+ parameters", text)
    show("wikipedia", metrics_of(out))


def test_a_million_ministories_differ():
    from hashlib import blake2b

    from solutions.engine.ministories import stories

    seen = {blake2b(s.encode(), digest_size=12).digest() for s in stories(0, 0, 1_000_000)}
    assert len(seen) >= 999_990

"""Quality for the time: our `laptop` recipe and a plain nanoGPT-style loop, given the same minutes.

    python -m solutions.benchmark quality --minutes 5 10 20

Both train on the same prepared TinyStories and are measured by the same function on the whole
validation file. They run at the same time, each on half of the threads, so that a slow minute of the
machine slows both; nothing else should run beside them.
"""

import datetime as dt
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from ..errors import CourseError
from ..files import read_json, write_json
from .contender import TOP
from .settings import BenchmarkOptions

TRAIN, VALID = "tinystories-train.txt", "tinystories-valid.txt"


@dataclass(frozen=True)
class Trial:
    """One pair of runs of the same length."""

    minutes: float
    threads: int  # of each side
    ours: float  # bits per byte on the whole validation text
    plain: float
    our_tokens: int
    plain_tokens: int
    our_seconds: float  # that the training really took
    plain_seconds: float
    day: str


def run_quality(options: BenchmarkOptions, minutes: Sequence[float]) -> list[Trial]:
    """Run every length; what is finished stays in `OUT/quality.json` when a later one is stopped."""
    if options.data is None or not (options.data / TRAIN).is_file():
        raise CourseError(
            f"quality is measured on {TRAIN} and {VALID}; name their folder: --data FOLDER"
        )
    file = options.out / "quality.json"
    trials = [Trial(**kept) for kept in read_json(file)] if file.is_file() else []
    for length in minutes:
        trials = [trial for trial in trials if trial.minutes != length]
        trials.append(_trial(options, length))
        write_json(file, [asdict(trial) for trial in sorted(trials, key=lambda t: t.minutes)])
        print(
            f"{length:g} minutes: ours {trials[-1].ours:.4f}, plain {trials[-1].plain:.4f} bits per byte"
        )
    return sorted(trials, key=lambda trial: trial.minutes)


def _trial(options: BenchmarkOptions, minutes: float) -> Trial:
    assert options.data is not None
    out, threads = options.out / f"quality-{minutes:g}", max(1, options.threads // 2)
    text = ("--data", options.data / TRAIN, "--valid", options.data / VALID)
    length = ("--minutes", minutes, "--threads", threads)
    _finish(_start("solutions.tinystories", "prepare", *text, "--out", out, "--quiet"))
    ours = _start("solutions.tinystories", "train", *text, *length, "--out", out, "--quiet")
    plain = _start("grader.tests.plain_loop", out / "data", *length)
    _finish(ours)
    bits, tokens, seconds = plain_result(_finish(plain))
    _finish(_start("solutions.tinystories", "evaluate", "--out", out))
    metrics = read_json(out / "metrics.json")
    return Trial(
        minutes=minutes,
        threads=threads,
        ours=metrics["bits_per_byte"],
        plain=bits,
        our_tokens=metrics["train_tokens"],
        plain_tokens=tokens,
        our_seconds=metrics["training_seconds"],
        plain_seconds=seconds,
        day=dt.datetime.now(dt.UTC).date().isoformat(),
    )


def plain_result(printed: str) -> tuple[float, int, float]:
    """Bits per byte, tokens seen and seconds, from the line that the plain loop prints."""
    found = re.search(r"([\d,]+) tokens in ([\d.]+) s .* bits per byte ([\d.]+)", printed)
    if not found:
        raise AssertionError(f"no result in what the plain loop printed:\n{printed}")
    return float(found[3]), int(found[1].replace(",", "")), float(found[2])


def _start(module: str, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=TOP,
        env=os.environ | {"PYTHONPATH": str(TOP)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finish(process: "subprocess.Popen[str]") -> str:
    """Wait for a program; returns what it printed. Raises CourseError with its last words."""
    printed, said = process.communicate()
    if process.returncode:
        raise CourseError(f"a side ended with: {(said.strip().splitlines() or [''])[-1]}")
    return printed


def quality_table(trials: Sequence[Trial]) -> str:
    """The trials as Markdown."""
    if not trials:
        return (
            "Not measured on this machine yet: `python -m solutions.benchmark quality` does it, and "
            "needs the machine for itself for three quarters of an hour."
        )
    lines = [
        "| minutes, threads each | ours, bits per byte | plain loop | lower by "
        "| tokens seen, ours and plain | seconds, ours and plain | day |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {t.minutes:g}, {t.threads} | {t.ours:.3f} | {t.plain:.3f} | {1 - t.ours / t.plain:.1%} "
        f"| {t.our_tokens / 1e6:.2f} M, {t.plain_tokens / 1e6:.2f} M "
        f"| {t.our_seconds:.0f}, {t.plain_seconds:.0f} | {t.day} |"
        for t in trials
    ]
    return "\n".join(lines)

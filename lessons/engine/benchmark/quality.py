"""Quality for the time: our `laptop` recipe and a plain nanoGPT-style loop, given the same minutes.

    python -m solutions.benchmark quality --minutes 5 10 20

Both train on the same prepared TinyStories and are measured by the same function on the whole
validation file. They run one after the other, each alone: nothing else should run beside them.
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
    ours: float  # bits per byte on the whole validation text
    plain: float
    our_tokens: int
    plain_tokens: int
    day: str
    load: float | None  # average of the machine when the trial ended; both runs keep two cores busy


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
    out = options.out / f"quality-{minutes:g}"
    text = ("--data", options.data / TRAIN, "--valid", options.data / VALID)
    for command in ("train", "evaluate"):
        extra = (*text, "--minutes", minutes, "--quiet") if command == "train" else ()
        _run("solutions.tinystories", command, *extra, "--out", out)
    metrics = read_json(out / "metrics.json")
    printed = _run("grader.tests.plain_loop", out / "data", "--minutes", minutes)
    plain, plain_tokens = plain_result(printed)
    return Trial(
        minutes=minutes,
        ours=metrics["bits_per_byte"],
        plain=plain,
        our_tokens=metrics["train_tokens"],
        plain_tokens=plain_tokens,
        day=dt.datetime.now(dt.UTC).date().isoformat(),
        load=round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    )


def plain_result(printed: str) -> tuple[float, int]:
    """Bits per byte and tokens seen, from the line that the plain loop prints."""
    found = re.search(r"([\d,]+) tokens in .* bits per byte ([\d.]+)", printed)
    if not found:
        raise AssertionError(f"no result in what the plain loop printed:\n{printed}")
    return float(found[2]), int(found[1].replace(",", ""))


def _run(module: str, *arguments: object) -> str:
    environment = os.environ | {"PYTHONPATH": str(TOP)}
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=TOP,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise CourseError(f"{module} ended with: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout


def quality_table(trials: Sequence[Trial]) -> str:
    """The trials as Markdown."""
    if not trials:
        return (
            "Not measured on this machine yet: `python -m solutions.benchmark quality` does it, and "
            "needs the machine for itself for an hour and more."
        )
    lines = [
        "| minutes | ours, bits per byte | plain loop | lower by | tokens seen, ours and plain | day, load |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {t.minutes:g} | {t.ours:.3f} | {t.plain:.3f} | {1 - t.ours / t.plain:.1%} "
        f"| {t.our_tokens / 1e6:.2f} M, {t.plain_tokens / 1e6:.2f} M | {t.day}, {t.load} |"
        for t in trials
    ]
    return "\n".join(lines)

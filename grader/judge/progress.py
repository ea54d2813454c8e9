"""What has been reached so far: `.course/progress.json`, written after every run of the checks."""

import contextlib
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lessons.engine.files import write_atomically

from ..syllabus import Lesson

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / ".course" / "progress.json"


def read_progress() -> dict[str, dict[str, Any]]:
    """Return lesson -> {"file": hash, "checks": {name: {"passed", "failures", "points"}}}.

    A damaged file counts as none: everything in it comes back with the next run.
    """
    try:
        progress = json.loads(FILE.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return progress if isinstance(progress, dict) else {}


def failures_before(lesson: Lesson, check: str) -> int:
    """Return how often in a row a check has failed (not: was not written) before this run."""
    return _checks(read_progress(), lesson).get(check, {}).get("failures", 0)


def note_results(lesson: Lesson, results: Iterable[dict[str, Any]], file: Path) -> None:
    """Add the results of a run. A disk that cannot be written to loses the note, nothing else."""
    progress = read_progress()
    checks = dict(_checks(progress, lesson))
    for result in results:
        failed = result["verdict"] == "failed"
        before = checks.get(result["check"], {}).get("failures", 0)
        checks[result["check"]] = {
            "passed": result["verdict"] == "passed",
            "failures": before + 1 if failed else 0,
            "step": result["step"],
            "points": result["points"],
        }
    progress[lesson.number] = {"file": hash_of(file), "checks": checks}
    with contextlib.suppress(OSError), write_atomically(FILE) as opened:
        json.dump(progress, opened, indent=1)


def points_of(lesson: Lesson) -> tuple[int, bool]:
    """Return the points of the last run, and whether the file is still the same."""
    entry = read_progress().get(lesson.number, {})
    points = sum(c["points"] for c in entry.get("checks", {}).values() if c.get("passed"))
    file = ROOT / "lessons" / lesson.number / f"{lesson.module}.py"
    return points, entry.get("file") == hash_of(file)


def hash_of(file: Path) -> str:
    """Return a short hash of a file's content; empty where there is none."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    except OSError:
        return ""


def _checks(progress: dict[str, Any], lesson: Lesson) -> dict[str, Any]:
    entry = progress.get(lesson.number)
    checks = entry.get("checks") if isinstance(entry, dict) else None
    return checks if isinstance(checks, dict) else {}

"""What has been reached so far: `.course/progress.json`, written after every run of the checks.

    {"03": {"own": ["00"], "checks": {"test_no_place_sees_the_future": {"verdict": "passed", ...}}}}

own: the earlier lessons of which the last run used the learner's own modules. Needs no torch.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lessons.engine.errors import CourseError
from lessons.engine.files import write_atomically

from ..syllabus import Lesson
from .paths import ROOT, file_of, shown

FILE = ROOT / ".course" / "progress.json"
EMPTY = {
    "verdict": "",
    "kind": "core",
    "step": "",
    "points": 0,
    "where": "",  # "lessons/03/attention.py:57"
    "symptom": "",
    "failures": 0,  # in a row; a check that is not written has not failed
    "hints": 0,  # how many of the three have been given since it last passed
    "file": "",  # hash of the file that was judged
}
Progress = dict[str, dict[str, Any]]


class DamagedError(CourseError):
    """The file is no progress file."""


def read_progress() -> Progress:
    """Return lesson -> {"own", "checks"}; every check has the keys of EMPTY.

    Raises DamagedError.
    """
    try:
        progress = json.loads(FILE.read_text(encoding="utf-8"))
        if not isinstance(progress, dict):
            raise TypeError("no table of lessons")
        return {number: _read_lesson(entry) for number, entry in progress.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError) as error:
        raise DamagedError(
            f"{shown(FILE)} is damaged ({error}); delete it: your code is not in it, and "
            "`pytest lessons` fills it again"
        ) from None
    except OSError as error:
        raise CourseError(f"{shown(FILE)} cannot be read: {error.strerror or error}") from None


def failures_before(lesson: Lesson, check: str) -> int:
    """Return how often in a row a check has failed (not: was not written) before this run."""
    return _checks(_read_or_begin(), lesson).get(check, EMPTY)["failures"]


def hints_given(lesson: Lesson, check: str) -> int:
    """Return how many hints for a check have been given since it last passed."""
    return _checks(_read_or_begin(), lesson).get(check, EMPTY)["hints"]


def note_results(
    lesson: Lesson, results: Iterable[dict[str, Any]], own: Sequence[str] = ()
) -> None:
    """Add the results of a run. A disk that cannot be written to loses the note, nothing else."""
    progress = _read_or_begin()
    checks = dict(_checks(progress, lesson))
    file = hash_of(file_of(lesson))
    for result in results:
        before = checks.get(result["check"], EMPTY)
        verdict = result["verdict"]
        checks[result["check"]] = {
            **{key: result[key] for key in ("verdict", "kind", "step", "points", "where")},
            "symptom": result["symptom"],
            "failures": before["failures"] + 1 if verdict == "failed" else 0,
            "hints": 0 if verdict == "passed" else before["hints"],
            "file": file,
        }
    progress[lesson.number] = {"own": list(own), "checks": checks}
    with contextlib.suppress(OSError):
        _write(progress)


def note_hints(lesson: Lesson, passed: Iterable[str], check: str, hints: int) -> None:
    """Note that so many hints for `check` were given, and that those in `passed` need none.

    Nothing else is noted: asking for a hint is no run.
    """
    progress = _read_or_begin()
    checks = dict(_checks(progress, lesson))
    for name in passed:
        checks[name] = {**checks.get(name, EMPTY), "hints": 0}
    checks[check] = {**checks.get(check, EMPTY), "hints": hints}
    entry = progress.get(lesson.number, {"own": []})
    progress[lesson.number] = {**entry, "checks": checks}
    with contextlib.suppress(OSError):
        _write(progress)


def forget_lesson(lesson: Lesson) -> None:
    """Forget the results of a lesson: its file begins anew."""
    progress = _read_or_begin()
    if progress.pop(lesson.number, None) is not None:
        with contextlib.suppress(OSError):
            _write(progress)


def hash_of(file: Path) -> str:
    """Return a short hash of a file's content; empty where there is none."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    except OSError:
        return ""


def _read_or_begin() -> Progress:
    """Return what there is. What is damaged comes back with the next runs."""
    try:
        return read_progress()
    except CourseError:
        return {}


def _write(progress: Progress) -> None:
    with write_atomically(FILE) as opened:
        json.dump(progress, opened, indent=1)


def _checks(progress: Progress, lesson: Lesson) -> dict[str, dict[str, Any]]:
    return progress.get(lesson.number, {}).get("checks", {})


def _read_lesson(entry: Any) -> dict[str, Any]:
    """Return one lesson's entry, whole. Raises TypeError where it holds something else."""
    if not isinstance(entry, dict) or not isinstance(entry.get("checks", {}), dict):
        raise TypeError(f"{entry!r} is no lesson")
    own, checks = entry.get("own", []), entry.get("checks", {})
    if not isinstance(own, list) or not all(isinstance(number, str) for number in own):
        raise TypeError("own is no list of lessons")
    return {"own": own, "checks": {name: _read_check(check) for name, check in checks.items()}}


def _read_check(check: Any) -> dict[str, Any]:
    if not isinstance(check, dict):
        raise TypeError(f"{check!r} is no result of a check")
    whole = {key: check.get(key, default) for key, default in EMPTY.items()}
    for key, default in EMPTY.items():
        if type(whole[key]) is not type(default):
            raise TypeError(f"{key} cannot be {whole[key]!r}")
    return whole

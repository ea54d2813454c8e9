"""Judges one submission and writes its report.

The supervisor takes one file and nothing else, draws a seed that nobody knows, knows the right
answers, owns the clock, and alone says what passed. Of the sandbox it believes nothing but values.
"""

import os
import secrets
import stat
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lessons.engine.errors import CourseError
from lessons.engine.files import write_json

from ..checks import Check
from ..judge.answers import read_answers
from ..judge.backends import Backend
from ..judge.naming import name_mistake
from ..judge.paths import judged_path
from ..judge.report import as_report
from ..judge.runner import FAILED, Result, Target, load_checks, right_answers, run_check
from ..syllabus import Lesson
from .sandbox import InASandbox

MAX_BYTES = 256 << 10  # of a submission; our longest solution has 20 KB
BUDGET = 180.0  # seconds for one submission; an honest one takes 10
MAX_TEXT = 4000  # characters of any text that the submission had a hand in


def judge_submission(
    file: Path,
    lesson: Lesson,
    backend: Backend,
    seed: int | None = None,
    budget: float = BUDGET,
) -> dict[str, Any]:
    """Return the report on one submission; a file that cannot be taken gets no points.

    Points come from a secret seed (it stands in the report, and given again it replays the
    verdict); the names of mistakes come from a second look at the public one.
    """
    seed = 1 + secrets.randbits(31) if seed is None else seed
    checks, answers = load_checks(lesson), read_answers(lesson.number)
    results: list[Result] = []
    names: dict[str, dict[str, str]] = {}  # step -> its mistake
    until = time.monotonic() + budget
    try:
        source = take_file(file)
    except CourseError as error:
        return report_of(lesson, [refused(check, str(error)) for check in checks], seed, backend)
    with tempfile.TemporaryDirectory(prefix="course-submission-") as folder:
        (Path(folder) / f"{lesson.module}.py").write_bytes(source)
        target = Target(lesson, judged_path(lesson.number, home=Path(folder)), backend)
        for check in checks:
            if time.monotonic() > until:
                result = refused(check, f"not run: the submission's {budget:.0f} s are over")
            else:
                right = right_answers(check, lesson, answers, seed)
                result = run_check(check, target, right, seed)
                if result.verdict == FAILED and result.seconds < check.seconds:
                    if check.step not in names:
                        names[check.step] = name_mistake(check.step, checks, target, answers)
                    result.mistake = names[check.step]
            results.append(result)
    return report_of(lesson, results, seed, backend)


def refused(check: Check, reason: str) -> Result:
    """Return the result of a check that was not run."""
    return Result(check.name, check.step, check.points, FAILED, symptom=reason)


def report_of(
    lesson: Lesson, results: Sequence[Result], seed: int, backend: Backend
) -> dict[str, Any]:
    """Return what JSON can hold of a verdict."""
    report = as_report(lesson, [result.as_dict() for result in results], seed)
    return {"isolated": isinstance(backend, InASandbox), **readable(report)}


def take_file(file: Path) -> bytes:
    """Return what stands in a submitted file. Raises CourseError for anything but a small file."""
    try:
        # a link may lead to somebody else's file, and a pipe would never end
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise CourseError(f"{file.name} cannot be taken: {error.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise CourseError(f"{file.name} cannot be taken: it is no ordinary file")
        source = os.read(descriptor, MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(source) > MAX_BYTES:
        raise CourseError(f"{file.name} cannot be taken: it is larger than {MAX_BYTES >> 10} KB")
    return source


def readable(value: Any) -> Any:
    """Return plain values that can be shown: texts without control characters, and not too long."""
    if isinstance(value, str):
        text = value if len(value) <= MAX_TEXT else value[:MAX_TEXT] + " ..."
        return "".join(c if c.isprintable() or c == "\n" else "�" for c in text)
    if isinstance(value, dict):
        return {readable(key): readable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [readable(item) for item in value]
    return value


def write_report(report: dict[str, Any], path: Path) -> None:
    """Write a report where the notebook's cells will read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, report)

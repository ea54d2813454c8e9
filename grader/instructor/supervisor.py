"""Judges one submission.

The supervisor takes one file and nothing else, draws a seed that nobody knows, knows the right
answers, owns the clock, and alone says what passed. Of the sandbox it believes nothing but values.
"""

import secrets
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lessons.engine.errors import CourseError
from lessons.engine.files import write_json

from ..checks import Check
from ..judge.backends import Backend, InAChild, time_limit
from ..judge.naming import name_mistake
from ..judge.paths import judged_path
from ..judge.proxies import Lesson as Asked
from ..judge.proxies import Thing
from ..judge.report import as_report
from ..judge.runner import BLOCKED, FAILED, Result, Target, run_check
from ..syllabus import Lesson
from .exam import Exam
from .sandbox import InASandbox
from .taking import Taken, take_submission

SCHEMA = 1  # of the report; `report.schema.json` describes it
BUDGET = 180.0  # seconds for one submission; an honest one takes 10
GRACE = 60.0  # more, for the judge's own work on the last answers
MAX_DEATHS = 3  # of a sandbox, each of which takes seconds to start
LOAD_SECONDS = 10.0  # for the module to be imported; an honest one takes 0.1
LOAD_TRIES = 2  # the first may have met a machine that had no time
MAX_TEXT = 4000  # characters of any text that the submission had a hand in


class OverdueError(BaseException):
    """The judge has worked too long on one submission."""


def judge_submission(
    path: Path,
    lesson: Lesson,
    backend: Backend,
    seed: int | None = None,
    *,
    student: str = "",
    checks: Sequence[Check] | None = None,
    budget: float = BUDGET,
) -> dict[str, Any]:
    """Return the report on one submission, judged by itself; see `judge`."""
    exam = Exam(lesson, draw_seed() if seed is None else seed, checks)
    return judge(path, exam, backend, student, budget)


def draw_seed() -> int:
    """Return a seed that nobody knows."""
    return 1 + secrets.randbits(31)


def judge(
    path: Path, exam: Exam, backend: Backend, student: str = "", budget: float = BUDGET
) -> dict[str, Any]:
    """Return the report on one submission; one that cannot be taken gets no points.

    Points come from the exam's secret seed (it stands in the report, and given again it replays the
    verdict); the names of mistakes come from a second look at the public one.
    """
    began = time.monotonic()
    taken = take_submission(path, exam.lesson)
    if taken.source is None:
        return no_verdict(exam, student, taken.refused, taken, isinstance(backend, InASandbox))
    isolated = isinstance(backend, InASandbox)
    try:
        with time_limit(budget + GRACE, OverdueError):
            results = judge_source(taken.source, exam, backend, began + budget)
    except CourseError:  # of this machine
        raise
    except (Exception, OverdueError) as error:
        if isinstance(backend, InAChild):
            backend.stop()
        return no_verdict(exam, student, stumbled(error), taken, isolated)
    seconds = time.monotonic() - began
    return report_of(exam, student, results, about(taken), isolated, seconds)


def stumbled(error: BaseException) -> str:
    """Return why a submission has no verdict: it is made so that the judge cannot give one."""
    if isinstance(error, OverdueError):
        return "not judged: what it answers kept the judge busy for too long"
    last = traceback.extract_tb(error.__traceback__)[-1]  # should the mistake be the judge's own
    where = f"{type(error).__name__} in {Path(last.filename).name}:{last.lineno}"
    return f"not judged: the judge stumbled over what it answers ({where})"


def no_verdict(
    exam: Exam, student: str, reason: str, taken: Taken | None = None, isolated: bool = True
) -> dict[str, Any]:
    """Return the report on what could not be judged: no points, and one sentence that says why."""
    results = [refused(check, reason) for check in exam.checks]
    file = about(taken or Taken(None, "", refused=reason))
    return report_of(exam, student, results, file, isolated, 0.0)


def report_of(
    exam: Exam,
    student: str,
    results: Sequence[Result],
    file: dict[str, Any],
    isolated: bool,
    seconds: float,
) -> dict[str, Any]:
    """Return what JSON can hold of a verdict."""
    report = as_report(exam.lesson, [described(result, exam) for result in results], exam.seed)
    return readable(
        {
            "schema": SCHEMA,
            "student": student,
            "submission": file,
            "version": exam.version,
            "isolated": isolated,
            "judged": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(seconds, 2),
            **report,
        }
    )


def judge_source(source: bytes, exam: Exam, backend: Backend, until: float) -> list[Result]:
    """Return the results of all checks on one module.

    until: on the monotonic clock; what has not begun by then is not run.
    """
    results: list[Result] = []
    names: dict[str, dict[str, str]] = {}  # step -> its mistake
    given: dict[str, list[Any]] = {}  # to name it by
    endless, deaths = False, 0
    with tempfile.TemporaryDirectory(prefix="course-submission-") as folder:
        (Path(folder) / f"{exam.lesson.module}.py").write_bytes(source)
        target = Target(exam.lesson, judged_path(exam.lesson.number, home=Path(folder)), backend)
        if hindered := hindrance(target, exam.seed):
            return [
                replace(hindered, check=check.name, step=check.step, points=check.points)
                for check in exam.checks
            ]
        for check in exam.checks:
            if time.monotonic() > until:
                results.append(refused(check, "not run: the time for one submission is over"))
                continue
            if deaths == MAX_DEATHS:
                results.append(refused(check, f"not run: it has ended the sandbox {deaths} times"))
                continue
            result = run_guarded(check, target, exam, quick=endless)
            endless = endless or result.too_long
            if result.verdict == FAILED and not result.too_long:
                deaths += isinstance(backend, InASandbox) and not backend.alive()
                if check.step not in names:
                    others = map(shortened, exam.checks) if endless else exam.checks
                    names[check.step] = name_mistake(
                        check.step, others, target, exam.answers, given, until
                    )
                result.mistake = names[check.step]
            results.append(result)
    return results


def hindrance(target: Target, seed: int) -> Result | None:
    """Return why no check can ask the module, or None: importing it fails, or goes on for ever.

    It would in every check again, however long that takes.
    """
    for _ in range(LOAD_TRIES):
        result = run_check(import_alone(), target, [], seed)
        if not result.too_long:
            return result if result.verdict == BLOCKED else None
    result.symptom = f"importing the file had no end within {LOAD_SECONDS:g} seconds"
    return result


def import_alone() -> Check:
    """Return a check that asks the module nothing but its name."""

    def name(lesson: Asked) -> None:
        Thing(lesson, 0, "").read("__name__")  # 0: the module itself

    return Check("import", "", 0, LOAD_SECONDS, name)


def run_guarded(check: Check, target: Target, exam: Exam, quick: bool) -> Result:
    """Return the result of a check; it has passed only if its hidden checks have passed too.

    quick: one wait is enough; after a check that ran out of time the others get a tenth of theirs.
    """
    result = run_check(shortened(check) if quick else check, target, exam.right(check), exam.seed)
    for guard in exam.guards.get(check.name, []) if result.passed else []:
        seen = run_check(shortened(guard) if quick else guard, target, exam.right(guard), exam.seed)
        result.seconds += seen.seconds
        if not seen.passed:
            result.verdict, result.guard, result.too_long = FAILED, guard.name, seen.too_long
            result.symptom, result.ask, result.where = seen.symptom, seen.ask, seen.where
            result.details = f"in a hidden check: {guard.gain}\n{seen.details}".strip()
            break
    return result


def shortened(check: Check) -> Check:
    """Return the check with a tenth of its time."""
    return replace(check, seconds=check.seconds / 10)


def refused(check: Check, reason: str) -> Result:
    """Return the result of a check that was not run."""
    return Result(check.name, check.step, check.points, FAILED, symptom=reason)


def described(result: Result, exam: Exam) -> dict[str, Any]:
    """Return a result as plain values, with what the check is good for."""
    check = next(check for check in exam.checks if check.name == result.check)
    kinds = {step.name: step.kind for step in exam.lesson.steps}  # also of what was not run
    values = {**result.as_dict(), "kind": kinds.get(check.step, result.kind), "gain": check.gain}
    lines = {name: " ".join(values[name].split()) for name in ("symptom", "where", "within")}
    return {**values, **lines}


def about(taken: Taken) -> dict[str, Any]:
    """Return what a report says about the file that was handed in."""
    size = 0 if taken.source is None else len(taken.source)
    return {
        "file": taken.name,
        "sha256": taken.sha256,
        "bytes": size,
        "refused": taken.refused,
        "notes": list(taken.notes),
    }


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
    """Write a report, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, report)

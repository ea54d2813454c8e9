"""Runs one check against one module, and says what came of it."""

import ast
import importlib.util
import inspect
import math
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lessons.engine.errors import CourseError

from ..checks import Check
from ..syllabus import Lesson as SyllabusLesson
from .answers import PUBLIC_SEED, Answers
from .backends import Backend, InThisProcess
from .drawing import Draw
from .expecting import Expect, MissingAnswerError
from .paths import ROOT, judged_path, shown
from .proxies import Lesson
from .verdicts import LearnerError, NotWrittenError, WrongError

PASSED, FAILED, NOT_WRITTEN, BLOCKED = "passed", "failed", "not written", "blocked"


@dataclass(frozen=True)
class Target:
    """A module to judge, and the way to reach it."""

    lesson: SyllabusLesson
    folders: list[Path]  # the first one holds the module; see paths.py
    backend: Backend

    @property
    def file(self) -> Path:
        """The file that is judged."""
        return self.folders[0] / f"{self.lesson.module}.py"


@dataclass
class Result:
    """What came of one check."""

    check: str
    step: str
    points: int
    verdict: str
    symptom: str = ""  # one sentence
    details: str = ""  # places and numbers, line by line
    ask: str = ""  # a question that leads to the mistake
    where: str = ""  # "lessons/03/attention.py:57"
    printed: str = ""
    seconds: float = 0.0
    margin: float = (
        math.inf
    )  # the largest deviation, in tolerances, as far as it is a matter of size
    mistake: dict[str, str] = field(default_factory=dict)  # the named one: name, says, ask, look

    @property
    def passed(self) -> bool:
        """Whether the check gives its points."""
        return self.verdict == PASSED

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON and for pytest-xdist."""
        return asdict(self)


def load_checks(lesson: SyllabusLesson, root: Path = ROOT) -> list[Check]:
    """Return the checks of a lesson in the order of their file. Raises CourseError."""
    files = sorted((root / "lessons" / lesson.number).glob("test_*.py"))
    if not files:
        raise CourseError(
            f"lesson {lesson.number} has no checks yet (lessons/{lesson.number}/test_*.py)"
        )
    checks = []
    for file in files:
        name = f"grader.lesson_{lesson.number}_{file.stem}"
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, file)
            assert spec
            assert spec.loader
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            sys.modules[name] = module
        checks += [f.check for f in vars(sys.modules[name]).values() if hasattr(f, "check")]
    return checks


def reference_target(lesson: SyllabusLesson) -> Target:
    """Return the reference solution of a lesson, to be asked in this process."""
    solutions = ROOT / "solutions"
    if not (solutions / f"{lesson.module}.py").is_file():
        raise CourseError(
            f"no solutions/{lesson.module}.py: only the public seed, {PUBLIC_SEED}, can be judged"
        )
    return Target(lesson, judged_path(lesson.number, home=solutions), InThisProcess())


def record(check: Check, target: Target, seed: int) -> list[dict[str, Any]]:
    """Return everything that the check looks at, whatever it is."""
    expect = Expect(right=None)
    with target.backend.session(target.lesson.module, target.folders, seed):
        lesson = Lesson(target.backend, check.seconds, expect.complain)
        try:
            _call(check, lesson, expect, seed)
        except NotWrittenError as error:
            expect.entries.append({"not written": error.step})
        except LearnerError as error:
            expect.entries.append({"crashed": error.kinds[0]})
        except WrongError as error:
            expect.entries.append({"stopped": error.symptom})
        except Exception as error:
            expect.entries.append({"stumbled": type(error).__name__})
    return expect.entries


def right_answers(
    check: Check, lesson: SyllabusLesson, answers: Answers, seed: int
) -> list[dict[str, Any]]:
    """Return what the reference gives: recorded for the public seed, live for any other."""
    if seed == PUBLIC_SEED:
        return answers.right(check.name)
    return record(check, reference_target(lesson), seed)


def run_check(
    check: Check, target: Target, right: list[dict[str, Any]], seed: int = PUBLIC_SEED
) -> Result:
    """Judge one check. Never raises for anything that the learner's code does.

    right: what the reference gives in this check with this seed, see `right_answers`.
    """
    expect = Expect(right)
    result = Result(check.name, check.step, check.points, PASSED)
    start = time.perf_counter()
    with target.backend.session(target.lesson.module, target.folders, seed):
        lesson = Lesson(target.backend, check.seconds, expect.complain)
        try:
            _call(check, lesson, expect, seed)
        except NotWrittenError as error:
            _not_written(result, error, target)
        except LearnerError as error:
            _raised(result, error, target)
        except WrongError as error:
            result.verdict, result.symptom = FAILED, error.symptom
            result.details, result.ask = error.details, error.ask or ""
            result.margin = error.size
        except MissingAnswerError:
            raise CourseError(
                f"no recorded answer for {check.name}: `python -m grader record` writes it"
            ) from None
        except Exception as error:  # the check used an answer of an unexpected form
            result.verdict = FAILED
            result.symptom = "what your code returns cannot be used as the docstring says"
            result.details = f"{type(error).__name__}: {error}"
        result.printed = lesson._printed
    if result.verdict == FAILED and not result.where:
        result.where = place_of_step(target.file, check.step)
    result.seconds = time.perf_counter() - start
    if result.passed:
        result.margin = expect.margin
    return result


def _call(check: Check, lesson: Lesson, expect: Expect, seed: int) -> None:
    offered: dict[str, Any] = {"lesson": lesson, "expect": expect, "draw": Draw(seed, check.name)}
    wanted = inspect.signature(check.function).parameters
    if "baseline" in wanted:
        from ..baseline import find_baseline

        offered["baseline"] = find_baseline()
    check.function(**{name: offered[name] for name in wanted})


def _not_written(result: Result, error: NotWrittenError, target: Target) -> None:
    result.step, result.where = error.step, error.where
    if error.number == target.lesson.number:
        result.verdict = NOT_WRITTEN
        result.symptom = f"not written yet: {error.step} ({error.where})"
    else:
        result.verdict = BLOCKED
        result.symptom = (
            f"blocked by lesson {error.number}: {error.step} is not written yet ({error.where})"
        )


def _raised(result: Result, error: LearnerError, target: Target) -> None:
    number, file = target.lesson.number, shown(target.file)
    result.verdict, result.where = FAILED, error.where
    kinds = error.kinds
    if "ModuleMissingError" in kinds:
        result.symptom = f"{error.message}; `python -m grader reset {number}` brings the stub back"
    elif "PartMissingError" in kinds:
        result.symptom = f"`{error.message}` is not in {file}"
        result.details = f"`python -m grader reset {number}` brings the stub back (yours is kept)"
    elif "SyntaxError" in kinds:
        result.symptom = f"{error.where} is not valid Python: {error.message}"
        result.details = error.line
    else:
        result.symptom = str(error)
        result.details = f"in `{error.line}`" if error.line else ""
    elsewhere = error.where.startswith("lessons/") and not error.where.startswith(file)
    if elsewhere and error.where[8:10].isdigit():
        result.verdict = BLOCKED
        result.symptom = f"blocked by lesson {error.where[8:10]}: {result.symptom}"


def place_of_step(file: Path, step: str) -> str:
    """Return where a step stands in a file: "lessons/03/attention.py:57", or the file's name."""
    try:
        body: Iterable[ast.stmt] = ast.parse(file.read_text(encoding="utf-8")).body
    except (OSError, SyntaxError, ValueError):
        return shown(file)
    line = 0
    for name in step.split("."):
        found = next((node for node in body if getattr(node, "name", None) == name), None)
        if found is None:
            return shown(file)
        line, body = found.lineno, getattr(found, "body", [])
    return f"{shown(file)}:{line}"

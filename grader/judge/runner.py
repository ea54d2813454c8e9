"""Runs one check against one module, and says what came of it."""

import importlib.util
import math
import re
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lessons.engine.errors import CourseError

from ..checks import Check
from ..syllabus import Lesson as SyllabusLesson
from ..syllabus import Step
from .answers import PUBLIC_SEED, Answers
from .backends import Backend, InThisProcess
from .drawing import Draw
from .expecting import Expect, MissingAnswerError
from .forbidden import calls, found_in_text
from .paths import ROOT, judged_path, shown
from .proxies import Lesson
from .reading import function_at, place_of_step
from .verdicts import LearnerError, NotWrittenError, SkippedError, TooLongError, WrongError

PASSED, FAILED, NOT_WRITTEN, BLOCKED = "passed", "failed", "not written", "blocked"
IMPORTED = {*sys.stdlib_module_names, "torch", "np", "nn", "F"}  # by these names in the course
MESSAGE_LINES = 6  # of what an error says, beside the first
STEP_NAME, NUMBER = re.compile(r"[A-Za-z_][A-Za-z_0-9.]{0,80}"), re.compile(r"[0-9]{2}")
SKIPPED = "skipped"  # this machine lacks what the check needs; never more than 0 points


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
    kind: str = "core"  # of the check's own step: "core" or "stretch"
    symptom: str = ""  # one sentence
    details: str = ""  # places and numbers, line by line
    ask: str = ""  # a question that leads to the mistake
    where: str = ""  # "lessons/03/attention.py:57"
    within: str = ""  # the function that stands there, if it is another one than the step
    printed: str = ""
    baseline: str = ""  # which model the learner's is measured by, where the check asks for one
    seconds: float = 0.0
    too_long: bool = False  # whether it was still running when its time was up
    margin: float = (
        math.inf
    )  # the largest deviation, in tolerances, as far as it is a matter of size
    first: str = ""  # an earlier step that fails too
    mistake: dict[str, str] = field(default_factory=dict)  # the named one: name, says, ask, look
    guard: str = ""  # the hidden check that failed in its place; in authoritative grading alone

    @property
    def passed(self) -> bool:
        """Whether the check gives its points."""
        return self.verdict == PASSED

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON and for pytest-xdist."""
        return asdict(self)


def load_checks(lesson: SyllabusLesson, root: Path = ROOT, mine: bool = False) -> list[Check]:
    """Return the checks of a lesson in the order of their file. Raises CourseError.

    mine: also those of the learner's whole library.
    """
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
            try:
                spec.loader.exec_module(module)
            except (Exception, SystemExit) as error:  # somebody has changed the checks
                raise CourseError(
                    f"{shown(file)} cannot be loaded ({type(error).__name__}: {error}); "
                    f"`git checkout {shown(file)}` brings it back"
                ) from None
            sys.modules[name] = module
        checks += [f.check for f in vars(sys.modules[name]).values() if hasattr(f, "check")]
    return [each for each in checks if mine or not each.mine]


def reference_target(lesson: SyllabusLesson) -> Target:
    """Return the reference solution of a lesson, to be asked in this process."""
    solutions = ROOT / "solutions"
    if not (solutions / f"{lesson.module}.py").is_file():
        raise CourseError(
            f"no solutions/{lesson.module}.py: only the public seed, {PUBLIC_SEED}, can be judged"
        )
    return Target(lesson, judged_path(lesson.number, home=solutions), InThisProcess())


def record(
    check: Check, target: Target, seed: int, chance: int | None = None
) -> list[dict[str, Any]]:
    """Return everything that the check looks at, whatever it is.

    seed: of the check's inputs, and of torch's random numbers, if `chance` is not another one.
    """
    expect = Expect(right=None)
    chance = seed if chance is None else chance
    with target.backend.session(target.lesson.module, target.folders, chance):
        lesson = Lesson(target.backend, check.seconds, expect.complain, forbids_of(check, target))
        try:
            # the stand-in: what is recorded must be the same on every machine
            _call(check, lesson, expect, seed, _baseline_of(check, stand_in=True))
        except NotWrittenError as error:
            expect.entries.append({"not written": error.step})
        except LearnerError as error:
            expect.entries.append({"crashed": error.kinds[0]})
        except WrongError as error:
            expect.entries.append({"stopped": error.symptom})
        except SkippedError:
            expect.entries.append({"skipped": True})
        except CourseError:
            raise
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
    baseline = _baseline_of(check)
    kind = step_of(check, target).kind
    result = Result(check.name, check.step, check.points, PASSED, kind)
    result.baseline = baseline.sentence if baseline else ""
    start = time.perf_counter()
    forbids = forbids_of(check, target)
    with target.backend.session(target.lesson.module, target.folders, seed):
        lesson = Lesson(target.backend, check.seconds, expect.complain, forbids)
        try:
            _call(check, lesson, expect, seed, baseline)
            if found := found_in_text(target.file, check.step, forbids):
                name, line = found
                result.where = f"{shown(target.file)}:{line}"
                raise WrongError(calls(check.step, name))
        except LearnerError as error:
            if isinstance(error, NotWrittenError) and _may_be_unwritten(error, target):
                _not_written(result, error, target)
            else:
                _raised(result, error, target)
        except WrongError as error:
            if isinstance(error, TooLongError):
                result.too_long, result.where = True, error.where
            result.verdict, result.symptom = FAILED, error.symptom
            result.details, result.ask = error.details, error.ask or ""
            result.margin = error.size
        except SkippedError as error:
            result.verdict, result.symptom = SKIPPED, str(error)
        except CourseError:  # of the machine, not of the learner's code
            raise
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
    around = function_at(target.file, result.where)
    result.within = around if around != result.step else ""
    result.seconds = time.perf_counter() - start
    if result.passed:
        result.margin = expect.margin
    return result


def step_of(check: Check, target: Target) -> Step:
    """Return the step that a check belongs to; a plain one where the syllabus has none."""
    steps = target.lesson.steps
    return next((step for step in steps if step.name == check.step), Step(check.step, "core"))


def forbids_of(check: Check, target: Target) -> tuple[str, ...]:
    """Return the library functions that a check's step is not to call."""
    return step_of(check, target).forbids


def _call(check: Check, lesson: Lesson, expect: Expect, seed: int, baseline: Any) -> None:
    offered: dict[str, Any] = {"lesson": lesson, "expect": expect, "draw": Draw(seed, check.name)}
    offered["baseline"] = baseline
    check.function(**{name: offered[name] for name in check.wants})


def _baseline_of(check: Check, stand_in: bool = False) -> Any:
    """Return the model that a check wants to measure by, if it wants one. Raises CourseError."""
    if "baseline" not in check.wants:
        return None
    from .. import baseline

    return baseline.stand_in() if stand_in else baseline.find_baseline()


def _may_be_unwritten(error: NotWrittenError, target: Target) -> bool:
    """Say whether there is such a step: what the error says comes from the learner's process."""
    if error.number == target.lesson.number:
        return error.step in {step.name for step in target.lesson.steps}
    return (
        STEP_NAME.fullmatch(error.step) is not None and NUMBER.fullmatch(error.number) is not None
    )


def _not_written(result: Result, error: NotWrittenError, target: Target) -> None:
    result.where = error.where
    if error.number == target.lesson.number:
        result.verdict, result.step = NOT_WRITTEN, error.step
        result.symptom = f"not written yet: {error.step} ({error.where})"
    else:
        result.verdict = BLOCKED
        result.symptom = (
            f"blocked by lesson {error.number}: {error.step} is not written yet ({error.where})"
        )


def _raised(result: Result, error: LearnerError, target: Target) -> None:
    number, file = target.lesson.number, shown(target.file)
    result.verdict, result.where = BLOCKED if error.loading else FAILED, error.where
    kinds, line = error.kinds, f"`{error.line}`" if error.line else ""
    if "ModuleMissingError" in kinds:
        result.where = file
        result.symptom = f"{error.message}; `python -m grader reset {number}` brings the stub back"
    elif "PartMissingError" in kinds:
        result.symptom = f"`{error.message}` is not in {file}"
        result.details = f"`python -m grader reset {number}` brings the stub back (yours is kept)"
    elif error.loading:
        result.where = error.where or file
        result.symptom = _not_loaded(error, result.where) + (f", in {line}" if line else "")
    else:
        first, *more = str(error).splitlines() or ["an error without a name and without words"]
        ends = "SystemExit" in kinds
        result.symptom = "it ends the whole program: leave that out" if ends else first
        if deepest := _in_step(error, result.step):
            result.where, _, line = deepest
            line = f"`{line}`"
        missing = re.match(r"name '(\w+)' is not defined", error.message)
        if missing and missing[1] in IMPORTED:
            result.ask = f"Is there an import of {missing[1]} at the top of the file?"
        inside = error.inside if error.inside.startswith("lessons/") else ""
        inside = inside or (error.where if error.where != result.where else "")
        called = f", which called {inside}" if inside else ""
        result.details = "\n".join(
            [
                *more[:MESSAGE_LINES],
                *([f"in {line}{called}"] if line else []),
                *([f"the check called {error.called}"] if error.called else []),
            ]
        )
    elsewhere = error.where.startswith("lessons/") and not error.where.startswith(file)
    if elsewhere and error.where[8:10].isdigit():
        result.verdict = BLOCKED
        result.symptom = f"blocked by lesson {error.where[8:10]}: {result.symptom}"


def _in_step(error: LearnerError, step: str) -> list[str] | None:
    """Return the last place on the way to the error that is in the step's own function."""
    name = step.rpartition(".")[2]
    return next((frame for frame in reversed(error.trail) if frame[1] == name), None)


def _not_loaded(error: LearnerError, where: str) -> str:
    """Return one sentence on a module that cannot be imported."""
    if "SyntaxError" in error.kinds:
        if "codec can't decode" in error.message or "null byte" in error.message:
            return f"{where} is not saved as UTF-8: choose that in your editor and save it again"
        return f"{where} is not valid Python: {error.message}"
    if "SystemExit" in error.kinds:
        return f"{where} ends the whole program as soon as it is imported: leave that out"
    return f"{where} cannot be imported: {' '.join(str(error).split())}"

"""`pytest lessons/05`: the learner's way to the judge.

Checks are ordinary test functions, so that every editor's test pane finds them. This plugin runs
them through the judge, says in a few lines what is wrong instead of showing a traceback, and counts
the points.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
SKETCH = "course"  # the name under which a result travels in a report


class CheckFailed(Exception):  # noqa: N818 - not an error of the program
    """A check that did not pass. pytest never shows it: `makereport` writes our block instead."""

    def __init__(self, result: Any) -> None:
        super().__init__(result.symptom)
        self.result = result


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the two ways of running a lesson's checks."""
    group = parser.getgroup("course", "the course's checks")
    group.addoption("--apart", action="store_true", help="run your module in a process of its own")
    group.addoption(
        "--mine", action="store_true", help="use your own earlier lessons, not the reference"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Keep the judge of this run at hand."""
    config.stash[JUDGE] = Judge(config)


@pytest.fixture
def lesson() -> None:
    """Stand for the learner's module; the judge hands the real one in."""


@pytest.fixture
def expect() -> None:
    """Stand for `expect`."""


@pytest.fixture
def draw() -> None:
    """Stand for `draw`."""


@pytest.fixture
def baseline() -> None:
    """Stand for the baseline model."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the time limit to the judge, which ends a check with a sentence."""
    import signal

    for item in items:
        if check := _check_of(item):
            limit = 0 if hasattr(signal, "setitimer") else check.seconds
            item.add_marker(pytest.mark.timeout(limit))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a check through the judge."""
    check = _check_of(pyfuncitem)
    if check is None:
        return None
    judge = pyfuncitem.config.stash[JUDGE]
    result = judge.run(pyfuncitem, check)
    sent = {"lesson": pyfuncitem.path.parent.name, **result.as_dict()}
    pyfuncitem.user_properties.append((SKETCH, sent))
    if result.verdict == "passed":
        return True
    if result.verdict == "not written" and judge.kind_of(pyfuncitem, check) == "stretch":
        pytest.skip(result.symptom)
    raise CheckFailed(result)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Put our block where pytest would write a traceback."""
    report = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, CheckFailed):
        from .judge.report import failure_block

        result = call.excinfo.value.result
        judge = item.config.stash[JUDGE]
        lesson = judge.lesson_of(item)
        failures = 1 + judge.failures_before(lesson, result.check)
        report.longrepr = failure_block(result.as_dict(), lesson, failures)
    return report


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Tell apart what is wrong from what is not written yet."""
    result = _result_of(report)
    if report.when == "call" and result and result["verdict"] in ("not written", "blocked"):
        return result["verdict"], "-", result["verdict"].upper()
    return None


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say what is not written yet, how many points there are, and what comes next."""
    results: dict[str, list[dict[str, Any]]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") == "call" and (result := _result_of(report)):
                results.setdefault(result["lesson"], []).append(result)
    if not results:
        return
    from .judge.progress import note_results
    from .judge.report import next_line, points_line, revealed
    from .syllabus import find_lesson, read_syllabus

    write, lessons = terminalreporter.write_line, read_syllabus()
    for number in sorted(results):
        lesson = find_lesson(number, lessons)
        here = _in_order(results[number], lesson)
        terminalreporter.write_sep("=", f"lesson {number}: {lesson.title}")
        for result in here:
            if result["verdict"] in ("not written", "blocked"):
                write(f"{result['check']}: {result['symptom']}")
        if text := revealed(lesson, here):
            write(text)
        write(points_line(lesson, here))
        write(next_line(lesson, here, lessons))
        note_results(lesson, here, ROOT / "lessons" / number / f"{lesson.module}.py")


class Judge:
    """What the checks of one pytest run share."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.backend: Any = None
        self.answers: dict[str, Any] = {}
        self.named: dict[tuple[str, str], dict[str, str]] = {}

    def run(self, item: pytest.Function, check: Any) -> Any:
        """Judge one check, and name the mistake if it fails."""
        from .judge.answers import read_answers
        from .judge.backends import InAChild, InThisProcess
        from .judge.naming import name_mistake
        from .judge.paths import judged_path
        from .judge.runner import FAILED, Target, run_check

        lesson = self.lesson_of(item)
        if self.backend is None:
            self.backend = InAChild() if self.config.getoption("--apart") else InThisProcess()
        if lesson.number not in self.answers:
            self.answers[lesson.number] = read_answers(lesson.number)
        answers = self.answers[lesson.number]
        folders = judged_path(lesson.number, mine=self.config.getoption("--mine"))
        target = Target(lesson, folders, self.backend)
        result = run_check(check, target, answers.right(check.name))
        if result.verdict == FAILED:
            key = (lesson.number, check.step)
            if key not in self.named:
                checks = [f.check for f in vars(item.module).values() if hasattr(f, "check")]
                self.named[key] = name_mistake(check.step, checks, target, answers)
            result.mistake = self.named[key]
        return result

    def lesson_of(self, item: pytest.Item) -> Any:
        """Return the lesson in whose folder a check stands."""
        from .syllabus import find_lesson

        return find_lesson(item.path.parent.name)

    def kind_of(self, item: pytest.Item, check: Any) -> str:
        """Return "core" or "stretch"."""
        return self.lesson_of(item).step(check.step).kind

    def failures_before(self, lesson: Any, check: str) -> int:
        """Return how often a check failed in the runs before this one."""
        from .judge.progress import failures_before

        return failures_before(lesson, check)


JUDGE = pytest.StashKey[Judge]()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the child of `--apart`."""
    judge = config.stash.get(JUDGE, None)
    if judge and hasattr(judge.backend, "stop"):
        judge.backend.stop()


def _check_of(item: pytest.Item) -> Any:
    return getattr(getattr(item, "function", None), "check", None)


def _result_of(report: Any) -> dict[str, Any] | None:
    properties = getattr(report, "user_properties", None) or []
    return next((value for name, value in properties if name == SKETCH), None)


def _in_order(results: list[dict[str, Any]], lesson: Any) -> list[dict[str, Any]]:
    """Sort results by step; within a step they stay in the order of the file."""
    places = {step.name: place for place, step in enumerate(lesson.steps)}
    return sorted(results, key=lambda result: places.get(result["step"], 99))

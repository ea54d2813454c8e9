"""`pytest lessons/05`: the learner's way to the judge.

Checks are ordinary test functions, so that every editor's test pane finds them. This plugin runs
them through the judge, says in a few lines what is wrong instead of showing a traceback, and counts
the points.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from lessons.engine.errors import CourseError

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
    """Keep what the checks of this run share."""
    config.stash[RUN] = Run(config)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Import the checks, and torch with them, a little faster."""
    from .judge.imports import without_collecting

    with without_collecting():
        return (yield)


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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out checkpoints without --mine; give the time limit to the judge, which says it."""
    import signal

    if not config.getoption("--mine"):
        items[:] = [item for item in items if not getattr(_check_of(item), "mine", False)]
    for item in items:
        if check := _check_of(item):
            ended = hasattr(signal, "setitimer") or item.config.getoption("--apart")
            limit = 0 if ended else check.seconds
            item.add_marker(pytest.mark.timeout(limit))
    if any("baseline" in check.wants for item in items if (check := _check_of(item))):
        from .baseline import find_baseline

        try:
            find_baseline()  # now: a wrong COURSE_BASELINE is a matter of the whole run
        except CourseError as error:
            raise pytest.UsageError(str(error)) from None


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let -k find a check by the step that it belongs to: `-k causal_mask`."""
    if check := _check_of(item):
        item.extra_keyword_matches.add(check.step)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a check through the judge."""
    check = _check_of(pyfuncitem)
    if check is None:
        return None
    from .judge.report import is_open

    checks = [f.check for f in vars(pyfuncitem.module).values() if hasattr(f, "check")]
    run = pyfuncitem.config.stash[RUN]
    result = run.session().judge(run.lesson_of(pyfuncitem), check, checks)
    sent = {"lesson": pyfuncitem.path.parent.name, **result.as_dict()}
    pyfuncitem.user_properties.append((SKETCH, sent))
    if result.passed:
        return True
    if not is_open(sent):
        pytest.skip(result.symptom)
    raise CheckFailed(result)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Put our block where pytest would write a traceback."""
    report = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, CourseError):
        report.longrepr = str(call.excinfo.value)
    if call.excinfo is not None and isinstance(call.excinfo.value, CheckFailed):
        from .judge.progress import failures_before
        from .judge.report import failure_block

        result, lesson = call.excinfo.value.result, item.config.stash[RUN].lesson_of(item)
        failures = 1 + failures_before(lesson, result.check)
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
    every = [report for reports in terminalreporter.stats.values() for report in reports]
    calls = [report for report in every if getattr(report, "when", "") == "call"]
    results: dict[str, list[dict[str, Any]]] = {}
    for report in sorted(calls, key=lambda report: report.location[:2]):  # as in the files
        if result := _result_of(report):
            results.setdefault(result["lesson"], []).append(result)
    if not results:
        left_out = [_check_of(item) for item in terminalreporter.stats.get("deselected", [])]
        if steps := dict.fromkeys(check.step for check in left_out if check and not check.mine):
            terminalreporter.write_line(f"no check is left; the steps are: {', '.join(steps)}")
        return
    from .judge.paths import own_lessons
    from .judge.progress import note_results
    from .judge.report import closing_lines, in_order
    from .syllabus import find_lesson, read_syllabus

    lessons = read_syllabus()
    for number in sorted(results):
        lesson = find_lesson(number, lessons)
        here = in_order(lesson, results[number])
        terminalreporter.write_sep("=", f"lesson {number}: {lesson.title}")
        for line in closing_lines(lesson, here, lessons):
            terminalreporter.write_line(line)
        note_results(lesson, here, own_lessons(lesson, lessons, config.getoption("--mine")))


class Run:
    """One pytest run. Its session imports torch, so it begins with the first check."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.begun: Any = None
        self.lessons: Any = None

    def session(self) -> Any:
        """Return the session that all checks of this run share."""
        if self.begun is None:
            from .judge.session import Session

            option = self.config.getoption
            self.begun = Session(apart=option("--apart"), mine=option("--mine"))
        return self.begun

    def lesson_of(self, item: pytest.Item) -> Any:
        """Return the lesson in whose folder a check stands; the syllabus is read once."""
        from .syllabus import find_lesson, read_syllabus

        self.lessons = self.lessons or read_syllabus()
        return find_lesson(item.path.parent.name, self.lessons)


RUN = pytest.StashKey[Run]()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the child of `--apart`."""
    run = config.stash.get(RUN, None)
    if run and run.begun:
        run.begun.stop()


def _check_of(item: pytest.Item) -> Any:
    return getattr(getattr(item, "function", None), "check", None)


def _result_of(report: Any) -> dict[str, Any] | None:
    properties = getattr(report, "user_properties", None) or []
    return next((value for name, value in properties if name == SKETCH), None)

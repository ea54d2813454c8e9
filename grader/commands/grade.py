"""Judge one submission in a sandbox, on a secret seed: a file, a folder or a zip.

Exits with 0 when every core check passes and no stretch check that was begun fails, else with 1.
"""

import argparse
from pathlib import Path
from typing import Any

from lessons.engine.errors import CourseError
from lessons.engine.files import write_atomically


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("submission", type=Path, help="a file, a folder or a zip")
    parser.add_argument(
        "--lesson", metavar="NN", help="the lesson; by default every one that it holds"
    )
    parser.add_argument("--student", default="", help="whose it is, for the report")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the whole report there")
    parser.add_argument("--html", type=Path, metavar="FILE", help="the same, to be read")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="the same, for other tools")
    parser.add_argument(
        "--seed", type=int, help="the one of an earlier report: replays its verdict"
    )
    parser.add_argument(
        "--not-isolated", action="store_true", help="where there is no sandbox: run it as it is"
    )


def run(options: argparse.Namespace) -> int:
    """Judge it, print what came of it, write what was asked for."""
    from grader.instructor.submissions import lessons_in
    from grader.instructor.supervisor import judge_submission
    from grader.judge.report import exit_code
    from grader.syllabus import find_lesson

    path = options.submission
    lessons = [find_lesson(options.lesson)] if options.lesson else lessons_in(path)
    files = {"--json": options.json, "--html": options.html, "--junit": options.junit}
    if len(lessons) > 1 and any(files.values()):
        numbers = ", ".join(lesson.number for lesson in lessons)
        raise CourseError(
            f"{path.name} holds the lessons {numbers}: a report is about one, --lesson"
        )
    backend = backend_for(options.not_isolated)
    code = 0
    try:
        for lesson in lessons:
            report = judge_submission(path, lesson, backend, options.seed, student=options.student)
            code = max(code, exit_code(report["checks"]))
            print("\n".join(told(report)))
    finally:
        backend.stop()
    write_files(report, **{name.lstrip("-"): path for name, path in files.items()})
    return code


def write_files(
    report: dict[str, Any], json: Path | None, html: Path | None, junit: Path | None
) -> None:
    """Write the report in the forms that were asked for."""
    from grader.instructor.reports.reports import html_of, json_of, junit_of

    for path, text_of in ((json, json_of), (html, html_of), (junit, junit_of)):
        if path:
            with write_atomically(path) as file:
                file.write(text_of(report))
            print(f"written: {path}")


def backend_for(not_isolated: bool) -> Any:
    """Return the way to run strangers' programs. Raises CourseError where no sandbox can be had."""
    from grader.instructor.grading import no_sandbox
    from grader.instructor.sandbox import sandbox_or_reason
    from grader.judge.backends import InAChild

    if not_isolated:
        return InAChild()
    sandbox = sandbox_or_reason()
    if isinstance(sandbox, str):
        raise CourseError(no_sandbox(sandbox))
    return sandbox


def told(report: dict[str, Any]) -> list[str]:
    """Return a report as lines for the terminal."""
    from grader.judge.report import failure_block, points_line
    from grader.syllabus import find_lesson

    lesson = find_lesson(report["lesson"])
    isolation = [] if report["isolated"] else ["NOT ISOLATED: the program could do anything here"]
    seed = f"seed {report['seed']} (--seed replays this), checks {report['version']}"
    if refused := report["submission"]["refused"]:
        return [*isolation, refused, points_line(lesson, report["checks"]), seed]
    blocks = [
        f"--- {result['check']}\n{failure_block(result, lesson, failures=2)}\n"
        for result in report["checks"]
        if result["verdict"] == "failed"
    ]
    others = [
        f"{result['check']}: {result['symptom']}"
        for result in report["checks"]
        if result["verdict"] not in ("passed", "failed")
    ]
    notes = report["submission"]["notes"]
    return [*isolation, *notes, *blocks, *others, points_line(lesson, report["checks"]), seed]

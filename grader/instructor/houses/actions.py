"""GitHub Actions: Classroom 50, GitHub Classroom, and plain workflows.

Classroom 50's `result.json` is described by schemas/result-v1.schema.json and the page
"Advanced Autograding" of https://github.com/foundation50/classroom50 (its wiki). GitHub Classroom's
reporter, https://github.com/classroom-resources/autograding-grading-reporter, reads base64 of JSON
from the output of a step: `version`, `status`, `max_score`, `tests`. A job's summary is Markdown of
at most 1 MiB: https://docs.github.com/actions/using-workflows/workflow-commands-for-github-actions

All of this runs in the learner's own repository, where the learner can change everything: it is quick
feedback on the public seed, made from a kit that holds nothing secret. Marks come from `grade-all`, on
what was collected.
"""

import base64
import html
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lessons.engine.errors import CourseError

from ...syllabus import Lesson
from ..reports.reports import Report, clean, earned, told
from .parcel import parcel

CLASSROOM50, CLASSROOM, PLAIN, SPREAD = "classroom50", "classroom", "plain", "spread"
HOUSES = (CLASSROOM50, CLASSROOM, PLAIN, SPREAD)
TEMPLATES = Path(__file__).with_name("templates")
NO_GUARDS = b'"""Hidden checks are not handed out; here, only those in plain sight count."""\n'
MARKUP = "&<>\"'\\`*_{}[]()#+!|~$@"
MOST_TEXT = 4000  # characters of one check in a summary


def kit(lesson: Lesson, house: str, references: Sequence[str] = ()) -> dict[str, bytes]:
    """Return the files with which a house judges a lesson. Raises CourseError.

    references: numbers of earlier lessons whose solutions learners have anyway.
    """
    if house == SPREAD:
        return {".github/workflows/grade.yml": workflow("spread", lesson)}
    files = {f"course/{name}": text for name, text in parcel(lesson, False, references).items()}
    files["course/grader/syllabus.toml"] = without_hints(files["course/grader/syllabus.toml"])
    files[f"course/grader/instructor/hidden/guard_{lesson.number}.py"] = NO_GUARDS
    if house == CLASSROOM50:
        files["autograder.py"] = filled("classroom50_autograder.py", lesson)
        return files
    return {**files, ".github/workflows/course.yml": workflow(house, lesson)}


def without_hints(syllabus: bytes) -> bytes:
    """Return the syllabus without hints: those of later lessons are nearly the lines to be written."""
    text = re.sub(r"(?ms)^\[lesson\.step\.hints\]\n.*?(?=^\[|\Z)", "", syllabus.decode("utf-8"))
    return text.encode("utf-8")


def workflow(name: str, lesson: Lesson) -> bytes:
    """Return a workflow file."""
    return filled(f"actions_{name}.yml", lesson)


def filled(name: str, lesson: Lesson) -> bytes:
    """Return a template of ours with the lesson's number and module put in."""
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    if "LESSON_NUMBER" not in text:
        raise CourseError(f"{TEMPLATES / name} names no LESSON_NUMBER")
    return text.replace("LESSON_NUMBER", lesson.number).replace("MODULE", lesson.module).encode()


def name_of(check: Mapping[str, Any]) -> str:
    """Return how a check is called in other houses."""
    return clean(f"{check['step']}: {check['gain'] or check['check']}")


def message_of(check: Mapping[str, Any]) -> str:
    """Return what is said about a check that did not pass."""
    return "" if check["verdict"] == "passed" else f"{check['verdict']}\n{told(dict(check))}"


def classroom50_result(report: Report, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return a report as Classroom 50's `result.json`. environment: what its runner sets."""
    try:
        identity = {
            "classroom": environment["CLASSROOM"],
            "assignment": environment["ASSIGNMENT"],
            "submission": environment["SUBMISSION_TAG"],
            "commit": environment["COMMIT_URL"],
            "release": environment["RELEASE_URL"],
        }
    except KeyError as error:
        raise CourseError(f"{error.args[0]} is not set: Classroom 50's runner sets it") from None
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "schema": "classroom50/result/v1",
        **identity,
        # the runner knows these better, and puts its own in their place
        "assignment_type": environment.get("ASSIGNMENT_TYPE") or "individual",
        "owner": environment.get("OWNER") or environment.get("USERNAME") or "unknown",
        "review": environment.get("REVIEW_URL") or identity["commit"],
        "datetime": now,
        "graded_at": now,
        "score": report["points"],
        "max-score": report["of"],
        "tests": [
            {
                "test-name": name_of(check),
                "passed": check["verdict"] == "passed",
                "score": earned(check),
                "max-score": check["points"],
                "output": message_of(check),
            }
            for check in report["checks"]
        ],
    }


def classroom_result(report: Report) -> str:
    """Return a report as GitHub Classroom's reporter wants it: base64 of JSON."""
    tests = [
        {
            "name": name_of(check),
            "status": "pass" if check["verdict"] == "passed" else "fail",
            "score": earned(check),
            "message": message_of(check),
            "test_code": clean(check["check"]),
            "filename": clean(check["where"]).partition(":")[0],
            "line_no": 0,
            "execution_time": f"{check['seconds']:.2f}s",
        }
        for check in report["checks"]
    ]
    result = {
        "version": 1,
        "status": "error"
        if report["submission"]["refused"]
        else "pass"
        if report["points"] == report["of"]
        else "fail",
        "max_score": report["of"],
        "tests": tests,
    }
    return base64.b64encode(json.dumps(result).encode()).decode()


def summary_of(report: Report) -> str:
    """Return a report as Markdown; nothing that a submission says is taken for markup."""
    lines = [f"## Lesson {report['lesson']}: {report['points']} of {report['of']} points", ""]
    if not report["isolated"]:
        lines += ["**NOT ISOLATED**: it ran without a sandbox.", ""]
    if report["submission"]["refused"]:
        return "\n".join([*lines, escaped(report["submission"]["refused"]), ""])
    lines += ["| step | check | verdict | points |", "|---|---|---|---|"]
    for check in report["checks"]:
        cells = (check["step"], check["gain"] or check["check"], check["verdict"])
        points = f"{earned(check)}/{check['points']}"
        lines.append(f"| {' | '.join(map(escaped, cells))} | {points} |")
    for check in report["checks"]:
        if check["verdict"] == "failed":
            text = html.escape(told(check)[:MOST_TEXT])
            lines += ["", f"### {escaped(check['gain'] or check['check'])}", f"<pre>{text}</pre>"]
    return "\n".join([*lines, ""])


def escaped(text: str) -> str:
    """Return one line of text that Markdown leaves as it is."""
    line = clean(text).replace("\n", " ")
    return "".join(f"&#{ord(c)};" if c in MARKUP else c for c in line)

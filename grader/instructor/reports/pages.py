"""Reports as pages: one per submission, for its author, and an index of a class.

A page is one file, and asks nothing of the network. Whatever a submission had a hand in is escaped
(Jinja2 does that) and has lost its control characters.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lessons.engine.errors import CourseError

from ...syllabus import find_lesson
from .reports import Report, cleaned, earned, finished, untouched

TEMPLATES = Path(__file__).with_name("templates")


@cache
def environment() -> Environment:
    """Return what turns templates into pages; every value is escaped."""
    return Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined
    )


def page_of(report: Report, name: str = "") -> str:
    """Return the page of one report. name: how its author is called on it, if not by their id."""
    report = cleaned(report)
    whose = cleaned(name) or report["student"]
    report["submission"].setdefault("notes", [])
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            title=f"{lesson_title(report['lesson'])}{f' · {whose}' if whose else ''}",
            report=report,
            state=state_of(report),
            steps=steps_of(report),
            judged=day_and_time(report["judged"]),
        )
    )


@cache
def lesson_title(number: str) -> str:
    """Return "Lesson 05: GPT", as far as the syllabus knows the lesson."""
    try:
        return f"Lesson {number}: {find_lesson(number).title}"
    except CourseError:  # an instructor's own
        return f"Lesson {number}"


def state_of(report: Report) -> str:
    """Return how far somebody is, as a sentence."""
    if report["submission"]["refused"]:
        return "Nothing could be judged."
    if finished(report):
        return "The core is complete."
    return "Nothing is written yet." if untouched(report) else "The core is not complete yet."


def steps_of(report: Report) -> list[dict[str, Any]]:
    """Return the checks by step, in the order of the report, with what each step gives."""
    steps: dict[str, list[dict[str, Any]]] = {}
    for check in report["checks"]:
        steps.setdefault(check["step"], []).append({**check, "earned": earned(check)})
    return [
        {
            "name": name,
            "kind": checks[0]["kind"],
            "checks": checks,
            "passed": sum(check["verdict"] == "passed" for check in checks),
            "points": sum(check["earned"] for check in checks),
            "of": sum(check["points"] for check in checks),
        }
        for name, checks in steps.items()
    ]


def day_and_time(text: str) -> str:
    """Return a moment in ISO 8601 as people write it, with its timezone."""
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M %Z")
    except ValueError:
        return text


def index_of(
    reports: Sequence[Report], names: Mapping[str, str], title: str = "All reports", made: str = ""
) -> str:
    """Return the page that leads to every report.

    names: student -> how they are called, of all who belong to the class. The pages are expected at
    `LESSON/STUDENT.html` beside it, as `page_path` says.
    """
    by_cell = {(report["student"], report["lesson"]): report for report in reports}
    lessons = sorted({lesson for _, lesson in by_cell})
    rows = [
        {
            "name": name,
            "cells": [_cell(by_cell.get((student, lesson)), name) for lesson in lessons],
        }
        for student, name in sorted(names.items(), key=lambda pair: pair[1].casefold())
    ]
    page = environment().get_template("index.html.j2")
    return page.render(title=title, lessons=lessons, rows=rows, made=made)


def page_path(lesson: str, student: str) -> str:
    """Return where a report's page stands, from the index."""
    return f"{lesson}/{student}.html"


def _cell(report: Report | None, name: str) -> dict[str, str] | None:
    if report is None:
        return None
    extra = f"+{report['stretch']}" if report["stretch"] else ""
    marks = "!" if report["submission"]["refused"] else "*" if finished(report) else ""
    return {
        "lesson": report["lesson"],
        "href": quote(page_path(report["lesson"], report["student"])),
        "text": f"{report['core']}{extra}{marks}{'' if report['isolated'] else '~'}",
        "says": f"{report['points']} of {report['of']} points. {state_of(report)}"
        + ("" if report["isolated"] else " NOT ISOLATED."),
    }

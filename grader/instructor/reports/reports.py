"""Reports: reading their files, and writing them as JSON, as a page and as JUnit XML.

`report.schema.json` describes a report. JUnit has no standard; what is written here is valid by the
schema that Jenkins publishes (https://github.com/jenkinsci/xunit-plugin, junit-10.xsd) and is read by
GitLab, Azure and the rest: one testsuite, one testcase per check, `failure` and `skipped`.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from lessons.engine.errors import CourseError

from ...judge.report import DONE

SCHEMA_FILE = Path(__file__).with_name("report.schema.json")
Report = dict[str, Any]


@dataclass(frozen=True)
class Unread:
    """A file among the reports that is none."""

    path: Path
    lesson: str
    student: str
    sentence: str


def read_report(path: Path) -> Report:
    """Return a report. Raises CourseError, a sentence, for a file that is none."""
    again = "grade this submission again"
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CourseError(f"{path} cannot be read ({error.strerror}): {again}") from None
    except (ValueError, RecursionError):
        raise CourseError(f"{path} is damaged (no JSON): {again}") from None
    if not isinstance(report, dict):
        raise CourseError(f"{path} is no report: {again}")
    if report.get("schema") != 1:
        raise CourseError(f"{path} was written by another version of the course: {again}")
    if wrong := whats_wrong(report):
        raise CourseError(f"{path} is no whole report ({wrong}): {again}")
    return report


def whats_wrong(report: Any) -> str:
    """Return the first thing in which a report departs from the schema, or ""."""
    import fastjsonschema

    try:
        _validator()(report)
    except fastjsonschema.JsonSchemaValueException as error:
        return str(error.message).replace("data.", "")
    return ""


@cache
def _validator() -> Any:
    import fastjsonschema

    return fastjsonschema.compile(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))


def read_reports(course: Path) -> Iterator[Report | Unread]:
    """Yield every report of a course folder, by lesson and student; a broken one as a sentence."""
    for path in sorted((course / "reports").glob("*/*.json")):
        if path.name.startswith("."):  # of the run itself
            continue
        lesson, student = path.parent.name, path.stem
        try:
            report = read_report(path)
        except CourseError as error:
            yield Unread(path, lesson, student, str(error))
            continue
        if report["lesson"] != lesson:
            sentence = f"{path} is on lesson {report['lesson']}: it stands in the wrong folder"
            yield Unread(path, lesson, student, clean(sentence))
        else:
            yield {**report, "student": student}  # the file's name is ours, whatever stands in it


def clean(text: str) -> str:
    """Return a text without control characters, which no page and no XML may hold."""
    if text.replace("\n", "").isprintable():  # nearly always, and fast
        return text
    return "".join(c if c.isprintable() or c == "\n" else "�" for c in text)


def cleaned(value: Any) -> Any:
    """Return plain values whose texts can be shown."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {key: cleaned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [cleaned(item) for item in value]
    return value


def earned(check: dict[str, Any]) -> int:
    """Return the points that a check gives."""
    return check["points"] if check["verdict"] == "passed" else 0


def finished(report: Report) -> bool:
    """Say whether the core of the lesson is complete."""
    return report["core"] == report["core_of"] and not report["submission"]["refused"]


def untouched(report: Report) -> bool:
    """Say whether nothing of the lesson has been written."""
    verdicts = {check["verdict"] for check in report["checks"]}
    return verdicts <= {"not written", "skipped"} and "not written" in verdicts


def told(check: dict[str, Any]) -> str:
    """Return what is said about a check that did not pass, as plain text."""
    mistake = check["mistake"]
    lines = [check["symptom"], *[f"  {line}" for line in check["details"].splitlines()]]
    lines += [f"Question: {mistake.get('ask') or check['ask']}"]
    if mistake:
        lines += [f"What it is: {mistake.get('says', '')}", f"Look at: {mistake.get('look', '')}"]
    if check["where"]:
        lines.append(f"In {check['where']}")
    return clean("\n".join(line for line in lines if line.partition(": ")[2] or ": " not in line))


def title_of(report: Report) -> str:
    """Return "lesson 05, ada"."""
    whose = f", {report['student']}" if report["student"] else ""
    return clean(f"lesson {report['lesson']}{whose}")


def json_of(report: Report) -> str:
    """Return a report as JSON."""
    return json.dumps(report, indent=2, ensure_ascii=False) + "\n"


def html_of(report: Report, name: str = "") -> str:
    """Return a report as a page. name: how its author is called on it, if not by their id."""
    from .pages import page_of  # not above: what only reads reports needs no templates

    return page_of(report, name)


def junit_of(reports: Report | Sequence[Report]) -> str:
    """Return one report, or several, as JUnit XML."""
    suites = ElementTree.Element("testsuites", name="story-model-course")
    for report in [reports] if isinstance(reports, dict) else reports:
        suites.append(_suite(report))
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _suite(report: Report) -> ElementTree.Element:
    verdicts = [check["verdict"] for check in report["checks"]]
    suite = ElementTree.Element(
        "testsuite",
        name=title_of(report),
        tests=str(len(verdicts)),
        failures=str(sum(verdict not in DONE for verdict in verdicts)),
        errors="0",
        skipped=str(verdicts.count("skipped")),
        time=f"{report['seconds']:.3f}",
        timestamp=clean(report["judged"])[:19],
    )
    facts = {
        "points": f"{report['points']}/{report['of']}",
        "core": f"{report['core']}/{report['core_of']}",
        "version": clean(report["version"]),
        "isolated": str(report["isolated"]).lower(),
    }
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in facts.items():
        ElementTree.SubElement(properties, "property", name=name, value=value)
    for check in report["checks"]:
        suite.append(_case(check, report["lesson"]))
    if not report["isolated"]:
        ElementTree.SubElement(suite, "system-out").text = "NOT ISOLATED: it ran without a sandbox"
    return suite


def _case(check: dict[str, Any], lesson: str) -> ElementTree.Element:
    name = clean(check["check"])
    whole = clean(f"lesson_{lesson}.{check['step']}")
    case = ElementTree.Element(
        "testcase", name=name, classname=whole, time=f"{check['seconds']:.3f}"
    )
    if check["verdict"] == "skipped":
        ElementTree.SubElement(case, "skipped", message=clean(check["symptom"]))
    elif check["verdict"] != "passed":
        kind = "timeout" if check["too_long"] else check["verdict"].replace(" ", "_")
        first = clean(check["symptom"]).replace("\n", " ") or check["verdict"]
        ElementTree.SubElement(case, "failure", message=first, type=kind).text = told(check)
    if check["printed"]:
        ElementTree.SubElement(case, "system-out").text = clean(check["printed"])
    return case

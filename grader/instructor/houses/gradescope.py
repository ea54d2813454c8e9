"""Gradescope: the autograder's zip, and reports in its format.

Zip, folders and `results.json` as in https://gradescope-autograders.readthedocs.io/en/latest/specs/
(read in the version of 2024 and later: `output_format`, `test_output_format`, `status`). Two things
of "best practices" there are taken up: submissions run as another user, and `o=` on our folders.

In Gradescope's containers bubblewrap is probably forbidden. It is tried; where it fails, the program
runs as `nobody` with our folders closed to it, and every result says NOT ISOLATED.
"""

from pathlib import Path
from typing import Any

from ...syllabus import Lesson
from ..reports.reports import Report, clean, earned, told
from .parcel import parcel, zipped

RUN, SETUP = "run_autograder", "setup.sh"
TEMPLATES = Path(__file__).with_name("templates")
NOT_ISOLATED = (
    "NOT ISOLATED: Gradescope's container lets no sandbox be made here, so this program ran as an "
    "ordinary user of it, with the network at hand."
)


def autograder_zip(lesson: Lesson) -> bytes:
    """Return the archive to upload under "Configure Autograder". Raises CourseError."""
    files = {f"course/{name}": content for name, content in parcel(lesson).items()}
    for name in (RUN, SETUP):
        text = (TEMPLATES / f"gradescope_{name.removesuffix('.sh')}.sh").read_text(encoding="utf-8")
        files[name] = text.replace("LESSON_NUMBER", lesson.number).encode()
    return zipped(files, programs=(RUN, SETUP))


def results_of(report: Report) -> dict[str, Any]:
    """Return a report as Gradescope's `results.json`."""
    lines = [] if report["isolated"] else [NOT_ISOLATED]
    if report["submission"]["refused"]:
        lines.append(clean(report["submission"]["refused"]))
    lines.append(f"Core {report['core']} of {report['core_of']}")
    if report["stretch_of"]:
        lines[-1] += f", stretch {report['stretch']} of {report['stretch_of']}"
    return {
        "score": report["points"],
        "execution_time": round(report["seconds"]),
        "output": "\n".join(lines),
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",  # ours, for whoever teaches; a submission's output is below
        "extra_data": {  # the seed is not among it: it stands in stdout, for whoever teaches
            "version": clean(report["version"]),
            "isolated": report["isolated"],
            "core": report["core"],
            "stretch": report["stretch"],
        },
        "tests": [_test(check, place) for place, check in enumerate(report["checks"], start=1)],
    }


def _test(check: dict[str, Any], place: int) -> dict[str, Any]:
    passed = check["verdict"] == "passed"
    output = "" if passed else f"{check['verdict']}\n{told(check)}"
    if check["printed"] and not passed:
        output += f"\n\nYour code printed:\n{clean(check['printed'])}"
    return {
        "score": earned(check),
        "max_score": check["points"],
        "status": "passed" if passed else "failed",
        "name": clean(f"{check['step']}: {check['gain'] or check['check']}"),
        "number": str(place),
        "output": output.strip(),
        "tags": [check["kind"]],
        "visibility": "visible",
        "extra_data": {"check": clean(check["check"]), "guard": clean(check["guard"])},
    }

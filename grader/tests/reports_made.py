"""Reports and course folders made by hand, for tests of what reads them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MISTAKE = {
    "name": "next_place_seen",
    "says": "Every query sees one place into the future.",
    "ask": "Of five keys, how many may the first of five queries see?",
    "look": "the comparison between the places",
}
OTHER = {
    "name": "missing_scale",
    "says": "The scores are not divided by sqrt(D).",
    "ask": "How large does a sum of D products become?",
    "look": "the line that makes the scores",
}
BOTH = {
    "name": "next_place_seen+missing_scale",
    "says": f"{MISTAKE['says']} And: {OTHER['says']}",
    "ask": f"{MISTAKE['ask']} And: {OTHER['ask']}",
    "look": "both",
}
STEPS = (("causal_mask", "core", 2), ("attention", "core", 3), ("window", "stretch", 1))


def check(
    step: str, kind: str, points: int, verdict: str = "passed", **more: Any
) -> dict[str, Any]:
    """Return one entry of a report."""
    return {
        **{"check": f"test_{step}", "step": step, "points": points, "verdict": verdict},
        **{"kind": kind, "symptom": "", "details": "", "ask": "", "where": "", "printed": ""},
        **{"baseline": "", "seconds": 0.25, "too_long": False, "margin": None, "first": ""},
        **{"mistake": {}, "gain": f"{step} does what it says.", "guard": "", **more},
    }


def failed(mistake: Mapping[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """Return what is different in an entry that failed."""
    symptom = {"symptom": "not right yet", "details": "first at [0, 1]: yours 1, right 0"}
    return {"verdict": "failed", "mistake": dict(mistake or {}), **symptom, **more}


def report(student: str = "ada", lesson: str = "03", **steps: Any) -> dict[str, Any]:
    """Return a report in which all passes, but for the steps named: `attention=failed(MISTAKE)`.

    isolated, refused and source are for the whole report.
    """
    isolated, refused = steps.pop("isolated", True), steps.pop("refused", "")
    source = steps.pop("source", f"# {student}\n")
    checks = [check(*step, **steps.get(step[0], {})) for step in STEPS]
    if refused:
        checks = [check(*step, "failed", symptom=refused) for step in STEPS]
    got = {kind: _sum(checks, kind, "passed") for kind in ("core", "stretch")}
    of = {kind: _sum(checks, kind) for kind in ("core", "stretch")}
    sha256 = "" if refused else hashlib.sha256(source.encode()).hexdigest()
    return {
        **{"schema": 1, "lesson": lesson, "student": student, "version": "0123456789ab"},
        "submission": {
            **{"file": "attention.py", "sha256": sha256, "bytes": len(source)},
            **{"refused": refused, "notes": []},
        },
        **{
            "seed": 987654321,
            "isolated": isolated,
            "judged": "2026-11-21T17:00:00+00:00",
            "seconds": 1.5,
        },
        **{"points": sum(got.values()), "of": sum(of.values())},
        **{"core": got["core"], "core_of": of["core"]},
        **{"stretch": got["stretch"], "stretch_of": of["stretch"], "checks": checks},
    }


def _sum(checks: list[dict[str, Any]], kind: str, verdict: str = "") -> int:
    return sum(c["points"] for c in checks if c["kind"] == kind and verdict in ("", c["verdict"]))


UNWRITTEN = {"verdict": "not written", "symptom": "not written yet"}
NOTHING = {step: UNWRITTEN for step, _, _ in STEPS}


def put(course: Path, made: Mapping[str, Any], source: str | None = None) -> None:
    """Write a report into a course folder, and the submission that it is about."""
    path = course / "reports" / made["lesson"] / f"{made['student']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(made), encoding="utf-8")
    folder = course / "submitted" / made["student"] / made["lesson"]
    folder.mkdir(parents=True, exist_ok=True)
    if source is not None:
        (folder / "attention.py").write_text(source, encoding="utf-8")

"""Results as text: one short block per failure, the points, and what comes next."""

import math
from collections.abc import Sequence
from typing import Any

from ..syllabus import Lesson

PRINTED_LINES, PRINTED_WIDTH = 8, 160  # of what the learner's code printed
DONE = ("passed", "skipped")  # with either, a step is finished


def failure_block(result: dict[str, Any], lesson: Lesson, failures: int = 1) -> str:
    """Return what a learner reads about one failed check, in layers.

    The symptom and a question first; the name of the mistake and where to look from the second
    failure on.
    """
    lines = [result["symptom"]]
    lines += [f"  {line}" for line in result["details"].splitlines()]
    mistake = result["mistake"]
    question = mistake.get("ask") or result["ask"]
    if question:
        lines.append(f"  ? {question}")
    if mistake and failures > 1:
        lines.append(f"  ! {mistake['says']}")
        lines.append(f"    Look at {mistake['look'].rstrip('?.')}.")
    if result["printed"]:
        lines.append("  your code printed:")
        printed = result["printed"].splitlines()[-PRINTED_LINES:]
        lines += [f"  | {line[:PRINTED_WIDTH]}" for line in printed]
    if result["where"]:
        lines.append(f"  {result['where']}  ({result['within'] or result['step']})")
    if result["first"]:
        lines.append(f"  {result['first']} fails too, and it is used here: mend that first.")
    if mistake and failures == 1:
        lines.append(
            f"  What it is: python -m grader hint {lesson.number} --name, or run this check again."
        )
    return "\n".join(lines)


def score(lesson: Lesson, results: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Return the points reached and to be had, core and stretch: the one definition of a score."""
    kinds = {step.name: step.kind for step in lesson.steps}
    reached = {"core": 0, "stretch": 0}
    for result in results:
        if result["verdict"] == "passed":
            reached[kinds[result["step"]]] += result["points"]
    of = {k: sum(s.points for s in lesson.steps if s.kind == k) for k in ("core", "stretch")}
    return {
        "points": sum(reached.values()),
        "of": sum(of.values()),
        "core": reached["core"],
        "core_of": of["core"],
        "stretch": reached["stretch"],
        "stretch_of": of["stretch"],
    }


def is_open(result: dict[str, Any]) -> bool:
    """Say whether a result keeps its lesson from being finished.

    All do that have not passed, but for stretch steps that nobody has begun to write, and for
    checks that this machine cannot run.
    """
    if result["kind"] == "stretch" and result["verdict"] == "not written":
        return False
    return result["verdict"] not in DONE


def exit_code(results: Sequence[dict[str, Any]]) -> int:
    """Return what a run of the checks ends with: 0 where nothing is open, else 1."""
    return 1 if any(map(is_open, results)) else 0


def points_line(lesson: Lesson, results: Sequence[dict[str, Any]]) -> str:
    """Return "lesson 05: 12/20 points (core 12/16, stretch 0/4)"."""
    s = score(lesson, results)
    apart = f" (core {s['core']}/{s['core_of']}, stretch {s['stretch']}/{s['stretch_of']})"
    return (
        f"lesson {lesson.number}: {s['points']}/{s['of']} points{apart if s['stretch_of'] else ''}"
    )


def next_line(lesson: Lesson, results: Sequence[dict[str, Any]], lessons: Sequence[Lesson]) -> str:
    """Return what to do next: the first step that is not done, in the order of the syllabus."""
    for kind in ("core", "stretch"):
        for step in lesson.steps:
            open_results = [
                r for r in results if r["step"] == step.name and r["verdict"] not in DONE
            ]
            if step.kind != kind or not open_results:
                continue
            first = open_results[0]
            place = f" ({first['where']})" if first["where"] else ""
            if first["verdict"] == "not written" and kind == "core":
                return f"next: write {step.name}{place}"
            if first["verdict"] == "not written":
                return (
                    f"core finished. next: {_next_lesson(lesson, lessons)}; "
                    f"or, if you like, write {step.name}{place}"
                )
            if first["verdict"] == "blocked":
                return f"next: {first['symptom']}"
            return f"next: mend {step.name}{place}; python -m grader hint {lesson.number} helps"
    reached = score(lesson, results)
    if reached["core"] < reached["core_of"]:
        return f"these checks pass; pytest lessons/{lesson.number} runs them all"
    return f"finished. next: {_next_lesson(lesson, lessons)}"


def _next_lesson(lesson: Lesson, lessons: Sequence[Lesson]) -> str:
    after = next((other for other in lessons if other.number > lesson.number), None)
    if after is None:
        return "nothing, that was the last lesson"
    return f"lesson {after.number}, {after.title} (lessons/{after.number}/README.md)"


def closing_lines(
    lesson: Lesson, results: Sequence[dict[str, Any]], lessons: Sequence[Lesson]
) -> list[str]:
    """Return what stands below a run: the baseline, what is open, the points, what comes next."""
    lines = list(dict.fromkeys(r["baseline"] for r in results if r["baseline"]))
    waiting = [r for r in results if r["verdict"] in ("not written", "skipped")]
    lines += [f"{result['check']}: {result['symptom']}" for result in waiting]
    blocked: dict[str, list[str]] = {}
    for result in results:
        if result["verdict"] == "blocked":
            blocked.setdefault(result["symptom"], []).append(result["check"])
    for symptom, (first, *more) in blocked.items():
        lines.append(f"{first}{f' and {len(more)} more' if more else ''}: {symptom}")
    if text := revealed(lesson, results):
        lines.append(text)
    return [*lines, points_line(lesson, results), next_line(lesson, results, lessons)]


def as_report(lesson: Lesson, results: Sequence[dict[str, Any]], seed: int) -> dict[str, Any]:
    """Return a run as plain values for JSON: the score, the seed, and every result."""
    checks = [{**r, "margin": r["margin"] if math.isfinite(r["margin"]) else None} for r in results]
    return {"lesson": lesson.number, "seed": seed, **score(lesson, results), "checks": checks}


def in_order(lesson: Lesson, results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort results by step; within a step they stay in the order of the file."""
    places = {step.name: place for place, step in enumerate(lesson.steps)}
    return sorted(results, key=lambda result: places.get(result["step"], len(places)))


def revealed(lesson: Lesson, results: Sequence[dict[str, Any]]) -> str:
    """Return the prediction of the last step whose checks all pass, and what came true."""
    text = ""
    for step in lesson.steps:
        verdicts = {r["verdict"] for r in results if r["step"] == step.name}
        if "passed" in verdicts and verdicts <= set(DONE) and step.prediction:
            text = f"you predicted ({step.name}): {step.prediction}\n  {step.reveals}"
    return text

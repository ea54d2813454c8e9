"""Judges a whole class: side by side, and where it left off when it was interrupted.

A report is written as soon as its submission is judged, whole or not at all. What has a report on
the same file, by the same checks, is not judged again; so a run that was killed is simply started
again, and goes on with the same secret seed.
"""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lessons.engine.errors import CourseError
from lessons.engine.files import read_json, write_json

from ..judge.backends import Backend, InAChild
from ..syllabus import find_lesson
from .exam import Exam, version_of
from .sandbox import sandbox_or_reason
from .submissions import Submission
from .supervisor import draw_seed, judge, no_verdict, write_report
from .taking import take_submission
from .workers import processes

RUN = ".run.json"  # beside the reports of a lesson: the secret seed and the checks' version


@dataclass(frozen=True)
class Graded:
    """One submission, and the report on it."""

    submission: Submission
    report: dict[str, Any]
    again: bool = False  # whether the report was there before


def grade_class(
    submissions: Sequence[Submission],
    reports: Path,
    jobs: int = 0,
    isolated: bool = True,
    again: bool = False,
) -> Iterator[Graded]:
    """Judge submissions and write their reports; yields each as it is finished.

    jobs: processes side by side; 0 takes one a core. again: also what is judged already.
    """
    if isolated and isinstance(reason := sandbox_or_reason(), str):
        raise CourseError(no_sandbox(reason))
    waiting: list[Submission] = []
    for one in submissions:
        known = None if again else known_report(one, reports)
        if known and known["isolated"] >= isolated:
            yield Graded(one, known, again=True)
        else:
            waiting.append(one)
    seeds = {one.number: seed_of_run(reports / one.number, one.number) for one in waiting}
    for one, report in _side_by_side(waiting, seeds, jobs, isolated):
        write_report(report, one.report(reports))
        yield Graded(one, report)


def no_sandbox(reason: str) -> str:
    """Return what an instructor reads where no sandbox can be had."""
    return (
        f"{reason}. Nothing was graded. On a machine that has nothing to lose, --not-isolated runs "
        "strangers' programs as they are, and every report says so"
    )


def known_report(one: Submission, reports: Path) -> dict[str, Any] | None:
    """Return the report on the very same file by the very same checks, if there is one."""
    path = one.report(reports)
    if not path.is_file():
        return None
    try:
        report = read_json(path)
        same = report["version"] == _version(one.number)
        taken = take_submission(one.path, find_lesson(one.number))
        about = report["submission"]
        same = same and (about["sha256"], about["refused"]) == (taken.sha256, taken.refused)
    except (CourseError, KeyError, TypeError):
        return None  # it is damaged, or somebody else's: it is made anew
    return report if same and "ended" not in report else None


@cache
def _version(number: str) -> str:
    return version_of(find_lesson(number))


def seed_of_run(folder: Path, number: str) -> int:
    """Return the secret seed of a lesson's run; the one that was drawn before, if checks are the same."""
    path = folder / RUN
    version = _version(number)
    if path.is_file():
        try:
            run = read_json(path)
            if run["version"] == version:
                return int(run["seed"])
        except (CourseError, KeyError, TypeError, ValueError):
            pass  # damaged: a new one is as good
    seed = draw_seed()
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, {"version": version, "seed": seed})
    return seed


# One process judges many submissions, each in a fresh sandbox.


def _side_by_side(
    waiting: Sequence[Submission], seeds: dict[str, int], jobs: int, isolated: bool
) -> Iterator[tuple[Submission, dict[str, Any]]]:
    """Yield a report for each submission, however the processes that make them end."""
    rest = deque(waiting)
    workers = min(jobs or os.cpu_count() or 1, len(rest))
    while rest:
        flying: dict[Future[dict[str, Any]], Submission] = {}  # never more than there are workers
        with processes(workers, begin, isolated) as pool:
            try:
                while rest or flying:
                    while rest and len(flying) < workers:
                        one = rest.popleft()
                        flying[pool.submit(_judge_one, one, seeds[one.number])] = one
                    for future in wait(flying, return_when=FIRST_COMPLETED).done:
                        report = future.result()
                        yield flying.pop(future), report
            except BrokenProcessPool:
                pass
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        for one in flying.values():  # a process ended, for want of memory perhaps: beside whom?
            yield one, _by_itself(one, seeds[one.number], isolated)


def _by_itself(one: Submission, seed: int, isolated: bool) -> dict[str, Any]:
    """Return the report on a submission that a process of its own judges."""
    with processes(1, begin, isolated) as pool:
        try:
            return pool.submit(_judge_one, one, seed).result()
        except BrokenProcessPool:
            exam = Exam(find_lesson(one.number), seed)
            report = no_verdict(
                exam, one.student, "the judge's own process ended while it ran this"
            )
            return {**report, "ended": True}


_isolated = True


def begin(isolated: bool) -> None:
    """Get a process ready to judge."""
    global _isolated
    _isolated = isolated
    import torch

    torch.set_num_threads(1)


@cache
def _backend() -> Backend:
    if not _isolated:
        return InAChild()
    sandbox = sandbox_or_reason()
    if isinstance(sandbox, str):
        raise CourseError(sandbox)
    return sandbox


@cache
def _exam(number: str, seed: int) -> Exam:
    return Exam(find_lesson(number), seed)


def _judge_one(one: Submission, seed: int) -> dict[str, Any]:
    backend = _backend()
    try:
        return judge(one.path, _exam(one.number, seed), backend, one.student)
    finally:
        if isinstance(backend, InAChild):
            backend.stop()

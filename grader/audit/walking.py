"""The learner's way through the lessons, from the outside: pytest in a copy of the course."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..judge.paths import ROOT
from ..stubs import make_stubs
from ..syllabus import Lesson

LEFT_BEHIND = shutil.ignore_patterns(
    *(".git", ".venv", "build", "runs", "__pycache__", ".*_cache", ".course")
)


def copy_course(to: Path) -> Path:
    """Copy the course to `to`, with the lessons as somebody finds them who has just come."""
    shutil.copytree(ROOT, to, ignore=LEFT_BEHIND)
    for path, stub in make_stubs(ROOT).items():
        (to / path.relative_to(ROOT)).write_text(stub, encoding="utf-8")
    return to


def stages(course: Path, lessons: Sequence[Lesson]) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of each stage and what is not as it should be.

    lessons: with all that they need.
    """
    yield (
        "untouched",
        [
            *_judged(course, lessons, points=lambda lesson: 0, status=1),
            *_judged(course, lessons, points=lambda lesson: 0, status=1, options=["--apart"]),
        ],
    )
    for lesson in lessons:
        name = f"{lesson.module}.py"
        shutil.copy(course / "solutions" / name, course / "lessons" / lesson.number / name)

    def everything(lesson: Lesson) -> int:
        return lesson.points

    for options in ([], ["--apart"], ["--mine"]):
        text = " ".join(["solutions applied", *options])
        yield text, _judged(course, lessons, everything, status=0, options=options)
    shutil.rmtree(course / "solutions")
    yield "solutions withheld", _judged(course, lessons, everything, status=0)


def _judged(
    course: Path, lessons: Sequence[Lesson], points, status: int, options: Sequence[str] = ()
) -> list[str]:
    """Run pytest on the lessons, and return what is not as it should be."""
    folders = [f"lessons/{lesson.number}" for lesson in lessons]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *folders, *options]
    done = subprocess.run(
        command,
        cwd=course,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env=os.environ | {"COLUMNS": "120", "PYTHONUTF8": "1"},
    )
    complaints = []
    if done.returncode != status:
        complaints.append(f"{' '.join(folders)} ended with {done.returncode}, not {status}")
    if "Traceback" in done.stdout + done.stderr:
        complaints.append("there is a traceback in what pytest says")
    for lesson in lessons:
        wanted = f"lesson {lesson.number}: {points(lesson)}/{lesson.points} points"
        found = re.search(rf"lesson {lesson.number}: \d+/\d+ points", done.stdout)
        if not found or found[0] != wanted:
            complaints.append(f"{wanted} is wanted, found: {found[0] if found else 'no such line'}")
    if complaints:
        complaints += [f"| {line}" for line in done.stdout.splitlines()[-40:]]
    return complaints

"""From `pytest lessons/NN` to its verdict, beside `python -c "import torch"`.

In a copy of the course in which every lesson is written, so that all checks run: the longest case.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .contender import TOP
from .measure import Spread, interleave, spread
from .settings import BenchmarkOptions
from .table import Row

NOT_COUNTED = ("07", "14")  # their checks train
COPIED = ("lessons", "grader", "solutions", "conftest.py", "pyproject.toml")
WORK = "`pytest lessons/NN`, start to verdict, everything written"


def rows(options: BenchmarkOptions) -> list[Row]:
    """The slowest lesson's seconds above those of importing torch."""
    against = '`python -c "import torch"`'
    if not all((TOP / name).exists() for name in COPIED):
        return [Row("start", WORK, against, target=2.0, figure_unit="s", at_least=False,
                    missing="the solutions are not here: only their owner can run this")]  # fmt: skip
    course = options.out / "course"
    shutil.rmtree(course, ignore_errors=True)
    lessons = write_course(course)
    if options.quick:
        lessons = lessons[:1]
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    environment.pop("COURSE_PATH", None)

    def timed(*arguments: str) -> Callable[[], float]:
        def run() -> float:
            began = time.perf_counter()
            done = subprocess.run(
                [sys.executable, *arguments],
                cwd=course,
                env=environment,
                capture_output=True,
                text=True,
            )
            if done.returncode:
                raise AssertionError(f"{' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
            return time.perf_counter() - began

        return run

    sides = {number: timed("-m", "pytest", f"lessons/{number}") for number in lessons}
    seconds = interleave({"torch": timed("-c", "import torch"), **sides}, options.rounds(3))
    shutil.rmtree(course, ignore_errors=True)
    more: dict[str, Spread] = {
        number: spread([a - b for a, b in zip(seconds[number], seconds["torch"], strict=True)])
        for number in lessons
    }
    slowest = max(more, key=lambda number: more[number].median)
    each = ", ".join(f"{number} {took.median:+.1f}" for number, took in more.items())
    return [
        Row(
            name="start",
            work=f"{WORK}: the slowest, {slowest}",
            against=against,
            unit="s",
            ours=spread(seconds[slowest]),
            theirs=spread(seconds["torch"]),
            figure=more[slowest],
            figure_unit="s",
            target=2.0,
            at_least=False,
            limit="importing torch, which nobody can avoid; then pytest's own start and the checks",
            note=f"seconds more than torch's import, lesson by lesson: {each}",
        )
    ]


def write_course(course: Path) -> list[str]:
    """Copy the course, with every lesson written; return the numbers of those that are timed."""
    ignore = shutil.ignore_patterns("__pycache__", ".course", "*.pyc")
    for name in COPIED:
        if (TOP / name).is_dir():
            shutil.copytree(TOP / name, course / name, ignore=ignore)
        else:
            shutil.copy(TOP / name, course / name)
    numbers = []
    for folder in sorted((course / "lessons").glob("[0-9][0-9]")):
        for module in folder.glob("*.py"):
            solution = course / "solutions" / module.name
            if solution.is_file():
                shutil.copy(solution, module)
        if folder.name not in NOT_COUNTED and list(folder.glob("test_*.py")):
            numbers.append(folder.name)
    return numbers

"""A copy of the course to be used as a learner uses it: by commands, in its own folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from grader.stubs import make_stub
from grader.syllabus import find_lesson
from grader.tests.conftest import ROOT

FILES = ("conftest.py", "pyproject.toml", "requirements.txt")
FOLDERS = ("grader", "lessons", "solutions")
NO_TABLE = {"NO_COLOR": "1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COURSE_BASELINE": ""}

SEVERAL = """
import shutil, sys
from grader.__main__ import main
for command in sys.argv[1:]:
    word, *rest = command.split()
    if word == "save":
        shutil.copy(f"{rest[0]}.py", "lessons/03/attention.py")
        continue
    status = main(command.split())
    print(f"\\n=== {status}", flush=True)
"""


class Course:
    """The copy, and what to do with it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        left_out = shutil.ignore_patterns("__pycache__", "tests")
        for folder in FOLDERS:
            shutil.copytree(ROOT / folder, root / folder, ignore=left_out)
        for file in FILES:
            shutil.copy(ROOT / file, root / file)
        self.attention = root / "lessons" / "03" / "attention.py"
        self.solution = (root / "solutions" / "attention.py").read_text(encoding="utf-8")
        self.stub = make_stub(self.solution, find_lesson("03"))
        self.attention.write_text(self.stub, encoding="utf-8")
        self.progress = root / ".course" / "progress.json"

    def python(
        self, *arguments: str | Path, options: dict | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run Python in the copy; its standard input is empty."""
        kept = {name: value for name, value in os.environ.items() if name != "COURSE_PATH"}
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            env=kept | NO_TABLE | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            **({"cwd": self.root, "timeout": 120} | (options or {})),
        )

    def grader(self, *arguments: str | Path, **more) -> subprocess.CompletedProcess[str]:
        """Run `python -m grader ...`."""
        return self.python("-m", "grader", *arguments, **more)

    def graders(self, *commands: str) -> list[str]:
        """Run several commands in one process, because torch takes its time; return the outputs.

        "save NAME" puts a version into the place of lesson 03, see `version`.
        """
        result = self.python("-c", SEVERAL, *commands)
        assert result.returncode == 0, result.stderr
        outputs = result.stdout.split("\n=== ")
        statuses = [output.partition("\n")[0] for output in outputs[1:]]
        texts = [outputs[0], *(output.partition("\n")[2] for output in outputs[1:-1])]
        return [f"{text.strip()}\nexit {s}" for text, s in zip(texts, statuses, strict=True)]

    def version(self, name: str, old: str = "", new: str = "", text: str = "") -> None:
        """Keep a version of lesson 03, to be saved later: the solution with an edit, or a text."""
        if old:
            assert self.solution.count(old) == 1, old
            text = self.solution.replace(old, new)
        (self.root / f"{name}.py").write_text(text or self.solution, encoding="utf-8")

    def save(self, name: str) -> None:
        """Put a version into the place of lesson 03."""
        shutil.copy(self.root / f"{name}.py", self.attention)


def sentence(result: subprocess.CompletedProcess[str]) -> str:
    """The one sentence with which a command ends that was used wrongly."""
    assert result.returncode == 2, result.stdout + result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr

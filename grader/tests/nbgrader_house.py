"""For tests: nbgrader's own commands, run as an instructor and as students in folders of a test."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
from nbgrader.api import Gradebook

from grader.instructor.nbgrading.house import build, make_course
from grader.judge.paths import ROOT

BIN = Path(sys.executable).parent


def environment(home: Path, root: Path = ROOT) -> dict[str, str]:
    """Return the environment of somebody whose Jupyter keeps everything in their own folder.

    root: the folder of the course's programs.
    """
    return os.environ | {
        "PYTHONPATH": str(root),
        "PYTHONWARNINGS": "ignore",
        "OMP_NUM_THREADS": "1",
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",  # nbgrader calls alembic by its name
        "JUPYTER_CONFIG_DIR": str(home / ".jupyter"),
        "JUPYTER_DATA_DIR": str(home / ".jupyter"),
        "JUPYTER_RUNTIME_DIR": str(home / ".jupyter"),
        "IPYTHONDIR": str(home / ".ipython"),
    }


def nbgrader(*arguments: str, cwd: Path, fails: bool = False, root: Path = ROOT) -> str:
    """Run one of nbgrader's commands, and return what it said."""
    result = subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=cwd,
        env=environment(cwd, root),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert (result.returncode != 0) == fails, result.stderr[-3000:]
    return result.stdout + result.stderr


class House:
    """A course folder, its exchange, and students with a folder each.

    root: where the judge's programs and checks are, this repository or a copy of it.
    """

    def __init__(
        self, home: Path, number: str, module: str, toml: str = "", root: Path = ROOT
    ) -> None:
        self.home, self.number, self.module, self.root = home, number, module, root
        self.course, self.exchange = home / "course", home / "exchange"
        self.course.mkdir()
        if toml:
            (self.course / "course.toml").write_text(toml)
        make_course(self.course, exchange=self.exchange, course_id="cs1")
        build(self.course, [number])
        config = self.course / "nbgrader_config.py"  # all of a test's students are one account
        settings = config.read_text().replace(str(ROOT), str(root))
        config.write_text(settings + "c.ExchangeCollect.check_owner = False\n")

    def run(self, *arguments: str, fails: bool = False) -> str:
        """Run a command as the instructor."""
        return nbgrader(*arguments, cwd=self.course, fails=fails, root=self.root)

    def as_student(self, student: str, *arguments: str, fails: bool = False) -> str:
        """Run a command as a student."""
        folder = self.home / "students" / student
        folder.mkdir(parents=True, exist_ok=True)
        where = ("--course", "cs1", f"--Exchange.root={self.exchange}")
        return nbgrader(*arguments, *where, cwd=folder, fails=fails)

    def fetched(self, student: str) -> Path:
        """Return where a student's copy of the assignment is."""
        return self.home / "students" / student / self.number

    def submitted(self, student: str, like: Path | None = None) -> Path:
        """Make what a student has handed in, as `collect` would, and return its folder."""
        folder = self.course / "submitted" / student / self.number
        shutil.copytree(like or self.course / "release" / self.number, folder)
        return folder

    def write(self, folder: Path, source: str) -> None:
        """Write the module of a hand-in."""
        (folder / f"{self.module}.py").write_text(source)

    def answer(self, folder: Path, **answers: str) -> None:
        """Write answers into the notebook of a hand-in; dashes in names are underscores here."""
        path = folder / f"{self.module}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            name = cell.metadata.get("nbgrader", {}).get("grade_id", "")
            if text := answers.get(name.removeprefix("answer-").replace("-", "_")):
                cell.source = text
        path.chmod(0o644)
        nbformat.write(notebook, path)

    def gradebook(self) -> Gradebook:
        """Open the gradebook."""
        return Gradebook(f"sqlite:///{self.course}/gradebook.db", "cs1")

    def graded(self, student: str) -> nbformat.NotebookNode:
        """Return the notebook that a grader sees."""
        path = self.course / "autograded" / student / self.number / f"{self.module}.ipynb"
        return nbformat.read(path, as_version=4)

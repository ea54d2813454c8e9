"""A lesson's notebook, and real nbgrader: the gradebook holds the points of the supervisor's report."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook
from nbgrader.nbgraderformat import MetadataValidator

from grader.bank import wrong_variants
from grader.instructor.cells import lesson_notebook, put_back, write_notebook
from grader.instructor.sandbox import sandbox_or_reason
from grader.judge.paths import ROOT
from grader.judge.runner import load_checks
from grader.syllabus import find_lesson

LESSON = find_lesson("03")
CHECKS = load_checks(LESSON)
CONFIG = """
from grader.instructor.cells import configure

c = get_config()
configure(c)
"""


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    return lesson_notebook(LESSON, CHECKS)


def test_notebook_is_the_same_on_every_run(notebook, tmp_path):
    write_notebook(notebook, tmp_path / "a.ipynb")
    write_notebook(lesson_notebook(LESSON, CHECKS), tmp_path / "b.ipynb")
    assert (tmp_path / "a.ipynb").read_bytes() == (tmp_path / "b.ipynb").read_bytes()


def test_one_locked_cell_per_check(notebook):
    cells = [cell for cell in notebook.cells if cell.metadata.nbgrader.grade]
    assert [cell.metadata.nbgrader.grade_id for cell in cells] == [c.name for c in CHECKS]
    assert [cell.id for cell in cells] == [c.name for c in CHECKS]
    assert sum(cell.metadata.nbgrader.points for cell in cells) == LESSON.points == 26
    assert all(cell.metadata.nbgrader.locked for cell in notebook.cells)
    for cell in notebook.cells:
        MetadataValidator().validate_cell(cell)


def test_whatever_became_of_our_cells_they_are_put_back(notebook):
    right = [dict(cell) for cell in notebook.cells]
    del notebook.cells[3], notebook.cells[1]
    notebook.cells[2].source = "2"
    posing = nbformat.v4.new_code_cell("1 / 0", metadata={"nbgrader": {"grade_id": "x"}})
    odd = nbformat.v4.new_markdown_cell("a note", metadata={"nbgrader": ["odd"]}, id="report")
    notebook.cells += [notebook.cells[4], posing, odd]
    put_back(notebook, LESSON, CHECKS)
    nbformat.validate(notebook)
    assert notebook.cells[: len(right)] == right
    added = [(cell.cell_type, cell.source) for cell in notebook.cells[len(right) :]]
    assert added == [("raw", "1 / 0"), ("markdown", "a note")]


@pytest.mark.slow
@pytest.mark.skipif(isinstance(sandbox_or_reason(), str), reason=str(sandbox_or_reason()))
def test_nbgrader_gives_the_points_of_the_report(notebook, tmp_path):
    """One student skips the projection; another one has also added cells and files of their own."""
    mistake = next(v for v in wrong_variants(LESSON) if v.name == "resid_dropout_forgotten")
    source = tmp_path / "source" / "03"
    write_notebook(notebook, source / "attention.ipynb")
    shutil.copy(ROOT / "lessons" / "03" / "attention.py", source)
    (tmp_path / "nbgrader_config.py").write_text(CONFIG)
    nbgrader("generate_assignment", "03", cwd=tmp_path)
    for student in ("ada", "eve"):
        folder = tmp_path / "submitted" / student / "03"
        shutil.copytree(tmp_path / "release" / "03", folder)
        (folder / "attention.py").write_text(mistake.source)
    cheat(folder)
    nbgrader("autograde", "03", cwd=tmp_path)
    with Gradebook(f"sqlite:///{tmp_path}/gradebook.db") as gradebook:
        for student in ("ada", "eve"):
            report = json.loads((tmp_path / "reports" / "03" / f"{student}.json").read_text())
            assert (report["points"], report["of"], report["isolated"]) == (25, 26, True)
            named = [c["mistake"].get("name") for c in report["checks"] if c["verdict"] == "failed"]
            assert named == [mistake.name]
            submission = gradebook.find_submission("03", student)
            assert (submission.score, submission.max_score) == (25, 26)
            grades = {grade.name: grade.auto_score for grade in submission.notebooks[0].grades}
            assert grades == {c["check"]: earned(c) for c in report["checks"]}
            assert not submission.needs_manual_grade
    graded = tmp_path / "autograded" / "ada" / "03"
    assert (graded / "attention.py").read_text() == mistake.source  # and not the stub
    shown = (graded / "attention.ipynb").read_text()
    assert "Does the result go through resid_dropout?" in shown


def earned(result) -> float:
    return result["points"] if result["verdict"] == "passed" else 0


def cheat(folder: Path) -> None:
    """Add cells that would give all points, and a report that says the same."""
    path = folder / "attention.ipynb"
    notebook = nbformat.read(path, as_version=4)
    greedy = "class All(dict):\n    __missing__ = lambda s, k: {'points': 9, 'verdict': 'passed'}\n"
    greedy += "RESULTS = All()\npoints = lambda check: 9\n"
    forged = nbformat.v4.new_code_cell(greedy, id="forged")
    forged.metadata["nbgrader"] = {**notebook.cells[1].metadata.nbgrader, "grade_id": "forged"}
    notebook.cells[2:2] = [nbformat.v4.new_code_cell(greedy, id="greedy"), forged]
    notebook.cells[-1].source = "2"
    path.chmod(0o644)
    nbformat.write(notebook, path)
    (folder / "report.json").write_text('{"points": 26}')


def nbgrader(*arguments: str, cwd: Path) -> None:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        # nbgrader calls alembic by its name
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "JUPYTER_CONFIG_DIR": str(cwd / ".jupyter"),
        "JUPYTER_DATA_DIR": str(cwd / ".jupyter"),
        "IPYTHONDIR": str(cwd / ".ipython"),
    }
    result = subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr

"""A lesson as an nbgrader notebook: one locked cell per check, which shows what the supervisor gave.

While nbgrader grades, `JudgeSubmission` lets the supervisor judge the submitted module and write its
report. The cells read it, and nbgrader takes the number that a cell ends with for its points. No code
of a learner's runs in the notebook's kernel. In `nbgrader_config.py`:

    from grader.instructor.cells import configure
    configure(get_config())
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from nbgrader.preprocessors import NbGraderPreprocessor

from lessons.engine.errors import CourseError

from ..checks import Check
from ..judge.runner import load_checks
from ..syllabus import Lesson, find_lesson, read_syllabus
from .sandbox import sandbox_or_reason
from .supervisor import judge_submission, write_report

# For nbgrader an error is 0 points; a cell that ends without a number would get them all.
READ_REPORT = '''
import json, os
from pathlib import Path

if "COURSE_REPORT" not in os.environ:
    raise RuntimeError("these cells are for grading; `pytest` or `python -m grader check` tells you more")
REPORT = json.loads(Path(os.environ["COURSE_REPORT"]).read_text(encoding="utf-8"))
RESULTS = {result["check"]: result for result in REPORT["checks"]}

def points(check):
    """Say what came of a check, and return its points."""
    result = RESULTS[check]
    passed = result["verdict"] == "passed"
    for text in () if passed else (result["symptom"], result["details"], result["ask"]):
        if text:
            print(text)
    return result["points"] if passed else 0
'''.strip()


def lesson_notebook(lesson: Lesson, checks: Sequence[Check]) -> nbformat.NotebookNode:
    """Return the instructor's version of a lesson's notebook: the same bytes on every run."""
    title = (
        f"# Lesson {lesson.number}: {lesson.title}\n\n"
        f"Hand in this notebook with your `{lesson.module}.py` beside it."
    )
    return new_notebook(
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
        },
        cells=[
            new_markdown_cell(title, id="title", metadata=_locked("title", "markdown")),
            new_code_cell(READ_REPORT, id="report", metadata=_locked("report", "code")),
            *map(check_cell, checks),
        ],
    )


def check_cell(check: Check) -> nbformat.NotebookNode:
    """Return the locked cell of one check."""
    worth = f"{check.points} point{'' if check.points == 1 else 's'}"
    return new_code_cell(
        f"# {check.step} ({worth}): {check.gain}\npoints({check.name!r})",
        id=check.name,
        metadata=_locked(check.name, "code", points=check.points),
    )


def _locked(grade_id: str, cell_type: str, points: int | None = None) -> dict[str, Any]:
    about: dict[str, Any] = {
        **{"schema_version": 3, "grade_id": grade_id, "cell_type": cell_type},
        **{"locked": True, "grade": points is not None, "solution": False, "task": False},
    }
    return {"nbgrader": about if points is None else {**about, "points": points}}


def write_notebook(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write a notebook."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.validate(notebook)
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


def put_back(notebook: nbformat.NotebookNode, lesson: Lesson, checks: Sequence[Check]) -> None:
    """Put our cells in the place of whatever became of them; what was added is only looked at."""
    ours = lesson_notebook(lesson, checks).cells
    ids = {cell.metadata.nbgrader.grade_id for cell in ours}
    added = [cell for cell in notebook.cells if _grade_id(cell) not in ids]
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.cells = ours + [
        nbformat.from_dict(
            {
                **{"id": f"added-{number}", "metadata": {}, "source": cell.source},
                "cell_type": "raw" if cell.cell_type == "code" else cell.cell_type,
            }
        )
        for number, cell in enumerate(added)
    ]


def _grade_id(cell: nbformat.NotebookNode) -> Any:
    about = cell.metadata.get("nbgrader")
    return about.get("grade_id") if isinstance(about, dict) else None


class PutBackCells(NbGraderPreprocessor):
    """Before nbgrader looks at a submitted notebook: leaves no code in it but ours."""

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        """Put our cells back."""
        lesson = find_lesson(resources["nbgrader"]["notebook"])
        put_back(nb, lesson, load_checks(lesson))
        return nb, resources


class JudgeSubmission(NbGraderPreprocessor):
    """Before the cells run: judges the submitted module, and tells the kernel where the report is.

    Reports stand in `reports/ASSIGNMENT/STUDENT.json` of the course folder, where nothing that a
    student hands in can be. Where there is no sandbox, nbgrader stops with a message, and nobody
    gets 0 points for it.
    """

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        """Judge what lies beside the submitted notebook; `nb` stays as it is."""
        about = resources["nbgrader"]
        lesson = find_lesson(about["notebook"])
        sandbox = sandbox_or_reason()
        if isinstance(sandbox, str):
            raise CourseError(sandbox)
        course = self.parent.parent.coursedir
        submitted = course.format_path(
            course.submitted_directory, about["student"], about["assignment"]
        )
        try:
            report = judge_submission(Path(submitted) / f"{lesson.module}.py", lesson, sandbox)
        finally:
            sandbox.stop()
        path = Path(course.root) / "reports" / about["assignment"] / f"{about['student']}.json"
        write_report(report, path)
        os.environ["COURSE_REPORT"] = str(path)
        return nb, resources


def configure(config: Any) -> None:
    """Plug the judge into nbgrader's configuration."""
    config.Autograde.sanitize_preprocessors.insert(0, PutBackCells)
    config.Autograde.autograde_preprocessors.insert(0, JudgeSubmission)
    written = {lesson.number: [f"{lesson.module}.py"] for lesson in read_syllabus()}
    config.Autograde.exclude_overwriting.update(written)  # else the stub takes its place

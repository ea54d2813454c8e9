"""What happens to a hand-in while nbgrader grades: our cells put back, the module judged, marks shown.

nbgrader's own commands call these, because `nbgrader_config.py` says so (see `house.py`). An
assignment that is no lesson of the course goes the way that nbgrader has for it.
"""

import contextlib
import datetime as dt
import secrets
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_output
from nbgrader.api import Gradebook
from nbgrader.preprocessors import Execute, NbGraderPreprocessor
from traitlets import Bool

from lessons.engine.errors import CourseError

from ...judge.backends import Backend, InAChild
from ...judge.report import failure_block
from ...judge.runner import load_checks
from ...syllabus import Lesson, find_lesson
from ..course.dates import utc
from ..exam import Exam
from ..grading import known_report, no_sandbox, seed_of_run
from ..sandbox import sandbox_or_reason
from ..submissions import Submission
from ..supervisor import judge, write_report
from ..taking import take_submission
from .cells import ASK, grade_id, is_answer, lesson_notebook, put_back
from .handing_in import SECRET, TIME, sound_time
from .marks import course_of, taught
from .written import criteria_text, filled, read_written, samples_text, values_of

SAMPLES = "samples-"  # what the ids of cells begin with that learners do not see


def lesson_of(about: dict[str, str]) -> Lesson | None:
    """Return the lesson whose notebook nbgrader has at hand; None if it is none of ours."""
    with contextlib.suppress(CourseError):
        lesson = find_lesson(about["assignment"])
        if (about["assignment"], about["notebook"]) == (lesson.number, lesson.module):
            return lesson
    return None


def submission_of(course: Any, about: dict[str, str]) -> Submission:
    """Return a submission as `grade-all` finds it. course: nbgrader's CourseDirectory."""
    student, assignment = about["student"], about["assignment"]
    path = course.format_path(course.submitted_directory, student, assignment)
    return Submission(student, assignment, Path(path))


class PutBackCells(NbGraderPreprocessor):
    """Before nbgrader looks at a submitted notebook: leaves nothing in it but our cells and answers.

    Files that are not the lesson's are deleted from the copy that nbgrader grades.
    """

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        """Put our cells back."""
        about = resources["nbgrader"]
        lesson = lesson_of(about)
        if lesson is None:
            return nb, resources
        course = self.parent.parent.coursedir
        self.clean(lesson, about, course)
        result = put_back(nb, self.master(lesson, course))
        if said := nb.metadata.get("handed_in"):  # by whoever read it, see `handing_in.py`
            result.metadata["handed_in"] = said
        return result, resources

    def master(self, lesson: Lesson, course: Any) -> NotebookNode:
        """Return the notebook as learners got it."""
        for step in (course.release_directory, course.source_directory):
            path = Path(course.format_path(step, ".", lesson.number)) / f"{lesson.module}.ipynb"
            if path.is_file():
                return nbformat.read(path, as_version=4)
        questions = read_written(lesson, Path(course.root) / "written")
        return lesson_notebook(lesson, load_checks(lesson), questions, course.course_id)

    def clean(self, lesson: Lesson, about: dict[str, str], course: Any) -> None:
        """Delete whatever lies beside the notebook, but for the module as it is judged."""
        student, number = about["student"], lesson.number
        copy = Path(course.format_path(course.autograded_directory, student, number))
        source = Path(course.format_path(course.source_directory, ".", number))
        ours = {path.name for path in source.iterdir()} if source.is_dir() else set()
        module = f"{lesson.module}.py"
        keep = (ours | {TIME, SECRET}) - {module}
        foreign = []
        for path in sorted(copy.iterdir()) if copy.is_dir() else []:
            if path.name not in keep or path.is_symlink():
                foreign += (
                    [path.name] if path.name not in (module, f"{lesson.module}.ipynb") else []
                )
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        copy.mkdir(parents=True, exist_ok=True)
        taken = take_submission(submission_of(course, about).path, lesson)
        if taken.source is not None:
            (copy / module).write_bytes(taken.source)
        complete_for_feedback(copy)
        if foreign:
            self.log.warning("%s handed in more than was asked for; left out: %s",
                             student, ", ".join(map(ascii, foreign)))  # fmt: skip


def complete_for_feedback(copy: Path) -> None:
    """See to it that `release_feedback` does not stop at a hand-in, for everybody behind it."""
    if not sound_time(copy / TIME):
        (copy / TIME).write_text(f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M:%S} UTC")
    try:
        sound = (copy / SECRET).read_text(encoding="ascii").isalnum()
    except (OSError, ValueError):
        sound = False
    if not sound:  # then the feedback goes to nobody by itself
        (copy / SECRET).write_text(secrets.token_hex(64))


class JudgeSubmission(NbGraderPreprocessor):
    """Has the submitted module judged, and writes into the cells what came of it.

    A report that `grade-all` has made for the same file and the same checks is taken as it is.
    No kernel is started. Graders find the rubric below each answer, with this student's numbers.
    """

    isolated = Bool(
        True, help="judge in bubblewrap only; False runs strangers' programs as they are"
    ).tag(config=True)

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        """Fill in the cells."""
        about = resources["nbgrader"]
        lesson = lesson_of(about)
        if lesson is None:
            return nb, resources
        course = self.parent.parent.coursedir
        one = submission_of(course, about)
        report = known_report(one, Path(course.root) / "reports")
        if report is None or report["isolated"] < self.isolated:
            report = self.judge(one, Path(course.root) / "reports")
        self.grant_extension(one, course, about["db_url"])
        fill_in(nb, report, lesson)
        questions = read_written(lesson, Path(course.root) / "written")
        for question in questions:
            values = values_of(question, lesson, course.course_id, one.student)
            asked = f"The question for {one.student}:\n\n{filled(question.ask.strip(), values)}\n"
            criteria, samples = criteria_text(question, values), samples_text(question, values)
            show_rubric(nb, question.name, asked if question.draws else "", criteria, samples)
        nb.cells[1:1] = remarks(report, nb.metadata.pop("handed_in", ""))
        return nb, resources

    def judge(self, one: Submission, reports: Path) -> dict[str, Any]:
        """Return the report on a submission, and keep it."""
        try:
            backend = backend_or_stop(self.isolated)
        except SystemExit:  # what is half done would be passed over next time
            course = self.parent.parent.coursedir
            half = course.format_path(course.autograded_directory, one.student, one.number)
            shutil.rmtree(half, ignore_errors=True)
            raise
        exam = _exam(one.number, seed_of_run(reports / one.number, one.number))
        try:
            report = judge(one.path, exam, backend, one.student)
        finally:
            backend.stop()
        write_report(report, one.report(reports))
        return report

    def grant_extension(self, one: Submission, course: Any, db_url: str) -> None:
        """Tell the gradebook of an extension in `course.toml`."""
        lesson = taught(course_of(course.root), one.number)
        if lesson and lesson.due and one.student in lesson.extensions:
            more = utc(lesson.extensions[one.student]) - utc(lesson.due)
            with Gradebook(db_url, course.course_id) as gradebook:
                minutes = more.total_seconds() / 60
                gradebook.grant_extension(one.number, one.student, minutes=minutes)


class RunOthers(Execute):
    """Runs notebooks that are none of ours, as nbgrader does; ours have been filled in."""

    def preprocess(self, nb: Any, resources: Any, km: Any = None) -> tuple[Any, Any]:
        """Run it, or leave it."""
        if lesson_of(resources["nbgrader"]):
            return nb, resources
        return super().preprocess(nb, resources, km)


class HideSamples(NbGraderPreprocessor):
    """Before feedback is made: takes out the sample answers."""

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        """Leave out the cells that are for graders alone."""
        nb.cells = [cell for cell in nb.cells if not str(cell.get("id", "")).startswith(SAMPLES)]
        return nb, resources


@cache
def _exam(number: str, seed: int) -> Exam:
    return Exam(find_lesson(number), seed)  # knows the right answers, once for all submissions


@cache
def _sandbox() -> Any:
    return sandbox_or_reason()


def backend_or_stop(isolated: bool) -> Backend:
    """Return where strangers' modules run; ends nbgrader with one sentence where that cannot be."""
    if not isolated:
        return InAChild()
    sandbox = _sandbox()
    if isinstance(sandbox, str):
        # An exception would be caught by nbgrader, and told once for each student.
        raise SystemExit(
            f"{no_sandbox(sandbox).replace('--not-isolated', 'c.JudgeSubmission.isolated = False')}"
            " (in nbgrader_config.py)"
        )
    return sandbox


def fill_in(notebook: NotebookNode, report: dict[str, Any], lesson: Lesson) -> None:
    """Put into each check's cell what came of the check.

    nbgrader takes the number that a cell ends with for its points; a cell without one would get
    them all, and so would a negative number.
    """
    results = {result["check"]: result for result in report["checks"]}
    for count, cell in enumerate(notebook.cells, 1):
        about = cell.metadata.get("nbgrader") or {}
        if cell.cell_type != "code" or not about.get("grade") or is_answer(cell):
            continue
        points, of = 0.0, about["points"]
        result = results.get(about["grade_id"])
        if result is not None:
            points = of if result["verdict"] == "passed" else 0.0
            text = "passed" if points else failure_block(result, lesson, failures=2)
        elif report["submission"]["refused"]:
            text = report["submission"]["refused"]
        else:
            points, text = of, "this check has been withdrawn; everybody gets its points"
        said = f"{text}\n{points:g} of {of:g} points\n"
        cell.execution_count = count
        cell.outputs = [
            new_output("stream", name="stdout", text=said),
            new_output("execute_result", {"text/plain": f"{points:g}"}, execution_count=count),
        ]


def show_rubric(notebook: NotebookNode, name: str, asked: str, criteria: str, samples: str) -> None:
    """Show a question as this student had it, and below the answer what counts."""
    place = _index(notebook, lambda cell: grade_id(cell) == f"answer-{name}")
    if place is None:
        return
    ask = _index(notebook, lambda cell: grade_id(cell) == ASK + name)
    if asked and ask is not None and notebook.cells[ask].cell_type == "code":
        notebook.cells[ask].outputs = [new_output("stream", name="stdout", text=asked)]
    notebook.cells[place + 1 : place + 1] = [
        new_markdown_cell(criteria, id=f"criteria-{name}"[:64]),
        new_markdown_cell(samples, id=f"{SAMPLES}{name}"[:64]),
    ]


def _index(notebook: NotebookNode, wanted: Callable[[NotebookNode], bool]) -> int | None:
    return next((place for place, cell in enumerate(notebook.cells) if wanted(cell)), None)


def remarks(report: dict[str, Any], handed_in: str) -> list[NotebookNode]:
    """Return a cell with what the grader should know, if there is anything."""
    says = [f"The module could not be judged: {r}" for r in [report["submission"]["refused"]] if r]
    says += [] if report["isolated"] else ["**NOT ISOLATED**: judged without a sandbox."]
    says += [*report["submission"].get("notes", []), *([handed_in] if handed_in else [])]
    text = "\n".join(f"- {each}" for each in says)
    return [new_markdown_cell(f"**About this hand-in**\n\n{text}", id="remarks")] if says else []

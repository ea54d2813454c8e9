"""A lesson as an nbgrader notebook: one locked cell per check, and questions to answer in writing.

The learner's module lies beside the notebook and is judged by itself; its checks' cells are filled
in while nbgrader grades, see `preprocessing.py`. No code in the notebook is ever run for marks.
"""

import inspect
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from ...checks import Check
from ...syllabus import Lesson
from .written import STUB, Question, own_values, plain

ASK, ANSWER = "ask-", "answer-"  # what the grade ids of a question begin with
MAX_ADDED, MAX_TEXT = 30, 20_000  # cells that a learner added; characters of one text

POINTS = '''
def points(check):
    """Say where to see what a check says; the course fills in its points after you hand in."""
    print(f"after handing in, your points stand here; now: pytest lessons/{LESSON} -k {check}")
'''
QUESTION = '''
def question(name, text, **draws):
    """Print a question with the numbers that are yours."""
    who = me.strip() or os.environ.get("JUPYTERHUB_USER") or getpass.getuser()
    values = own_values(f"{COURSE}/{LESSON}/{name}", who, draws)
    print(f"The question for {who}:\\n")
    print(re.sub(r"\\{(\\w+)\\}", lambda found: plain(values[found[1]]), text.strip()))
'''
ME = 'me = ""  # your id in this course; leave it empty if you have logged in with it'


def lesson_notebook(
    lesson: Lesson,
    checks: Sequence[Check],
    questions: Sequence[Question] = (),
    course: str = "",
    worth: float | None = None,
) -> NotebookNode:
    """Return the instructor's version of a lesson's notebook: the same bytes on every run.

    course: its id, on which the numbers in personal questions hang. worth: what all checks together
    are worth, if it is not their points.
    """
    scale = 1.0 if worth is None else worth / sum(check.points for check in checks)
    return new_notebook(
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
        },
        cells=[
            _note("title", _title(lesson, questions)),
            _code("helpers", _helpers(lesson, questions, course)),
            _note("checks", "## Checks\n\nNothing is to be done here."),
            *(cell for check in checks for cell in [check_cell(check, scale)]),
            *([_note("questions", "## In your own words")] if questions else []),
            *_me(questions),
            *(cell for question in questions for cell in question_cells(question)),
        ],
    )


def _title(lesson: Lesson, questions: Sequence[Question]) -> str:
    text = (
        f"# Lesson {lesson.number}: {lesson.title}\n\n"
        f"Write your code in `{lesson.module}.py`, which lies beside this notebook, and hand in both. "
        f"`pytest lessons/{lesson.number}` judges the file as it will be judged here."
    )
    if questions:
        text += (
            "\n\nThe questions below are read by a person. Three to six sentences are enough; how "
            "you got there counts more than how you put it."
        )
    return text


def _helpers(lesson: Lesson, questions: Sequence[Question], course: str) -> str:
    """Return the functions that the notebook's other cells call; standard library only."""
    parts = [f'LESSON = "{lesson.number}"', POINTS.strip()]
    if _personal(questions):
        parts = [
            "import getpass\nimport hashlib\nimport os\nimport re",
            f"LESSON, COURSE = {lesson.number!r}, {course!r}",
            POINTS.strip(),
            *(inspect.getsource(function).strip() for function in (own_values, plain)),
            QUESTION.strip(),
        ]
    return "# Run this cell first.\n" + "\n\n\n".join(parts)


def _personal(questions: Sequence[Question]) -> bool:
    return any(question.draws for question in questions)


def _me(questions: Sequence[Question]) -> list[NotebookNode]:
    """Return the cell in which learners say who they are; what they write there gives no points."""
    return [new_code_cell(ME, id="me")] if _personal(questions) else []


def check_cell(check: Check, scale: float = 1.0) -> NotebookNode:
    """Return the locked cell of one check."""
    points = check.points if scale == 1 else round(check.points * scale, 4)
    source = f"# {check.step} ({_worth(points)}): {check.gain}\npoints({check.name!r})"
    return _code(check.name, source, points=points)


def question_cells(question: Question) -> list[NotebookNode]:
    """Return the cells of one written question: what is asked, and the place for the answer."""
    head = f"{question.kind.capitalize()} ({_worth(question.points)})"
    name = ASK + question.name
    if question.draws:
        draws = "".join(f"\n    {key}={values!r}," for key, values in question.draws.items())
        text = question.ask.strip()
        source = (
            f"# {head}. Run this cell to read the question: its numbers are yours alone.\n"
            f'question(\n    {question.name!r},\n    """\n{text}\n""",{draws}\n)'
        )
        ask = _code(name, source)
    else:
        ask = _note(name, f"### {head}\n\n{question.ask.strip()}")
    answer = new_markdown_cell(STUB, id=ANSWER + question.name)
    answer.metadata = _about(answer.id, "markdown", question.points, solution=True)
    return [ask, answer]


def _note(name: str, text: str) -> NotebookNode:
    return new_markdown_cell(text, id=name, metadata=_about(name, "markdown"))


def _code(name: str, source: str, points: float | None = None) -> NotebookNode:
    return new_code_cell(source, id=name, metadata=_about(name, "code", points))


def _about(
    grade_id: str, cell_type: str, points: float | None = None, solution: bool = False
) -> NotebookNode:
    about: dict[str, Any] = {
        **{"schema_version": 3, "grade_id": grade_id, "cell_type": cell_type},
        **{"locked": not solution, "grade": points is not None, "solution": solution},
        "task": False,
    }
    if points is not None:
        about["points"] = points
    return nbformat.from_dict({"nbgrader": about})


def _worth(points: float) -> str:
    return f"{points:g} point{'' if points == 1 else 's'}"


def write_notebook(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.validate(notebook)
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8", newline="\n")


def put_back(handed_in: NotebookNode, master: NotebookNode) -> NotebookNode:
    """Return the master's notebook with the answers of the one that was handed in, and nothing else.

    An answer is found by its grade id, else by its cell id, else as what follows its question (some
    tools drop both). What a learner added is kept at the end, as text to look at.
    """
    result = nbformat.from_dict(master)
    result.nbformat, result.nbformat_minor = 4, 5
    theirs = [cell for cell in handed_in.cells if isinstance(cell.get("source"), str)]
    known = {grade_id(cell) or cell.get("id") for cell in result.cells}
    texts = {tidied(cell.source) for cell in master.cells}
    foreign = [
        (grade_id(cell) or cell.get("id")) not in known and tidied(cell.source) not in texts
        for cell in theirs
    ]
    used = []
    for place, cell in enumerate(result.cells):
        cell.metadata.pop("editable", None)
        if is_answer(cell):
            before = result.cells[place - 1].source if place else ""
            found = _answers(theirs, foreign, grade_id(cell), before)
            used += [id(other) for other in found]
            told = list(dict.fromkeys(tidied(other.source) for other in found))
            written = [text for text in told if text and text != tidied(cell.source)]
            if written:
                cell.source = inert("\n\n---\n\n".join(written))
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    added = [
        cell
        for cell, new in zip(theirs, foreign, strict=True)
        if new
        and id(cell) not in used
        and cell.source.strip()
        and not cell.source.startswith("me = ")
    ]
    result.cells += list(_added(added))
    return result


def is_answer(cell: NotebookNode) -> bool:
    """Say whether a cell of the master is a learner's to fill."""
    return bool((cell.metadata.get("nbgrader") or {}).get("solution"))


def grade_id(cell: NotebookNode) -> Any:
    """Return a cell's id in the gradebook, as far as it has one."""
    about = cell.metadata.get("nbgrader") if isinstance(cell.get("metadata"), dict) else None
    name = about.get("grade_id") if isinstance(about, dict) else None
    return name if isinstance(name, str) else None


def _answers(
    cells: Sequence[NotebookNode], foreign: Sequence[bool], name: str | None, question: str
) -> list[NotebookNode]:
    """Return the cells that hold the answer of this name. foreign: which cells are none of ours."""
    by_name = [cell for cell in cells if grade_id(cell) == name]
    by_id = [cell for cell in cells if cell.get("id") == name]
    behind = [
        cell
        for before, cell, new in zip(cells, cells[1:], foreign[1:], strict=False)
        if new and tidied(before.source) == tidied(question)
    ]
    return by_name or by_id or behind[:1]


def tidied(text: str) -> str:
    """Return a text without Windows' line ends, and without blanks that nobody sees."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines).strip()


def inert(text: str) -> str:
    """Return a learner's text such that it is nothing but text on the grader's screen.

    Markdown lets HTML through, and pictures from anywhere. An invisible sign (a word joiner) after
    `<`, `!` and in `javascript:` stops that, and changes nothing that one can see.
    """
    text = text[:MAX_TEXT] + (" ... (cut off)" if len(text) > MAX_TEXT else "")
    text = text.replace("<", "<\u2060").replace("![", "!\u2060[")
    for scheme in ("javascript", "vbscript", "data"):
        text = _without(text, scheme)
    return text


def _without(text: str, scheme: str) -> str:
    pieces, low, start = [], text.lower(), 0
    while (at := low.find(f"{scheme}:", start)) >= 0:
        end = at + len(scheme)
        pieces.append(text[start:end] + "\u2060")
        start = end
    return "".join([*pieces, text[start:]])


def _added(cells: Sequence[NotebookNode]) -> Iterator[NotebookNode]:
    """Yield what a learner added, as text."""
    if not cells:
        return
    title = "## Added by the learner\n\nNothing below is ours, and none of it was run."
    yield new_markdown_cell(title, id="added")
    for number, cell in enumerate(cells[:MAX_ADDED]):
        source = inert(tidied(cell.source))
        if cell.cell_type != "markdown":
            ticks = max((len(list(run)) for sign, run in groupby(source) if sign == "`"), default=2)
            fence = "`" * max(3, ticks + 1)
            source = f"{fence}\n{source}\n{fence}"
        yield new_markdown_cell(source, id=f"added-{number}")
    if len(cells) > MAX_ADDED:
        yield new_markdown_cell(f"... and {len(cells) - MAX_ADDED} more", id="added-more")

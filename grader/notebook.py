"""Lessons in a notebook: what is written in a cell goes into the lesson's file, and is judged there.

Loaded by the notebooks in `lessons/notebooks/` (`%load_ext grader.notebook`):

    %lesson 00        which lesson this notebook is about
    %%step softmax    put this cell into lessons/00/bigram.py, and check this step
    %check            check the whole lesson

There is one place where a lesson's code stands, the file. So `pytest lessons/00`, the board and the
later lessons see what the notebook has written, and who outgrows notebooks simply goes on in the file.
"""

import ast
import importlib
import textwrap
from pathlib import Path
from typing import Any

from lessons.engine.errors import CourseError
from lessons.engine.files import write_atomically

from .stub_store import stub_of
from .syllabus import Lesson, Step, find_lesson

BEGIN, END = "# from the notebook: {}", "# up to here from the notebook: {}"
BESIDE = (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def find_function(tree: ast.Module, name: str) -> Function | None:
    """Return the function of this name (`softmax`, or `Block.forward`), or None."""
    body: list[ast.stmt] = tree.body
    *classes, last = name.split(".")
    for wanted in classes:
        found = [n for n in body if isinstance(n, ast.ClassDef) and n.name == wanted]
        if not found:
            return None
        body = found[0].body
    functions = [n for n in body if isinstance(n, Function) and n.name == last]
    return functions[-1] if functions else None


def source_of(module: str, name: str) -> str:
    """Return a function of a module as it stands there, moved to the left. Raises CourseError."""
    function = _found(module, name)
    first, last = _lines_of(function)
    indent = " " * function.col_offset
    return "\n".join(line.removeprefix(indent) for line in module.split("\n")[first:last]) + "\n"


def is_written(source: str, name: str) -> bool:
    """Say whether a function does something else than to refuse."""
    try:
        function = find_function(ast.parse(source), name)
    except SyntaxError:
        return False
    if function is None:
        return False
    last = function.body[-1]
    return not (isinstance(last, ast.Raise) and "NotImplementedError" in ast.unparse(last))


def put_step(module: str, name: str, cell: str) -> str:
    """Return the module with the cell in place of the function. Raises CourseError.

    A cell for a function may hold helpers and imports beside it; they are found again, by two
    comments, when the cell is run once more. A cell for a method holds the method alone.
    """
    cell = textwrap.dedent(cell.replace("\r\n", "\n")).strip("\n")
    tree = _parsed(cell)
    short = name.rpartition(".")[2]
    own = [node for node in tree.body if isinstance(node, Function) and node.name == short]
    if len(own) != 1:
        raise CourseError(f"this cell must define {short} once, and it does so {len(own)} times")
    others = [node for node in tree.body if node is not own[0]]
    if others and "." in name:
        raise CourseError(
            f"a cell for {name} holds the function {short} alone; put imports and helpers inside of it"
        )
    for node in others:
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not isinstance(node, BESIDE) and not text:
            raise CourseError(
                f"line {node.lineno} of this cell would run whenever the lesson is imported: "
                "try things out in a cell of their own"
            )
    lines = module.split("\n")
    begin, end = BEGIN.format(name), END.format(name)
    if begin in lines and end in lines:
        first, last, indent = lines.index(begin), lines.index(end) + 1, ""
    else:
        function = _found(module, name)
        first, last = _lines_of(function)
        indent = " " * function.col_offset
    new = _indented(cell, indent)
    if others:
        new = [begin, *new, end]
    result = "\n".join([*lines[:first], *new, *lines[last:]])
    _parsed(result)  # a string that goes over several lines could end elsewhere now
    return result


def _indented(cell: str, indent: str) -> list[str]:
    """Return the lines of a cell moved to the right, but not those inside of a string.

    A docstring may move: its lines are read without their indentation.
    """
    lines = cell.split("\n")
    if not indent:
        return lines
    kept = set()
    tree = ast.parse(cell)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, Function)
        and isinstance(node.body[0], ast.Expr)
        and isinstance(node.body[0].value, ast.Constant)
    }
    for node in ast.walk(tree):
        text = isinstance(node, ast.JoinedStr) or (
            isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
        )
        if text and id(node) not in docstrings:
            kept |= set(range(node.lineno + 1, (node.end_lineno or node.lineno) + 1))
    return [
        line if number in kept or not line.strip() else indent + line
        for number, line in enumerate(lines, start=1)
    ]


def _parsed(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except SyntaxError as error:
        line = (error.text or "").strip()
        raise CourseError(
            f"line {error.lineno}: {error.msg}{f': {line}' if line else ''}"
        ) from None


def _found(module: str, name: str) -> Function:
    try:
        function = find_function(ast.parse(module), name)
    except SyntaxError as error:
        raise CourseError(
            f"the lesson's file cannot be read, line {error.lineno}: {error.msg}; mend it there, or "
            "begin anew with python -m grader reset"
        ) from None
    if function is None:
        raise CourseError(
            f"the lesson's file has no {name} to be replaced; `python -m grader reset` brings the "
            "stub back (yours is kept), and then this notebook's cells can be run again"
        )
    return function


def _lines_of(function: Function) -> tuple[int, int]:
    """Return the lines of a function with its decorators, as a slice."""
    first = min([function.lineno, *(d.lineno for d in function.decorator_list)])
    return first - 1, function.end_lineno or function.lineno


class Desk:
    """A notebook's lesson: its file, and a process beside this one that judges it."""

    def __init__(self, lesson: Lesson) -> None:
        from .judge.paths import file_of, shown
        from .judge.session import Session

        self.lesson = lesson
        self.file: Path = file_of(lesson)
        self.name = shown(self.file)
        self.session = Session(apart=True)  # an endless loop ends there, and the notebook lives on
        if not self.file.is_file():
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self._write(stub_of(lesson))

    def step(self, name: str) -> Step:
        """Return a step. Raises CourseError."""
        try:
            return self.lesson.step(name)
        except KeyError:
            names = ", ".join(step.name for step in self.lesson.steps)
            raise CourseError(
                f"lesson {self.lesson.number} has no step {name!r}, but {names}"
            ) from None

    def put(self, name: str, cell: str) -> str:
        """Put a cell into the lesson's file; return a sentence on what was done."""
        old = self.file.read_text(encoding="utf-8")
        new = put_step(old, name, cell)
        if not is_written(textwrap.dedent(cell), name.rpartition(".")[2]):
            if is_written(old, name):
                return f"{self.name} has a {name} of yours, this cell none: the file stays as it is"
            return ""
        if new != old:
            self._write(new)
        return ""

    def modules(self) -> dict[str, Any]:
        """Return what the lesson's module defines now, to be tried out in the notebook."""
        from .judge.paths import judged_path, take_path

        take_path(judged_path(self.lesson.number))  # this lesson, over the reference of the others
        importlib.invalidate_caches()
        try:
            module = importlib.import_module(f"lessons.{self.lesson.module}")
        except (Exception, SystemExit):  # the checks will say what is wrong with it
            return {}
        return {name: value for name, value in vars(module).items() if not name.startswith("_")}

    def judge(self, name: str) -> list[str]:
        """Check one step; return what is to be read."""
        from .judge.paths import own_lessons
        from .judge.progress import note_results
        from .judge.report import revealed
        from .judge.runner import load_checks
        from .judge.session import as_dicts
        from .judge.telling import failure_blocks
        from .syllabus import read_syllabus

        checks = load_checks(self.lesson)
        judged = [self.session.judge(self.lesson, c, checks) for c in checks if c.step == name]
        results = as_dicts(judged)
        blocks = failure_blocks(self.lesson, results)  # they depend on the failures before this run
        note_results(self.lesson, results, own_lessons(self.lesson, read_syllabus()))
        open_ones = [r for r in results if r["verdict"] not in ("passed", "failed")]
        lines = [*blocks, *dict.fromkeys(result["symptom"] for result in open_ones)]
        reached = sum(r["points"] for r in results if r["verdict"] == "passed")
        lines.append(f"{name}: {reached} of {self.step(name).points} points")
        if text := revealed(self.lesson, results):
            lines.append(text)
        lines.append(self.next())
        return lines

    def next(self) -> str:
        """Say what to write next: the first step that the file does not have yet."""
        text = self.file.read_text(encoding="utf-8")
        for step in self.lesson.steps:
            if not is_written(text, step.name):
                stretch = " (stretch: if you like)" if step.kind == "stretch" else ""
                return f"next: write {step.name}{stretch}"
        return "all steps are written; %check checks the whole lesson"

    def judge_all(self) -> list[str]:
        """Check the whole lesson; return what is to be read."""
        from .judge.telling import judge_lesson, long_lines

        return long_lines(self.lesson, *judge_lesson(self.lesson, self.session))

    def _write(self, text: str) -> None:
        with write_atomically(self.file) as file:
            file.write(text)


def load_ipython_extension(shell: Any) -> None:
    """Give a notebook its three commands."""
    desks: list[Desk] = []

    def desk() -> Desk:
        if not desks:
            raise CourseError(
                "run the first cell of this notebook first: it says which lesson this is"
            )
        return desks[-1]

    def said(work: Any) -> None:
        """Do something, and show an error that a person can cause as one sentence."""
        try:
            print("\n".join(line for line in work() if line))
        except CourseError as error:
            print(error)

    def lesson(line: str) -> None:
        """Say which lesson this notebook is about: %lesson 00."""

        def work() -> list[str]:
            for old in desks:
                old.session.stop()
            desks[:] = [Desk(find_lesson(line.strip()))]
            shell.push(desk().modules())
            return [
                f"lesson {desk().lesson.number}, {desk().lesson.title}: this notebook writes {desk().name}",
                desk().next(),
            ]

        said(work)

    def step(line: str, cell: str) -> None:
        """Put a cell into the lesson's file and check it: %%step softmax."""

        def work() -> list[str]:
            name = desk().step(line.strip()).name
            remark = desk().put(name, cell)
            shell.push(desk().modules())
            return [remark, *desk().judge(name)]

        said(work)

    def check(line: str) -> None:
        """Check the whole lesson: %check."""
        said(lambda: desk().judge_all())

    shell.register_magic_function(lesson, "line")
    shell.register_magic_function(step, "cell")
    shell.register_magic_function(check, "line")

"""Makes stubs, the files that the learner fills in, from the solutions.

What stands in a solution between `# <solution>` and `# </solution>` becomes one line that raises
NotImplementedError; imports that only the solution used go; everything else stays. The first line
of a stub holds a hash of the rest, so a file that nobody has touched can be told from somebody's
work without any record of what was written when.
"""

import ast
import hashlib
import io
import re
import subprocess
import sys
import textwrap
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from lessons.engine.errors import CourseError

from .syllabus import Lesson, Step, read_syllabus

ROOT = Path(__file__).resolve().parents[1]
OPENS, CLOSES = "# <solution>", "# </solution>"
HEAD = re.compile(r"# lesson \d\d, stub ([0-9a-f]{12}) \(yours to fill in\)")


class State(Enum):
    """How a file in `lessons/` stands to the stub that belongs there."""

    MISSING = auto()
    CURRENT = auto()
    OLD = auto()  # a stub that nobody has touched, of an earlier solution
    CHANGED = auto()  # the learner's


@dataclass(frozen=True)
class Region:
    """The lines of one function that the learner writes."""

    name: str  # `softmax`; `GPT.forward` for a method
    function: ast.FunctionDef | ast.AsyncFunctionDef
    first: int  # the line of the opening marker, counted from 1
    last: int  # that of the closing one
    given: list[ast.stmt]  # what stands before the region: the docstring first


def make_stubs(root: Path) -> dict[Path, str]:
    """Return the stub of every lesson, and where it belongs. Raises CourseError."""
    stubs = {}
    for lesson in read_syllabus():
        solution = root / "solutions" / f"{lesson.module}.py"
        if not solution.is_file():
            raise CourseError(
                f"no solutions/{solution.name}, from which lesson {lesson.number} is made"
            )
        text = solution.read_text(encoding="utf-8")
        stubs[root / "lessons" / lesson.number / solution.name] = make_stub(text, lesson)
    return stubs


def make_stub(solution: str, lesson: Lesson) -> str:
    """Return the text of a lesson's stub. Raises CourseError where a marker stands wrongly."""
    asked = add_notes(solution, lesson)
    tree = _parse(asked, lesson)
    lines = asked.split("\n")
    for region in reversed(find_regions(asked, tree, lesson)):
        indent = " " * region.given[0].col_offset
        lines[region.first - 1 : region.last] = [indent + _refusal(lesson, region)]
    # F401: imports that nothing uses (any more); I: the blank lines behind those that are left
    text = _ruff(["check", "--select=F401,I", "--fix", "--exit-zero", "--quiet"], "\n".join(lines))
    text = _ruff(["format"], text)
    lines, preamble = text.split("\n"), _preamble(ast.parse(text))
    at = (preamble[-1].end_lineno or 0) if preamble else 0
    text = "\n".join([*lines[:at], "", *_guard(lesson, tree), *lines[at:]])
    stub = f"# lesson {lesson.number}, stub {_hash(text)} (yours to fill in)\n{text}"
    check_stub(stub, solution, lesson)
    return stub


def add_notes(solution: str, lesson: Lesson) -> str:
    """Return the solution with each step's notes in its docstring, before the numbered way.

    Raises CourseError where a step has notes and its docstring no line that begins with 1.
    """
    lines = solution.split("\n")
    notes = {step.name: notes_of(step) for step in lesson.steps}
    for region in reversed(find_regions(solution, _parse(solution, lesson), lesson)):
        if not notes.get(region.name):
            continue
        docstring = region.given[0]
        inside = range(docstring.lineno - 1, docstring.end_lineno or 0)
        way = [number for number in inside if lines[number].strip().startswith("1. ")]
        if not way:
            raise CourseError(
                f"solutions/{lesson.module}.py: {region.name}'s docstring has no step 1 to put its "
                "notes before"
            )
        indent = " " * docstring.col_offset
        width = 100 - len(indent)
        lines[way[0] : way[0]] = [
            *(
                indent + part
                for text in notes[region.name]
                for part in textwrap.wrap(text, width, break_on_hyphens=False)
            ),
            "",
        ]
    return "\n".join(lines)


def notes_of(step: Step) -> list[str]:
    """Return what a stub says about a step: its prediction, and what is not to be called in it."""
    notes = [f"Predict first: {step.prediction}"] if step.prediction else []
    if step.forbids:
        notes.append(f"Yours to write, without the library's own: {', '.join(step.forbids)}.")
    return notes


def find_regions(solution: str, tree: ast.Module, lesson: Lesson) -> list[Region]:
    """Return the marked regions of a solution from top to bottom; `tree` is its syntax tree.

    Raises CourseError unless each is the end of a documented function, at least one statement.
    """
    where = f"solutions/{lesson.module}.py"
    marks = [token for token in _comments(solution) if "solution>" in token.string]
    regions = []
    for number, mark in enumerate(marks):
        right = (OPENS, CLOSES)[number % 2]
        if mark.string != right or mark.line.strip() != right:
            raise CourseError(f"{where}:{mark.start[0]}: expected `{right}`, alone on its line")
    if len(marks) % 2:
        raise CourseError(f"{where}:{marks[-1].start[0]}: this region is never closed")
    for opening, closing in zip(marks[::2], marks[1::2], strict=True):
        first, last = opening.start[0], closing.start[0]
        around = [
            (name, function)
            for name, function in _functions(tree.body)
            if function.lineno < first <= (function.end_lineno or 0)
        ]
        if not around:
            raise CourseError(f"{where}:{first}: this region is empty or not in a function")
        name, function = around[0]
        given = [s for s in function.body if (s.end_lineno or 0) < first]
        inside = [s for s in function.body if first < s.lineno and (s.end_lineno or 0) < last]
        if not inside or given + inside != function.body:
            raise CourseError(f"{where}:{first}: the region must hold {name}'s end, and only that")
        if ast.get_docstring(function) is None or function.body[0] not in given:
            raise CourseError(f"{where}:{first}: {name} has no docstring before its region")
        regions.append(Region(name, function, first, last, given))
    return regions


def check_stub(stub: str, solution: str, lesson: Lesson) -> None:
    """Raise CourseError unless the stub holds nothing of what is marked in the solution.

    Compares syntax trees: a marked function is its docstring with the notes, what is given, and
    the raise; all else is as in the solution, except that imports may be fewer and the guard has
    come in.
    """
    solution = add_notes(solution, lesson)
    expected, found = _parse(solution, lesson), _parse(stub, lesson)
    regions = find_regions(solution, expected, lesson)
    allowed = Counter(
        comment.string
        for comment in _comments(solution)
        if not any(region.first <= comment.start[0] <= region.last for region in regions)
    )
    allowed[stub.partition("\n")[0]] += 1
    for region in regions:
        region.function.body = [*region.given, *ast.parse(_refusal(lesson, region)).body]
    place = len(_preamble(expected))
    expected.body[place:place] = ast.parse("\n".join(_guard(lesson, expected))).body
    if not _imports(found) <= _imports(expected):
        raise CourseError(f"the stub of {lesson.module} imports what the solution does not")
    if _without_imports(expected) != _without_imports(found):
        raise CourseError(
            f"the stub of {lesson.module} is not its solution less the marked regions "
            "(is the solution formatted? a marker in the wrong place?)"
        )
    left = Counter(comment.string for comment in _comments(stub)) - allowed
    if left:
        raise CourseError(f"the stub of {lesson.module} holds a solution's comment: {min(left)}")


def state_of(path: Path, stub: str) -> State:
    """Return how the file at `path` stands to the stub that belongs there."""
    try:
        text = path.read_text(encoding="utf-8")  # any line ends: git changes them on Windows
    except FileNotFoundError:
        return State.MISSING
    except UnicodeDecodeError:
        return State.CHANGED
    if text == stub:
        return State.CURRENT
    return State.OLD if is_untouched(text) else State.CHANGED


def is_untouched(text: str) -> bool:
    """Say whether a file is a stub, of whatever solution, exactly as it was written."""
    head, _, rest = text.partition("\n")
    match = HEAD.fullmatch(head)
    return match is not None and match[1] == _hash(rest)


def leftover_stubs(root: Path, stubs: Iterable[Path]) -> list[Path]:
    """Return the untouched stubs in the lessons' folders that belong to no lesson (any more)."""
    found = sorted(set(root.glob("lessons/[0-9][0-9]/*.py")) - set(stubs))
    return [path for path in found if is_untouched(path.read_text("utf-8", errors="replace"))]


def _parse(source: str, lesson: Lesson) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError as error:
        raise CourseError(f"{lesson.module}.py:{error.lineno}: {error.msg}") from None


def _functions(
    body: list[ast.stmt], prefix: str = ""
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield the functions of a module and the methods of its classes, with their qualified names."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node.body, f"{prefix}{node.name}.")


def _refusal(lesson: Lesson, region: Region) -> str:
    return f'raise NotImplementedError("lesson {lesson.number}: {region.name}")'


def _guard(lesson: Lesson, tree: ast.Module) -> list[str]:
    """Two lines that answer the editor's Run button before an import fails.

    Run as a file, a module has no package; `python -m lessons.tinystories` gives it one.
    """
    instead = f"pytest lessons/{lesson.number}"
    if any(isinstance(node, ast.If) and "__main__" in ast.unparse(node.test) for node in tree.body):
        instead += f", or python -m lessons.{lesson.module}"
    return [
        'if __name__ == "__main__" and not __package__:',
        f'    raise SystemExit("run this instead: {instead}")',
    ]


def _preamble(tree: ast.Module) -> list[ast.stmt]:
    """Return what must stay first in a file: its docstring, and imports from __future__."""
    n = 0 if ast.get_docstring(tree) is None else 1
    for node in tree.body[n:]:
        if not (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
            break
        n += 1
    return tree.body[:n]


def _comments(source: str) -> list[tokenize.TokenInfo]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [token for token in tokens if token.type == tokenize.COMMENT]


def _imports(tree: ast.Module) -> Counter[tuple[str | int | None, ...]]:
    found: Counter[tuple[str | int | None, ...]] = Counter()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update((alias.name, alias.asname) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.update((node.level, node.module, a.name, a.asname) for a in node.names)
    return found


class _DropImports(ast.NodeTransformer):
    def visit_Import(self, node: ast.Import) -> None: ...

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None: ...


def _without_imports(tree: ast.Module) -> str:
    return ast.dump(_DropImports().visit(tree))


def _ruff(arguments: Sequence[str], source: str) -> str:
    """Return what ruff makes of a text, whatever settings the machine has."""
    settings = ["--isolated", "--config=line-length=100", "--target-version=py311"]
    command = [sys.executable, "-m", "ruff", *arguments, *settings, "-"]
    done = subprocess.run(command, input=source, capture_output=True, encoding="utf-8")
    if done.returncode:
        raise CourseError(
            f"ruff failed (is it installed? see requirements.txt): {done.stderr.strip()}"
        )
    return done.stdout


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]

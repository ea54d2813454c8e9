"""The reference: signatures and docstrings of modules, read from their syntax trees, never bodies."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from lessons.engine.errors import CourseError

from ..judge.paths import ROOT
from ..syllabus import Lesson, read_syllabus
from .writing import anchor, link, table

Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

CODE = re.compile(r"(`[^`]*`)")
# `(B, T, C)`, `(..., T, D')`, `(T, 3 * inner)`, `(N,)`: something in brackets with a comma, of
# single capitals, numbers, dots and small sums of them
_SIZE = r"(?:\.\.\.|(?:\d+|[A-Z]'?|[a-z_]+)(?: ?[*+/-]+ ?(?:\d+|[A-Z]'?|[a-z_]+))*)"
SHAPE = re.compile(rf"(?<!\w)\((?=[^()]*(?:\b[A-Z]\b|\.\.\.))(?:{_SIZE})(?:,|(?:, {_SIZE})+)\)")


def modules(arguments: list[str], folder: Path) -> str:
    """Return one row per lesson module with its docstring's first sentence."""
    rows = []
    for lesson in read_syllabus():
        first = (ast.get_docstring(_tree(_file(lesson.module))) or "").partition("\n")[0]
        said = re.sub(r"^Lesson \d\d: ", "", first)
        page = ROOT / "site" / "reference" / f"{lesson.module}.md"
        rows.append([lesson.number, link(f"`{lesson.module}`", page, folder), said])
    return table(["lesson", "module", "what it is"], rows)


def module(arguments: list[str], folder: Path) -> str:
    """Return a module's docstring and everything public in it.

    arguments: the module (`attention`, `engine.pretrained`), then names if not all are wanted.
    """
    if not arguments:
        raise CourseError("reference takes a module: <!-- generated: reference attention -->")
    name, wanted = arguments[0], arguments[1:]
    file = _file(name)
    source = file.read_text(encoding="utf-8")
    tree = _tree(file)
    lesson = next((each for each in read_syllabus() if each.module == name), None)
    public = list(_public(tree, f"{name}." if lesson is None else ""))
    missing = set(wanted) - {_last(full) for full, _ in public}
    if missing:
        raise CourseError(f"{file.name} has no public {', '.join(sorted(missing))}")
    parts = [] if wanted else [prose(ast.get_docstring(tree) or "")]
    for full, node in public:
        outer = full.removeprefix(f"{name}.").partition(".")[0]
        if not wanted or outer in wanted:
            parts.append(_entry(full, node, source, lesson))
    return "\n\n".join(part for part in parts if part)


def _file(name: str) -> Path:
    for folder in (ROOT / "solutions", ROOT / "lessons"):
        file = folder.joinpath(*name.split(".")).with_suffix(".py")
        if file.is_file():
            return file
    raise CourseError(f"no module {name} in solutions/ or lessons/")


def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _last(full: str) -> str:
    return full.rpartition(".")[2]


def _public(tree: ast.Module | ast.ClassDef, prefix: str) -> Iterator[tuple[str, Documented]]:
    """Yield what has a docstring and no underscore, in the order of the file."""
    for node in tree.body:
        if isinstance(node, Documented) and not node.name.startswith("_"):
            if ast.get_docstring(node):
                yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from _public(node, f"{prefix}{node.name}.")


def _entry(full: str, node: Documented, source: str, lesson: Lesson | None) -> str:
    step = next((each for each in lesson.steps if each.name == full), None) if lesson else None
    kind = f" · {step.kind} step" if step else ""
    what = (
        "class" if isinstance(node, ast.ClassDef) else "function" if "." not in full else "method"
    )
    heading = f"## `{full}` {{ #{anchor(full)} }}\n\n*{what}{kind}*"
    shown = f"```py\n{signature(node, source)}\n```"
    return f"{heading}\n\n{shown}\n\n{prose(ast.get_docstring(node) or '', _arguments(node))}"


def signature(node: Documented, source: str) -> str:
    """Return how something is called: `def f(x: int) -> int`, or a class with its fields."""
    if not isinstance(node, ast.ClassDef):
        # unparse writes one line: cut after each argument where it is long
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        given = [_spaced_default(each) for each in _split(ast.unparse(node.args))]
        line = f"{node.name}({', '.join(given)}){returns}"
        if len(line) <= 88:
            return line
        inside = ",\n    ".join(given)
        return f"{node.name}(\n    {inside},\n){returns}"
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    lines = [f"class {node.name}({bases})" if bases else f"class {node.name}"]
    for child in node.body:
        if isinstance(child, ast.FunctionDef) and child.name == "__init__":
            text = signature(child, source).replace("__init__(self, ", f"{node.name}(")
            lines = [
                text.replace("__init__(\n    self,\n", f"{node.name}(\n").removesuffix(" -> None")
            ]
    if not any(
        isinstance(child, ast.FunctionDef) and child.name == "__init__" for child in node.body
    ):
        rows = source.split("\n")
        fields = [child for child in node.body if isinstance(child, ast.AnnAssign)]
        lines += [rows[number - 1] for f in fields for number in range(f.lineno, _end(f) + 1)]
    return "\n".join(lines)


def _end(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno


def _split(arguments: str) -> list[str]:
    """Cut at commas that stand in no bracket."""
    parts, depth = [""], 0
    for letter in arguments:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _spaced_default(argument: str) -> str:
    """Write `x: int=3`, as the syntax tree prints it, as people write it."""
    name, equals, default = argument.partition("=")
    return f"{name} = {default}" if equals and ":" in name else argument


def _arguments(node: Documented) -> list[str]:
    if isinstance(node, ast.ClassDef):
        return []
    args = node.args
    return [arg.arg for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs)]


def prose(docstring: str, arguments: list[str] | None = None) -> str:
    """Return a docstring as Markdown: shapes and names of arguments as code."""
    lines = []
    named = [re.escape(name) for name in arguments or [] if name not in ("self", "cls")]
    labels = re.compile(rf"(?<![\w`.])({'|'.join(named)})(?=(?:, \w+)*: )") if named else None
    verbatim = False
    for line in docstring.split("\n"):
        verbatim = line.startswith("    ")  # a drawing or an example: stays as it is
        if verbatim:
            lines.append(line)
            continue
        parts = CODE.split(line)
        for place in range(0, len(parts), 2):
            plain = SHAPE.sub(lambda found: f"`{found[0]}`", parts[place])
            if labels:
                pieces = CODE.split(plain)
                pieces[::2] = [labels.sub(r"`\1`", piece) for piece in pieces[::2]]
                plain = "".join(pieces)
            parts[place] = plain
        lines.append("".join(parts))
    return "\n".join(_spaced(lines))


def _spaced(lines: list[str]) -> Iterator[str]:
    """Put an empty line before a list, which Markdown wants and docstrings often lack."""
    before = ""
    item = re.compile(r"(- |\d+\. )")
    inside = False
    for line in lines:
        starts = bool(item.match(line))
        if starts and before.strip() and not inside:
            yield ""
        inside = starts or (inside and bool(line.strip()))
        yield line
        before = line

"""Proves that nothing a learner is to write stands in a release already.

Looked for is every marked region (`# <solution>` ... `# </solution>`) of a closed lesson, in three ways:

- runs of 20 words and operators of a region, in any file of any type (see unpacking.py). Spaces,
  line ends, comments, commas, brackets and quotation marks do not count, nor does a comment mark in
  front of a line. A run that also stands in what learners are given is nothing to hide. A region
  of fewer words is looked for together with the words around it.
- syntax trees: a function whose end is a region, however the variables and the function are called.
- compiled code: none belongs in a release, and a region's byte code is found as it stands.

Single lines like `return x` are everywhere and say nothing; 20 words are more than one line. Hints say
"nearly the line" on purpose: in the syllabus, which holds them, a run is 33 words, which is about two
lines, and more than any hint has in common with its solution (29).
"""

import ast
import builtins
import importlib.util
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import Any

from lessons.engine.errors import CourseError

from ...stubs import Region, find_regions
from ...syllabus import Lesson
from .unpacking import unpacked

RUN = 20
RUN_IN_HINTS = 33
HINTS = "grader/syllabus.toml"
NODES = 40  # of a syntax tree: a smaller one is told by the function's name as well
CODE = 100  # bytes: shorter byte code is the same in many functions

WORD = re.compile(r"[A-Za-z_]\w*|\d[\w.]*|[^\s\w]", re.ASCII)
SILENT = frozenset(",()[]{}'\"\\#`;")
COMMENT = re.compile(r"#[^\n]*")
IN_FRONT = re.compile(r"(?m)^[ \t]*(?:[#>+|*/%-]+[ \t]?)+")
PRINTABLE = re.compile(rb"[\t\n\r -~]{20,}")  # a run has twice as many characters
FENCED = re.compile(r"(?ms)^[ \t]*```[ \t]*\w*[^\n]*\n(.*?)^[ \t]*```")
KEPT = frozenset((*dir(builtins), "torch", "nn", "F", "math", "np", "self"))  # not renamed
SAID = {"annotation", "returns", "ctx", "type_comment", "kind", "type_ignores"}  # tells nothing
TELLING = {name for kind in vars(ast).values() for name in getattr(kind, "_fields", ())} - SAID

Run = tuple[str, ...]


@dataclass(frozen=True)
class Leak:
    """One place where something is that learners must not see."""

    file: str
    function: str  # "lesson 05: GPT.forward"
    how: str

    def __str__(self) -> str:
        return f"{self.file} holds {self.function} ({self.how})"


@dataclass
class Secrets:
    """What to look for."""

    runs: dict[int, dict[Run, str]] = field(default_factory=lambda: {RUN: {}, RUN_IN_HINTS: {}})
    trees: dict[str, str] = field(default_factory=dict)
    named_trees: dict[tuple[str, str], str] = field(default_factory=dict)
    shapes: set[Run] = field(default_factory=set)  # kinds of statements of the regions
    code: dict[bytes, str] = field(default_factory=dict)


def secrets_of(closed: Sequence[tuple[Lesson, str]], public: Iterable[str] = ()) -> Secrets:
    """Return what to look for: the regions of these lessons, given as (lesson, solution).

    public: texts that learners have anyway, such as the solutions of opened lessons.
    """
    secrets, given = Secrets(), list(public)
    for lesson, solution in closed:
        tree = ast.parse(solution)
        regions = find_regions(solution, tree, lesson)
        given.append(_without(solution, regions))
        for region in regions:
            _add_tree(secrets, lesson, region)
        _add_runs(secrets, lesson, solution, regions)
        _add_code(secrets, lesson, solution, {region.name for region in regions})
    for text in given:
        for length, runs in secrets.runs.items():
            for run in set(_runs(words(text), length)) & runs.keys():
                del runs[run]
    return secrets


def find_leaks(folder: Path, secrets: Secrets) -> list[Leak]:
    """Return every leak in a folder, one for each file and function."""
    return _search(_files(folder), secrets)


def find_leaks_among(files: Mapping[str, bytes], secrets: Secrets) -> list[Leak]:
    """Return every leak in files that are not written yet."""
    return _search(sorted(files.items()), secrets)


def find_leaks_in_history(repository: Path, secrets: Secrets) -> list[Leak]:
    """Return every leak in what git keeps of a folder, deleted files and messages included."""
    return _search(_objects(repository) if (repository / ".git").exists() else (), secrets)


def leaks_in(name: str, data: bytes, secrets: Secrets) -> Iterator[Leak]:
    """Yield what leaks in one file; the same function perhaps more than once."""
    if name.endswith((".pyc", ".pyo")) or data[2:4] == importlib.util.MAGIC_NUMBER[2:] == b"\r\n":
        yield Leak(name, "compiled code", "none belongs in a release")
    length = RUN_IN_HINTS if name == HINTS else RUN
    runs = secrets.runs[length]
    for how, content in unpacked(data):
        for code, function in secrets.code.items():
            if code in content:
                yield Leak(name, function, ", ".join(filter(None, ["byte code", how])))
        if b"\0" in content:
            content = b"\n".join(PRINTABLE.findall(content))
        text = content.decode("utf-8", "ignore")
        for variant in variants(text):
            found = words(variant)
            if not runs.keys().isdisjoint(_runs(found, length)):  # much sooner than one by one
                for run in runs.keys() & set(_runs(found, length)):
                    yield Leak(name, runs[run], how or "its text")
        for function in _known_functions(text, secrets):
            yield Leak(name, function, ", ".join(filter(None, ["its syntax tree", how])))


def _search(files: Iterable[tuple[str, bytes]], secrets: Secrets) -> list[Leak]:
    found: dict[tuple[str, str], Leak] = {}
    for name, data in files:
        for leak in leaks_in(name, data, secrets):
            found.setdefault((leak.file, leak.function), leak)
    return sorted(found.values(), key=lambda leak: (leak.file, leak.function))


def words(text: str) -> list[str]:
    """Return the words, numbers and operators of a text, less what does not count."""
    return [word for word in WORD.findall(COMMENT.sub("", text)) if word not in SILENT]


def variants(text: str) -> Iterator[str]:
    """Yield a text, and what it is without marks in front of its lines and with escapes undone."""
    yield text
    bare = IN_FRONT.sub("", text)
    if bare != text:
        yield bare
    if "\\n" in text:
        yield from variants(text.replace("\\n", "\n").replace("\\t", " ").replace('\\"', '"'))


def _runs(found: list[str], length: int) -> Iterator[Run]:
    return zip(*(found[first:] for first in range(length)), strict=False)


def _without(solution: str, regions: Sequence[Region]) -> str:
    """Return a solution without its regions, as learners have it."""
    lines = solution.split("\n")
    for region in reversed(regions):
        lines[region.first - 1 : region.last] = ["raise NotImplementedError"]
    return "\n".join(lines)


def _add_runs(secrets: Secrets, lesson: Lesson, solution: str, regions: Sequence[Region]) -> None:
    lines = solution.split("\n")
    for region in regions:
        function = f"lesson {lesson.number}: {region.name}"
        before = words("\n".join(lines[: region.first - 1]))
        inside = words("\n".join(lines[region.first : region.last - 1]))
        after = words("\n".join(lines[region.last :]))
        for length, runs in secrets.runs.items():
            missing = length - len(inside)
            if missing <= 0:
                around = [inside]
            else:  # from the words before it, and from those after it
                around = [before[-missing:] + inside, inside + after[:missing]]
            for found in around:
                runs.update(dict.fromkeys(_runs(found, length), function))


def _add_tree(secrets: Secrets, lesson: Lesson, region: Region) -> None:
    body = region.function.body[len(region.given) :]
    function, tree = f"lesson {lesson.number}: {region.name}", _fingerprint(body)
    secrets.shapes.add(_shape(body))
    secrets.named_trees[region.name, tree] = function
    if sum(1 for statement in body for _ in ast.walk(statement)) >= NODES:
        secrets.trees[tree] = function


def _known_functions(text: str, secrets: Secrets) -> Iterator[str]:
    """Yield the functions of a text, as far as it is Python, that end as a region does."""
    if "def " not in text:
        return
    for source in (text, *FENCED.findall(text)):
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for name, node in _functions(tree):
            for first in range(len(node.body)):
                body = node.body[first:]
                if _shape(body) in secrets.shapes:
                    tree = _fingerprint(body)
                    found = secrets.trees.get(tree) or secrets.named_trees.get((name, tree))
                    if found:
                        yield found


def _functions(
    node: ast.AST, prefix: str = ""
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield all functions, however deep, with their names: `GPT.forward`."""
    for child in ast.iter_child_nodes(node):
        name = getattr(child, "name", None)
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}{name}", child
        if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            yield from _functions(child, f"{prefix}{name}." if isinstance(name, str) else prefix)


def _shape(body: Sequence[ast.stmt]) -> Run:
    return tuple(type(statement).__name__ for statement in body)


def _fingerprint(body: Sequence[ast.stmt]) -> str:
    """Return what statements do, whatever their variables are called and however they are typed."""
    numbers: dict[str, str] = {}
    return _dumped(body, numbers)


def _dumped(node: Any, numbers: dict[str, str]) -> str:
    if isinstance(node, ast.Name | ast.arg):
        name = node.id if isinstance(node, ast.Name) else node.arg
        return name if name in KEPT else numbers.setdefault(name, f"_{len(numbers)}")
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        node = ast.Assign([node.target], node.value)
    if isinstance(node, ast.AST):
        parts = [
            _dumped(value, numbers) for name, value in ast.iter_fields(node) if name in TELLING
        ]
        return f"{type(node).__name__}({','.join(parts)})"
    if isinstance(node, list | tuple):
        return f"[{','.join(_dumped(each, numbers) for each in node)}]"
    return repr(node)


def _add_code(secrets: Secrets, lesson: Lesson, solution: str, names: set[str]) -> None:
    def walk(code: CodeType) -> Iterator[CodeType]:
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                yield constant
                yield from walk(constant)

    for code in walk(compile(solution, "solution", "exec", dont_inherit=True)):
        if code.co_qualname in names and len(code.co_code) >= CODE:
            secrets.code[code.co_code] = f"lesson {lesson.number}: {code.co_qualname}"


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file of a folder, and every object of the git repository that it is."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            yield name, str(path.readlink()).encode()
        elif path.is_file() and not name.startswith(".git/objects/"):
            yield name, path.read_bytes()
    if (folder / ".git").exists():
        yield from _objects(folder)


def _objects(folder: Path) -> Iterator[tuple[str, bytes]]:
    command = ["git", "-C", str(folder), "cat-file", "--batch-all-objects", "--batch"]
    try:
        done = subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise CourseError(f"{folder}/.git cannot be read, so it cannot be looked through") from None
    rest = done.stdout
    while rest:
        head, _, rest = rest.partition(b"\n")
        name, kind, size = head.decode().split()
        if kind != "tree":
            yield f".git, {kind} {name[:12]}", rest[: int(size)]
        rest = rest[int(size) + 1 :]

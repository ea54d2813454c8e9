"""What stands where in the learner's file, read without running it."""

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from .paths import shown

UNREADABLE = (OSError, SyntaxError, ValueError, RecursionError, MemoryError)


def place_of_step(file: Path, step: str) -> str:
    """Return where a step stands in a file: "lessons/03/attention.py:57", or the file's name."""
    try:
        body: Iterable[ast.stmt] = ast.parse(file.read_text(encoding="utf-8")).body
    except UNREADABLE:
        return shown(file)
    line = 0
    for name in step.split("."):
        found = next((node for node in body if getattr(node, "name", None) == name), None)
        if found is None:
            return shown(file)
        line, body = found.lineno, getattr(found, "body", [])
    return f"{shown(file)}:{line}"


def function_at(file: Path, place: str) -> str:
    """Return the function or method in which a place is, "GPT.forward"; empty where that is unclear.

    place: "lessons/03/attention.py:57", of this file or another one.
    """
    name, _, line = place.rpartition(":")
    if name != shown(file) or not re.fullmatch("[0-9]{1,9}", line):
        return ""
    try:
        body: Iterable[ast.stmt] = ast.parse(file.read_text(encoding="utf-8")).body
    except UNREADABLE:
        return ""
    around: list[str] = []
    while True:
        inside = [
            node
            for node in body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            and node.lineno <= int(line) <= (node.end_lineno or 0)
        ]
        if not inside:
            return ".".join(around)
        around.append(inside[0].name)
        body = inside[0].body if isinstance(inside[0], ast.ClassDef) else []


def is_used(other: str, file: Path, step: str, check: Callable[..., None]) -> bool:
    """Say whether a step, or its check, may call another step of the module: by its bare name."""
    name = other.rpartition(".")[2]
    if name in check.__code__.co_names:
        return True
    try:
        parts = reached(ast.parse(file.read_text(encoding="utf-8")), step)
    except UNREADABLE:
        return True
    return any(
        name in (getattr(node, "id", None), getattr(node, "attr", None))
        for part in parts
        for node in ast.walk(part)
    )


def reached(tree: ast.Module, step: str) -> list[ast.AST]:
    """Return a step's code, and what it names of the module's own: functions, classes, variables.

    Of a method's class these are the method, `__init__`, other methods that are called through
    `self`, and what is no method: the bases, say.
    Empty where the module does not make what the step is called.
    """
    own = made_in(tree.body)
    first, _, method = step.partition(".")
    waiting = list(own.get(first, []))
    methods: dict[str, list[ast.AST]] = {}
    if method:
        for node in waiting:
            methods |= made_in(node.body) if isinstance(node, ast.ClassDef) else {}
        waiting = [part for node in waiting for part in _parts_of_class(node, method)]
    found: list[ast.AST] = []
    while waiting:
        part = waiting.pop()
        found.append(part)
        for node in ast.walk(part):
            for other in [*own.get(_name(node), []), *methods.get(_own_attribute(node), [])]:
                if other not in found and other not in waiting:
                    waiting.append(other)
    return found


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _own_attribute(node: ast.AST) -> str:
    """Return "split" for `self.split`, "" for anything else."""
    of_self = isinstance(node, ast.Attribute) and _name(node.value) == "self"
    return node.attr if of_self else ""  # type: ignore[attr-defined]


def made_in(body: Sequence[ast.stmt]) -> dict[str, list[ast.AST]]:
    """Return, for each name that a module makes, where: also in its ifs, loops and `try`."""
    made: dict[str, list[ast.AST]] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            made.setdefault(node.name, []).append(node)
            continue
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            for part in ast.walk(node):
                if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                    made.setdefault(part.id, []).append(node)
        for part in _inner_bodies(node):
            for name, places in made_in(part).items():
                made.setdefault(name, []).extend(places)
    return made


def _inner_bodies(node: ast.stmt) -> Iterator[Sequence[ast.stmt]]:
    for field in ("body", "orelse", "finalbody"):
        yield getattr(node, field, [])
    for part in (*getattr(node, "handlers", []), *getattr(node, "cases", [])):
        yield part.body


def _parts_of_class(node: ast.AST, method: str) -> list[ast.AST]:
    if not isinstance(node, ast.ClassDef):
        return [node]  # made in another way: all of it
    others = {
        part
        for name, parts in made_in(node.body).items()
        for part in parts
        if isinstance(part, ast.FunctionDef) and name not in (method, "__init__")
    }
    heads = [*node.bases, *(keyword.value for keyword in node.keywords), *node.decorator_list]
    return [*heads, *(part for part in node.body if part not in others)]

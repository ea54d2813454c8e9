"""What stands where in the learner's file, read without running it."""

import ast
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

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
    if name != shown(file) or not line.isdigit():
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
    """Return a step's function, and those of the module's functions and classes that it names."""
    own: dict[str, Any] = {
        node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    first, _, method = step.partition(".")
    found: list[ast.AST] = []
    waiting: list[ast.AST] = [own[first]] if first in own else []
    if method and waiting:
        methods = {n.name: n for n in own[first].body if isinstance(n, ast.FunctionDef)}
        waiting = [methods[m] for m in (method, "__init__") if m in methods]
    while waiting:
        part = waiting.pop()
        found.append(part)
        for node in ast.walk(part):
            other = own.get(node.id) if isinstance(node, ast.Name) else None
            if other is not None and other not in found and other not in waiting:
                waiting.append(other)
    return found

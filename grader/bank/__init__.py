"""The bank: wrong implementations that the checks must catch, right ones that they must accept.

`NN/wrong.toml` holds wrong variants of lesson NN as small edits of its solution, `NN/right_*.py`
whole modules written another way. An edit that no longer finds its place fails by name.
"""

import ast
import tomllib
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

from lessons.engine.errors import CourseError

from ..judge.paths import ROOT
from ..stubs import find_regions, make_stub
from ..syllabus import Lesson

BANK = Path(__file__).parent
TEXTS = ("name", "step", "says", "ask", "look")


@dataclass(frozen=True)
class Variant:
    """A module that stands in for the learner's."""

    name: str
    source: str  # the text of the whole module
    step: str = ""  # of a wrong variant: where the mistake is made
    says: str = ""  # what the mistake is, one sentence
    ask: str = ""  # a question that leads to it
    look: str = ""  # where to look
    parts: tuple[str, ...] = ()  # of a pair: the names of its two mistakes


@dataclass(frozen=True)
class Edit:
    """One place of a solution, and what a mistake makes of it."""

    first: int  # where it begins and ends in the solution's text
    last: int
    new: str


def wrong_variants(lesson: Lesson) -> list[Variant]:
    """Return the wrong variants of a lesson. Raises CourseError, with the name of the bad one."""
    solution = solution_of(lesson)
    return [_variant(entry, edits, solution) for entry, edits in _read(lesson, solution)]


def wrong_pairs(lesson: Lesson) -> list[Variant]:
    """Return all pairs of mistakes in one step, as far as both can be made at once."""
    solution = solution_of(lesson)
    pairs = []
    for (a, edits_a), (b, edits_b) in combinations(_read(lesson, solution), 2):
        edits = sorted([*edits_a, *edits_b], key=lambda edit: edit.first)
        apart = all(x.last <= y.first for x, y in pairwise(edits))
        if a["step"] == b["step"] and apart:
            both = {key: f"{a[key]} And: {b[key]}" for key in ("says", "ask")}
            both["look"] = f"{a['look'].rstrip('.')}, and {b['look']}"
            entry = {**both, "step": a["step"], "name": f"{a['name']}+{b['name']}"}
            pairs.append(_variant(entry, edits, solution, (a["name"], b["name"])))
    return pairs


def right_variants(lesson: Lesson) -> list[Variant]:
    """Return the right variants of a lesson."""
    files = sorted((BANK / lesson.number).glob("right_*.py"))
    return [Variant(file.stem.removeprefix("right_"), file.read_text("utf-8")) for file in files]


def empty_variants(lesson: Lesson) -> list[Variant]:
    """Return the modules of somebody who has written nothing: they must get no points.

    The untouched stub, and the stub with every body replaced by `pass`, by `return None`, by
    `return 0`, and by returning the (first) argument.
    """
    stub = make_stub(solution_of(lesson), lesson)
    variants = [Variant("untouched", stub)]
    for name, body in {
        "pass": "pass",
        "none": "return None",
        "zero": "return 0",
        "zeros": "return ZEROS",
        "argument": "return ARGUMENT",
    }.items():
        variants.append(Variant(name, _fill(stub, body)))
    return variants


def solution_of(lesson: Lesson) -> str:
    """Return the text of a lesson's solution. Raises CourseError where it is withheld."""
    file = ROOT / "solutions" / f"{lesson.module}.py"
    if not file.is_file():
        raise CourseError(f"no solutions/{file.name}: the bank is made of edits of the solutions")
    return file.read_text(encoding="utf-8")


def _read(lesson: Lesson, solution: str) -> list[tuple[dict[str, Any], list[Edit]]]:
    file = BANK / lesson.number / "wrong.toml"
    where = f"grader/bank/{lesson.number}/wrong.toml"
    if not file.is_file():
        return []
    try:
        entries = tomllib.loads(file.read_text(encoding="utf-8")).get("wrong", [])
    except tomllib.TOMLDecodeError as error:
        raise CourseError(f"{where} is no valid TOML: {error}") from None
    regions = {r.name: r for r in find_regions(solution, ast.parse(solution), lesson)}
    lines = solution.splitlines(keepends=True)
    read, names = [], set()
    for entry in entries:
        name = f"{where}, {entry.get('name', '(no name)')}"
        for key in TEXTS:
            if not isinstance(entry.get(key), str) or not entry[key]:
                raise CourseError(f"{name}: no {key}")
        if entry["name"] in names:
            raise CourseError(f"{name}: the name stands there twice")
        names.add(entry["name"])
        if entry["step"] not in regions:
            raise CourseError(f"{name}: no step {entry['step']} in solutions/{lesson.module}.py")
        region = regions[entry["step"]]
        begin = sum(map(len, lines[: region.first]))
        end = begin + sum(map(len, lines[region.first : region.last - 1]))
        edits = entry.get("edits") or [{"old": entry.get("old", ""), "new": entry.get("new")}]
        read.append((entry, [_edit(e, solution, begin, end, name) for e in edits]))
    return read


def _edit(edit: dict[str, Any], solution: str, begin: int, end: int, name: str) -> Edit:
    old, new = edit.get("old"), edit.get("new")
    if not isinstance(old, str) or not old or not isinstance(new, str):
        raise CourseError(f"{name}: an edit needs old and new")
    times = solution.count(old, begin, end)
    if times != 1:
        raise CourseError(f"{name}: its text stands {times} times in that step, not once: {old!r}")
    first = solution.index(old, begin, end)
    return Edit(first, first + len(old), new)


def _variant(
    entry: dict[str, Any], edits: list[Edit], solution: str, parts: tuple[str, ...] = ()
) -> Variant:
    text = solution
    for edit in sorted(edits, key=lambda edit: edit.first, reverse=True):
        text = text[: edit.first] + edit.new + text[edit.last :]
    try:
        ast.parse(text)
    except SyntaxError as error:
        raise CourseError(f"{entry['name']}: not valid Python after its edit: {error}") from None
    return Variant(source=text, parts=parts, **{key: entry[key] for key in TEXTS})


def _fill(stub: str, body: str) -> str:
    """Return a stub whose raises are replaced by `body`."""
    lines = stub.split("\n")
    functions = [
        node
        for node in ast.walk(ast.parse(stub))
        if isinstance(node, ast.FunctionDef) and isinstance(node.body[-1], ast.Raise)
    ]
    for function in functions:
        last = function.body[-1]
        if "NotImplementedError" not in ast.unparse(last):
            continue
        names = [argument.arg for argument in function.args.args if argument.arg != "self"]
        argument = names[0] if names else "None"
        zeros = (
            f"__import__('torch').zeros_like({argument}) if hasattr({argument}, 'dtype') else []"
        )
        text = body.replace("ARGUMENT", argument).replace("ZEROS", zeros)
        lines[last.lineno - 1] = " " * last.col_offset + text
    return "\n".join(lines)

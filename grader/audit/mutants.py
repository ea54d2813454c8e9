"""Machine mutants: small changes of a solution by Cosmic Ray's operators, in the marked regions."""

import ast
import random
import tomllib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from ..bank import BANK, Variant, solution_of
from ..stubs import find_regions
from ..syllabus import Lesson

Some = TypeVar("Some")

# Operators that change what the learner writes; those with arguments of their own are left out.
LEFT_OUT = ("RemoveDecorator", "VariableReplacer", "VariableInserter")


@dataclass(frozen=True)
class Mutant:
    """One mutant, and the key by which its explanation is found."""

    variant: Variant
    step: str
    operator: str
    old: str  # the line as it was, and as it is
    new: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Function, operator and source text: line numbers change with every edit."""
        return (self.step, self.old, self.new)


def all_mutants(lesson: Lesson) -> list[Mutant]:
    """Return every mutant of a lesson's solution, without those that are the same text twice."""
    solution = solution_of(lesson)
    found: dict[str, Mutant] = {}
    for mutant in _mutants(solution, lesson):
        found.setdefault(mutant.variant.source, mutant)
    return list(found.values())


def sample(every: list[Some], count: int, seed: int = 0) -> list[Some]:
    """Return some of them, always the same ones."""
    if count >= len(every):
        return every
    return random.Random(seed).sample(every, count)


def explained(lesson: Lesson) -> dict[tuple[str, str, str], str]:
    """Return the survivors that are known to be right after all, and why."""
    file = BANK / lesson.number / "equivalent.toml"
    if not file.is_file():
        return {}
    entries = tomllib.loads(file.read_text(encoding="utf-8")).get("equivalent", [])
    return {(e["step"], e["old"], e["new"]): e["why"] for e in entries}


def _mutants(solution: str, lesson: Lesson) -> Iterator[Mutant]:
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.operators.provider import OperatorProvider

    regions = find_regions(solution, ast.parse(solution), lesson)
    provider = OperatorProvider()
    lines = solution.splitlines()
    parts = [(*part, get_ast(part[1])) for part in _parts(get_ast(solution))]
    for name in provider:
        if name in LEFT_OUT:
            continue
        operator = provider[name]()
        for before, part, after, tree in parts:
            first = before.count("\n")
            starts = [
                first + start[0]
                for node in ast_nodes(tree)
                for start, _ in operator.mutation_positions(node)
            ]
            for occurrence, line in enumerate(starts):
                region = next((r for r in regions if r.first < line < r.last), None)
                if region is None:
                    continue
                mutated = mutate_code(part, operator, occurrence)
                if mutated is None or mutated == part:
                    continue
                source = before + mutated + after
                if not _valid(source):
                    continue
                changed = source.splitlines()
                new = changed[line - 1].strip() if len(changed) == len(lines) else "(removed)"
                variant = Variant(f"{region.name}:{name}:{line}:{occurrence}", source, region.name)
                yield Mutant(variant, region.name, name, lines[line - 1].strip(), new)


def _parts(tree: Any) -> list[tuple[str, str, str]]:
    """Return (text before, text, text after) of each function, class and statement of a module.

    Cosmic Ray parses anew for every mutant, which takes a third of the time for one of these.
    """
    codes = [node.get_code() for node in tree.children]
    return [("".join(codes[:i]), code, "".join(codes[i + 1 :])) for i, code in enumerate(codes)]


def _valid(source: str) -> bool:
    try:
        with warnings.catch_warnings(action="ignore"):  # `x is 0` says a warning
            compile(source, "mutant", "exec")
    except (SyntaxError, ValueError):
        return False
    return True

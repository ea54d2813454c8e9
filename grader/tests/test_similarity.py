"""Similarity, measured on the bank: right solutions written apart are not alike, copies are.

Measured on lessons 00 to 10 and 14 (K = 12, WINDOW = 4): two right variants of a lesson, or one and the
solution, share at most 0.29 of their own fingerprints (624 pairs; a lesson's median is at most 0.08).
A copy with all its variables renamed, annotations, comments and docstrings gone, and the order of
functions reversed shares at least 0.90. ALIKE, 0.5, lies between. Here lessons 00, 03 and 08 are
measured again.
"""

import ast
from itertools import combinations

import pytest

from grader.bank import right_variants, solution_of
from grader.instructor.reports.class_pages import SHARED_APART, SHARED_COPIED
from grader.instructor.reports.similarity import ALIKE, compare, hashes, winnow
from grader.stub_store import read_stored
from grader.syllabus import find_lesson

LESSONS = ("00", "03", "08")  # 03 and 08 are the two in which right variants share most


class Renamed(ast.NodeTransformer):
    """Gives every variable another name, and takes annotations and docstrings away."""

    def __init__(self, tree: ast.AST) -> None:
        nodes = list(ast.walk(tree))
        self.names = {
            n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }
        self.names |= {n.arg for n in nodes if isinstance(n, ast.arg)} - {"self"}

    def visit_Name(self, node):
        node.id = f"my_{node.id}" if node.id in self.names else node.id
        return node

    def visit_arg(self, node):
        node.arg, node.annotation = f"my_{node.arg}" if node.arg in self.names else node.arg, None
        return node

    def visit_FunctionDef(self, node):
        self.generic_visit(node)
        if ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
        node.returns = None
        return node


def disguised(source: str) -> str:
    """Return a copy in which names are others, and functions stand in another order."""
    tree = ast.parse(source)
    tree = Renamed(tree).visit(tree)
    tree.body = tree.body[::-1]
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            node.body = node.body[::-1]
    return ast.unparse(tree)


def variants(number):
    lesson = find_lesson(number)
    found = {variant.name: variant.source for variant in right_variants(lesson)}
    return {**found, "solution": solution_of(lesson)}, read_stored()[number]


def share(first, second, stub):
    pairs = compare({"a": first, "b": second}, stub, least=0.0, fewest=1).pairs
    return pairs[0].share if pairs else 0.0


@pytest.mark.parametrize("number", LESSONS)
def test_right_solutions_written_apart_are_not_alike(number):
    sources, stub = variants(number)
    assert compare(sources, stub).pairs == []
    shares = [share(a, b, stub) for a, b in combinations(sources.values(), 2)]
    assert max(shares) <= SHARED_APART / 100 + 0.01 < ALIKE


@pytest.mark.parametrize("number", LESSONS)
def test_copies_with_other_names_and_moved_functions_are_found(number):
    sources, stub = variants(number)
    for name, source in sources.items():
        copy = disguised(source)
        assert copy != source
        assert share(source, copy, stub) >= SHARED_COPIED / 100, name
    name, source = next(iter(sources.items()))
    pairs = compare({**sources, "copy": disguised(source)}, stub).pairs
    assert [(pair.first, pair.second, pair.same_file) for pair in pairs] == [
        (*sorted(("copy", name)), False)
    ]
    assert pairs[0].places


def test_one_function_taken_over_is_not_enough_and_says_nothing_about_the_rest():
    sources, stub = variants("03")
    names = list(sources)
    mixed = ast.parse(sources[names[0]])
    other = ast.parse(sources[names[1]])
    taken = {node.name: node for node in other.body if isinstance(node, ast.FunctionDef)}
    mixed.body = [
        taken[node.name] if getattr(node, "name", "") == "causal_mask" else node
        for node in mixed.body
    ]
    assert 0 < share(ast.unparse(mixed), sources[names[1]], stub) < ALIKE


def test_the_stub_is_nobodys_own():
    sources, stub = variants("03")
    found = compare({"a": stub, "b": stub, "c": next(iter(sources.values()))}, stub)
    assert found.pairs == []


def test_the_same_file_is_said_to_be_the_same():
    source = next(iter(variants("03")[0].values()))
    (pair,) = compare({"a": source, "b": source}).pairs
    assert (pair.same_file, pair.percent) == (True, 100)


def test_what_many_have_written_is_no_sign_of_anything():
    """Thirty with the solution that goes round, each changed a little: no 435 pairs, but a word on it."""
    sources, stub = variants("03")
    solution = sources["solution"]
    crowd = {f"s{i:02}": f"{solution}\n# {i}\n" for i in range(30)}
    own = [text for name, text in sources.items() if name != "solution"][:2]
    found = compare({**crowd, "own": own[0], "copy": disguised(own[0]), "apart": own[1]}, stub)
    assert [(pair.first, pair.second) for pair in found.pairs] == [("copy", "own")]
    assert found.common == sorted(crowd)


def test_anything_may_be_handed_in():
    odd = [
        "",
        "def (",
        "\0",
        "x" * 100_000,
        "a = " + "(" * 500 + ")" * 500,
        "é = 1\ndef f():\n pass",
    ]
    odd.append("def f():\n    return " + "-" * 3000 + "1")
    assert compare({str(i): text for i, text in enumerate(odd)}).pairs == []


def test_winnowing_finds_whatever_is_long_enough():
    """Of every K + WINDOW - 1 tokens that two texts share, at least one hash is kept in both."""
    shared = [f"t{i}" for i in range(15)]
    first, second = [*"abcdefgh" * 3, *shared, *"ijk"], [*"zyx" * 7, *shared, *"wvutsr" * 3]
    assert winnow(hashes(first)) & winnow(hashes(second))
    assert not winnow(hashes([*"abcdefgh" * 3])) & winnow(hashes([*"zyx" * 9]))

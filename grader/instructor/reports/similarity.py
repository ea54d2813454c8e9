"""Pairs of submissions that are alike beyond what the stub explains: a list to look at.

Winnowing: Schleimer, Wilkerson and Aiken, "Winnowing: Local Algorithms for Document Fingerprinting"
(SIGMOD 2003), as in MOSS, over syntax trees as in Dolos (Maertens et al., "Dolos: Language-agnostic
plagiarism detection in source code", JCAL 2022). A module becomes a row of tokens in which names
that its author chose, comments, docstrings, annotations and formatting leave no trace; of every run
of K tokens a hash is taken, and of every WINDOW hashes the smallest is kept. Whatever two modules
share in K + WINDOW - 1 tokens is found, wherever it was moved to. What stands in the stub does not
count, and neither does what many have written (MOSS's option -m, with the same 10).

Why not copydetect, the package: its fingerprints come from Python's `hash`, so its percentages
change from run to run, and it forgets the names of library functions, which leaves 0.17 to two
right solutions of lesson 00 where this finds 0.07.
"""

import ast
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

K = 12  # tokens: about one line of code
WINDOW = 4
ALIKE = 0.5  # of the smaller one's own fingerprints; how far from what was measured: see the tests
FEWEST = 20  # fingerprints; with fewer of its own, a module is too short to say anything
COMMON, COMMON_SHARE = 10, 0.2  # shared by more than both, it is what the lesson asks for
BASE, MODULUS = 1_000_003, (1 << 61) - 1
SKIPPED_FIELDS = ("annotation", "returns", "ctx", "type_params")

NAME, FIELD = "\0", "\1"  # before what may have been named by the author
Fingerprints = dict[int, str]  # hash -> the function in which it first stands


@dataclass(frozen=True)
class Pair:
    """Two submissions that are alike."""

    first: str
    second: str
    share: float  # of the smaller one's own fingerprints that the other has too
    same_file: bool  # byte for byte
    places: tuple[str, ...]  # functions of `first` in which most of it stands

    @property
    def percent(self) -> int:
        """The share, as it is shown."""
        return int(100 * self.share)


@dataclass(frozen=True)
class Comparison:
    """What the submissions of one lesson have in common."""

    pairs: list[Pair]
    common: list[str]  # students whose modules hold little but what many others have written too


def compare(
    sources: Mapping[str, str], stub: str = "", least: float = ALIKE, fewest: int = FEWEST
) -> Comparison:
    """Return what is alike. sources: student -> their module; stub: what all began with."""
    beyond = without_stub(sources, stub)
    own = without_common(beyond, sources)
    students = [name for name in sorted(own) if len(own[name]) >= fewest]
    pairs = []
    for place, first in enumerate(students):
        mine = own[first].keys()
        for second in students[place + 1 :]:
            theirs = own[second].keys()
            smaller, shared = min(len(mine), len(theirs)), mine & theirs
            if len(shared) >= least * smaller:
                same, places = sources[first] == sources[second], most_in(own[first], shared)
                pairs.append(Pair(first, second, len(shared) / smaller, same, places))
    common = [
        name for name in sorted(own) if len(own[name]) < fewest <= len(beyond[name]) * (1 - least)
    ]
    pairs.sort(key=lambda pair: (-pair.share, pair.first, pair.second))
    return Comparison(pairs, common)


def without_stub(sources: Mapping[str, str], stub: str) -> dict[str, Fingerprints]:
    """Return each student's fingerprints, as far as the stub does not have them."""
    given = set(all_hashes(stub)) if stub else set()
    return {
        student: {h: place for h, place in fingerprints(text).items() if h not in given}
        for student, text in sources.items()
    }


def without_common(
    known: Mapping[str, Fingerprints], sources: Mapping[str, str]
) -> dict[str, Fingerprints]:
    """Return each student's fingerprints, as far as not many different modules have them."""
    different = {text: known[student] for student, text in sources.items()}
    count = Counter(h for prints in different.values() for h in prints)
    most = max(COMMON, COMMON_SHARE * len(different))
    return {
        student: {h: place for h, place in prints.items() if count[h] <= most}
        for student, prints in known.items()
    }


def most_in(prints: Fingerprints, shared: Iterable[int]) -> tuple[str, ...]:
    """Return the functions that hold most of what is shared, the fullest first."""
    count = Counter(prints[h] for h in shared)
    return tuple(name for name, _ in count.most_common(4))


@lru_cache(maxsize=4096)  # many have handed in the untouched stub
def fingerprints(source: str) -> Fingerprints:
    """Return the winnowed hashes of a module, each with the function where it first stands."""
    kept: Fingerprints = {}
    for name, tokens in units(source):
        for value in winnow(hashes(tokens)):
            kept.setdefault(value, name)
    return kept


def all_hashes(source: str) -> Iterator[int]:
    """Yield every hash of a module: what is given is given, wherever a window would begin."""
    for _, tokens in units(source):
        yield from hashes(tokens)


def hashes(tokens: Sequence[str]) -> list[int]:
    """Return the hash of every run of K tokens (Karp and Rabin's, which rolls)."""
    numbers = [1 + zlib.crc32(token.encode()) for token in tokens]  # not `hash`: it changes
    if len(numbers) < K:
        return []
    leading = pow(BASE, K - 1, MODULUS)
    value = 0
    for number in numbers[:K]:
        value = (value * BASE + number) % MODULUS
    found = [value]
    for gone, number in zip(numbers, numbers[K:], strict=False):
        value = ((value - gone * leading) * BASE + number) % MODULUS
        found.append(value)
    return found


def winnow(values: Sequence[int]) -> set[int]:
    """Return the smallest hash of every window; of equal ones it does not matter which."""
    if len(values) <= WINDOW:
        return {min(values)} if values else set()
    return {min(values[place : place + WINDOW]) for place in range(len(values) - WINDOW + 1)}


def units(source: str) -> list[tuple[str, list[str]]]:
    """Return the tokens of every function of a module, with its name.

    What is no valid Python has none: it passes no check either. What stands outside of functions is
    left out: imports, fields, constants.
    """
    reader = TokenReader()
    try:
        tree = ast.parse(source)
        found = [(name, reader.read(function)) for name, function in functions(tree)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return [(name, reader.without_names(tokens)) for name, tokens in found]


def functions(
    tree: ast.AST, inside: str = ""
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield the functions and methods of a module; those within a function are part of it."""
    for node in getattr(tree, "body", []):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield inside + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from functions(node, f"{inside}{node.name}.")


class TokenReader:
    """Makes tokens of functions: kinds of nodes, and the names of a library's parts.

    Names that the author has chosen are one and the same token, wherever in the module they are.
    """

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.chosen: set[str] = set()  # marked names

    def read(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
        """Return the tokens of a function; names are marked, see `without_names`."""
        self.tokens = []
        self.chosen |= {NAME + function.name, FIELD + function.name}
        self.visit(function.args, quiet=True)  # their names; how they are written is given
        self.statements(function.body)
        return self.tokens

    def without_names(self, tokens: Sequence[str]) -> list[str]:
        """Return tokens in which chosen names leave no trace."""
        chosen = self.chosen
        return ["chosen" if token in chosen else token for token in tokens]

    def statements(self, body: Sequence[ast.stmt]) -> None:
        """Take in statements, but for docstrings and `pass`."""
        for statement in body:
            is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
            if not (is_text or isinstance(statement, ast.Pass)):
                self.visit(statement)

    def visit(self, node: ast.AST, quiet: bool = False) -> None:
        """Take in one node and what it holds, in the order of the text."""
        kind, tokens = type(node), self.tokens
        if kind is ast.Constant:
            value = node.value  # type: ignore[attr-defined]
            tokens.append("text" if isinstance(value, str) else repr(value))
            return
        if kind is ast.Name:
            if isinstance(node.ctx, ast.Store):  # type: ignore[attr-defined]
                self.chosen.add(NAME + node.id)  # type: ignore[attr-defined]
            tokens.append(NAME + node.id)  # type: ignore[attr-defined]
            return
        if kind is ast.arg:
            self.chosen.add(NAME + node.arg)  # type: ignore[attr-defined]
            return
        if kind is ast.AnnAssign and node.value is None:  # type: ignore[attr-defined]
            return
        if not quiet:
            tokens.append("Assign" if kind is ast.AnnAssign else kind.__name__)
        if kind is ast.Attribute:
            if isinstance(node.ctx, ast.Store):  # type: ignore[attr-defined]
                self.chosen.add(FIELD + node.attr)  # type: ignore[attr-defined]
            tokens.append(FIELD + node.attr)  # type: ignore[attr-defined]
        elif kind is ast.keyword and node.arg:  # type: ignore[attr-defined]
            tokens.append(node.arg)  # type: ignore[attr-defined]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self.chosen.add(NAME + node.name)
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, ast.AST):
                if name not in SKIPPED_FIELDS:
                    self.visit(value)
            elif isinstance(value, list) and name not in SKIPPED_FIELDS:
                if value and isinstance(value[0], ast.stmt):
                    self.statements(value)
                    tokens.append("end")
                else:
                    for item in value:
                        if isinstance(item, ast.AST):
                            self.visit(item)

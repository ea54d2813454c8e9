"""Written questions: `written/NN.toml`, one table per question, with rubric and sample answers.

    [[question]]
    name = "first-loss"                  # stays the same for good: marks hang on it
    kind = "predict"                     # or "explain", "compare"
    ask = "A fresh model knows {vocab} tokens. ..."
    rubric = [{ points = 2, says = "..." }, { points = 1, says = "..." }]
    samples = { full = "...", half = "...", none = "..." }
    draws = { vocab = [500, 1000, 2000] }           # everybody gets one of them
    worked = { loss = "round(log(vocab), 2)" }      # what follows from it, for rubric and samples

Everybody gets the same notebook. What is a learner's own follows from their id: a cell in the
notebook prints the question with their numbers, and the copy that a grader reads has the numbers of
whoever handed it in, with the right answer. An answer that was passed on answers another question.
"""

import hashlib
import math
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lessons.engine.errors import CourseError

from ...judge.paths import shown
from ...syllabus import Lesson

FOLDER = Path(__file__).with_name("questions")
KINDS = ("explain", "predict", "compare")
LEVELS = ("full", "half", "none")
STUB = "*Your answer:*"  # where an answer is to be written
FIELDS = {"name", "kind", "ask", "rubric", "samples", "draws", "worked"}
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
PLACE = re.compile(r"\{(\w+)\}")
ARITHMETIC = {
    **{
        name: getattr(math, name) for name in ("exp", "log", "log2", "sqrt", "ceil", "floor", "cos")
    },
    **{"pi": math.pi, "round": round, "min": min, "max": max, "sum": sum, "abs": abs, "len": len},
    **{"sorted": sorted, "range": range, "str": str, "int": int, "__builtins__": {}},
}


@dataclass(frozen=True)
class Criterion:
    """What an answer must say, and what that is worth."""

    points: int
    says: str


@dataclass(frozen=True)
class Question:
    """One written question."""

    name: str
    kind: str
    ask: str
    rubric: tuple[Criterion, ...]
    samples: dict[str, str]  # "full", "half", "none" -> an answer of that level
    draws: dict[str, list[Any]] = field(default_factory=dict)
    worked: dict[str, str] = field(default_factory=dict)

    @property
    def points(self) -> int:
        """What a full answer is worth."""
        return sum(criterion.points for criterion in self.rubric)


# This function, and `plain`, also stand in the learner's notebook, word for word.
def own_values(place: str, who: str, draws: dict) -> dict:
    """Return which of the possible values belong to somebody. place: course, lesson and question."""
    drawn = {}
    for name, values in draws.items():
        lot = hashlib.sha256(f"{place}/{name}/{who}".encode()).digest()
        drawn[name] = values[int.from_bytes(lot[:8], "big") % len(values)]
    return drawn


def values_of(question: Question, lesson: Lesson, course: str, student: str) -> dict[str, Any]:
    """Return everything that stands in braces in a question, for one student."""
    place = f"{course}/{lesson.number}/{question.name}"
    return worked_out(question, own_values(place, student, question.draws))


def worked_out(question: Question, drawn: dict[str, Any]) -> dict[str, Any]:
    """Return what was drawn, and what follows from it, each from those above it."""
    values = dict(drawn)
    for name, formula in question.worked.items():
        values[name] = eval(formula, {**ARITHMETIC, **values})  # ours, or the instructor's own
    return values


def filled(text: str, values: dict[str, Any]) -> str:
    """Return a text with values in place of the names in braces."""
    return PLACE.sub(lambda found: plain(values.get(found[1], found[0])), text)


def plain(value: object) -> str:
    """Return how a value is written in a text."""
    if isinstance(value, float):
        return f"{value:.8f}".rstrip("0").rstrip(".") if abs(value) < 1 else f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    return f"{value:,}" if isinstance(value, int) and abs(value) > 9999 else str(value)


def read_written(lesson: Lesson, own: Path | None = None) -> list[Question]:
    """Return the written questions of a lesson. Raises CourseError for a file that is not right.

    own: the instructor's folder of questions; a file there takes the place of ours.
    """
    homes = [home for home in (own, FOLDER) if home]
    paths = [home / f"{lesson.number}.toml" for home in homes]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        return []
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("question", [])
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CourseError(f"{shown(path)} cannot be read: {error}") from None
    questions = [_question(table, path) for table in tables]
    names = [question.name for question in questions]
    if len(set(names)) < len(names):
        raise CourseError(f"{shown(path)}: two questions have the same name")
    return questions


def _question(table: dict[str, Any], path: Path) -> Question:
    """Return one question, looked at closely enough that every learner's copy of it can be made."""
    name = table.get("name", "")
    try:
        if unknown := set(table) - FIELDS:
            raise ValueError(f"{', '.join(sorted(unknown))} is no field of a question")
        if missing := FIELDS - {"draws", "worked"} - set(table):
            raise ValueError(f"{', '.join(sorted(missing))} is missing")
        if not NAME.fullmatch(name):
            raise ValueError("a name has small letters, digits and single dashes")
        if table["kind"] not in KINDS:
            raise ValueError(f"kind is one of {', '.join(KINDS)}")
        if set(table["samples"]) != set(LEVELS):
            raise ValueError(f"samples are {', '.join(LEVELS)}")
        rubric = tuple(Criterion(**criterion) for criterion in table["rubric"])
        if not rubric or any(c.points < 1 for c in rubric):
            raise ValueError("every criterion of a rubric has at least one point")
        question = Question(**{**table, "rubric": rubric})
        _try_all(question)
    except (ValueError, TypeError, NameError, ArithmeticError, SyntaxError) as error:
        raise CourseError(f"{shown(path)}, question {name!r}: {error}") from None
    return question


def _try_all(question: Question) -> None:
    """Work the question out for each drawn value. Raises where that fails, or a name is unknown."""
    texts = [question.ask, *(c.says for c in question.rubric), *question.samples.values()]
    names = {name for text in texts for name in PLACE.findall(text)}
    if unknown := names - question.draws.keys() - question.worked.keys():
        raise ValueError(f"{{{unknown.pop()}}} is neither drawn nor worked out")
    if asked := set(PLACE.findall(question.ask)) & question.worked.keys():
        raise ValueError(f"{{{asked.pop()}}} is worked out: only graders may see it")
    if any(len(values) < 2 for values in question.draws.values()):
        raise ValueError("what is drawn needs two values or more")
    most = max((len(values) for values in question.draws.values()), default=1)
    for turn in range(most):
        drawn = {name: values[turn % len(values)] for name, values in question.draws.items()}
        worked_out(question, drawn)


def criteria_text(question: Question, values: dict[str, Any]) -> str:
    """Return the rubric, which a learner sees in the feedback."""
    lines = [f"- {_worth(c.points)}: {filled(c.says, values)}" for c in question.rubric]
    return "\n".join([f"**What counts** ({_worth(question.points)})", "", *lines])


def samples_text(question: Question, values: dict[str, Any]) -> str:
    """Return the sample answers, which only graders see."""
    heads = {"full": _worth(question.points), "half": "about half", "none": "no points"}
    parts = [f"*{heads[level]}:* {filled(question.samples[level], values)}" for level in LEVELS]
    return "\n\n".join(["**Sample answers** (for graders only)", *parts])


def _worth(points: int) -> str:
    return f"{points} point{'' if points == 1 else 's'}"


def as_page(lesson: Lesson, questions: list[Question]) -> str:
    """Return all questions of a lesson for graders, as Markdown, with the names in braces."""
    parts = [f"# Lesson {lesson.number}, {lesson.title}: written answers\n"]
    for question in questions:
        parts.append(f"## {question.name} ({question.kind}, {_worth(question.points)})\n")
        parts.append(f"{question.ask.strip()}\n")
        parts += [f"{criteria_text(question, {})}\n", f"{samples_text(question, {})}\n"]
        for name, values in question.draws.items():
            parts.append(f"- `{{{name}}}` is drawn: {plain(values)}")
        parts += [f"- `{{{name}}}` = `{formula}`" for name, formula in question.worked.items()]
        parts.append("")
    return "\n".join(parts)

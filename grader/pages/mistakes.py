"""Common mistakes of a lesson, from the bank's sentences: the question first, folded beneath it what
it is."""

import textwrap
from pathlib import Path

from lessons.engine.errors import CourseError

from ..bank import Variant, wrong_variants
from ..syllabus import find_lesson


def by_step(arguments: list[str], folder: Path) -> str:
    """Return the mistakes of one lesson, a fold for each step. arguments: the lesson's number."""
    if len(arguments) != 1:
        raise CourseError("mistakes takes one lesson: <!-- generated: mistakes 03 -->")
    lesson = find_lesson(arguments[0])
    wrong = wrong_variants(lesson)
    parts = []
    for step in lesson.steps:
        mistakes = told_once([variant for variant in wrong if variant.step == step.name])
        if mistakes:
            parts.append(fold(f"`{step.name}`: {_how_many(len(mistakes))}", _list(mistakes)))
    return "\n\n".join(parts)


def told_once(mistakes: list[Variant]) -> list[Variant]:
    """Leave out variants that say what another one has said."""
    return list({variant.says: variant for variant in reversed(mistakes)}.values())[::-1]


def fold(title: str, text: str) -> str:
    """Return a closed fold (`???`) around Markdown."""
    title = title.replace("\\", "\\\\").replace('"', '\\"')
    return f'??? question "{title}"\n\n{textwrap.indent(text, "    ")}'


def _list(mistakes: list[Variant]) -> str:
    return "\n\n".join(
        f"**{variant.ask}**\n:   {variant.says} *Where to look:* {_sentence(variant.look)}"
        for variant in mistakes
    )


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _how_many(count: int) -> str:
    return "a question to ask your code" if count == 1 else f"{count} questions to ask your code"

"""Finds the generated regions of pages and fills them."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from lessons.engine.errors import CourseError

from ..judge.paths import ROOT
from . import (
    audited,
    command_lines,
    mistakes,
    notebooks,
    presets,
    promises,
    reference,
    storyteller,
    syllabus,
    weights,
    words,
)

Maker = Callable[[list[str], Path], str]  # arguments, and the folder that links start from

MAKERS: dict[str, Maker] = {
    "audit": audited.table,
    "command-line": command_lines.options,
    "commands": promises.commands,
    "calls": promises.calls,
    "lessons": syllabus.lessons,
    "mistakes": mistakes.by_step,
    "modules": reference.modules,
    "notebook": notebooks.of_lesson,
    "notebooks": notebooks.every,
    "presets": presets.table,
    "recipes": presets.recipes,
    "reference": reference.module,
    "steps": syllabus.steps,
    "stories": storyteller.stories,
    "storyteller": storyteller.result,
    "weights": weights.table,
    "words": words.of_lesson,
}
REGION = re.compile(
    r"(?P<open>^<!-- generated: (?P<kind>[\w-]+)(?P<arguments>[^\n]*?) -->\n)(?P<text>.*?)"
    r"(?P<close>^<!-- end -->$)",
    re.MULTILINE | re.DOTALL,
)


def pages(root: Path = ROOT) -> list[Path]:
    """Return the files that may hold regions: every page of the site, and the README."""
    return [*sorted((root / "site").rglob("*.md")), root / "README.md"]


def fill(text: str, page: Path) -> tuple[str, list[str]]:
    """Return a page's text with its regions filled, and the names of those that were not.

    Raises CourseError for a kind that does not exist and for a region without an end.
    """
    changed = []

    def replace(found: re.Match[str]) -> str:
        kind, arguments = found["kind"], found["arguments"].split()
        if kind not in MAKERS:
            kinds = ", ".join(sorted(MAKERS))
            raise CourseError(f"{page.name}: nothing generates {kind!r}; there are: {kinds}")
        if found["text"].count("<!-- generated:"):
            raise CourseError(f"{page.name}: the region {kind} has no <!-- end -->")
        made = MAKERS[kind](arguments, page.parent).strip("\n")
        fresh = f"\n{made}\n\n"
        if found["text"] != fresh:
            changed.append(" ".join([kind, *arguments]))
        return found["open"] + fresh + found["close"]

    filled = REGION.sub(replace, text)
    if len(re.findall(r"^<!-- generated: ", text, re.MULTILINE)) != len(REGION.findall(text)):
        raise CourseError(f"{page.name}: a generated region has no <!-- end -->")
    return filled, changed


def filled_pages(root: Path = ROOT) -> Iterator[tuple[Path, str, list[str]]]:
    """Yield every page that holds regions: its path, its text filled, and what had to be changed."""
    for page in pages(root):
        text = page.read_text(encoding="utf-8")
        if "<!-- generated: " in text:
            yield page, *fill(text, page)

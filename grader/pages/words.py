"""The new words of a lesson: links to where the glossary explains them."""

import re
from pathlib import Path

from lessons.engine.errors import CourseError

from ..judge.paths import ROOT
from .writing import link

GLOSSARY = ROOT / "site" / "glossary.md"
ENTRY = re.compile(
    r'^<span id="(?P<anchor>[\w-]+)">(?P<term>[^<]+)</span>\n(?P<text>.*?)(?=^<span |^## |\Z)',
    re.MULTILINE | re.DOTALL,
)
LESSON = re.compile(r"\]\(lessons/(\d\d)\.md\)\s*\Z")  # the lesson with which an entry ends


def of_lesson(arguments: list[str], folder: Path) -> str:
    """Return a line of links, one for each word that comes first in a lesson.

    arguments: the lesson's number.
    """
    if len(arguments) != 1:
        raise CourseError("words takes one lesson: <!-- generated: words 03 -->")
    found = [
        link(entry["term"].replace("|", "\\|"), Path(f"{GLOSSARY}#{entry['anchor']}"), folder)
        for entry in ENTRY.finditer(GLOSSARY.read_text(encoding="utf-8"))
        if (lesson := LESSON.search(entry["text"])) and lesson[1] == arguments[0]
    ]
    if not found:
        raise CourseError(f"site/glossary.md explains no word of lesson {arguments[0]}")
    return f"**New words**: {' · '.join(found)}"

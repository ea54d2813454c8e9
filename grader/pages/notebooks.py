"""Where the notebooks are, and where they open: Colab and Codespaces, once the course has an address."""

from pathlib import Path

from lessons.engine.errors import CourseError

from ..instructor.notebooks import CAPSTONE, FOLDER, badges, codespace, colab, file_name, repository
from ..judge.paths import ROOT
from ..syllabus import find_lesson, read_syllabus
from .writing import link

COPIES = ROOT / "site" / "notebooks"  # made by `make site`, so that the pages can hand them out


def of_lesson(arguments: list[str], folder: Path) -> str:
    """Return a line that leads to a lesson's notebook. arguments: the lesson's number."""
    if len(arguments) != 1:
        raise CourseError("notebook takes one lesson: <!-- generated: notebook 03 -->")
    name = file_name(find_lesson(arguments[0]))
    opened = badges(name, repository())
    line = f"**As a notebook**: {link(f'`{FOLDER}/{name}`', COPIES / name, folder)}"
    return f"{line} · {opened}" if opened else line


def every(arguments: list[str], folder: Path) -> str:
    """Return links to all notebooks; the capstone's training on a 16 GB T4 is the last."""
    address = repository()
    names = {lesson.number: file_name(lesson) for lesson in read_syllabus()} | {"T4": CAPSTONE}
    rows = {"Notebooks": [link(n, ROOT / FOLDER / name, folder) for n, name in names.items()]}
    if colab(CAPSTONE, address):
        rows["In Colab"] = [f"[{n}]({colab(name, address)})" for n, name in names.items()]
        rows["All of them"] = [f"[in Codespaces]({codespace(address)})"]
    return "\n\n".join(f"{title}: {' · '.join(links)}" for title, links in rows.items())

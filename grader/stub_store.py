"""The stubs as they travel with the course: `grader/answers/stubs.json`, for where no solution is.

One line of compressed text per lesson. `python -m grader stubs` writes it, `--check` compares it.
"""

import base64
import binascii
import json
import zlib
from pathlib import Path

from lessons.engine.errors import CourseError
from lessons.engine.files import read_json, write_atomically

from .stubs import ROOT, make_stub
from .syllabus import Lesson

FILE = ROOT / "grader" / "answers" / "stubs.json"
REPAIR = "`git checkout grader/answers/stubs.json` brings it back"


def stub_of(lesson: Lesson) -> str:
    """Return a lesson's stub: made from its solution, or as stored where that is withheld."""
    solution = ROOT / "solutions" / f"{lesson.module}.py"
    if solution.is_file():
        try:
            return make_stub(solution.read_text(encoding="utf-8"), lesson)
        except CourseError:  # somebody has changed the solution, or ruff is not installed
            pass
    stored = read_stored()
    if lesson.number not in stored:
        raise CourseError(f"the stub of lesson {lesson.number} is not here; {REPAIR}")
    return stored[lesson.number]


def read_stored() -> dict[str, str]:
    """Return lesson -> stub. Raises CourseError where the file is missing or damaged."""
    packed = read_json(FILE) if FILE.is_file() else None
    if packed is None:
        raise CourseError(f"no grader/answers/stubs.json, which holds the stubs; {REPAIR}")
    try:
        return {number: _unpack(text) for number, text in packed.items()}
    except (AttributeError, TypeError, ValueError, binascii.Error, zlib.error):
        raise CourseError(f"grader/answers/stubs.json is damaged; {REPAIR}") from None


def is_stored(stubs: dict[Path, str]) -> bool:
    """Say whether the stored stubs are these."""
    try:
        return read_stored() == _by_lesson(stubs)
    except CourseError:
        return False


def store(stubs: dict[Path, str]) -> None:
    """Write the stubs."""
    with write_atomically(FILE) as file:
        file.write(packed(_by_lesson(stubs)))


def packed(stubs: dict[str, str]) -> str:
    """Return the text of the file that holds these stubs, by lesson."""
    texts = {
        number: base64.b64encode(zlib.compress(text.encode("utf-8"), 9)).decode("ascii")
        for number, text in stubs.items()
    }
    return json.dumps(texts, indent=1) + "\n"


def _by_lesson(stubs: dict[Path, str]) -> dict[str, str]:
    return {path.parent.name: text for path, text in stubs.items()}


def _unpack(text: str) -> str:
    return zlib.decompress(base64.b64decode(text, validate=True)).decode("utf-8")

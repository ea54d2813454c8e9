"""Which files stand behind `lessons.bigram`, `lessons.attention`, ... while a lesson is judged.

Every way of judging is a list of folders. The first one holds the module that is judged; the rest
is where its imports are found.
"""

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import lessons

from ..syllabus import Lesson

ROOT = Path(__file__).resolve().parents[2]

# Modules that hold no reference to a lesson's module, and that the judge itself uses.
KEPT = (
    "lessons.engine",
    "lessons.engine.errors",
    "lessons.engine.files",
    "lessons.engine.vocabulary",
    "lessons.engine.weight_files",
    "lessons.engine.network",
)


def judged_path(number: str, mine: bool = False, home: Path | None = None) -> list[Path]:
    """Return the folders for judging lesson `number`.

    mine: take the learner's own earlier lessons instead of the reference. Where a reference is
    withheld (no `solutions/`, or not all of it), the learner's module takes its place anyway.
    home: the folder of the module that is judged, if it is not the lesson's own.
    """
    own = home or ROOT / "lessons" / number
    others = sorted(p for p in (ROOT / "lessons").glob("[0-9][0-9]") if p.is_dir() and p != own)
    reference = [] if mine else [ROOT / "solutions"]
    return [own, *reference, ROOT / "lessons", *others]


def needed_lessons(lesson: Lesson, every: Sequence[Lesson]) -> list[Lesson]:
    """Return the lessons that a lesson needs, and those that they need, in order."""
    by_number = {other.number: other for other in every}
    needed, waiting = set(), list(lesson.needs)
    while waiting:
        number = waiting.pop()
        if number not in needed:
            needed.add(number)
            waiting += by_number[number].needs
    return [other for other in every if other.number in needed]


def own_lessons(lesson: Lesson, every: Sequence[Lesson], mine: bool = False) -> list[str]:
    """Return the earlier lessons of which the learner's own modules serve in judging `lesson`."""
    return [other.number for other in own_among(needed_lessons(lesson, every), lesson, mine)]


def own_among(others: Iterable[Lesson], lesson: Lesson, mine: bool = False) -> list[Lesson]:
    """Return those of other lessons of which the learner's own modules serve in judging `lesson`."""
    folders = judged_path(lesson.number, mine)[1:]
    own = []
    for other in others:
        homes = [folder for folder in folders if (folder / f"{other.module}.py").is_file()]
        if homes[:1] == [ROOT / "lessons" / other.number]:
            own.append(other)
    return own


def file_of(lesson: Lesson) -> Path:
    """Return the file that the learner writes."""
    return ROOT / "lessons" / lesson.number / f"{lesson.module}.py"


def take_path(folders: Sequence[Path]) -> None:
    """Let `lessons` be these folders from now on, here and in processes that this one starts."""
    os.environ["COURSE_PATH"] = os.pathsep.join(map(str, folders))
    lessons.__path__[:] = [str(folder) for folder in folders]
    forget_modules()


@contextlib.contextmanager
def keep_path() -> Iterator[None]:
    """Put back at the end which folders `lessons` is, and every module that was there."""
    folders, chosen = list(lessons.__path__), os.environ.get("COURSE_PATH")
    modules = dict(sys.modules)
    try:
        yield
    finally:
        forget_modules()
        lessons.__path__[:] = folders
        os.environ.pop("COURSE_PATH", None)
        if chosen is not None:
            os.environ["COURSE_PATH"] = chosen
        for name in modules.keys() - sys.modules.keys():
            sys.modules[name] = modules[name]
            parent, _, child = name.rpartition(".")
            if name.startswith("lessons.") and parent in sys.modules:
                setattr(sys.modules[parent], child, modules[name])


def forget_modules() -> None:
    """Forget every module of the package that may come from, or hold on to, a lesson's module."""
    for name in [n for n in sys.modules if n.startswith("lessons.") and n not in KEPT]:
        module = sys.modules.pop(name)
        parent, _, child = name.rpartition(".")
        if getattr(sys.modules.get(parent), child, None) is module:
            delattr(sys.modules[parent], child)


def shown(path: str | Path) -> str:
    """Return how a file is called in messages: from the project's root, or its bare name."""
    path = Path(path)
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name

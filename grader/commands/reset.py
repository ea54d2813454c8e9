"""Put a lesson's stub back; what you have written is kept in `.course/backups/`."""

import argparse
import datetime
from pathlib import Path

from grader.judge.paths import ROOT, file_of, shown
from grader.judge.progress import forget_lesson
from grader.stub_store import stub_of
from grader.syllabus import Lesson, find_lesson
from lessons.engine.errors import CourseError, explain_os_error
from lessons.engine.files import write_atomically

BACKUPS = ROOT / ".course" / "backups"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("lesson", metavar="NN", help="the lesson")


def run(options: argparse.Namespace) -> int:
    """Keep what is there, then write the stub."""
    lesson = find_lesson(options.lesson)
    file, stub = file_of(lesson), stub_of(lesson)
    if file.is_dir():
        raise CourseError(f"{shown(file)} is a folder; move it away first")
    text = read(file)
    if text is not None and text.replace(b"\r\n", b"\n") == stub.encode("utf-8"):
        print(f"{shown(file)} is the stub already; nothing was changed")
        return 0
    if text and text.strip():
        print(f"yours is kept: {shown(back_up(lesson, text))}")
    try:
        with write_atomically(file) as opened:
            opened.write(stub)
    except OSError as error:
        raise CourseError(f"{shown(file)} could not be written ({say(error)})") from None
    forget_lesson(lesson)
    print(f"{shown(file)}: the stub is back")
    left = [shown(path) for path in sorted(file.parent.glob("*.py")) if not belongs(path, file)]
    if left:
        print(f"left as they are: {', '.join(left)}")
    return 0


def read(file: Path) -> bytes | None:
    """Return what is in the file; None where there is none."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CourseError(f"{shown(file)} could not be read ({say(error)})") from None


def back_up(lesson: Lesson, text: bytes) -> Path:
    """Write what there was under a new name. Nothing is lost where that fails."""
    day, number = datetime.date.today().isoformat(), 1
    while (path := BACKUPS / f"{lesson.number}-{lesson.module}-{day}-{number}.py").exists():
        number += 1
    try:
        with write_atomically(path, "wb") as opened:
            opened.write(text)
    except OSError as error:
        raise CourseError(
            f"no backup could be written to {shown(BACKUPS)} ({say(error)}), so nothing was changed"
        ) from None
    return path


def say(error: OSError) -> str:
    """Return what the system says, in a few words."""
    return error.strerror or explain_os_error(error) or str(error)


def belongs(path: Path, file: Path) -> bool:
    """Say whether a file of the folder is the course's."""
    return path == file or path.name.startswith("test_")

"""The way of a hand-in to the grader: collected without links, read whatever saved it.

nbgrader's `collect` follows links with the instructor's rights, takes a submission in another's
name with a warning, and stops for everybody at one odd folder; one notebook that cannot be read
ends a student's grading. What stands here is plugged in through `nbgrader_config.py`.
"""

import datetime
import os
import shutil
import sqlite3
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode
from nbgrader.exchange.default import ExchangeCollect
from nbgrader.utils import parse_utc

from lessons.engine.errors import CourseError

from ...syllabus import read_syllabus
from .marks import course_of

LARGEST = 20 << 20  # bytes of a notebook; pictures in it need some
ODD = set("*?[]/\\+") | {"\0"}
ENTRIES, ALL_BYTES = 200, 50 << 20  # of a hand-in, at most
CHANGED_LATER = datetime.timedelta(minutes=10)
TIME, SECRET = "timestamp.txt", "submission_secret.txt"  # nbgrader's, beside what was handed in
SECONDS = 20  # to wait for a locked gradebook


class Collect(ExchangeCollect):
    """nbgrader's `collect`, for folders that strangers have made."""

    def _path_to_record(self, path: str) -> dict[str, Any]:
        """Return who handed in what, and when; something odd is told, and left out later."""
        try:
            record = super()._path_to_record(path)
            name = record["username"]
            if not name or name.startswith(".") or ODD & set(name):
                raise ValueError(f"{name!r} is no student's id")
            if not os.path.isdir(path) or os.path.islink(path):
                raise ValueError("it is no folder")
            if self.check_owner and (owner := owner_of(path)) != name:
                raise ValueError(
                    f"it bears the name of {name}, but belongs to {owner}; where everybody shares one "
                    "account: c.ExchangeCollect.check_owner = False in nbgrader_config.py"
                )
            return record
        except Exception as error:  # whatever strangers call their folders, the others go on
            self.log.warning("left out: %s (%s)", ascii(os.path.basename(path)), error)
            return {"username": "", "filename": "", "timestamp": datetime.datetime.min}

    def init_src(self) -> None:
        """Find the submissions, without what was left out."""
        super().init_src()
        self.src_records = [record for record in self.src_records if record["filename"]]

    def do_copy(self, src: str, dest: str, log: Any = None) -> None:
        """Copy ordinary files only, and never more than a hand-in can need."""
        record, home = self._path_to_record(src), Path(dest)
        home.mkdir(parents=True, exist_ok=True)
        try:
            copy_ordinary(Path(src), home, 1000 * self.coursedir.max_file_size, self.log.warning)
        except OSError as error:  # names too long, no right to read
            self.log.warning("not all of %s could be copied (%s)", ascii(src), error.strerror)
        # What stands in the folder itself can be anything; others' commands would stop at it.
        (home / TIME).unlink(missing_ok=True)
        (home / TIME).write_text(f"{record['timestamp']} UTC")
        changed = datetime.datetime.fromtimestamp(os.stat(src).st_ctime, datetime.UTC)
        if changed.replace(tzinfo=None) - record["timestamp"] > CHANGED_LATER:
            self.log.warning(
                "%s says that it was handed in at %s UTC, but it was changed at %s: ask for the reason",
                ascii(src), record["timestamp"], f"{changed:%Y-%m-%d %H:%M UTC}",
            )  # fmt: skip
        complete(home, Path(self.coursedir.root), self.log.warning)


def owner_of(path: str) -> str:
    """Return whose account a folder belongs to."""
    import pwd  # which Windows does not have; nbgrader has no exchange there

    try:
        return pwd.getpwuid(os.lstat(path).st_uid).pw_name
    except KeyError:
        return "nobody known"


def copy_ordinary(src: Path, dest: Path, most: int, say: Any) -> None:
    """Copy a folder without links, pipes and what is too large; `say` tells what was left out."""
    entries, size = ENTRIES, ALL_BYTES
    for folder, folders, names in os.walk(src):
        there = dest / Path(folder).relative_to(src)
        folders[:] = sorted(folders)[:entries]
        there.mkdir(parents=True, exist_ok=True)
        for name in sorted(names)[:entries]:
            path = Path(folder) / name
            content = ordinary(path, min(most, size))
            if content is None:
                say("left out: %s is a link, no ordinary file, or too large", ascii(str(path)))
                continue
            (there / name).write_bytes(content)
            size -= len(content)
        if len(names) + len(folders) > entries:
            say("left out: more than %d files in %s", ENTRIES, ascii(str(src)))
        entries = max(0, entries - len(names) - len(folders))


def ordinary(path: Path, most: int) -> bytes | None:
    """Return what stands in an ordinary file of at most so many bytes; None for anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_size > most:
            return None
        return file.read(most)


def complete(folder: Path, course: Path, say: Any) -> None:
    """Give a hand-in its notebook where it has none of that name: nbgrader would pass it over."""
    lesson = next((each for each in read_syllabus() if each.number == folder.name), None)
    if lesson is None or (folder / f"{lesson.module}.ipynb").is_file():
        return
    others = sorted(folder.glob("*.ipynb"))
    ours = course / "release" / lesson.number / f"{lesson.module}.ipynb"
    if len(others) == 1:
        others[0].rename(folder / f"{lesson.module}.ipynb")
        say("%s: %s takes the place of %s.ipynb", folder.parent.name, ascii(others[0].name),
            lesson.module)  # fmt: skip
    elif ours.is_file():
        shutil.copy(ours, folder)
        say("%s handed in no %s.ipynb; an empty one takes its place",
            folder.parent.name, lesson.module)  # fmt: skip


class HandedIn(NotebookExporter):
    """Reads a notebook that anything may have saved; one that cannot be read is an empty one."""

    def from_file(self, file_stream: Any, resources: Any = None, **kw: Any) -> Any:
        """Read it, and go on as nbconvert does."""
        if not getattr(self.parent, "_sanitizing", True):  # ours, from the step before
            return super().from_file(file_stream, resources=resources, **kw)
        notebook, trouble = read_notebook(file_stream.buffer)
        if trouble:
            self.log.warning("%s: %s", file_stream.name, trouble)
            notebook.metadata["handed_in"] = trouble
        return self.from_notebook_node(notebook, resources=resources, **kw)


def read_notebook(stream: Any) -> tuple[NotebookNode, str]:
    """Return a notebook and a sentence on what was wrong with it, if anything was."""
    content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        return (
            nbformat.v4.new_notebook(),
            f"the notebook has more than {LARGEST >> 20} MB; not read",
        )
    trouble = ""
    try:
        text = content.decode(
            "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        )
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
        trouble = "the notebook is not saved as UTF-8; odd letters in answers come from that"
    try:
        notebook = nbformat.reads(text, as_version=4)
        cells = [cell for cell in notebook.cells if isinstance(cell, dict)]
        for cell in cells:
            if not isinstance(cell.get("metadata"), dict):
                cell.metadata = nbformat.from_dict({})
        notebook.cells = cells
        if not isinstance(notebook.get("metadata"), dict):
            notebook.metadata = nbformat.from_dict({})
        notebook.metadata.pop("handed_in", None)
    except Exception as error:  # JSON of any shape, or none
        kind = type(error).__name__
        return nbformat.v4.new_notebook(), (
            f"the notebook cannot be read ({kind}), so there are no written answers; the module is "
            "judged all the same"
        )
    return notebook, trouble


def before_grading(assignment: str, student: str, notebooks: Sequence[str]) -> None:
    """Before nbgrader touches a hand-in: a free gradebook, and nothing but ordinary files.

    nbgrader copies what it finds, through links as well. A link holds nothing of the learner's, so
    it is deleted.
    """
    if not notebooks:
        return
    folder = Path(notebooks[0]).parent
    check_gradebook(Path.cwd() / "gradebook.db")
    try:
        course_of(str(Path.cwd()))
    except CourseError as error:
        raise SystemExit(f"{error}; nothing was graded") from None
    for parent, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = Path(parent) / name
            mode = path.lstat().st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                path.unlink()
    if (folder / TIME).exists() and not sound_time(folder / TIME):
        (folder / TIME).unlink()


def sound_time(path: Path) -> bool:
    """Say whether nbgrader can read when something was handed in."""
    try:
        parse_utc(path.read_text(encoding="ascii").strip() or "?")
    except (OSError, ValueError, OverflowError):
        return False
    return True


def check_gradebook(path: Path) -> None:
    """End nbgrader with a sentence where the gradebook is locked; nothing has been done by then."""
    if not path.is_file():
        return
    try:
        with sqlite3.connect(path, timeout=SECONDS) as database:
            database.execute("BEGIN IMMEDIATE")
            database.rollback()
    except sqlite3.OperationalError as error:
        raise SystemExit(
            f"{path.name} cannot be written ({error}): another program holds it, or it is not yours; "
            "end that program and run the same command again, nothing is lost"
        ) from None
    finally:
        if "database" in locals():
            database.close()

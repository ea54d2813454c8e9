"""Writes a release to its folder: whole or not at all, and only after a search for leaks."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from lessons.engine.errors import CourseError

from ...stub_store import packed
from ...stubs import make_stub
from ...updating import MANIFEST, read_manifest, sha256
from ..course.course import Course, all_lessons
from .course_files import course_files
from .leaks import Leak, find_leaks, find_leaks_in_history
from .release import Prepared, whole_syllabus

LEFT_OVER = ("__pycache__", ".pytest_cache", ".ruff_cache")  # of an instructor's own try


def write_release(folder: Path, prepared: Prepared) -> None:
    """Write a release, in the place of an earlier one if there is one. Raises CourseError.

    A folder's git repository stays, and is looked through as well: a solution that was once
    committed is as good as published.
    """
    folder = folder.absolute()
    fresh, old = (folder.with_name(f".{folder.name}.{end}") for end in ("tmp", "old"))
    _recover(folder, fresh, old)
    refuse_others(folder)
    try:
        write_files(fresh, prepared.release.files)
        (fresh / MANIFEST).write_bytes(prepared.release.manifest_bytes())
        found = find_leaks(fresh, prepared.secrets)
        refuse_leaks([*found, *find_leaks_in_history(folder, prepared.secrets)])
    except OSError as error:
        raise CourseError(f"{folder} could not be written ({error.strerror})") from None
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    if folder.exists():
        os.replace(folder, old)
        if (old / ".git").exists():
            os.replace(old / ".git", fresh / ".git")
    os.replace(fresh, folder)
    shutil.rmtree(old, ignore_errors=True)


def refuse_leaks(found: Sequence[Leak]) -> None:
    """Raise CourseError where something has been found."""
    if found:
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        raise CourseError(f"nothing was released: {found[0]}{more}")


def refuse_others(folder: Path) -> None:
    """Raise CourseError unless a folder is new, empty, or an earlier release as it was written."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise CourseError(f"{folder} is a file; name a folder that is not there yet")
    names = [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    ]
    names = [n for n in names if not {".git", *LEFT_OVER} & set(n.split("/"))]
    if not names:
        return
    if MANIFEST not in names:
        raise CourseError(f"{folder} is not empty, and no earlier release; name another folder")
    listed = read_manifest(folder)["files"]
    other = [n for n in sorted(names) if n != MANIFEST and n not in listed]
    other += [n for n in names if n in listed and sha256((folder / n).read_bytes()) != listed[n]]
    if other:
        raise CourseError(
            f"{folder} holds what no release has written ({', '.join(other[:3])}); to bring "
            f"corrections in there: python -m grader update {folder}"
        )


def write_whole(folder: Path, course: Course) -> None:
    """Write the whole course with the instructor's own lessons in it, for `record` and `audit`."""
    if folder.exists() and any(folder.iterdir()):
        raise CourseError(f"{folder} is not empty; name a folder that is not there yet")
    paths = course_files(course.own)
    files = {name: path.read_bytes() for name, path in paths.items()}
    stubs = {}
    for lesson in all_lessons(course.own):
        solution = files.get(f"solutions/{lesson.module}.py")
        if solution is None:
            raise CourseError(f"no solutions/{lesson.module}.py of lesson {lesson.number}")
        stubs[lesson.number] = make_stub(solution.decode(), lesson)
        files[f"lessons/{lesson.number}/{lesson.module}.py"] = stubs[lesson.number].encode()
    files["grader/answers/stubs.json"] = packed(stubs).encode()
    files["grader/syllabus.toml"] = whole_syllabus(course.own).encode()
    write_files(folder, files)
    for name, path in paths.items():
        shutil.copymode(path, folder / name)


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a new folder."""
    for name in sorted(files):
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(files[name])


def _recover(folder: Path, fresh: Path, old: Path) -> None:
    """Undo what a kill left half done: the earlier release comes back, with its repository."""
    if old.exists() and not folder.exists():
        if (fresh / ".git").exists():
            os.replace(fresh / ".git", old / ".git")
        os.replace(old, folder)
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(fresh, ignore_errors=True)

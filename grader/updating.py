"""Brings the corrections of a new release into a learner's repository.

A release lists its files with their SHA-256 in `.course-release.json`. So a file is known to be as it
was released, and then it is replaced; or it is somebody's work:

- a lesson's module, or a file beside the folders such as README.md, is never touched; where there
  is a new version, it is laid beside: `model.py.new`.
- a file of the judge's or of the engine's has to be the new one for the checks to be right; what
  was there is kept in `.course/backups/`.

The list is written last. So a run that is killed is run again, and nothing is lost.
"""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lessons.engine.errors import CourseError
from lessons.engine.files import write_atomically

from .stubs import is_untouched

MANIFEST = ".course-release.json"
MODULE = re.compile(r"lessons/\d\d/(?!test_)\w+\.py")
LARGEST = 256 << 20  # bytes of a release; ours is a hundredth of that
REPLACED, NEW, REMOVED, BESIDE, SAVED = "corrected", "new", "removed", "yours", "put back"


@dataclass(frozen=True)
class Release:
    """What an instructor gives to learners: files, and which lessons they are."""

    files: Mapping[str, bytes]  # name from the root, with slashes
    lessons: tuple[str, ...]
    opened: tuple[str, ...] = ()  # lessons whose reference is there
    name: str = ""

    def manifest(self) -> dict[str, Any]:
        """Return the list that travels with it."""
        hashes = {name: sha256(self.files[name]) for name in sorted(self.files)}
        about = {"schema": 1, "name": self.name, "lessons": list(self.lessons)}
        return {**about, "opened": list(self.opened), "files": hashes}

    def manifest_bytes(self) -> bytes:
        """Return the list as it is written."""
        return (json.dumps(self.manifest(), indent=1, ensure_ascii=False) + "\n").encode()


@dataclass(frozen=True)
class Change:
    """What becomes of one file."""

    what: str
    name: str
    content: bytes | None = None  # the new one; None where it goes away
    keep: str = ""  # where the old one, or for BESIDE the new one, is put

    def __str__(self) -> str:
        if self.what == BESIDE:
            return f"yours, left as it is: {self.name}; the new version is {self.keep}"
        if self.what == SAVED:
            return f"{self.what}: {self.name}; yours is kept in {self.keep}"
        return f"{self.what}: {self.name}"


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the list of a released folder. Raises CourseError."""
    try:
        return checked_manifest((folder / MANIFEST).read_bytes(), str(folder))
    except FileNotFoundError:
        raise CourseError(f"{folder} is no released course: there is no {MANIFEST} in it") from None


def checked_manifest(data: bytes, where: str) -> dict[str, Any]:
    """Return a list of files that can be trusted to name nothing outside its folder."""
    try:
        manifest = json.loads(data)
        names, lessons = manifest["files"], manifest["lessons"]
        right = manifest["schema"] == 1 and all(
            isinstance(text, str) for text in (*names, *names.values(), *lessons)
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        right, names = False, ()
    if not right or not all(map(is_inside, names)):
        raise CourseError(f"{MANIFEST} in {where} is damaged; take it from the release again")
    return manifest


def is_inside(name: str) -> bool:
    """Say whether a name is that of a file in its folder, and none of git's."""
    parts = PurePosixPath(name).parts
    odd = ("", ".", "..", ".git")
    return (
        bool(parts)
        and "\\" not in name
        and ":" not in name
        and name == "/".join(parts)
        and not (set(parts) & set(odd))
    )


def read_release(path: Path) -> Release:
    """Return a release from its folder or zip. Raises CourseError where a file is not as listed."""
    read = _zip_reader(path) if path.is_file() else lambda name: (path / name).read_bytes()
    try:
        manifest = checked_manifest(read(MANIFEST), path.name)
    except (FileNotFoundError, KeyError):
        raise CourseError(f"{path} is no release: there is no {MANIFEST} in it") from None
    files = {}
    for name, digest in manifest["files"].items():
        try:
            files[name] = read(name)
        except (OSError, KeyError, zipfile.BadZipFile):
            raise CourseError(f"{name} is missing in {path}; take the release again") from None
        if sha256(files[name]) != digest:
            raise CourseError(f"{name} in {path} is not as it was released; take it again")
    return Release(
        files,
        tuple(manifest["lessons"]),
        tuple(manifest.get("opened", ())),
        manifest.get("name", ""),
    )


def _zip_reader(path: Path):
    """Return a function from a name to the bytes of that file, in the zip or in its one folder."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
    except zipfile.BadZipFile:
        raise CourseError(f"{path} is neither the folder of a release nor a zip of one") from None
    if sum(info.file_size for info in archive.infolist()) > LARGEST:
        raise CourseError(f"{path} is too large to be a release of this course")
    tops = [n.removesuffix(MANIFEST) for n in archive.namelist() if n.endswith(f"/{MANIFEST}")]
    top = "" if MANIFEST in archive.namelist() or len(tops) != 1 else tops[0]
    return lambda name: archive.read(top + name)


def plan(folder: Path, new: Release) -> list[Change]:
    """Return what an update changes, file by file. Writes nothing. Raises CourseError."""
    manifest = read_manifest(folder)
    before: dict[str, str] = manifest["files"]
    gone = [number for number in manifest["lessons"] if number not in new.lessons]
    if gone:
        raise CourseError(
            f"the new release lacks lesson {', '.join(gone)}, which {folder} has; release them "
            "together: --lessons"
        )
    backups, changes = _backups(folder), []
    for name, content in new.files.items():
        there = _read(folder, name)
        if there is None:
            changes.append(Change(NEW, name, content))
        elif sha256(there) == sha256(content):
            continue
        elif _is_released(there, before.get(name), name):
            changes.append(Change(REPLACED, name, content))
        elif not _is_the_learners(name):
            changes.append(Change(SAVED, name, content, keep=f"{backups}/{name}"))
        elif before.get(name) != sha256(content):
            changes.append(_beside(folder, name, content))
    for name in sorted(before.keys() - new.files.keys()):
        there = _read(folder, name)
        if there is not None and _is_released(there, before[name], name):
            changes.append(Change(REMOVED, name))
    return changes


def carry_out(folder: Path, new: Release, changes: Sequence[Change]) -> None:
    """Make the changes; the list of files last."""
    for change in changes:  # nothing is replaced before everything that is replaced is kept
        if change.what == SAVED:
            there = _read(folder, change.name)
            _write(folder, change.keep, there or b"")
    for change in changes:
        if change.content is None:
            (folder / change.name).unlink(missing_ok=True)
        else:
            _write(folder, change.keep if change.what == BESIDE else change.name, change.content)
    if _read(folder, MANIFEST) != new.manifest_bytes():
        _write(folder, MANIFEST, new.manifest_bytes())


def sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _is_released(data: bytes, digest: str | None, name: str) -> bool:
    """Say whether a file is as it was released, with any line ends, or a stub nobody has touched."""
    plain = data.replace(b"\r\n", b"\n")
    if digest in (sha256(data), sha256(plain)):
        return True
    return bool(MODULE.fullmatch(name)) and is_untouched(plain.decode("utf-8", "replace"))


def _is_the_learners(name: str) -> bool:
    """Say whether a file is for learners to change: a module, or what stands beside the folders."""
    return bool(MODULE.fullmatch(name)) or ("/" not in name and name != "conftest.py")


def _beside(folder: Path, name: str, content: bytes) -> Change:
    """Return the change that lays a new version beside somebody's work, under a name that is free."""
    number = 1
    while True:
        beside = f"{name}.new" if number == 1 else f"{name}.new{number}"
        there = _read(folder, beside)
        untouched = there is not None and is_untouched(there.decode("utf-8", "replace"))
        if there in (None, content) or untouched:
            return Change(BESIDE, name, content, keep=beside)
        number += 1


def _backups(folder: Path) -> str:
    """Return the name of a folder for what is kept, which is not there yet."""
    number = 1
    while (folder / (name := f".course/backups/update-{number}")).exists():
        number += 1
    return name


def _place(folder: Path, name: str) -> Path:
    """Return where a file is. Raises CourseError where a link leads elsewhere."""
    place = folder
    for part in PurePosixPath(name).parts[:-1]:
        place = place / part
        if place.is_symlink():
            raise CourseError(f"{place} is a link; nothing behind it is changed: replace it first")
    place = folder / name
    if place.is_symlink() or place.is_dir():
        raise CourseError(f"{place} should be a plain file; move it away first")
    return place


def _read(folder: Path, name: str) -> bytes | None:
    try:
        return _place(folder, name).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CourseError(f"{folder / name} cannot be read ({error.strerror})") from None


def _write(folder: Path, name: str, content: bytes) -> None:
    try:
        with write_atomically(_place(folder, name), "wb") as file:
            file.write(content)
    except OSError as error:
        raise CourseError(
            f"{folder / name} could not be written ({error.strerror}); run the same again to go on"
        ) from None

"""Where a submission's module may lie: in a folder or in a zip, looked into and never unpacked."""

import contextlib
import io
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Protocol

from lessons.engine.errors import CourseError

MAX_BYTES = 256 << 10  # of a module; our longest solution has 20 KB
MAX_UNPACKED_BYTES = 1 << 30  # of everything in an archive, as it says itself
MAX_RATIO = 200  # unpacked to packed; Python source is packed to a quarter, a log to a fiftieth
RATIO_FROM = 16 << 20  # unpacked bytes from which the ratio counts
MAX_ENTRIES = 5000
MAX_TOLD = 4  # names in a sentence

FILE, FOLDER, LINK, OTHER = "file", "folder", "link", "other"


class Place(Protocol):
    """A folder or an archive: names with slashes, "" for its top."""

    def inside(self, folder: str) -> dict[str, str]:
        """Return name -> FILE, FOLDER, LINK or OTHER of what lies in a folder; {} where none is."""
        ...

    def read(self, name: str) -> bytes:
        """Return what stands in a file. Raises CourseError."""
        ...


def take_file(file: Path, most: int = MAX_BYTES) -> bytes:
    """Return what stands in a file. Raises CourseError for anything but a small ordinary one."""
    told = told_name(file.name)
    try:
        # a link may lead to somebody else's file, and a pipe would never end
        no_links = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        descriptor = os.open(file, os.O_RDONLY | no_links | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if kind_of(file) == LINK:
            reason = "it is a symbolic link; hand in the file itself"
        raise CourseError(f"{told} cannot be taken: {reason}") from None
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise CourseError(f"{told} cannot be taken: it is no ordinary file")
        if about.st_size > most:
            raise CourseError(f"{told} cannot be taken: it is larger than {_size(most)}")
        with os.fdopen(descriptor, "rb", closefd=False) as opened:
            source = opened.read(about.st_size + 1)
    finally:
        os.close(descriptor)
    if len(source) != about.st_size:
        raise CourseError(f"{told} cannot be taken: it is still being written")
    return source


class InFolder:
    """A folder on disk; links in it are seen, and never followed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def inside(self, folder: str) -> dict[str, str]:
        """Return what lies in a folder."""
        here = self.folder
        for part in PurePosixPath(folder).parts:
            here = here / part
            if kind_of(here) != FOLDER:
                return {}
        try:
            with os.scandir(here) as entries:
                names = [entry.name for entry in islice(entries, MAX_ENTRIES + 1)]
        except OSError as error:
            raise CourseError(
                f"{told_name(here.name)} cannot be looked into: {error.strerror}"
            ) from None
        if len(names) > MAX_ENTRIES:
            raise CourseError(
                f"{told_name(here.name)} holds more than {MAX_ENTRIES} files: hand in the module alone"
            )
        return {name: kind_of(here / name) for name in sorted(names)}

    def read(self, name: str) -> bytes:
        """Return what stands in a file."""
        return take_file(self.folder / name)


class InZip:
    """An archive in memory."""

    def __init__(self, content: bytes, told: str) -> None:
        self.told = told
        # each entry begins with these bytes: counted before a list of them is made
        if content.count(b"PK\x01\x02") > MAX_ENTRIES:
            raise CourseError(
                f"{told} holds more than {MAX_ENTRIES} files: hand in the module alone"
            )
        with self.damage():
            self.zip = zipfile.ZipFile(io.BytesIO(content))
        self.entries: list[tuple[str, zipfile.ZipInfo]] = []
        for entry in self.zip.infolist():
            name = entry.filename.replace("\\", "/")  # some of Windows' tools write it so
            parts = name.split("/")
            if name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", name):
                raise CourseError(f"{told} holds a name that leads out of it, {told_name(name)}")
            self.entries.append(("/".join(p for p in parts if p not in ("", ".")), entry))
        unpacked = sum(entry.file_size for _, entry in self.entries)
        packed = max(1, sum(entry.compress_size for _, entry in self.entries))
        if unpacked > MAX_UNPACKED_BYTES or (
            unpacked > RATIO_FROM and unpacked > MAX_RATIO * min(packed, len(content))
        ):
            raise CourseError(
                f"{told} cannot be taken: unpacked it would be {unpacked >> 20:,} MB; "
                "hand in the module alone"
            )

    def inside(self, folder: str) -> dict[str, str]:
        """Return what lies in a folder; what lies deeper makes folders of its own."""
        start = f"{folder}/" if folder else ""
        found: dict[str, str] = {}
        for name, entry in self.entries:
            if name.startswith(start) and name != folder:
                first, deeper, _ = name[len(start) :].partition("/")
                kind = FOLDER if deeper or entry.is_dir() else _zip_kind(entry)
                found[first] = kind if found.get(first, kind) == kind else OTHER
        return found

    def read(self, name: str) -> bytes:
        """Return what stands in a file of the archive; where there are several, if all are equal."""
        entries = [entry for other, entry in self.entries if other == name]
        contents = {self._read(entry, told_name(name)) for entry in entries}
        if len(contents) > 1:
            raise CourseError(
                f"{self.told} holds {told_name(name)} more than once, each another one"
            )
        return contents.pop()

    def _read(self, entry: zipfile.ZipInfo, told: str) -> bytes:
        if entry.flag_bits & 0x1:
            raise CourseError(f"{self.told} has a password: hand it in without one")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise CourseError(f"{self.told} is packed in an unusual way: make an ordinary zip")
        source = b""
        if entry.file_size <= MAX_BYTES:
            with self.damage(), self.zip.open(entry) as opened:
                source = opened.read(MAX_BYTES + 1)
        if entry.file_size > MAX_BYTES or len(source) > MAX_BYTES:
            raise CourseError(f"{told} cannot be taken: it is larger than {_size(MAX_BYTES)}")
        return source

    @contextlib.contextmanager
    def damage(self) -> Iterator[None]:
        """Say of anything that the library stumbles over that the archive is damaged."""
        try:
            yield
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
            reason = told_name(str(error))
        except (RuntimeError, NotImplementedError, ValueError, LookupError, OverflowError) as error:
            reason = told_name(str(error))
        else:
            return
        raise CourseError(f"{self.told} is damaged ({reason}): make it anew") from None


def _zip_kind(entry: zipfile.ZipInfo) -> str:
    mode = entry.external_attr >> 16
    kind = stat.S_IFMT(mode) if entry.create_system == 3 else 0  # 3: made under Unix
    return {0: FILE, stat.S_IFREG: FILE, stat.S_IFLNK: LINK, stat.S_IFDIR: FOLDER}.get(kind, OTHER)


def kind_of(path: Path) -> str:
    """Return what a path itself is: FILE, FOLDER, LINK, or OTHER (a pipe; nothing at all)."""
    try:
        mode = os.lstat(path).st_mode
    except (OSError, ValueError):
        return OTHER
    return {stat.S_IFREG: FILE, stat.S_IFLNK: LINK, stat.S_IFDIR: FOLDER}.get(
        stat.S_IFMT(mode), OTHER
    )


def told_name(name: str) -> str:
    """Return a name as it can stand in a sentence, whatever somebody has put into it."""
    shown = "".join(c if c.isprintable() else "�" for c in name)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def told_names(names: Sequence[str]) -> str:
    """Return the first few names for a sentence, and how many more there are."""
    shown = ", ".join(map(told_name, names[:MAX_TOLD]))
    return shown + (f" and {len(names) - MAX_TOLD} more" if len(names) > MAX_TOLD else "")


def _size(size: int) -> str:
    return f"{size >> 20} MB" if size >= 1 << 20 else f"{size >> 10} KB"

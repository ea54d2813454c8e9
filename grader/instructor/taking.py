"""What was handed in, made into the bytes of one module: from a file, a folder or a zip.

Nothing is unpacked, run or followed. A zip's one member is read into memory, no further than a
module can be long; of anything else only the names are looked at. What cannot be taken is refused
with a sentence that says what to hand in instead, and never stops the grading of others.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import regex

from lessons.engine.errors import CourseError

from ..syllabus import Lesson, read_syllabus
from .places import (
    FILE,
    FOLDER,
    LINK,
    MAX_BYTES,
    InFolder,
    InZip,
    Place,
    kind_of,
    take_file,
    told_name,
    told_names,
)

MAX_ZIP_BYTES = 32 << 20  # of an archive, as it lies there
JUNK = ("__MACOSX", "__pycache__")  # beside everything that begins with a dot

ZIP_BEGINS = (b"PK\x03\x04", b"PK\x05\x06")  # the second: an empty one
UTF16_BEGINS = (b"\xff\xfe", b"\xfe\xff")
CODING = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", re.MULTILINE)
MANY_MARKS = r"\p{M}{50}"  # Python's parser takes minutes over a name of many thousands
# The parser is for code that is trusted: what it is given here may be made to break it.
DEFINED = re.compile(r"^(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Taken:
    """One module as it was handed in, or a sentence that says why there is none."""

    source: bytes | None
    name: str  # where it was found: "lessons/05/model.py"
    sha256: str = ""
    refused: str = ""
    notes: list[str] = field(default_factory=list)  # what the instructor may want to know


def take_submission(path: Path, lesson: Lesson) -> Taken:
    """Return the module of a lesson that stands in a file, a folder or a zip. Never raises."""
    notes: list[str] = []
    try:
        kind = kind_of(path)
        if kind == FOLDER:
            told = told_name(path.name) or "the folder"
            name, source = find_module(InFolder(path), lesson, notes, told)
        else:
            name, source = _from_file(path, lesson, notes)
        check_source(source, name, lesson)
    except CourseError as error:
        return Taken(None, told_name(path.name), refused=str(error), notes=notes)
    return Taken(source, name, hashlib.sha256(source).hexdigest(), notes=notes)


def _from_file(path: Path, lesson: Lesson, notes: list[str]) -> tuple[str, bytes]:
    """Return the name and the bytes of the module in a single file, which may be a zip."""
    told, wanted = told_name(path.name), f"{lesson.module}.py"
    if path.suffix == ".ipynb":
        raise CourseError(
            f"{told} is a notebook; what is judged is {wanted}, which lies beside it: hand that in"
        )
    is_module = path.suffix == ".py"
    content = take_file(path, MAX_BYTES if is_module else MAX_ZIP_BYTES)
    if content.startswith(ZIP_BEGINS):
        return find_module(InZip(content, told), lesson, notes, told)
    if not is_module:
        raise CourseError(
            f"{told} cannot be taken: hand in {wanted}, a folder that holds it, or a .zip"
        )
    if path.name != wanted:
        _check_name(path.name, lesson)
        notes.append(f"handed in under the name {told}")
    return wanted, content


def _check_name(name: str, lesson: Lesson) -> None:
    """Refuse another lesson's module, and a name that does not say which one it is.

    Systems in which work is handed in add something to a name: "ada_1234_model-2.py".
    """
    told, wanted = told_name(name), f"{lesson.module}.py"
    if other := _other_lesson([name], lesson):
        raise CourseError(_is_another(told, other, lesson))
    if re.fullmatch(rf"(.*[-_ .])?{lesson.module}[-_ ]?\(?\d*\)?\.py", name, re.ASCII):
        return
    raise CourseError(f"{told} cannot be taken: lesson {lesson.number} wants {wanted}")


def find_module(place: Place, lesson: Lesson, notes: list[str], told: str) -> tuple[str, bytes]:
    """Return the name and the bytes of a lesson's module in a folder or archive.

    Looked at are the top, `NN/` and `lessons/NN/`, and the same below a single top folder.
    """
    wanted = f"{lesson.module}.py"
    top = real(place.inside(""))
    starts = [""]
    folders = [name for name, kind in top.items() if kind == FOLDER]
    if len(folders) == 1 and wanted not in top:
        starts.append(f"{folders[0]}/")
    homes = [
        f"{start}{sub}"
        for start in starts
        for sub in ("", lesson.number, f"lessons/{lesson.number}")
    ]
    homes = list(dict.fromkeys(home.strip("/") for home in homes))
    seen = {home: real(place.inside(home)) for home in homes}
    found = [home for home, inside in seen.items() if wanted in inside]
    if not found:
        raise CourseError(_nothing_found(seen, lesson, told))
    names = [f"{home}/{wanted}".lstrip("/") for home in found]
    for home, name in zip(found, names, strict=True):
        _check_kind(seen[home][wanted], name)
    sources = [place.read(name) for name in names]
    if len(set(sources)) > 1:
        raise CourseError(
            f"{told} holds {wanted} more than once, each another one: "
            f"{told_names(names)}; hand in the one that counts"
        )
    if len(names) > 1:
        notes.append(f"{wanted} stands there more than once, always the same: {told_names(names)}")
    return told_name(names[0]), sources[0]


def real(inside: dict[str, str]) -> dict[str, str]:
    """Return what lies in a folder without what systems leave there by themselves."""
    return {n: k for n, k in inside.items() if n not in JUNK and not n.startswith(".")}


def _check_kind(kind: str, name: str) -> None:
    told = told_name(name)
    if kind == LINK:
        raise CourseError(f"{told} cannot be taken: it is a symbolic link; hand in the file itself")
    if kind == FOLDER:
        raise CourseError(f"{told} cannot be taken: it is a folder, a file of that name is wanted")
    if kind != FILE:
        raise CourseError(f"{told} cannot be taken: it is no ordinary file")


def _nothing_found(seen: dict[str, dict[str, str]], lesson: Lesson, told: str) -> str:
    """Return a sentence that says what is there instead of the module."""
    wanted = f"{lesson.module}.py"
    names = [name for inside in seen.values() for name in inside]
    files = [n for inside in seen.values() for n, kind in inside.items() if kind != FOLDER]
    if not names:
        return f"{told} is empty; {wanted} is wanted"
    if written := next((name for name in files if name.casefold() == wanted.casefold()), None):
        return f"{told} holds {told_name(written)}; the name must be written {wanted}"
    if other := _other_lesson(files, lesson):
        return _is_another(f"{other.module}.py", other, lesson)
    if archives := [name for name in files if name.lower().endswith(".zip")]:
        return f"{told} holds another archive, {told_name(archives[0])}; hand in {wanted} itself"
    if notebooks := [name for name in files if name.endswith(".ipynb")]:
        return (
            f"{told} holds the notebook {told_name(notebooks[0])} without {wanted}, which is what is "
            "judged: hand in both"
        )
    modules = [name for name in files if name.endswith(".py")]
    return f"{told} holds no {wanted}; there is {told_names(modules or names)}"


def _other_lesson(names: Sequence[str], lesson: Lesson) -> Lesson | None:
    """Return another lesson whose module is among these names."""
    return next(
        (
            other
            for other in read_syllabus()
            if f"{other.module}.py" in names and other.number != lesson.number
        ),
        None,
    )


def _is_another(told: str, other: Lesson, lesson: Lesson) -> str:
    return (
        f"this is lesson {other.number}'s {told}; lesson {lesson.number} wants {lesson.module}.py"
    )


def check_source(source: bytes, name: str, lesson: Lesson) -> None:
    """Refuse what is no Python text, is saved in another alphabet, or is another lesson's.

    Only UTF-8: who reads the file must see what Python sees.
    """
    told = told_name(name)
    if not source.strip():
        raise CourseError(f"{told} is empty")
    if source.startswith(UTF16_BEGINS):
        raise CourseError(f"{told} is saved as UTF-16: save it as UTF-8 and hand it in again")
    if b"\0" in source:
        raise CourseError(f"{told} is no text: it holds zero bytes")
    try:
        text = source.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CourseError(
            f"{told} is not saved as UTF-8: choose that in your editor and hand it in again"
        ) from None
    head = b"\n".join(source.splitlines()[:2])
    if (coding := CODING.search(head)) and coding[1].lower() not in (b"utf-8", b"utf8"):
        raise CourseError(
            f"{told} says that it is written in {told_name(coding[1].decode('ascii'))}: save it as "
            "UTF-8 and leave that line out"
        )
    if not text.isascii() and regex.search(MANY_MARKS, text):
        raise CourseError(f"{told} cannot be taken: it heaps accents on one letter by the dozen")
    defined = set(DEFINED.findall(text))
    if not defined & _defines(lesson):
        others = [o for o in read_syllabus() if len(defined & _defines(o)) > len(_defines(o)) / 2]
        if others:
            raise CourseError(
                f"{told} holds lesson {others[0].number}'s {others[0].module}.py; "
                f"lesson {lesson.number} wants its own"
            )


def _defines(lesson: Lesson) -> set[str]:
    """Return what stands at the outermost level of a lesson's module."""
    return {step.name.partition(".")[0] for step in lesson.steps}

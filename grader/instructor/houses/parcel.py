"""The part of the course that judges one lesson, to be run in somebody else's container.

Everything is chosen by name. With the reference (`sealed`), verdicts come from secret seeds; that is
for places which learners cannot read. Without it (`open`), it holds nothing but what learners have
anyway, and judges on the public seed.
"""

import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from lessons.engine.errors import CourseError

from ...judge.paths import needed_lessons
from ...syllabus import Lesson, read_syllabus
from ..release.course_files import course_files

JUDGE = re.compile(
    r"LICENSE|lessons/__init__\.py|lessons/engine/.+|solutions/__init__\.py|grader/\w+\.py"
    r"|grader/syllabus\.toml|grader/judge/.+|grader/instructor/(?:(?:course|release|reports|houses)/)?\w+\.py|grader/answers/baseline/.+"
    r"|grader/commands/__init__\.py"
)
# What judging imports; the rest of requirements.txt trains models and keeps the course itself.
PACKAGES = (*("torch", "numpy", "safetensors", "psutil", "tqdm", "regex", "tiktoken"),)
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # in an archive, so that it is the same bytes on every run


def parcel(lesson: Lesson, sealed: bool = True, references: Sequence[str] = ()) -> dict[str, bytes]:
    """Return name -> content of what judges a lesson. Raises CourseError where parts are withheld.

    sealed: with solutions and hidden checks, which no learner may read. references: lessons whose
    solutions are put in without that; never this one.
    """
    paths = course_files()
    number = lesson.number
    mine = rf"lessons/{number}/test_\w+\.py|grader/answers/{number}\.safetensors"
    wanted = [name for name in paths if JUDGE.fullmatch(name) or re.fullmatch(mine, name)]
    every = read_syllabus()
    needed = needed_lessons(lesson, every)
    given = [*needed, lesson] if sealed else [each for each in needed if each.number in references]
    wanted += [f"solutions/{each.module}.py" for each in given]
    if sealed:
        wanted.append(f"grader/instructor/hidden/guard_{number}.py")
    missing = [name for name in wanted if name not in paths]
    if missing:
        raise CourseError(
            f"no {missing[0]}: a grader for lesson {number} is made from the whole course, not from a "
            "learner's repository"
        )
    files = {name: paths[name].read_bytes() for name in sorted(set(wanted))}
    files["requirements.txt"] = requirements(paths["requirements.txt"]).encode()
    return files


def requirements(file: Path) -> str:
    """Return the lines of requirements.txt that judging needs, in the same versions."""
    lines = file.read_text(encoding="utf-8").splitlines()
    needed = [line for line in lines if line.partition("==")[0] in PACKAGES]
    return "\n".join(needed) + "\n"


def zipped(files: Mapping[str, bytes], programs: tuple[str, ...] = ()) -> bytes:
    """Return an archive, the same bytes on every run. programs: which of them can be run."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, LONG_AGO)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, whose rights follow
            entry.external_attr = (0o100755 if name in programs else 0o100644) << 16
            opened.writestr(entry, content)
    return archive.getvalue()

"""The files of the course, an instructor's own lessons among them, before anything is chosen.

Own lessons lie in a folder that looks like the course: `syllabus.toml` with their entries,
`solutions/MODULE.py`, `lessons/NN/` with README and checks, and, where there are any, `bank/NN/` and
`answers/NN.safetensors`.
"""

import fnmatch
import subprocess
from pathlib import Path

from lessons.engine.errors import CourseError

from ...judge.paths import ROOT

OWN_ROOMS = {
    "lessons": "lessons",
    "solutions": "solutions",
    "bank": "grader/bank",
    "answers": "grader/answers",
}
NEVER = (".git", "__pycache__", "*.pyc", ".venv")


def course_files(own: Path | None = None) -> dict[str, Path]:
    """Return name -> file of the whole course: what git does not ignore, and own lessons."""
    files = {name: ROOT / name for name in _names(ROOT)}
    for room, home in OWN_ROOMS.items() if own else ():
        for name in _names(own / room) if (own / room).is_dir() else ():
            if f"{home}/{name}" in files:
                raise CourseError(f"{own / room / name}: the course has {home}/{name} already")
            files[f"{home}/{name}"] = own / room / name
    return files


def _names(folder: Path) -> list[str]:
    """Return the names of the files in a folder, less what git ignores."""
    command = ["git", "-C", str(folder), "ls-files", "-z", "--cached", "--others"]
    try:
        done = subprocess.run([*command, "--exclude-standard"], capture_output=True, check=True)
        names = done.stdout.decode("utf-8", "surrogateescape").split("\0")
    except (OSError, subprocess.CalledProcessError):  # no git, or no repository
        names = []
    if not any(names):  # also a folder that the repository around it ignores
        found = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
        names = [name for name in found if not _is_ignored(name, _ignored(ROOT))]
    here = [name for name in names if name and not _is_ignored(name, NEVER)]
    return sorted(
        name for name in here if (folder / name).is_file() and not (folder / name).is_symlink()
    )


def _ignored(folder: Path) -> tuple[str, ...]:
    file = folder / ".gitignore"
    lines = file.read_text(encoding="utf-8").split() if file.is_file() else []
    return tuple(line.strip("/") for line in lines)


def _is_ignored(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatch(part, pattern) for part in name.split("/") for pattern in patterns)

"""Where no sandbox can be made but the judge is root, in somebody's container: a stranger's module as
another user, `nobody`, who may not read the judge's folders.

This is less than a sandbox: the network is there, and so is whatever else everybody may read. Reports
say NOT ISOLATED. But the answers, the hidden checks and the verdict are out of its reach.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from lessons.engine.errors import CourseError

from ...judge.backends import DiedError, InAChild
from ...judge.bench import TimeUpError
from ..sandbox import LIMITS, MAX_ANSWER_BYTES, MAX_ANSWER_TREE, NOBODY, SERVE, furnish, unrelated

AS_NOBODY = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *("--no-new-privs", "--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--"),
)
OPEN_FILE, OPEN_FOLDER, CLOSED = 0o644, 0o755, 0o700


class AsNobody(InAChild):
    """The learner's module as the user `nobody`, with copies of what it needs."""

    limits = MAX_ANSWER_TREE, MAX_ANSWER_BYTES

    def __init__(self) -> None:
        super().__init__()
        self.asked: Any = None
        self.room = Path()
        self.seen: list[Path] = []

    @contextlib.contextmanager
    def session(self, module: str, folders: list[Path], seed: int) -> Iterator[None]:
        """Let a child of nobody's load the module afresh."""
        if self.asked != (module, folders):
            self.leave()
            self.room, self.asked = Path(tempfile.mkdtemp(prefix="course-room-")), (module, folders)
            self.seen = lay_out(self.room, module, folders)
        with super().session(module, self.seen, unrelated(seed)):
            yield

    def start(self) -> None:
        """Start a child, unless it is there. Raises CourseError where that fails."""
        try:
            super().start()
        except (DiedError, TimeUpError):
            raise CourseError(
                f"nobody cannot run the judge's part: may all read {sys.prefix}?"
            ) from None

    def launch(self) -> tuple[Any, tuple[BinaryIO, BinaryIO]]:
        """Return a new child of nobody's, and the streams to it and from it."""
        limits = [f"--{name}={value}" for name, value in LIMITS.items()]
        child = subprocess.Popen(
            [*AS_NOBODY, "prlimit", *limits, "--", *SERVE],
            cwd=self.room,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": "/tmp",
                "LANG": "C.UTF-8",
                "OMP_NUM_THREADS": "1",  # a fork after two-thread work hangs
                "OPENBLAS_NUM_THREADS": "1",
                "PYTHONPATH": str(self.room / "sandbox" / "course"),
            },
            start_new_session=True,
        )
        assert child.stdin
        assert child.stdout
        return child, (child.stdin, child.stdout)

    def leave(self) -> None:
        """End the child, and throw away what was laid out for it."""
        self.stop()
        if self.asked:
            shutil.rmtree(self.room, ignore_errors=True)
            self.asked = None


def lay_out(room: Path, module: str, folders: list[Path]) -> list[Path]:
    """Copy what the child may see into a folder that all may read; returns its search path."""
    room.chmod(OPEN_FOLDER)
    furnished = furnish(module, folders)
    for here, there in furnished.files:
        target = room / there.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if here.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(here, target, ignore=ignored, dirs_exist_ok=True)
        else:
            shutil.copyfile(here, target)
    for path in room.rglob("*"):
        path.chmod(OPEN_FOLDER if path.is_dir() else OPEN_FILE)
    return [room / folder.relative_to("/") for folder in furnished.folders]


def can_be_nobody() -> bool:
    """Say whether this process may start others as nobody, and nobody may run this Python."""
    tools = all(shutil.which(tool) for tool in ("setpriv", "prlimit"))
    if sys.platform != "linux" or os.geteuid() != 0 or not tools:
        return False
    # through `prlimit`, as in `launch`: what setpriv itself starts is opened with root's rights
    command = [*AS_NOBODY, "prlimit", "--", sys.executable, "-c", "import json"]
    trial = subprocess.run(command, capture_output=True, check=False)
    return trial.returncode == 0


def close_to_others(*folders: Path) -> None:
    """Let nobody but their owner into these folders and files, as far as they exist."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.chmod(CLOSED if folder.is_dir() else 0o600)

"""A stranger's module in a room of its own: bubblewrap, around the child of `--apart`.

In the room stand the system's libraries, Python and its packages, the submission, the reference of
the lessons that it needs, `lessons/engine`, and the child's side of the judge. All of that is
read-only. Checks, answers, the bank and other solutions are not there, nor are a network, a home,
an environment, or other people's processes.
"""

import contextlib
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any, BinaryIO

import psutil

from lessons.engine.errors import CourseError

from ..judge.answers import PUBLIC_SEED
from ..judge.backends import DiedError, InAChild
from ..judge.bench import TimeUpError
from ..judge.paths import ROOT, needed_lessons
from ..syllabus import find_lesson, read_syllabus

COURSE = Path("/sandbox/course")  # as the child sees it
SUBMISSION = Path("/sandbox/submission")

SYSTEM = (
    *("/usr/bin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/bin", "/lib", "/lib32", "/lib64"),
    *("/etc/alternatives", "/etc/ld.so.cache"),  # Debian's BLAS hangs on the first
)
NOBODY = "65534"
LIMITS = {
    "as": 4 << 30,  # bytes of address space; torch takes 0.6 GB of it
    "cpu": 300,  # seconds of one process; the supervisor's clock ends a check long before
    "fsize": 64 << 20,  # bytes of one file
    "nofile": 256,
    "nproc": 64,  # processes and threads; the count is the sandbox's own
    "core": 0,
}
TMP_BYTES = 64 << 20
# Of one answer. The largest of an honest one have 0.05 and 8 MB; a tree is twenty times as large in
# Python, and an answer that nobody has asked for waits beside the one that was.
MAX_ANSWER_TREE = 4 << 20
MAX_ANSWER_BYTES = 64 << 20  # its tensors
TOOLS = ("bwrap", "prlimit", "choom", "setpriv")  # the last three are util-linux's
SERVE = (sys.executable, "-s", "-P", "-B", "-m", "grader.judge.confined")


@dataclass(frozen=True)
class Room:
    """What the child of one submission sees, apart from the system."""

    files: tuple[tuple[Path, Path], ...]  # (where it is, where the child sees it)
    folders: tuple[Path, ...]  # the search path of `lessons`, as the child sees it


class InASandbox(InAChild):
    """The learner's module where it can reach nothing; Linux with bubblewrap only.

    One is enough for many submissions: each gets a fresh sandbox.
    """

    limits = MAX_ANSWER_TREE, MAX_ANSWER_BYTES

    def __init__(self) -> None:
        super().__init__()
        self.asked: Any = None
        self.room = Room((), ())
        self.alone = 0  # how many processes there are before anything of the learner's has run

    @contextlib.contextmanager
    def session(self, module: str, folders: list[Path], seed: int) -> Iterator[None]:
        """Let a sandboxed child load the module afresh."""
        if self.asked != (module, folders):
            self.stop()
            self.room, self.asked = furnish(module, folders), (module, folders)
        with super().session(module, list(self.room.folders), unrelated(seed)):
            yield

    def start(self) -> None:
        """Start a sandbox, unless it is there. Raises CourseError where that fails."""
        try:
            super().start()
        except (DiedError, TimeUpError):
            raise CourseError(f"the sandbox does not start: {self.complaint()}") from None
        self.alone = self.alone or self.count()

    def launch(self) -> tuple[Any, tuple[BinaryIO, BinaryIO]]:
        """Return a new child in bubblewrap, and the streams to it and from it."""
        self.alone = 0
        child = subprocess.Popen(
            sandboxed(SERVE, self.room),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert child.stdin
        assert child.stdout
        return child, (child.stdin, child.stdout)

    def close(self) -> None:
        """End the session, and with it whatever the learner's code has left behind."""
        super().close()
        if self.child and (self.count() != self.alone or not self.answers.empty()):
            self.stop()

    def alive(self) -> bool:
        """Say whether the sandbox is still there."""
        return self.child is not None and self.child.poll() is None

    def count(self) -> int:
        """Return how many processes belong to the sandbox, as seen from outside."""
        try:
            return len(psutil.Process(self.child.pid).children(recursive=True))
        except psutil.NoSuchProcess:
            return 0

    def complaint(self) -> str:
        """Return what goes wrong before the submission is even read."""
        start = "from grader.judge import confined; confined.give_up(); import grader.judge.serve"
        command = sandboxed([*SERVE[:-2], "-c", start], self.room)
        trial = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return last_line(trial.stderr) or "no reason was given"


def sandbox_or_reason() -> InASandbox | str:
    """Return a sandbox that works on this machine, or a sentence that says why there is none."""
    if sys.platform != "linux":
        return "bubblewrap, which keeps strangers' programs in, exists on Linux only"
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        return (
            f"{' and '.join(missing)} cannot be found; strangers' programs are judged in "
            "bubblewrap (Debian and Ubuntu: apt install bubblewrap util-linux)"
        )
    command = sandboxed(["/usr/bin/true"], Room((), ()))
    trial = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    if trial.returncode:
        return f"bubblewrap can make no sandbox on this machine: {last_line(trial.stderr)}"
    return InASandbox()


def furnish(module: str, folders: Sequence[Path]) -> Room:
    """Return the room for judging a module. folders: its own, then where its imports are found."""
    every = read_syllabus()
    files = {COURSE / name: ROOT / name for name in child_side()}
    seen = [SUBMISSION]
    submission = folders[0] / f"{module}.py"
    if submission.is_file():  # else the child says that it is not there
        files[SUBMISSION / submission.name] = submission
    for lesson in needed_lessons(find_lesson(module, every), every):
        name = f"{lesson.module}.py"
        home = next((folder for folder in folders[1:] if (folder / name).is_file()), None)
        if home:
            there = COURSE / home.relative_to(ROOT)
            files[there / name] = home / name
            seen.append(there)
    seen.append(COURSE / "lessons")
    pairs = tuple((here, there) for there, here in files.items())
    return Room(pairs, tuple(dict.fromkeys(seen)))


@functools.cache
def child_side() -> list[str]:
    """Return what the child runs besides lessons: `confined.py`, and what it imports of ours."""
    finder = ModuleFinder(path=[str(ROOT)])
    finder.import_hook("grader.judge.confined")
    modules = [m.__file__ for n, m in finder.modules.items() if n.split(".")[0] == "grader"]
    files = [Path(file).relative_to(ROOT).as_posix() for file in modules if file]
    toys = "grader/judge/toys"  # imported as they are found
    rest = (file for file in sorted(files) if not file.startswith(toys))
    return [*rest, toys, "lessons/__init__.py", "lessons/engine"]


def sandboxed(command: Sequence[str], room: Room) -> list[str]:
    """Return the command line that runs `command` in a sandbox.

    The kernel sets no limit to root's processes, so root becomes nobody first. Nobody may not walk
    into a home where Python lies, so before that an outer bwrap lays everything out.
    """
    python, packages = python_folders()
    files = [(Path(path), Path(path)) for path in (*SYSTEM, *python)] + list(room.files)
    limits = [f"--{name}={value}" for name, value in LIMITS.items()]
    environment = {
        "PATH": "/usr/bin",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",  # a fork after two-thread work hangs
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(COURSE), *packages]),
    }
    as_root = os.geteuid() == 0
    inner = [
        *("bwrap", "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent"),
        *("--new-session", "--clearenv", "--cap-drop", "ALL", "--hostname", "sandbox"),
        *("--uid", NOBODY, "--gid", NOBODY, "--proc", "/proc", "--dev", "/dev"),
        *(part for path in ("/dev/shm", "/tmp") for part in _own_folder(path)),
        *_laid_out(files, again=as_root),
        *(part for pair in environment.items() for part in ("--setenv", *pair)),
        *("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"),
        *("--", "prlimit", *limits, "--", *command),
    ]
    if as_root:
        inner = [
            # nobody's processes would not die with root's; those of one process namespace do
            *("bwrap", "--unshare-pid", "--die-with-parent", "--dir", "/tmp", *_laid_out(files)),
            *("--dev-bind", "/proc", "/proc", "--dev-bind", "/dev", "/dev", "--cap-drop", "ALL"),
            *("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--", "setpriv"),
            *(f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--", *inner),
        ]
    # `env`: bwrap clears the child's environment, its own could still be read in /proc/1/environ.
    # `choom`: when memory runs out, the kernel ends this first.
    env, choom = shutil.which("env") or "env", shutil.which("choom") or "choom"
    return [env, "-i", "PATH=/usr/bin", choom, "-n", "1000", "--", *inner]


def python_folders() -> tuple[list[str], list[str]]:
    """Return what must be seen of Python, and folders of packages that it would not find itself."""
    homes = [sys.prefix, sys.base_prefix, str(Path(sys.executable).resolve().parent.parent)]
    parts = [f"{home}/{part}" for home in homes for part in ("bin", "lib", "lib64", "pyvenv.cfg")]
    packages = [
        path
        for path in sys.path
        if Path(path).name in ("site-packages", "dist-packages")
        and not any(Path(path).is_relative_to(f"{home}/lib") for home in homes)
    ]
    return list(dict.fromkeys([*parts, *packages])), packages


def unrelated(seed: int) -> int:
    """Return another seed for the child: from the judge's own it could tell the inputs to come."""
    if seed == PUBLIC_SEED:
        return seed
    return int.from_bytes(hashlib.sha256(f"for the child: {seed}".encode()).digest()[:4], "big")


def last_line(text: str) -> str:
    """Return the last line that says something."""
    return (text.strip().splitlines() or [""])[-1]


def _own_folder(path: str) -> tuple[str, ...]:
    """Return the arguments for a folder in memory, of limited size, that all may write to."""
    return ("--perms", "1777", "--size", str(TMP_BYTES), "--tmpfs", path)


def _laid_out(files: Sequence[tuple[Path, Path]], again: bool = False) -> list[str]:
    """Return the arguments that show files and folders, read-only: (where, as what).

    Links at the root stay links (`/lib` is `/usr/lib` here and a folder elsewhere). Folders above
    what is shown are made first: bwrap itself would make them for their owner alone.
    again: inside a sandbox where all of it is in its place already.
    """
    arguments: list[str] = []
    made = {Path("/"), Path("/tmp")}
    for here, there in files:
        if there in made or not here.exists():
            continue
        if here.is_symlink() and here.parent == Path("/"):
            arguments += ["--symlink", os.readlink(here), str(there)]
            continue
        for parent in reversed(there.parents):
            if parent not in made:
                arguments += ["--dir", str(parent)]
                made.add(parent)
        arguments += ["--ro-bind", str(there if again else here), str(there)]
        made.add(there)
    return arguments

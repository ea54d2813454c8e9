"""A stranger's module in bubblewrap: the same verdicts, nothing to read, nothing to break."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from grader.bank import solution_of, wrong_variants
from grader.checks import check
from grader.instructor import sandbox as sandboxes
from grader.instructor.places import MAX_BYTES, take_file
from grader.instructor.sandbox import InASandbox, furnish, sandbox_or_reason, sandboxed, unrelated
from grader.judge.answers import read_answers
from grader.judge.backends import InThisProcess
from grader.judge.paths import ROOT, judged_path
from grader.judge.runner import Target, load_checks, run_check
from grader.syllabus import find_lesson
from lessons.engine.errors import CourseError

LESSON = find_lesson("03")
REASON = sandbox_or_reason()
needs_sandbox = pytest.mark.skipif(isinstance(REASON, str), reason=str(REASON))

# What a stranger might write. Every function stands in the place of a lesson's.
STRANGER = '''
import ctypes, os, pathlib, socket, subprocess, time
import torch

def honest():
    return torch.arange(3)

def files(without):
    """All files that can be seen, except below some folders."""
    found = []
    for folder, folders, names in os.walk("/"):
        folders[:] = [f for f in folders if os.path.join(folder, f) not in without]
        found += [os.path.join(folder, name) for name in names]
    return found

def read(path):
    try:
        return pathlib.Path(path).read_bytes().decode(errors="replace")
    except OSError as error:
        return type(error).__name__

def write(path):
    try:
        pathlib.Path(path).write_text("mine")
        return "written"
    except OSError as error:
        return type(error).__name__

def environments():
    ids = [name for name in os.listdir("/proc") if name.isdigit()]
    return [dict(os.environ), [read(f"/proc/{id}/environ") for id in ids], len(ids)]

def connect(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5)
        return "connected"
    except OSError as error:
        return type(error).__name__

def interfaces():
    return [name for _, name in socket.if_nameindex()]

def rights():
    made = subprocess.run(["/usr/bin/unshare", "--user", "true"], stderr=subprocess.DEVNULL)
    return [os.getuid(), read("/proc/self/status"), made.returncode]

def leave():
    ctypes.CDLL(None)._exit(0)

def loop():
    while True:
        try:
            time.sleep(1)
        except BaseException:
            pass

def flood_memory():
    kept = []
    while True:
        kept.append(torch.ones(1 << 24))

def fork_bomb():
    while True:
        os.fork()

def kill_everything():
    os.kill(-1, 9)

def leave_behind():
    """Go on in the background, with the pipes of the one who asked."""
    if os.fork() == 0:
        os.setsid()
        while True:
            for descriptor in range(3, 20):
                try:
                    os.write(descriptor, b"\\x02\\0\\0\\0\\x08\\0\\0\\0{}\\0\\0\\0\\0\\0\\0\\0\\0")
                except OSError:
                    pass
            time.sleep(0.01)
    return torch.arange(3)

def shout():
    """Talk without end on every pipe."""
    while True:
        for descriptor in range(3, 20):
            try:
                os.write(descriptor, b"x" * 65536)
            except OSError:
                pass

def lie():
    """Describe an error as no error can be described."""
    import grader.judge.bench as bench
    bench.Bench.answer = lambda self, request: bench.pack(
        {"raised": {"kinds": [], "where": 5}, "changed": [], "settings": [], "used": [], "printed": ""}
    )

def write_a_huge_file():
    with open("/tmp/huge", "wb") as file:
        while True:
            file.write(b"x" * (1 << 20))
'''


@check("causal_mask", seconds=10)
def honest_check(lesson, expect, draw):
    """The sandbox is there, and nothing of the check before is."""
    expect(lesson.honest(), torch.arange(3))


def hostile_check(name: str, seconds: float = 10):
    @check("causal_mask", seconds=seconds)
    def hostile(lesson, expect, draw):
        getattr(lesson, name)()
        expect(getattr(lesson, name)(), "what no submission can know")

    return hostile.check


@pytest.fixture(scope="module")
def box():
    backend = InASandbox()
    yield backend
    backend.stop()


@pytest.fixture(scope="module")
def stranger(box, tmp_path_factory) -> Target:
    home = tmp_path_factory.mktemp("stranger")
    (home / "attention.py").write_text(STRANGER)
    return Target(LESSON, judged_path("03", home=home), box)


@pytest.fixture(scope="module")
def ask(stranger):
    """A function that calls one of the stranger's functions and returns what it says."""

    def call(name: str, *arguments):
        seen = []

        @check("causal_mask")
        def look(lesson, expect, draw):
            seen.append(getattr(lesson, name)(*arguments))

        result = run_check(look.check, stranger, [])
        assert result.passed, result.symptom
        return seen[0]

    return call


def judge(source: str, backend, folder: Path):
    folder.mkdir(exist_ok=True)
    (folder / "attention.py").write_text(source)
    target, answers = Target(LESSON, judged_path("03", home=folder), backend), read_answers("03")
    results = [run_check(c, target, answers.right(c.name)) for c in load_checks(LESSON)]
    return {r.check: (r.verdict, r.symptom, r.details, r.where) for r in results}


@needs_sandbox
@pytest.mark.parametrize(
    "variant", ["solution", "missing_scale", "heads_before_thirds", "empty_cache_taken_for_none"]
)
def test_verdicts_are_those_of_this_process(variant, box, tmp_path):
    sources = {v.name: v.source for v in wrong_variants(LESSON)} | {"solution": solution_of(LESSON)}
    here = judge(sources[variant], InThisProcess(), tmp_path / "a")
    there = judge(sources[variant], box, tmp_path / "b")
    assert there == here
    passed = {verdict == "passed" for verdict, *_ in there.values()}
    assert passed == ({True} if variant == "solution" else {True, False})


@needs_sandbox
def test_only_what_the_module_needs_is_there(ask, stranger):
    room = furnish("attention", stranger.folders)
    wanted = set()
    for here, there in room.files:
        inside = [f for f in here.rglob("*") if f.is_file()] if here.is_dir() else [here]
        wanted |= {str(there / f.relative_to(here)) for f in inside}
    python, packages = sandboxes.python_folders()
    seen = ask("files", [*sandboxes.SYSTEM, *python, *packages, "/proc", "/dev"])
    seen = {f for f in seen if f not in {*sandboxes.SYSTEM, *python} and "__pycache__" not in f}
    assert seen == {f for f in wanted if "__pycache__" not in f}
    modules = [f for f in seen if "/solutions/" in f or "/lessons/0" in f]
    assert modules == ["/sandbox/course/solutions/bigram.py"]
    for secret in ("answers", "checks.py", "bank", "instructor", "syllabus.toml", "test_"):
        assert not [f for f in seen if secret in f], secret


@needs_sandbox
def test_nothing_of_this_machine_can_be_read(ask, tmp_path, monkeypatch):
    (tmp_path / "secret.txt").write_text("a secret")
    for path in (
        ROOT / "solutions" / "attention.py",
        ROOT / "grader" / "answers" / "03.safetensors",
        ROOT / "grader" / "bank" / "03" / "wrong.toml",
        tmp_path / "secret.txt",
        Path("/etc/passwd"),
        Path(f"/proc/{os.getpid()}/environ"),
    ):
        assert path.exists()
        assert ask("read", str(path)) in ("FileNotFoundError", "NotADirectoryError"), path
    for path in Path.home().iterdir():
        if path.is_file():
            assert ask("read", str(path)) == "FileNotFoundError", path


@needs_sandbox
def test_environment_and_other_processes_stay_outside(ask):
    own, others, processes = ask("environments")
    assert set(own) <= {
        *("PATH", "HOME", "LANG", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHONPATH"),
        *("COURSE_PATH", "PWD", "LC_CTYPE"),
        *(name for name in own if name.startswith(("KMP_", "TORCH"))),  # torch sets these itself
    }
    assert own["HOME"] == "/tmp"
    assert processes == 3  # bwrap, the child, and the fork of this check
    assert not any(os.environ.get("PATH", "?") in text for text in others)


@needs_sandbox
def test_there_is_no_network(ask):
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert ask("connect", server.getsockname()[1]) == "ConnectionRefusedError"
    assert ask("interfaces") == ["lo"]


@needs_sandbox
def test_nobody_has_no_rights(ask):
    user, status, made_a_namespace = ask("rights")
    assert user == 65534
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert made_a_namespace != 0
    for path in ("/sandbox/course/x", "/sandbox/submission/attention.py", "/usr/lib/x", "/x"):
        assert ask("write", path) in ("OSError", "PermissionError"), path
    assert ask("write", "/tmp/x") == "written"
    assert ask("read", "/tmp/x") == "mine"  # one submission's sandbox; the next has another


@needs_sandbox
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("leave", "ended by itself"),
        ("loop", "still running after"),
        ("flood_memory", "allocate memory"),
        ("fork_bomb", "Resource temporarily unavailable"),
        ("kill_everything", "not right|ended by itself"),
        ("leave_behind", "not right|no answer|ended by itself"),
        ("shout", "ended by itself|still running"),
        ("lie", "no answer"),
        ("write_a_huge_file", "File too large|ended by itself"),
    ],
)
def test_an_attack_ends_with_a_sentence_and_the_next_check_goes_on(
    name, says, stranger, monkeypatch
):
    monkeypatch.setitem(sandboxes.LIMITS, "as", 2 << 30)
    seconds = 1.5 if name in ("loop", "shout") else 20
    result = run_check(hostile_check(name, seconds), stranger, [])
    assert result.verdict == "failed"
    assert any(part in f"{result.symptom} {result.details}" for part in says.split("|")), result
    assert "Traceback" not in result.symptom
    after = run_check(honest_check.check, stranger, [])
    assert after.passed, after.symptom


@needs_sandbox
def test_sandbox_ends_with_its_supervisor(tmp_path):
    marker = f"sleep {os.getpid()}.25"
    command = sandboxed(["/usr/bin/sh", "-c", marker], sandboxes.Room((), ()))
    code = f"import subprocess, time; subprocess.Popen({command!r}); time.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", code])
    try:
        assert wait_for(lambda: running(marker))
    finally:
        parent.kill()
        parent.wait()
    assert wait_for(lambda: not running(marker))


def running(command: str) -> bool:
    texts = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            texts.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip())
        except OSError:
            continue
    return command in texts


def wait_for(condition, seconds: float = 15.0) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_without_bubblewrap_a_sentence_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "bwrap and prlimit and choom and setpriv cannot be found" in str(sandbox_or_reason())


@pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap exists on Linux only")
def test_a_kernel_that_forbids_it_is_quoted(monkeypatch, tmp_path):
    for tool in sandboxes.TOOLS:
        (tmp_path / tool).write_text(
            "#!/bin/sh\necho 'No permissions to create namespace' >&2\nexit 1"
        )
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    reason = sandbox_or_reason()
    assert reason.endswith(
        "can make no sandbox on this machine: No permissions to create namespace"
    )


def test_child_cannot_tell_the_inputs_from_its_seed():
    assert unrelated(0) == 0  # public: names of mistakes need the same random numbers
    assert len({unrelated(seed) for seed in range(100)} - set(range(100))) == 99


def test_only_an_ordinary_file_is_taken(tmp_path):
    (tmp_path / "secret").write_text("somebody else's")
    (tmp_path / "link.py").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "large.py").write_bytes(b"#" * (MAX_BYTES + 1))
    (tmp_path / "folder.py").mkdir()
    for name, says in {
        "link.py": "symbolic link",
        "pipe.py": "no ordinary file",
        "large.py": "larger than",
        "folder.py": "no ordinary file",
        "none.py": "No such file",
    }.items():
        with pytest.raises(CourseError, match=rf"(?i){name} .*({says})"):
            take_file(tmp_path / name)

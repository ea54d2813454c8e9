"""Sends attacks to the supervisor, and looks at what came of them: points, secrets, what is left."""

import contextlib
import ctypes
import hashlib
import json
import os
import secrets
import shutil
import socket
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from grader.bank import solution_of
from grader.checks import Check
from grader.instructor.exam import Exam
from grader.instructor.reports.reports import html_of, junit_of
from grader.instructor.sandbox import InASandbox
from grader.instructor.supervisor import judge, write_report
from grader.judge.backends import InAChild
from grader.judge.paths import ROOT
from grader.judge.runner import load_checks

from .kit import LESSON, MODULE, Attack

PATIENCE = float(os.environ.get("ATTACK_PATIENCE", "1"))  # more on a machine that is busy otherwise
SECONDS = 5.0 * PATIENCE  # of each check; an honest one takes a tenth of a second
BUDGET = 30.0 * PATIENCE  # for one submission
# The checks of most runs: of every step, with a hidden check behind them and without one.
FEW = (
    *("test_no_place_sees_the_future", "test_queries_are_the_last_keys", "test_one_query_by_hand"),
    *("test_attention_is_torchs_attention", "test_heads_are_neighbouring_channels"),
    *("test_heads_must_divide", "test_merging_undoes_splitting", "test_layer_is_torchs_layer"),
    *("test_layer_learns", "test_fused_is_manual"),
)
SECRET = "SECRET_TOKEN"
# Lines that stand in the reference and in a hidden check, and in no report by right.
OURS = ("too_old = causal.tril(first_place - window)", "(places > queries - window)")
NOTE = "KEYRING_NOTE"
OWN = "torchinductor_"  # folders that torch makes for this process


@dataclass
class Outcome:
    """What came of one attack."""

    attack: Attack
    points: int
    most: int  # points that its values earn
    seconds: float
    refused: str = ""
    wrong: list[str] = field(default_factory=list)  # what did not hold, in words
    report: dict[str, Any] = field(default_factory=dict)


class World:
    """A course folder with a secret in everything, and servers that nobody should reach."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = secrets.token_hex(12)
        self.reached: list[str] = []
        self.course = folder / "course"
        bob = self.course / "bob" / "03"
        bob.mkdir(parents=True)
        (bob / MODULE).write_text(f"# {self.token}\n{solution_of(LESSON)}", encoding="utf-8")
        with contextlib.closing(sqlite3.connect(self.course / "gradebook.db")) as book:
            book.execute("create table marks (student, points)")
            book.execute("insert into marks values (?, 0)", (self.token,))
            book.commit()
        reports = self.course / "reports" / "03"
        reports.mkdir(parents=True)
        (reports / "eve.json").write_text(json.dumps({"points": 0, "token": self.token}))
        (self.course / "secret.txt").write_text(self.token)
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self.before = self.state()

    def state(self) -> dict[str, str]:
        """Return what stands in each file that no submission may change."""
        places = (self.course, ROOT / "lessons" / "03")
        kept = [file for place in places for file in place.rglob("*")]
        kept += [
            ROOT / "solutions" / MODULE,
            ROOT / "grader" / "answers" / "03.safetensors",
            ROOT / "grader" / "instructor" / "hidden" / "guard_03.py",
        ]
        return {
            str(file): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in kept
            if file.is_file() and "__pycache__" not in file.parts and not file.is_symlink()
        }

    @property
    def known(self) -> dict[str, str]:
        """Return what is filled into an attack: it knows every place, which real ones do not."""
        return {
            **{"WORLD": str(self.course), "ROOT": str(ROOT), "SOCKET": str(self.folder / "line")},
            "PORT": str(self.port),
        }

    @contextlib.contextmanager
    def open(self) -> Iterator["World"]:
        """Serve, put the secret into the environment and take over the folder for temporary files."""
        old, tempfile.tempdir = tempfile.tempdir, str(self.temporary)
        os.environ[SECRET] = self.token
        own_keyring()
        with contextlib.ExitStack() as servers:
            address = ("127.0.0.1", 0)
            tcp = servers.enter_context(socket.create_server(address))
            self.port = tcp.getsockname()[1]
            lines = [tcp]
            for name in (str(self.folder / "line"), f"\0{self.folder}/line"):
                line = servers.enter_context(socket.socket(socket.AF_UNIX))
                line.bind(name)
                line.listen()
                lines.append(line)
            for line in lines:
                threading.Thread(target=self._listen, args=(line,), daemon=True).start()
            try:
                yield self
            finally:
                tempfile.tempdir = old
                os.environ.pop(SECRET, None)
                for line in lines:
                    with contextlib.suppress(OSError):
                        line.shutdown(socket.SHUT_RDWR)

    def _listen(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                line.accept()
                self.reached.append(str(line.getsockname()))

    def left(self) -> list[str]:
        """Return, in words, what has changed outside of the sandbox."""
        now = self.state()
        changed = [path for path in {*now, *self.before} if now.get(path) != self.before.get(path)]
        wrong = [f"{Path(path).name} was changed" for path in sorted(changed)]
        left = [entry.name for entry in self.temporary.iterdir() if not entry.name.startswith(OWN)]
        wrong += [f"{name} was left behind" for name in left]
        wrong += [f"{place} was reached" for place in self.reached]
        if os.environ.get("PLANTED") or Path("/tmp/pwned").exists():
            wrong.append("code ran outside")
        return wrong


def own_keyring() -> None:
    """Give this process a session keyring, as a login does: without one the kernel shares nothing."""
    if sys.platform == "linux" and os.uname().machine == "x86_64":
        ctypes.CDLL(None).syscall(250, 1, 0)  # keyctl: join a new one


def short_checks() -> list[Check]:
    """Return the checks of the lesson, with less time for each."""
    return [replace(check, seconds=SECONDS) for check in load_checks(LESSON)]


def short_exam(names: tuple[str, ...] = FEW, seed: int = 20_261_121) -> Exam:
    """Return an exam for attacks. names: of its checks; () are all."""
    exam = Exam(LESSON, seed, short_checks())
    if names:
        exam.checks = [check for check in exam.checks if check.name in names]
    exam.guards = {
        of: [replace(guard, seconds=SECONDS) for guard in guards]
        for of, guards in exam.guards.items()
    }
    return exam


def run(attack: Attack, world: World, exam: Exam, box: InAChild) -> Outcome:
    """Let the supervisor judge one attack, and write down whatever did not hold."""
    place = world.folder / "course" / "eve" / "03"
    shutil.rmtree(place.parent, ignore_errors=True)
    path = attack.hand_in(place, attack.source(world.known))
    world.before = world.state()
    others = {process.pid for process in psutil.Process().children(recursive=True)}
    began = time.monotonic()
    report = judge(path, exam, box, "eve", BUDGET)
    seconds = time.monotonic() - began
    outcome = Outcome(attack, report["points"], earned(attack, exam), seconds)
    outcome.report, outcome.refused = report, report["submission"]["refused"]
    outcome.wrong = [
        *_wrong_points(outcome),
        *_wrong_texts(report, world),
        *world.left(),
        *(_left_running(box, others) if isinstance(box, InASandbox) else ()),
    ]
    if seconds > (limit := attack.seconds * PATIENCE):
        outcome.wrong.append(f"it took {seconds:.0f} s, {limit:.0f} are its limit")
    write_report(report, world.folder / "reports" / f"{attack.name}.json")
    return outcome


def earned(attack: Attack, exam: Exam) -> int:
    """Return the points that the values of an attack earn."""
    if attack.refused:
        return 0
    return sum(
        check.points
        for check in exam.checks
        if check.step in attack.earns or check.name in attack.checks
    )


def _wrong_points(outcome: Outcome) -> Iterator[str]:
    attack = outcome.attack
    if outcome.points > outcome.most:
        passed = [c["check"] for c in outcome.report["checks"] if c["verdict"] == "passed"]
        yield f"{outcome.points} points, {outcome.most} earned: {', '.join(passed)}"
    if attack.exactly and outcome.points < outcome.most:
        yield f"only {outcome.points} points of the {outcome.most} that it earned"
    if attack.refused not in outcome.refused or bool(attack.refused) != bool(outcome.refused):
        yield f"refused: {outcome.refused!r}, not {attack.refused!r}"


def _wrong_texts(report: dict[str, Any], world: World) -> Iterator[str]:
    texts = json.dumps(report, ensure_ascii=False)
    for secret in (world.token, NOTE, *OURS):
        if secret in texts:
            yield f"the report holds {secret!r}"
    page, junit = html_of(report), junit_of(report)
    for act in ("<script>document", "<img src=x", "<testcase name='forged'"):
        if act in page or act in junit:
            yield f"{act} stands in a page as it is"
    for control in ("\x1b", "\x07", "\u202e", "\x9b", "\0", "\ud800"):
        if any(control in text for text in (json.loads(texts) and texts, page, junit)):
            yield f"the control character {control!r} stands in a report"


def _left_running(box: InASandbox, others: set[int]) -> Iterator[str]:
    """Yield what still runs, but for the sandbox itself. others: ran before; tests beside this one's."""
    alive = [p for p in psutil.Process().children(recursive=True) if _runs(p)]
    own = {box.child.pid} if box.child else set()
    if box.child:
        own |= {p.pid for p in psutil.Process(box.child.pid).children(recursive=True)}
    strays = [_words(p) for p in alive if p.pid not in own | others]
    if strays or (box.child and box.count() != box.alone):
        yield f"still running: {'; '.join(strays) or 'something in the sandbox'}"


def _words(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return str(process.pid)


def _runs(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.status() != psutil.STATUS_ZOMBIE
    return False

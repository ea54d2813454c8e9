"""Importing in a process that is there to be forked: what a module will need, and nothing of it."""

import gc
import subprocess
import sys

import pytest

from grader.judge.backends import InAChild
from grader.judge.border import pack, unpack
from grader.judge.imports import LATE, import_late, without_collecting
from grader.judge.paths import ROOT


def imported_for(source: bytes, folder) -> set[str]:
    """The modules of LATE that a fresh process has after looking into this source."""
    (folder / "trainer.py").write_bytes(source)
    code = (
        "import sys, torch; from pathlib import Path; from grader.judge.imports import *; "
        f"import_late(Path({str(folder / 'trainer.py')!r})); "
        "print(*(name for name in LATE.values() if name in sys.modules))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("word", LATE)
def test_a_word_brings_its_module_and_runs_nothing(word, tmp_path):
    source = f"# {word}\nraise SystemExit('it was run')\n".encode()
    assert LATE[word] in imported_for(source, tmp_path)


def test_other_modules_bring_nothing(tmp_path):
    assert imported_for(b"\xff\x00 import os", tmp_path) == set()
    import_late(tmp_path / "there is none.py")


def test_a_session_has_it_from_the_beginning(tmp_path):
    (tmp_path / "trainer.py").write_text(
        "import sys\nHAD = 'torch._dynamo' in sys.modules\nimport torch.optim\n"
    )
    child = InAChild()
    try:
        with child.session("trainer", [tmp_path], 0):
            request = {"do": "read", "target": 0, "name": "HAD", "args": [], "kwargs": {}}
            answer = child.ask(pack(request), 20)
    finally:
        child.stop()
    assert unpack(answer)["value"] is True


@pytest.mark.parametrize("before", [True, False])
def test_collecting_goes_on_as_it_did(before):
    (gc.enable if before else gc.disable)()
    try:
        with pytest.raises(ZeroDivisionError), without_collecting():
            assert not gc.isenabled()
            _ = 1 / 0
        assert gc.isenabled() == before
    finally:
        gc.unfreeze()
        gc.enable()

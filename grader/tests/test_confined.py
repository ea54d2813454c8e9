"""The kernel's filter: what it refuses, on both kinds of processor, and that it is in force."""

import ctypes
import os
import platform
import struct
import subprocess
import sys

import pytest

from grader.judge.confined import ALLOW, MACHINES, OTHER_NUMBERS, REFUSE, REFUSED, refusing
from grader.judge.paths import ROOT


def verdict(program: bytes, machine: int, number: int) -> int:
    """Work a filter out as the kernel does, for one call."""
    steps = list(struct.iter_unpack("<HBBI", program))
    at, loaded = 0, 0
    while True:
        code, if_true, if_false, value = steps[at]
        at += 1
        if code == 0x20:
            loaded = {0: number, 4: machine}[value]
        elif code == 0x15:
            at += if_true if loaded == value else if_false
        elif code == 0x35:
            at += if_true if loaded >= value else if_false
        else:
            return value


@pytest.mark.parametrize("machine", MACHINES)
def test_filter_refuses_these_calls_and_no_others(machine):
    column, name = MACHINES[machine]
    program = refusing(machine)
    numbers = {numbers[column] for numbers in REFUSED.values()}
    for number in range(600):
        wanted = REFUSE if number in numbers else ALLOW
        assert verdict(program, name, number) == wanted, number
    assert verdict(program, name, OTHER_NUMBERS + 1) == REFUSE
    for other in (0x40000003, 0, *(n for c, n in MACHINES.values() if n != name)):
        assert verdict(program, other, 1) == REFUSE  # another processor's numbers mean other calls


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in MACHINES, reason="no filter here"
)
def test_filter_is_in_force_for_this_process_and_its_children():
    column, _ = MACHINES[platform.machine()]
    keyctl = REFUSED["keyctl"][column]
    code = f"""
import ctypes, os
from grader.judge.confined import give_up
libc = ctypes.CDLL(None, use_errno=True)
before = libc.syscall({keyctl}, 6, -3, 0, 0)
give_up()
child = os.fork()
if child:
    os.waitpid(child, 0)
print(libc.syscall({keyctl}, 6, -3, 0, 0), ctypes.get_errno(), flush=True)
"""
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert told.stdout.splitlines() == ["-1 1", "-1 1"], told.stderr
    assert ctypes.sizeof(ctypes.c_void_p) == 8
    assert os.strerror(1) == "Operation not permitted"

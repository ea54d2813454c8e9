"""Serves sessions like `serve.py`, after giving up kernel calls that no lesson needs.

    python -m grader.judge.confined

For the child in the sandbox: nothing that it runs later can look into other processes' memory, leave
notes for another submission in the kernel's keyrings, hide memory in files without a name, or try
the parts of the kernel in which holes are found most often.
"""

import ctypes
import platform
import struct
import sys

from .imports import without_collecting

# The numbers of these calls on x86-64 and on 64-bit ARM, from the kernel's own lists.
REFUSED = {
    **{"ptrace": (101, 117), "kcmp": (312, 272), "pidfd_getfd": (438, 438)},
    **{"process_vm_readv": (310, 270), "process_vm_writev": (311, 271)},
    **{"add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219)},
    **{"memfd_create": (319, 279), "memfd_secret": (447, 447)},
    **{"bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282)},
    **{"io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427)},
    **{"mount": (165, 40), "umount2": (166, 39), "unshare": (272, 97), "setns": (308, 268)},
    **{"name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265)},
}
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column above, kernel's name
OTHER_NUMBERS = 0x40000000  # from here on x86-64 has the same calls once more

LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06  # instructions of the kernel's filters
NUMBER, MACHINE = 0, 4  # where in a call's description these stand
ALLOW, REFUSE = 0x7FFF0000, 0x00050001  # the second: EPERM
NO_NEW_PRIVILEGES, SET_FILTER, FILTER = 38, 22, 2  # of prctl


class Program(ctypes.Structure):
    """What the kernel takes a filter as."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def refusing(machine: str) -> bytes:
    """Return the filter for a kind of processor, in the kernel's form."""
    column, name = MACHINES[machine]
    numbers = [numbers[column] for numbers in REFUSED.values()]
    to_refuse = len(numbers) + 1  # instructions from the first comparison of a number to REFUSE
    steps = [
        (LOAD, 0, 0, MACHINE),
        (EQUAL, 0, to_refuse + 2, name),  # calls of another processor's kind, such as 32-bit ones
        (LOAD, 0, 0, NUMBER),
        (AT_LEAST, to_refuse, 0, OTHER_NUMBERS),
        *[(EQUAL, to_refuse - 1 - i, 0, number) for i, number in enumerate(numbers)],
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, REFUSE),
    ]
    return b"".join(struct.pack("<HBBI", *step) for step in steps)


def give_up() -> None:
    """Let the kernel refuse these calls to this process and to all that it starts, for ever.

    On other processors than these two, nothing is given up. Raises OSError where the kernel cannot.
    """
    if platform.machine() not in MACHINES:
        return
    code = refusing(platform.machine())
    program = Program(len(code) // 8, code)
    kernel = ctypes.CDLL(None, use_errno=True)
    if kernel.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or kernel.prctl(
        SET_FILTER, FILTER, ctypes.byref(program), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "the kernel sets no filter for calls (seccomp)")


def main() -> int:
    """Give up, then serve. Before torch is there: threads that run already would keep the calls."""
    give_up()
    with without_collecting():
        from .serve import main

    return main()


if __name__ == "__main__":
    sys.exit(main())

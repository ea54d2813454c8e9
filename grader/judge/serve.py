"""The child of `--apart`: serves sessions over its standard input and output, then ends.

    python -m grader.judge.serve

It imports torch once, and what else the module will need. Where the platform can fork, every
session has a process of its own, so that nothing that the learner's code does is there in the next
one.
"""

import os
import sys
import threading
import time
from pathlib import Path
from typing import BinaryIO

import torch

from .bench import Bench
from .border import pack, unpack
from .imports import import_late
from .wire import WireError, receive, send

OVER = "over"  # said after every session, however it ended
leave = os._exit  # by this name, because a bench exchanges the other while the learner's code runs


def main() -> int:
    """Take the pipes away from the learner's code, then serve."""
    requests = os.fdopen(os.dup(0), "rb", buffering=0)  # a buffer would be copied by the fork
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    torch.set_num_threads(1)
    serve(requests, answers)
    return 0


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Say that this is there, then serve one session after the other until nobody asks."""
    judge = os.getppid()
    send(answers, pack("ready"))
    while True:
        try:
            opening = unpack(receive(requests))
        except WireError:
            return
        folders = [Path(folder) for folder in opening["folders"]]
        import_late(folders[0] / f"{opening['module']}.py")
        bench = Bench(opening["module"], folders, opening["seed"])
        if not hasattr(os, "fork"):
            serve_session(bench, requests, answers)
        elif (session := os.fork()) == 0:
            try:
                threading.Thread(target=end_with, args=(judge,), daemon=True).start()
                serve_session(bench, requests, answers)
            finally:
                leave(0)
        else:
            os.waitpid(session, 0)
        send(answers, pack(OVER))


def end_with(judge: int) -> None:
    """End this process when the judge is gone: an endless loop would go on without anybody."""
    while True:
        time.sleep(1)
        try:
            os.kill(judge, 0)
        except ProcessLookupError:
            leave(1)
        except PermissionError:
            pass  # it is there, and somebody else's


def serve_session(bench: Bench, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until the judge closes the session."""
    while True:
        request = receive(requests)
        if request.tree is None:
            return
        send(answers, bench.answer(request))


if __name__ == "__main__":
    sys.exit(main())

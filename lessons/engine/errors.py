"""Errors that a person can cause, and how a command ends on them: one sentence, exit code 2."""

import errno
import os
import signal
import sys
from collections.abc import Callable

INTERRUPTED = 130  # what a shell reports for a program that ended on Ctrl-C
MISUSED = 2


class CourseError(Exception):
    """Something a person can put right. The message is one sentence that says how."""


def run_command(command: Callable[[], int | None]) -> int:
    """Run one command and return its exit code: 0, 2 after a sentence, 130 after Ctrl-C.

    Errors that only a bug can cause are not caught: they stay loud.
    """
    signal.signal(signal.SIGTERM, _stop)  # what a cluster sends before it kills
    try:
        return command() or 0
    except CourseError as error:
        _say(str(error))
    except NotImplementedError as error:
        _say(f"not written yet: {error}")
    except KeyboardInterrupt:
        _say("stopped; run the same command again to go on where it was")
        return INTERRUPTED
    except BrokenPipeError:  # `... | head`: the reader has gone, which is not an error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        sentence = explain_os_error(error)
        if sentence is None:
            raise
        _say(sentence)
    return MISUSED


def explain_os_error(error: OSError) -> str | None:
    """A sentence for what a disk or a permission did, or None where it may be a bug."""
    where = f" while writing {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"the disk is full{where}; free some room and run the same command again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission for {error.filename}; choose another folder with --out"
    if error.errno in (errno.EISDIR, errno.ENOTDIR, errno.ENOENT, errno.EEXIST):
        return f"{error.strerror or error}: {error.filename}"
    return None


def _stop(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def _say(sentence: str) -> None:
    sys.stdout.flush()
    print(f"\n{sentence}" if sys.stderr.isatty() else sentence, file=sys.stderr, flush=True)

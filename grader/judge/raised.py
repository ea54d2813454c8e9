"""What the learner's code raised, in plain values: its kind, its words, and the line in their file."""

import re
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .border import describe_kind
from .paths import shown

UNWRITTEN = re.compile(r"lesson (\d\d): (\S+)")
MAX_MESSAGE = 600  # characters
MAX_TRAIL = 8  # frames of the module itself
MAX_FRAMES = 200  # innermost ones; an endless recursion has more


class ModuleMissingError(Exception):
    """The file of the lesson is not there."""

    def __init__(self, file: Path) -> None:
        super().__init__(f"{shown(file)} is not there")


class PartMissingError(Exception):
    """A function or a class that the lesson's module should have is not there."""


class TimeUpError(BaseException):
    """The learner's code takes too long. No `except Exception` of theirs may swallow it."""

    where = ""  # the line that was running, as far as this process knows


def describe_raised(
    error: BaseException, folders: Sequence[Path], loading: bool = False
) -> dict[str, Any]:
    """Return what was raised: see `verdicts.LearnerError`.

    folders: of the session; the first is the judged module's. loading: it was being imported.
    """
    frames = [frame for frame in _frames(error) if Path(frame.filename).parent in folders]
    own = [frame for frame in frames if Path(frame.filename).parent == folders[0]]
    innermost = frames[-1] if frames else None
    unfinished = loading or isinstance(error, NotImplementedError)
    frame = own[-1] if own and not unfinished else innermost
    message = _message(error)
    unwritten = isinstance(error, NotImplementedError) and UNWRITTEN.fullmatch(message)
    described: dict[str, Any] = {
        "kinds": [kind.__name__ for kind in type(error).__mro__],
        "message": message,
        "where": _place(frame),
        "line": clean((frame.line or "").strip()) if frame else "",
        "inside": _place(innermost) if frame is not innermost else "",
        "trail": [[_place(f), f.name, clean((f.line or "").strip())] for f in own[-MAX_TRAIL:]],
        "loading": loading,
        "unwritten": list(unwritten.groups()) if unwritten else None,
    }
    if isinstance(error, SyntaxError) and Path(str(error.filename)).parent in folders:
        described["message"] = clean(str(error.msg))
        described["where"] = f"{shown(str(error.filename))}:{error.lineno or 1}"
        described["line"] = clean(str(error.text or "").strip())
    return described


def clean(text: str) -> str:
    """Return a text that can be written anywhere: half characters as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    try:
        return list(traceback.extract_tb(error.__traceback__, limit=-MAX_FRAMES))
    except Exception:
        return []


def _place(frame: traceback.FrameSummary | None) -> str:
    return f"{shown(frame.filename)}:{frame.lineno}" if frame else ""


def _message(error: BaseException) -> str:
    try:
        text = clean(str(error))
    except (KeyboardInterrupt, TimeUpError):
        raise
    except BaseException:
        text = f"({describe_kind(error)}, which cannot say what is wrong)"
    return text if len(text) < MAX_MESSAGE else text[:MAX_MESSAGE] + " ..."

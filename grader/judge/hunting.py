"""A hunt: the learner's own assertions, tried on modules that are right and on such that are wrong."""

import contextlib
import inspect
import io
import linecache
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lessons.engine.errors import CourseError

from .answers import PUBLIC_SEED
from .backends import time_limit
from .bench import TimeUpError
from .drawing import Draw
from .expecting import Expect
from .proxies import Lesson
from .runner import Target
from .verdicts import LearnerError, WrongError

SECONDS = 10.0  # for one module
ENTRY = "catches"
SPEAKING = (AssertionError, TimeUpError, WrongError, LearnerError)  # their message says it all
Hunt = Callable[[Lesson, Expect, Draw], None]


def load_hunt(file: Path) -> Hunt:
    """Return what a file asserts: its function `catches`, or all that it does. CourseError."""
    try:
        code = compile(file.read_text(encoding="utf-8"), str(file), "exec")
    except OSError as error:
        raise CourseError(f"{file} cannot be read: {error.strerror or error}") from None
    except SyntaxError as error:
        raise CourseError(f"{file}:{error.lineno} is not valid Python: {error.msg}") from None
    except ValueError as error:  # not text
        raise CourseError(f"{file} is no Python file: {error}") from None

    def hunt(lesson: Lesson, expect: Expect, draw: Draw) -> None:
        offered = {"lesson": lesson, "expect": expect, "draw": draw}
        names: dict[str, Any] = {"__name__": "hunt", "__file__": str(file), **offered}
        exec(code, names)
        if ENTRY in names:
            wanted = inspect.signature(names[ENTRY]).parameters
            if unknown := set(wanted) - set(offered):
                raise CourseError(
                    f"{file}: {ENTRY} takes some of lesson, expect and draw, not {min(unknown)}"
                )
            names[ENTRY](**{name: offered[name] for name in wanted})

    return hunt


def try_on_reference(hunt: Hunt, reference: Target) -> tuple[list[Any], BaseException | None]:
    """Return what the reference gave wherever the hunt looked, and why it rejects it (None: not)."""
    looking = Expect(None)
    error = _run(hunt, reference, looking)
    return looking.entries, error or rejection(hunt, reference, looking.entries)


def rejection(hunt: Hunt, target: Target, right: list[Any]) -> BaseException | None:
    """Return why the hunt rejects a module; None where it accepts it."""
    return _run(hunt, target, Expect(right))


def _run(hunt: Hunt, target: Target, expect: Expect) -> BaseException | None:
    backend = target.backend
    with (
        backend.session(target.lesson.module, target.folders, PUBLIC_SEED),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        try:
            with time_limit(SECONDS):
                lesson = Lesson(backend, SECONDS, expect.complain)
                hunt(lesson, expect, Draw(PUBLIC_SEED, ENTRY))
        except CourseError:
            raise
        except (Exception, SystemExit, TimeUpError) as error:
            return error
    return None


def place(error: BaseException, file: Path) -> str:
    """Return where in the hunter's file an error was raised, with its line and its message."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(file)]
    if isinstance(error, TimeUpError):
        message = f"still running after {SECONDS:.0f} s"
    else:
        message = (str(error).splitlines() or [""])[0]
    if not isinstance(error, SPEAKING):
        message = f"{type(error).__name__} {message}".strip()
    if not lines:
        return message
    linecache.checkcache(str(file))
    text = linecache.getline(str(file), lines[-1] or 0).strip()
    return f"{file.name}:{lines[-1]}: {text}" + (f" ({message})" if message else "")

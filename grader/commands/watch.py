"""Check a lesson again whenever you save a file of it, until Ctrl-C."""

import argparse
import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from grader.judge.paths import ROOT
from grader.judge.standing import checked_lesson
from grader.syllabus import Lesson
from lessons.engine.errors import INTERRUPTED

CLEAR = "\x1b[2J\x1b[3J\x1b[H"  # the screen, what has scrolled away, and the cursor to the top


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("lesson", metavar="NN", help="the lesson")
    parser.add_argument(
        "--mine", action="store_true", help="use your own earlier lessons, not the reference"
    )


def run(options: argparse.Namespace) -> int:
    """Check once, then after every change."""
    lesson = checked_lesson(options.lesson)
    stop = threading.Event()

    def interrupt(signum: int, frame: object) -> None:
        stop.set()  # an exception can be swallowed on its way, by a destructor for one
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    with contextlib.suppress(KeyboardInterrupt):
        watch(lesson, options.mine, stop)
    print(f"\nno longer watching lesson {lesson.number}", flush=True)
    return INTERRUPTED


def watch(lesson: Lesson, mine: bool, stop: threading.Event) -> None:
    """Check the lesson whenever one of its files changes, until `stop` is set."""
    from grader.judge.session import CAN_END_LOOPS, Session
    from grader.judge.telling import judge_lesson, short_lines

    with Session(apart=not CAN_END_LOOPS, mine=mine) as session:
        for saved in changes(ROOT / "lessons" / lesson.number, stop):
            results, blocks = judge_lesson(lesson, session)
            clear()
            if saved:
                print(f"{saved} was saved\n")
            print("\n".join(short_lines(lesson, results, blocks)))
            print(f"\nwatching lessons/{lesson.number}; Ctrl-C ends", flush=True)


def changes(folder: Path, stop: threading.Event) -> Iterator[str]:
    """Yield "" at once, then the name of a file that was saved, whenever one was."""
    from watchfiles import Change
    from watchfiles import watch as watch_files

    def ours(change: Change, path: str) -> bool:
        return Path(path).suffix == ".py" and Path(path).parent.name == folder.name

    # begun before the first check: what is saved while the checks run is not missed
    waiting = watch_files(
        folder, watch_filter=ours, stop_event=stop, yield_on_timeout=True, rust_timeout=100
    )
    next(waiting)
    yield ""
    for found in waiting:
        if found:
            yield ", ".join(sorted({Path(path).name for _, path in found}))


def clear() -> None:
    """Clear the screen, where there is one."""
    if sys.stdout.isatty():
        print(CLEAR, end="")

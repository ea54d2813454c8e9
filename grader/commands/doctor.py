"""Say whether this machine is ready, and whether you are (--ready).

Exits with 0 when lesson 00 can be begun, else with 1.
"""

import argparse
import os
import sys

from lessons.engine.errors import CourseError

NOT_READY = 1
HUB_NAME = "distilbert/distilgpt2"
HUB_FILES = ["config.json", "model.safetensors"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--ready", action="store_true", help="eight questions: begin at lesson 00, or at 01?"
    )
    parser.add_argument("--answers", metavar="LETTERS", help="with --ready: answer all at once")
    parser.add_argument(
        "--fetch", action="store_true", help="bring DistilGPT-2 to this machine (350 MB)"
    )


def run(options: argparse.Namespace) -> int:
    """Look at the machine, ask the learner, or fetch the baseline."""
    if options.answers is not None and not options.ready:
        raise CourseError("--answers belongs to --ready: python -m grader doctor --ready")
    if options.ready:
        return self_test(options.answers)
    if options.fetch:
        return fetch()
    from grader.machine import look

    ready = True
    for finding in look():
        print(finding.line, flush=True)
        ready = ready and not finding.stops
    print("ready: python -m grader says what comes first" if ready else "not ready yet, see STOP")
    return 0 if ready else NOT_READY


def self_test(answers: str | None) -> int:
    """Ask the eight questions; where nobody can be asked, print them."""
    from grader.readiness import LETTERS, QUESTIONS, ask, judge, read_answers

    numbers = range(1, len(QUESTIONS) + 1)
    if answers is not None:
        print("\n".join(judge(read_answers(answers))))
    elif sys.stdin.isatty() and sys.stdout.isatty():
        from rich.console import Console
        from rich.prompt import Prompt

        console, given = Console(highlight=False), []
        for number in numbers:
            console.print(ask(number), markup=False)
            try:
                given.append(Prompt.ask("your answer", choices=list(LETTERS), console=console))
            except EOFError:
                raise CourseError("stopped before the last question; nothing was kept") from None
        console.print("\n".join(judge(given)), markup=False)
    else:
        print("\n".join(ask(number) for number in numbers))
        print(
            "Answer with one letter per question, in this order: "
            f"python -m grader doctor --ready --answers {(LETTERS * 2)[: len(QUESTIONS)]}"
        )
    return 0


def fetch() -> int:
    """Bring DistilGPT-2 into the local cache of the hub."""
    from lessons.engine.hub import hub_is_reachable

    if not hub_is_reachable():
        offline = "" if os.environ.get("HF_HUB_OFFLINE", "0") == "0" else " (HF_HUB_OFFLINE is set)"
        raise CourseError(
            f"the hub cannot be reached from here{offline}, so DistilGPT-2 was not fetched; the course "
            "works without it, or copy its config.json and model.safetensors from another machine "
            "into a folder and name that in COURSE_BASELINE"
        )
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when the library is imported
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(HUB_NAME, allow_patterns=HUB_FILES)
    except Exception as error:  # the hub's, the network's and the disk's have nothing in common
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise CourseError(
            f"DistilGPT-2 was not fetched ({first}); run the same command again to go on"
        ) from None
    print(f"DistilGPT-2 is in {folder}")
    return 0

"""Check a lesson without pytest; --json prints the results as one JSON object.

Exits with 0 when every core check passes and no stretch check that was begun fails, else with 1.
"""

import argparse
import json

from grader.judge.standing import checked_lesson


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("lesson", metavar="NN", help="the lesson")
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")
    parser.add_argument(
        "--apart", action="store_true", help="run your module in a process of its own"
    )
    parser.add_argument(
        "--mine", action="store_true", help="use your own earlier lessons, not the reference"
    )


def run(options: argparse.Namespace) -> int:
    """Judge the lesson and print what came of it."""
    lesson = checked_lesson(options.lesson)
    from grader.judge.answers import PUBLIC_SEED
    from grader.judge.report import as_report, exit_code
    from grader.judge.session import Session
    from grader.judge.telling import judge_lesson, long_lines

    with Session(options.apart, options.mine) as session:
        results, blocks = judge_lesson(lesson, session)
    if options.json:
        print(json.dumps(as_report(lesson, results, PUBLIC_SEED), indent=1))
    else:
        print("\n".join(long_lines(lesson, results, blocks)))
    return exit_code(results)

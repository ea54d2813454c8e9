"""Judges one submission where Gradescope wants it judged. `run_autograder` starts this.

    AUTOGRADER=/autograder python -m grader.instructor.houses.gradescope_run 05

It takes /autograder/submission and writes /autograder/results/results.json. Where the judge itself
fails, it writes nothing: Gradescope then tells the instructor that the autograder failed, and nobody
gets 0 points for it.
"""

import os
import sys
from pathlib import Path

from lessons.engine.errors import CourseError, run_command
from lessons.engine.files import write_json

from ...judge.backends import InAChild
from ...syllabus import find_lesson
from ..sandbox import InASandbox, sandbox_or_reason
from ..supervisor import judge_submission
from .gradescope import results_of
from .unprivileged import AsNobody, can_be_nobody, close_to_others


def main() -> int:
    """Judge, and write what Gradescope shows."""
    import torch

    torch.set_num_threads(1)
    home = Path(os.environ.get("AUTOGRADER", "/autograder"))
    results = home / "results" / "results.json"
    results.unlink(missing_ok=True)
    if not (home / "submission").is_dir():
        raise CourseError(f"no {home / 'submission'}: this is run by Gradescope's harness")
    close_to_others(
        *(home / name for name in ("source", "results", "submission", "submission_metadata.json"))
    )
    backend = safest()
    try:
        report = judge_submission(home / "submission", find_lesson(sys.argv[1]), backend)
    finally:
        backend.leave() if isinstance(backend, AsNobody) else backend.stop()
    results.parent.mkdir(parents=True, exist_ok=True)
    write_json(results, results_of(report))
    print(f"lesson {report['lesson']}: {report['points']}/{report['of']}, seed {report['seed']}")
    return 0


def safest() -> InAChild:
    """Return the best way to run a stranger's program that this container has."""
    sandbox = sandbox_or_reason()
    if isinstance(sandbox, InASandbox):
        return sandbox
    nobody = can_be_nobody()
    print(f"NOT ISOLATED: {sandbox}; it runs as {'nobody' if nobody else 'the same user'}")
    return AsNobody() if nobody else InAChild()


if __name__ == "__main__":
    sys.exit(run_command(main))

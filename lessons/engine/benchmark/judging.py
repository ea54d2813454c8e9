"""What judging costs: seconds for each variant of an audit, and for each submission of a class.

Nothing in this folder imports the judge; its commands are run and what they print is read.
"""

import re
import subprocess
import sys
import time

from .contender import TOP
from .measure import spread
from .settings import BenchmarkOptions
from .table import Row

AUDITED = ("03", "08")
SUBMISSIONS, PLAIN = 50, 40  # of ten, one is empty and one hostile
AUDIT = "`python -m grader audit`, lesson"
GRADING = "grading a class, lesson 03, seconds a submission"


def audit_rows(options: BenchmarkOptions) -> list[Row]:
    """Seconds for each variant (wrong, right or mutant), lesson by lesson."""
    missing = _cannot(options)
    made = []
    for lesson in AUDITED:
        row = Row(
            name=f"audit-{lesson}",
            work=f"{AUDIT} {lesson}",
            against="",
            figure_unit="s",
            target=0.3,
            at_least=False,
            missing=missing,
        )
        if missing:
            made.append(row)
            continue
        began = time.perf_counter()
        text = _run("-m", "grader", "audit", lesson)
        seconds = time.perf_counter() - began
        wrong, right, mutants = variants_in(text, lesson)
        count = wrong + right + mutants
        made.append(
            Row(
                name=row.name,
                work=f"{row.work}: {wrong} wrong and {right} right variants, {mutants} mutants",
                against="the number of variants judged",
                unit="s",
                ours=spread([seconds]),
                figure=spread([seconds / count]),
                figure_unit="s",
                target=0.3,
                at_least=False,
                limit="compute: every variant runs all checks, right ones with several seeds and in "
                "a process apart too; torch is imported once and each variant is a fork",
            )
        )
    return made


def variants_in(text: str, lesson: str) -> tuple[int, int, int]:
    """Wrong variants, right variants and mutants, from the table that an audit prints."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split("[│┃|]", line)[1:-1]]
        if len(cells) > 7 and cells[0] == lesson:
            return int(cells[3]), int(cells[5]), int(cells[7])
    raise AssertionError(f"no row for lesson {lesson} in what the audit printed:\n{text}")


def grading_rows(options: BenchmarkOptions) -> list[Row]:
    """Seconds a submission: our sandbox and checks against plain nbgrader with the same checks."""
    missing = _cannot(options)
    row = Row(
        name="grading",
        work=f"{GRADING}: {PLAIN} right and wrong ones",
        against="plain `nbgrader autograde` with the same checks in its kernel",
        unit="s",
        figure_unit="x",
        target=0.5,
        at_least=False,
        missing=missing,
    )
    if missing:
        return [row]
    began = time.perf_counter()
    try:
        text = _run(
            "-m", "grader.tests.load", "--dry-run", f"--count={SUBMISSIONS}", f"--plain={PLAIN}"
        )
    except AssertionError as error:
        return [Row(**{**row.__dict__, "missing": f"could not be run here: {_last_line(error)}"})]
    ours, plain, ratio = seconds_in(text)
    return [
        Row(
            **{
                **row.__dict__,
                "ours": spread([ours]),
                "theirs": spread([plain]),
                "figure": spread([ratio]),
                "limit": "starting: plain nbgrader starts a kernel for each submission, which imports "
                "torch; ours forks a process that has it, inside a sandbox",
                "note": f"one run, {time.perf_counter() - began:.0f} s with its class of hostile ones",
            }
        )
    ]


def seconds_in(text: str) -> tuple[float, float, float]:
    """Our seconds, plain nbgrader's and their ratio, from the table that the load test prints."""
    ours = re.search(r"alone \| ([\d.]+) s each", text)
    plain = re.search(r"in its kernel \| ([\d.]+) s each", text)
    ratio = re.search(r"\| ratio \| ([\d.]+)", text)
    if not (ours and plain and ratio):
        raise AssertionError(f"no seconds in what the load test printed:\n{text}")
    return float(ours[1]), float(plain[1]), float(ratio[1])


def _cannot(options: BenchmarkOptions) -> str:
    if not all((TOP / name).is_dir() for name in ("grader", "solutions")):
        return "the judge's bank is not here: only the course's owner can run this"
    return "takes minutes: left out with --quick" if options.quick else ""


def _run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=TOP, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"{' '.join(arguments)}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def _last_line(error: AssertionError) -> str:
    return str(error).strip().splitlines()[-1]

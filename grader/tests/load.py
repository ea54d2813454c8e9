"""Grades a made-up class and measures it: `python -m grader.tests.load`, part of `make verify`.

Two hundred submissions of one lesson, right, wrong, empty and hostile. All must be graded, each with
the points that it earned. Beside it, some of the same submissions go through plain nbgrader, whose
kernel runs the learner's module and the checks by itself. The table goes into the instructors' page.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil

from ..bank import right_variants, solution_of, wrong_variants
from ..judge.paths import ROOT
from ..judge.runner import load_checks
from ..stubs import make_stub
from ..syllabus import find_lesson

LESSON = find_lesson("03")
PAGE = ROOT / "site" / "instructors" / "grading.md"
MARK = "<!-- load: written by `python -m grader.tests.load` -->", "<!-- /load -->"
HOSTILE = {
    "leaves": "import os\nos._exit(0)\n",
    "loops": "while True:\n    try:\n        pass\n    except BaseException:\n        pass\n",
    "floods": "kept = []\nwhile True:\n    kept.append(bytearray(1 << 26))\n",
    "forks": "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass\n",
    "shouts": "import os\nwhile True:\n    for f in range(3, 20):\n        try:\n"
    "            os.write(f, b'x' * 65536)\n        except OSError:\n            pass\n",
}
# Plain nbgrader: the kernel itself runs the learner's module and the checks.
PLAIN = """
import sys
from pathlib import Path

sys.path.insert(0, {root!r})
from grader.judge.answers import read_answers
from grader.judge.backends import InThisProcess
from grader.judge.paths import judged_path
from grader.judge.runner import Target, load_checks, run_check
from grader.syllabus import find_lesson

lesson = find_lesson({number!r})
checks = {{check.name: check for check in load_checks(lesson)}}
answers = read_answers(lesson.number)
target = Target(lesson, judged_path(lesson.number, home=Path.cwd()), InThisProcess())

def points(name):
    result = run_check(checks[name], target, answers.right(name))
    if not result.passed:
        print(result.symptom, result.details)
    return result.points if result.passed else 0
""".strip()


@dataclass(frozen=True)
class Work:
    """What somebody hands in, and the points that it deserves."""

    kind: str  # right, wrong, empty or hostile
    source: str
    most: int  # points at most; right work gets exactly these


def make_class(count: int) -> dict[str, Work]:
    """Return student -> work: of ten, four are right, four wrong, one empty and one hostile."""
    of, solution = LESSON.points, solution_of(LESSON)
    right = [solution, *(variant.source for variant in right_variants(LESSON))]
    wrong = [variant.source for variant in wrong_variants(LESSON)]
    stub, hostile = make_stub(solution, LESSON), list(HOSTILE.values())
    works = {}
    for n in range(count):
        turn, kind = divmod(n, 10)
        if kind < 4:
            work = Work("right", right[(4 * turn + kind) % len(right)], of)
        elif kind < 8:
            work = Work("wrong", wrong[(4 * turn + kind) % len(wrong)], of - 1)
        else:
            work = Work("empty", stub, 0) if kind == 8 else Work("hostile", hostile[turn % 5], 0)
        works[f"student-{n:03}"] = work
    return works


def hand_in(works: dict[str, Work], course: Path) -> None:
    """Lay everything where nbgrader's collect would."""
    for student, work in works.items():
        folder = course / "submitted" / student / LESSON.number
        folder.mkdir(parents=True)
        (folder / f"{LESSON.module}.py").write_text(work.source, encoding="utf-8")


class Memory(threading.Thread):
    """Notes the most memory that a process and all below it hold at once, in bytes."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.process = psutil.Process(process)
        self.most = 0

    def run(self) -> None:
        """Look twice a second, until the process is gone."""
        while self.process.is_running():
            held = 0
            try:
                family = [self.process, *self.process.children(recursive=True)]
            except psutil.Error:
                return
            for one in family:
                try:
                    held += one.memory_info().rss - one.memory_info().shared
                except psutil.Error:
                    continue
            self.most = max(self.most, held)
            time.sleep(0.5)


def grade(course: Path, kill_after: float = 0.0) -> tuple[float, int]:
    """Run `grade-all`; return its seconds and the most memory. kill_after: end it after a while."""
    command = [sys.executable, "-m", "grader", "grade-all", str(course)]
    began = time.monotonic()
    run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
    memory = Memory(run.pid)
    memory.start()
    try:
        run.wait(kill_after or None)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    return time.monotonic() - began, memory.most


def reports_of(course: Path) -> dict[str, dict]:
    """Return student -> report."""
    folder = course / "reports" / LESSON.number
    return {p.stem: json.loads(p.read_text("utf-8")) for p in sorted(folder.glob("[!.]*.json"))}


def faults(works: dict[str, Work], reports: dict[str, dict]) -> list[str]:
    """Return what is not as it should be."""
    lost = [f"{student} has no report" for student in works.keys() - reports.keys()]
    return lost + [
        f"{student} ({work.kind}) got {reports[student]['points']} of {work.most}"
        for student, work in works.items()
        if student in reports
        and (
            reports[student]["points"] > work.most
            or (work.kind == "right" and reports[student]["points"] != work.most)
        )
    ]


def plain_nbgrader(works: dict[str, Work], course: Path) -> float:
    """Return the seconds a submission of `nbgrader autograde` whose kernel does all the work."""
    from ..instructor.nbgrading.cells import lesson_notebook, write_notebook

    notebook = lesson_notebook(LESSON, load_checks(LESSON))
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    graded = {check.name for check in load_checks(LESSON)}
    notebook.cells = [cell for cell in cells if cell.metadata.nbgrader.grade_id in graded]
    for cell in notebook.cells:
        cell.source = f"points({cell.metadata.nbgrader.grade_id!r})"
    first = json.loads(json.dumps(notebook.cells[0]))
    first["id"] = first["metadata"]["nbgrader"]["grade_id"] = "set-up"
    first["metadata"]["nbgrader"].update(grade=False)
    first["metadata"]["nbgrader"].pop("points", None)
    import nbformat

    first["source"] = PLAIN.format(root=str(ROOT), number=LESSON.number)
    notebook.cells.insert(0, nbformat.from_dict(first))
    write_notebook(notebook, course / "source" / LESSON.number / f"{LESSON.module}.ipynb")
    (course / "nbgrader_config.py").write_text("c = get_config()\n", encoding="utf-8")
    run_nbgrader("generate_assignment", course)
    hand_in(works, course)
    for student in works:
        folder = course / "submitted" / student / LESSON.number
        shutil.copy(course / "release" / LESSON.number / f"{LESSON.module}.ipynb", folder)
    began = time.monotonic()
    run_nbgrader("autograde", course)
    return (time.monotonic() - began) / len(works)


def run_nbgrader(command: str, course: Path) -> None:
    """Run one command of nbgrader's."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "JUPYTER_PLATFORM_DIRS": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    subprocess.run(
        [sys.executable, "-m", "nbgrader", command, LESSON.number],
        **{"cwd": course, "env": environment, "check": True, "capture_output": True},
    )


def measure(count: int, plain: int, folder: Path) -> tuple[list[str], list[str]]:
    """Grade a class, kill another run in the middle, compare; return the table and the faults."""
    works = make_class(count)
    hand_in(works, folder / "class")
    seconds, memory = grade(folder / "class")
    reports = reports_of(folder / "class")
    wrong = faults(works, reports)
    points = Counter(work.kind for work in works.values())
    some = dict(list(works.items())[: max(10, count // 4)])
    hand_in(some, folder / "killed")
    (folder / "killed" / "reports" / LESSON.number).mkdir(parents=True)
    run = f"reports/{LESSON.number}/.run.json"
    shutil.copy(folder / "class" / run, folder / "killed" / run)  # the same secret seed
    grade(folder / "killed", kill_after=seconds * len(some) / count / 2)
    halfway = len(reports_of(folder / "killed"))
    grade(folder / "killed")
    after = {student: report["points"] for student, report in reports_of(folder / "killed").items()}
    if after != {student: reports[student]["points"] for student in some}:
        wrong.append("killed and run again, the table is another one")
    few = dict([item for item in works.items() if item[1].kind in ("right", "wrong")][:plain])
    hand_in(few, folder / "few")
    ours = grade(folder / "few")[0] / len(few)
    plainly = plain_nbgrader(few, folder / "plain")
    kinds = ", ".join(f"{n} {kind}" for kind, n in points.items())
    table = [
        "| what | measured |",
        "|---|---|",
        f"| submissions of lesson {LESSON.number} | {count}: {kinds} |",
        f"| graded, none lost | {len(reports)} |",
        f"| with other points than deserved | {len(wrong)} |",
        f"| seconds a submission, hostile ones and all, {os.cpu_count()} cores | {seconds / count:.1f} |",
        f"| most memory at once, all processes | {memory / 2**30:.1f} GiB |",
        f"| {len(some)} of them, `kill -9` after {halfway}, run again | {'the same table' if not wrong else 'see above'} |",
        f"| {len(few)} right and wrong ones alone | {ours:.1f} s each |",
        f"| the same with plain `nbgrader autograde`, in its kernel | {plainly:.1f} s each |",
        f"| ratio | {ours / plainly:.2f} |",
    ]
    return table, wrong


def main() -> int:
    """Measure, and write the table into the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--plain", type=int, default=40, help="submissions for plain nbgrader")
    parser.add_argument("--dry-run", action="store_true", help="leave the page as it is")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="course-load-") as folder:
        table, wrong = measure(options.count, options.plain, Path(folder))
    print("\n".join([*table, *wrong]))
    if not options.dry_run:
        page = PAGE.read_text(encoding="utf-8")
        before, _, rest = page.partition(MARK[0])
        after = rest.partition(MARK[1])[2]
        text = "\n".join([before + MARK[0], *table, MARK[1] + after])
        PAGE.write_text(text, encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

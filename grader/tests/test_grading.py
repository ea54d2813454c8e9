"""`grade`, `grade-all` and `regrade`, as an instructor uses them."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from grader.bank import solution_of, wrong_variants
from grader.instructor.grading import RUN, known_report
from grader.instructor.sandbox import sandbox_or_reason
from grader.instructor.submissions import find_submissions, lessons_in
from grader.syllabus import find_lesson
from grader.tests.conftest import ROOT
from grader.tests.course_copy import Course, sentence
from lessons.engine.errors import CourseError

LESSON = find_lesson("03")
REASON = sandbox_or_reason()
pytestmark = pytest.mark.skipif(isinstance(REASON, str), reason=str(REASON))
SOLUTION = solution_of(LESSON)
MISTAKE = next(v for v in wrong_variants(LESSON) if v.name == "resid_dropout_forgotten")
HANDED_IN = {
    "ada/attention.py": SOLUTION,
    "bob/lessons/03/attention.py": MISTAKE.source,
    "cyn/attention.py": "import os\nos._exit(0)\n",
    "dan/readme.txt": "I could not come",
}
POINTS = {"ada": 26, "bob": 25, "cyn": 0, "dan": 0, "eve": 26}


def hand_in(folder: Path, files: dict[str, str] = HANDED_IN) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    with zipfile.ZipFile(folder / "eve.zip", "w") as archive:
        archive.writestr("homework/attention.py", SOLUTION)
    return folder


def grader(*arguments: str | Path, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "grader", *map(str, arguments)],
        **{"cwd": ROOT, "capture_output": True, "text": True, "timeout": 240} | options,
    )


def read_reports(folder: Path) -> dict[str, dict]:
    reports = (folder / "reports" / "03").glob("[!.]*.json")
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in reports}


@pytest.fixture(scope="module")
def graded(tmp_path_factory) -> tuple[Path, str]:
    """A class that has been graded, and what was printed."""
    folder = hand_in(tmp_path_factory.mktemp("class"))
    result = grader("grade-all", folder, "--lesson", "03")
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


def test_everybody_gets_the_points_of_their_work(graded):
    folder, said = graded
    reports = read_reports(folder)
    assert {student: report["points"] for student, report in reports.items()} == POINTS
    assert all(report["isolated"] and report["student"] == s for s, report in reports.items())
    assert reports["dan"]["submission"]["refused"] in said
    assert "5 submissions graded; 1 could not be taken" in said
    (failed,) = [c for c in reports["bob"]["checks"] if c["verdict"] == "failed"]
    assert failed["mistake"]["name"] == MISTAKE.name
    assert failed["gain"]


def test_a_class_is_judged_on_one_secret_seed(graded):
    folder, _ = graded
    seeds = {report["seed"] for report in read_reports(folder).values()}
    assert len(seeds) == 1
    assert seeds == {json.loads((folder / "reports" / "03" / RUN).read_text())["seed"]}
    assert seeds != {0}


def test_what_is_judged_already_stays(graded, tmp_path):
    folder = tmp_path / "class"
    shutil.copytree(graded[0], folder)
    before = read_reports(folder)
    (folder / "bob/lessons/03/attention.py").write_text(SOLUTION, encoding="utf-8")
    (folder / "reports/03/ada.json").write_text("{broken", encoding="utf-8")
    result = grader("grade-all", folder, "--lesson", "03", "--jobs", "1")
    assert result.returncode == 0, result.stderr
    assert "5 submissions graded, 3 of them in an earlier run" in result.stdout
    after = read_reports(folder)
    assert after["bob"]["points"] == after["ada"]["points"] == 26
    assert {s: after[s] for s in ("cyn", "dan", "eve")} == {
        s: before[s] for s in ("cyn", "dan", "eve")
    }
    assert after["bob"]["seed"] == before["bob"]["seed"]


@pytest.mark.slow
def test_killed_in_the_middle_and_run_again(tmp_path):
    """The same table as that of a run that nobody has killed."""
    files = {f"s{n:02}/attention.py": SOLUTION if n % 2 else MISTAKE.source for n in range(12)}
    folder = hand_in(tmp_path, files)
    command = [sys.executable, "-m", "grader", "grade-all", folder, "--lesson", "03"]
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
    until = time.monotonic() + 200
    while len(read_reports(folder)) < 3:
        assert time.monotonic() < until
        assert first.poll() is None
        time.sleep(0.2)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    done = read_reports(folder)
    assert 3 <= len(done) < 13
    result = grader("grade-all", folder, "--lesson", "03")
    assert result.returncode == 0, result.stderr
    assert f"13 submissions graded, {len(done)} of them in an earlier run" in result.stdout
    after = read_reports(folder)
    assert {s: after[s] for s in done} == done
    assert {report["seed"] for report in after.values()} == {done["s00"]["seed"]}
    points = {s: 26 if s == "eve" or int(s[1:]) % 2 else 25 for s in after}
    assert len(after) == 13
    assert {s: report["points"] for s, report in after.items()} == points


def test_one_submission_is_told_and_written_down(graded, tmp_path):
    folder, _ = graded
    seed = read_reports(folder)["bob"]["seed"]
    out = tmp_path / "bob.json"
    result = grader("grade", folder / "bob/lessons/03/attention.py", "--seed", seed, "--json", out)
    assert result.returncode == 1
    assert "lesson 03: 25/26 points" in result.stdout
    assert MISTAKE.says in result.stdout
    assert f"seed {seed}" in result.stdout
    again, before = json.loads(out.read_text()), read_reports(folder)["bob"]

    def lasting(report: dict) -> list:
        return [{k: v for k, v in c.items() if k != "seconds"} for c in report["checks"]]

    assert lasting(again) == lasting(before)  # the seed replays the verdict


def test_the_lesson_is_told_from_the_file(tmp_path):
    folder = hand_in(tmp_path)
    assert [lesson.number for lesson in lessons_in(folder / "eve.zip")] == ["03"]
    with pytest.raises(CourseError, match="holds no lesson's module"):
        lessons_in(folder / "dan")
    assert "no file or folder" in sentence(grader("grade", tmp_path / "nothing.py"))


def test_where_there_is_no_sandbox_nothing_is_graded(tmp_path):
    folder = hand_in(tmp_path)
    tools = tmp_path / "tools"
    tools.mkdir()
    environment = os.environ | {"PATH": str(tools)}
    for command in (["grade-all", folder], ["grade", folder / "eve.zip"]):
        said = sentence(grader(*command, "--lesson", "03", env=environment))
        assert "bwrap" in said
        assert "Nothing was graded" in said
    assert not (folder / "reports").exists()


def test_what_was_not_isolated_says_so(tmp_path):
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "attention.py").write_text(SOLUTION, encoding="utf-8")
    result = grader("grade-all", tmp_path, "--lesson", "03", "--not-isolated")
    assert result.returncode == 0, result.stderr
    assert "NOT ISOLATED" in result.stdout
    report = read_reports(tmp_path)["ada"]
    assert (report["isolated"], report["points"]) == (False, 26)
    (one,) = find_submissions(tmp_path, [LESSON])
    assert known_report(one, tmp_path / "reports") == report


@pytest.mark.parametrize(
    ("files", "lesson", "says"),
    [
        ({}, "03", "no submissions in"),
        ({"ada/attention.py": "", "ada.py": ""}, "03", "ada has handed in"),
        ({"ada/attention.py": ""}, "", "name the lesson"),
        ({"submitted/ada/04/attention.py": ""}, "03", "no submissions in"),
    ],
)
def test_a_folder_that_cannot_be_graded(files, lesson, says, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(CourseError, match=says):
        find_submissions(tmp_path, [find_lesson(lesson)] if lesson else [])


def test_an_nbgrader_folder_is_read_lesson_by_lesson(tmp_path):
    for name in ("submitted/bob/03/attention.py", "submitted/ada/03/attention.py"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("")
    (tmp_path / "submitted/ada/project").mkdir()
    found = find_submissions(tmp_path)
    assert [(one.number, one.student) for one in found] == [("03", "ada"), ("03", "bob")]


@pytest.mark.slow
def test_a_corrected_check_changes_marks_and_says_which(tmp_path):
    """Somebody was right after all: the check is dropped, and two marks go up."""
    course = Course(tmp_path / "course")
    folder = hand_in(tmp_path / "class")
    assert course.grader("grade-all", folder, "--lesson", "03").returncode == 0
    before = read_reports(folder)
    assert "nothing to do" in course.grader("regrade", folder, "--lesson", "03").stdout
    (wrong,) = [c["check"] for c in before["bob"]["checks"] if c["verdict"] == "failed"]
    tests = course.root / "lessons" / "03" / "test_attention.py"
    text = tests.read_text(encoding="utf-8")
    at = text.index(f"def {wrong}(")
    body = text.index('"""', text.index('"""', at) + 3) + 3
    tests.write_text(f"{text[:body]}\n    return\n{text[body:]}", encoding="utf-8")
    dry = course.grader("regrade", folder, "--lesson", "03", "--dry-run")
    assert "03  bob  25 -> 26 of 26" in dry.stdout, dry.stdout + dry.stderr
    assert read_reports(folder) == before
    result = course.grader("regrade", folder, "--lesson", "03")
    assert f"{wrong}: failed, now passed" in result.stdout
    assert "5 judged again, 1 marks changed" in result.stdout
    after = read_reports(folder)
    assert after["bob"]["points"] == 26
    assert after["bob"]["seed"] == before["bob"]["seed"]
    assert after["bob"]["version"] != before["bob"]["version"]
    kept = folder / "reports" / "03" / "before" / f"bob.{before['bob']['version']}.json"
    assert json.loads(kept.read_text(encoding="utf-8")) == before["bob"]
    (table,) = (folder / "reports" / "03").glob("changes-*.csv")
    (row,) = csv.DictReader(table.open(encoding="utf-8"))
    assert (row["student"], row["old"], row["new"]) == ("bob", "25", "26")
    assert "nothing to do" in course.grader("regrade", folder, "--lesson", "03").stdout

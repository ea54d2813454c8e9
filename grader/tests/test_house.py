"""nbgrader's course folder, and what is known to go wrong with nbgrader 0.9.6.

| what nbgrader does | here | test |
|---|---|---|
| any text on stderr in a test cell is 0 points | cells are filled in without running | test_cells: test_only_what_passed_has_points |
| `### BEGIN SOLUTION` stays in a `.py` | the stub is written, no solution | test_build_writes_the_stub_and_the_same_bytes |
| feedback shows hidden tests | cells hold none; samples are taken out | test_hand_ins: test_hostile_hand_ins |
| `nbgrader validate` always exits with 0 | nothing hangs on it: cells point to pytest | test_cells: test_cells_in_a_learners_hands_... |
| a cell that returns -1 gets full marks | a cell's points are 0 or the cell's own | test_cells: test_only_what_passed_has_points |
| one odd `grade_id` stops everybody after it | our cells are put back first | test_hand_ins: test_hostile_hand_ins |
| files that a student adds survive | deleted from the graded copy | test_hand_ins: test_hostile_hand_ins |
| `os._exit` loses the submission | judged in another process | test_hand_ins: test_hostile_hand_ins |
| `collect` follows links | copied without links | test_hand_ins: test_collect_takes_no_links_and_no_other_names |
| `collect` takes another's name with a warning | left out | the same |
| one odd folder stops `collect` for everybody | left out | the same |
| `collect` believes a time that the sender may change | written anew, and told | the same |
| an odd `timestamp.txt` or secret stops `release_feedback` | made sound first | test_hand_ins: test_hostile_hand_ins |
| the gradebook can be written from a kernel | no kernel is started | test_hand_ins: test_hostile_hand_ins |
| MathJax comes from elsewhere | feedback asks the network for nothing | test_hand_ins: test_hostile_hand_ins |
| each command takes 3 s to start | one command grades the class | test_term |
| names with commas break the table | quoted | test_table_of_marks_survives_odd_names |
| a late penalty forgets marks typed later | worked out again | test_term |
"""

import datetime as dt
import re
import sqlite3
import sys
from pathlib import Path

import nbformat
import pytest

from grader.__main__ import main
from grader.instructor.course.roster import read_roster
from grader.instructor.nbgrading.handing_in import before_grading
from grader.instructor.nbgrading.house import build, gradebook_of, make_course
from grader.instructor.nbgrading.marks import course_of, penalty, taught
from grader.instructor.nbgrading.preprocessing import backend_or_stop
from grader.judge.paths import ROOT
from grader.stub_store import stub_of
from grader.syllabus import find_lesson
from lessons.engine.errors import CourseError

ROSTER = """id,first_name,last_name,email
ada,Ada,"Lovelace, Countess",ada@x.org
bob,Bob
../eve,Eve,E,eve@x.org
ada,Other,Ada,other@x.org
gil,Gil,G,gil@x.org
"""


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("house") / "cs1"
    make_course(folder)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".db"
    }


# init


def test_init_makes_all_that_is_needed_and_again_changes_nothing(course, tmp_path):
    roster = tmp_path / "roster.csv"
    roster.write_text(ROSTER)
    made = make_course(course, roster)
    assert "2 students added, 0 were there already" in made.lines
    assert [t.partition(":")[0] for t in made.troubles] == [
        f"roster.csv, line {n}" for n in (3, 4, 5)
    ]
    assert "cannot be an id" in made.troubles[1] and "stands there twice" in made.troubles[2]
    (course / "nbgrader_config.py").write_text(
        (course / "nbgrader_config.py").read_text() + "c.mine = 1\n"
    )
    before = contents(course)
    again = make_course(course, roster, course_id="other")
    assert "0 students added, 2 were there already" in again.lines
    assert contents(course) == before
    with gradebook_of(course, "cs1") as gradebook:
        assert {s.id: s.last_name for s in gradebook.students} == {
            "ada": "Lovelace, Countess",
            "gil": "G",
        }


def test_dates_of_the_course_are_in_the_gradebook(course):
    (course / "course.toml").write_text(
        'timezone = "Europe/Berlin"\n[[lesson]]\nnumber = "03"\ndue = 2026-12-01\npoints = 13\n'
    )
    try:
        made = make_course(course)
        assert "lesson 03 is due 2026-12-01 23:59 CET" in made.lines
        with gradebook_of(course, "cs1") as gradebook:
            assert str(gradebook.find_assignment("03").duedate) == "2026-12-01 22:59:59"
        assert build(course, ["03"])[0].endswith("13 points for checks, 8 for written answers")
        with pytest.raises(CourseError, match="this course has no lesson '05'"):
            build(course, ["05"])
    finally:
        (course / "course.toml").unlink()


@pytest.mark.parametrize(
    "text", ["id;first name;LAST-NAME\r\nada;Ada;L\r\n", "\ufeffUsername\tMail\nada\tx\n"]
)
def test_rosters_of_other_programs(tmp_path, text):
    (tmp_path / "r.csv").write_text(text, encoding="utf-8", newline="")
    people, troubles = read_roster(tmp_path / "r.csv")
    assert [person["id"] for person in people] == ["ada"] and not troubles


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"name,email\nx,y\n", "no column `id`"),
        (b"", "no column `id`"),
        ("id,name\nä,Größe\n".encode("cp1252"), "not saved as UTF-8"),
        (None, "cannot be read"),
    ],
)
def test_a_roster_that_is_none(tmp_path, content, says):
    if content is not None:
        (tmp_path / "r.csv").write_bytes(content)
    with pytest.raises(CourseError, match=re.escape(says)):
        read_roster(tmp_path / "r.csv")


def test_an_exchange_without_rights_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CourseError, match="exchange folder .* cannot be used .*choose another one"):
        make_course(tmp_path / "course", exchange=tmp_path / "file" / "exchange")


def test_a_locked_gradebook_is_one_sentence(course, monkeypatch):
    monkeypatch.setattr("grader.instructor.nbgrading.handing_in.SECONDS", 0.1)
    monkeypatch.chdir(course)
    other = sqlite3.connect(course / "gradebook.db")
    other.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(SystemExit, match="gradebook.db cannot be written .*nothing is lost"):
            before_grading("03", "*", ["submitted/ada/03/attention.ipynb"])
    finally:
        other.close()
    before_grading("03", "*", ["submitted/ada/03/attention.ipynb"])


def test_a_broken_course_file_stops_grading_with_one_sentence(course, monkeypatch):
    (course / "course.toml").write_text("[[lesson]]\nnumber = 5\n")
    monkeypatch.chdir(course)
    try:
        with pytest.raises(SystemExit, match=r"course.toml, line 2: .*; nothing was graded"):
            before_grading("03", "*", ["submitted/ada/03/attention.ipynb"])
    finally:
        (course / "course.toml").unlink()


@pytest.mark.parametrize("reason", ["bwrap cannot be found", "bubblewrap can make no sandbox"])
def test_no_sandbox_is_one_sentence(monkeypatch, reason):
    monkeypatch.setattr("grader.instructor.nbgrading.preprocessing._sandbox", lambda: reason)
    with pytest.raises(SystemExit, match=rf"^{reason}.*JudgeSubmission.isolated = False"):
        backend_or_stop(isolated=True)


def test_commands_say_what_is_next(tmp_path, capsys):
    assert main(["nbgrader", "build", str(tmp_path)]) == 2
    assert capsys.readouterr().err.strip() == (
        f"{tmp_path} is no course folder yet: python -m grader nbgrader init {tmp_path}"
    )


# build


def test_build_writes_the_stub_and_the_same_bytes(course):
    build(course, ["05"])
    first = contents(course)
    build(course, ["05"])
    assert contents(course) == first
    home = course / "source" / "05"
    assert {path.name for path in home.iterdir()} == {"model.ipynb", "model.py"}
    assert (home / "model.py").read_text() == stub_of(find_lesson("05"))
    nbformat.validate(nbformat.read(home / "model.ipynb", as_version=4))


# marks


def test_table_of_marks_survives_odd_names(tmp_path):
    from nbgrader.apps import ExportApp
    from nbgrader.coursedir import CourseDirectory

    from grader.instructor.nbgrading.marks import MarksTable

    roster = tmp_path / "r.csv"
    roster.write_text('id,first_name,last_name\nada,"=1+1","Love, ""Lace"""\n')
    make_course(tmp_path / "cs", roster)
    app = ExportApp()
    app.coursedir = CourseDirectory(root=str(tmp_path / "cs"))
    with gradebook_of(tmp_path / "cs", "cs") as gradebook:
        gradebook.add_assignment("03")
        table = MarksTable(to=str(tmp_path / "marks.csv"))
        table.parent = app
        table.export(gradebook)
    lines = (tmp_path / "marks.csv").read_text().splitlines()
    assert lines[1] == """03,,,ada,"Love, ""Lace""\",'=1+1,,0.0,0.0,0.0,0.0"""


def test_nothing_slow_is_imported_for_the_configuration():
    """nbgrader reads the configuration at each command, and each takes 3 s without us."""
    import subprocess

    code = "import sys, grader.instructor.nbgrading.house as h; print('torch' in sys.modules, 'nbgrader' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    ("hours", "extension", "loses"), [(-1, 0, None), (30, 0, 4), (30, 48, None), (200, 0, 20)]
)
def test_what_lateness_takes(tmp_path, hours, extension, loses):
    from types import SimpleNamespace

    (tmp_path / "course.toml").write_text(
        'timezone = "Asia/Tokyo"\n[late]\npercent = 10\nlatest_days = 5\n'
        '[[lesson]]\nnumber = "03"\ndue = 2026-12-01T18:00:00\n'
    )
    lesson = taught(course_of(str(tmp_path)), "03")
    due = dt.datetime(2026, 12, 1, 9) + dt.timedelta(hours=extension)  # UTC, as nbgrader has it
    came = dt.datetime(2026, 12, 1, 9) + dt.timedelta(hours=hours)
    late = max(0.0, (came - due).total_seconds())
    submission = SimpleNamespace(timestamp=came, duedate=due, total_seconds_late=late)
    assert penalty(submission, 20, lesson) == (None if loses is None else pytest.approx(loses))
    assert penalty(submission, 20, None) is None

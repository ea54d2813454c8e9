"""`python -m grader marks`: tables as Canvas' and Moodle's importers read them."""

import csv
import datetime as dt
import io
import re

import pytest

from grader.__main__ import main
from grader.instructor.course.people import Person
from grader.instructor.houses.lms import Mark, Marks, number, table_for
from grader.tests.reports_made import MISTAKE, failed, put, report

PEOPLE = {
    "ada": Person("ada", "Ada", "Lovelace", "ada@example.org", "1017"),
    "ben": Person("ben", "Ben", "=cmd()", "ben@example.org"),
    "zoe": Person("zoe", "Zoë", "Zorn"),
}
MARKS = Marks(
    PEOPLE,
    {"03": 26.0, "05": 20.0},
    {("ada", "03"): Mark(24.5, 1.25), ("ben", "03"): Mark(0.0), ("ada", "05"): Mark(20, 0, True)},
    [],
)


def read(text):
    return list(csv.reader(io.StringIO(text)))


def test_canvas_finds_its_columns_and_its_second_line():
    """As lib/gradebook_importer.rb of canvas-lms reads a file: header, Points Possible, students."""
    head, possible, *students = read(table_for("canvas", MARKS, ["03"]))
    assert "Student" in head[0]
    assert "ID" in head[1]
    assert re.search(r"SIS\s+User\s+ID", head[2])
    assert re.search(r"SIS\s+Login\s+ID", head[3])
    assert "Section" in head[4]  # the last column before the assignments
    assert head[5:] == ["Lesson 03: Attention"]
    assert "Points Possible" in possible[0]
    assert possible[5:] == ["26"]
    assert students == [
        ["Lovelace, Ada", "1017", "", "ada", "", "24.5"],
        ["'=cmd(), Ben", "", "", "ben", "", "0"],
    ]  # zoe has no mark: an empty cell would take away what she has there


def test_moodle_leaves_alone_who_has_no_mark():
    """`-` is "no grade" to Moodle's importer; a row without a user stops all of the import."""
    head, *people = read(table_for("moodle", MARKS))
    assert head[:4] == ["username", "idnumber", "email", "Lesson 03: Attention"]
    assert people == [
        ["ada", "1017", "ada@example.org", "24.5", "20"],
        ["ben", "", "ben@example.org", "0", "-"],
    ]
    assert all(row[0] for row in people)


def test_plain_says_what_is_not_final():
    rows = list(csv.DictReader(io.StringIO(table_for("plain", MARKS))))
    assert len(rows) == 6
    found = {(row["student"], row["assignment"]): row for row in rows}
    assert found["ada", "03"]["late"] == "1.25"
    assert [found["ada", n]["final"] for n in ("03", "05")] == ["yes", "no"]
    assert found["zoe", "03"]["score"] == ""


def test_numbers_have_a_point_and_no_more_than_two_places():
    assert [number(x) for x in (0.0, 10.0, 24.5, 1 / 3, 100.0)] == [
        "0",
        "10",
        "24.5",
        "0.33",
        "100",
    ]


def test_without_a_gradebook_the_reports_count(tmp_path, capsys):
    put(tmp_path, report("ada"))
    put(tmp_path, report("ben", attention=failed(MISTAKE)))
    assert main(["marks", str(tmp_path), "--for", "canvas"]) == 0
    told = capsys.readouterr()
    assert "checks alone" in told.err
    table = read((tmp_path / "marks-canvas-03.csv").read_text(encoding="utf-8"))
    assert [row[5] for row in table[1:]] == ["6", "6", "3"]
    assert main(["marks", str(tmp_path), "--lesson", "09"]) == 2
    assert "no marks for 09" in capsys.readouterr().err


def test_without_anything_it_says_so(tmp_path, capsys):
    assert main(["marks", str(tmp_path)]) == 2
    assert "grade-all" in capsys.readouterr().err
    (tmp_path / "gradebook.db").write_text("no database, but long enough to be taken for one" * 9)
    assert main(["marks", str(tmp_path)]) == 2
    assert "cannot be read" in capsys.readouterr().err


@pytest.fixture
def graded(tmp_path):
    """A course folder whose gradebook has one assignment with a check and a written answer."""
    from grader.instructor.nbgrading.house import gradebook_of, make_course

    make_course(tmp_path, course_id="autumn")
    with gradebook_of(tmp_path, "autumn") as gradebook:
        gradebook.add_student("ada", first_name="Ada", last_name="Lovelace", lms_user_id="1017")
        gradebook.add_student("ben")
        gradebook.add_assignment("03", duedate=dt.datetime(2026, 11, 1))
        gradebook.add_notebook("attention", "03")
        gradebook.add_grade_cell("check", "attention", "03", max_score=4, cell_type="code")
        gradebook.add_grade_cell("why", "attention", "03", max_score=2, cell_type="markdown")
        for student in ("ada", "ben"):
            gradebook.add_submission("03", student)
            checked = gradebook.find_grade("check", "attention", "03", student)
            checked.auto_score, checked.needs_manual_grade = 3, False
        done = gradebook.find_grade("why", "attention", "03", "ada")
        done.manual_score, done.needs_manual_grade = 1.5, False
        gradebook.find_grade("why", "attention", "03", "ben").needs_manual_grade = True
        gradebook.db.commit()
    return tmp_path


def test_marks_by_hand_are_in_the_table(graded, capsys):
    assert main(["marks", str(graded), "--for", "canvas"]) == 0
    assert "03: 1 still wait" in capsys.readouterr().err
    table = read((graded / "marks-canvas-03.csv").read_text(encoding="utf-8"))
    assert table[1][5] == "6"
    assert table[2:] == [
        ["Lovelace, Ada", "1017", "", "ada", "", "4.5"],
        ["ben", "", "", "ben", "", "3"],
    ]

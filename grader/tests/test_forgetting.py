"""`python -m grader forget`: nothing of one learner is left, and everything of the others is."""

import shutil

import pytest

from grader.__main__ import main
from grader.instructor.nbgrading.house import gradebook_of, make_course
from grader.tests.reports_made import put, report


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A course folder with all its rooms, in which ada and adam have done the same."""
    course = tmp_path_factory.mktemp("made") / "course"
    make_course(course, course_id="autumn")
    (course / "roster.csv").write_text("id,first_name\nada,Ada\nadam,Adam\n")
    with gradebook_of(course, "autumn") as gradebook:
        gradebook.add_assignment("03")
        gradebook.add_notebook("attention", "03")
        for student in ("ada", "adam"):
            gradebook.add_student(student)
            gradebook.add_submission("03", student)
    exchange = course / "exchange" / "autumn"
    for name in ("inbound", "feedback"):
        (exchange / name).mkdir(parents=True)
    from nbgrader.utils import notebook_hash

    for student in ("ada", "adam"):
        put(course, report(student), f"# {student}\n")
        for room in ("autograded", "feedback"):
            (course / room / student / "03").mkdir(parents=True)
        feedback = course / "feedback" / student / "03"
        (feedback / "attention.html").write_text(student)
        (feedback / "submission_secret.txt").write_text(f"secret of {student}")
        name = notebook_hash(secret=f"secret of {student}", notebook_id="attention")
        (exchange / "feedback" / f"{name}.html").write_text(student)
        (exchange / "inbound" / f"{student}+03+2026-11-21 17:00:00 UTC").mkdir()
    assert main(["class", str(course), "--pseudonyms"]) == 0
    assert main(["class", str(course)]) == 0
    return course


@pytest.fixture
def course(made, tmp_path):
    """A copy, to delete from."""
    copy = tmp_path / "course"
    shutil.copytree(made, copy)
    config = copy / "nbgrader_config.py"
    config.write_text(config.read_text().replace(str(made), str(copy)))
    return copy


def everything(course):
    return {str(path.relative_to(course)) for path in course.rglob("*")}


def test_without_yes_nothing_is_deleted(course, capsys):
    before = everything(course)
    assert main(["forget", str(course), "ada"]) == 0
    assert "--yes" in capsys.readouterr().out
    assert everything(course) == before


def test_nothing_of_one_is_left_and_all_of_the_others(course, capsys):
    (course / "course.toml").write_text("# extension for ada\n")
    before = everything(course)
    assert main(["forget", str(course), "ada", "--yes"]) == 0
    assert "course.toml names ada" in capsys.readouterr().out
    gone = before - everything(course)
    assert not any("adam" in name for name in gone if not name.startswith("class"))
    for path in course.rglob("*"):
        assert path.name not in ("ada", "ada.json"), path
        assert not path.name.startswith("ada+"), path
        if path.is_file() and path.suffix in (".csv", ".html", ".json", ".py"):
            assert "ada" not in path.read_text(encoding="utf-8").replace("adam", ""), path
    assert len(list((course / "exchange" / "autumn" / "feedback").iterdir())) == 1
    assert (course / "roster.csv").read_text() == "id,first_name\nadam,Adam\n"
    with gradebook_of(course, "autumn") as gradebook:
        assert [student.id for student in gradebook.students] == ["adam"]
        assert len(gradebook.find_assignment("03").submissions) == 1
    assert main(["forget", str(course), "ada"]) == 0
    assert "holds nothing of ada" in capsys.readouterr().out
    assert main(["class", str(course), "--pseudonyms"]) == 0
    assert "ada," not in (course / "pseudonyms.csv").read_text()


@pytest.mark.parametrize("student", ["", "..", "*", "a/b"])
def test_what_is_no_id_deletes_nothing(course, capsys, student):
    before = everything(course)
    assert main(["forget", str(course), student, "--yes"]) == 2
    assert "no student's id" in capsys.readouterr().err
    assert everything(course) == before

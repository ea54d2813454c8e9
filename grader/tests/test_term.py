"""A term with real nbgrader, from the empty folder to the table of marks.

The short form goes once around with lesson 03. The long one has two users and the exchange: one
hands in late, one has an extension, one hands in again, marks are typed by hand, and a check that
was too strict is corrected in the end.
"""

import csv
import datetime as dt
import json
import re
from pathlib import Path

import pytest

from grader.bank import wrong_variants
from grader.instructor.sandbox import sandbox_or_reason
from grader.judge.paths import ROOT
from grader.syllabus import find_lesson

from .course_copy import Course
from .nbgrader_house import House

pytestmark = pytest.mark.skipif(
    isinstance(sandbox_or_reason(), str), reason=str(sandbox_or_reason())
)
TOML = """
timezone = "UTC"
[late]
percent = 10
latest_days = 5
[[lesson]]
number = "00"
[[lesson]]
number = "02"
[[lesson]]
number = "03"
[[lesson]]
number = "04"
[[lesson]]
number = "05"
due = {due}
[lesson.extensions]
ada = {later}
"""


def test_short_term(tmp_path):
    """Built, released, handed in twice, graded in one go, fed back, and exported."""
    house = House(tmp_path, "03", "attention")
    house.run("generate_assignment", "03")
    right, wrong = sources("03", "resid_dropout_forgotten")
    for student, source in (("ada", right), ("bob", wrong)):
        house.write(folder := house.submitted(student), source)
    house.answer(folder, the_mask_came_too_late="The future leaks.")
    house.run("autograde", "03")
    house.run("generate_feedback", "03")
    house.run("export")
    by_pytest = [points_by_pytest(tmp_path, "03", "attention", [right, wrong])]
    assert marks(house, "raw_score") == {"ada": 26, "bob": 25}
    assert by_pytest == [[26, 25]]
    page = house.course / "feedback" / "bob" / "03" / "attention.html"
    html = page.read_text(encoding="utf-8")
    assert (
        "The result does not go through resid_dropout." in html and "for graders only" not in html
    )


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_whole_term(tmp_path):
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None, microsecond=0)
    due, later = now - dt.timedelta(hours=30), now + dt.timedelta(days=1)
    toml = TOML.format(due=due.isoformat(), later=later.isoformat())
    teachers = Course(tmp_path / "teachers")
    house = House(tmp_path, "05", "model", toml, teachers.root)
    right, wrong = sources("05", "residual_projections_not_scaled")
    for command in ("generate_assignment", "release_assignment"):
        house.run(command, "05")
    for student, source in (("ada", wrong), ("bob", wrong)):
        house.as_student(student, "fetch_assignment", "05")
        house.write(house.fetched(student), source)
        house.answer(house.fetched(student), one_table_two_jobs=f"{student} says: dot products.")
        house.as_student(student, "submit", "05", f"--student={student}")
    house.run("collect", "05")
    house.run("autograde", "05")
    points = {"right": 29}
    [points["wrong"], points["right"]] = points_by_pytest(tmp_path, "05", "model", [wrong, right])
    assert points["wrong"] < points["right"] == find_lesson("05").points

    with house.gradebook() as gradebook:  # what the formgrader does
        for student in ("ada", "bob"):
            name = "answer-one-table-two-jobs"
            grade = gradebook.find_grade(name, "model", "05", student)
            assert grade.needs_manual_grade
            grade.manual_score = 3
        gradebook.db.commit()
    house.run("export")
    score = points["wrong"] + 3
    assert marks(house, "raw_score") == {"ada": score, "bob": score}
    assert marks(house, "late_submission_penalty") == {"ada": 0, "bob": pytest.approx(score * 0.2)}
    assert marks(house, "score") == {"ada": score, "bob": pytest.approx(score * 0.8)}

    # ada hands in again; everybody is graded once more, and typed marks stay
    house.write(house.fetched("ada"), right)
    house.as_student("ada", "submit", "05", "--student=ada")
    house.run("collect", "05", "--update")
    house.run("autograde", "05", "--force")
    house.run("generate_feedback", "05")
    house.run("release_feedback", "05")
    house.run("export")
    whole = points["right"] + 3
    assert marks(house, "score") == {"ada": whole, "bob": pytest.approx(score * 0.8)}
    assert marks(house, "max_score") == {"ada": 29 + 8, "bob": 29 + 8}
    house.as_student("ada", "fetch_feedback", "05")
    pages = list(house.fetched("ada").rglob("*.html"))
    assert len(pages) == 1
    html = pages[0].read_text(encoding="utf-8")
    assert f"ada: {whole} of 37 points" in html and "ada says: dot products." in html

    # week six: what bob failed was asked too strictly; the check is corrected, and only that changes
    (failed,) = [
        check["check"] for check in report(house, "bob")["checks"] if check["verdict"] == "failed"
    ]
    ask_nothing(teachers.root / "lessons" / "05" / "test_model.py", f"def {failed}(")
    hidden = teachers.root / "grader" / "instructor" / "hidden" / "guard_05.py"
    ask_nothing(hidden, f'@guard("{failed}")')
    said = teachers.grader("regrade", house.course, "--lesson", "05", options={"timeout": 280})
    assert f"05  bob  {points['wrong']} -> 29 of 29" in said.stdout, said.stdout + said.stderr
    assert "2 judged again, 1 marks changed" in said.stdout
    house.run("autograde", "05", "--force")
    house.run("export")
    assert marks(house, "score") == {"ada": whole, "bob": pytest.approx(whole * 0.8)}


def report(house: House, student: str) -> dict:
    """Return the supervisor's report on a student."""
    path = house.course / "reports" / house.number / f"{student}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def ask_nothing(path: Path, begin: str) -> None:
    """Let the function that begins so return before its first line."""
    text = path.read_text(encoding="utf-8")
    docstring = text.index('"""', text.index(begin))
    body = text.index('"""', docstring + 3) + 3
    path.write_text(f"{text[:body]}\n    return\n{text[body:]}", encoding="utf-8")


def sources(number: str, mistake: str) -> tuple[str, str]:
    """Return a lesson's solution, and the variant with a mistake."""
    lesson = find_lesson(number)
    wrong = next(v.source for v in wrong_variants(lesson) if v.name == mistake)
    return (ROOT / "solutions" / f"{lesson.module}.py").read_text(encoding="utf-8"), wrong


def points_by_pytest(home: Path, number: str, module: str, versions: list[str]) -> list[int]:
    """Return the points that `pytest lessons/NN` gives to each version."""
    root = home / "learner"
    root.mkdir()
    course = Course(root)
    points = []
    for source in versions:
        (root / "lessons" / number / f"{module}.py").write_text(source, encoding="utf-8")
        said = course.python("-m", "pytest", f"lessons/{number}", "-q").stdout
        points.append(int(re.findall(rf"lesson {number}: (\d+)/", said)[-1]))
    return points


def marks(house: House, column: str) -> dict[str, float]:
    """Return student -> a column of the table of marks."""
    with (house.course / "grades.csv").open(newline="", encoding="utf-8") as file:
        return {
            row["student_id"]: float(row[column])
            for row in csv.DictReader(file)
            if row["assignment"] == house.number
        }

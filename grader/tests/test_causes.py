"""`--mine`: a slip in an earlier lesson is told as that, and the checkpoints say which one it is."""

import json
import shutil

import pytest

from grader.bank import wrong_variants
from grader.checks import Check
from grader.judge.runner import load_checks
from grader.judge.standing import check_names
from grader.syllabus import find_lesson
from grader.tests.course_copy import Course

CHAIN = ("00", "01", "02", "03", "04", "05")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Course:
    """A course of somebody who has written lessons 00 to 05."""
    course = Course(tmp_path_factory.mktemp("course"))
    for number in CHAIN:
        finish(course, number)
    return course


def finish(course: Course, number: str) -> None:
    name = f"{find_lesson(number).module}.py"
    shutil.copy(course.root / "solutions" / name, course.root / "lessons" / number / name)


def make_mistake(course: Course, number: str, mistake: str) -> None:
    lesson = find_lesson(number)
    (variant,) = [v for v in wrong_variants(lesson) if v.name == mistake]
    file = course.root / "lessons" / number / f"{lesson.module}.py"
    file.write_text(variant.source, encoding="utf-8")


def checked(course: Course, number: str, *options: str) -> dict:
    """Return each check's result that did not pass, by its name."""
    result = course.grader("check", number, "--mine", "--json", *options)
    checks = json.loads(result.stdout)["checks"]
    bad = {c["check"]: c for c in checks if c["verdict"] not in ("passed", "skipped")}
    assert result.returncode == (1 if bad else 0), result.stderr
    return bad


@pytest.mark.parametrize("options", [(), ("--apart",)], ids=["here", "apart"])
def test_a_slip_in_an_earlier_lesson_is_told_as_that(options, finished):
    make_mistake(finished, "03", "missing_scale")
    try:
        bad = checked(finished, "04", *options)
    finally:
        finish(finished, "03")
    assert bad
    for result in bad.values():
        assert result["verdict"] == "blocked"
        assert result["mistake"] == {}
        assert result["symptom"].startswith(
            "blocked by lesson 03: with the reference's attention.py this passes; test_"
        )
        assert result["where"].startswith("lessons/03/attention.py:")


def test_with_the_reference_withheld_the_earlier_lessons_own_checks_tell(finished):
    make_mistake(finished, "03", "missing_scale")
    hidden = finished.root / "hidden"
    (finished.root / "solutions").rename(hidden)
    try:
        bad = checked(finished, "04")
    finally:
        hidden.rename(finished.root / "solutions")
        finish(finished, "03")
    assert bad
    for result in bad.values():
        assert result["symptom"].startswith("blocked by lesson 03: its own checks fail; test_")


def test_a_slip_of_ones_own_is_blamed_on_nobody(finished):
    make_mistake(finished, "04", "eps_outside_the_root")
    make_mistake(finished, "03", "missing_scale")  # both: first what is this lesson's own
    try:
        bad = checked(finished, "04")
    finally:
        finish(finished, "03")
        finish(finished, "04")
    own = [result for result in bad.values() if result["step"] == "LayerNorm.forward"]
    assert own
    assert {result["verdict"] for result in own} == {"failed"}
    assert {result["mistake"]["name"] for result in own} == {"eps_outside_the_root"}


def test_checkpoints_run_with_ones_own_library_alone():
    lesson = find_lesson("05")
    extra = {c.name for c in load_checks(lesson, mine=True)} - {c.name for c in load_checks(lesson)}
    assert extra == {
        "test_your_tokenizer_gives_a_story_back",
        "test_your_model_learns_a_story_by_heart",
    }
    assert check_names(lesson) == [c.name for c in load_checks(lesson)]  # what the board counts
    every: list[Check] = load_checks(lesson, mine=True)
    assert all(check.points == 0 for check in every if check.mine)


@pytest.mark.parametrize(
    ("number", "mistake"),
    [
        ("00", "bits_instead_of_nats"),
        ("01", "white_space_lost"),
        ("04", "inner_bracket_missing"),
    ],
)
def test_the_checkpoint_names_the_lesson(number, mistake, finished):
    only = ("-m", "pytest", "lessons/05/test_whole_library.py", "-p", "no:cacheprovider", "-q")
    make_mistake(finished, number, mistake)
    try:
        without = finished.python(*only)
        broken = finished.python(*only, "--mine")
    finally:
        finish(finished, number)
    assert without.returncode == 5  # nothing of it runs without --mine
    assert broken.returncode == 1
    assert "Traceback" not in broken.stdout
    assert f"blocked by lesson {number}: with the reference's " in broken.stdout


def test_the_checkpoint_of_a_finished_library(finished):
    done = finished.python(
        *("-m", "pytest", "lessons/05/test_whole_library.py", "-p", "no:cacheprovider", "--mine"),
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout

"""`reset`, and everything that a learner can do to the commands that makes no sense."""

import resource
import shutil

import pytest

from grader.tests.course_copy import Course, sentence


@pytest.fixture
def course(tmp_path) -> Course:
    return Course(tmp_path)


# Beginning anew


def test_reset_keeps_what_was_written(course):
    backups = course.root / ".course" / "backups"
    assert "is the stub already" in course.grader("reset", "03").stdout
    for number, theirs in enumerate((b"x = 1\n", "y = 'ü'".encode("utf-16")), start=1):
        course.attention.write_bytes(theirs)
        result = course.grader("reset", "03")
        assert result.returncode == 0, result.stderr
        assert course.attention.read_text(encoding="utf-8") == course.stub
        (kept,) = backups.glob(f"03-attention-*-{number}.py")
        assert kept.read_bytes() == theirs
        assert kept.relative_to(course.root).as_posix() in result.stdout
    course.attention.rename(course.attention.with_name("my_attention.py"))
    assert "left as they are: lessons/03/my_attention.py" in course.grader("reset", "03").stdout
    course.attention.write_text("")
    course.progress.write_text("{")  # nothing that a damaged note could stop
    shutil.rmtree(course.root / "solutions")
    assert course.grader("reset", "attention").returncode == 0
    assert course.attention.read_text(encoding="utf-8") == course.stub
    assert len(list(backups.iterdir())) == 2

    (course.root / "grader" / "answers" / "stubs.json").write_text('{"03": "?"}')
    course.attention.write_text("x = 1\n")
    assert "stubs.json is damaged" in sentence(course.grader("reset", "03"))
    assert course.attention.read_text() == "x = 1\n"


def test_reset_loses_nothing_on_a_full_disk(course):
    course.attention.write_text("# work\n" * 100)

    def full(size: int) -> dict:  # of any file that is written
        return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))}

    assert "so nothing was changed" in sentence(course.grader("reset", "03", options=full(100)))
    assert course.attention.read_text() == "# work\n" * 100
    assert "could not be written" in sentence(course.grader("reset", "03", options=full(2000)))
    assert course.attention.read_text() == "# work\n" * 100
    assert len(list(course.root.glob(".course/backups/*"))) == 1
    assert course.grader("reset", "03").returncode == 0


# What cannot be


@pytest.mark.parametrize("command", ["check", "watch", "hint", "reset", "stuck", "hunt"])
def test_a_lesson_that_is_not_there_is_one_sentence(course, command):
    assert "no lesson '77'; there are: 00" in sentence(course.grader(command, "77"))
    (course.root / "lessons" / "14" / "test_tinystories.py").unlink()
    if command != "reset":
        assert "lesson 14 has no checks yet" in sentence(course.grader(command, "14"))


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"03": 4}', '{"03": {"checks": {"a": {"points": "1"}}}}']
)
def test_a_damaged_progress_file_is_one_sentence(course, content):
    course.progress.parent.mkdir()
    course.progress.write_text(content)
    for command in ([], ["hint", "03"], ["hunt", "03"]):
        assert ".course/progress.json is damaged" in sentence(course.grader(*command))
    assert course.progress.read_text() == content


def test_a_place_that_cannot_be_written_costs_a_sentence_or_nothing(course):
    (course.root / ".course").write_text("a file where a folder should be")
    course.attention.write_text("x = 1\n")
    assert "so nothing was changed" in sentence(course.grader("reset", "03"))
    (told,) = course.graders("check 03")
    assert "0/26 points" in told

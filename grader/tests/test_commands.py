"""What the learner types: `python -m grader` and its commands, in a copy of the course."""

import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from grader.tests.course_copy import Course

OWN_PLACE_HIDDEN = ("key_places <= query_places", "key_places < query_places")
UNKNOWN = ("key_places <= query_places", "key_places <= query_places + 2")  # no mistake of the bank


@pytest.fixture
def course(tmp_path) -> Course:
    return Course(tmp_path)


def sentence(result: subprocess.CompletedProcess[str]) -> str:
    """The one sentence with which a command ends that was used wrongly."""
    assert result.returncode == 2, result.stdout + result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


# The board


def test_the_board_starts_at_once_and_says_what_comes_first(course):
    course.grader()  # compiles
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = course.grader()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["lesson", "core", "stretch", "state"]
    assert lines[4].split() == ["03", "Attention", "0/22", "0/4", "untouched"]
    assert any(line.endswith("no checks yet") for line in lines)
    assert lines[-1].startswith("next: lesson 00, Tensors by doing: read lessons/00/README.md")
    assert lines[-1].endswith("then type: pytest lessons/00")
    code = (
        "import sys; from grader.__main__ import main; main([]);"
        "print({'torch', 'numpy', 'rich'} & {*sys.modules})"
    )
    assert course.python("-c", code).stdout.endswith("set()\n")


def test_without_any_package_there_is_a_board_and_a_doctor_and_a_sentence(course):
    bare = "-S"  # Python without site-packages
    assert "next: " in course.python(bare, "-m", "grader").stdout
    assert "torch is not installed" in sentence(course.python(bare, "-m", "grader", "check", "03"))
    ill = course.python(bare, "-m", "grader", "doctor")
    assert ill.returncode == 1, ill.stderr
    (stop,) = [line for line in ill.stdout.splitlines() if line.startswith("STOP")]
    assert "torch, numpy" in stop
    assert "pip install -r requirements.txt" in stop


def test_a_lesson_from_the_stub_to_the_hunt(course):
    closed = sentence(course.grader("hunt", "03"))
    assert "opens when its core is finished" in closed
    result = course.grader("check", "3", "--json")
    assert result.returncode == 1, result.stderr
    report = json.loads(result.stdout)
    assert {key: report[key] for key in report if key != "checks"} == {
        **{"lesson": "03", "seed": 0, "points": 0, "of": 26},
        **{"core": 0, "core_of": 22, "stretch": 0, "stretch_of": 4},
    }
    assert {check["verdict"] for check in report["checks"]} == {"not written"}

    head, mask, rest = course.solution.partition("def scaled_dot_product_attention")
    assert mask
    first = head + course.stub[course.stub.index(mask) :]
    course.attention.write_text(first, encoding="utf-8")
    (told,) = course.graders("check 03")
    assert "lesson 03: 3/26 points (core 3/22, stretch 0/4)\nnext: write scaled_dot" in told
    assert told.endswith("exit 1")
    board = course.grader().stdout
    assert board.splitlines()[4].split() == ["03", "Attention", "3/22", "0/4", "begun"]
    assert "next: write scaled_dot_product_attention (lessons/03/attention.py:" in board
    assert board.endswith("; then type: pytest lessons/03\n")

    course.attention.write_text(first + rest[:0] + "\n# saved\n", encoding="utf-8")
    board = course.grader().stdout
    assert board.splitlines()[4].endswith("3/22   0/4      changed since the last run")
    assert board.endswith("it is now; type: pytest lessons/03\n")

    course.write()
    template = course.root / ".course" / "hunt_03.py"
    assertion = course.root / "mine.py"
    assertion.write_text(
        "import torch\n"
        "mask = lesson.causal_mask(4)\n"
        "assert mask.dtype == torch.bool\n"
        "assert mask.tolist() == torch.ones(4, 4).tril().bool().tolist(), 'a staircase'\n"
    )
    narrow = course.root / "narrow.py"
    narrow.write_text(
        "def catches(lesson, draw):\n"
        "    q = draw.normal(2, 3, 4)\n"
        "    output, weights = lesson.scaled_dot_product_attention(q, q + 1, q)\n"
        "    assert float(weights.sum()) == 6.0\n"  # exactly: some right ones round otherwise
    )
    endless = course.root / "endless.py"
    endless.write_text("assert not lesson.causal_mask(2).all(), 'all'\nraise ValueError('no')\n")
    check, hunt, again, found, missed, own = course.graders(
        "check 03",
        "hunt 03",
        "hunt 03",
        "hunt 03 mine.py",
        "hunt 03 narrow.py",
        "hunt 03 endless.py",
    )
    assert "26/26 points" in check
    assert check.endswith("exit 0")
    assert hunt.startswith(".course/hunt_03.py is a template")
    assert "is there already" in again
    assert "def catches(lesson, expect, draw):" in template.read_text(encoding="utf-8")
    assert "missed, by step: scaled_dot_product_attention" not in found  # causal_mask's come first
    assert "right ones pass" in found
    assert found.endswith("exit 0")
    assert "rejects 0 of" not in found
    assert "wrongly rejected: the right version `" in missed
    assert "at narrow.py:4: assert float" in missed
    assert missed.endswith("exit 1")
    assert own.startswith("your hunt rejects the reference itself, at endless.py:2: raise Value")
    board = course.grader().stdout
    assert board.splitlines()[4].split() == ["03", "Attention", "22/22", "4/4", "finished"]

    course.python("-c", "import shutil; shutil.rmtree('grader/bank')")
    assert "withheld here" in sentence(course.grader("hunt", "03", "mine.py"))


def test_check_says_what_pytest_says(course):
    course.write(OWN_PLACE_HIDDEN)
    mine = course.grader("check", "03", "--mine")
    progress = course.progress.read_text(encoding="utf-8")
    assert json.loads(progress)["03"]["own"] == ["00"]
    assert "(with your own 00)" in course.grader().stdout
    course.progress.unlink()
    pytests = course.python("-m", "pytest", "lessons/03", "-p", "no:cacheprovider", "--mine")
    assert mine.returncode == pytests.returncode == 1
    lines = [line for line in mine.stdout.splitlines() if line and not line.startswith("--- ")]
    assert len(lines) > 20
    assert [line for line in lines if line not in pytests.stdout.splitlines()] == []
    assert course.progress.read_text(encoding="utf-8") == progress


# Help


def test_hints_come_one_by_one_and_begin_anew(course):
    course.write(OWN_PLACE_HIDDEN)
    three = course.graders("hint 03", "hint 03", "hint 03", "hint 03", "hint 03 --name")
    assert [text.splitlines()[1].partition(",")[0] for text in three[:4]] == [
        *("hint 1 of 3", "hint 2 of 3", "hint 3 of 3", "hint 3 of 3")
    ]
    assert three[4].splitlines()[1:] == [
        "A query may not see the key at its own place.",
        "Look at the comparison between the places of the keys and those of the queries.",
        "exit 0",
    ]
    course.write()
    assert "no hint is needed" in course.graders("check 03", "hint 03")[1]
    course.write(UNKNOWN)
    texts = course.graders("hint 03 --name", "hint 03 --all", "hint 03")
    assert "not one of the mistakes that the judge knows" in texts[0]
    assert [f"hint {n} of 3" in texts[1] for n in (1, 2, 3)] == [True] * 3
    assert "hint 3 of 3" in texts[2]
    course.attention.write_text("def causal_mask(:\n", encoding="utf-8")
    (broken,) = course.graders("hint 03")
    assert "lessons/03/attention.py:1 is not valid Python" in broken
    assert "hint 1 of 3" not in broken


def test_stuck_is_shown_first_and_names_nobody(course):
    course.write(OWN_PLACE_HIDDEN)
    with course.attention.open("a", encoding="utf-8") as file:
        file.write("# by ada.lovelace, /home/ada.lovelace/x and " + str(course.root) + "/y\n")
    who = {"HOME": "/home/ada.lovelace", "USER": "ada.lovelace", "LOGNAME": "ada.lovelace"}
    shown = course.grader("stuck", "03", **who)
    assert shown.returncode == 0, shown.stderr
    assert "nothing was written" in shown.stderr
    assert not list(course.root.glob(".course/stuck*"))
    assert "this one: test_no_place_sees_the_future" in shown.stdout
    assert "def causal_mask(" in shown.stdout
    assert "# by <user>, ~/x and <course>/y\n" in shown.stdout
    assert "lovelace" not in shown.stdout
    written = course.grader("stuck", "03", "--yes", **who | {"USER": "max", "LOGNAME": "max"})
    (file,) = course.root.glob(".course/stuck-03-*.txt")
    assert file.read_text(encoding="utf-8") + "\n" == written.stdout
    assert "<user>" not in written.stdout  # max is a word of torch's, and of Python's


def test_watch_checks_again_on_every_save(course):
    pty = pytest.importorskip("pty")
    mine, theirs = pty.openpty()
    environment = {name: v for name, v in os.environ.items() if name not in ("COURSE_PATH",)}
    watching = subprocess.Popen(
        [sys.executable, "-m", "grader", "watch", "03"],
        cwd=course.root,
        env=environment | {"OMP_NUM_THREADS": "1"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    seen = ""

    def wait_for(text: str) -> str:
        nonlocal seen
        until = time.monotonic() + 60
        while text not in seen:
            assert time.monotonic() < until, seen
            seen += os.read(mine, 65536).decode("utf-8", "replace")
        before, _, seen = seen.partition(text)
        return before

    try:
        assert "next: write causal_mask" in wait_for("Ctrl-C ends")
        course.write()
        second = wait_for("Ctrl-C ends")
        assert "\x1b[2J" in second
        assert "attention.py was saved" in second
        assert "26/26 points" in second
        watching.send_signal(signal.SIGINT)
        wait_for("no longer watching lesson 03")
        assert watching.wait(timeout=30) == 130
    finally:
        watching.kill()
        watching.wait()
        os.close(mine)


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
    course.python("-c", "import shutil; shutil.rmtree('solutions')")
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

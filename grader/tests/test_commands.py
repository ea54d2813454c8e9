"""What the learner types: `python -m grader` and its commands, in a copy of the course."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest

from grader.syllabus import read_syllabus
from grader.tests.course_copy import Course, sentence

OWN_PLACE_HIDDEN = ("key_places <= query_places", "key_places < query_places")
UNKNOWN = ("key_places <= query_places", "key_places <= query_places + 2")  # no mistake of the bank


@pytest.fixture
def course(tmp_path) -> Course:
    return Course(tmp_path)


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
    every = [lesson.number for lesson in read_syllabus()]
    assert [line.split()[0] for line in lines[1 : 1 + len(every)]] == every
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


def test_a_lesson_from_the_stub_to_its_end(course):
    head, mask, rest = course.solution.partition("def scaled_dot_product_attention")
    assert rest
    course.version("begun", text=head + course.stub[course.stub.index(mask) :])
    course.version("whole")
    report, told, board, end, last = course.graders(
        "check 3 --json", "save begun", "check 03", "board", "save whole", "check 03", "board"
    )
    report, _, status = report.rpartition("\n")
    assert status == "exit 1"
    report = json.loads(report)
    assert {key: report[key] for key in report if key != "checks"} == {
        **{"lesson": "03", "seed": 0, "points": 0, "of": 26},
        **{"core": 0, "core_of": 22, "stretch": 0, "stretch_of": 4},
    }
    assert {check["verdict"] for check in report["checks"]} == {"not written"}
    assert "lesson 03: 3/26 points (core 3/22, stretch 0/4)\nnext: write scaled_dot" in told
    assert told.endswith("exit 1")
    assert row(board) == ["03", "Attention", "3/22", "0/4", "begun"]
    assert "next: write scaled_dot_product_attention (lessons/03/attention.py:" in board
    assert board.endswith("; then type: pytest lessons/03\nexit 0")
    assert "26/26 points" in end
    assert end.endswith("exit 0")
    assert row(last) == ["03", "Attention", "22/22", "4/4", "finished"]
    assert "next: lesson 04, Blocks: read lessons/04/README.md" in last

    with course.attention.open("a", encoding="utf-8") as file:
        file.write("# saved\n")
    changed = course.grader().stdout
    assert row(changed)[2:] == ["22/22", "4/4", "changed", "since", "the", "last", "run"]
    assert changed.endswith("it is now; type: pytest lessons/03\n")
    course.attention.unlink()
    assert "lessons/03/attention.py is not there" not in course.grader().stdout.splitlines()[4]
    assert row(course.grader().stdout)[-2:] == ["file", "missing"]


def row(board: str) -> list[str]:
    """The line of lesson 03."""
    return board.splitlines()[4].split()


HUNTS = {
    "staircase": "import torch\n"
    "mask = lesson.causal_mask(4)\n"
    "assert mask.dtype == torch.bool\n"
    "assert mask.tolist() == torch.ones(4, 4).tril().bool().tolist(), 'a staircase'\n",
    # too narrow: those that compute in another order round in another way
    "narrow": "def catches(expect, lesson, draw):\n"
    "    q, k, v = draw.normal(2, 3, 4, 5), draw.normal(2, 3, 6, 5), draw.normal(2, 3, 6, 7)\n"
    "    output, weights = lesson.scaled_dot_product_attention(q, k, v)\n"
    "    expect(weights, tolerance=1e-9)\n",
    "mistaken": "assert lesson.causal_mask(2)[1, 0]\nraise ValueError('no')\n",
    "blind": "def catches():\n    pass\n",
}


def test_a_hunt(course):
    assert "opens when its core is finished" in sentence(course.grader("hunt", "03"))
    course.version("whole")
    for name, text in HUNTS.items():
        (course.root / f"{name}.py").write_text(text)
    hunts = [f"hunt 03 {name}.py" for name in HUNTS]
    _, first, second, good, narrow, mistaken, blind = course.graders(
        "save whole", "check 03", "hunt 03", "hunt 03", *hunts
    )
    assert first.startswith(".course/hunt_03.py is a template")
    assert second.startswith(".course/hunt_03.py is there already")
    template = (course.root / ".course" / "hunt_03.py").read_text(encoding="utf-8")
    compile(template, "hunt_03.py", "exec")
    assert "def catches(lesson, expect, draw):" in template
    assert not good.startswith("lesson 03: it rejects 0 of ")
    assert "\nmissed, by step: " in good
    assert "right ones pass" in good
    assert good.endswith("exit 0")
    assert "wrongly rejected: the right version `" in narrow
    assert "at narrow.py:4: expect(weights, tolerance=1e-9)" in narrow
    assert narrow.endswith("exit 1")
    line = "your hunt rejects the reference itself, at mistaken.py:2: raise ValueError('no')"
    assert mistaken.startswith(line)
    assert blind.startswith("lesson 03: it rejects 0 of ")
    assert blind.endswith("exit 1")
    shutil.rmtree(course.root / "grader" / "bank")
    assert "withheld here" in sentence(course.grader("hunt", "03", "mine.py"))


def test_check_says_what_pytest_says(course):
    course.version("wrong", *OWN_PLACE_HIDDEN)
    course.save("wrong")
    mine = course.grader("check", "03", "--mine")
    progress = course.progress.read_text(encoding="utf-8")
    assert json.loads(progress)["03"]["own"] == ["00"]
    assert "(with your own 00)" in course.grader().stdout
    course.progress.unlink()
    pytests = course.python("-m", "pytest", "lessons/03", "-p", "no:cacheprovider", "--mine")
    assert mine.returncode == pytests.returncode == 1
    lines = [line for line in mine.stdout.splitlines() if line and not line.startswith("--- ")]
    assert len(lines) > 15
    assert [line for line in lines if line not in pytests.stdout.splitlines()] == []
    assert course.progress.read_text(encoding="utf-8") == progress


# Help


def test_hints_come_one_by_one_and_begin_anew(course):
    course.version("wrong", *OWN_PLACE_HIDDEN)
    course.version("unknown", *UNKNOWN)
    course.version("broken", text="def causal_mask(:\n")
    course.version("whole")
    *four, named, _, none, unnamed, all_three, broken = course.graders(
        *("save wrong", "hint 03", "hint 03", "hint 03", "hint 03", "hint 03 --name"),
        *("save whole", "check 03", "hint 03"),
        *("save unknown", "hint 03 --name", "hint 03 --all"),
        *("save broken", "hint 03"),
    )
    assert [text.splitlines()[1].partition(",")[0] for text in four] == [
        *("hint 1 of 3", "hint 2 of 3", "hint 3 of 3", "hint 3 of 3")
    ]
    assert named.splitlines()[1:] == [
        "A query may not see the key at its own place.",
        "Look at the comparison between the places of the keys and those of the queries.",
        "exit 0",
    ]
    assert "no hint is needed" in none
    assert "not one of the mistakes that the judge knows" in unnamed
    assert [f"hint {n} of 3" in all_three for n in (1, 2, 3)] == [True] * 3
    assert "lessons/03/attention.py:1 is not valid Python" in broken
    assert "hint 1 of 3" not in broken


def test_stuck_is_shown_first_and_names_nobody(course):
    course.version("wrong", *OWN_PLACE_HIDDEN)
    course.save("wrong")
    with course.attention.open("a", encoding="utf-8") as file:
        file.write(f"# by ada.lovelace, /home/ada.lovelace/x and {course.root}/y\n")
    who = {"HOME": "/home/ada.lovelace", "USER": "ada.lovelace", "LOGNAME": "ada.lovelace"}
    shown = course.grader("stuck", "03", **who)
    assert shown.returncode == 0, shown.stderr
    assert "nothing was written" in shown.stderr
    assert not list(course.root.glob(".course/stuck*"))
    assert "this one: test_no_place_sees_the_future" in shown.stdout
    assert "def causal_mask(" in shown.stdout
    assert "# by <user>, ~/x and <course>/y\n" in shown.stdout
    assert "lovelace" not in shown.stdout
    (written,) = course.graders("stuck 03 --yes")
    (file,) = course.root.glob(".course/stuck-03-*.txt")
    assert file.read_text(encoding="utf-8").strip() + "\nexit 0" == written


def test_a_name_that_is_a_word_of_the_code_stays(monkeypatch):
    from grader.anonymous import anonymous

    for key in ("USER", "LOGNAME", "USERNAME"):
        monkeypatch.setenv(key, "Max")
    monkeypatch.setenv("HOME", "/home/max")
    text = "x.max() in /home/max/course, by Maxim"
    assert anonymous(text) == "x.max() in ~/course, by Maxim"
    monkeypatch.setenv("USER", "softmax")
    assert anonymous("softmax was here") == "<user> was here"
    assert anonymous("softmax was here", ordinary="def softmax(x):") == "softmax was here"


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
        course.version("whole")
        course.save("whole")
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

"""`pytest lessons/03` as a learner meets it: in a copy of the course, by the commands they type."""

import re
import shutil
import sys

import pytest

from grader.syllabus import find_lesson
from grader.tests.course_copy import Course

POINTS = find_lesson("03").points
CORE = sum(step.points for step in find_lesson("03").steps if step.kind == "core")
HEADERS = re.compile(r"^=+ lesson (\d\d): ", re.MULTILINE)

# Several runs in one process, because torch takes its time; "save NAME" and "cd FOLDER" between.
SEVERAL = """
import os, shutil, sys
import pytest
root = os.getcwd()
for command in sys.argv[1:]:
    word, _, rest = command.partition(" ")
    if word == "save":
        shutil.copy(os.path.join(root, f"{rest}.py"), os.path.join(root, "lessons/03/attention.py"))
    elif word == "cd":
        os.chdir(os.path.join(root, rest))
    elif word == "move":
        os.replace(*(os.path.join(root, name) for name in rest.split()))
    else:
        print(f"\\n=== {int(pytest.main(rest.split()))}", flush=True)
"""


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Course:
    return Course(tmp_path_factory.mktemp("course"))


@pytest.fixture(autouse=True)
def untouched(course):
    """Every test begins with the stub, and with nothing noted down."""
    course.attention.write_text(course.stub, encoding="utf-8")
    shutil.rmtree(course.root / ".course", ignore_errors=True)
    course.version("solution")
    course.version("scale", " / math.sqrt(q.shape[-1])", "")


def read(result) -> str:
    """What a run shows; nothing of it may be a traceback or a bug of ours."""
    text = result.stdout + result.stderr
    for bad in ("Traceback", "INTERNALERROR", "Error in sys.excepthook"):
        assert bad not in text, text
    return text


def pytests(course: Course, *commands: str, **environment: str) -> list[str]:
    """Run several commands, return what each run of pytest shows, with its exit code at the end."""
    result = course.python("-c", SEVERAL, *commands, **environment)
    text = read(result)
    assert result.returncode == 0, text
    *runs, rest = text.split("\n=== ")
    assert not rest.partition("\n")[2], rest
    codes = [run.partition("\n")[0] for run in [*runs[1:], rest]]
    bodies = [runs[0], *(run.partition("\n")[2] for run in runs[1:])]
    return [f"{body.strip()}\nexit {code}" for body, code in zip(bodies, codes, strict=True)]


def test_an_untouched_stub(course):
    result = course.python("-m", "pytest", "lessons/03")
    text, lines = read(result), result.stdout.splitlines()
    place = r"\(lessons/03/attention\.py:\d+\)"
    assert result.returncode == 1
    assert lines[-3] == f"lesson 03: 0/{POINTS} points (core 0/{CORE}, stretch 0/{POINTS - CORE})"
    assert re.fullmatch(rf"next: write causal_mask {place}", lines[-2])
    unwritten = re.findall(rf"^test_\w+: not written yet: [\w.]+ {place}$", text, re.MULTILINE)
    assert len(unwritten) == int(re.search(r"(\d+) not written in", lines[-1])[1])
    assert "FAILURES" not in text
    assert "FAILED" not in text
    line = int(re.search(r"attention\.py:(\d+)", lines[-2])[1])
    written = course.stub.splitlines()[line - 1]
    assert "NotImplementedError" in written or "def causal_mask" in written


def test_a_solution_in_its_place_also_apart_and_from_anywhere(course, tmp_path):
    course.save("solution")
    for arguments in (["-W", "error"], ["--apart"]):
        result = course.python(
            *("-m", "pytest", course.root / "lessons" / "03", *arguments),
            options={"cwd": tmp_path},
        )
        text = read(result)
        assert result.returncode == 0, text
        assert f"lesson 03: {POINTS}/{POINTS} points (core {CORE}/{CORE}, " in text
        assert "finished. next: lesson 04, Blocks (lessons/04/README.md)" in text
        assert "you predicted (" in text
        assert not list(tmp_path.iterdir())


def test_side_by_side(course):
    """With pytest-xdist the results come from several processes, and the points are the same."""
    course.save("scale")
    result = course.python("-m", "pytest", "lessons/03", "-n", "2", "-q")
    text = read(result)
    assert result.returncode == 1
    assert "not right yet: " in text
    assert text.count("lesson 03: ") == 2  # its heading, and its points
    points = int(re.search(rf"lesson 03: (\d+)/{POINTS} points", text)[1])
    assert 0 < points < POINTS
    assert "next: mend scaled_dot_product_attention (lessons/03/attention.py:" in text


def test_one_mistake_from_the_first_failure_to_the_end(course):
    first, second, last, one, none, apart, done = pytests(
        course,
        "save scale",
        "pytest lessons/03 -q",
        "pytest lessons/03 -q -x",
        "pytest lessons/03 -q --lf",
        "pytest lessons/03 -q -k merging",
        "pytest lessons/03 -q -k absent",
        "pytest lessons/03 -q -k by_hand --apart",
        "save solution",
        "pytest lessons/03 -q",
    )
    assert "  ? How large does a sum of D products become" in first
    assert "  What it is: python -m grader hint 03 --name, or run this check again." in first
    assert "The scores are not divided" not in first
    assert "scaled_dot_product_attention fails too, and it is used here: mend that first" in first
    assert first.endswith("exit 1")
    assert "  ! The scores are not divided by sqrt(D).\n    Look at " in second
    assert "stopping after 1 failures" in second
    assert " passed" not in last
    assert "these checks pass" not in last
    assert last.count("not right yet") >= last.count("FAILED") > 1
    assert "deselected" in one
    assert none.endswith("exit 5")
    assert "The scores are not divided by sqrt(D)." in apart
    assert done.endswith("exit 0")
    assert f"lesson 03: {POINTS}/{POINTS} points" in done


def test_parts_of_the_course(course):
    core_only = course.solution
    for step in ("fused_attention", "sliding_window_mask"):
        at = core_only.index("# <solution>", core_only.index(f"\ndef {step}("))
        end = core_only.index("# </solution>", at)
        unwritten = f'raise NotImplementedError("lesson 03: {step}")\n    '
        core_only = core_only[:at] + unwritten + core_only[end:]
    course.version("core_only", text=core_only)
    own_00 = course.root / "lessons" / "00" / "bigram.py"
    stub_00 = own_00.read_text(encoding="utf-8")
    shutil.copy(course.root / "solutions" / "bigram.py", course.root / "finished_00.py")
    try:
        core, some, inside, mine, own, withheld, whole = pytests(
            course,
            "save core_only",
            "pytest lessons/03 -q",
            "save solution",
            "pytest lessons/03 -q -k mask",
            "cd lessons/03",
            "pytest -q",
            "cd .",
            "pytest lessons/03 -q --mine",
            "move finished_00.py lessons/00/bigram.py",
            "pytest lessons/03 -q --mine",
            "move solutions hidden",
            "pytest lessons/03 -q",
            "move hidden solutions",
            "pytest lessons -q",
        )
    finally:
        own_00.write_text(stub_00, encoding="utf-8")
    assert core.endswith("exit 0")
    assert f"lesson 03: {CORE}/{POINTS} points (core {CORE}/{CORE}, stretch 0/" in core
    assert "core finished. next: lesson 04, Blocks" in core
    assert "or, if you like, write fused_attention (lessons/03/attention.py:" in core
    assert "these checks pass; pytest lessons/03 runs them all" in some
    assert f"lesson 03: {POINTS}/{POINTS} points" in inside
    assert mine.endswith("exit 1")
    blocked = (
        r"test_\w+ and \d+ more: blocked by lesson 00: softmax is not written yet \(lessons/00/"
    )
    assert re.search(blocked, mine)
    assert "next: blocked by lesson 00: softmax is not written yet (lessons/00/bigram.py:" in mine
    for run in (own, withheld):
        assert run.endswith("exit 0")
        assert f"lesson 03: {POINTS}/{POINTS} points" in run
    assert whole.endswith("exit 1")
    lessons = HEADERS.findall(whole)
    assert lessons == sorted(set(lessons))
    assert "03" in lessons
    assert f"lesson 03: {POINTS}/{POINTS} points" in whole


BROKEN = {
    "syntax": ("x = (", "lessons/03/attention.py:1 is not valid Python: '(' was never closed, in"),
    "import": ("import nunpy", "lessons/03/attention.py:1 cannot be imported: ModuleNotFoundError"),
    "exit": (
        "exit()",
        "lessons/03/attention.py:1 ends the whole program as soon as it is imported",
    ),
    "input": ("input()", "it asks for input with `input()`, but nobody is there to type"),
    "bytes": (b"s = '\xe9\xe9'", "lessons/03/attention.py:1 is not saved as UTF-8"),
    "gone": (None, "attention.py is not there; `python -m grader reset 03` brings the stub back"),
}


def test_files_that_cannot_be_imported(course):
    commands = []
    for name, (content, _) in BROKEN.items():
        if content is None:
            commands += ["move lessons/03/attention.py renamed.py"]
        else:
            data = content if isinstance(content, bytes) else content.encode()
            (course.root / f"{name}.py").write_bytes(data)
            commands += [f"save {name}"]
        commands += ["pytest lessons/03 -q"]
    for text, (_, sentence) in zip(pytests(course, *commands), BROKEN.values(), strict=True):
        assert text.endswith("exit 1")
        assert text.count(sentence) == 2  # what blocks the checks, and what to do next
        assert re.search(rf"^test_\w+ and \d+ more: .*{re.escape(sentence)}", text, re.MULTILINE)
        assert f"lesson 03: 0/{POINTS} points" in text
        assert len(text.splitlines()) < 12


LOUD = """    import threading, time, warnings
    threading.Thread(target=time.sleep, args=(300,)).start()
    warnings.warn("a warning")
    print("x" * 5_000_000)
    torch.set_default_dtype(torch.float64)
    torch.softmax = None
"""


def test_no_check_disturbs_another_or_the_end_of_the_run(course):
    first = "    if n_keys is None:\n"
    at = course.solution.index(first)
    course.version("loud", text=course.solution[:at] + LOUD + course.solution[at:])
    sentence = "torch.softmax itself, for everything that comes after it"
    loud, quiet = pytests(
        course, "save loud", "pytest lessons/03 -q", "save solution", "pytest lessons/03 -q"
    )
    assert sentence in loud
    assert max(map(len, loud.splitlines())) < 400
    assert len(loud) < 20_000
    assert quiet.endswith("exit 0")


@pytest.mark.skipif(sys.platform == "win32", reason="a loop ends the whole run there")
def test_a_loop_without_end(course):
    course.version("loop", "n_queries, n_keys = q.shape[2], k.shape[2]", "while True: pass")
    test_file = course.root / "lessons" / "03" / "test_attention.py"
    text = test_file.read_text(encoding="utf-8")
    quick = re.sub(r'@check\("Causal([^)]*)\)', r'@check("Causal\1, seconds=2)', text)
    try:
        test_file.write_text(quick, encoding="utf-8")
        (run,) = pytests(course, "save loop", "pytest lessons/03 -q")
    finally:
        test_file.write_text(text, encoding="utf-8")
    assert "still running after 2 s: is there a loop that never ends" in run
    assert "still running after 0.2 s: is there a loop that never ends" in run
    assert "next: mend CausalSelfAttention.forward (lessons/03/attention.py:" in run
    assert run.endswith("exit 1")

"""`release` and `update`: what learners get, what they never get, and what stays theirs."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from grader import updating
from grader.__main__ import main
from grader.instructor.release import release as releasing
from grader.stubs import make_stub
from grader.syllabus import find_lesson, parse_syllabus, read_syllabus
from grader.tests.conftest import ROOT
from grader.tests.course_copy import NO_TABLE, sentence
from grader.updating import MANIFEST

NEVER = ("bank", "instructor", "tests", "audit", "record.py", "release.py", "course.toml")
PAGE_SCRIPTS = ("site/widgets/course.js", "site/widgets/story.js")
DATES = """
timezone = "Europe/Berlin"
[[lesson]]
number = "00"
due = 2026-10-19
[[lesson]]
number = "03"
release = 2026-10-19
due = 2026-11-02
[lesson.extensions]
ada = 2026-11-09
[[lesson]]
number = "01"
release = 2026-11-09
"""


def run(capsys, *arguments: object) -> str:
    """Run a command in this process; return what it says if it succeeds."""
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert status == 0, err
    return out


def refused(capsys, *arguments: object) -> str:
    """Run a command that ends with one sentence."""
    assert main([str(argument) for argument in arguments]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1, err
    return err


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder, less its git repository."""
    files = (path for path in folder.rglob("*") if path.is_file())
    named = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    return {name: data for name, data in named.items() if not name.startswith(".git/")}


def stub_of(number: str) -> str:
    lesson = find_lesson(number)
    return make_stub((ROOT / "solutions" / f"{lesson.module}.py").read_text("utf-8"), lesson)


@pytest.fixture(scope="module")
def released(tmp_path_factory) -> Path:
    """A release of lessons 00 to 02."""
    folder = tmp_path_factory.mktemp("released") / "course"
    assert main(["release", str(folder), "--lessons", "00-02", "--course", os.devnull]) == 2
    assert main(["release", str(folder), "--lessons", "00-02"]) == 0
    return folder


@pytest.fixture
def learner(released, tmp_path) -> Path:
    """A learner's repository, with work in lesson 01 and notes."""
    folder = Path(shutil.copytree(released, tmp_path / "ada"))
    (folder / "lessons/01/tokenizer.py").write_text("# mine\n")
    (folder / "lessons/01/notes.txt").write_text("my notes\n")
    (folder / "README.md").write_text("# My course\n")
    (folder / ".course").mkdir()
    (folder / ".course/progress.json").write_text("{}")
    return folder


@pytest.fixture
def corrected(released, tmp_path) -> Path:
    """The release of week six: other stubs, another check, a file more and one less."""
    folder = Path(shutil.copytree(released, tmp_path / "new"))
    for name in ("lessons/00/bigram.py", "lessons/01/tokenizer.py", "lessons/00/test_bigram.py",
                 "lessons/02/test_embeddings.py", "README.md"):  # fmt: skip
        with open(folder / name, "a") as file:
            file.write("# corrected\n")
    (folder / "lessons/engine/further.py").write_text("")
    (folder / "lessons/engine/muon.py").unlink()
    listed_anew(folder)
    return folder


def listed_anew(folder: Path) -> None:
    """Write the list of a release as it is now."""
    files = {name: data for name, data in contents(folder).items() if name != MANIFEST}
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"] = {name: updating.sha256(data) for name, data in sorted(files.items())}
    (folder / MANIFEST).write_text(json.dumps(manifest))


# What learners get


def test_what_is_in_a_release(released):
    files = contents(released)
    for name in files:
        assert not set(NEVER) & set(name.split("/")), name
        assert not name.startswith(("solutions", ".git/", "lessons/03", "lessons/05")), name
        assert not name.startswith("site") or name in PAGE_SCRIPTS, name
    assert set(files) >= {*PAGE_SCRIPTS, "lessons/engine/storyteller/model.safetensors"}
    manifest = json.loads(files.pop(MANIFEST))
    assert manifest["lessons"] == ["00", "01", "02"]
    assert manifest["files"] == {name: updating.sha256(data) for name, data in files.items()}
    for number, module in (("00", "bigram"), ("01", "tokenizer"), ("02", "embeddings")):
        assert files[f"lessons/{number}/{module}.py"].decode() == stub_of(number)
        answers = f"grader/answers/{number}.safetensors"
        assert files[answers] == (ROOT / answers).read_bytes()
    there = parse_syllabus(files["grader/syllabus.toml"].decode(), "it")
    assert there == read_syllabus()[:3]
    assert list(json.loads(files["grader/answers/stubs.json"])) == ["00", "01", "02"]
    assert b"nbgrader" not in files["requirements.txt"]
    assert b"torch==" in files["requirements.txt"]


def test_an_instructors_own_work_does_not_slip_through(monkeypatch):
    """Neither a solved lesson in the working tree, nor a file that nobody thought of."""
    paths = releasing.course_files()
    other = {"lessons/00/solved.py": ROOT / "solutions/bigram.py", "x.txt": ROOT / "README.md"}
    solved = {**paths, "lessons/00/bigram.py": ROOT / "solutions" / "bigram.py", **other}
    monkeypatch.setattr(releasing, "course_files", lambda own: solved)
    course = releasing.Course(tuple(releasing.CourseLesson(n) for n in read_syllabus()[:1]))
    prepared = releasing.prepare(course, ["00"], releasing.dt.datetime.now(releasing.dt.UTC))
    assert prepared.release.files["lessons/00/bigram.py"].decode() == stub_of("00")
    assert not other.keys() & prepared.release.files.keys()


def test_the_same_bytes_again_and_the_repository_stays(released, tmp_path, capsys):
    folder = Path(shutil.copytree(released, tmp_path / "again"))
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    before = contents(folder)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert "lessons 00, 01, 02" in run(capsys, "release", folder, "--lessons", "00-02")
    assert contents(folder) == before
    assert (folder / ".git" / "HEAD").is_file()
    assert os.listdir(tmp_path) == ["again"]

    (folder / "lessons/00/bigram.py").write_text("# somebody's\n")
    told = refused(capsys, "release", folder, "--lessons", "00-02")
    assert "lessons/00/bigram.py" in told
    assert f"python -m grader update {folder}" in told
    (folder / MANIFEST).unlink()
    assert "no earlier release" in refused(capsys, "release", folder)
    assert (folder / "lessons/00/bigram.py").read_text() == "# somebody's\n"


def test_a_killed_release_is_undone_by_the_next(released, tmp_path, capsys):
    folder = tmp_path / "course"
    old, fresh = tmp_path / ".course.old", tmp_path / ".course.tmp"
    shutil.copytree(released, old)  # killed between the two moves
    fresh.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=fresh, check=True)
    (fresh / ".git" / "kept").write_text("")
    run(capsys, "release", folder, "--lessons", "00")
    assert (folder / ".git" / "kept").is_file()
    assert not old.exists()
    assert not fresh.exists()


def test_dates_references_and_left_out_lessons(tmp_path, capsys):
    course = tmp_path / "course.toml"
    course.write_text(DATES)

    def release(now: str, *more: str) -> dict[str, bytes]:
        run(capsys, "release", tmp_path / now, "--course", course, "--now", now, *more)
        return contents(tmp_path / now)

    first = release("2026-10-12")
    assert "lessons/00/bigram.py" in first
    assert "lessons/03/attention.py" not in first
    assert "solutions/bigram.py" not in first
    assert b"2026-10-19 23:59" in first["README.md"]
    last = release("2026-11-09T23:59:58")  # ada's last second but one
    assert "solutions/attention.py" not in last
    assert last["solutions/bigram.py"] == (ROOT / "solutions/bigram.py").read_bytes()
    assert parse_syllabus(last["grader/syllabus.toml"].decode(), "it")[1].number == "03"
    assert not any(b"ada" in data.split() for name, data in last.items() if name.endswith(".toml"))
    assert "needs lesson 00, which is neither" in refused(
        capsys, "release", tmp_path / "x", "--course", course, "--now", "2026-10-12",
        "--lessons", "03",
    )  # fmt: skip
    course.write_text('[[lesson]]\nnumber = "04"\n')
    files = release("2026-10-13")
    assert {n for n in files if n.startswith("solutions/")} == {
        f"solutions/{name}.py" for name in ("__init__", "attention", "bigram")
    }
    course.write_text("due = 3")
    assert "course.toml, line 1" in refused(capsys, "release", tmp_path / "x", "--course", course)
    assert not (tmp_path / "x").exists()
    assert "no lesson '33'" in refused(capsys, "release", tmp_path / "x", "--lessons", "33")
    assert "names no lessons" in refused(capsys, "release", tmp_path / "x", "--lessons", "a-b")


def test_a_leak_stops_a_release_and_nothing_stays(released, tmp_path, capsys, monkeypatch):
    folder = Path(shutil.copytree(released, tmp_path / "course"))
    page = tmp_path / "page.md"
    page.write_text("Look:\n\n" + (ROOT / "solutions" / "attention.py").read_text("utf-8"))
    paths = {**releasing.course_files(), "lessons/engine/page.md": page}
    monkeypatch.setattr(releasing, "course_files", lambda own: paths)
    before = contents(folder)
    told = refused(capsys, "release", folder, "--lessons", "00-02")
    assert "nothing was released: lessons/engine/page.md holds lesson 03: " in told
    told = refused(capsys, "update", folder)
    assert "lessons/engine/page.md holds lesson 03: " in told
    assert contents(folder) == before
    assert sorted(os.listdir(tmp_path)) == ["course", "page.md"]


# Corrections


def test_an_update_changes_what_is_the_courses_alone(learner, corrected, capsys):
    (learner / "lessons/02/test_embeddings.py").write_text("# easier\n")
    (learner / "lessons/engine/files.py").write_bytes(  # as git on Windows leaves it
        (learner / "lessons/engine/files.py").read_bytes().replace(b"\n", b"\r\n")
    )
    before = contents(learner)
    dry = run(capsys, "update", learner, "--from", corrected, "--dry-run")
    assert "would be corrected: lessons/00/test_bigram.py" in dry
    assert contents(learner) == before

    told = run(capsys, "update", learner, "--from", corrected)
    after, new = contents(learner), contents(corrected)
    for name in ("lessons/00/bigram.py", "lessons/00/test_bigram.py", "lessons/engine/further.py",
                 "lessons/02/test_embeddings.py", MANIFEST):  # fmt: skip
        assert json.loads(after[name]) == json.loads(new[name]) if name == MANIFEST else (
            after[name] == new[name]
        )  # fmt: skip
    assert "lessons/engine/muon.py" not in after
    assert after["lessons/01/tokenizer.py"] == b"# mine\n"
    assert after["lessons/01/tokenizer.py.new"] == new["lessons/01/tokenizer.py"]
    assert after["README.md"] == b"# My course\n"
    assert after["README.md.new"] == new["README.md"]
    for name in ("lessons/01/notes.txt", ".course/progress.json"):
        assert after[name] == before[name]
    assert after[".course/backups/update-1/lessons/02/test_embeddings.py"] == b"# easier\n"
    assert "lessons/01/tokenizer.py; the new version is lessons/01/tokenizer.py.new" in told
    assert "yours is kept in .course/backups/update-1/lessons/02/test_embeddings.py" in told
    assert "removed: lessons/engine/muon.py" in told
    assert "lesson 00, 02" in told
    assert "nothing was changed" in run(capsys, "update", learner, "--from", corrected)


def test_an_interrupted_update_loses_nothing(learner, corrected, capsys, monkeypatch):
    (learner / "lessons/02/test_embeddings.py").write_text("# easier\n")
    write, left = updating._write, [0]

    def killed(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        write(*arguments)

    monkeypatch.setattr(updating, "_write", killed)
    for times in range(1, 12):
        left[0] = times
        status = main(["update", str(learner), "--from", str(corrected)])
        files = contents(learner)
        assert files["lessons/01/tokenizer.py"] == b"# mine\n"
        assert b"# easier\n" in files.values()
        if status == 0:
            break
        assert status == 130
    assert times > 2
    after = contents(learner)
    assert after["lessons/00/test_bigram.py"] == contents(corrected)["lessons/00/test_bigram.py"]
    assert after["lessons/01/tokenizer.py.new"].endswith(b"# corrected\n")
    assert "lessons/01/tokenizer.py.new2" not in after
    capsys.readouterr()


def test_an_update_from_the_course_itself_and_from_a_zip(learner, corrected, tmp_path, capsys):
    assert "up to date" in run(capsys, "update", learner)
    (learner / "lessons/00/bigram.py").unlink()
    assert "new: lessons/00/bigram.py" in run(capsys, "update", learner)
    archive = tmp_path / "week-6.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name, data in contents(corrected).items():
            file.writestr(f"week-6/{name}", data)
    assert "corrected: lessons/00/bigram.py" in run(capsys, "update", learner, "--from", archive)


def test_updates_that_make_no_sense(learner, corrected, tmp_path, capsys):
    assert "is no released course" in refused(capsys, "update", tmp_path, "--from", corrected)
    assert "no nowhere" in refused(capsys, "update", learner, "--from", "nowhere")
    assert "neither the folder" in refused(
        capsys, "update", learner, "--from", learner / "README.md"
    )
    assert "no release" in refused(capsys, "update", learner, "--from", tmp_path)
    (corrected / "lessons/00/bigram.py").write_text("# damaged on the way\n")
    assert "not as it was released" in refused(capsys, "update", learner, "--from", corrected)
    listed_anew(corrected)
    manifest = json.loads((corrected / MANIFEST).read_text())
    for name in ("../x.py", "/tmp/x.py", ".git/hooks/post-checkout", "a/../../x", "C:/x", "a\\b"):
        bad = {**manifest, "files": {**manifest["files"], name: "0" * 64}}
        (corrected / MANIFEST).write_text(json.dumps(bad))
        assert "is damaged" in refused(capsys, "update", learner, "--from", corrected)
    (corrected / MANIFEST).write_text(json.dumps({**manifest, "lessons": ["00", "02"]}))
    assert "lacks lesson 01" in refused(capsys, "update", learner, "--from", corrected)
    (corrected / MANIFEST).write_text(json.dumps(manifest))
    outside = tmp_path / "outside"
    (learner / "lessons/00").rename(outside)
    (learner / "lessons/00").symlink_to(outside)
    before = contents(outside)
    assert "is a link" in refused(capsys, "update", learner, "--from", corrected)
    assert contents(outside) == before


# A learner's day


def python(folder: Path, *arguments: str, **more) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "COURSE_PATH"}
    return subprocess.run(
        [sys.executable, "-B", *arguments],
        **{"cwd": folder, "env": kept | NO_TABLE, "capture_output": True, "encoding": "utf-8"},
        **{"stdin": subprocess.DEVNULL, "timeout": 240, **more},
    )


def test_commands_that_need_no_torch(learner, corrected):
    told = python(learner, "-m", "grader", "--help").stdout
    assert "update" in told
    for command in ("release", "record", "audit", "walk"):
        assert f"    {command} " not in told
    board = python(learner, "-m", "grader").stdout
    assert board.count("untouched") == 2
    assert "next: " in board
    assert "stub is back" in python(learner, "-m", "grader", "reset", "01").stdout
    assert (learner / "lessons/01/tokenizer.py").read_text() == stub_of("01")
    assert "withheld here" in sentence(python(learner, "-m", "grader", "hunt", "00"))
    assert "--from RELEASE" in sentence(python(learner, "-m", "grader", "update", "."))
    done = python(learner, "-m", "grader", "update", ".", "--from", str(corrected))
    assert "corrected: lessons/00/bigram.py" in done.stdout, done.stderr
    by_the_new = python(corrected, "-m", "grader", "update", str(learner))
    assert "up to date" in by_the_new.stdout, by_the_new.stderr


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_everything_a_learner_runs_works_in_a_release(tmp_path):
    course = tmp_path / "course"
    assert main(["release", str(course)]) == 0
    assert "ready: " in python(course, "-m", "grader", "doctor").stdout
    assert "hint 1 of 3" in python(course, "-m", "grader", "hint", "05").stdout
    assert "written: .course/stuck" in python(course, "-m", "grader", "stuck", "03", "--yes").stderr
    assert "--preset" in python(course, "-m", "lessons.tinystories", "--help").stdout
    for options in ([], ["--apart"], ["--mine"]):
        done = python(course, "-m", "pytest", "-p", "no:cacheprovider", "lessons/05", *options)
        assert "lesson 05: 0/29 points" in done.stdout, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
    for lesson in read_syllabus()[:6]:  # all written: what comes of it is as in the course
        file = f"{lesson.module}.py"
        shutil.copy(ROOT / "solutions" / file, course / "lessons" / lesson.number / file)
    done = python(course, "-m", "pytest", "-p", "no:cacheprovider", "lessons/05", "--mine")
    assert "lesson 05: 29/29 points" in done.stdout, done.stdout
    assert "lesson 05: 29/29 points" in python(course, "-m", "grader", "check", "05").stdout


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_an_own_lesson_is_released_recorded_and_judged(tmp_path, capsys):
    own = tmp_path / "ours"
    for folder in ("solutions", "lessons/20"):
        (own / folder).mkdir(parents=True)
    (own / "syllabus.toml").write_text(
        '[[lesson]]\nnumber = "20"\nmodule = "doubling"\ntitle = "Doubling"\nneeds = ["00"]\n'
        '[[lesson.step]]\nname = "double"\nkind = "core"\npoints = 3\n'
    )
    (own / "solutions/doubling.py").write_text(
        '"""Lesson 20: doubling."""\n\nimport torch\n\n\ndef double(x: torch.Tensor) -> torch.Tensor:\n'
        '    """Return twice x.\n\n    1. Add it to itself.\n    """\n    # <solution>\n'
        "    return x + x\n    # </solution>\n"
    )
    (own / "lessons/20/test_doubling.py").write_text(
        'from grader.checks import check\n\n\n@check("double", points=3)\n'
        "def test_double(lesson, expect, draw):\n"
        '    """Twice as much."""\n    expect(lesson.double(draw.normal(2, 3)))\n'
    )
    (tmp_path / "course.toml").write_text(
        'own = "ours"\n[[lesson]]\nnumber = "00"\n[[lesson]]\nnumber = "20"\n'
    )
    options = ("--course", tmp_path / "course.toml")
    assert "no recorded answers" in run(capsys, "release", tmp_path / "a", *options)
    run(capsys, "release", tmp_path / "whole", "--whole", *options)
    done = python(tmp_path / "whole", "-m", "grader", "record", "20")
    assert done.returncode == 0, done.stderr
    (own / "answers").mkdir()
    answers = tmp_path / "whole" / "grader" / "answers" / "20.safetensors"
    shutil.copy(answers, own / "answers" / answers.name)
    assert "note" not in run(capsys, "release", tmp_path / "b", *options)
    file = tmp_path / "b" / "lessons" / "20" / "doubling.py"
    assert "lesson 20: 0/3 points" in python(tmp_path / "b", "-m", "grader", "check", "20").stdout
    file.write_text(file.read_text().replace("raise NotImplementedError", "return 2 * x  #"))
    assert "lesson 20: 3/3 points" in python(tmp_path / "b", "-m", "grader", "check", "20").stdout

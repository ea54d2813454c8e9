"""Gradescope's zip and GitHub's kits, run as those houses run them, and their formats."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from grader.__main__ import main
from grader.bank import right_variants, wrong_variants
from grader.instructor.houses.actions import (
    HOUSES,
    classroom50_result,
    classroom_result,
    escaped,
    kit,
    summary_of,
)
from grader.instructor.houses.gradescope import autograder_zip, results_of
from grader.instructor.houses.parcel import parcel
from grader.instructor.houses.unprivileged import can_be_nobody
from grader.instructor.sandbox import sandbox_or_reason
from grader.stubs import CLOSES, OPENS
from grader.syllabus import find_lesson
from grader.tests.reports_made import MISTAKE, failed, report
from lessons.engine.errors import CourseError

LESSON = find_lesson("03")
PYTHON = Path(sys.prefix)
SAID = "NOT ISOLATED"
RUNNER = {
    **{
        "CLASSROOM": "autumn",
        "ASSIGNMENT": "lesson-03",
        "OWNER": "ada",
        "ASSIGNMENT_TYPE": "individual",
    },
    "SUBMISSION_TAG": "submit/2026-11-21T17-00-00Z-0123abc",
    "COMMIT_URL": "https://github.com/o/r/commit/0123abc",
    "RELEASE_URL": "https://github.com/o/r/releases/tag/submit%2F2026",
}

# Written after the documentation: what must be there, what may be, and of which kind.
VISIBILITY = {"enum": ["hidden", "after_due_date", "after_published", "visible"]}
FORMAT = {"enum": ["text", "html", "simple_format", "md", "ansi"]}
GRADESCOPE = {
    "type": "object",
    "additionalProperties": False,
    "anyOf": [{"required": ["score"]}, {"required": ["tests"]}],
    "properties": {
        "score": {"type": "number"},
        "execution_time": {"type": "number", "minimum": 0},
        **{name: {"type": "string"} for name in ("output",)},
        **{name: FORMAT for name in ("output_format", "test_output_format", "test_name_format")},
        **{name: VISIBILITY for name in ("visibility", "stdout_visibility")},
        "extra_data": {"type": "object"},
        "leaderboard": {"type": "array"},
        "tests": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    **{name: {"type": "number"} for name in ("score", "max_score")},
                    "status": {"enum": ["passed", "failed"]},
                    **{name: {"type": "string"} for name in ("name", "number", "output")},
                    **{name: FORMAT for name in ("name_format", "output_format")},
                    "tags": {"type": "array", "items": {"type": "string"}},
                    "visibility": VISIBILITY,
                    "extra_data": {"type": "object"},
                },
            },
        },
    },
}
TEXT, COUNT = {"type": "string", "minLength": 1}, {"type": "integer", "minimum": 0}
MOMENT = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"}
CLASSROOM50 = {
    "type": "object",
    "additionalProperties": False,
    "required": [
        *("schema", "classroom", "assignment", "assignment_type", "owner", "submission", "commit"),
        *("release", "review", "datetime", "score", "max-score", "tests"),
    ],
    "properties": {
        "schema": {"const": "classroom50/result/v1"},
        **{
            name: TEXT
            for name in ("classroom", "assignment", "owner", "commit", "release", "review")
        },
        "assignment_type": {"enum": ["individual", "group"]},
        "submission": {"type": "string", "pattern": "^submit/"},
        **{name: MOMENT for name in ("datetime", "graded_at")},
        **{name: COUNT for name in ("score", "max-score")},
        "submitted_by": {"type": "object"},
        "tests": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["test-name", "passed", "score", "max-score"],
                "properties": {
                    **{"test-name": TEXT, "passed": {"type": "boolean"}},
                    **{"score": COUNT, "max-score": COUNT},
                },
            },
        },
    },
}
REPORTS = [
    report(),
    report(attention=failed(MISTAKE, printed="hello"), window={"verdict": "not written"}),
    report(isolated=False, refused="attention.py is wanted"),
]


@pytest.mark.parametrize("made", REPORTS)
def test_results_are_in_gradescopes_form(made):
    results = results_of(made)
    assert [e.message for e in Draft202012Validator(GRADESCOPE).iter_errors(results)] == []
    assert results["score"] == sum(test["score"] for test in results["tests"]) == made["points"]
    assert sum(test["max_score"] for test in results["tests"]) == made["of"]
    assert (SAID in results["output"]) is not made["isolated"]
    assert str(made["seed"]) not in json.dumps(results["extra_data"])
    assert made["submission"]["refused"] in results["output"]


@pytest.mark.parametrize("made", REPORTS)
def test_results_are_in_classroom_50s_form(made):
    result = classroom50_result(made, RUNNER)
    assert [e.message for e in Draft202012Validator(CLASSROOM50).iter_errors(result)] == []
    assert result["score"] == sum(test["score"] for test in result["tests"]) <= result["max-score"]
    assert all(test["score"] <= test["max-score"] for test in result["tests"])
    assert (result["owner"], result["review"]) == ("ada", RUNNER["COMMIT_URL"])


def test_classroom_50_must_say_who_and_what():
    with pytest.raises(CourseError, match="SUBMISSION_TAG is not set"):
        classroom50_result(REPORTS[0], {k: v for k, v in RUNNER.items() if k != "SUBMISSION_TAG"})


@pytest.mark.parametrize("made", REPORTS)
def test_results_are_in_the_form_of_github_classrooms_reporter(made):
    """It adds up `score` where there is a `max_score`, and fails the job by `status`."""
    result = json.loads(base64.b64decode(classroom_result(made)))
    assert set(result) == {"version", "status", "max_score", "tests"}
    assert result["version"] == 1
    assert result["status"] in ("pass", "fail", "error")
    assert sum(test["score"] for test in result["tests"]) == made["points"]
    assert result["max_score"] == made["of"]
    assert {test["status"] for test in result["tests"]} <= {"pass", "fail"}


def test_a_summary_takes_nothing_for_markup():
    evil = "</pre>\n# All points\n![x](https://x.org/p.png) <img src=x> | @everybody `"
    text = summary_of(report(attention=failed(symptom=evil, details=evil, gain=evil)))
    assert "\n# All" not in re.sub(r"(?s)<pre>.*?</pre>", "", text)
    assert not re.search(r"<(?!/?pre>)", text)
    assert text.count("<pre>") == text.count("</pre>") == 1
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 5
    assert {line.count("|") for line in table} == {5}
    assert escaped("it's **bold**") == "it&#39;s &#42;&#42;bold&#42;&#42;"


def test_the_zip_is_the_same_on_every_run_and_holds_one_lesson():
    content = autograder_zip(LESSON)
    assert content == autograder_zip(LESSON)
    names = set(parcel(LESSON))
    assert {
        "solutions/attention.py",
        "solutions/bigram.py",
        "lessons/03/test_attention.py",
    } <= names
    assert "grader/instructor/hidden/guard_03.py" in names
    assert not any(
        re.search(r"solutions/model|/04|/bank/|/tests/|guard_0[^3]", name) for name in names
    )


@pytest.mark.parametrize("house", HOUSES)
def test_kits_for_learners_repositories_hold_nothing_secret(house):
    files = kit(LESSON, house)
    for name, content in files.items():
        assert not re.search(r"solutions/(?!__init__)|/bank/|test_(?!attention)", name), name
        if not name.endswith(("stubs.py", "leaks.py")):  # which look for the marks themselves
            assert OPENS.encode() not in content or CLOSES.encode() not in content, name
    assert not any(b"def guard_" in content for name, content in files.items() if "hidden" in name)
    assert b"lesson.step.hints" not in files.get("course/grader/syllabus.toml", b"")


def test_references_that_learners_have_anyway_can_be_put_in():
    names = kit(LESSON, "plain", ["00", "03"]).keys()
    assert "course/solutions/bigram.py" in names
    assert "course/solutions/attention.py" not in names


def test_workflows_are_valid(tmp_path):
    """By the schema of GitHub's workflows that check-jsonschema brings along."""
    for house in HOUSES[1:]:
        assert main(["actions", "03", "--for", house, "--out", str(tmp_path / house)]) == 0
    files = sorted(map(str, tmp_path.glob("*/.github/workflows/*.yml")))
    assert len(files) == 3
    program = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.github-workflows",
    ]
    done = subprocess.run([*program, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_kit_is_not_written_over_something(tmp_path, capsys):
    (tmp_path / "mine").write_text("x")
    assert main(["actions", "03", "--out", str(tmp_path)]) == 2
    assert "is there already" in capsys.readouterr().err


def test_scripts_are_valid_bash(tmp_path):
    for script in (Path(__file__).parents[1] / "instructor" / "templates").glob("*.sh"):
        subprocess.run(["bash", "-n", str(script)], check=True)


@pytest.fixture(scope="module")
def autograder(tmp_path_factory):
    """A folder like Gradescope's /autograder, with the zip unpacked into source/."""
    home = tmp_path_factory.mktemp("gradescope") / "autograder"
    for name in ("source", "submission", "results"):
        (home / name).mkdir(parents=True)
    out = home.parent / "autograder.zip"
    assert main(["gradescope", "03", "--out", str(out)]) == 0
    subprocess.run(["unzip", "-q", str(out), "-d", str(home / "source")], check=True)
    shutil.copy(home / "source" / "run_autograder", home)
    assert os.access(home / "run_autograder", os.X_OK)
    with zipfile.ZipFile(out) as opened:
        assert {"setup.sh", "run_autograder"} <= set(opened.namelist())
    return home


def run_autograder(home: Path, source: str | None, path: str = "") -> tuple[dict | None, str]:
    """Judge a submission as Gradescope's harness would; returns results.json and what was printed."""
    shutil.rmtree(home / "submission")
    (home / "submission").mkdir()
    if source is not None:
        (home / "submission" / "attention.py").write_text(source, encoding="utf-8")
    environment = {
        **{
            "AUTOGRADER": str(home),
            "COURSE_PYTHON": str(PYTHON),
            "LANG": "C.UTF-8",
            "HOME": "/tmp",
        },
        "PATH": path or os.environ["PATH"],
    }
    done = subprocess.run(
        ["bash", str(home / "run_autograder")],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    file = home / "results" / "results.json"
    return (json.loads(file.read_text()) if file.is_file() else None), done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.skipif(isinstance(sandbox_or_reason(), str), reason=str(sandbox_or_reason()))
def test_gradescope_end_to_end(autograder):
    mistake = next(v for v in wrong_variants(LESSON) if v.name == "resid_dropout_forgotten")
    results, told = run_autograder(autograder, mistake.source)
    assert results, told
    assert [e.message for e in Draft202012Validator(GRADESCOPE).iter_errors(results)] == []
    assert (results["score"], SAID in results["output"]) == (25, False)
    (wrong,) = [test for test in results["tests"] if test["status"] == "failed"]
    assert mistake.says in wrong["output"]
    results, told = run_autograder(autograder, None)
    assert results, told
    assert results["score"] == 0
    assert "attention.py" in results["output"]


def without_bubblewrap(folder: Path) -> str:
    """Return a PATH on which everything is that the run needs, but bubblewrap."""
    folder.mkdir()
    for name in ("bash", "env", "setpriv", "prlimit", "choom", "git", "ls"):
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    return str(folder)


@pytest.mark.slow
@pytest.mark.skipif(not can_be_nobody(), reason="not root, or nobody cannot run this Python")
def test_where_no_sandbox_can_be_made_it_runs_as_nobody_and_says_so(autograder, tmp_path):
    """It reads no solution, no hidden check and no result, and writes none; the right one has all points."""
    right = next(iter(right_variants(LESSON))).source
    spy = f"""
import os
for name in ("source/course/solutions/attention.py", "source/course/grader/instructor/hidden/guard_03.py",
             "source/run_autograder", "results/results.json", "submission/attention.py"):
    for mode in ("r", "w"):
        try:
            open(os.path.join({str(autograder)!r}, name), mode)
        except OSError:
            continue
        raise RuntimeError("it could open " + name)
if os.getuid() != 65534 or os.getgroups():
    raise RuntimeError("it is somebody")
{right}"""
    results, told = run_autograder(autograder, spy, without_bubblewrap(tmp_path / "bin"))
    assert results, told
    assert results["score"] == LESSON.points, results
    assert SAID in results["output"]
    assert results["extra_data"]["isolated"] is False


@pytest.mark.slow
@pytest.mark.skipif(isinstance(sandbox_or_reason(), str), reason=str(sandbox_or_reason()))
def test_classroom_50_end_to_end(tmp_path):
    """The kit, started in a learner's checkout as its runner does it; lesson 00 is their own, too."""
    assert main(["actions", "03", "--for", "classroom50", "--out", str(tmp_path / "kit")]) == 0
    checkout = tmp_path / "checkout"
    for number, module, name in (("00", "bigram", "numpy"), ("03", "attention", "einsum")):
        folder = checkout / "lessons" / number
        folder.mkdir(parents=True)
        found = {v.name: v.source for v in right_variants(find_lesson(number))}
        (folder / f"{module}.py").write_text(found[name], encoding="utf-8")
    files = {"GITHUB_OUTPUT": tmp_path / "output", "GITHUB_STEP_SUMMARY": tmp_path / "summary"}
    environment = {
        **os.environ,
        **RUNNER,
        "COURSE_READY": "1",
        **{k: str(v) for k, v in files.items()},
    }
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "kit" / "autograder.py")],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((checkout / "result.json").read_text())
    assert [e.message for e in Draft202012Validator(CLASSROOM50).iter_errors(result)] == []
    assert (result["score"], result["max-score"]) == (26, 26), result
    encoded = dict(line.split("=", 1) for line in files["GITHUB_OUTPUT"].read_text().splitlines())
    assert json.loads(base64.b64decode(encoded["result"]))["status"] == "pass"
    assert "26 of 26 points" in files["GITHUB_STEP_SUMMARY"].read_text()
    assert (checkout / "release-body.md").is_file()

"""The supervisor: whatever is handed in, and whatever it answers, there is a report on it."""

import contextlib
import time

import pytest

from grader.bank import solution_of
from grader.checks import check
from grader.instructor import supervisor
from grader.instructor.sandbox import sandbox_or_reason
from grader.instructor.supervisor import judge_submission, readable
from grader.judge.backends import InAChild, InThisProcess
from grader.judge.border import Packet
from grader.judge.paths import judged_path
from grader.judge.report import exit_code
from grader.judge.runner import Target, load_checks, run_check
from grader.syllabus import find_lesson

LESSON = find_lesson("03")
REASON = sandbox_or_reason()
needs_sandbox = pytest.mark.skipif(isinstance(REASON, str), reason=str(REASON))


@pytest.fixture(scope="module")
def box():
    yield (backend := sandbox_or_reason())
    backend.stop()


def test_what_cannot_be_taken_gets_a_report_and_no_points(tmp_path):
    report = judge_submission(tmp_path / "attention.py", LESSON, InThisProcess())
    assert (report["points"], report["of"], report["isolated"]) == (0, LESSON.points, False)
    assert {c["symptom"] for c in report["checks"]} == {
        "attention.py cannot be taken: No such file or directory"
    }


def test_a_submission_has_a_budget(tmp_path):
    (tmp_path / "attention.py").write_text(solution_of(LESSON))
    report = judge_submission(tmp_path / "attention.py", LESSON, InThisProcess(), budget=-1)
    assert report["points"] == 0
    assert "not run: " in report["checks"][0]["symptom"]


@needs_sandbox
@pytest.mark.parametrize(
    ("source", "says", "verdicts", "too_long"),
    [
        ("while True: pass", "importing the file had no end", {"failed"}, True),
        ("import nothing_at_all", "No module named 'nothing_at_all'", {"blocked"}, False),
    ],
)
def test_an_import_that_fails_or_never_ends_is_waited_for_once(
    source, says, verdicts, too_long, box, tmp_path, monkeypatch
):
    monkeypatch.setattr(supervisor, "LOAD_SECONDS", 0.5)
    (tmp_path / "attention.py").write_text(source)
    began = time.monotonic()
    report = judge_submission(tmp_path / "attention.py", LESSON, box)
    assert time.monotonic() - began < 45  # 26 checks of 10 seconds would be more than four minutes
    assert report["points"] == 0
    assert {check["verdict"] for check in report["checks"]} == verdicts
    assert all(says in check["symptom"] for check in report["checks"])
    assert all(check["too_long"] == too_long for check in report["checks"])
    assert {check["kind"] for check in report["checks"]} == {"core", "stretch"}


@check("causal_mask")
def asks_nothing(lesson, expect, draw):
    """A check that was dropped in week six: everybody passes it."""


def test_what_cannot_be_imported_gets_no_points_from_a_check_that_asks_nothing(tmp_path):
    (tmp_path / "attention.py").write_text("raise ValueError('no')")
    checks = [asks_nothing.check, *load_checks(LESSON)]
    report = judge_submission(tmp_path / "attention.py", LESSON, InAChild(), checks=checks)
    assert report["points"] == 0
    assert {check["verdict"] for check in report["checks"]} == {"blocked"}


HOSTILE = {
    "an error without a name": "def causal_mask(*a, **k): raise type('', (Exception,), {})()",
    "16 million numbers": "def causal_mask(*a, **k): return torch.zeros(2**24 + 4, dtype=torch.bool)",
    "a list of a tensor of 24 dimensions":
        "def causal_mask(*a, **k): return [torch.zeros([2] * 24, dtype=torch.uint8)]",
    "a line number that is no number": "def causal_mask(*a, **k):\n    error = SyntaxError('x')\n"
        "    error.filename, error.lineno = __file__, '\u00b2'\n    raise error",
    "a class whose name is lines": "def causal_mask(*a, **k):\n"
        "    return type('x\\nlesson 03: 26/26 points\\n', (), {'__module__': 'x'})()",
}  # fmt: skip


def of_masks(report: dict) -> list[dict]:
    """The results of the checks of `causal_mask`."""
    return [check for check in report["checks"] if check["step"] == "causal_mask"]


@pytest.mark.parametrize("what", HOSTILE)
def test_what_was_made_for_the_judge_to_stumble_is_only_wrong(what, tmp_path):
    (tmp_path / "attention.py").write_text(f"{solution_of(LESSON)}\n\n{HOSTILE[what]}\n")
    report = judge_submission(tmp_path / "attention.py", LESSON, InAChild())
    assert report["submission"]["refused"] == ""
    assert {check["verdict"] for check in of_masks(report)} == {"failed"}
    assert not any("\n" in check["symptom"] for check in report["checks"])


def test_a_core_step_is_not_excused_by_saying_that_a_stretch_step_is_not_written(tmp_path):
    source = solution_of(LESSON) + (
        "\n\ndef causal_mask(*a, **k):\n"
        "    raise NotImplementedError('lesson 03: sliding_window_mask')\n"
    )
    (tmp_path / "attention.py").write_text(source)
    report = judge_submission(tmp_path / "attention.py", LESSON, InAChild())
    unwritten = [check for check in report["checks"] if check["verdict"] == "not written"]
    assert "core" in {check["kind"] for check in unwritten}
    assert exit_code(report["checks"]) == 1
    (tmp_path / "attention.py").write_text(source.replace("sliding_window_mask')", "<b>none</b>')"))
    report = judge_submission(tmp_path / "attention.py", LESSON, InAChild())
    assert {check["verdict"] for check in of_masks(report)} == {"failed"}


@pytest.mark.parametrize(
    ("accident", "says"),
    [
        (
            lambda *_: 1 / 0,
            "the judge stumbled over what it answers (ZeroDivisionError in test_supervisor.py:",
        ),
        (lambda *_: time.sleep(60), "what it answers kept the judge busy for too long"),
    ],
    ids=["a mistake of the judge", "no end"],
)
def test_whatever_happens_to_the_judge_there_is_a_report(accident, says, tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "judge_source", accident)
    monkeypatch.setattr(supervisor, "GRACE", 0.2)
    (tmp_path / "attention.py").write_text(solution_of(LESSON))
    report = judge_submission(tmp_path / "attention.py", LESSON, InAChild(), budget=0.2)
    assert report["points"] == 0
    assert all(says in check["symptom"] for check in report["checks"])


class TalksNonsense:
    """A child whose answers are packets, and no answers."""

    def session(self, module, folders, seed):
        return contextlib.nullcontext()

    def ask(self, request, seconds):
        return Packet({"tensor": 5}, [])


def test_answers_that_are_none_end_nothing_but_the_check(tmp_path):
    (tmp_path / "attention.py").write_text("softmax = 1\n")
    report = judge_submission(tmp_path / "attention.py", LESSON, TalksNonsense())
    assert report["points"] == 0 and report["submission"]["refused"] == ""
    assert {check["verdict"] for check in report["checks"]} == {"failed"}


def test_texts_of_a_stranger_are_tamed():
    assert readable({"symptom": "\x1b]0;owned\x07 fine\n\x00"}) == {"symptom": "�]0;owned� fine\n�"}
    assert len(readable("x" * 10_000)) < 5000


def test_an_object_that_answers_like_a_tensor_is_none(tmp_path):
    (tmp_path / "attention.py").write_text(
        "import torch\n"
        "class Shares:\n"
        "    def sum(self, dim):\n"
        "        return torch.ones(2, 4)\n"
        "def scaled_dot_product_attention(q, k, v, mask=None, dropout_p=0.0):\n"
        "    return v, Shares()\n"
    )
    target = Target(LESSON, judged_path("03", home=tmp_path), InThisProcess())
    shares = next(c for c in load_checks(LESSON) if c.name == "test_weights_are_shares")
    assert "an object of the class Shares came back" in run_check(shares, target, []).symptom

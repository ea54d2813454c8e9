"""`python -m grader doctor`: the machine, the self-test, and DistilGPT-2 from a (small) hub."""

import contextlib
import hashlib
import http.server
import io
import json
import threading

import pytest
import torch

from grader.readiness import LETTERS, QUESTIONS, ask, judge
from grader.tests.course_copy import Course, sentence

RIGHT = "".join(question.right for question in QUESTIONS)


@pytest.fixture
def course(tmp_path) -> Course:
    return Course(tmp_path)


def test_the_doctor_finds_this_machine_ready(course):
    requirements = course.root / "requirements.txt"
    text = requirements.read_text(encoding="utf-8").replace("pytest==", "pytest==0.")
    requirements.write_text(text + "a-package-that-nobody-has==1.0\n", encoding="utf-8")
    course.attention.unlink()
    result = course.grader("doctor")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert all(line.startswith(("ok    ", "note  ")) for line in lines[:-1])
    assert lines[0].startswith("ok    Python 3.")
    assert lines[1].startswith("note  not installed, needed later: a-package-that-nobody-has: `pip")
    assert lines[2].startswith("note  another version: pytest ")
    assert lines[3] == "note  lessons/03/attention.py is not there: `python -m grader reset 03`"
    assert any(line.startswith(f"ok    torch {torch.__version__} works") for line in lines)
    assert any("baseline: " in line for line in lines)
    assert lines[-1] == "ready: python -m grader says what comes first"


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.subject)
def test_the_right_answer_is_what_the_code_prints(question):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(question.code, {"torch": torch})
    options = dict(zip(LETTERS, question.options, strict=True))
    assert printed.getvalue() == options[question.right] + "\n"
    assert len(set(question.options)) == len(LETTERS)


@pytest.mark.parametrize(
    ("wrong", "begin"),
    [
        ([], "You can begin at lesson 01"),
        ([0, 7], "You can begin at lesson 01"),
        ([5, 6], "Begin at lesson 00, which teaches arrays"),
        ([4, 5, 6, 7], "Begin at lesson 00, which teaches arrays"),
        ([0, 2], "Brush up on Python first"),
    ],
)
def test_the_answers_tell_where_to_begin(wrong, begin):
    answers = [
        LETTERS[(LETTERS.index(letter) + 1) % 4] if place in wrong else letter
        for place, letter in enumerate(RIGHT)
    ]
    *slips, score, last = judge(answers)
    assert last.startswith(begin)
    assert len(slips) == len(wrong)
    assert score.startswith("plain Python ")


def test_the_self_test_where_nobody_can_be_asked(course):
    shown = course.grader("doctor", "--ready")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith(ask(1))
    assert shown.stdout.endswith("python -m grader doctor --ready --answers abcdabcd\n")
    answered = course.grader("doctor", "--ready", "--answers", RIGHT.upper())
    assert answered.stdout.startswith("plain Python 4 of 4, arrays 4 of 4\nYou can begin")
    for letters in ("abc", "abcdabcx", ""):
        assert "8 letters" in sentence(course.grader("doctor", "--ready", "--answers", letters))
    assert "belongs to --ready" in sentence(course.grader("doctor", "--answers", RIGHT))


COMMIT = "2290a62682d06624634c1f46a6ad5be0f47f38aa"
HELD = {"config.json": b"{}", "model.safetensors": b"weights", "pytorch_model.bin": b"a pickle"}


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub as `snapshot_download` asks for."""

    def do_GET(self):
        path = self.path.partition("?")[0]
        name = path.rpartition("/")[2]
        files = {name: hashlib.sha1(content).hexdigest() for name, content in HELD.items()}
        headers = {"Content-Type": "application/json"}
        if "/tree/" in path:
            tree = [
                {"type": "file", "path": name, "size": len(HELD[name]), "oid": oid}
                for name, oid in files.items()
            ]
            body = json.dumps(tree).encode()
        elif path.startswith("/api/models/"):
            siblings = [{"rfilename": name} for name in HELD]
            body = json.dumps({"id": "x", "sha": COMMIT, "siblings": siblings}).encode()
        else:
            body = HELD.get(name, b"")
            headers = {"ETag": f'"{files.get(name, "")}"', "X-Repo-Commit": COMMIT}
        self.send_response(200)
        for header, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET()

    def log_message(self, format, *args):
        pass


def test_fetch_brings_the_weights_and_no_pickle(course):
    hub = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    here = {
        **{"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "NO_PROXY": "127.0.0.1"},
        **{"HF_HOME": str(course.root / "cache"), "HF_HUB_OFFLINE": "0"},
    }
    result = course.grader("doctor", "--fetch", **here)
    hub.shutdown()
    assert result.returncode == 0, result.stderr
    (folder,) = (course.root / "cache" / "hub").glob("models--distilbert--distilgpt2/snapshots/*")
    assert str(folder) in result.stdout
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        name: HELD[name] for name in ("config.json", "model.safetensors")
    }


def test_fetch_without_a_network_is_one_sentence(course):
    said = sentence(course.grader("doctor", "--fetch"))
    assert "(HF_HUB_OFFLINE is set)" in said
    assert "the course works without it" in said

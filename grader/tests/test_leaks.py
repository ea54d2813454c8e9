"""The search for leaks: what learners are to write is found however it is hidden, and nothing else."""

import ast
import base64
import gzip
import io
import json
import marshal
import py_compile
import re
import subprocess
import textwrap
import zipfile
import zlib

import pytest
import torch
from safetensors.torch import save

from grader.instructor.release.leaks import find_leaks, find_leaks_in_history, leaks_in, secrets_of
from grader.stubs import find_regions, make_stub
from grader.syllabus import find_lesson, read_syllabus
from grader.tests.conftest import ROOT

LESSON = find_lesson("03")
FUNCTION = "lesson 03: scaled_dot_product_attention"


def solution_of(lesson) -> str:
    return (ROOT / "solutions" / f"{lesson.module}.py").read_text(encoding="utf-8")


def region_of(lesson, name: str) -> str:
    """What stands between the marks of one function."""
    text = solution_of(lesson)
    (region,) = [r for r in find_regions(text, ast.parse(text), lesson) if r.name == name]
    lines = text.split("\n")[region.first : region.last - 1]
    return textwrap.dedent("\n".join(lines))


@pytest.fixture(scope="module")
def secrets():
    return secrets_of([(lesson, solution_of(lesson)) for lesson in read_syllabus()])


TEXT = solution_of(LESSON)
REGION = region_of(LESSON, "scaled_dot_product_attention")


def respaced(text: str) -> str:
    """The same code with a line for each few tokens, other quotes, and comments everywhere."""
    text = re.sub(r"#.*", "", text).replace('"', "'")
    text = re.sub(r"\((?=\S)", "(  # so\n        ", text)
    return "\n".join(f"{line}  # and\n  # so on" for line in text.split("\n"))


def renamed(text: str) -> str:
    """The same module; every variable and the function have other names."""
    for number, name in enumerate(["scaled_dot_product_attention", "query", "key", "value", "q", "k",
                                   "v", "mask", "scores", "weights", "dropout", "causal"]):  # fmt: skip
        text = re.sub(rf"(?<!\.)\b{name}\b", f"name_{number}", text)
    return text


def zipped(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inside.txt", data)
    return file.getvalue()


def tensors(data: bytes, dtype=torch.uint8) -> bytes:
    return save({"known": torch.tensor(list(data), dtype=dtype)})


RAW = REGION.encode()
PLANTS = {
    "as it stands": TEXT.encode(),
    "a region alone": RAW,
    "in prose": b"# A page\n\nHere it is:\n\n```python\n" + RAW + b"\n```\n",
    "spaced in another way": respaced(REGION).encode(),
    "commented out": "\n".join(f"# {line}" for line in REGION.split("\n")).encode(),
    "as a patch": "\n".join(f"+    {line}" for line in REGION.split("\n")).encode(),
    "quoted": json.dumps({"hint": REGION}).encode(),
    "a notebook's cell": json.dumps([f"{line}\n" for line in REGION.split("\n")]).encode(),
    "wide characters": REGION.encode("utf-16"),
    "gzip": gzip.compress(RAW),
    "zlib in the middle": b"\x00\x01\x02" + zlib.compress(RAW) + b"\x03",
    "zip": zipped(RAW),
    "zip in a zip": zipped(zipped(RAW)),
    "base64": b'{"03": "' + base64.b64encode(RAW) + b'"}',
    "base64 of zlib, as stubs travel": b'"' + base64.b64encode(zlib.compress(RAW)) + b'"',
    "base64 in lines": base64.encodebytes(RAW),
    "hexadecimal": RAW.hex().encode(),
    "a list of numbers": json.dumps(list(RAW)).encode(),
    "a tensor": tensors(RAW),
    "a tensor of 64 bits": tensors(RAW, torch.int64),
    "a compressed tensor, as mistakes are recorded": tensors(zlib.compress(RAW)),
    "metadata": save({"x": torch.zeros(2)}, metadata={"reference": REGION}),
    "byte code": b"\x00" + marshal.dumps(compile(TEXT, "x", "exec")),
}


@pytest.mark.parametrize("how", PLANTS)
@pytest.mark.parametrize("name", ["notes.md", "grader/answers/03.safetensors"])
def test_a_plant_is_found(how, name, secrets):
    assert FUNCTION in {leak.function for leak in leaks_in(name, PLANTS[how], secrets)}


def test_other_names_are_found(secrets):
    text = renamed(TEXT)
    assert "scaled_dot" not in text.replace(".scaled_dot", "")
    found = {leak.function: leak.how for leak in leaks_in("x.py", text.encode(), secrets)}
    assert found[FUNCTION] == "its syntax tree"


def test_compiled_files_are_found_by_their_first_bytes(secrets, tmp_path):
    (tmp_path / "x.py").write_text("x = 1\n")
    data = (tmp_path / "x.pyc").read_bytes() if py_compile.compile(
        str(tmp_path / "x.py"), str(tmp_path / "x.pyc")
    ) else b""  # fmt: skip
    assert [leak.function for leak in leaks_in("picture.png", data, secrets)] == ["compiled code"]


def test_each_region_of_each_lesson_is_found_in_its_place(secrets):
    for lesson in read_syllabus():
        text = solution_of(lesson)
        regions = find_regions(text, ast.parse(text), lesson)
        stub_lines = text.split("\n")
        for region in reversed(regions):
            stub_lines[region.first - 1 : region.last] = ["        raise NotImplementedError"]
        stub = "\n".join(stub_lines)
        assert not list(leaks_in("stub.py", stub.encode(), secrets)), lesson.number
        for region in regions:  # one solved, all others not
            lines = text.split("\n")
            for other in reversed(regions):
                if other.name != region.name:
                    lines[other.first - 1 : other.last] = ["        raise NotImplementedError"]
            for source in ("\n".join(lines), "no Python!\n" + "\n".join(lines)):
                found = {leak.function for leak in leaks_in("x.txt", source.encode(), secrets)}
                assert f"lesson {lesson.number}: {region.name}" in found


def test_what_learners_get_is_no_leak(secrets):
    syllabus = (ROOT / "grader" / "syllabus.toml").read_bytes()
    assert not list(leaks_in("grader/syllabus.toml", syllabus, secrets))
    assert list(leaks_in("copy.toml", syllabus, secrets))  # hints, where nobody expects them
    longer = syllabus + REGION.encode()  # more than a hint's line
    assert list(leaks_in("grader/syllabus.toml", longer, secrets))
    assert not list(leaks_in("x.py", make_stub(TEXT, LESSON).encode(), secrets))
    assert not list(leaks_in("x.py", b"def forward(self, x):\n    return x\n", secrets))


def test_an_opened_lesson_is_no_leak():
    closed = [(lesson, solution_of(lesson)) for lesson in read_syllabus()[4:]]
    assert not list(leaks_in("x.py", TEXT.encode(), secrets_of(closed, [TEXT])))


def test_what_was_once_committed_is_found(secrets, tmp_path):
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(
            ["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True
        )

    git("init", "-q")
    (tmp_path / "a.py").write_text(TEXT)
    git("add", "-A")
    git("commit", "-qm", "oops")
    (tmp_path / "a.py").write_text("x = 1\n")
    git("commit", "-qam", "gone")
    git("gc", "-q")
    assert FUNCTION in {leak.function for leak in find_leaks_in_history(tmp_path, secrets)}
    (leak, *_) = find_leaks(tmp_path, secrets)
    assert str(leak).startswith(".git, blob ")

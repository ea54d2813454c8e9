"""The notebooks: made from the lessons, and what is written in them is what is judged."""

import ast
import shutil
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest

from grader.instructor.notebooks import (
    CAPSTONE,
    FOLDER,
    SETUP,
    badges,
    file_name,
    lesson_notebook,
    make_notebooks,
)
from grader.notebook import find_function, is_written, put_step, source_of
from grader.stub_store import read_stored
from grader.stubs import ROOT
from grader.syllabus import Lesson, find_lesson, read_syllabus
from lessons.engine.errors import CourseError

from .course_copy import NO_TABLE, Course


def stub_of(lesson: Lesson) -> str:
    return read_stored()[lesson.number]


MODULE = '''"""A lesson."""

import torch


def first(x):
    """Double."""
    raise NotImplementedError("lesson 00: first")


class Layer:
    def __init__(self):
        self.n = 2

    def forward(self, x):
        """Halve.

        1. Divide.
        """
        raise NotImplementedError("lesson 00: Layer.forward")


def last(x):
    return x
'''
METHOD = '''def forward(self, x):
    """Halve.

    1. Divide.
    """
    note = """two
lines"""
    return x / self.n, note
'''


def ran(module: str) -> dict:
    names: dict = {}
    exec(module.replace("import torch", ""), names)
    return names


def test_notebooks_are_as_made():
    for path, text in make_notebooks().items():
        assert path.is_file(), f"python -m grader notebooks writes {path.name}"
        assert path.read_text(encoding="utf-8") == text, f"python -m grader notebooks: {path.name}"
    there = {path.name for path in (ROOT / FOLDER).glob("*.ipynb")}
    assert there == {CAPSTONE, *(file_name(lesson) for lesson in read_syllabus())}


def test_every_step_has_a_cell_with_its_stub():
    for lesson in read_syllabus():
        notebook = nbformat.read(ROOT / FOLDER / file_name(lesson), as_version=4)
        cells = [c.source for c in notebook.cells if c.source.startswith("%%step ")]
        assert [c.partition("\n")[0].split()[1] for c in cells] == [s.name for s in lesson.steps]
        stub = stub_of(lesson)
        for step, cell in zip(lesson.steps, cells, strict=True):
            assert put_step(stub, step.name, cell.partition("\n")[2]) == stub
            assert not is_written(stub, step.name)
        code = [c.source for c in notebook.cells if c.cell_type == "code"]
        assert code[-1] == "%check"
        assert all(not c.get("outputs") for c in notebook.cells)


def test_a_function_goes_into_the_file():
    module = put_step(MODULE, "first", "def first(x):\n    return 2 * x\n")
    assert ran(module)["first"](4) == 8
    assert module.startswith(
        '"""A lesson."""\n\nimport torch\n\n\ndef first(x):\n    return 2 * x\n\n\n'
    )
    again = put_step(module, "first", "def first(x):\n    return x + x")
    assert again.count("def first") == 1
    assert is_written(again, "first")


def test_a_method_goes_into_its_class():
    module = put_step(MODULE, "Layer.forward", METHOD)
    assert ran(module)["Layer"]().forward(4) == (2, "two\nlines")
    assert "        1. Divide.\n" in module
    assert source_of(module, "Layer.forward").startswith('def forward(self, x):\n    """Halve.')
    assert put_step(module, "Layer.forward", METHOD) == module


def test_helpers_are_found_again():
    cell = "from math import pi\n\n\ndef helper(x):\n    return pi * x\n\n\ndef first(x):\n    return helper(x)"
    module = put_step(MODULE, "first", cell)
    assert ran(module)["first"](1) == pytest.approx(3.14159, abs=1e-4)
    twice = put_step(module, "first", cell.replace("pi * x", "3 * x"))
    assert twice.count("def helper") == 1
    assert ran(twice)["first"](1) == 3
    assert ran(put_step(twice, "first", "def first(x):\n    return 1"))["first"](0) == 1


@pytest.mark.parametrize(
    ("name", "cell", "says"),
    [
        ("first", "def frist(x):\n    return 1", "must define first once"),
        ("first", "def first(x):\nreturn 1", "line 2"),
        (
            "first",
            "def first(x):\n    return 1\n\nprint(first(2))",
            "line 4 of this cell would run",
        ),
        ("Layer.forward", "import math\n\ndef forward(self, x):\n    return 1", "alone"),
        ("gone", "def gone(x):\n    return 1", "has no gone"),
    ],
)
def test_what_cannot_be_put_is_a_sentence(name, cell, says):
    with pytest.raises(CourseError, match=says):
        put_step(MODULE, name, cell)


def test_badges_open_the_notebook():
    assert badges("00-bigram.ipynb", "") == ""
    text = badges("00-bigram.ipynb", "https://github.com/owner/course")
    assert (
        "colab.research.google.com/github/owner/course/blob/main/lessons/notebooks/00-bigram.ipynb"
        in text
    )
    assert "https://codespaces.new/owner/course" in text
    notebook = lesson_notebook(
        find_lesson("00"), stub_of(find_lesson("00")), "# Head\n", "https://github.com/owner/course"
    )
    assert "Open in Colab" in notebook.cells[0].source
    assert 'REPOSITORY = "https://github.com/owner/course"' in notebook.cells[1].source


@pytest.mark.slow
def test_check_says_which_notebook_is_not_as_made(tmp_path):
    course = Course(tmp_path)
    path = course.root / FOLDER / "00-bigram.ipynb"
    path.write_text(path.read_text(encoding="utf-8").replace("babble", "bubble"), encoding="utf-8")
    result = course.grader("notebooks", "--check")
    assert result.returncode == 1
    assert result.stdout == (
        "lessons/notebooks/00-bigram.ipynb is not what `python -m grader notebooks` writes\n"
    )


# In a real kernel


def said(notebook: nbformat.NotebookNode, place: int) -> str:
    outputs = notebook.cells[place].get("outputs", [])
    return "".join(output.get("text", "") for output in outputs)


def execute(course: Course, notebook: nbformat.NotebookNode, monkeypatch) -> None:
    """Run all cells in a kernel that stands in the notebook's folder, as Jupyter does."""
    from nbclient import NotebookClient

    for name, value in NO_TABLE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("COURSE_PATH", raising=False)
    folder = str(course.root / FOLDER)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": folder}}).execute()


def solved(lesson: Lesson, name: str) -> str:
    """Return the reference of a step as a learner would write it in a cell: with its own imports."""
    text = (ROOT / "solutions" / f"{lesson.module}.py").read_text(encoding="utf-8")
    stub = ast.parse(stub_of(lesson))
    had = {ast.unparse(node) for node in stub.body}
    new = [
        ast.unparse(node)
        for node in ast.parse(text).body
        if isinstance(node, ast.Import | ast.ImportFrom) and ast.unparse(node) not in had
    ]
    source = source_of(text, name)
    function = find_function(ast.parse(source), name.rpartition(".")[2])
    assert function is not None
    lines = source.split("\n")
    lines[function.body[1].lineno - 1 : function.body[1].lineno - 1] = [
        f"    {line}" for line in new
    ]
    return "\n".join(lines)


def fresh(tmp_path: Path, number: str) -> tuple[Course, Lesson, nbformat.NotebookNode]:
    course, lesson = Course(tmp_path), find_lesson(number)
    file = course.root / "lessons" / number / f"{lesson.module}.py"
    file.write_text(stub_of(lesson), encoding="utf-8")
    return course, lesson, nbformat.read(course.root / FOLDER / file_name(lesson), as_version=4)


def test_solved_cells_make_the_solution():
    """Without a kernel: the functions in the file are then those of the reference."""
    for lesson in read_syllabus():
        text = (ROOT / "solutions" / f"{lesson.module}.py").read_text(encoding="utf-8")
        module = stub_of(lesson)
        for step in lesson.steps:
            module = put_step(module, step.name, solved(lesson, step.name))
        for step in lesson.steps:
            right = find_function(ast.parse(text), step.name)
            found = find_function(ast.parse(module), step.name)
            assert right
            assert found
            ends = [ast.dump(node) for node in right.body[1:]]
            assert [ast.dump(node) for node in found.body][-len(ends) :] == ends, step.name
            assert is_written(module, step.name)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("number", [lesson.number for lesson in read_syllabus()])
def test_untouched_it_says_what_to_write_and_solved_it_earns_all(number, tmp_path, monkeypatch):
    course, lesson, notebook = fresh(tmp_path, number)
    untouched = nbformat.from_dict(notebook)
    execute(course, untouched, monkeypatch)  # no cell raises
    first = lesson.steps[0].name
    steps = [i for i, c in enumerate(notebook.cells) if c.source.startswith("%%step ")]
    assert f"next: write {first}" in said(untouched, 1)
    assert f"not written yet: {first}" in said(untouched, steps[0])
    last = max(i for i, c in enumerate(notebook.cells) if c.source == "%check")
    assert f"lesson {number}: 0/" in said(untouched, last)
    file = course.root / "lessons" / number / f"{lesson.module}.py"
    assert file.read_text(encoding="utf-8") == stub_of(lesson)

    for place, step in zip(steps, lesson.steps, strict=True):
        notebook.cells[place].source = f"%%step {step.name}\n{solved(lesson, step.name)}"
    execute(course, notebook, monkeypatch)
    for place, step in zip(steps, lesson.steps, strict=True):
        assert f"{step.name}: {step.points} of {step.points} points" in said(notebook, place)
    assert f"lesson {number}: {lesson.points}/{lesson.points} points" in said(notebook, last)
    judged = course.grader("check", number)
    assert f"lesson {number}: {lesson.points}/{lesson.points} points" in judged.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_mistake_is_explained_in_its_cell_and_nothing_is_lost(tmp_path, monkeypatch):
    course, _, notebook = fresh(tmp_path, "00")
    steps = [i for i, c in enumerate(notebook.cells) if c.source.startswith("%%step ")]
    untouched = notebook.cells[steps[0]].source
    wrong = "def softmax(logits, dim=-1):\n    powers = torch.exp(logits)\n    return powers / powers.sum()"
    notebook.cells = [
        notebook.cells[1],
        nbformat.v4.new_code_cell("%%step softmax\n" + wrong),
        nbformat.v4.new_code_cell("print(softmax(torch.tensor([0.0, 0.0])).tolist())"),
        nbformat.v4.new_code_cell(untouched),  # an untouched cell does not wipe out what there is
        nbformat.v4.new_code_cell(
            "%%step softmax\ndef softmax(logits, dim=-1):\n  while True: pass"
        ),
        nbformat.v4.new_code_cell("%%step nothing\ndef nothing():\n    return 1"),
        nbformat.v4.new_code_cell("print('alive')"),
    ]
    execute(course, notebook, monkeypatch)
    assert "test_any_dimension_can_sum_to_one" in said(notebook, 1)
    assert "? " in said(notebook, 1)
    assert said(notebook, 2) == "[0.5, 0.5]\n"
    assert "lessons/00/bigram.py has a softmax of yours" in said(notebook, 3)
    assert "softmax: 0 of 5 points" in said(notebook, 4)
    assert "lesson 00 has no step 'nothing', but softmax" in said(notebook, 5)
    assert said(notebook, 6) == "alive\n"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_capstone_notebook_trains_a_tiny_model(tmp_path, monkeypatch):
    course = Course(tmp_path)
    shutil.copytree(ROOT / "site" / "widgets", course.root / "site" / "widgets")  # for share.html
    notebook = nbformat.read(course.root / FOLDER / CAPSTONE, as_version=4)
    settings = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    assert 'PRECISION = "fp16"' in settings.source
    settings.source = textwrap.dedent("""
        PRESET, DATA, MINUTES, PRECISION, OUT, WHOSE = (
            "laptop", "ministories", 0.2, "fp32", "runs/t4", "solutions")
        MORE = ["--stories", "300", "--tokenizer", "bpe:300", "--n-layer", "1", "--n-embd", "32",
                "--block-size", "32", "--quiet"]
    """)
    execute(course, notebook, monkeypatch)
    text = "\n".join(said(notebook, i) for i in range(len(notebook.cells)))
    assert "windows a step, about" in text
    assert "planned " in text
    assert "Once upon a time" in text
    assert (course.root / "runs/t4/share.html").is_file()


def test_the_capstone_fits_a_t4(monkeypatch, capsys):
    """The plan of the notebook, run for presets that it names, with the memory of a T4."""
    from grader.instructor.notebook_capstone import PLAN

    for preset, most in (("small", 6e9), ("medium", 12e9), ("distilgpt2", 12e9)):
        names = {"PRESET": preset, "WHOSE": "solutions", "memory": 15 * 2**30}
        exec(PLAN, names)
        assert names["planned"] < most
        usual = names["preset"].train
        windows = usual["batch_size"] * usual["accumulation"]
        assert names["batch_size"] * names["accumulation"] == windows
    assert "million parameters" in capsys.readouterr().out


def test_setup_finds_the_course(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT / FOLDER)
    monkeypatch.setattr(sys, "path", list(sys.path))
    exec(SETUP.format(repository=""), {})
    assert Path.cwd() == ROOT

"""A lesson's notebook; what is left of one that was handed in; how a report becomes points."""

import io
import json

import nbformat
import pytest
from nbconvert.filters import markdown2html
from nbformat.v4 import new_code_cell, new_markdown_cell
from nbgrader.nbgraderformat import MetadataValidator
from nbgrader.utils import determine_grade

from grader.instructor.nbgrading.cells import inert, lesson_notebook, put_back, write_notebook
from grader.instructor.nbgrading.feedback import cells_of, html_of
from grader.instructor.nbgrading.handing_in import read_notebook
from grader.instructor.nbgrading.preprocessing import fill_in, remarks, show_rubric
from grader.instructor.nbgrading.written import STUB, read_written
from grader.judge.runner import load_checks
from grader.syllabus import find_lesson

LESSON = find_lesson("03")
CHECKS = load_checks(LESSON)
QUESTIONS = read_written(LESSON)
FIRST, SECOND = (f"answer-{question.name}" for question in QUESTIONS)


@pytest.fixture
def master() -> nbformat.NotebookNode:
    return lesson_notebook(LESSON, CHECKS, QUESTIONS, "cs1")


@pytest.fixture
def mine(master) -> nbformat.NotebookNode:
    """What a learner hands in, with an answer to the second question."""
    notebook = nbformat.reads(nbformat.writes(master), as_version=4)
    cell(notebook, SECOND).source = "The future leaks."
    return notebook


def cell(notebook, name):
    return next(each for each in notebook.cells if each.id == name)


def answers(notebook, master) -> list[str]:
    """Return the answers in a put-back notebook, of which all the rest must be the master's."""
    ours = notebook.cells[: len(master.cells)]
    for put, right in zip(ours, master.cells, strict=True):
        if put.id not in (FIRST, SECOND):
            assert put == right
        assert put.metadata == right.metadata
    nbformat.validate(notebook)
    return [cell(notebook, name).source for name in (FIRST, SECOND)]


# The notebook


def test_notebook_is_the_same_on_every_run(master, tmp_path):
    write_notebook(master, tmp_path / "a.ipynb")
    again = lesson_notebook(LESSON, CHECKS, read_written(LESSON), "cs1")
    write_notebook(again, tmp_path / "b.ipynb")
    assert (tmp_path / "a.ipynb").read_bytes() == (tmp_path / "b.ipynb").read_bytes()


def test_one_locked_cell_per_check_and_a_place_for_each_answer(master):
    graded = [each for each in master.cells if each.metadata.get("nbgrader", {}).get("grade")]
    checks = [each for each in graded if each.cell_type == "code"]
    assert [each.metadata.nbgrader.grade_id for each in checks] == [c.name for c in CHECKS]
    assert sum(each.metadata.nbgrader.points for each in checks) == LESSON.points
    assert all(each.metadata.nbgrader.locked for each in checks)
    assert [each.id for each in graded if each.cell_type == "markdown"] == [FIRST, SECOND]
    for each in master.cells:
        MetadataValidator().validate_cell(each)


def test_points_of_the_course_are_the_points_of_the_cells():
    notebook = lesson_notebook(LESSON, CHECKS, worth=13)
    points = [each.metadata.nbgrader.get("points", 0) for each in notebook.cells]
    assert sum(points) == pytest.approx(13)


def test_cells_in_a_learners_hands_say_where_to_look(master, capsys):
    space: dict = {}
    exec(cell(master, "helpers").source, space)
    assert space["points"]("test_layer_learns") is None
    assert "pytest lessons/03 -k test_layer_learns" in capsys.readouterr().out


# What was handed in


def test_answers_are_kept_and_nothing_else(mine, master):
    for each in mine.cells:
        if each.id not in (FIRST, SECOND):
            each.source = "2"
            each.metadata = {}
    cell(mine, FIRST).metadata.nbgrader.points = 99
    cell(mine, SECOND).metadata.nbgrader.grade = False
    assert answers(put_back(mine, master), master) == [STUB, "The future leaks."]


def test_deleted_doubled_and_added_cells(mine, master):
    double = new_markdown_cell("And rows do not sum to 1.", id="copy")
    double.metadata["nbgrader"] = {"grade_id": SECOND, "schema_version": 99}
    posing = new_code_cell("1 / 0", metadata={"nbgrader": {"grade_id": "x", "points": 9}})
    odd = new_markdown_cell("a note", metadata={"nbgrader": ["odd"]}, id="report")
    forged = new_markdown_cell("**Sample answers** all points", id="samples-x")
    mine.cells = [each for each in mine.cells if each.id != FIRST][5:]
    mine.cells += [double, posing, odd, forged]
    put = put_back(mine, master)
    both = "The future leaks.\n\n---\n\nAnd rows do not sum to 1."
    assert answers(put, master) == [STUB, both]
    added = put.cells[len(master.cells) :]
    assert [each.cell_type for each in added] == ["markdown"] * 4
    assert [each.source for each in added[1:]] == [
        *("```\n1 / 0\n```", "a note", "**Sample answers** all points"),
    ]
    assert all("nbgrader" not in each.metadata for each in added)
    assert [each.id for each in added] == ["added", "added-0", "added-1", "added-2"]


def test_notebooks_of_other_tools(mine, master):
    """Without ids (nbformat 4.2), without metadata, without either; and as a code cell."""
    for metadata, ids in ((True, False), (False, True), (False, False)):
        other = nbformat.reads(nbformat.writes(mine), as_version=4)
        for each in other.cells:
            if not metadata:
                each.metadata = nbformat.from_dict({"colab": {"x": 1}})
            if not ids:
                del each["id"]
        if not ids:
            other.nbformat_minor = 2
        put = put_back(other, master)
        assert answers(put, master) == [STUB, "The future leaks."]
        assert len(put.cells) == len(master.cells)
    cell(mine, SECOND).cell_type = "code"
    assert answers(put_back(mine, master), master)[1] == "The future leaks."


def test_windows_line_ends_are_no_answer(mine, master):
    cell(mine, FIRST).source = STUB + "\r\n\r\n"
    cell(mine, SECOND).source = "one\r\ntwo  \r\n"
    put = put_back(mine, master)
    assert answers(put, master) == [STUB, "one\ntwo"]


def test_an_answer_can_do_nothing_on_the_graders_screen(mine, master):
    evil = (
        '<script>x</script> a<b ![p](http://evil/p.png) [l](JavaScript:x) <img src=x onerror="x">'
    )
    cell(mine, SECOND).source = evil + "x" * 30_000
    text = answers(put_back(mine, master), master)[1]
    assert len(text) < 21_000
    for html in (markdown2html(text), html_of(text)):  # the formgrader's page, and the feedback
        for bad in ("<script", "<img", "javascript:", "src="):
            assert bad not in html.replace("src=x onerror", "").lower()
    assert inert("a < b, `x[1]`").replace("\u2060", "") == "a < b, `x[1]`"


@pytest.mark.parametrize(
    ("content", "trouble"),
    [
        (b"", "cannot be read"),
        (b"no json", "cannot be read"),
        (b"[1, 2]", "cannot be read"),
        (b'{"cells": 3, "nbformat": 4, "nbformat_minor": 5}', "cannot be read"),
        (b'{"nbformat": 99, "cells": [], "metadata": {}, "nbformat_minor": 0}', "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b'{"cells": [{"cell_type": "markdown", "source": "x"}, 3], "metadata": [],'
         b' "nbformat": 4, "nbformat_minor": 2}', None),
    ],
)  # fmt: skip
def test_any_file_is_some_notebook(content, trouble, master):
    notebook, said = read_notebook(io.BytesIO(content))
    assert trouble is None or trouble in said
    assert answers(put_back(notebook, master), master) == [STUB, STUB]


def test_notebooks_in_other_alphabets(mine, master):
    cell(mine, SECOND).source = "Größe zählt"
    text = nbformat.writes(mine)
    for encoding, warned in (("utf-8-sig", False), ("utf-16", False), ("cp1252", True)):
        raw = (
            json.dumps(json.loads(text), ensure_ascii=False).replace("\n", "\r\n").encode(encoding)
        )
        notebook, said = read_notebook(io.BytesIO(raw))
        assert ("not saved as UTF-8" in said) == warned
        assert answers(put_back(notebook, master), master) == [STUB, "Größe zählt"]


# From the report to the points


def report(verdicts: dict[str, str], refused: str = "") -> dict:
    plain = dict.fromkeys(("details", "ask", "where", "printed", "baseline", "first"), "")
    checks = [
        {**plain, "check": name, "step": "split_heads", "points": 1, "verdict": verdict,
         "symptom": f"{verdict}: -1", "mistake": {}, "kind": "core"}
        for name, verdict in verdicts.items()
    ]  # fmt: skip
    return {"checks": checks, "submission": {"refused": refused}, "isolated": True}


def grades(notebook) -> dict[str, float]:
    return {
        each.id: determine_grade(each)[0]
        for each in notebook.cells
        if each.cell_type == "code" and each.metadata.get("nbgrader", {}).get("grade")
    }


@pytest.mark.parametrize("verdict", ["failed", "not written", "blocked", "skipped"])
def test_only_what_passed_has_points(master, verdict):
    first = CHECKS[0].name
    fill_in(
        master, report({c.name: "passed" if c.name == first else verdict for c in CHECKS}), LESSON
    )
    assert grades(master) == {c.name: c.points if c.name == first else 0 for c in CHECKS}
    outputs = [out for each in master.cells for out in each.get("outputs", [])]
    assert {out.get("name", "stdout") for out in outputs} == {"stdout"}  # stderr would be 0 points
    nbformat.validate(master)


def test_what_could_not_be_taken_has_no_points_and_says_why(master):
    fill_in(master, report({}, refused="attention.py is a link"), LESSON)
    assert set(grades(master).values()) == {0}
    said = remarks(report({}, refused="attention.py is a link"), "no notebook")[0].source
    assert "attention.py is a link" in said and "no notebook" in said


def test_a_check_that_was_withdrawn_costs_nobody_anything(master):
    fill_in(master, report({c.name: "failed" for c in CHECKS[1:]}), LESSON)
    assert grades(master)[CHECKS[0].name] == CHECKS[0].points
    assert sum(grades(master).values()) == CHECKS[0].points


def test_rubric_stands_below_the_answer(master):
    show_rubric(master, QUESTIONS[0].name, "asked", "criteria", "samples")
    names = [each.id for each in master.cells]
    at = names.index(FIRST)
    assert [each.source for each in master.cells[at + 1 : at + 3]] == ["criteria", "samples"]
    assert cell(master, f"ask-{QUESTIONS[0].name}").outputs[0].text == "asked"
    nbformat.validate(master)


def test_feedback_shows_points_and_comments(master):
    fill_in(master, report({c.name: "failed" for c in CHECKS}), LESSON)
    cell(master, SECOND).metadata.nbgrader |= {"score": 3.5, "comment": "good <b>x</b>"}
    shown = {each["name"]: each for each in cells_of(master)}
    assert shown[SECOND]["score"] == "3.5" and shown[SECOND]["of"] == "4"
    assert "<b>" not in shown[SECOND]["comment"]
    assert "helpers" not in shown
    assert "failed: -1" in shown[CHECKS[0].name]["text"]

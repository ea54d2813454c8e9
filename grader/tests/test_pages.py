"""Generated text: up to date, of the right form, and with nothing in it that is not to be read."""

import ast
import json
import re

import pytest

from grader.bank import wrong_variants
from grader.commands import pages as command
from grader.pages import audited, notebooks, regions, weights
from grader.pages.command_lines import PARSERS, options, subcommands
from grader.pages.mistakes import by_step, told_once
from grader.pages.presets import recipes, table
from grader.pages.reference import module, prose
from grader.syllabus import read_syllabus
from grader.tests.conftest import ROOT
from lessons.engine.errors import CourseError
from lessons.engine.presets import PRESETS

LESSONS = read_syllabus()


def test_every_region_is_as_the_course_makes_it(capsys):
    import argparse

    status = command.run(argparse.Namespace(check=True))
    said = capsys.readouterr().out
    assert status == 0, said
    assert re.fullmatch(r"\d\d+ regions, all up to date\n", said)


def test_a_region_that_drifted_is_named_and_mended(tmp_path, monkeypatch, capsys):
    import argparse

    page = tmp_path / "site" / "lessons" / "03.md"
    page.parent.mkdir(parents=True)
    page.write_text("# Page\n\n<!-- generated: mistakes 03 -->\nstale\n<!-- end -->\n\nafter\n")
    (tmp_path / "README.md").write_text("nothing here\n")
    monkeypatch.setattr("grader.judge.paths.ROOT", tmp_path)
    check, write = (argparse.Namespace(check=each) for each in (True, False))
    assert command.run(check) == 1
    assert "site/lessons/03.md: mistakes 03 differs" in capsys.readouterr().out
    assert "stale" in page.read_text()
    assert command.run(write) == 0
    text = page.read_text()
    assert "stale" not in text
    assert text.startswith("# Page\n\n<!-- generated: mistakes 03 -->\n")
    assert text.endswith("<!-- end -->\n\nafter\n")
    capsys.readouterr()
    assert command.run(check) == 0


def test_notebooks_open_in_colab_once_the_course_has_an_address(monkeypatch):
    lessons = ROOT / "site" / "lessons"
    assert "Colab" not in notebooks.of_lesson(["03"], lessons) + notebooks.every([], ROOT)
    address = "https://github.com/owner/course"
    monkeypatch.setattr("grader.pages.notebooks.repository", lambda: address)
    colab = "https://colab.research.google.com/github/owner/course/blob/main/lessons/notebooks"
    line, rows = notebooks.of_lesson(["03"], lessons), notebooks.every([], ROOT)
    assert f"({colab}/03-attention.ipynb)" in line and "(../notebooks/03-attention.ipynb)" in line
    assert rows.count(colab) == len(LESSONS) + 1 and "capstone-t4.ipynb" in rows
    assert "https://codespaces.new/owner/course" in line and "codespaces.new" in rows


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<!-- generated: nonsense -->\n<!-- end -->", "nothing generates 'nonsense'"),
        ("<!-- generated: lessons -->\n", "has no <!-- end -->"),
        ("<!-- generated: lessons -->\n<!-- generated: audit -->\n<!-- end -->", "no <!-- end -->"),
        ("<!-- generated: notebook -->\n<!-- end -->", "notebook takes one lesson"),
        ("<!-- generated: mistakes -->\n<!-- end -->", "mistakes takes one lesson"),
        ("<!-- generated: mistakes 77 -->\n<!-- end -->", "no lesson '77'"),
        ("<!-- generated: reference nosuch -->\n<!-- end -->", "no module nosuch"),
    ],
)
def test_a_region_that_cannot_be_filled_is_a_sentence(text, says):
    with pytest.raises(CourseError, match=re.escape(says)):
        regions.fill(text, ROOT / "site" / "page.md")


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.number)
def test_common_mistakes_ask_first_and_show_no_code_of_the_solution(lesson):
    text = by_step([lesson.number], ROOT)
    wrong = wrong_variants(lesson)
    for variant in told_once(wrong):
        assert text.index(f"**{variant.ask}**") < text.index(variant.says)
    assert text.count("??? question") == len({variant.step for variant in wrong})
    solution = (ROOT / "solutions" / f"{lesson.module}.py").read_text(encoding="utf-8")
    lines = {line.strip() for part in _regions_of(solution) for line in part.split("\n")}
    for line in lines:
        if len(line) > 30:
            assert line not in text, line


def test_every_word_of_the_glossary_is_linked_from_its_lesson():
    glossary = (ROOT / "site" / "glossary.md").read_text(encoding="utf-8")
    for entry in re.split(r"^(?=<span id=)", glossary, flags=re.MULTILINE)[1:]:
        name = entry.split('"')[1]
        number = re.findall(r"lessons/(\d\d)\.md", entry)[-1]
        page = (ROOT / "site" / "lessons" / f"{number}.md").read_text(encoding="utf-8")
        assert f"(../glossary.md#{name})" in page, name


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.number)
def test_the_reference_shows_signatures_and_docstrings_and_no_bodies(lesson):
    text = module([lesson.module], ROOT)
    solution = (ROOT / "solutions" / f"{lesson.module}.py").read_text(encoding="utf-8")
    said = "".join(ast.get_docstring(node) or "" for node in _documented(solution))
    for part in _regions_of(solution):
        for line in part.split("\n"):
            if len(line.strip()) > 30 and line.strip() not in said:  # a docstring may be that clear
                assert line.strip() not in text
    for step in lesson.steps:
        assert re.search(rf"^## `{re.escape(step.name)}` {{ #", text, re.M), step.name
    for block in re.findall(r"```py\n(.*?)```", text, re.S):
        if not block.startswith("class "):
            ast.parse(f"def {block.strip()}: ...")


def _documented(source: str) -> list[ast.AST]:
    kinds = (ast.FunctionDef, ast.ClassDef, ast.Module)
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]


def _regions_of(solution: str) -> list[str]:
    return re.findall(r"# <solution>(.*?)# </solution>", solution, re.S)


@pytest.mark.parametrize(
    ("docstring", "markdown"),
    [
        ("x: (B, T, C). Returns (B, H, T, D).", "`x`: `(B, T, C)`. Returns `(B, H, T, D)`."),
        ("softmax(q k^T / sqrt(D)) v", "softmax(q k^T / sqrt(D)) v"),
        ("`(T, K)`, or (..., T, D'), or (N,)", "`(T, K)`, or `(..., T, D')`, or `(N,)`"),
        ("(7 heads on 384, as is, usual)", "(7 heads on 384, as is, usual)"),
        ("Do this:\n1. one\n2. two", "Do this:\n\n1. one\n2. two"),
    ],
)
def test_shapes_in_docstrings_become_code(docstring, markdown):
    assert prose(docstring, ["x"]) == markdown


def test_presets_are_all_there_with_counted_parameters():
    shapes, costs = table([], ROOT), recipes([], ROOT)
    for name in PRESETS:
        assert f"| `{name}` |" in shapes
        assert f"| `{name}` |" in costs
    assert "29,995,392" in next(row for row in shapes.split("\n") if "`small`" in row)


@pytest.mark.parametrize("program", PARSERS)
def test_every_option_of_every_command_stands_in_the_reference(program):
    text = options([program], ROOT)
    parser = PARSERS[program]()
    found = list(subcommands(parser)) or [(None, "", parser)]
    for name, _, each in found:
        if name:
            assert f"### `{parser.prog} {name}`" in text
        for action in each._actions:
            for option in set(action.option_strings) - {"-h", "--help"}:
                assert option in text
    assert len(found) > (5 if program in ("grader", "tinystories") else 0)


def test_an_audit_that_was_kept_becomes_a_table(tmp_path):
    from grader.audit.measures import QUICK, Measures
    from grader.audit.record import keep

    file = tmp_path / "last.json"
    assert audited.table([], ROOT, file) == audited.NONE_YET
    one = Measures("03", checks=24, points=24, wrong=52, right=11, mutants=182)
    one.survivors = ["a", "b"]
    keep([one], QUICK, file)
    keep([Measures("00", checks=26, points=26, wrong=85, right=9, mutants=255)], QUICK, file)
    kept = json.loads(file.read_text())["lessons"]
    assert list(kept) == ["00", "03"]
    assert kept["03"]["survivors"] == 2
    text = audited.table([], ROOT, file)
    row = next(line for line in text.split("\n") if line.startswith("| 03 |"))
    assert row.startswith("| 03 | 24 | 52 | 0 | 11 | 0 | 182 | 2 | 0 |")
    assert "100%" in row


def test_a_measurement_of_pages_becomes_a_table(tmp_path):
    file = tmp_path / "weights.json"
    assert weights.table([], ROOT, file) == weights.NONE_YET
    row = {"page": "lessons/05.html", "files": 20, "first": 812_345, "whole": 2_100_000}
    times = {"interactive": 480, "slow": 1_930}
    found = {"day": "2026-01-02", "browser": "Chromium 1", "slower": 4, "pages": [row | times]}
    file.write_text(json.dumps(found))
    text = weights.table([], ROOT, file)
    assert "| `lessons/05.html` | 20 | 812 kB | 2,100 kB | 0.5 s | 1.9 s |" in text
    assert "the processor 4 times slower" in text

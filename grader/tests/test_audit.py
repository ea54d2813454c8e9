"""The judge of the judge: a bad check, or a bank that no longer fits, makes the audit red by name.

In a copy of the course that has only one, tiny, lesson.
"""

import re
import shutil

import pytest

from grader.audit.measures import Measures
from grader.audit.mutants import all_mutants
from grader.bank import solution_of
from grader.syllabus import find_lesson
from grader.tests.course_copy import Course

SYLLABUS = """
[[lesson]]
number = "03"
module = "attention"
title = "Tiny"
needs = []
[[lesson.step]]
name = "double"
kind = "core"
points = 2
[[lesson.step]]
name = "Scale.forward"
kind = "core"
points = 1
"""
SOLUTION = '''"""Lesson 03: tiny."""

import torch
from torch import nn


def double(x: torch.Tensor) -> torch.Tensor:
    """Return 2 x. x: any shape."""
    # <solution>
    return 2 * x
    # </solution>


class Scale(nn.Module):
    """Multiplies every channel by a number of its own."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x times the factor. x: (..., size)."""
        # <solution>
        return x * self.factor
        # </solution>
'''
CHECKS = '''"""Checks of a tiny lesson."""

from grader.checks import check


@check("double", points=2)
def test_double(lesson, expect, draw):
    """Twice as much."""
    x = draw.normal(3, 4)
    expect(lesson.double(x), 2 * x)


@check("Scale.forward", points=1)
def test_scale(lesson, expect, draw):
    """Every channel has its own factor."""
    x, factor = draw.normal(3, 4), draw.normal(4)
    layer = lesson.Scale(4).load({"factor": factor})
    expect(layer(x), x * factor)
'''
EXPECT = "    expect(lesson.double(x), 2 * x)\n"
WRONG = """
[[wrong]]
name = "thrice"
step = "double"
says = "It is three times x."
ask = "How often is x in it?"
look = "the number"
old = "2 * x"
new = "3 * x"

[[wrong]]
name = "summed"
step = "Scale.forward"
says = "The factor is added."
ask = "What does a factor do?"
look = "the sign between the two"
old = "x * self.factor"
new = "x + self.factor"
"""
TWIN = WRONG.split("[[wrong]]")[1].replace("thrice", "tripled").replace("It is", "There is")
NEARLY = TWIN.replace("tripled", "nearly").replace("3 * x", "2.0001 * x")

# name -> what is different; files that are not named are as above
SCENES = {
    "good": {},
    "accepts_everything": {"checks": CHECKS.replace(EXPECT, "    lesson.double(x)\n")},
    "too_strict": {"checks": CHECKS.replace("2 * x)\n", "2 * x, tolerance=1e-9)\n", 1)},
    "unstable": {"checks": CHECKS.replace("2 * x)", "(2 + (draw.seed == 1001)) * x)", 1)},
    "too_wide": {"wrong": WRONG + "[[wrong]]" + NEARLY},
    "two_alike": {"wrong": WRONG + "[[wrong]]" + TWIN},
    "moved": {"wrong": WRONG.replace("x * self.factor", "x * self.weight")},
    "stale": {"wrong": WRONG.replace("It is three times x.", "It is x, three times.")},
    "for_nothing": {
        "checks": CHECKS.replace(EXPECT, "    lesson.Scale(4)\n").replace("test_d", "test_made_d")
    },
}
PLACES = {
    "checks": "lessons/03/test_attention.py",
    "wrong": "grader/bank/03/wrong.toml",
}
SEVERAL = f"""
import shutil, sys
import grader.audit.measures as measures
from grader.__main__ import main
measures.QUICK = measures.Effort(right_seeds=2, wrong_seeds=1, mutants=8, names=9)
for scene in sys.argv[1:]:
    for kind, place in {PLACES!r}.items():
        shutil.copy(f"scenes/{{scene}}_{{kind}}", place)
    sys.modules.pop("grader.lesson_03_test_attention", None)
    recording = [["record", "03"]] if scene != "stale" else []
    for command in [*recording, ["audit", "03", "--workers", "1"]]:
        status = main(command)
    print(f"\\n=== {{status}}", flush=True)
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Course:
    course = Course(tmp_path_factory.mktemp("tiny"))
    root = course.root
    bank = root / "grader" / "bank" / "03"
    shutil.rmtree(bank)
    bank.mkdir()
    (root / "grader" / "syllabus.toml").write_text(SYLLABUS, encoding="utf-8")
    (root / "solutions" / "attention.py").write_text(SOLUTION, encoding="utf-8")
    plain = re.sub(r" *# </?solution>\n", "", SOLUTION)
    for name, body in {"sum": "x + x", "rounded": "x * 1.1 / 3.3 * 6"}.items():
        (bank / f"right_{name}.py").write_text(plain.replace("2 * x", body), encoding="utf-8")
    (root / "scenes").mkdir()
    for scene, different in SCENES.items():
        for kind, usual in (("checks", CHECKS), ("wrong", WRONG)):
            text = different.get(kind, usual)
            (root / "scenes" / f"{scene}_{kind}").write_text(text, encoding="utf-8")
    return course


@pytest.fixture(scope="module")
def audits(tiny) -> dict[str, str]:
    """What recording and auditing shows for each scene, with the exit code at the end."""
    result = tiny.python("-c", SEVERAL, *SCENES, options={"timeout": 290})
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    first, *rest = (result.stdout + "\n").split("\n=== ")
    codes = [part.partition("\n")[0] for part in rest]
    bodies = [first, *(part.partition("\n")[2] for part in rest)]
    texts = [f"{body}\nexit {code}" for body, code in zip(bodies, codes, strict=False)]
    return dict(zip(SCENES, texts, strict=True)) | {"stderr": result.stderr}


def faults(text: str) -> list[str]:
    return re.findall(r"^lesson 03: (.*: .*)$", text, re.MULTILINE)


def test_a_good_lesson_is_green(audits):
    text = audits["good"]
    assert faults(text) == []
    assert text.endswith("exit 0")
    row = next(line for line in text.splitlines() if line.startswith("│"))
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells[:7] == ["03", "2", "3", "2", "0", "2", "0"]
    assert cells[11:16] == ["0", "0", "0", "0", "100%"]
    assert cells[16] == "0"


def test_a_check_that_accepts_everything_is_found(audits):
    text = audits["accepts_everything"]
    assert "false accept: thrice, seed 0 (It is three times x.)" in text
    assert "points for nothing: none: test_double" in text
    assert "mutant survives: double " in text
    assert text.endswith("exit 1")


def test_a_check_that_is_too_strict_is_found(audits):
    text = audits["too_strict"]
    assert re.search(r"false reject: rounded, seed 0: test_double: not right yet", text)
    assert not re.search(r"false reject: sum", text)
    assert text.endswith("exit 1")


def test_a_tolerance_without_room_is_found(audits):
    text = audits["too_wide"]
    assert re.search(
        r"tolerance: test_double: nearly \(wrong, seed 0\) is off by only [\d.]+", text
    )
    assert text.endswith("exit 1")


def test_a_verdict_that_hangs_on_the_seed_is_found(audits):
    text = audits["unstable"]
    assert "unstable: solution, seed 1001: test_double: not right yet" in text
    assert not re.search(r"unstable: .*, seed (?!1001)", text)
    assert text.endswith("exit 1")


def test_a_record_that_is_not_fresh_is_found(audits):
    text = audits["stale"]
    assert (
        "stale: thrice is recorded otherwise, or not at all; `python -m grader record 03`" in text
    )
    assert text.endswith("exit 1")


def test_more_than_one_mutant_in_twenty_explained_away_is_too_many():
    assert Measures("03", 2, 3, explained=0.05).faults() == []
    assert Measures("03", 2, 3, explained=0.06).faults() == ["6.0% of mutants explained"]


def test_points_for_nothing_are_found(audits):
    text = audits["for_nothing"]
    assert "points for nothing: untouched: test_made_double" in text
    assert text.endswith("exit 1")


def test_two_mistakes_that_look_alike_have_no_name(audits):
    text = audits["two_alike"]
    assert "tripled and thrice give the same answers in every check" in text
    assert "only 33% of mistakes are named" in text
    assert "not named: thrice" in text
    assert "false name: thrice, with its record left out, is called tripled" in text
    assert text.endswith("exit 1")


def test_an_edit_that_no_longer_finds_its_place_fails_by_name(audits):
    assert audits["moved"].endswith("exit 2")
    sentence = (
        "wrong.toml, summed: its text stands 0 times in that step, not once: 'x * self.weight'"
    )
    assert sentence in audits["stderr"]


@pytest.mark.parametrize("name", ["NumberReplacer", "AddNot", "ReplaceBinaryOperator_Add_Sub"])
def test_mutants_are_those_that_cosmic_ray_makes_of_the_whole_module(name):
    """Ours are made of one function or class at a time."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.operators.provider import OperatorProvider

    lesson = find_lesson("05")
    solution, operator = solution_of(lesson), OperatorProvider()[name]()
    theirs, source = [], mutate_code(solution, operator, 0)
    while source is not None:
        theirs.append(source)
        source = mutate_code(solution, operator, len(theirs))
    ours = [mutant for mutant in all_mutants(lesson) if mutant.operator == name]
    assert ours
    assert set(theirs).issuperset(mutant.variant.source for mutant in ours)
    inside = [source for source in theirs if any(source == m.variant.source for m in ours)]
    assert [m.variant.source for m in ours] == list(dict.fromkeys(inside))
    for mutant in ours:
        was, now = solution.splitlines(), mutant.variant.source.splitlines()
        line = next(line for line, (a, b) in enumerate(zip(was, now, strict=False)) if a != b)
        assert (was[line].strip(), now[line].strip()) == (mutant.old, mutant.new)

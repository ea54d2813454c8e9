"""Hostile submissions against the supervisor, and through nbgrader: no point, no secret, no harm.

A dozen run with every push, all of them with `make verify`. On a machine that is busy otherwise,
`ATTACK_PATIENCE=4` gives everything four times as long.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter

import pytest
import torch

from grader.bank import solution_of
from grader.instructor.sandbox import sandbox_or_reason
from grader.judge.backends import InAChild

from .attacks import ATTACKS
from .attacks.kit import LESSON, MODULE, Attack
from .attacks.naive import COUNT, naive_points
from .attacks.running import PATIENCE, World, earned, run, short_exam
from .nbgrader_house import House, environment

QUICK = (
    *("exit_at_import", "patched_comparisons", "equal_to_everything", "frame_walking"),
    *("reads_other_students", "reads_the_environment", "network"),
    *("child_says_passed", "scripts_in_error_messages", "climbing_zip", "link_to_anothers_work"),
    *("leaves_a_note_in_the_keyring", "reads_notes_in_the_keyring", "calls_it_from_a_thread"),
)
# One or more of each kind, without those that use up their time: through nbgrader, in one run.
THROUGH_NBGRADER = (
    *("exit_at_import", "last_words", "patched_pytest", "tensor_subclass", "garbage_walking"),
    *("table_of_public_answers", "puts_the_name_together", "conftest_beside_it", "daemon"),
    *(
        "reports_beside_it",
        "writes_report_and_gradebook",
        "link_to_anothers_work",
        "kills_everything",
    ),
    *("reads_other_students", "reads_the_environment", "child_says_passed", "pickled_bombs"),
    *("scripts_in_error_messages", "control_characters", "says_to_be_somebody_else"),
)
BY_NAME = {attack.name: attack for attack in ATTACKS}
HONEST = Attack(
    "honest_among_them",
    "none",
    "does what the lesson asks for",
    "",
    base="honest",
    earns=tuple(step.name for step in LESSON.steps),
    exactly=True,
)

REASON = sandbox_or_reason()
needs_sandbox = pytest.mark.skipif(isinstance(REASON, str), reason=str(REASON))


@pytest.fixture(scope="module")
def box():
    torch.set_num_threads(1)
    yield (backend := sandbox_or_reason())
    backend.stop()


@pytest.fixture(scope="module")
def exam():
    return short_exam()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with World(tmp_path_factory.mktemp("world")).open() as opened:
        yield opened


def marked(attack: Attack):
    marks = [] if attack.name in QUICK else [pytest.mark.slow]
    return pytest.param(attack, id=attack.name, marks=marks)


@needs_sandbox
@pytest.mark.timeout(300 * PATIENCE)
@pytest.mark.parametrize("attack", [*map(marked, ATTACKS), pytest.param(HONEST, id=HONEST.name)])
def test_an_attack_gets_what_its_values_earn_and_nothing_else(attack, world, exam, box):
    outcome = run(attack, world, exam, box)
    assert outcome.wrong == [], outcome.report["checks"]
    page = outcome.report["checks"]
    assert all(check["symptom"] for check in page if check["verdict"] != "passed")


# What each does where nothing holds it, and how that is noticed; none of these does lasting harm.
WITHOUT_WALLS = {
    "reads_the_course": "the report holds 'too_old = causal",
    "reads_other_students": "the report holds",
    "reads_the_environment": "the report holds",
    "network": "was reached",
    "writes_report_and_gradebook": "eve.json was changed",
    "module_walking": "points, 0 earned",
}


@pytest.mark.slow
@pytest.mark.timeout(300 * PATIENCE)
@pytest.mark.parametrize("name", WITHOUT_WALLS)
def test_without_a_sandbox_the_same_attack_succeeds_and_is_noticed(name, tmp_path, exam):
    child = InAChild()
    with World(tmp_path).open() as world:
        outcome = run(BY_NAME[name], world, exam, child)
    child.stop()
    assert any(WITHOUT_WALLS[name] in wrong for wrong in outcome.wrong), outcome.wrong


def test_there_are_enough_of_them_and_every_kind_is_among_the_quick_ones_or_slow():
    kinds = Counter(attack.kind for attack in ATTACKS)
    assert len(ATTACKS) >= 45
    assert set(QUICK) | set(THROUGH_NBGRADER) <= BY_NAME.keys()
    assert len(kinds) >= 20
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)


@pytest.mark.slow
@needs_sandbox
@pytest.mark.timeout(1800 * PATIENCE)
def test_attacks_are_real_an_ordinary_grader_falls_for_them(world, tmp_path):
    """Those that are known to fool an ordinary grader do; the honest solution passes there too."""
    fooled = {}
    for attack in [HONEST, *ATTACKS]:
        if attack.fools or attack is HONEST:
            folder = tmp_path / attack.name
            folder.mkdir()
            fooled[attack.name] = naive_points(attack, world.known, folder)
    assert fooled.pop(HONEST.name) == COUNT
    assert {name: points for name, points in fooled.items() if points < 1} == {}
    assert sum(points == COUNT for points in fooled.values()) >= 8, fooled


def greedy_cells(text: str) -> str:
    """Add cells that would give all points, raise the worth of the others, and lock nothing."""
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        about = cell["metadata"].get("nbgrader", {})
        about.update(points=1000, locked=False, solution=True) if about.get("grade") else None
    source = "points = lambda check: 1000\nRESULTS = {}\n1000"
    cell = {"cell_type": "code", "execution_count": None, "outputs": [], "source": source}
    about = {"grade_id": "greedy", "grade": True, "points": 1000, "schema_version": 3}
    about |= {"locked": False, "solution": False, "task": False, "cell_type": "code"}
    for number in range(2):
        notebook["cells"].insert(2, cell | {"id": f"g{number}", "metadata": {"nbgrader": about}})
    return json.dumps(notebook)


def doubled_cells(text: str) -> str:
    """Let every cell stand there twice, with the same ids."""
    notebook = json.loads(text)
    notebook["cells"] *= 2
    return json.dumps(notebook)


def no_cells(text: str) -> str:
    """Delete all cells."""
    return json.dumps(json.loads(text) | {"cells": []})


def no_notebook(text: str) -> str:
    """Hand in something that is no notebook at all."""
    return "<html>not a notebook</html>"


CHANGES = (greedy_cells, doubled_cells, no_cells, no_notebook)


@pytest.mark.slow
@needs_sandbox
@pytest.mark.timeout(2400 * PATIENCE)
def test_attacks_come_through_nbgrader_with_no_more(tmp_path):
    """One assignment, hostile hand-ins and an honest one: the gradebook holds what was earned."""
    house = House(tmp_path, "03", "attention")
    house.run("generate_assignment", "03")
    whole = short_exam(())
    with World(tmp_path / "world").open() as world:
        known = world.known | {"WORLD": str(house.course)}
        bob = house.submitted("bob")
        house.write(bob, f"# {world.token}\n{solution_of(LESSON)}")
        for name in THROUGH_NBGRADER:
            folder = house.course / "submitted" / name / "03"
            given = BY_NAME[name].hand_in(folder, BY_NAME[name].source(known))
            assert given == folder
            release = house.course / "release" / "03" / "attention.ipynb"
            change = CHANGES[THROUGH_NBGRADER.index(name) % len(CHANGES)]
            (folder / "attention.ipynb").write_text(change(release.read_text()))
        began = time.monotonic()
        result = subprocess.run(
            [sys.executable, "-m", "nbgrader", "autograde", "03"],
            cwd=house.course,
            env=environment(house.course) | {"SECRET_TOKEN": world.token},
            capture_output=True,
            text=True,
            timeout=2000 * PATIENCE,
        )
        assert result.returncode == 0, result.stderr[-3000:]
        assert time.monotonic() - began < 40 * PATIENCE * (len(THROUGH_NBGRADER) + 1)
        with house.gradebook() as gradebook:
            scores = {s.student.id: s.score for s in gradebook.assignment_submissions("03")}
        assert scores.keys() == {"bob", *THROUGH_NBGRADER}
        assert scores.pop("bob") == LESSON.points
        most = {name: earned(BY_NAME[name], whole) for name in THROUGH_NBGRADER}
        assert {n: (s, most[n]) for n, s in scores.items() if s > most[n]} == {}
        for place in ("autograded", "reports"):
            for file in (house.course / place).rglob("*"):
                if file.is_file() and "bob" not in str(file):
                    assert world.token not in file.read_text(encoding="utf-8", errors="replace")
        assert not (house.course / "pwned").exists()
        assert world.reached == []
        assert (bob / MODULE).read_text().startswith(f"# {world.token}")
        assert "PLANTED" not in os.environ

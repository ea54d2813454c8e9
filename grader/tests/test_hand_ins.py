"""What learners hand in, and what strangers do: from the exchange to the graded copy and back.

Which fact about nbgrader each test is about stands at the head of `test_house.py`.
"""

import json
import os
import re
import shutil
from pathlib import Path

import nbformat
import pytest

from grader.instructor.nbgrading.handing_in import complete, copy_ordinary
from grader.instructor.sandbox import sandbox_or_reason
from grader.judge.paths import ROOT

from .nbgrader_house import House

needs_sandbox = pytest.mark.skipif(
    isinstance(sandbox_or_reason(), str), reason=str(sandbox_or_reason())
)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".db"
    }


def test_links_and_pipes_stay_behind(tmp_path):
    (tmp_path / "secret").write_text("secret")
    src = tmp_path / "src"
    (src / "sub").mkdir(parents=True)
    (src / "model.py").symlink_to(tmp_path / "secret")
    (src / "zero").symlink_to("/dev/zero")
    (src / "sub" / "up").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(src / "pipe")
    (src / "large").write_bytes(b"x" * 2000)
    (src / "fine.py").write_text("fine")
    said: list = []
    copy_ordinary(src, tmp_path / "dest", 1000, lambda *words: said.append(words))
    assert contents(tmp_path / "dest") == {"fine.py": b"fine"}
    assert len(said) == 4


@pytest.mark.parametrize("names", [[], ["model (1).ipynb"], ["a.ipynb", "b.ipynb"]])
def test_a_missing_or_renamed_notebook_is_no_missing_hand_in(tmp_path, names):
    (tmp_path / "release" / "05").mkdir(parents=True)
    (tmp_path / "release" / "05" / "model.ipynb").write_text("released")
    folder = tmp_path / "submitted" / "ada" / "05"
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text("mine")
    complete(folder, tmp_path, lambda *words: None)
    assert (folder / "model.ipynb").read_text() == ("mine" if len(names) == 1 else "released")


@pytest.mark.slow
def test_collect_takes_no_links_and_no_other_names(tmp_path):
    house = House(tmp_path, "03", "attention")
    house.run("generate_assignment", "03")
    house.run("release_assignment", "03")
    house.as_student("ada", "fetch_assignment", "03")
    house.as_student("ada", "submit", "03", "--student=ada")
    inbound = house.exchange / "cs1" / "inbound"
    sent = next(inbound.iterdir())
    sent.chmod(0o755)
    (sent / "attention.py").unlink()
    (sent / "attention.py").symlink_to(ROOT / "solutions" / "attention.py")
    for name in (
        "eve+03+garbage",
        "..+03+2020-01-01 00:00:00 UTC+x",
        "+03++",
        "a*+03+2020-01-01 00:00:00",
    ):
        shutil.copytree(sent, inbound / name, symlinks=True)
    said = house.run("collect", "03")
    assert said.count("left out: ") == 4  # `..` is passed over by nbgrader itself
    submitted = house.course / "submitted"
    assert [path.name for path in submitted.iterdir()] == ["ada"]
    assert not (submitted / "ada" / "03" / "attention.py").exists()
    assert (submitted / "ada" / "03" / "timestamp.txt").read_text().endswith("UTC")
    assert "ask for the reason" not in said
    shutil.rmtree(submitted / "ada")
    sent.rename(inbound / "ada+03+2020-01-01 00:00:00 UTC+x")
    assert "ask for the reason" in house.run("collect", "03")
    shutil.rmtree(submitted / "ada")
    owner = "c.ExchangeCollect.check_owner = True\n"
    config = house.course / "nbgrader_config.py"
    config.write_text(config.read_text() + owner)
    said = house.run("collect", "03")
    assert "it bears the name of ada, but belongs to" in said
    assert not list(submitted.iterdir())


HOSTILE = {
    "exits": "import os\nos._exit(0)\n",
    "prints": "import sys\nprint('26', file=sys.stderr)\nprint(26)\n",
}


@pytest.mark.slow
@needs_sandbox
def test_hostile_hand_ins(tmp_path):
    """Hostile notebooks and modules stand before and behind an honest one, which gets its points."""
    house = House(tmp_path, "03", "attention")
    house.run("generate_assignment", "03")
    solution = (ROOT / "solutions" / "attention.py").read_text()
    folder = house.submitted("m_honest")
    house.write(folder, solution)
    house.answer(folder, the_mask_came_too_late="The future leaks.")
    for name, source in HOSTILE.items():
        house.write(house.submitted(f"b_{name}"), source)
        house.write(house.submitted(f"z_{name}"), source)
    proof = tmp_path / "proof"
    hostile = house.submitted("a_notebook")
    break_notebook(hostile / "attention.ipynb", proof)
    (hostile / "numpy.py").write_text(f"open({str(proof)!r}, 'w')")
    (hostile / "report.json").write_text('{"points": 26}')
    (hostile / "timestamp.txt").write_bytes(b"\xff when I like")
    (hostile / "submission_secret.txt").write_bytes(b"\xff\x00")
    (hostile / "gradebook").symlink_to(house.course / "gradebook.db")
    (hostile / "solution.py").symlink_to(ROOT / "solutions" / "attention.py")
    (house.submitted("c_unread") / "attention.ipynb").write_bytes(b"\xff\xfenot json")
    house.write(house.course / "submitted" / "c_unread" / "03", solution)
    gone = house.submitted("d_linked") / "attention.py"
    gone.unlink()
    gone.symlink_to(ROOT / "solutions" / "attention.py")
    house.run("autograde", "03")
    scores = {"m_honest": 26, "c_unread": 26}
    with house.gradebook() as gradebook:
        found = {s.student.id: s.score for s in gradebook.find_assignment("03").submissions}
        name = "answer-the-mask-came-too-late"
        assert gradebook.find_grade(name, "attention", "03", "m_honest").needs_manual_grade
    students = ["a_notebook", "c_unread", "d_linked", "m_honest"]
    students += [f"{when}_{name}" for when in "bz" for name in HOSTILE]
    assert found == {student: scores.get(student, 0) for student in students}
    assert not proof.exists()  # nothing of theirs was run outside the sandbox
    kept = {"attention.ipynb", "attention.py", "timestamp.txt", "submission_secret.txt"}
    for student in students:
        left = {path.name for path in (house.course / "autograded" / student / "03").iterdir()}
        assert left <= kept, student
    assert "the notebook cannot be read" in house.graded("c_unread").cells[1].source
    house.run("generate_feedback", "03")
    page = house.course / "feedback" / "m_honest" / "03" / "attention.html"
    html = page.read_text(encoding="utf-8")
    assert "The future leaks." in html and "What counts" in html
    assert "for graders only" not in html and "guard" not in html
    assert not re.findall(r"<(?:script|link|img|iframe)\b|@import|url\(", html)
    names = {p.name for s in students for p in (house.course / "feedback" / s / "03").iterdir()}
    assert names <= (kept - {"attention.ipynb"}) | {"attention.html"}
    house.run("release_feedback", "03")
    assert len(list((house.exchange / "cs1" / "feedback").glob("*.html"))) == len(students)


def break_notebook(path: Path, proof: Path) -> None:
    """Do to a notebook whatever has stopped nbgrader, or given points."""
    notebook = nbformat.read(path, as_version=4)
    greedy = nbformat.v4.new_code_cell(f"open({str(proof)!r}, 'w')\npoints = lambda check: 9\n9")
    forged = nbformat.v4.new_code_cell("26", id="forged")
    forged.metadata["nbgrader"] = {**notebook.cells[3].metadata.nbgrader, "grade_id": "forged"}
    newer = nbformat.v4.new_code_cell("26", id="newer")
    newer.metadata["nbgrader"] = {"schema_version": 99, "grade_id": "x", "grade": True, "points": 1}
    double = nbformat.from_dict(notebook.cells[3])
    notebook.cells[2:2] = [greedy, forged, newer, double]
    for cell in notebook.cells[6:]:
        cell.metadata["nbgrader"] = {**cell.metadata.get("nbgrader", {}), "points": 99}
        cell.metadata["nbgrader"]["locked"] = False
        cell["outputs"] = [nbformat.v4.new_output("execute_result", {"text/plain": "99"})]
    notebook.metadata["kernelspec"] = {"name": "evil", "display_name": "evil"}
    path.write_text(json.dumps(notebook))

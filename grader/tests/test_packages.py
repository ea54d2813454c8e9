"""The search paths: the same program over different code, in every way that real programs run."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from grader.syllabus import read_syllabus
from grader.tests.conftest import ROOT


def python(code: str, cwd: Path, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def learners_tree(tmp_path_factory) -> Path:
    """A learner who has finished: the solutions copied over the stubs, no `solutions/` left."""
    root = tmp_path_factory.mktemp("course")
    shutil.copytree(
        ROOT / "lessons", root / "lessons", ignore=shutil.ignore_patterns("__pycache__")
    )
    for lesson in read_syllabus():
        shutil.copy(ROOT / "solutions" / f"{lesson.module}.py", root / "lessons" / lesson.number)
    return root


def test_one_engine_works_on_both_packages():
    code = (
        "import solutions.engine.acceleration as a, solutions.model as m;"
        "print(a.GPT is m.GPT, a.__file__)"
    )
    same, file = python(code, ROOT).split()
    assert same == "True"
    assert Path(file) == ROOT / "lessons" / "engine" / "acceleration.py"


def test_the_learners_modules_are_found_in_the_numbered_folders(learners_tree):
    code = (
        "import lessons.engine.acceleration as a, lessons.model as m;"
        "print(a.GPT is m.GPT, m.__file__)"
    )
    same, file = python(code, learners_tree).split()
    assert same == "True"
    assert Path(file) == learners_tree / "lessons" / "05" / "model.py"


def test_course_path_chooses_whose_modules_are_used(learners_tree):
    shutil.copytree(ROOT / "solutions", learners_tree / "reference", dirs_exist_ok=True)
    path = os.pathsep.join(["lessons/03", "reference", "lessons"])
    code = "import lessons.attention as a, lessons.model as m; print(a.__file__, m.__file__)"
    attention, model = python(code, learners_tree, COURSE_PATH=path).split()
    assert Path(attention).parent.name == "03"
    assert Path(model).parent.name == "reference"


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_processes_of_every_kind_see_the_same_package(learners_tree, tmp_path, method):
    if method not in __import__("multiprocessing").get_all_start_methods():
        pytest.skip(f"no {method} on this system")
    script = tmp_path / "work.py"
    script.write_text(
        "import multiprocessing, sys\n"
        f"sys.path.insert(0, {str(learners_tree)!r})\n"
        "from lessons.model import GPTConfig\n"
        "from lessons.trainer import TrainConfig\n"
        "def shape(config, train):\n"
        "    import lessons.model\n"
        "    return lessons.model.__file__, config.n_embd, train.steps\n"
        "if __name__ == '__main__':\n"
        f"    context = multiprocessing.get_context({method!r})\n"
        "    with context.Pool(1) as pool:\n"
        "        print(pool.apply(shape, (GPTConfig(n_embd=24, n_head=2), TrainConfig(steps=7))))\n"
    )
    result = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert "05/model.py', 24, 7" in result.stdout.replace("\\\\", "/")


def test_configs_pickle():
    from solutions.engine.settings import Settings, resolve
    from solutions.model import GPTConfig
    from solutions.trainer import TrainConfig

    for config in (GPTConfig(n_embd=60), TrainConfig(steps=5), resolve({"preset": "small"})):
        assert pickle.loads(pickle.dumps(config)) == config
    assert isinstance(resolve({}), Settings)


def test_it_runs_from_another_folder(tmp_path):
    code = "import solutions.model, lessons; print(solutions.model.__file__)"
    out = python(code, tmp_path, PYTHONPATH=str(ROOT))
    assert Path(out.strip()) == ROOT / "solutions" / "model.py"


def test_site_is_no_package_and_the_standard_librarys_is_found():
    out = python("import site; print(site.__file__)", ROOT).strip()
    assert ROOT / "site" not in Path(out).parents
    assert not list((ROOT / "site").rglob("*.py"))


def test_the_learners_program_is_the_same_program(learners_tree):
    """The whole way with the learner's package, with no `solutions/` on the disk."""
    command = [
        *(sys.executable, "-m", "lessons.tinystories", "run", "--out", "runs/mine"),
        *("--stories", "300", "--steps", "12", "--n-embd", "32", "--n-layer", "2"),
        *("--block-size", "32", "--tokenizer", "bpe:400", "--quiet", "--device", "cpu"),
    ]
    result = subprocess.run(command, cwd=learners_tree, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    metrics = json.loads((learners_tree / "runs/mine/metrics.json").read_text())
    assert metrics["parameters"] > 0
    assert (learners_tree / "runs/mine/report.html").exists()
    usage = subprocess.run(
        [sys.executable, "-m", "lessons.tinystories", "--help"],
        cwd=learners_tree,
        capture_output=True,
        text=True,
    )
    assert "python -m lessons.tinystories" in usage.stdout


def test_python_in_two_lines(tmp_path):
    stories = tmp_path / "stories.txt"
    stories.write_text("\n\n".join(f"Tom had {n} cats. They were all red." for n in range(400)))
    out = python(
        "from solutions.tinystories import load, train\n"
        f"model = train(data={str(stories)!r}, out='r', steps=10, tokenizer='bpe:300', n_layer=1,"
        " n_embd=32, block_size=32, device='cpu')\n"
        "story = model.generate('Tom had', max_new_tokens=8, seed=4)\n"
        "assert story == load('r').generate('Tom had', max_new_tokens=8, seed=4)\n"
        "print('STORY', story)\n",
        tmp_path,
        PYTHONPATH=str(ROOT),
    )
    assert "STORY Tom had" in out

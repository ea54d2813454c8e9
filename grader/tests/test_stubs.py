"""The syllabus and the stubs: what the learner opens holds nothing of the solution, and stays theirs."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from grader.stubs import check_stub, find_regions, is_untouched, make_stub, make_stubs
from grader.syllabus import SYLLABUS, Lesson, read_syllabus
from grader.tests.conftest import ROOT
from lessons.engine.errors import CourseError

LESSONS = read_syllabus()
each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.module)


def solution_of(lesson: Lesson) -> str:
    return (ROOT / "solutions" / f"{lesson.module}.py").read_text(encoding="utf-8")


def stub_of(lesson: Lesson) -> str:
    return (ROOT / "lessons" / lesson.number / f"{lesson.module}.py").read_text(encoding="utf-8")


def python(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "COURSE_PATH"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def function_named(name: str, tree: ast.Module) -> ast.FunctionDef:
    body: list[ast.stmt] = tree.body
    for part in name.split("."):
        (node,) = [node for node in body if getattr(node, "name", None) == part]
        assert isinstance(node, ast.FunctionDef | ast.ClassDef)
        body = node.body
    assert isinstance(node, ast.FunctionDef)
    return node


# The syllabus


@each_lesson
def test_the_steps_are_the_marked_functions(lesson):
    text = solution_of(lesson)
    marked = [region.name for region in find_regions(text, ast.parse(text), lesson)]
    assert sorted(step.name for step in lesson.steps) == sorted(marked)
    assert len(marked) == text.count("# <solution>\n") == text.count("# </solution>")


@each_lesson
def test_a_solution_imports_only_what_its_lesson_needs(lesson):
    allowed = {other.module for other in LESSONS if other.number in lesson.needs} | {"engine"}
    for node in ast.walk(ast.parse(solution_of(lesson))):
        if isinstance(node, ast.ImportFrom) and node.level:
            named = [node.module] if node.module else [alias.name for alias in node.names]
            assert node.level == 1
            assert {name.partition(".")[0] for name in named} <= allowed
        else:  # the packages are search paths: nothing may name one of them
            names = [
                alias.name for alias in getattr(node, "names", []) if isinstance(alias, ast.alias)
            ]
            names.append(getattr(node, "module", None) or "")
            assert not {name.partition(".")[0] for name in names} & {
                "lessons",
                "solutions",
                "grader",
            }


@each_lesson
def test_a_module_introduces_itself_as_the_syllabus_does(lesson):
    first_line = (ast.get_docstring(ast.parse(solution_of(lesson))) or "").partition("\n")[0]
    assert first_line.lower().startswith(f"lesson {lesson.number}: {lesson.title.lower()}")


def test_the_capstone_needs_every_lesson_up_to_10():
    by_number = {lesson.number: lesson for lesson in LESSONS}
    assert by_number["14"].needs == tuple(f"{n:02}" for n in range(11))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('number = "03"', "number = 3", "lesson 3: no number"),
        ('number = "03"', 'number = "3"', "two digits"),
        ('number = "03"', 'number = "01"', "stands after lesson 02"),
        ('module = "attention"', 'module = "bigram"', "taken"),
        ('needs = ["03"]', 'needs = ["05"]', "lesson 04: it needs 05, which is no earlier"),
        ('needs = ["03"]', "needs = [3]", "needs must be a list"),
        ('kind = "core"', 'kind = "hard"', "'hard', not core or stretch"),
        ('name = "gelu"', 'name = "MLP.forward"', "MLP.forward stands there twice"),
        ('name = "gelu"', 'nmae = "gelu"', "lesson 04, step .no name.: no name"),
        ('title = "Attention"', 'title = "Attention"\nextra = "x"', "'extra' is nothing"),
        ("[[lesson]]", "[lesson", "no valid TOML"),
    ],
)
def test_a_mistake_in_the_syllabus_is_a_sentence(tmp_path, old, new, sentence):
    text = SYLLABUS.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "syllabus.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(CourseError, match=sentence):
        read_syllabus(path)


# What a stub holds


def test_the_stubs_are_those_of_the_solutions():
    result = python("-m", "grader", "stubs", "--check")
    assert result.returncode == 0, result.stdout + result.stderr


@each_lesson
def test_a_stub_holds_nothing_of_its_solution(lesson):
    """Each marked body is the docstring, what was given, and the raise. By its own reading of both."""
    text = solution_of(lesson)
    solution, stub = ast.parse(text), ast.parse(stub_of(lesson))
    lines = text.split("\n")
    for step in lesson.steps:
        whole, left = function_named(step.name, solution), function_named(step.name, stub)
        marker = next(n for n in range(whole.lineno, len(lines)) if "# <solution>" in lines[n - 1])
        given = [ast.unparse(node) for node in whole.body if node.lineno < marker]
        refusal = f"raise NotImplementedError('lesson {lesson.number}: {step.name}')"
        assert [ast.unparse(node) for node in left.body[1:]] == [*given[1:], refusal]
        asked = re.sub(r"Predict first: .*?\n\n *", "", ast.get_docstring(left), flags=re.DOTALL)
        assert asked == ast.get_docstring(whole)
        words = " ".join(ast.get_docstring(left).split())
        assert f"Predict first: {step.prediction}" in words or not step.prediction
    assert "solution>" not in stub_of(lesson)


@each_lesson
def test_no_line_of_a_solution_is_left_anywhere(lesson):
    inside, outside, marked = set(), set(), False
    for line in solution_of(lesson).split("\n"):
        marked = (marked or "# <solution>" in line) and "# </solution>" not in line
        (inside if marked else outside).add(line.strip())
    secret = inside - outside
    assert not secret & {line.strip() for line in stub_of(lesson).split("\n")}


SMALL = Lesson("05", "model", "The model", (), ())
SOLUTION = '''"""Lesson 05: the model."""

import math

import torch

LIMIT = 3  # given


def double(x: torch.Tensor) -> torch.Tensor:
    """Return twice x.

    1. Multiply.
    """
    # given too
    if len(x) > LIMIT:
        raise ValueError("too long")
    # <solution>
    factor = math.sqrt(4)  # the root of four
    return x * factor
    # </solution>


class Pair:
    """Two."""

    def first(self) -> int:
        """Return one.

        1. Count.
        """
        # <solution>
        return 1
        # </solution>
'''


def test_a_stub_word_for_word():
    stub = make_stub(SOLUTION, SMALL)
    head, _, rest = stub.partition("\n")
    assert head.startswith("# lesson 05, stub ")
    assert is_untouched(stub)
    assert (
        rest
        == '''"""Lesson 05: the model."""

if __name__ == "__main__" and not __package__:
    raise SystemExit("run this instead: pytest lessons/05")

import torch

LIMIT = 3  # given


def double(x: torch.Tensor) -> torch.Tensor:
    """Return twice x.

    1. Multiply.
    """
    # given too
    if len(x) > LIMIT:
        raise ValueError("too long")
    raise NotImplementedError("lesson 05: double")


class Pair:
    """Two."""

    def first(self) -> int:
        """Return one.

        1. Count.
        """
        raise NotImplementedError("lesson 05: Pair.first")
'''
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    raise NotImp", "    factor = 2\n    raise NotImp"),
        ("    raise NotImp", "    # the root of four\n    raise NotImp"),
        ("    raise NotImplementedError", "    return x\n    raise NotImplementedError"),
        ("lesson 05: double", "lesson 05: doubel"),
        ("Return twice x.", "Return x * 2."),
        ("LIMIT = 3", "LIMIT = 4"),
        ("import torch\n", "import torch\nfrom torch import nn\n"),
        ('raise ValueError("too long")', "pass"),
        ("not __package__", "__package__"),
    ],
)
def test_a_stub_that_holds_more_or_less_is_refused(old, new):
    stub = make_stub(SOLUTION, SMALL)
    check_stub(stub, SOLUTION, SMALL)
    assert old in stub
    with pytest.raises(CourseError):
        check_stub(stub.replace(old, new, 1), SOLUTION, SMALL)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("    # <solution>", "    #<solution>", "model.py:18: expected `# <solution>`"),
        ("    # </solution>\n\n\nclass", "\n\nclass", "expected `# </solution>`"),
        ("        return 1\n        # </solution>\n", "        return 1\n", "never closed"),
        ("        return 1\n", "", "empty or not in a function"),
        ("LIMIT = 3  # given", "# <solution>\nLIMIT = 3\n# </solution>", "not in a function"),
        ("    # </solution>\n\n", "    # </solution>\n    print(x)\n\n", "double's end"),
        (
            '        """Return one.\n\n        1. Count.\n        """\n',
            "",
            "first has no docstring",
        ),
        ("    # </solution>\n\n\nclass Pair", "    X = 1\n\n\nclass Pair", "expected `# </sol"),
        ("    # </solution>\n\n", "\nY = 1\n# </solution>\n\n", "not its solution less the marked"),
        ("return 1", "return (", "model.py:3[0-9]: "),
    ],
)
def test_a_marker_in_the_wrong_place_is_a_sentence(old, new, sentence):
    assert old in SOLUTION
    with pytest.raises(CourseError, match=sentence):
        make_stub(SOLUTION.replace(old, new, 1), SMALL)


# How the stubs behave


def test_every_stub_can_be_imported():
    code = "".join(
        f"import lessons.{lesson.module} as m; print(m.__file__)\n" for lesson in LESSONS
    )
    result = python("-c", code)
    assert result.returncode == 0, result.stderr
    found = [Path(line).relative_to(ROOT) for line in result.stdout.split("\n") if line]
    assert found == [path.relative_to(ROOT) for path in make_stubs(ROOT)]


@each_lesson
def test_a_stub_that_is_run_as_a_file_says_what_to_run(lesson, tmp_path):
    file = ROOT / "lessons" / lesson.number / f"{lesson.module}.py"
    result = python(str(file), cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith(f"run this instead: pytest lessons/{lesson.number}")
    assert "Traceback" not in result.stderr


def test_the_capstone_says_what_is_not_written_yet(tmp_path):
    usage = python("-m", "lessons.tinystories", "--help")
    assert usage.returncode == 0, usage.stderr
    assert "python -m lessons.tinystories" in usage.stdout
    wish = ("--steps", "2", "--stories", "50", "--out", str(tmp_path / "run"))
    result = python("-m", "lessons.tinystories", "run", *wish)
    assert result.returncode == 2
    assert result.stderr.rstrip().split("\n")[-1].startswith("not written yet: lesson ")
    assert "Traceback" not in result.stderr


# The command


@pytest.fixture
def course(tmp_path) -> Path:
    """A copy of the course with fresh stubs, to be changed."""
    left_out = shutil.ignore_patterns("__pycache__", "tests", "[0-9][0-9]")
    for folder in ("grader", "lessons", "solutions"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=left_out)
    result = python("-m", "grader", "stubs", cwd=tmp_path)
    assert result.stdout.endswith(f"{len(LESSONS)} stubs, {len(LESSONS)} written\n"), result.stderr
    return tmp_path


def test_stubs_never_overwrites_a_learners_work(course):
    lessons = course / "lessons"
    files = {path.name: path for path in lessons.glob("[0-9][0-9]/*.py")}
    fresh = {name: path.read_text(encoding="utf-8") for name, path in files.items()}
    theirs = {
        "bigram.py": fresh["bigram.py"].replace("raise NotImplementedError", "return 1 or (", 1),
        "tokenizer.py": fresh["tokenizer.py"].rstrip("\n"),  # a single character
        "embeddings.py": solution_of(LESSONS[2]),
        "attention.py": "",
        "blocks.py": "saved as UTF-16, without the first line",
    }
    for name, text in theirs.items():
        files[name].write_bytes(text.encode("utf-16" if name == "blocks.py" else "utf-8"))
    before = {name: files[name].read_bytes() for name in theirs}
    files["model.py"].unlink()
    files["data.py"].write_bytes(make_stub(SOLUTION, SMALL).encode())  # untouched, and old
    windows = fresh["trainer.py"].replace("\n", "\r\n").encode()  # as git may check it out
    files["trainer.py"].write_bytes(windows)

    result = python("-m", "grader", "stubs", cwd=course)
    assert result.returncode == 0, result.stderr
    assert {name: files[name].read_bytes() for name in theirs} == before
    assert files["model.py"].read_text(encoding="utf-8") == fresh["model.py"]
    assert files["data.py"].read_text(encoding="utf-8") == fresh["data.py"]
    assert files["trainer.py"].read_bytes() == windows
    names = [files[name].relative_to(course).as_posix() for name in theirs]
    assert result.stdout.splitlines() == [
        *(f"{name}: kept, it is not the stub any more" for name in names),
        "lessons/05/model.py: written",
        "lessons/06/data.py: written",
        f"{len(LESSONS)} stubs, 2 written",
    ]


def test_check_names_what_drifted_and_writes_nothing(course):
    solution = course / "solutions" / "blocks.py"
    text = solution.read_text(encoding="utf-8")
    solution.write_text(text.replace("Widen, bend, narrow", "Widen, bow, narrow"), encoding="utf-8")
    (course / "lessons/05/model.py").unlink()
    with (course / "lessons/06/data.py").open("a") as file:
        file.write("# mine\n")
    shutil.move(course / "lessons/00/bigram.py", course / "lessons/00/unigram.py")
    before = {path: path.read_bytes() for path in course.rglob("lessons/*/*.py")}

    result = python("-m", "grader", "stubs", "--check", cwd=course)
    assert result.returncode == 1, result.stderr
    assert [line.partition(": ")[::2] for line in result.stdout.split("\n")][:6] == [
        ("lessons/00/bigram.py", "missing"),
        ("lessons/04/blocks.py", "a stub of an earlier solution"),
        ("lessons/05/model.py", "missing"),
        (
            "lessons/06/data.py",
            "not the generated stub (is it somebody's work, or was it edited by hand?)",
        ),
        ("lessons/00/unigram.py", "the stub of no lesson; delete it"),
        ("grader/answers/stubs.json", "not the stubs of these solutions"),
    ]
    assert {path: path.read_bytes() for path in course.rglob("lessons/*/*.py")} == before


def test_a_missing_solution_is_a_sentence_and_nothing_is_written(course):
    (course / "solutions" / "model.py").unlink()
    shutil.rmtree(course / "lessons" / "00")
    result = python("-m", "grader", "stubs", cwd=course)
    assert result.returncode == 2
    assert result.stderr == "no solutions/model.py, from which lesson 05 is made\n"
    assert not (course / "lessons" / "00").exists()


def test_commands_are_found_by_their_files_and_start_without_torch(course):
    (course / "grader" / "commands" / "greet.py").write_text(
        '"""Say hello.\n\nMore."""\n\n\ndef add_arguments(parser):\n    parser.add_argument("name")\n\n\n'
        "def run(options):\n    print('hello', options.name)\n    return 3\n"
    )
    usage = python("-m", "grader", "--help", cwd=course)
    assert "greet     Say hello.\n" in usage.stdout
    assert "stubs     Write the learner's stubs" in usage.stdout
    greeting = python("-m", "grader", "greet", "you", cwd=course)
    assert (greeting.returncode, greeting.stdout) == (3, "hello you\n")
    assert python("-m", "grader", "frobnicate", cwd=course).returncode == 2
    code = "import sys, grader.__main__ as m; m.build_parser(); print({'torch', 'numpy'} & {*sys.modules})"
    assert python("-c", code).stdout == "set()\n"

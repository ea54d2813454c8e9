"""What the course promises is true: commands, Python calls, presets, and the code on every page."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from grader.pages.blocks import command_lines, find_blocks, run_page
from grader.pages.command_lines import PARSERS
from grader.pages.promises import BLANK, Command, read_calls, read_commands, words
from grader.tests.built_site import READMES, SITE, sources
from grader.tests.conftest import ROOT
from grader.tests.course_copy import Course
from lessons.engine.presets import PRESETS
from solutions.model import GPT, GPTConfig

COMMANDS, CALLS = read_commands(), read_calls()
PAGES = [*sources(), *READMES]
FILLED = {"NN": "03", "WORD": "mask", "N": "2", "COMMAND": "presets", "VERSION": "1.0"}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def check_line(line: str) -> None:
    """Assert that a command line would be understood; nothing is run."""
    filled = BLANK.sub(lambda found: FILLED.get(found[0], found[0].lower()), line)
    shown = words(filled)
    if shown[0].startswith(".venv/bin/"):
        shown[0] = Path(shown[0]).name
    if shown[0] == "make":
        rules = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
        assert set(shown[1:]) <= set(rules), line
    elif shown[0] == "pytest" or shown[:3] == ["python", "-m", "pytest"]:
        for path in re.findall(r"lessons/\d\d", " ".join(shown)):
            assert (ROOT / path).is_dir(), line
        known = {"-k", "-m", "-q", "--mine", "--apart"}
        options = {word.partition("=")[0] for word in shown if word.startswith("-")}
        assert options - {"-m"} <= known, line
    elif shown[:2] == ["python", "-m"] and shown[2].partition(".")[0] in (
        *("grader", "lessons", "solutions"),
    ):
        check_ours(shown[2], shown[3:], line)


def check_ours(program: str, arguments: list[str], line: str) -> None:
    """Parse the arguments with the program's own parser."""
    name = program.rpartition(".")[2]
    if name not in PARSERS:  # python -m grader.tests.load
        assert (ROOT / program.replace(".", "/")).with_suffix(".py").is_file() or (
            ROOT / program.replace(".", "/")
        ).is_dir(), line
        return
    if name == "explore" and arguments[:1] == ["widgets"]:
        from lessons.explore.for_widgets import command  # its own, small command line

        assert command
        return
    try:
        PARSERS[name]().parse_args(arguments)
    except SystemExit as stop:
        if stop.code:
            pytest.fail(f"{line}: not understood")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.line)
def test_a_promised_command_is_understood(command: Command):
    check_line(command.line)
    assert command.does
    if command.run:
        assert command.fits(command.run)
        check_line(command.run)


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Course:
    root = tmp_path_factory.mktemp("course")
    made = Course(root)
    for folder in ("site",):
        (root / folder).symlink_to(ROOT / folder)
    for file in ("README.md", "mkdocs.yml"):
        (root / file).symlink_to(ROOT / file)
    return made


QUICK = ("python -m grader", "python -m grader doctor --ready --answers bbbbbbbb")
CHEAP = [
    pytest.param(command, id=command.run, marks=[] if command.run in QUICK else pytest.mark.slow)
    for command in COMMANDS
    if command.run
]


@pytest.mark.parametrize("command", CHEAP)
def test_a_cheap_command_does_what_is_promised(course: Course, command: Command):
    shown = shlex.split(command.run)
    arguments = ["-m", "pytest", *shown[1:]] if shown[0] == "pytest" else shown[1:]
    done = course.python(*arguments)
    assert done.returncode == command.exits, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.strip()


SHOWN = [
    (page, number, line)
    for page in PAGES
    for number, line in command_lines(page.read_text("utf-8"))
]


@pytest.mark.parametrize(
    ("page", "number", "line"),
    SHOWN,
    ids=[f"{name_of(page)}:{number}" for page, number, _ in SHOWN],
)
def test_a_command_on_a_page_is_promised_and_understood(page, number, line):
    plain = line.replace(".venv/bin/", "", 1) if line.startswith(".venv/bin/") else line
    assert any(command.fits(plain) for command in COMMANDS), f"no row of promises.toml fits: {line}"
    check_line(line)


def test_a_command_that_nobody_promised_is_found():
    text = "```sh\npython -m grader dance 03   # with a remark\n\n# only a remark\nmake \\\n  tea\n```\n"
    assert command_lines(text) == [
        (2, "python -m grader dance 03   # with a remark"),
        (5, "make    tea"),
    ]
    assert not any(command.fits("python -m grader dance 03") for command in COMMANDS)
    assert not any(command.fits("make tea") for command in COMMANDS)
    with pytest.raises(pytest.fail.Exception):
        check_line("python -m grader hint 03 --loudly")
    with pytest.raises(AssertionError):
        check_line("make tea")


def test_pages_fence_their_code_in_ways_that_are_tested():
    known = {
        "python",
        "text",
        "sh",
        "console",
        "py",
        "toml",
        "json",
        "csv",
        "html",
        "ini",
        "yaml",
        "",
    }
    for page in PAGES:
        for block in find_blocks(page.read_text("utf-8")):
            assert block.language in known, f"{name_of(page)}, line {block.line}: {block.language}"


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.call)
def test_a_promised_call_works(call):
    names: dict = {}
    exec(call.setup, names)
    if (
        not call.shows
    ):  # takes minutes, weights or a run: the names are there, the rest is tested elsewhere
        compile(call.call, "call", "exec")
        function = re.search(r"(\w+)\(", call.call)[1]
        assert function in names or function == "generate"
        return
    if call.call.startswith("from "):
        exec(call.call, names)
    else:
        names["result"] = eval(call.call, names)
    assert eval(call.shows, names)


@pytest.mark.parametrize("name", PRESETS)
def test_a_promised_preset_can_be_chosen_and_stands_where_people_look(name):
    PARSERS["tinystories"]().parse_args(["run", "--preset", name])
    capstone = (SITE / "capstone.md").read_text("utf-8")
    assert f"| `{name}` |" in capstone
    assert f"`{name}`" in (ROOT / "README.md").read_text("utf-8")


WITH_CODE = [
    page
    for page in PAGES
    if any(block.language == "python" for block in find_blocks(page.read_text("utf-8")))
]


def runs(page: Path, folder: Path) -> None:
    """Run a page's Python in a process and a folder of its own."""
    text = page.read_text("utf-8")
    if page == ROOT / "README.md":  # its run, shortened
        text = text.replace("minutes=20", "minutes=0.05")
        (folder / "my-stories.txt").write_text("A cat sat down. It saw a dog.\n\n" * 3000)
    if 'from_pretrained("distilgpt2")' in text:  # a folder of that name comes before the hub's
        small = GPTConfig(n_layer=1, n_head=2, n_embd=8)
        GPT(small).save_pretrained(folder / "distilgpt2")
    copy = folder / page.name
    copy.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "grader.pages.blocks", copy],
        cwd=folder,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        | {"COURSE_PATH": f"solutions{os.pathsep}lessons"},  # as if all lessons were finished
        capture_output=True,
        encoding="utf-8",
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_code_on_a_page_runs_and_prints_what_stands_there(tmp_path):
    runs(SITE / "reference" / "engine.md", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_the_code_on_every_page_runs_and_prints_what_stands_there(page, tmp_path):
    runs(page, tmp_path)


def test_wrong_output_and_errors_on_a_page_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nx = 2\nprint(x)\n```\n\n```text\n2\n```\n\n```python\nprint(x + 1)\n```\n\n"
        "```text\n4\n```\n\n```python\nprint(y)\n```\n"
    )
    wrong = run_page(page)
    assert len(wrong) == 2
    assert wrong[0].startswith("page.md, line 14: the block before it prints\n3")
    assert "NameError" in wrong[1]

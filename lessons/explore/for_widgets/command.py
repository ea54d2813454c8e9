"""`python -m solutions.explore widgets`: write the data of the site's widgets."""

import argparse
from pathlib import Path

from ...engine.errors import CourseError

DATA = Path("site") / "widgets" / "data"  # seen from the project's root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "--out", type=Path, default=DATA, metavar="FOLDER", help=f"where to write ({DATA})"
    )
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="only this one; may be given several times"
    )
    parser.add_argument(
        "--model", type=Path, metavar="PATH", help="the folder of a model (our own small one)"
    )


def run(options: argparse.Namespace) -> None:
    """Write the files, and say how large each is."""
    from . import make_each

    if options.model is not None and not options.model.is_dir():
        raise CourseError(f"no folder {options.model}; --model takes the folder of a model")
    for file, size in make_each(options.out, options.model, options.only):
        print(f"{options.out / file}.js  {size:,} bytes", flush=True)

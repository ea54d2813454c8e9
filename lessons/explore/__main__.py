"""`python -m lessons.explore NN|all`: pictures of what a lesson's code does.

    python -m lessons.explore 03                        your code; the reference where yours is not written
    python -m solutions.explore 03                      the reference library
    python -m lessons.explore all --model distilgpt2    every lesson, one page: explore/index.html
    python -m solutions.explore all --out site/figures  the figures of the site
    python -m solutions.explore widgets                 the data of the site's widgets

`--help` lists the options.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..engine.command_line import prepare_process
from ..engine.errors import MISUSED, CourseError, run_command
from .options import Wishes, build_parser, chosen_lessons, read_wishes

PROGRAM = f"python -m {__package__}"
SOME_MISSING = 1  # the exit code when a figure could not be drawn


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0, 1 where figures are missing, 2 for misuse."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["widgets"]:
        return run_command(lambda: _widgets(words[1:]))
    return run_command(lambda: _explore(words))


def _widgets(words: list[str]) -> None:
    from .for_widgets.command import add_arguments, run

    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} widgets", description="Write the data of the site's widgets."
    )
    add_arguments(parser)
    run(parser.parse_args(words))


def _explore(words: list[str]) -> int:
    options = build_parser(PROGRAM).parse_args(words)
    prepare_process(options)
    lessons = chosen_lessons(options.lesson)
    wishes = read_wishes(options)
    prepare_out(wishes.out)
    os.environ.setdefault("HF_HUB_OFFLINE", "0" if wishes.download else "1")
    if hasattr(sys.stdout, "reconfigure"):  # a terminal without Unicode shows "\u2502", and goes on
        sys.stdout.reconfigure(errors="backslashreplace")
    return draw(lessons, wishes, whole=options.lesson == "all")


def prepare_out(out: Path) -> None:
    """Make the folder and see that one can write there. Raises CourseError."""
    if out.exists() and not out.is_dir():
        raise CourseError(f"{out} is a file; --out takes a folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".explore"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise CourseError(
            f"cannot write to {out} ({error.strerror}); choose another folder with --out"
        ) from None


def draw(lessons: list[str], wishes: Wishes, whole: bool) -> int:
    """Draw the figures of these lessons, print their numbers, and write the page."""
    from rich.console import Console

    from .gallery import View, print_lesson, write_lesson, write_page
    from .library import choose_library

    console = Console(soft_wrap=False)
    view = View(wishes, choose_library())
    stand_ins = view.library.stand_ins
    pages: dict[str, Any] = {}
    for number, title, shown in drawn_lessons(lessons, view, wishes.quiet):
        if not pages:
            for sentence in about(view):
                console.print(sentence, markup=False, highlight=False)
        folder = wishes.out / number
        write_lesson(folder, shown)
        print_lesson(console, number, title, shown)
        for each in shown:
            if each.file:
                print(folder / each.file)
        pages[number] = (title, shown)
        if not whole:
            lead = about(view)
            write_page(
                folder / "index.html", f"Lesson {number}: {title}", lead, {number: pages[number]}
            )
            print(folder / "index.html")
    if whole:
        write_page(wishes.out / "index.html", "What the code does", about(view), pages)
        print(f"\n{wishes.out / 'index.html'}")
    every = [each for _, shown in pages.values() for each in shown]
    missing = [each for each in every if each.missing]
    if stand_ins:
        names = ", ".join(f"{name}.py" for name in view.library.files if name in stand_ins)
        print(f"not written yet, so the reference drew: {names}")
    if missing:
        names = ", ".join(f"{each.lesson} {each.name}" for each in missing)
        print(f"{len(missing)} of {len(every)} figures are missing: {names}", file=sys.stderr)
    return (MISUSED if len(missing) == len(every) else SOME_MISSING) if missing else 0


def about(view: Any) -> list[str]:
    """What the figures have in common: the model, and why it is this one."""
    from .subject import describe

    try:
        subject = view.subject
    except CourseError:  # no model at all; the figures that need one say so
        return []
    return [*([subject.said] if subject.said else []), f"Model: {describe(subject)}."]


def drawn_lessons(lessons: list[str], view: Any, quiet: bool) -> Any:
    """Yield (number, title, figures) of each lesson, with a progress bar over all figures."""
    import torch
    from tqdm import tqdm

    from .gallery import lesson_module, show

    modules = {number: lesson_module(number) for number in lessons}
    total = sum(len(module.FIGURES) for module in modules.values())
    if view.wishes.model is not None:
        _ = view.subject  # one that is not there is a sentence, before the first figure
    with tqdm(total=total, unit="figure", disable=quiet or not sys.stderr.isatty()) as bar:
        for number, module in modules.items():
            shown = []
            for figure in module.FIGURES:
                bar.set_description(f"{number} {figure.name}")
                torch.manual_seed(view.wishes.seed)
                shown.append(show(view, number, figure))
                bar.update()
            yield number, module.TITLE, shown


if __name__ == "__main__":
    raise SystemExit(main())

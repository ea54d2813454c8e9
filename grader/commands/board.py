"""Show how far you are in every lesson, and what comes next. (Also without any command.)"""

import argparse
import os
import sys
from collections.abc import Sequence

from grader.judge.progress import read_progress
from grader.judge.standing import Standing, State, next_step, read_standing
from grader.syllabus import read_syllabus

HEADINGS = ("lesson", "", "core", "stretch", "state")
COLOURS = {
    State.FINISHED: "green",
    State.BEGUN: "yellow",
    State.CHANGED: "yellow",
    State.MISSING: "red",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare no options."""


def run(options: argparse.Namespace) -> int:
    """Print the board, as a table on a terminal, else as plain text."""
    progress = read_progress()
    standings = [read_standing(lesson, progress) for lesson in read_syllabus()]
    rows = [row_of(standing) for standing in standings]
    if not (sys.stdout.isatty() and not os.environ.get("NO_COLOR") and draw(rows, standings)):
        write(rows)
    reached, of = (sum(s.score[key] for s in standings) for key in ("points", "of"))
    print(f"\n{reached}/{of} points")
    print(next_step(standings))
    return 0


def row_of(standing: Standing) -> tuple[str, ...]:
    """Return the cells of one lesson."""
    points, state = standing.score, standing.state.value
    if standing.own:
        state += f" (with your own {', '.join(standing.own)})"
    if standing.state is State.WITHOUT:
        return (standing.lesson.number, standing.lesson.title, "", "", state)
    stretch = f"{points['stretch']}/{points['stretch_of']}" if points["stretch_of"] else ""
    core = f"{points['core']}/{points['core_of']}"
    return (standing.lesson.number, standing.lesson.title, core, stretch, state)


def write(rows: Sequence[tuple[str, ...]]) -> None:
    """Print the rows in columns of plain text."""
    table = [HEADINGS, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEADINGS))]
    for row in table:
        print("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())


def draw(rows: Sequence[tuple[str, ...]], standings: Sequence[Standing]) -> bool:
    """Print the rows as a table in colours; False where `rich` is not installed."""
    try:
        from rich.console import Console
        from rich.table import Table
    except ModuleNotFoundError:
        return False
    table = Table()
    for heading, justify in zip(HEADINGS, ("right", "left", "right", "right", "left"), strict=True):
        table.add_column(heading, justify=justify)
    for row, standing in zip(rows, standings, strict=True):
        table.add_row(*row, style=COLOURS.get(standing.state, "dim"))
    Console().print(table)
    return True

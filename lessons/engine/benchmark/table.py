"""A row of the benchmark, and all rows as a table: for the terminal, as JSON, as Markdown."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ..errors import CourseError
from ..files import write_atomically, write_json
from .measure import Spread

HEADINGS = ("work", "ours", "against", "figure", "to reach", "reached", "what limits it")
BEGIN, END = "<!-- measured: {} -->", "<!-- end -->"
NOTHING_YET = "Nothing has been measured yet: `make bench` does it and fills this table."


@dataclass(frozen=True)
class Row:
    """One comparison. Where it could not be made, `missing` is a sentence and there are no numbers.

    figure: what is held against `target`: a ratio ("x") or seconds ("s"), so that a reader sees at
    once how far it is from there.
    """

    name: str
    work: str
    against: str
    unit: str = ""  # of ours and theirs
    ours: Spread | None = None
    theirs: Spread | None = None
    figure: Spread | None = None
    figure_unit: str = "x"
    target: float | None = None
    at_least: bool = True  # or at most
    limit: str = ""
    note: str = ""
    missing: str = ""
    measured: dict[str, Any] = field(default_factory=dict)  # day, load, machine: by `stamp`

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None where there is none, or no figure."""
        if self.target is None or self.figure is None:
            return None
        median = self.figure.median
        return median >= self.target if self.at_least else median <= self.target

    def cells(self) -> tuple[str, ...]:
        """What the table shows, under HEADINGS."""
        if self.missing:
            return self.work, "", self.against, "", self._target(), "not run", self.missing
        reached = {True: "yes", False: "no", None: ""}[self.reached]
        against = self.against
        if self.theirs is not None:
            against += f": {number(self.theirs.median, self.unit)}"
        figure = ""
        if self.figure is not None:
            low, high = (number(v, self.figure_unit) for v in (self.figure.low, self.figure.high))
            figure = f"{number(self.figure.median, self.figure_unit)} ({low} to {high})"
        ours = number(self.ours.median, self.unit) if self.ours else ""
        why = ". ".join(filter(None, (self.limit, self.note)))
        return self.work, ours, against, figure, self._target(), reached, why

    def _target(self) -> str:
        if self.target is None:
            return ""
        sense = "at least" if self.at_least else "at most"
        return f"{sense} {number(self.target, self.figure_unit)}"


def number(value: float, unit: str) -> str:
    """A number as people read it: 1.31x, 12,345 tokens/s, 0.21 s."""
    if unit == "x":
        return f"{value:.2f}x"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 4
    return f"{value:,.{digits}f} {unit}".rstrip()


def print_table(rows: Sequence[Row], console: Console | None = None) -> None:
    """Print the rows, figures in bold, and below them what limits each."""
    console = console or Console()
    if not console.is_terminal:
        console = Console(width=150, file=console.file)
    table = Table(title="ours against what people take instead", show_lines=True)
    for heading in HEADINGS[:-1]:
        table.add_column(heading)
    for row in rows:
        cells = list(row.cells())[:-1]
        cells[3] = f"[bold]{cells[3]}[/bold]" if cells[3] else ""
        table.add_row(*cells)
    console.print(table)
    for row in rows:
        if why := row.cells()[-1]:
            console.print(f"[bold]{row.name}[/bold]: {why}")


def markdown(rows: Sequence[Row], machines: dict[str, dict[str, Any]]) -> str:
    """The table for the site, and below it what it was measured on."""
    if not rows:
        return NOTHING_YET
    lines = [
        f"| {' | '.join(HEADINGS)} |",
        "|---" * len(HEADINGS) + "|",
        *(f"| {' | '.join(cell.replace('|', ', ') for cell in row.cells())} |" for row in rows),
    ]
    for name, facts in machines.items():
        measured = [row.measured for row in rows if row.measured.get("machine") == name]
        if not measured:
            continue
        days = sorted({m["day"] for m in measured})
        loads = [m["load"] for m in measured if m.get("load") is not None]
        busy = f"; other work on the machine: a load of {max(loads):.1f} at most" if loads else ""
        described = "; ".join(f"{what}: {fact}" for what, fact in facts.items())
        lines += ["", f"Measured on {' and '.join(days)}{busy}. {described}."]
    return "\n".join(lines)


def fill_page(page: Path, text: str, region: str = "benchmarks") -> None:
    """Put `text` between a region's marks of a page. Raises CourseError where they do not stand."""
    whole = page.read_text(encoding="utf-8")
    mark = BEGIN.format(region)
    before, begin, rest = whole.partition(mark)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise CourseError(f"{page} has no lines {mark} and {END} to write between")
    with write_atomically(page) as file:
        file.write(f"{before}{begin}\n\n{text}\n\n{end}{after}")


def to_json(rows: Iterable[Row], machines: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The rows as plain values; `reached` stands with them for readers that are programs."""
    return {
        "machines": machines,
        "rows": [asdict(row) | {"reached": row.reached} for row in rows],
    }


def read_rows(file: Path) -> tuple[list[Row], dict[str, dict[str, Any]]]:
    """Read what `keep` wrote; nothing where there is no such file."""
    if not file.is_file():
        return [], {}
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        return [_row(values) for values in kept["rows"]], kept["machines"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CourseError(
            f"{file} is no record of a benchmark; delete it or name another"
        ) from None


def _row(values: dict[str, Any]) -> Row:
    values = {name: value for name, value in values.items() if name != "reached"}
    for name in ("ours", "theirs", "figure"):
        if values[name] is not None:
            values[name] = Spread(**values[name])
    return Row(**values)


def keep(rows: Sequence[Row], machine: tuple[str, dict[str, Any]], file: Path) -> list[Row]:
    """Write the rows into a file; rows of other names that stand in it stay. Returns all."""
    before, machines = read_rows(file)
    fresh = {row.name: row for row in rows}
    # What could not be measured here does not wipe out what was measured where it could be.
    keeps = {
        row.name: row
        for row in before
        if row.name not in fresh or (fresh[row.name].missing and not row.missing)
    }
    together = {row.name: keeps.get(row.name) or fresh[row.name] for row in (*before, *rows)}
    everything = list(together.values())
    used = {row.measured.get("machine") for row in everything}
    machines = {name: facts for name, facts in machines.items() if name in used}
    machines[machine[0]] = machine[1]
    others = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    write_json(file, others | to_json(everything, machines))
    return everything

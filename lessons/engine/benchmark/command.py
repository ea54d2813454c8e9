"""`python -m solutions.benchmark`: measure, print the table, write it as JSON and Markdown."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import CourseError, run_command
from ..files import read_json, write_json
from .settings import BenchmarkOptions
from .table import Row, fill_page, keep, markdown, print_table, read_rows

TOP = Path(__file__).resolve().parents[3]
SITE = TOP / "site"

# What can be measured, in the order of the table: name -> (file, function).
KINDS = {
    "step": ("training_step", "rows"),
    "memory": ("loss_memory", "rows"),
    "decode": ("decoding", "rows"),
    "loader": ("loader", "rows"),
    "tokenise": ("tokenising", "rows"),
    "bpe": ("bpe_training", "rows"),
    "encode": ("encoding", "rows"),
    "start": ("lessons_start", "rows"),
    "audit": ("judging", "audit_rows"),
    "grading": ("judging", "grading_rows"),
    "gpu": ("gpu", "rows"),
}
GROWTH = "growth"
EXAMPLES = """\
examples:
  make bench                                       everything: half an hour on two cores
  python -m solutions.benchmark --only decode loader
  python -m solutions.benchmark --quick            tiny sizes: does it run? (no number means anything)
  python -m solutions.benchmark --site             into the site's page too, and the record beside it
  python -m solutions.benchmark page               write the page again from that record
  python -m solutions.benchmark quality --minutes 5 10 20
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; returns the exit code: 0, 2 for misuse, 130 for Ctrl-C."""
    return run_command(lambda: _main(arguments))


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m solutions.benchmark",
        description="How fast the course's code is beside what people would take instead: medians "
        "of interleaved runs, ratios first.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what", nargs="?", default="table", choices=("table", "quality", "page"),
        help="table (default); quality: bits per byte for the same minutes; page: no measurement",
    )  # fmt: skip
    parser.add_argument(
        "--only", nargs="+", metavar="KIND", help=f"some of: {', '.join([*KINDS, GROWTH])}"
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes; only that it runs")
    parser.add_argument("--compiled", action="store_true", help="the training step compiled, too")
    parser.add_argument("--threads", type=int, help="threads of every side (default: all cores)")
    parser.add_argument(
        "--data", metavar="DIR",
        help="the folder of real text (default: COURSE_DATA, or ../shared/data; else our stories)",
    )  # fmt: skip
    parser.add_argument(
        "--out", metavar="DIR", default="build/benchmark", help="default: build/benchmark"
    )
    parser.add_argument(
        "--json", metavar="FILE", help="where the rows are kept (default: OUT/benchmarks.json)"
    )
    parser.add_argument(
        "--site", action="store_true", help="keep them in site/benchmarks.json and fill the page"
    )
    parser.add_argument(
        "--minutes", nargs="+", type=float, default=[5.0, 10.0, 20.0], help="for quality"
    )
    return parser


def _main(arguments: Sequence[str] | None) -> None:
    wishes = build_parser().parse_args(arguments)
    options = BenchmarkOptions(
        threads=_threads(wishes.threads),
        out=Path(wishes.out).resolve(),
        data=_data(wishes.data),
        quick=wishes.quick,
        compiled=wishes.compiled,
    )
    if wishes.site and wishes.quick:
        raise CourseError("--quick measures nothing that belongs on the site")
    record = SITE / "benchmarks.json" if wishes.site or wishes.what == "page" else None
    record = record or Path(wishes.json or options.out / "benchmarks.json").resolve()
    if wishes.what == "page":
        write_page(record, SITE / "benchmarks.md")
        return
    options.out.mkdir(parents=True, exist_ok=True)
    record.parent.mkdir(parents=True, exist_ok=True)
    if wishes.what == "quality":
        from .quality import quality_table, run_quality

        trials = run_quality(options, wishes.minutes)
        print(quality_table(trials))
        add_extra(record, "quality", read_json(options.out / "quality.json"))
    else:
        _measure(options, chosen(wishes.only), record)
    if wishes.site:
        write_page(record, SITE / "benchmarks.md")


def _threads(wish: int | None) -> int:
    if wish is not None and wish < 1:
        raise CourseError(f"--threads must be at least 1, not {wish}")
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return wish or usable or 1


def _data(wish: str | None) -> Path | None:
    folder = Path(wish or os.environ.get("COURSE_DATA") or TOP.parent / "shared" / "data")
    if folder.is_dir():
        return folder.resolve()
    if wish:
        raise CourseError(f"no folder {wish}; --data takes a folder of .txt files")
    return None


def chosen(only: Sequence[str] | None) -> list[str]:
    """The kinds that are asked for, in the table's order. Raises CourseError for a wrong name."""
    every = [*KINDS, GROWTH]
    for name in only or ():
        if name not in every:
            raise CourseError(f"no kind {name!r}; --only takes some of: {', '.join(every)}")
    return [name for name in every if not only or name in only]


def _measure(options: BenchmarkOptions, kinds: Sequence[str], record: Path) -> None:
    from .machine import describe_machine, stamp

    name, facts = describe_machine(options.threads)
    print(f"{name}: {facts['versions']}", flush=True)
    rows: list[Row] = []
    for kind in kinds:
        print(f"measuring: {kind}", file=sys.stderr, flush=True)
        if kind == GROWTH:
            _grow(options, record)
            continue
        fresh = [stamp(row, name) for row in rows_of(kind)(options)]
        rows += fresh
        keep(fresh, (name, facts), record)  # at once: a stopped run keeps what it has
    print_table(rows)
    everything, machines = read_rows(record)
    (record.parent / f"{record.stem}.table.md").write_text(
        markdown(everything, machines) + "\n", encoding="utf-8"
    ) if record.parent != SITE else None
    print(f"kept in {record}")


def rows_of(kind: str) -> Callable[[BenchmarkOptions], list[Row]]:
    """The function that measures one kind; its file is read only now."""
    import importlib

    file, function = KINDS[kind]
    return getattr(importlib.import_module(f".{file}", __package__), function)


def _grow(options: BenchmarkOptions, record: Path) -> None:
    from .growth import as_json, draw_growth, growth_table, measure_growth

    points = measure_growth(options)
    add_extra(record, "growth", as_json(points))
    draw_growth(points, options.out / "growth.png")
    print(growth_table(points))


def add_extra(record: Path, name: str, value: Any) -> None:
    """Keep something that is no row beside the rows."""
    kept = read_json(record) if record.is_file() else {"machines": {}, "rows": []}
    write_json(record, kept | {name: value})


def write_page(record: Path, page: Path) -> None:
    """Fill the page from the record: tables between its marks, and the figure beside it."""
    from .growth import draw_growth, from_json, growth_table
    from .quality import Trial, quality_table

    rows, machines = read_rows(record)
    kept = read_json(record) if record.is_file() else {}
    fill_page(page, markdown(rows, machines))
    points = from_json(kept.get("growth", []))
    grown = "Not measured yet: `python -m solutions.benchmark --only growth --site`."
    if points:
        draw_growth(points, page.parent / "assets" / "benchmarks-growth.png")
        picture = (
            "![Speed and memory over context, layers and vocabulary](assets/benchmarks-growth.png)"
        )
        grown = f"{picture}\n\n{growth_table(points)}"
    fill_page(page, grown, "growth")
    trials = [Trial(**trial) for trial in kept.get("quality", [])]
    fill_page(page, quality_table(trials), "quality")
    print(f"written: {page}")

"""The table of page weights, from a measurement in a real browser (`python -m grader.tests.weigh`)."""

import json
from pathlib import Path

from .writing import table as make_table

FILE = Path(__file__).with_name("weights.json")
NONE_YET = "*Not measured yet: `python -m grader.tests.weigh` does it, after `make site`.*"


def table(arguments: list[str], folder: Path, file: Path = FILE) -> str:
    """Return one row per heavy page: files, weights, times."""
    if not file.is_file():
        return NONE_YET
    found = json.loads(file.read_text(encoding="utf-8"))
    quarter = f"the processor {found['slower']} times slower"
    rows = [
        [
            f"`{row['page']}`",
            row["files"],
            *(f"{row[name] / 1000:,.0f} kB" for name in ("first", "whole")),
            *(f"{row[name] / 1000:.1f} s" for name in ("interactive", "slow")),
        ]
        for row in found["pages"]
    ]
    headings = ["page", "files", "at once", "in all", "interactive after", quarter]
    return (
        f"{make_table(headings, rows)}\n\nMeasured {found['day']} in {found['browser']}, served "
        "uncompressed by the same machine. *At once*: before anybody scrolls. *In all*: when every "
        "widget has begun."
    )

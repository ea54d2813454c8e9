"""The table of how the judge is judged, from the record of a real audit."""

import json
from pathlib import Path
from typing import Any

from ..audit.record import FILE
from .writing import table as make_table

NONE_YET = (
    "*No audit is on record yet: `python -m grader audit --full --save` makes one (hours on two "
    "cores).*"
)
COLUMNS = {
    "checks": "checks",
    "wrong": "wrong variants",
    "false_accepts": "accepted wrongly",
    "right": "right variants",
    "false_rejects": "rejected wrongly",
    "mutants": "machine mutants",
    "survivors": "equivalent, with a reason",
    "unexplained": "missed",
    "for_nothing": "points for nothing",
    "unstable": "change with the seed",
    "unequal": "change when run apart",
    "named": "mistakes named",
    "false_names": "named wrongly",
}


def table(arguments: list[str], folder: Path, file: Path = FILE) -> str:
    """Return one row per lesson that was audited, or a sentence that none was."""
    if not file.is_file():
        return NONE_YET
    rows: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["lessons"]
    body = make_table(
        ["lesson", *COLUMNS.values(), "seeds", "commit"],
        [
            [number, *(_show(name, row[name]) for name in COLUMNS), row["seeds"], row["commit"]]
            for number, row in sorted(rows.items())
        ],
    )
    days = sorted({row["day"] for row in rows.values()})
    return f"{body}\n\nMade {' and '.join(days)} by `python -m grader audit --save`."


def _show(name: str, value: float) -> str:
    return f"{value:.0%}" if name == "named" else f"{value:,}"

"""Keeps what an audit measured, for the page that says how the judge is judged."""

import datetime as dt
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lessons.engine.files import write_atomically

from ..judge.paths import ROOT
from .measures import Effort, Measures

FILE = Path(__file__).with_name("last.json")
COUNTED = (
    *("false_accepts", "false_rejects", "survivors", "unexplained", "for_nothing", "unstable"),
    *("unequal", "stale", "false_names"),
)


def keep(measured: Sequence[Measures], effort: Effort, file: Path = FILE) -> None:
    """Write the rows of these lessons into the record; those of other lessons stay."""
    rows: dict[str, Any] = {}
    if file.is_file():
        rows = json.loads(file.read_text(encoding="utf-8"))["lessons"]
    about = {
        "day": dt.datetime.now(dt.UTC).date().isoformat(),
        "commit": commit(),
        "seeds": effort.right_seeds,
    }
    for m in measured:
        plain = {
            name: getattr(m, name) for name in ("checks", "points", "wrong", "right", "mutants")
        }
        counts = {name: len(getattr(m, name)) for name in COUNTED}
        rows[m.lesson] = about | plain | counts | {"named": round(m.named, 4)}
    with write_atomically(file) as out:
        json.dump({"lessons": dict(sorted(rows.items()))}, out, indent=1)
        out.write("\n")


def commit() -> str:
    """Return the commit that stands here, with a + where files differ from it, or nothing."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()

"""The audit as one table."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from .measures import Measures


def print_table(measured: Sequence[Measures]) -> None:
    """Print one row per lesson; plain text where the output is no terminal."""
    table = Table(title="audit: all but explained mutants must be 0")
    for heading in (
        *("lesson", "checks", "points", "wrong", "false accepts", "right", "false rejects"),
        *(
            "mutants",
            "explained",
            "of all",
            "unexplained",
            "for nothing",
            "unstable",
            "apart differs",
            "stale",
        ),
        *("named", "false names", "right margin", "wrong margin", "lines", "checks s"),
    ):
        table.add_column(heading, justify="right")
    for m in measured:
        counts = (m.for_nothing, m.unstable, m.unequal, m.stale)
        table.add_row(
            *(m.lesson, str(m.checks), str(m.points), str(m.wrong), str(len(m.false_accepts))),
            *(str(m.right), str(len(m.false_rejects)), str(m.mutants)),
            *(str(len(m.survivors)), f"{m.explained:.1%}", str(len(m.unexplained))),
            *(str(len(found)) for found in counts),
            *(f"{m.named:.0%}", str(len(m.false_names))),
            *(f"{m.right_margin:.2g}", f"{m.wrong_margin:.2g}", str(m.lines)),
            f"{m.check_seconds:.2f}",
        )
    console = Console()
    Console(width=max(console.width, 220) if not console.is_terminal else None).print(table)

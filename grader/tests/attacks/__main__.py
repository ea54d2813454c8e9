"""Runs all attacks and writes the table of them into the instructors' page on security.

python -m grader.tests.attacks [NAME ...]      names: only these, and nothing is written
"""

import html
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from grader.instructor.sandbox import sandbox_or_reason
from grader.judge.paths import ROOT

from . import ATTACKS
from .running import Outcome, World, run, short_exam

PAGE = ROOT / "site" / "instructors" / "security.md"
BEGIN, END = "<!-- attacks: begin -->", "<!-- attacks: end -->"
MAX_TOLD = 90  # characters of what a check said


def main(names: Sequence[str]) -> int:
    """Return 0 if everything held."""
    box = sandbox_or_reason()
    if isinstance(box, str):
        print(box)
        return 2
    torch.set_num_threads(1)
    exam = short_exam()
    outcomes = []
    with tempfile.TemporaryDirectory() as folder, World(Path(folder)).open() as world:
        for attack in ATTACKS:
            if names and attack.name not in names:
                continue
            outcome = run(attack, world, exam, box)
            outcomes.append(outcome)
            held = "; ".join(outcome.wrong) or "held"
            print(
                f"{attack.name:36} {outcome.points}/{outcome.most} {outcome.seconds:4.0f} s  {held}"
            )
    box.stop()
    if not names:
        write_table(table(outcomes, sum(check.points for check in exam.checks)))
    return 1 if any(outcome.wrong for outcome in outcomes) else 0


def table(outcomes: Sequence[Outcome], points: int) -> str:
    """Return the attacks as Markdown: what each tries, and what came of it."""
    kinds = list(dict.fromkeys(outcome.attack.kind for outcome in outcomes))
    failed = [outcome for outcome in outcomes if outcome.wrong]
    fooling = sum(outcome.attack.fools for outcome in outcomes)
    lines = [
        f"{len(outcomes)} attacks of {len(kinds)} classes, each judged by ten checks of lesson 03 "
        f"({points} points). {len(outcomes) - len(failed)} of them got what their values earn and "
        f"nothing else. {fooling} are marked †: an ordinary pytest grader gives them points.",
        "",
        "| class | what it tries | what happened | points of those earned | seconds |",
        "|---|---|---|---|---|",
    ]
    for kind in kinds:
        for outcome in (o for o in outcomes if o.attack.kind == kind):
            dagger = " †" if outcome.attack.fools else ""
            cells = [
                kind,
                plain(outcome.attack.tries) + dagger,
                plain(happened(outcome)),
                f"{outcome.points} of {outcome.most}",
                f"{outcome.seconds:.0f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def happened(outcome: Outcome) -> str:
    """Return in a few words what came of an attack."""
    if outcome.attack.open and outcome.points > outcome.most:
        return f"**gets through**: {outcome.attack.open}"
    if outcome.wrong:
        return f"**did not hold**: {'; '.join(outcome.wrong)}"
    if outcome.refused:
        return f"not run: {outcome.refused}"
    said = Counter(c["symptom"] for c in outcome.report["checks"] if c["verdict"] != "passed")
    if not said:
        return "its honest answers count, and nothing else came of it"
    symptom = said.most_common(1)[0][0].splitlines()[0].replace(sys.prefix, "PYTHON")
    return symptom if len(symptom) <= MAX_TOLD else f"{symptom[:MAX_TOLD]} ..."


def plain(text: str) -> str:
    """Return a text that means nothing in Markdown or HTML: some of it is an attacker's."""
    text = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"&#{ord(c)};" if c in "|`*_[]{}\\~$" else c for c in text)


def write_table(text: str) -> None:
    """Put the table between its marks in the page."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

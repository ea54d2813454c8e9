"""The site, built as `make site` builds it, for tests; and its sources, for those who read them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from grader.tests.conftest import ROOT

SITE = ROOT / "site"
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154"
    "789c63f8ffff3f0005fe02fe0def46b80000000049454e44ae426082"
)
MADE = ("figures", "notebooks", "solutions", "widgets/data")  # by `make site`, kept out of git
READMES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("lessons/*/README.md"))]
FIGURES = {
    "00": "counts babble",
    "01": "tokens",
    "02": "vectors positions order",
    "03": "heads one_head",
    "04": "norms gelu",
    "05": "lens init",
    "06": "batch lengths",
    "07": "schedule curves",
    "08": "reshaping settings",
    "09": "steps cache",
    "10": "texts compare calibration",
    "11": "phases places blocks",
    "12": "scored forgetting rank margins",
    "13": "int8 pruning soft",
    "14": "run ablation",
}  # what `python -m lessons.explore` draws, as pages name it


def sources() -> list[Path]:
    """Return every page's source."""
    made = tuple(SITE / folder for folder in MADE)
    return [page for page in sorted(SITE.rglob("*.md")) if not page.is_relative_to(made[0])]


def figures() -> list[Path]:
    """Return where the figures stand that `make site` draws."""
    return [
        SITE / "figures" / number / f"{name}.png"
        for number, names in FIGURES.items()
        for name in names.split()
    ]


def build(folder: Path, *, real: bool) -> Path:
    """Build the site strictly into `folder`; returns it. real: with the figures that are there.

    Without `real`, every figure is one pixel, so that nothing has to be drawn first.
    """
    docs, target = folder / "docs", folder / "built"
    if not real:
        leave = shutil.ignore_patterns("figures", "data", "notebooks", "solutions")
        shutil.copytree(SITE, docs, ignore=leave)
        for figure in figures():
            place = docs / figure.relative_to(SITE)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(PIXEL)
        (docs / "solutions").mkdir()
        for solution in (ROOT / "solutions").glob("*.py"):
            shutil.copy(solution, docs / "solutions" / f"{solution.name}.txt")
        (docs / "notebooks").mkdir()
        for notebook in (ROOT / "lessons" / "notebooks").glob("*.ipynb"):
            shutil.copy(notebook, docs / "notebooks")
    config = folder / "mkdocs.yml"
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    docs = SITE if real else docs
    text = text.replace("docs_dir: site", f"docs_dir: {docs}")
    text = text.replace("base_path: [site]", f"base_path: [{docs}]")
    config.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-f", config, "-d", target],
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return target

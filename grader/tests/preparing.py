"""What the tests of `prepare` share: small texts, and looking at folders."""

import os
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from solutions.engine.errors import CourseError
from solutions.engine.prepare import prepare

ROOT = Path(__file__).resolve().parents[2]
WORDS = "once there was a bear who lost the red ball in Łódź and café 12 'll 👋"


def make_stories(count: int, seed: int = 0) -> list[str]:
    chance = random.Random(seed)
    words = [
        *[
            "once",
            "there",
            "was",
            "a",
            "bear",
            "who",
            "lost",
            "the",
            "red",
            "ball",
            "in",
            "Łódź,",
            "café",
            "12",
            "'ll",
            "👋",
        ],
        "\n",
    ]
    return [f"{i}: {' '.join(chance.choices(words, k=60)).strip()}" for i in range(count)]


def contents(folder: Path) -> dict[str, bytes]:
    """All files under a folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def refusal(*args, **settings) -> str:
    with pytest.raises(CourseError) as error:
        prepare(*args, **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def run_python(code: str, *arguments: object, **settings) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        cwd=settings.pop("cwd", ROOT),
        env=os.environ | {"PYTHONPATH": str(ROOT)} | settings.pop("env", {}),
        capture_output=True,
        text=True,
        timeout=120,
        **settings,
    )

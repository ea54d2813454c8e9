"""What all tests share: real text where it is at hand, and no network."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a look-up that cannot succeed takes half a minute


@pytest.fixture(scope="session")
def real_text():
    """A function from a file's name to its path under COURSE_DATA; skips where it is absent."""
    folder = Path(os.environ.get("COURSE_DATA", ROOT.parent / "shared" / "data"))

    def find(name: str) -> Path:
        path = folder / name
        if not path.exists():
            pytest.skip(f"{name} is not in {folder} (set COURSE_DATA)")
        return path

    return find

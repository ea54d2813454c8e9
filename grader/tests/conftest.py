"""What all tests share: real text where it is at hand, and no network."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a look-up that cannot succeed takes half a minute
os.environ["OMP_NUM_THREADS"] = "1"  # tests run side by side, one on each core


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


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """An empty folder that a module's tests share."""
    return tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module")
def driver():
    """One headless Chromium that a module's tests share."""
    from grader.tests.browser import browser

    with browser() as driver:
        yield driver


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """One finished run that the reading tests share."""
    from grader.tests.program import FINISHED, succeeds

    out = tmp_path_factory.mktemp("finished") / "run"
    text = succeeds("run", "--out", out, *FINISHED, cwd=out.parent)
    assert "parameters" in text
    assert str(out / "report.html") in text
    return out


@pytest.fixture
def copy_of_finished(finished, tmp_path) -> Path:
    """The same run, to be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))

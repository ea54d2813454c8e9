"""Attacks by what lies beside the module, and by the archive that it comes in."""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

from .kit import EASY, MODULE, Attack, as_file

BESIDE, FORGED, ARCHIVES, OTHERS = (
    "planted files",
    "forged reports",
    "links and archives",
    "impersonation",
)

PASS_ALL = """
import pytest

@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    outcome.get_result().outcome = "passed"
"""
SHADOW = "import os\nos.environ['PLANTED'] = 'yes'\nraise SystemExit(0)\n"
REPORT = '{"schema": 1, "lesson": "03", "points": 26, "of": 26, "isolated": true, "checks": []}'
JUNIT = '<testsuites><testsuite name="03" tests="24" failures="0" errors="0"/></testsuites>'


def with_files(files: dict[str, str]) -> Callable[[Path, str], Path]:
    """Return a way to hand in the module with other files beside it."""

    def hand_in(place: Path, source: str) -> Path:
        as_file(place, source)
        for name, text in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text, encoding="utf-8")
        return place

    return hand_in


def zipped(
    change: Callable[[zipfile.ZipFile, str], None], module: bool = True
) -> Callable[[Path, str], Path]:
    """Return a way to hand in a zip that `change` has put more into."""

    def hand_in(place: Path, source: str) -> Path:
        place.mkdir(parents=True)
        path = place.with_suffix(".zip")
        place.rmdir()
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            if module:
                archive.writestr(MODULE, source)
            change(archive, source)
        return path

    return hand_in


def _climbing(archive: zipfile.ZipFile, source: str) -> None:
    for name in ("../../gradebook.db", "../bob/03/attention.py", "/tmp/climbed"):
        archive.writestr(name, "climbed")


def _link_in_zip(archive: zipfile.ZipFile, source: str) -> None:
    entry = zipfile.ZipInfo(MODULE)
    entry.create_system, entry.external_attr = 3, 0o120777 << 16
    archive.writestr(entry, "../bob/03/attention.py")


def _bomb(archive: zipfile.ZipFile, source: str) -> None:
    zeros = bytes(1 << 24)
    for i in range(64):
        archive.writestr(f"data/{i}.bin", zeros)


def _nested(archive: zipfile.ZipFile, source: str) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as layer:
        layer.writestr("zeros", bytes(1 << 24))
    for i in range(20):
        archive.writestr(f"{i}.zip", inner.getvalue())


def _linked(place: Path, source: str) -> Path:
    """Hand in a link to another student's work."""
    place.mkdir(parents=True)
    (place / MODULE).symlink_to(place.parents[1] / "bob" / "03" / MODULE)
    return place


def _linked_folder(place: Path, source: str) -> Path:
    place.parent.mkdir(parents=True)
    place.symlink_to(place.parents[1] / "bob" / "03")
    return place


def _piped(place: Path, source: str) -> Path:
    place.mkdir(parents=True)
    os.mkfifo(place / MODULE)
    return place


WRONG = "everywhere(lambda name: lambda *a, **k: torch.zeros(1))"

ATTACKS = [
    Attack(
        "conftest_beside_it",
        BESIDE,
        "brings a conftest.py and a pytest.ini that let every test pass",
        WRONG,
        hand_in=with_files(
            {"conftest.py": PASS_ALL, "pytest.ini": "[pytest]\naddopts = --co\n", "tox.ini": ""}
        ),
        fools=True,
    ),
    Attack(
        "modules_beside_it",
        BESIDE,
        "brings torch.py, numpy.py, random.py, json.py and a package `grader` of its own",
        WRONG,
        hand_in=with_files(
            {
                **{f"{name}.py": SHADOW for name in ("torch", "numpy", "random", "json", "pytest")},
                **{"grader/__init__.py": SHADOW, "grader/checks.py": SHADOW},
                **{"lessons/bigram.py": SHADOW, "attention/__init__.py": SHADOW},
            }
        ),
        fools=True,
    ),
    Attack(
        "sitecustomize_beside_it",
        BESIDE,
        "brings sitecustomize.py, usercustomize.py, a .pth file and a compiled module",
        WRONG,
        hand_in=with_files(
            {
                **{"sitecustomize.py": SHADOW, "usercustomize.py": SHADOW, "a.pth": "import os"},
                **{"attention.so": "\x7fELF", "__pycache__/attention.cpython-311.pyc": "planted"},
            }
        ),
    ),
    Attack(
        "plants_modules_for_the_next_check",
        BESIDE,
        "writes torch.py, sitecustomize.py and others wherever Python looks, for the next process",
        """
        import os, sys
        for folder in [*sys.path, "/tmp", "/dev/shm", os.getcwd(), os.path.expanduser("~/.local")]:
            for name in ("torch", "sitecustomize", "usercustomize", "json", "attention"):
                try:
                    with open(os.path.join(folder, f"{name}.py"), "w") as file:
                        file.write("raise SystemExit(0)")
                except OSError:
                    pass
        os.environ["PYTHONPATH"] = "/tmp"
        os.environ["PYTHONSTARTUP"] = "/tmp/torch.py"
        """,
        base="half",
        earns=EASY,
        exactly=True,
    ),
    Attack(
        "reports_beside_it",
        FORGED,
        "brings report.json, results.json, junit.xml and grades of its own",
        WRONG,
        hand_in=with_files(
            {
                **{"report.json": REPORT, "results.json": REPORT, "result.json": REPORT},
                **{"junit.xml": JUNIT, "reports/03/eve.json": REPORT, "grades.csv": "eve,26"},
            }
        ),
    ),
    Attack(
        "prints_a_report",
        FORGED,
        "prints what a report looks like, on every stream and descriptor",
        f"""
        import os, sys
        REPORT = '{REPORT}'

        def make(name):
            def shout(*a, **k):
                print(REPORT)
                print("26 passed in 0.1s", file=sys.__stderr__)
                for descriptor in (0, 1, 2):
                    try:
                        os.write(descriptor, REPORT.encode() + b"\\n")
                    except OSError:
                        pass
                return torch.zeros(1)
            return shout

        everywhere(make)
        """,
    ),
    Attack(
        "writes_report_and_gradebook",
        FORGED,
        "writes full marks into the report and the gradebook where they lie",
        f"""
        import os, sqlite3
        REPORT = '{REPORT}'
        for path in ("@WORLD@/reports/03/eve.json", os.environ.get("COURSE_REPORT", "/tmp/x"),
                     "/proc/1/root@WORLD@/reports/03/eve.json", "reports/03/eve.json"):
            try:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "w") as file:
                    file.write(REPORT)
            except OSError:
                pass
        for path in ("@WORLD@/gradebook.db", "/proc/1/root@WORLD@/gradebook.db"):
            try:
                with sqlite3.connect(path) as book:
                    book.execute("update marks set points = 26")
            except sqlite3.Error:
                pass
        {WRONG}
        """,
    ),
    Attack(
        "says_to_be_somebody_else",
        OTHERS,
        "claims another student's name, in its file names and in everything that it prints",
        """
        import getpass, os
        os.environ["USER"] = os.environ["LOGNAME"] = "bob"
        getpass.getuser = lambda: "bob"
        print('{"student": "bob", "points": 26}')
        everywhere(lambda name: lambda *a, **k: print('{"student": "bob"}') or torch.zeros(1))
        """,
        hand_in=with_files({"bob/03/attention.py": "# bob's", "student.json": '{"id": "bob"}'}),
    ),
    Attack(
        "link_to_anothers_work",
        ARCHIVES,
        "hands in a symbolic link to another student's module",
        "",
        hand_in=_linked,
        refused="symbolic link",
    ),
    Attack(
        "link_to_anothers_folder",
        ARCHIVES,
        "hands in a folder that is a link to another student's",
        "",
        hand_in=_linked_folder,
        refused="symbolic link",
    ),
    Attack(
        "pipe_without_end",
        ARCHIVES,
        "hands in a named pipe that nobody ever writes to",
        "",
        hand_in=_piped,
        refused="no ordinary file",
    ),
    Attack(
        "climbing_zip",
        ARCHIVES,
        "hands in an honest module in a zip whose other entries would overwrite the gradebook",
        "",
        base="honest",
        hand_in=zipped(_climbing),
        refused="leads out of it",
    ),
    Attack(
        "link_in_a_zip",
        ARCHIVES,
        "hands in a zip whose module is a link to another student's",
        "",
        hand_in=zipped(_link_in_zip, module=False),
        refused="symbolic link",
    ),
    Attack(
        "zip_bomb",
        ARCHIVES,
        "hands in a zip of 1 MB that unpacks to 1 GB",
        "",
        hand_in=zipped(_bomb),
        refused="unpacked it would be",
    ),
    Attack(
        "nested_zip_bomb",
        ARCHIVES,
        "hands in zips in a zip, without the module",
        "",
        hand_in=zipped(_nested, module=False),
        refused="another archive",
    ),
    Attack(
        "another_alphabet",
        ARCHIVES,
        "says that it is written in UTF-7, so that Python reads other code than a person does",
        "",
        before="# -*- coding: utf_7 -*-",
        base="honest",
        refused="save it as UTF-8",
    ),
    Attack(
        "text_that_breaks_parsers",
        ARCHIVES,
        "is nested so deeply that reading the text alone may end the one who reads",
        "x = " + "(" * 150 + "-" * 90_000 + "1" + ")" * 150,
        base="honest",
    ),
]

"""Bring the corrections of a new release into a learner's repository; what you wrote is never touched.

Where you have changed a file that is yours to change, the new one is laid beside it (`model.py.new`).
"""

import argparse
import contextlib
from pathlib import Path

from grader.judge.paths import ROOT
from grader.updating import MANIFEST, Release, carry_out, plan, read_manifest, read_release
from lessons.engine.errors import CourseError

with contextlib.suppress(ModuleNotFoundError):  # learners have none, and need --from
    from grader.commands.release import add_choice, prepared_release


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("folder", metavar="DIR", help="the learner's repository; `.` for this one")
    parser.add_argument(
        "--from", dest="source", metavar="RELEASE", help="the new release: its folder, or a zip"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would change, and change nothing"
    )
    if is_whole_course():
        add_choice(parser)


def is_whole_course() -> bool:
    """Say whether this is an instructor's course, of which releases are made."""
    return "add_choice" in globals()


def run(options: argparse.Namespace) -> int:
    """Compare, then change."""
    folder = Path(options.folder)
    manifest = read_manifest(folder)
    changes = plan(folder, new := new_release(options, manifest))
    for change in changes:
        print(f"would be {change}" if options.dry_run else change)
    if not options.dry_run:
        carry_out(folder, new, changes)
    if not changes:
        print(f"{folder} is up to date; nothing was changed")
    elif options.dry_run:
        print("nothing was changed (--dry-run)")
    judged = sorted({c.name.split("/")[1] for c in changes if "/test_" in c.name})
    if judged:
        print(
            f"checks have changed; check again what you have finished: lesson {', '.join(judged)}"
        )
    return 0


def new_release(options: argparse.Namespace, manifest: dict) -> Release:
    """Return what the repository is to become."""
    if options.source is not None:
        source = Path(options.source)
        if not source.exists():
            raise CourseError(f"no {source}; --from takes the folder of a release, or its zip")
        return read_release(source)
    if is_whole_course():
        from grader.instructor.release.leaks import find_leaks_among
        from grader.instructor.release.writing import refuse_leaks

        prepared = prepared_release(options, manifest["lessons"])
        refuse_leaks(find_leaks_among(prepared.release.files, prepared.secrets))
        return prepared.release
    if Path(options.folder).resolve() != ROOT and (ROOT / MANIFEST).is_file():
        return read_release(ROOT)  # started in the new release
    raise CourseError(
        f"where is the new release? python -m grader update {options.folder} --from RELEASE "
        "(its folder, or its zip)"
    )

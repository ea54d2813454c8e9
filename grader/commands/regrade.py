"""Judge again what was judged by older checks; list every changed mark, old and new.

On the same seeds, so that nothing but the correction can change a mark.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("folder", type=Path, help="the course folder, or the submissions")
    parser.add_argument(
        "--lesson", metavar="NN", action="append", default=[], help="only this one; may be repeated"
    )
    parser.add_argument("--out", type=Path, help="the folder of the reports")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would change, write nothing"
    )
    parser.add_argument(
        "--not-isolated",
        action="store_true",
        help="where there is no sandbox: run them as they are",
    )


def run(options: argparse.Namespace) -> int:
    """Judge again, and tell what changed."""
    from grader.commands.grade import backend_for
    from grader.instructor.regrading import regrade, write_changes
    from grader.instructor.submissions import find_submissions
    from grader.syllabus import find_lesson

    reports = options.out or options.folder / "reports"
    lessons = [find_lesson(number) for number in options.lesson]
    submissions = find_submissions(options.folder, lessons)
    backend = backend_for(options.not_isolated)
    every = []
    try:
        for one in regrade(submissions, reports, backend, options.dry_run):
            every.append(one)
            if one.changed:
                marks = f"{one.old['points']} -> {one.new['points']} of {one.new['of']}"
                print(f"{one.submission.number}  {one.submission.student}  {marks}")
                for text in one.checks():
                    print(f"    {text}")
    finally:
        backend.stop()
    changed = [one for one in every if one.changed]
    if not every:
        print("nothing to do: every report was made by the checks as they are now")
        return 0
    print(f"{len(every)} judged again, {len(changed)} marks changed")
    if changed and not options.dry_run:
        for number in sorted({one.submission.number for one in changed}):
            mine = [one for one in changed if one.submission.number == number]
            path = reports / number / f"changes-{mine[0].new['version']}.csv"
            write_changes(mine, path)
            print(f"written: {path}")
            print(
                f"in nbgrader: `nbgrader autograde {number} --force` takes them over; "
                "marks given by hand stay"
            )
    return 0

"""Write the learners' repository: no solutions of what is still due, no bank, no hidden checks.

DIR is new, or an earlier release, which is replaced; its git repository stays. What `course.toml` says
about lessons, dates and references is followed; without that file, all lessons go out and no reference.
"""

import argparse
import datetime as dt
from pathlib import Path

from lessons.engine.errors import CourseError

HELP_NOW = "as if it were this moment (2026-11-21T17:00), in the course's time zone"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("folder", metavar="DIR", help="where to write it")
    add_choice(parser)
    parser.add_argument(
        "--whole",
        action="store_true",
        help="for you, not for learners: the whole course with your own lessons in it",
    )


def add_choice(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say what is released; `update` has them too."""
    parser.add_argument(
        "--lessons",
        metavar="00-05",
        help="these lessons; by default those that are released by now",
    )
    parser.add_argument("--course", metavar="FILE", help="by default course.toml, if it is here")
    parser.add_argument("--now", metavar="TIME", help=HELP_NOW)


def run(options: argparse.Namespace) -> int:
    """Prepare everything, then write it."""
    from grader.instructor.release.writing import refuse_others, write_release, write_whole

    folder = Path(options.folder)
    if options.whole:
        write_whole(folder, find_course(options.course))
        print(f"{folder}: the whole course, with solutions and bank; for you alone")
        return 0
    refuse_others(folder.absolute())
    prepared = prepared_release(options)
    write_release(folder, prepared)
    release = prepared.release
    for remark in prepared.remarks:
        print(f"note: {remark}")
    print(f"{folder}: lessons {', '.join(release.lessons)}; {len(release.files)} files")
    references = ", ".join(release.opened) or "none"
    print(f"references that learners can read: {references}; nothing of the others was found in it")
    return 0


def find_course(file: str | None):
    """Return the course that a file describes; `course.toml` need not be there."""
    from grader.instructor.course.course import FILE, read_course

    if file is not None and not Path(file).is_file():
        raise CourseError(f"no file {file}")
    return read_course(Path(file or FILE))


def prepared_release(options: argparse.Namespace, wanted: list[str] | None = None):
    """Return the release that the options describe, or of the `wanted` lessons if they name none."""
    from grader.instructor.release.release import prepare, read_numbers

    course = find_course(options.course)
    if options.lessons is not None:
        wanted = read_numbers(options.lessons, course)
    return prepare(course, wanted, read_now(options.now, course.zone))


def read_now(text: str | None, zone: dt.tzinfo) -> dt.datetime:
    """Return the moment that is meant; by default this one."""
    if text is None:
        return dt.datetime.now(dt.UTC)
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise CourseError(f"--now {text} is no time; write 2026-11-21T17:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)

"""Sum up a course folder: what to explain again, who has not begun, which modules are alike."""  # noqa: N999

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("course", type=Path, metavar="COURSE_DIR", help="the folder with reports/")
    parser.add_argument(
        "--pseudonyms", action="store_true", help="nobody's name in anything that is written"
    )
    parser.add_argument(
        "--out", type=Path, help="a folder (default: class/ in the course, or class-pseudonyms/)"
    )


def run(options: argparse.Namespace) -> int:
    """Write pages and tables, and say the most important thing here."""
    from grader.instructor.reports.class_pages import write_class
    from grader.instructor.reports.class_view import look_at
    from grader.instructor.reports.class_words import current, opening

    view = look_at(options.course)
    default = options.course / ("class-pseudonyms" if options.pseudonyms else "class")
    page = write_class(options.course, view, options.out or default, options.pseudonyms)
    for sentence in opening(current(view)) if view.lessons else []:
        print(sentence)
    for note in view.notes:
        print(note)
    for each in [] if options.pseudonyms else view.unread:
        print(each.sentence)
    if options.pseudonyms and view.unread:
        print(f"{len(view.unread)} reports could not be read; without --pseudonyms they are named")
    if options.pseudonyms:
        print(f"who is who: {options.course / 'pseudonyms.csv'} (yours alone)")
    print(f"written: {page}, the tables beside it, and learners/index.html")
    return 0

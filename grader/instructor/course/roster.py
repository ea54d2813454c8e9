"""`roster.csv`: who belongs to the course, as an instructor writes it or another system exports it."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lessons.engine.errors import CourseError

ROSTER = ("id", "first_name", "last_name", "email", "lms_user_id")
ALSO_CALLED = {
    **{"student": "id", "student_id": "id", "username": "id", "user": "id", "login": "id"},
    **{"first": "first_name", "given_name": "first_name", "last": "last_name"},
    **{"surname": "last_name", "family_name": "last_name", "e_mail": "email", "mail": "email"},
    **{"lms": "lms_user_id", "lms_id": "lms_user_id"},
}
STUDENT = re.compile(r"[A-Za-z0-9][\w.@-]*")  # a folder's name, and no pattern for many


def read_roster(path: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Return the people in a CSV file, and a sentence for each line that is not right."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CourseError(f"{path} is not saved as UTF-8: save it as CSV UTF-8") from None
    except OSError as error:
        raise CourseError(f"{path} cannot be read ({error.strerror})") from None
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count))
    rows = _rows(reader)
    head = [re.sub(r"\W+", "_", name.strip().lower()) for name in next(rows, (0, []))[1]]
    columns = [ALSO_CALLED.get(name, name) for name in head]
    if "id" not in columns:
        raise CourseError(f"{path} has no column `id`; its first line should be {','.join(ROSTER)}")
    people: dict[str, dict[str, str]] = {}
    troubles = []
    for line, row in rows:
        person = dict(zip(columns, (cell.strip() for cell in row), strict=False))
        student = person.get("id", "")
        if len(row) != len(columns):
            wrong = f"{len(row)} fields instead of {len(columns)}"
        elif not STUDENT.fullmatch(student):
            wrong = f"{student!r} cannot be an id (letters, digits, . _ @ and -)"
        elif student in people:
            wrong = f"{student} stands there twice"
        else:
            people[student] = {key: person.get(key, "") for key in ROSTER}
            continue
        troubles.append(f"{path.name}, line {line}: {wrong}; left out")
    return list(people.values()), troubles


def _rows(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not empty, with the lines on which they end."""
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise CourseError(f"the roster's line {reader.line_num} cannot be read: {error}") from None

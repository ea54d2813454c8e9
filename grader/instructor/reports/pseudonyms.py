"""Other names for learners, the same in every table and page of one course.

A pseudonym is made from the student's id and a secret salt (HMAC-SHA256, RFC 2104), so nobody
without the salt can try out who is who. Salt and list of names stay in the course folder, readable by
its owner alone; both are the instructor's, and neither is written beside what is shown to others.
"""

import base64
import contextlib
import csv
import hashlib
import hmac
import io
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from lessons.engine.errors import CourseError

SALT, NAMES = ".pseudonym-salt", "pseudonyms.csv"
SALT_BYTES = 32
LETTERS = 8  # of base 32: with 500 learners, two alike once in ten million courses
SHORTEST = 3  # letters of a name that is taken out of texts; a shorter one stands in other words


class Pseudonyms:
    """Turns ids into pseudonyms, and takes names out of texts."""

    def __init__(
        self, salt: bytes, people: Mapping[str, Iterable[str]], ordinary: str = ""
    ) -> None:
        """people: id -> everything the person is called. ordinary: a text whose words are no names."""
        self.salt = salt
        self.known = {student: self._made(student) for student in people}
        words = set(re.findall(r"[^\W_]+", ordinary.casefold()))
        instead: dict[str, str] = {}
        for student, names in people.items():
            called = [student, *names]
            for name in [*called, *(part for whole in called for part in whole.split())]:
                if len(name) >= SHORTEST and ("@" in name or name.casefold() not in words):
                    instead[name.casefold()] = self.known[student]
        longest = sorted(instead, key=len, reverse=True)
        self._instead = instead
        self._names = (
            re.compile(
                rf"(?<![^\W_])(?:{'|'.join(map(re.escape, longest))})(?![^\W_])", re.IGNORECASE
            )
            if longest
            else None
        )

    def of(self, student: str) -> str:
        """Return the pseudonym of a student."""
        return self.known.get(student) or self._made(student)

    def _made(self, student: str) -> str:
        digest = hmac.digest(self.salt, student.encode("utf-8", "surrogateescape"), hashlib.sha256)
        return f"learner-{base64.b32encode(digest).decode()[:LETTERS].lower()}"

    def taken_out(self, text: str) -> str:
        """Return a text with pseudonyms for the names in it."""
        if self._names is None:
            return text
        return self._names.sub(lambda found: self._instead[found[0].casefold()], text)


def read_salt(course: Path) -> bytes:
    """Return the course's salt; it is drawn when it is first needed. Raises CourseError."""
    path = course / SALT
    with contextlib.suppress(FileExistsError):
        _write_for_owner(path, secrets.token_hex(SALT_BYTES) + "\n", os.O_EXCL)
    try:
        salt = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        salt = b""
    if len(salt) != SALT_BYTES:
        raise CourseError(
            f"{path} is damaged; put a copy of it back, or delete it: then all pseudonyms change"
        )
    return salt


def write_names(course: Path, pseudonyms: Pseudonyms) -> Path:
    """Write who is who, for the instructor."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["student", "pseudonym"])
    writer.writerows(sorted(pseudonyms.known.items()))
    path = course / NAMES
    path.unlink(missing_ok=True)  # it may have been made readable for others
    _write_for_owner(path, table.getvalue(), os.O_EXCL)
    return path


def _write_for_owner(path: Path, text: str, flags: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o600)
    with open(descriptor, "w", encoding="utf-8", newline="") as file:
        file.write(text)

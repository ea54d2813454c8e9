"""Who belongs to a course: from nbgrader's gradebook, `roster.csv`, and whoever has handed in."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .looking import rows_of
from .roster import ROSTER, read_roster


@dataclass(frozen=True)
class Person:
    """One learner, as the course folder knows them."""

    id: str  # nbgrader's, and the name of the folder in `submitted/`
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    lms_user_id: str = ""  # the number that Canvas or Moodle knows them by

    @property
    def name(self) -> str:
        """How the person is called, if that is known."""
        return f"{self.first_name} {self.last_name}".strip() or self.id

    @property
    def called(self) -> tuple[str, ...]:
        """Everything in a text that would say who this is."""
        names = (self.id, self.name, self.first_name, self.last_name, self.email, self.lms_user_id)
        return tuple(name for name in names if name)


@dataclass(frozen=True)
class People:
    """Everybody in a course, by id."""

    by_id: dict[str, Person]
    listed: bool  # whether a roster or a gradebook says who belongs to it
    troubles: list[str]  # what is wrong with the roster, a sentence each


def read_people(course: Path, others: Iterable[str] = ()) -> People:
    """Return everybody. others: ids that are known from elsewhere.

    Raises CourseError, a sentence, for a roster or a gradebook that cannot be read.
    """
    gradebook, roster = course / "gradebook.db", course / "roster.csv"
    people = {person.id: person for person in _of_gradebook(gradebook)}
    rows, troubles = read_roster(roster) if roster.is_file() else ([], [])
    people |= {row["id"]: Person(*(row[key] for key in ROSTER)) for row in rows}
    listed = bool(people)
    for student in others:
        people.setdefault(student, Person(student))
    return People(dict(sorted(people.items())), listed, troubles)


def _of_gradebook(path: Path) -> list[Person]:
    """Return the students in nbgrader's gradebook, which is only looked at."""
    rows = rows_of(path, f"select {', '.join(ROSTER)} from student")
    return [Person(*(str(value or "") for value in row)) for row in rows]

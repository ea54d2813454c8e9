"""`course.toml`, an instructor's overlay on the syllabus: which lessons, when, and for how much.

    course = read_course(Path("course.toml"))
    lesson = course.lesson("05")
    lesson.due_for("ada")                     # with her extension
    lesson.late_factor(submitted_at, "ada")   # 1.0, 0.9, ... 0.0
    lesson.opened(now)                        # may learners see the reference?

Where there is no file: all lessons, no dates, references closed. What is wrong in the file ends
in a CourseError that names the line.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

from lessons.engine.errors import CourseError

from ...syllabus import SYLLABUS, Lesson, parse_syllabus, read_syllabus
from .course_file import Table, read_table
from .dates import (
    DAY,
    LAST_SECOND,
    NO_LATE_WORK,
    STARTED_DAY,
    LateRule,
    read_moment,
    utc,
)

FILE = "course.toml"
AFTER_DUE, NEVER, FROM_THE_START = "after due", "never", "from the start"
OPENINGS = (AFTER_DUE, NEVER, FROM_THE_START)
DATES = ("release", "due", "reference", "extensions")

COURSE_KEYS = ["name", "timezone", "site", "own", "reference", "late", "lesson"]
LESSON_KEYS = ["number", "release", "due", "points", "weight", "reference", "late", "extensions"]
LATE_KEYS = ["grace_minutes", "percent", "per", "latest_days"]


@dataclass(frozen=True)
class CourseLesson:
    """A lesson as this course gives it."""

    lesson: Lesson
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    points: float = 0.0  # what all its checks together are worth in the marks
    weight: float = 0.0  # how much it counts among the lessons
    release: dt.datetime | None = None
    due: dt.datetime | None = None
    late: LateRule = NO_LATE_WORK
    extensions: Mapping[str, dt.datetime] = field(default_factory=dict)  # student -> due date
    reference: str | dt.datetime = AFTER_DUE  # when it is opened to learners
    own: bool = False  # the instructor's, not the syllabus's

    @property
    def number(self) -> str:
        """Its number, two digits."""
        return self.lesson.number

    def released(self, now: dt.datetime) -> bool:
        """Say whether learners have it already."""
        return self.release is None or utc(now) >= utc(self.release)

    def due_for(self, student: str = "") -> dt.datetime | None:
        """Return when a student must hand it in; None: whenever they like."""
        return self.extensions.get(student, self.due)

    def last_for(self, student: str = "") -> dt.datetime | None:
        """Return when a student can hand it in for the last time, late or not."""
        due = self.due_for(student)
        return None if due is None else self.late.last(due)

    def late_factor(self, submitted_at: dt.datetime, student: str = "") -> float:
        """Return what the points are multiplied by; a time without a zone is one of the course's."""
        due = self.due_for(student)
        if submitted_at.tzinfo is None:
            submitted_at = submitted_at.replace(tzinfo=self.zone)
        return 1.0 if due is None else self.late.factor(submitted_at, due)

    def closes(self) -> dt.datetime | None:
        """Return the moment after which nobody can hand it in any more; None where none is set."""
        if self.due is None:
            return None
        return max(utc(self.late.last(due)) for due in (self.due, *self.extensions.values()))

    def opened(self, now: dt.datetime) -> bool:
        """Say whether learners may see the reference."""
        if isinstance(self.reference, dt.datetime):
            return utc(now) >= utc(self.reference)
        closes = self.closes()
        after = closes is not None and utc(now) > closes
        return self.reference == FROM_THE_START or (self.reference == AFTER_DUE and after)

    def marks(self, points: float) -> float:
        """Return what a score (of `lesson.points`) is worth in the marks."""
        return points * self.points / self.lesson.points if self.lesson.points else 0.0


@dataclass(frozen=True)
class Course:
    """What an instructor teaches."""

    lessons: tuple[CourseLesson, ...]  # in the order in which they are taught
    name: str = "Write your own small language model"
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    site: str = ""  # where its pages are
    own: Path | None = None  # the folder of the instructor's own lessons
    given: tuple[
        str, ...
    ] = ()  # left out, but needed: learners have their reference from the start
    remarks: tuple[str, ...] = ()  # no mistakes, but something to know

    def lesson(self, number: str) -> CourseLesson:
        """Return the lesson with this number. Raises CourseError."""
        for each in self.lessons:
            if number.zfill(2) in (each.number, each.lesson.module):
                return each
        numbers = ", ".join(each.number for each in self.lessons)
        raise CourseError(f"this course has no lesson {number!r}; it has: {numbers}")

    def share(self, number: str) -> float:
        """Return how much a lesson counts in the whole course, from 0 to 1."""
        total = sum(each.weight for each in self.lessons)
        return self.lesson(number).weight / total if total else 0.0


def read_course(path: Path = Path(FILE)) -> Course:
    """Return the course that a file describes; a file that is not there describes the syllabus."""
    if not path.exists():
        return Course(tuple(_as_in_the_syllabus(lesson) for lesson in read_syllabus()))
    table = read_table(path)
    table.only(COURSE_KEYS, "a course")
    zone = _zone(table)
    own = table.text("own")
    folder = path.parent / own if own else None
    every = all_lessons(folder, table)
    ours = {lesson.number for lesson in read_syllabus()}
    opening, late = _opening(table, zone, AFTER_DUE), _late(table, NO_LATE_WORK)
    taught: list[CourseLesson] = []
    entries = table.tables("lesson")
    for place, entry in enumerate(entries):
        entry.only(LESSON_KEYS, "a lesson")
        lesson = _which(entry, every, taught)
        for later in entries[place + 1 :]:
            if (needed := later.get("number")) in lesson.needs:
                message = f"lesson {lesson.number} needs lesson {needed}, which comes later"
                raise entry.error("number", message)
        taught.append(_lesson(entry, lesson, zone, late, opening, lesson.number not in ours))
    if not taught:
        defaults = {"zone": zone, "late": late, "reference": opening}
        taught = [
            _as_in_the_syllabus(lesson, **defaults, own=lesson.number not in ours)
            for lesson in every
        ]
    given, remarks = _left_out(taught, every)
    return Course(
        tuple(taught),
        name=table.text("name") or Course.name,
        zone=zone,
        site=table.text("site"),
        own=folder,
        given=given,
        remarks=(*remarks, *_early(taught)),
    )


def all_lessons(own: Path | None, table: Table | None = None) -> tuple[Lesson, ...]:
    """Return the lessons of the syllabus, and those of an instructor's folder behind them."""
    if own is None:
        return read_syllabus()
    file = own / "syllabus.toml"
    if not file.is_file():
        message = f"no file {file}, the list of your own lessons"
        raise table.error("own", message) if table else CourseError(message)
    read_table(file)  # what is no TOML at all has a line of its own
    text = file.read_text(encoding="utf-8-sig")
    return parse_syllabus(
        f"{SYLLABUS.read_text(encoding='utf-8')}\n{text}", f"{own.name}/{file.name}"
    )


def _as_in_the_syllabus(lesson: Lesson, **more) -> CourseLesson:
    return CourseLesson(lesson, points=lesson.points, weight=lesson.points, **more)


def _zone(table: Table) -> ZoneInfo:
    name = table.text("timezone")
    if name:
        return table.zone("timezone", name)
    for where in (table, *table.tables("lesson")):
        for key in DATES:
            value = where.get(key)
            if value and not (isinstance(value, str) and not value[0].isdigit()):
                raise where.error(key, f'{key} needs a time zone: timezone = "Europe/Berlin"')
    return ZoneInfo("UTC")


def _which(entry: Table, every: tuple[Lesson, ...], taught: list[CourseLesson]) -> Lesson:
    """Return the lesson that an entry is about."""
    number = entry.text("number")
    if not number:
        raise entry.error("", 'a lesson needs its number, in quotes: number = "05"')
    by_number = {lesson.number: lesson for lesson in every}
    if number not in by_number:
        raise entry.error("number", f"no lesson {number!r}; there are: {', '.join(by_number)}")
    if number in [other.number for other in taught]:
        raise entry.error("number", f"lesson {number} stands there twice")
    return by_number[number]


def _lesson(
    entry: Table,
    lesson: Lesson,
    zone: ZoneInfo,
    late: LateRule,
    opening: str | dt.datetime,
    own: bool,
) -> CourseLesson:
    release = entry.moment("release", zone)
    due = entry.moment("due", zone, LAST_SECOND)
    if release and due and utc(due) <= utc(release):
        raise entry.error("due", f"lesson {lesson.number} is due before it is released")
    extensions = {}
    named = entry.table("extensions")
    for student in named or ():
        extensions[student] = until = named.moment(student, zone, LAST_SECOND)
        if due is None:
            raise named.error(student, f"an extension for {student}, but lesson {lesson.number} "
                              "has no due date")  # fmt: skip
        if utc(until) < utc(due):
            raise named.error(student, f"{student}'s extension ends before the lesson is due")
    points = entry.number("points", lesson.points)
    return CourseLesson(
        lesson,
        zone=zone,
        points=points,
        weight=entry.number("weight", points),
        release=release,
        due=due,
        late=_late(entry, late),
        extensions=extensions,
        reference=_opening(entry, zone, opening),
        own=own,
    )


def _late(table: Table, default: LateRule) -> LateRule:
    """Return a late rule; what it does not say is the default's."""
    late = table.table("late")
    if late is None:
        return default
    late.only(LATE_KEYS, "a late rule")
    per = late.text("per") or default.per
    if per not in (DAY, STARTED_DAY):
        raise late.error("per", f'per is "{DAY}" or "{STARTED_DAY}", not {per!r}')
    return LateRule(
        grace_minutes=late.number("grace_minutes", default.grace_minutes),
        percent=late.number("percent", default.percent, most=100),
        per=per,
        latest_days=late.number("latest_days", default.latest_days),
    )


def _opening(table: Table, zone: ZoneInfo, default: str | dt.datetime) -> str | dt.datetime:
    value = table.get("reference")
    if value is None or value in OPENINGS:
        return value or default
    try:
        return read_moment(value, zone)
    except ValueError as error:
        words = ", ".join(f'"{word}"' for word in OPENINGS)
        raise table.error("reference", f"reference {value} {error}, nor one of {words}") from None


def _left_out(
    taught: list[CourseLesson], every: tuple[Lesson, ...]
) -> tuple[tuple[str, ...], list[str]]:
    """Return the needed lessons that are left out, and a sentence about each."""
    numbers = [each.number for each in taught]
    given: set[str] = set()
    by_number = {lesson.number: lesson for lesson in every}
    waiting = [(each.number, needed) for each in taught for needed in each.lesson.needs]
    remarks = []
    while waiting:
        number, needed = waiting.pop(0)
        if needed in numbers or needed in given:
            continue
        given.add(needed)
        waiting += [(needed, further) for further in by_number[needed].needs]
        remarks.append(
            f"lesson {number} needs lesson {needed}, which is left out: learners have its reference "
            "from the start"
        )
    return tuple(sorted(given)), remarks


def _early(taught: list[CourseLesson]) -> list[str]:
    """Say which references are open while there are points to get for them."""
    remarks = []
    for each in taught:
        closes = each.closes()
        if closes is not None and each.opened(closes):
            remarks.append(
                f"the reference of lesson {each.number} is open to learners before its last hand-in"
            )
    return remarks

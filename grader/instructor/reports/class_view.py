"""What a class has understood, lesson by lesson, from the reports in a course folder."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lessons.engine.errors import CourseError

from ...judge.report import DONE
from ...stub_store import read_stored
from ...syllabus import find_lesson
from ..course.people import Person, read_people
from ..taking import take_submission
from .reports import Report, Unread, finished, read_reports, untouched
from .similarity import Comparison, compare

FINISHED, UNFINISHED, UNTOUCHED = "finished", "unfinished", "nothing written"
REFUSED, UNGRADED, MISSING = "refused", "not graded", "not handed in"
STATES = (FINISHED, UNFINISHED, UNTOUCHED, REFUSED, UNGRADED, MISSING)


@dataclass(frozen=True)
class CheckRow:
    """One check, and how the class does in it."""

    check: str
    step: str
    kind: str
    points: int
    gain: str
    verdicts: Mapping[str, int]  # verdict -> how many, of those that were judged
    too_long: int  # how many ran until their time was up
    guarded: int  # how many fell to a hidden check
    symptom: str  # the most frequent one where no mistake was recognised
    symptoms: int  # how many had it

    @property
    def passed(self) -> int:
        """How many pass."""
        return self.verdicts.get("passed", 0)

    @property
    def failed(self) -> int:
        """How many have written something that fails."""
        return self.verdicts.get("failed", 0)


@dataclass(frozen=True)
class MistakeRow:
    """A named mistake, and who makes it."""

    name: str
    step: str
    says: str
    ask: str
    look: str
    students: tuple[str, ...]


@dataclass(frozen=True)
class LessonView:
    """One lesson."""

    number: str
    states: Mapping[str, str]  # student -> one of STATES, for everybody in the class
    reports: Mapping[str, Report]  # student -> the report
    checks: list[CheckRow]
    mistakes: list[MistakeRow]  # the most frequent first
    too_long: dict[str, list[str]]  # student -> checks that were stopped
    refused: dict[str, str]  # student -> why nothing could be taken
    not_isolated: list[str]
    alike: Comparison

    def of(self, *states: str) -> list[str]:
        """Return the students in one of these states."""
        return [student for student, state in self.states.items() if state in states]

    @property
    def judged(self) -> int:
        """How many submissions were run."""
        return len(self.reports) - len(self.refused)


@dataclass(frozen=True)
class ClassView:
    """A whole course folder."""

    people: dict[str, Person]
    lessons: list[LessonView]
    unread: list[Unread]  # files among the reports that are none
    notes: list[str] = field(default_factory=list)


def look_at(course: Path) -> ClassView:
    """Return what the reports of a course folder say. Raises CourseError where there are none."""
    if not course.is_dir():
        raise CourseError(f"no folder {course}; name the course folder, the one with reports/")
    read = list(read_reports(course))
    reports = [each for each in read if not isinstance(each, Unread)]
    unread = [each for each in read if isinstance(each, Unread)]
    if not read:
        raise CourseError(
            f"no reports in {course / 'reports'}: `python -m grader grade-all {course}`"
        )
    handed_in = submissions(course)
    others = [*(r["student"] for r in reports), *(each.student for each in unread)]
    everybody = read_people(course, [*others, *(student for student, _ in handed_in)])
    people = everybody.by_id
    by_lesson: dict[str, dict[str, Report]] = defaultdict(dict)
    for report in reports:
        by_lesson[report["lesson"]][report["student"]] = report
    numbers = {*by_lesson, *(each.lesson for each in unread), *(number for _, number in handed_in)}
    lessons = [
        look_at_lesson(course, number, people, by_lesson[number], handed_in)
        for number in sorted(numbers)
    ]
    notes = list(everybody.troubles)
    if not everybody.listed:
        notes.append(
            f"There is neither {course / 'roster.csv'} nor a gradebook with students, so only those "
            "are counted who have handed in something at some time."
        )
    return ClassView(people, lessons, unread, notes)


def submissions(course: Path) -> set[tuple[str, str]]:
    """Return who has handed in for which lesson."""
    found = (course / "submitted").glob("*/*")
    return {
        (path.parent.name, path.name)
        for path in found
        if path.is_dir() and not path.parent.name.startswith(".") and not path.name.startswith(".")
    }


def look_at_lesson(
    course: Path,
    number: str,
    people: Iterable[str],
    reports: Mapping[str, Report],
    handed_in: set[tuple[str, str]],
) -> LessonView:
    """Return what the class has done in one lesson."""
    judged = [report for report in reports.values() if not report["submission"]["refused"]]
    stopped = {
        student: [check["check"] for check in report["checks"] if check["too_long"]]
        for student, report in reports.items()
    }
    return LessonView(
        number=number,
        states={s: state_of(reports.get(s), (s, number) in handed_in) for s in people},
        reports=reports,
        checks=check_rows(judged),
        mistakes=mistake_rows(judged),
        too_long={student: checks for student, checks in stopped.items() if checks},
        refused={
            s: r["submission"]["refused"] for s, r in reports.items() if r["submission"]["refused"]
        },
        not_isolated=[student for student, report in reports.items() if not report["isolated"]],
        alike=compare(modules(course, number, reports), stub(number)),
    )


def state_of(report: Report | None, handed_in: bool) -> str:
    """Return where somebody stands in a lesson."""
    if report is None:
        return UNGRADED if handed_in else MISSING
    if report["submission"]["refused"]:
        return REFUSED
    if finished(report):
        return FINISHED
    return UNTOUCHED if untouched(report) else UNFINISHED


def check_rows(judged: Sequence[Report]) -> list[CheckRow]:
    """Return the checks of a lesson, in their order, with how many pass."""
    found: dict[str, list[dict]] = {}
    for report in judged:
        for check in report["checks"]:
            found.setdefault(check["check"], []).append(check)
    rows = []
    for name, checks in found.items():
        first = checks[0]
        failed = [c for c in checks if c["verdict"] == "failed" and not c["too_long"]]
        unnamed = [c["symptom"] for c in failed if not c["mistake"]]
        symptom, times = Counter(unnamed).most_common(1)[0] if unnamed else ("", 0)
        rows.append(
            CheckRow(
                name,
                first["step"],
                first["kind"],
                first["points"],
                first["gain"],
                Counter(check["verdict"] for check in checks),
                sum(check["too_long"] for check in checks),
                sum(bool(check["guard"]) for check in checks),
                symptom,
                times,
            )
        )
    return rows


def mistake_rows(judged: Sequence[Report]) -> list[MistakeRow]:
    """Return the named mistakes, the most frequent first; somebody who makes one often counts once.

    A slip in one step is seen in all those that use it; it stands with the first of them.
    """
    who: dict[str, set[str]] = defaultdict(set)
    texts: dict[str, dict[str, str]] = {}
    places: dict[str, tuple[int, str]] = {}
    for report in judged:
        for place, check in enumerate(report["checks"]):
            for mistake in parts(check["mistake"]) if check["verdict"] not in DONE else []:
                name = mistake["name"]
                who[name].add(report["student"])
                texts.setdefault(name, mistake)
                places[name] = min(places.get(name, (place, check["step"])), (place, check["step"]))
    rows = [
        MistakeRow(
            name,
            places[name][1],
            *(texts[name].get(key, "") for key in ("says", "ask", "look")),
            tuple(sorted(students)),
        )
        for name, students in who.items()
    ]
    return sorted(rows, key=lambda row: (-len(row.students), places[row.name], row.name))


def parts(mistake: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the single mistakes in a named one: two at once bear both names, `a+b`."""
    if not mistake:
        return []
    name = mistake.get("name") or mistake.get("says", "")
    names = name.split("+")
    texts = {key: mistake.get(key, "").split(" And: ") for key in ("says", "ask")}
    if any(len(split) != len(names) for split in texts.values()):
        return [{**mistake, "name": name}]
    look = mistake.get("look", "")
    return [
        {"name": one, "says": says, "ask": ask, "look": look}
        for one, says, ask in zip(names, texts["says"], texts["ask"], strict=True)
    ]


def modules(course: Path, number: str, reports: Mapping[str, Report]) -> dict[str, str]:
    """Return the text of the modules that were judged, as far as they still lie where they did.

    A file that has changed since is left out: what the report says is not about it.
    """
    try:
        lesson = find_lesson(number)
    except CourseError:  # an instructor's own
        return {}
    found = {}
    for student, report in reports.items():
        if report["submission"]["refused"]:
            continue
        taken = take_submission(course / "submitted" / student / number, lesson)
        if taken.source is not None and taken.sha256 == report["submission"]["sha256"]:
            found[student] = taken.source.decode("utf-8", "replace")
    return found


def stub(number: str) -> str:
    """Return what everybody began with, or "" where that is not known."""
    try:
        return read_stored().get(number, "")
    except CourseError:
        return ""

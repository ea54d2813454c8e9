"""The class view as files: one page, tables for a spreadsheet, and a page for every report."""

import csv
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from lessons.engine.files import write_atomically

from ...judge.paths import ROOT
from .class_view import STATES, ClassView, LessonView
from .class_words import current, opening
from .pages import environment, index_of, lesson_title, page_of, page_path
from .pseudonyms import Pseudonyms, read_salt, write_names
from .reports import Report, clean, cleaned

# Measured on the bank of all lessons, see grader/tests/test_similarity.py; in percent.
SHARED_APART, SHARED_COPIED = 29, 90
MOST_PAIRS = 30  # on the page; the table holds all
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run


def write_class(course: Path, view: ClassView, out: Path, hidden: bool = False) -> Path:
    """Write everything into a folder; returns the page. hidden: under pseudonyms."""
    names = Names(course, view, hidden)
    if not out.exists():
        out.mkdir(parents=True)
        out.chmod(0o700)  # marks, as in `reports`; whoever shows them opens them
    page = out / "class.html"
    write(page, class_page(course, view, names))
    write_csv(out / "checks.csv", check_table(view, names))
    write_csv(out / "mistakes.csv", mistake_table(view, names))
    write_csv(out / "people.csv", people_table(view, names))
    write_csv(out / "alike.csv", alike_table(view, names))
    write_learners(out / "learners", view, names)
    return page


class Names:
    """How people are called in what is written: as they are, or by pseudonyms."""

    def __init__(self, course: Path, view: ClassView, hidden: bool) -> None:
        self.view, self.hidden = view, hidden
        self.pseudonyms: Pseudonyms | None = None
        if hidden:
            called = {person.id: person.called for person in view.people.values()}
            self.pseudonyms = Pseudonyms(read_salt(course), called, words_of_the_course())
            write_names(course, self.pseudonyms)

    def key(self, student: str) -> str:
        """Return what stands for a student in a table or a file's name."""
        return self.pseudonyms.of(student) if self.pseudonyms else student

    def full(self, student: str) -> str:
        """Return how a student is called on a page."""
        person = self.view.people.get(student)
        if self.pseudonyms or person is None or person.name == student:
            return clean(self.key(student))
        return clean(f"{person.name} ({student})")

    def text(self, text: str) -> str:
        """Return a text in which nobody is named who should not be."""
        return self.pseudonyms.taken_out(text) if self.pseudonyms else text

    def list(self, students: Iterable[str]) -> list[str]:
        """Return how several are called, in the order of their names."""
        return sorted(map(self.full, students), key=str.casefold)

    def report(self, report: Report) -> Report:
        """Return a report as it can be shown. What a program prints may say anything: left out."""
        if not self.pseudonyms:
            return report
        own = {**report, "checks": [{**check, "printed": ""} for check in report["checks"]]}
        hidden = through(own, self.text)
        return {**hidden, "student": self.key(report["student"])}


def through(value: Any, change: Callable[[str], str]) -> Any:
    """Return plain values with every text changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: through(item, change) for key, item in value.items()}
    return [through(item, change) for item in value] if isinstance(value, list) else value


@cache
def words_of_the_course() -> str:
    """Return the course's own words: whoever is called Max must not turn `max` into a pseudonym."""
    files = [
        *(ROOT / "lessons").glob("[0-9][0-9]/*.py"),
        *(ROOT / "grader" / "bank").glob("*/wrong.toml"),
    ]
    files.append(ROOT / "grader" / "syllabus.toml")
    return "\n".join(file.read_text(encoding="utf-8") for file in files if file.is_file())


def class_page(course: Path, view: ClassView, names: Names) -> str:
    """Return the page."""
    isolated = " Under pseudonyms." if names.hidden else ""
    page = environment().get_template("class.html.j2")
    values = {
        "title": "What to explain again",
        "opening": opening(current(view)) if view.lessons else ["Nothing has been judged yet."],
        "notes": view.notes,
        "lessons": [lesson_values(lesson, names) for lesson in view.lessons],
        "total": len(view.people),
        "unread": [unread_sentence(each, names) for each in view.unread],
        "made": f"Made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.{isolated}",
        "apart": SHARED_APART,
        "copied": SHARED_COPIED,
    }
    return page.render(**cleaned(through(values, names.text)))


def unread_sentence(each: Any, names: Names) -> str:
    """Return why a report could not be read; under a pseudonym without the file's name."""
    if not names.hidden:
        return clean(each.sentence)
    return f"the report of {names.key(each.student)} on lesson {each.lesson} cannot be read"


def lesson_values(lesson: LessonView, names: Names) -> dict[str, Any]:
    """Return what the page says about one lesson."""
    groups = [(state, names.list(lesson.of(state))) for state in STATES]
    stopped = sorted((names.full(student), checks) for student, checks in lesson.too_long.items())
    return {
        "number": lesson.number,
        "title": lesson_title(lesson.number),
        "opening": opening(lesson),
        "finished": len(lesson.of("finished")),
        "judged": lesson.judged,
        "not_isolated": len(lesson.not_isolated),
        "checks": [
            {
                **vars(row),
                "verdicts": dict(row.verdicts),
                "passed": row.passed,
                "failed": row.failed,
            }
            for row in lesson.checks
        ],
        "mistakes": [
            {**vars(row), "who": ", ".join(names.list(row.students))} for row in lesson.mistakes
        ],
        "groups": [list(group) for group in groups if group[1]],
        "too_long": [list(pair) for pair in stopped],
        "refused": sorted([names.full(s), reason] for s, reason in lesson.refused.items()),
        "pairs": [
            {
                "first": names.full(pair.first),
                "second": names.full(pair.second),
                "percent": pair.percent,
                "same_file": pair.same_file,
                "places": list(pair.places),
            }
            for pair in lesson.alike.pairs[:MOST_PAIRS]
        ],
        "more_pairs": max(0, len(lesson.alike.pairs) - MOST_PAIRS),
        "common": names.list(lesson.alike.common),
    }


def check_table(view: ClassView, names: Names) -> Iterable[Sequence[Any]]:
    """Yield one row per lesson and check."""
    verdicts = ("passed", "failed", "not written", "blocked", "skipped")
    yield ("lesson", "step", "check", "kind", "points", "judged", *verdicts, "time up", "hidden")
    for lesson in view.lessons:
        for row in lesson.checks:
            counts = [row.verdicts.get(verdict, 0) for verdict in verdicts]
            about = (lesson.number, row.step, row.check, row.kind, row.points, lesson.judged)
            yield (*about, *counts, row.too_long, row.guarded)


def mistake_table(view: ClassView, names: Names) -> Iterable[Sequence[Any]]:
    """Yield one row per named mistake."""
    yield ("lesson", "step", "mistake", "people", "of", "says", "ask", "who")
    for lesson in view.lessons:
        for row in lesson.mistakes:
            who = " ".join(sorted(map(names.key, row.students)))
            about = (lesson.number, row.step, row.name, len(row.students), lesson.judged)
            yield (*about, row.says, row.ask, who)


def people_table(view: ClassView, names: Names) -> Iterable[Sequence[Any]]:
    """Yield one row per lesson and person."""
    scores = ("points", "of", "core", "core_of", "stretch", "stretch_of")
    yield ("student", "lesson", "state", *scores, "time up", "refused", "isolated")
    for lesson in view.lessons:
        for student, state in sorted(lesson.states.items(), key=lambda pair: names.key(pair[0])):
            report = lesson.reports.get(student)
            got = [report[key] for key in scores] if report else [""] * len(scores)
            refused = names.text(lesson.refused.get(student, ""))
            stopped = len(lesson.too_long.get(student, []))
            isolated = "" if report is None else "yes" if report["isolated"] else "NOT ISOLATED"
            yield (names.key(student), lesson.number, state, *got, stopped, refused, isolated)


def alike_table(view: ClassView, names: Names) -> Iterable[Sequence[Any]]:
    """Yield one row per pair: a list to look at, never an accusation."""
    yield ("lesson", "first", "second", "percent", "same file", "mostly in")
    for lesson in view.lessons:
        for pair in lesson.alike.pairs:
            two = (names.key(pair.first), names.key(pair.second))
            same = "yes" if pair.same_file else "no"
            yield (lesson.number, *two, pair.percent, same, " ".join(pair.places))


def write_learners(folder: Path, view: ClassView, names: Names) -> None:
    """Write a page for every report, and the index."""
    reports = [report for lesson in view.lessons for report in lesson.reports.values()]
    shown = [names.report(report) for report in reports]
    old = set(folder.glob("*/*.html"))
    for report, original in zip(shown, reports, strict=True):
        path = folder / page_path(report["lesson"], report["student"])
        write(path, page_of(report, names.full(original["student"])))
        old.discard(path)
    for path in old:  # of somebody whose report is there no more
        path.unlink()
    called = {names.key(student): names.full(student) for student in view.people}
    write(folder / "index.html", index_of(shown, called))


def write(path: Path, text: str) -> None:
    """Write a page; it can be made again, so nothing waits for the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", errors="replace", newline="")


def write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write a table; no cell of it is a formula to a spreadsheet."""
    with write_atomically(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([plain_cell(cell) for cell in row] for row in rows)


def plain_cell(cell: Any) -> Any:
    """Return a cell that a spreadsheet shows and does not run."""
    if isinstance(cell, str):
        text = clean(cell).replace("\n", " ")
        return f"'{text}" if text.startswith(FORMULA) and text != "-" else text
    return cell

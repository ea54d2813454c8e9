"""`course.toml`: what an instructor can say, when it counts, and which line is wrong."""

import datetime as dt
import re
import shutil

import pytest

from grader.instructor.course.course import read_course
from grader.instructor.course.dates import utc
from grader.syllabus import read_syllabus
from grader.tests.conftest import ROOT
from lessons.engine.errors import CourseError

PAGE = ROOT / "site" / "instructors" / "course.md"
BERLIN = 'timezone = "Europe/Berlin"\n'
LATE = '[late]\ngrace_minutes = 15\npercent = 10\nper = "started day"\nlatest_days = 7\n'


@pytest.fixture
def course(tmp_path):
    """A function from the text of a `course.toml` to the course."""

    def read(text: str):
        file = tmp_path / "course.toml"
        file.write_text(text, encoding="utf-8")
        return read_course(file)

    return read


def at(text: str) -> dt.datetime:
    """A moment in UTC."""
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def test_no_file_is_the_whole_syllabus(tmp_path):
    course = read_course(tmp_path / "course.toml")
    assert [each.lesson for each in course.lessons] == list(read_syllabus())
    for each in course.lessons:
        assert each.points == each.weight == each.lesson.points
        assert each.due is None
        assert each.late_factor(at("2090-01-01")) == 1.0
        assert each.released(at("1990-01-01"))
        assert not each.opened(at("2090-01-01"))
    assert sum(course.share(each.number) for each in course.lessons) == pytest.approx(1)


def test_the_example_of_the_page(course):
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    read = course(example)
    assert [each.number for each in read.lessons] == ["00", "02", "03"]
    first, second, third = read.lessons
    assert first.due.isoformat() == "2026-10-19T23:59:59+02:00"
    assert first.weight == 5
    assert first.late.latest_days == 7
    assert second.due_for("ada").isoformat() == "2026-11-02T23:59:59+01:00"
    assert second.due_for("grace@example.org").isoformat() == "2026-10-28T18:00:00+01:00"
    assert second.due_for("bob") == second.due
    assert second.late.percent == 10
    assert second.late.latest_days == 2
    assert second.marks(second.lesson.points) == 10
    assert not second.opened(at("2090-01-01"))
    assert not third.opened(at("2026-11-20T10:59"))
    assert third.opened(at("2026-11-20T11:00"))
    assert read.site.startswith("https://")
    assert not read.given


@pytest.mark.parametrize(
    ("submitted", "factor", "with_extension"),
    [
        ("2026-11-21T23:59:00", 1.0, 1.0),
        ("2026-11-22T00:14:00", 1.0, 1.0),  # the last second of grace
        ("2026-11-22T00:14:01", 0.9, 1.0),
        ("2026-11-22T23:59:00", 0.9, 1.0),
        ("2026-11-22T23:59:01", 0.8, 1.0),
        ("2026-11-28T23:59:00", 0.3, 0.7),
        ("2026-11-28T23:59:01", 0.0, 0.6),
    ],
)
def test_late_work(course, submitted, factor, with_extension):
    lesson = course(
        f'{BERLIN}{LATE}[[lesson]]\nnumber = "00"\ndue = 2026-11-21T23:59:00\n'
        "[lesson.extensions]\nada = 2026-11-25T23:59:00\n"
    ).lesson("0")
    moment = dt.datetime.fromisoformat(submitted)  # in the course's zone
    assert lesson.late_factor(moment) == factor
    assert lesson.late_factor(moment, "ada") == with_extension
    assert lesson.late_factor(moment.replace(tzinfo=lesson.zone).astimezone(dt.UTC)) == factor
    assert lesson.opened(at("2026-12-02T22:59:01"))  # ada's last second is over
    assert not lesson.opened(at("2026-12-02T22:59:00"))


def test_half_a_day_late_and_no_late_rule(course):
    due = f'{BERLIN}[[lesson]]\nnumber = "00"\ndue = 2026-11-21T12:00:00\n'
    half = course(f"{due}[lesson.late]\npercent = 10\nper = 'day'\nlatest_days = 2").lessons[0]
    assert half.late_factor(dt.datetime(2026, 11, 22)) == 0.95
    assert course(due).lessons[0].late_factor(dt.datetime(2026, 11, 21, 12, 0, 1)) == 0.0


def test_the_night_in_which_the_clocks_change(course):
    lesson = course(
        f'{BERLIN}{LATE}[[lesson]]\nnumber = "00"\ndue = 2026-10-24T12:00:00\n'
        '[[lesson]]\nnumber = "01"\ndue = 2026-10-25T02:30:00\n'
        '[[lesson]]\nnumber = "02"\ndue = "2026-10-25T02:30:00+02:00"\n'
    )
    # 25 hours, one day on the wall
    assert lesson.lesson("00").late_factor(at("2026-10-25T11:00")) == 0.9
    assert utc(lesson.lesson("01").due) == at("2026-10-25T01:30")  # shown twice: the later one
    assert utc(lesson.lesson("02").due) == at("2026-10-25T00:30")  # unless it is said


def test_needed_lessons_that_are_left_out_are_said(course):
    read = course('[[lesson]]\nnumber = "04"\n')
    assert read.given == ("00", "03")
    assert "lesson 04 needs lesson 03, which is left out" in read.remarks[0]
    early = course('reference = "from the start"\n' + BERLIN + "[[lesson]]\nnumber = '00'\n"
                   "due = 2026-11-21\n")  # fmt: skip
    assert "open to learners before its last hand-in" in early.remarks[0]


def test_own_order_and_own_lessons(course, tmp_path):
    order = course('[[lesson]]\nnumber = "01"\n[[lesson]]\nnumber = "00"\n')
    assert [each.number for each in order.lessons] == ["01", "00"]
    own = tmp_path / "ours"
    own.mkdir()
    with pytest.raises(CourseError, match=r"course.toml, line 1: no file .*syllabus.toml"):
        course('own = "ours"\n')
    lesson = '[[lesson]]\nnumber = "20"\nmodule = "mine"\ntitle = "Mine"\nneeds = ["00"]\n'
    step = '[[lesson.step]]\nname = "f"\nkind = "core"\npoints = 3\n'
    (own / "syllabus.toml").write_text(lesson + step)
    read = course('own = "ours"\n')
    assert read.lessons[-1].own
    assert read.lesson("20").points == 3
    assert not read.lesson("00").own
    (own / "syllabus.toml").write_text(lesson.replace("mine", "bigram") + step)
    with pytest.raises(CourseError, match=r"ours/syllabus.toml, lesson 20: 'bigram' cannot be"):
        course('own = "ours"\n')
    (own / "syllabus.toml").write_text(lesson + step + "x =\n")
    with pytest.raises(CourseError, match=r"syllabus.toml, line 10: invalid value"):
        course('own = "ours"\n')
    shutil.rmtree(own)


LESSON = '[[lesson]]\nnumber = "00"\n'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"{BERLIN}\n\n{LESSON}# due:\ndue = 2026-13-01\n", "line 7: due 2026-13-01 is no date"),
        (f"{BERLIN}{LESSON}due = '2026-13-01'\n", "line 4: due 2026-13-01 is no date"),
        (f"{BERLIN}{LESSON}due = 5\n", "line 4: due 5 is no date"),
        (f"{BERLIN}{LESSON}due = 2026-03-29T02:30:00\n", "does not exist in Europe/Berlin"),
        (f"{LESSON}due = 2026-01-01\n", "line 3: due needs a time zone"),
        ("timezone = 'Europe/Berln'\n", 'line 1: no time zone .* mean "Europe/Berlin"'),
        ("# a\nnmae = 'x'\n", 'line 2: "nmae" is nothing .* did you mean "name"'),
        (f"{LESSON}\nwieght = 2\n", 'line 4: .* did you mean "weight"'),
        ("[late]\nlate_days = 2\n", 'line 2: .* did you mean "latest_days"'),
        (f'title = """\n[[lesson]]\n"""\n{LESSON}', 'line 1: "title" is nothing'),
        ("[late]\npercent = 101\n", "line 2: percent must be a number from 0 to 100"),
        ("[late]\nper = 'week'\n", 'line 2: per is "day" or "started day"'),
        ("late = 3\n", "line 1: late must be a table"),
        ("lesson = 3\n", r"line 1: each lesson is a table .* \[\[lesson\]\]"),
        (f"{LESSON}weight = true\n", "line 3: weight must be a number"),
        ("[[lesson]]\nnumber = 5\n", "line 2: number must be a text in quotes"),
        ("\n[[lesson]]\nweight = 5\n", "line 2: a lesson needs its number"),
        (f'{LESSON}[[lesson]]\nnumber = "77"\n', "line 4: no lesson '77'; there are: 00"),
        (LESSON + LESSON, "line 4: lesson 00 stands there twice"),
        ('[[lesson]]\nnumber = "04"\n[[lesson]]\nnumber = "03"\n', "line 2: .* comes later"),
        (
            f"{BERLIN}{LESSON}release = 2026-02-01\ndue = 2026-01-01\n",
            "line 5: .* before it is rel",
        ),
        (f"{BERLIN}{LESSON}[lesson.extensions]\nada = 2026-01-01\n", "line 5: .* no due date"),
        (
            f"{BERLIN}{LESSON}due = 2026-01-02\n[lesson.extensions]\nada = 2026-01-01\n",
            "line 6: ada's extension ends before",
        ),
        ("reference = 'whenever'\n", 'line 1: reference whenever is no date .* "never"'),
        ("name = [\n1,\n", "line 2: invalid value"),
        ("name = ''\n", "line 1: name is empty"),
        ("x = 1\nx = 2\n", "line 2: cannot overwrite"),
    ],
)
def test_every_mistake_has_its_line(course, text, sentence):
    with pytest.raises(CourseError, match=sentence) as caught:
        course(text)
    assert re.match(r"course\.toml, line \d+: ", str(caught.value))
    assert "\n" not in str(caught.value)


def test_no_text(tmp_path):
    (tmp_path / "course.toml").write_bytes(b'name = "x"\n# \xff\n')
    with pytest.raises(CourseError, match=r"course\.toml, line 2: no text in UTF-8"):
        read_course(tmp_path / "course.toml")

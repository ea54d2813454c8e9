"""`python -m grader class`: what to explain again, in pages and tables, also under pseudonyms."""

import csv
import re
import stat

import pytest

from grader.__main__ import main
from grader.bank import right_variants
from grader.instructor.course.people import Person
from grader.instructor.reports.class_view import look_at
from grader.instructor.reports.class_words import current, opening
from grader.instructor.reports.pseudonyms import Pseudonyms
from grader.syllabus import find_lesson
from grader.tests.reports_made import BOTH, MISTAKE, NOTHING, OTHER, UNWRITTEN, failed, put, report
from grader.tests.test_reports import Page

ROSTER = """id,first_name,last_name,email
ada,Ada,Lovelace,ada@example.org
ben,Ben,Franklin,ben@example.org
cyd,Cyd,Charisse,cyd@example.org
dan,Dan,Max,dan@example.org
eve,Eve,O'Neil,eve@example.org
fay,Fay,Wray,fay@example.org
gus,Gus,Grissom,gus@example.org
zoe,Zoë,Zorn,zoe@example.org
"""


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """Eight people and lesson 03: one has finished, two share a mistake, two a module, one is missing."""
    course = tmp_path_factory.mktemp("course")
    (course / "roster.csv").write_text(ROSTER, encoding="utf-8")
    first, second = (variant.source for variant in right_variants(find_lesson("03"))[:2])
    slow = failed(too_long=True, symptom="still running after 20 s")
    made = {
        "ada": report("ada", source=first),
        "ben": report(
            "ben",
            source=f"{first}\n# Ben\n",
            causal_mask=failed(MISTAKE),
            attention=failed(MISTAKE),
        ),
        "cyd": report(
            "cyd", source=second, attention=failed(BOTH, printed="cyd@example.org was here")
        ),
        "dan": report("dan", **NOTHING),
        "eve": report("eve", refused="eve.zip holds no attention.py"),
        "fay": report("fay", attention=slow, isolated=False),
        "gus": report("gus", attention=failed(symptom="Gus and Ada Lovelace wrote max(x)")),
    }
    sources = {"ada": first, "ben": f"{first}\n# Ben\n", "cyd": second}
    for student, one in made.items():
        put(course, one, sources.get(student))
    return course


@pytest.fixture(scope="module")
def view(course):
    return look_at(course)


@pytest.fixture(scope="module")
def plain(course):
    assert main(["class", str(course)]) == 0
    return course / "class"


@pytest.fixture(scope="module")
def hidden(course):
    assert main(["class", str(course), "--pseudonyms"]) == 0
    return course / "class-pseudonyms"


def rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_it_opens_with_three_sentences(view, plain):
    sentences = opening(current(view))
    assert sentences == [
        "Lesson 03: 1 of 8 finished; 2 have not begun, 1 could not be taken.",
        "What to explain again: causal_mask, where 2 of 6 make the same mistake: Every query sees one "
        "place into the future.",
        f"Begin with a question: {MISTAKE['ask']}",
    ]
    text = (plain / "class.html").read_text(encoding="utf-8")
    assert all(sentence in text for sentence in sentences)


def test_the_command_says_the_same(course, capsys, tmp_path):
    assert main(["class", str(course), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.startswith("Lesson 03: 1 of 8 finished")


def test_everybody_is_somewhere(view):
    (lesson,) = view.lessons
    assert lesson.states == {
        **{"ada": "finished", "ben": "unfinished", "cyd": "unfinished", "dan": "nothing written"},
        **{"eve": "refused", "fay": "unfinished", "gus": "unfinished", "zoe": "not handed in"},
    }
    assert lesson.too_long == {"fay": ["test_attention"]}
    assert lesson.not_isolated == ["fay"]


def test_mistakes_are_counted_once_a_person_and_one_by_one(view):
    """Two at once are two; a mistake that shows in two steps is one, and stands with the first."""
    found = {row.name: (row.step, row.students) for row in view.lessons[0].mistakes}
    assert found == {
        MISTAKE["name"]: ("causal_mask", ("ben", "cyd")),
        OTHER["name"]: ("attention", ("cyd",)),
    }


def test_tables(plain):
    checks = {row["check"]: row for row in rows(plain / "checks.csv")}
    counts = [
        checks["test_attention"][key] for key in ("judged", "passed", "failed", "not written")
    ]
    assert counts == ["6", "1", "4", "1"]
    assert checks["test_attention"]["time up"] == "1"
    mistakes = rows(plain / "mistakes.csv")
    first = mistakes[0]
    assert (first["people"], first["who"], first["ask"]) == (
        "2",
        "ben cyd",
        MISTAKE["ask"],
    )
    people = {row["student"]: row for row in rows(plain / "people.csv")}
    assert people["zoe"]["state"] == "not handed in"
    assert people["fay"]["isolated"] == "NOT ISOLATED"
    (pair,) = rows(plain / "alike.csv")
    assert (pair["first"], pair["second"], pair["percent"], pair["same file"]) == (
        "ada",
        "ben",
        "100",
        "no",
    )


def test_pages_are_whole(plain):
    for path in plain.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert Page(text).faults == [], path
        assert not re.search(r"https?://|url\(|<script|<img", text), path
        for attrs in Page(text).all("a"):
            if not attrs["href"].startswith("#"):
                assert (path.parent / attrs["href"]).exists(), attrs["href"]
    text = (plain / "class.html").read_text(encoding="utf-8")
    assert "never an accusation" in text
    assert "NOT ISOLATED" in text
    assert "eve.zip holds no attention.py" in text
    assert stat.S_IMODE(plain.stat().st_mode) == 0o700


def test_pseudonyms_hide_everybody_everywhere(hidden, course):
    """No id, name or address in any file or file's name; the course's own words stay."""
    names = re.compile(
        r"\b(ada|ben|cyd|dan|eve|fay|gus|zoe)\b|lovelace|franklin|charisse|o'neil|wray|grissom|zoë|zorn|example\.org",
        re.IGNORECASE,
    )
    files = [path for path in hidden.rglob("*") if path.is_file()]
    assert len(files) == 4 + 1 + 1 + 7
    for path in files:
        text = path.read_text(encoding="utf-8").replace("&#39;", "'")
        assert not names.search(str(path.relative_to(hidden))), path
        assert not (found := names.search(text)), (path, found)
    gus = next(path for path in files if "max(x)" in path.read_text(encoding="utf-8"))
    assert "wrote max(x)" in gus.read_text(encoding="utf-8")
    mapping = {row["student"]: row["pseudonym"] for row in rows(course / "pseudonyms.csv")}
    assert mapping.keys() == {line.partition(",")[0] for line in ROSTER.splitlines()[1:]}
    assert len(set(mapping.values())) == 8
    assert (hidden / "learners" / "03" / f"{mapping['ada']}.html").is_file()
    for path in (course / "pseudonyms.csv", course / ".pseudonym-salt"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.parent != hidden


def test_pseudonyms_stay_the_same_in_one_course_and_differ_in_another(course, hidden, tmp_path):
    before = (course / "pseudonyms.csv").read_text(encoding="utf-8")
    assert main(["class", str(course), "--pseudonyms", "--out", str(tmp_path / "again")]) == 0
    assert (course / "pseudonyms.csv").read_text(encoding="utf-8") == before
    one, other = (Pseudonyms(bytes([salt] * 32), {"ada": ["Ada"]}).of("ada") for salt in (1, 2))
    assert one != other


def test_a_name_that_is_a_word_of_the_course_stays():
    people = {"max": Person("max", "Max", "Power", "max@x.org").called}
    pseudonyms = Pseudonyms(b"s" * 32, people, ordinary="take the max of a row")
    text = pseudonyms.taken_out("Max Power, max@x.org: x.max() of powers")
    name = pseudonyms.of("max")
    assert text == f"{name}, {name}: x.max() of powers"


def test_a_damaged_salt_is_a_sentence(tmp_path, capsys):
    put(tmp_path, report("ada"))
    (tmp_path / ".pseudonym-salt").write_text("zz")
    assert main(["class", str(tmp_path), "--pseudonyms"]) == 2
    assert "pseudonym-salt is damaged" in capsys.readouterr().err


def test_broken_reports_do_not_stop_the_rest(tmp_path, capsys):
    put(tmp_path, report("ada"))
    put(tmp_path, report("ben"))
    (tmp_path / "reports" / "03" / "ben.json").write_text("{")
    assert main(["class", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "Lesson 03: 1 of 2 finished; 1 wait to be graded." in told
    assert "ben.json is damaged" in told
    assert "neither" in told  # there is no roster


def test_there_must_be_something_to_look_at(tmp_path, capsys):
    assert main(["class", str(tmp_path)]) == 2
    assert "grade-all" in capsys.readouterr().err
    assert main(["class", str(tmp_path / "nowhere")]) == 2
    assert "no folder" in capsys.readouterr().err


def test_the_class_is_where_most_have_begun(tmp_path):
    """One who is ahead does not move the class; where nobody errs alike, it says so."""
    for student in ("ada", "ben", "cyd", "dan"):
        put(tmp_path, report(student, attention=UNWRITTEN))
    put(tmp_path, report("ada", lesson="04"))
    view = look_at(tmp_path)
    assert current(view).number == "03"
    assert opening(current(view))[1].startswith("No mistake is made by two people")


def test_without_a_name_the_hardest_check_is_named(tmp_path):
    for student in ("ada", "ben", "cyd"):
        put(tmp_path, report(student, attention=failed(symptom="the shape is (2, 3)")))
    sentences = opening(look_at(tmp_path).lessons[0])
    assert "attention does what it says” fails for 3 of 3" in sentences[1]
    assert "the shape is (2, 3)" in sentences[2]


def test_spreadsheets_get_no_formulas(tmp_path):
    put(tmp_path, report("ada", refused="=cmd|' /C calc'!A0"))
    assert main(["class", str(tmp_path)]) == 0
    (row,) = rows(tmp_path / "class" / "people.csv")
    assert row["refused"].startswith("'=")


def test_pages_of_people_who_have_gone_go_too(tmp_path):
    put(tmp_path, report("ada"))
    put(tmp_path, report("ben"))
    assert main(["class", str(tmp_path)]) == 0
    (tmp_path / "reports" / "03" / "ben.json").unlink()
    assert main(["class", str(tmp_path)]) == 0
    pages = {path.name for path in (tmp_path / "class" / "learners" / "03").iterdir()}
    assert pages == {"ada.html"}


def test_two_hundred_people_take_seconds(tmp_path):
    import time

    source = next(iter(right_variants(find_lesson("03")))).source
    for number in range(200):
        text = f"{source}\n# {number}\n"
        put(tmp_path, report(f"s{number:03}", source=text, attention=failed(MISTAKE)), text)
    began = time.process_time()
    assert main(["class", str(tmp_path)]) == 0
    assert time.process_time() - began < 10  # of the processor's; measured: 1.3

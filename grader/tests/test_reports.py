"""Reports: the schema, the page of a learner, JUnit, and files that are none."""

import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from jsonschema import Draft202012Validator

from grader.instructor.reports.reports import (
    SCHEMA_FILE,
    Unread,
    html_of,
    json_of,
    junit_of,
    read_report,
    read_reports,
    whats_wrong,
)
from grader.tests.reports_made import MISTAKE, NOTHING, failed, put, report
from lessons.engine.errors import CourseError

HOSTILE = "</pre><script>alert(1)</script>\x1b[31m\x00\x07 \u202eevil & <b>"
VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """Notes the elements of a page, and whether they are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.seen, self.faults = [], [], []
        self.feed(text)
        self.faults += [f"{tag} is not closed" for tag in self.open]

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID and (not self.open or self.open.pop() != tag):
            self.faults.append(f"</{tag}> in the wrong place")

    def all(self, tag):
        return [attrs for name, attrs in self.seen if name == tag]


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_the_schema_takes_reports_and_nothing_else(validator):
    made = report(attention=failed(MISTAKE, guard="guard_x"))
    assert validator.is_valid(made)
    assert whats_wrong(made) == ""
    for key in ("points", "checks", "submission", "isolated"):
        broken = {name: value for name, value in made.items() if name != key}
        assert not validator.is_valid(broken)
        assert whats_wrong(broken)
    broken = json.loads(json.dumps(made))
    broken["checks"][1]["verdict"] = "almost"
    assert not validator.is_valid(broken)
    assert "verdict" in whats_wrong(broken)


def test_what_the_supervisor_writes_is_valid(validator):
    """The supervisor's own form, without a run: one check refused, one judged."""
    from grader.instructor.exam import Exam
    from grader.instructor.supervisor import about, refused, report_of
    from grader.instructor.taking import Taken
    from grader.syllabus import find_lesson

    exam = Exam(find_lesson("03"), 1)
    results = [refused(one, "not run") for one in exam.checks]
    taken = about(Taken(b"x", "attention.py", "0" * 64))
    made = report_of(exam, "ada", results, taken, True, 0.1)
    assert [error.message for error in validator.iter_errors(made)] == []
    assert json.loads(json_of(made)) == made


def test_a_page_says_what_passed_and_what_leads_further():
    text = html_of(report(attention=failed(MISTAKE, where="attention.py:57")), "Ada Lovelace")
    page = Page(text)
    assert page.faults == []
    assert "3 of 6 points" in text
    assert "core 2 of 5" in text
    for words in (*MISTAKE.values(), "attention.py:57", "yours 1, right 0"):
        assert words in text or words == MISTAKE["name"]
    assert page.all("html") == [{"lang": "en"}]
    for landmark in ("header", "main", "footer", "h1"):
        assert len(page.all(landmark)) == 1, landmark
    ids = [attrs["id"] for _, attrs in page.seen if "id" in attrs]
    assert len(ids) == len(set(ids))
    for attrs in page.all("a"):
        assert attrs["href"].removeprefix("#") in ids
    assert [int(tag[1]) for tag, _ in page.seen if re.fullmatch(r"h\d", tag)] == [
        1,
        2,
        2,
        3,
        2,
        3,
        2,
        3,
    ]
    assert "NOT ISOLATED" not in text


def test_a_page_asks_nothing_of_the_network():
    text = html_of(report())
    assert not re.search(r"https?:|//|url\(|@import|<script|<link|<img", text)


def test_a_page_is_readable_in_light_and_dark():
    """Every text colour has a contrast of at least 4.5 with its ground (WCAG 2.1, 1.4.3)."""
    text = html_of(report())
    for block in re.findall(r":root \{(.*?)\}", text, re.DOTALL):
        colours = dict(re.findall(r"--(\w+): (#\w+);", block))
        grounds = [colours["paper"], colours["card"]]
        pairs = [(colours[c], g) for c in ("ink", "soft", "good", "bad", "link") for g in grounds]
        pairs.append((colours["warnink"], colours["warn"]))
        for ink, ground in pairs:
            assert contrast(ink, ground) >= 4.5, (ink, ground)
    assert text.count(":root {") == 2


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(share * p for share, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_what_a_submission_says_stays_text():
    wrong = failed({**MISTAKE, "says": HOSTILE}, printed=HOSTILE, symptom=HOSTILE, details=HOSTILE)
    made = report(HOSTILE, attention={**wrong, "ask": HOSTILE, "where": HOSTILE, "gain": HOSTILE})
    made["submission"]["file"] = HOSTILE
    text = html_of(made)
    assert "<script" not in text
    assert not any(c in text for c in "\x1b\x00\x07\u202e")
    assert Page(text).faults == []


def test_it_says_loudly_what_is_not_isolated_or_not_taken():
    assert "NOT ISOLATED" in html_of(report(isolated=False))
    text = html_of(report(refused="attention.py is a symbolic link; hand in the file itself"))
    assert "symbolic link" in text
    assert "Step by step" not in text


def test_hidden_checks_are_not_named_to_learners():
    text = html_of(report(attention=failed(guard="guard_sizes_nobody_has_seen")))
    assert "guard_sizes" not in text
    assert "not handed out" in text


def test_junit_has_a_case_for_each_check():
    made = report(attention=failed(MISTAKE, printed="x"), window={"verdict": "skipped"})
    suites = ElementTree.fromstring(junit_of([made, report("bob", isolated=False)]))
    suite = suites[0]
    assert (
        suite.attrib | {"tests": "3", "failures": "1", "errors": "0", "skipped": "1"}
        == suite.attrib
    )
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == [
        "test_causal_mask",
        "test_attention",
        "test_window",
    ]
    assert cases[0].find("failure") is None
    failure = cases[1].find("failure")
    assert failure.get("message") == "not right yet"
    assert MISTAKE["says"] in failure.text
    assert cases[2].find("skipped") is not None
    assert "NOT ISOLATED" in suites[1].findtext("system-out")


def test_junit_holds_nothing_that_xml_may_not():
    made = report(HOSTILE, attention=failed(printed=HOSTILE, symptom=HOSTILE, details=HOSTILE))
    text = junit_of(made)
    ElementTree.fromstring(text)
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f]", text)


def test_files_that_are_no_reports_are_a_sentence_each(tmp_path):
    put(tmp_path, report("ada"))
    folder = tmp_path / "reports" / "03"
    (folder / ".run.json").write_text("{}")
    (folder / "cut.json").write_text('{"schema": 1')
    (folder / "old.json").write_text('{"schema": 0}')
    (folder / "list.json").write_text("[]")
    (folder / "bytes.json").write_bytes(b"\xff\xfe")
    (folder / "half.json").write_text(json.dumps({**report("half"), "checks": None}))
    (folder / "moved.json").write_text(json.dumps(report("moved", lesson="04")))
    read = list(read_reports(tmp_path))
    assert [r["student"] for r in read if not isinstance(r, Unread)] == ["ada"]
    sentences = {r.student: r.sentence for r in read if isinstance(r, Unread)}
    assert sentences.keys() == {"cut", "old", "list", "bytes", "half", "moved"}
    assert "another version" in sentences["old"]
    assert "checks" in sentences["half"]
    assert "wrong folder" in sentences["moved"]
    with pytest.raises(CourseError, match="damaged"):
        read_report(folder / "cut.json")


def test_untouched_work_says_so():
    assert "Nothing is written yet" in html_of(report(**NOTHING))

"""The site's sources: complete, whole, small, and asking nothing of other hosts.

What needs a browser is in test_site_browser.py, the generated text in test_pages.py, commands and
code in test_promises.py.
"""

import gzip
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from grader.syllabus import read_syllabus
from grader.tests.built_site import FIGURES, READMES, SITE, build, figures, sources
from grader.tests.conftest import ROOT

SCRIPT = 20_000  # bytes of a script of ours, compressed
LINK = re.compile(r"(?<!\\)\[[^\]\n]*(?:\n[^\]\n]*)?\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
SECTIONS = (
    *("Why", "The idea", "By hand", "The mathematics", "The code, shape by shape", "Touch it"),
    *("See your own code", "Common mistakes", "Quiz", "Further reading", "If you are stuck"),
)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The site with stand-ins for figures: a strict build, which names broken links and anchors."""
    return build(tmp_path_factory.mktemp("site"), real=False)


def nav() -> list[tuple[str, str]]:
    """Return titles and pages of mkdocs.yml, in order."""

    def flat(entries):
        for entry in entries:
            for title, content in entry.items():
                if isinstance(content, str):
                    yield title, content
                else:
                    yield from flat(content)

    return list(flat(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))


def test_every_lesson_has_its_page_and_its_reference_in_the_navigation():
    titles = {page: title for title, page in nav()}
    for lesson in read_syllabus():
        assert titles[f"lessons/{lesson.number}.md"] == f"{lesson.number} {lesson.title}"
        assert titles[f"reference/{lesson.module}.md"] == lesson.module
    pages = {page.relative_to(SITE).as_posix() for page in sources()}
    assert pages == set(titles)


@pytest.mark.parametrize("lesson", read_syllabus(), ids=lambda lesson: lesson.number)
def test_a_lessons_page_has_every_part_in_order(lesson):
    text = (SITE / "lessons" / f"{lesson.number}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# Lesson {lesson.number}: ")
    found = [title for title in re.findall(r"^## ([^{\n]*?)\s*(?:\{.*)?$", text, re.MULTILINE)]
    kept = [title for title in found if title in SECTIONS]
    assert kept == list(SECTIONS)
    assert f"<!-- generated: mistakes {lesson.number} -->" in text
    assert 'data-widget="' in text
    for name in FIGURES[lesson.number].split():
        assert f"../figures/{lesson.number}/{name}.png" in text, name
    assert '<div class="quiz" markdown' in text
    assert "- [x] " in text


def test_pictures_have_words_for_those_who_do_not_see_them():
    for page in sources():
        text = page.read_text(encoding="utf-8")
        for words, target in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", text):
            assert len(words) > 15, f"{page.name}: {target}"
    for drawing in (SITE / "diagrams").glob("*.svg"):
        text = drawing.read_text(encoding="utf-8")
        assert 'role="img"' in text, drawing.name
        assert "<title" in text, drawing.name
        assert "<desc" in text, drawing.name


def test_every_drawing_is_used_and_its_ids_are_its_own():
    used = "".join(page.read_text(encoding="utf-8") for page in sources())
    seen: dict[str, str] = {}
    for drawing in sorted((SITE / "diagrams").glob("*.svg")):
        assert f"diagrams/{drawing.name}" in used, f"{drawing.name} stands on no page"
        for name in re.findall(r'\bid="([^"]+)"', drawing.read_text(encoding="utf-8")):
            assert name not in seen, f"{drawing.name} and {seen[name]} both have the id {name}"
            seen[name] = drawing.name


def test_the_drawings_that_a_course_on_transformers_must_have_are_there():
    wanted = ("model-shapes", "parameters", "training-cycle", "loss", "initialisation")
    assert all((SITE / "diagrams" / f"{name}.svg").is_file() for name in wanted)


class Parts(HTMLParser):
    """Collects what a page links to and loads, and its anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []  # tag, address
        self.anchors: set[str] = set()

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        for name in ("href", "src"):
            if found.get(name):
                self.links.append((tag, found[name]))
        for name in ("id", "name"):
            if found.get(name):
                self.anchors.add(found[name])


def read(page: Path) -> Parts:
    parts = Parts()
    parts.feed(page.read_text(encoding="utf-8"))
    return parts


def test_every_link_of_the_built_site_leads_somewhere_and_nothing_is_loaded_from_elsewhere(built):
    pages = {page: read(page) for page in built.rglob("*.html")}
    for page, parts in pages.items():
        if page.name == "404.html":  # has absolute addresses, since nobody knows where it is shown
            continue
        for tag, address in parts.links:
            if re.match(r"[a-z]+:|//", address):
                assert tag == "a" or address.startswith("data:"), f"{page.name} loads {address}"
                continue
            path, _, anchor = address.partition("#")
            target = (page.parent / path).resolve() if path else page
            if target.is_dir():
                target = target / "index.html"
            assert target.is_file(), f"{page.relative_to(built)}: {address}"
            if anchor and target in pages and not anchor.startswith("__"):
                known = pages[target].anchors
                assert anchor in known, f"{page.relative_to(built)}: no anchor {address}"


def test_links_of_readmes_lead_somewhere():
    for readme in READMES:
        for address in LINK.findall(readme.read_text(encoding="utf-8")):
            if not re.match(r"[a-z]+:|#", address):
                target = readme.parent / address.partition("#")[0]
                assert target.exists() or target in figures(), f"{readme}: {address}"


def ours() -> list[Path]:
    """Return the scripts that are our own."""
    scripts = [*(SITE / "widgets").glob("*.js"), *(SITE / "assets").glob("*.js")]
    return sorted(scripts)


@pytest.mark.parametrize("script", ours(), ids=lambda script: script.name)
def test_a_script_is_small_classic_and_keeps_to_this_site(script):
    text = script.read_text(encoding="utf-8")
    assert len(gzip.compress(text.encode())) < SCRIPT
    assert '"use strict";' in text
    assert not re.search(r"^\s*(import|export)\b|\bfetch\(|XMLHttpRequest|\beval\(", text, re.M)
    addresses = set(re.findall(r"https?://[^\s\"'`)]+", text)) - {"http://www.w3.org/2000/svg"}
    assert not addresses


def test_style_sheets_load_nothing_from_elsewhere():
    for sheet in (SITE / "assets" / "style.css", SITE / "widgets" / "widgets.css"):
        assert not re.search(r"url\(|@import", sheet.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "folder",
    [SITE / "assets" / "katex", SITE / "assets" / "iframe-worker", ROOT / "grader/tests/axe"],
    ids=lambda folder: folder.name,
)
def test_files_of_others_are_the_ones_that_their_readme_names(folder):
    text = (folder / "README.txt").read_text(encoding="utf-8")
    named = dict(reversed(row.split()) for row in re.findall(r"^[0-9a-f]{64} .*$", text, re.M))
    for name, hash_ in named.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == hash_, name
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert there - set(named) <= {"README.txt", "LICENSE-3RD-PARTY.txt"}
    assert "LICENSE" in there


def test_the_glossary_is_in_order_and_each_word_has_its_lesson():
    text = (SITE / "glossary.md").read_text(encoding="utf-8")
    words = re.findall(r'^<span id="[\w-]+">([^<]+)</span>\n:   (.*(?:\n    .*)*)', text, re.M)
    assert len(words) > 70
    names = [word for word, _ in words]
    assert names == sorted(names, key=str.lower)
    for word, meaning in words:
        assert re.search(r"\[Lesson\s+\d\d\]\(lessons/\d\d\.md\)$", meaning), word

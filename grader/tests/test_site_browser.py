"""The built site in a real browser, from a folder and from a server, as a reader meets it.

Every page, light and dark, on a desktop and on a phone: nothing is asked of other hosts, the console
is quiet, axe-core finds nothing serious, nothing is wider than the window, formulas are set, widgets
begin. Then search, the quiz, the keyboard, and what happens without KaTeX or scripts.

A site that was built before can be named in COURSE_SITE; else it is built as `make site` does, with the
figures and the data that are there.
"""

import functools
import http.server
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grader.tests.browser import (
    DESKTOP,
    PHONE,
    asked_for,
    browser,
    complaints,
    needs_browser,
    picture,
)
from grader.tests.built_site import SITE, build, figures

pytestmark = [pytest.mark.slow, needs_browser]

AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text(encoding="utf-8")
# The theme folds its menus away; what is hidden is looked at where it is opened.
RUN_AXE = """
const done = arguments[arguments.length - 1];
axe.run(document, {preload: false, resultTypes: ["violations"]}).then((found) => done(
  found.violations
    .filter((one) => ["serious", "critical"].includes(one.impact))
    .map((one) => `${one.id}: ${one.nodes.slice(0, 3).map((node) => node.target.join(" ")).join(", ")}`
      + ` (${one.nodes[0].failureSummary.split("\\n")[1].trim()})`)));
"""
SHAPES = [(DESKTOP, False), (DESKTOP, True), (PHONE, False), (PHONE, True)]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built site with what `make site` makes beforehand."""
    if named := os.environ.get("COURSE_SITE"):
        return Path(named).resolve()
    missing = [figure for figure in figures() if not figure.is_file()]
    data = SITE / "widgets" / "data"
    assert not missing and data.is_dir(), "figures or widget data are missing: make site"
    return build(tmp_path_factory.mktemp("site"), real=True)


@pytest.fixture(scope="module")
def pages(site) -> list[str]:
    names = sorted(p.relative_to(site).as_posix() for p in site.rglob("*.html"))
    return [name for name in names if name != "404.html"]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def served(site) -> Iterator[str]:
    """The address of the site on a server of this machine."""
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def settle(driver: Any) -> None:
    """Bring every widget near the window, and wait until all have begun and formulas are set."""
    driver.execute_script("""
      for (const place of document.querySelectorAll(".widget[data-widget]")) place.scrollIntoView();
      scrollTo(0, 0);
    """)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        waiting = driver.execute_script("""
          const places = [...document.querySelectorAll(".widget[data-widget]")];
          places.find((place) => !place.dataset.ready)?.scrollIntoView();
          const math = document.querySelector(".arithmatex");
          return places.filter((place) => !place.dataset.ready).map((place) => place.dataset.widget)
            .concat(math && document.documentElement.dataset.math !== "done" ? ["formulas"] : []);
        """)
        if not waiting:
            break
        time.sleep(0.05)
    else:
        raise AssertionError(f"not ready after 60 s: {waiting}")
    driver.execute_script("scrollTo(0, 0)")
    time.sleep(0.2)


def elsewhere(addresses: list[str], home: str) -> list[str]:
    """Return the addresses that are not of the site itself."""
    return [a for a in addresses if not a.startswith((home, "data:", "blob:", "about:", "chrome"))]


def faults(driver: Any, home: str, page: str) -> list[str]:
    """Open a page and return what is wrong with it."""
    asked_for(driver), complaints(driver)
    driver.get(home + page)
    settle(driver)
    found = [f"asks {address}" for address in elsewhere(asked_for(driver), home)]
    found += [f"console: {text}" for text in complaints(driver)]
    found += driver.execute_script("""
      const wrong = [];
      const root = document.documentElement;
      if (root.scrollWidth > root.clientWidth) wrong.push(`${root.scrollWidth} pixels wide`);
      for (const place of document.querySelectorAll(".widget[data-widget]"))
        if (place.dataset.ready !== "yes") wrong.push(`the widget ${place.dataset.widget} failed`);
      for (const place of document.querySelectorAll(".quiz"))
        if (place.dataset.ready !== "yes") wrong.push("a quiz without buttons");
      for (const place of document.querySelectorAll(".arithmatex"))
        if (!place.querySelector(".katex")) wrong.push(`a formula is not set: ${place.textContent}`);
      for (const place of document.querySelectorAll(".katex-error")) wrong.push(place.textContent);
      for (const image of document.querySelectorAll("img"))
        if (image.complete && !image.naturalWidth) wrong.push(`no picture ${image.src}`);
      return wrong;
    """)
    driver.execute_script(AXE)
    return found + driver.execute_async_script(RUN_AXE)


@pytest.mark.parametrize(("size", "dark"), SHAPES, ids=["light", "dark", "phone", "phone-dark"])
def test_every_page_from_a_folder(site, pages, size, dark):
    home = site.as_uri() + "/"
    wrong: dict[str, list[str]] = {}
    with browser(size, dark=dark) as driver:
        driver.set_script_timeout(120)
        for page in pages:
            if found := faults(driver, home, page):
                wrong[page] = found
            name = page.removesuffix(".html").replace("/", "-")
            picture(driver, f"{name}-{size[0]}-{'dark' if dark else 'light'}")
    assert not wrong, json.dumps(wrong, indent=1)


def test_every_page_from_a_server_asks_no_other_host(served, pages):
    wrong: dict[str, list[str]] = {}
    with browser() as driver:
        for page in pages:
            asked_for(driver), complaints(driver)
            driver.get(served + page)
            settle(driver)
            found = elsewhere(asked_for(driver), served) + complaints(driver)
            if found:
                wrong[page] = found
    assert not wrong, json.dumps(wrong, indent=1)


@pytest.mark.parametrize("how", ["folder", "server"])
def test_search_finds_and_leads_there(site, served, how):
    home = served if how == "server" else site.as_uri() + "/"
    with browser() as driver:
        driver.get(home + "index.html")
        field = driver.find_element("css selector", ".md-search__input")
        driver.execute_script("document.querySelector('#__search').click()")
        field.send_keys("temperature")
        link = wait(lambda: driver.find_elements("css selector", ".md-search-result__link"))[0]
        assert (
            "temperature" in driver.find_element("css selector", ".md-search-result").text.lower()
        )
        address = link.get_attribute("href")
        assert address.startswith(home)
        driver.get(address)
        assert "temperature" in driver.find_element("tag name", "article").text.lower()
        assert not elsewhere(asked_for(driver), home)


def wait(condition, seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def test_a_quiz_answers_to_the_keyboard_and_says_why(site):
    with browser() as driver:
        driver.get((site / "lessons" / "03.html").as_uri())
        quiz = wait(lambda: driver.find_elements("css selector", ".quiz[data-ready=yes]"))[0]
        buttons = quiz.find_elements("css selector", ".quiz-answer")
        assert len(buttons) > 1
        verdicts = []
        for button in buttons:
            driver.execute_script("arguments[0].focus()", button)
            driver.switch_to.active_element.send_keys("\n")
            shown = button.find_element("xpath", "following-sibling::div")
            assert shown.get_attribute("aria-live") == "polite"
            verdict, *why = shown.text.strip().split("\n")
            assert why, "an answer without a reason"
            right = button.get_attribute("data-right") == "yes"
            assert verdict == ("✓ Right." if right else "✗ Not this one.")
            verdicts.append(right)
        assert verdicts.count(True) >= 1
        assert not all(verdicts)


@pytest.mark.parametrize("page", ["index.html", "lessons/03.html", "lessons/08.html"])
def test_the_keyboard_reaches_everything_and_is_caught_nowhere(site, page):
    with browser() as driver:
        driver.get((site / page).as_uri())
        settle(driver)
        reachable = driver.execute_script("""
          const all = [...document.querySelectorAll(
            "a[href], button, input, select, textarea, summary, [tabindex='0']")];
          const seen = all.filter((one) => one.checkVisibility({checkVisibilityCSS: true})
            && !one.disabled && one.tabIndex >= 0 && !one.closest(".md-search__form")
            && one.closest("article"));
          seen.forEach((one, number) => { one.dataset.stop = number; });
          const start = document.createElement("span");  // Tab goes on from where it stands
          start.tabIndex = -1;
          document.body.prepend(start);
          start.focus();
          return seen.length;
        """)
        reached, last = set(), None
        for _ in range(reachable * 2 + 150):
            press(driver, "Tab", 9)
            stop, tag = driver.execute_script(
                "const e = document.activeElement; return [e.dataset.stop, e.tagName]"
            )
            if stop is not None:
                reached.add(int(stop))
            if last not in (None, "BODY") and tag == "BODY":
                break
            last = tag
        left_out = driver.execute_script(
            "return [...document.querySelectorAll('[data-stop]')]"
            ".filter((e) => !arguments[0].includes(Number(e.dataset.stop)))"
            ".filter((e) => e.type !== 'radio')"  # one of a group of radios is a stop
            ".map((e) => e.outerHTML.slice(0, 120))",
            sorted(reached),
        )
        assert not left_out


def press(driver: Any, key: str, code: int) -> None:
    """Press a key as a keyboard does: the browser itself decides what becomes of it."""
    for kind in ("keyDown", "keyUp"):
        driver.execute_cdp_cmd(
            "Input.dispatchKeyEvent",
            {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code},
        )


def test_what_has_the_focus_is_seen(site):
    with browser() as driver:
        driver.get((site / "lessons" / "03.html").as_uri())
        settle(driver)
        for _ in range(40):
            press(driver, "Tab", 9)
            unseen = driver.execute_script("""
              const one = document.activeElement;
              if (one === document.body || one.type === "checkbox" || one.type === "radio") return null;
              const style = getComputedStyle(one);
              const seen = parseFloat(style.outlineWidth) > 0 && style.outlineStyle !== "none";
              return seen ? null : one.outerHTML.slice(0, 120);
            """)
            assert unseen is None


def test_without_katex_the_formulas_can_still_be_read(served):
    with browser() as driver:
        driver.execute_cdp_cmd("Network.enable", {})
        driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*katex.min.js*"]})
        driver.get(served + "lessons/03.html")
        wait(lambda: driver.execute_script("return document.documentElement.dataset.math"))
        texts = driver.execute_script(
            "return [...document.querySelectorAll('.arithmatex')].map((one) => one.textContent)"
        )
        assert texts
        assert all(text.strip() and not text.startswith(("\\(", "\\[")) for text in texts)


def test_without_scripts_there_is_a_page_to_read(site):
    with browser() as driver:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        driver.get((site / "lessons" / "03.html").as_uri())
        # what a screen reader is told; asking the page itself would need scripts
        nodes = driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        told = [node["name"]["value"] for node in nodes if node.get("name", {}).get("value")]
        titles = [n["name"]["value"] for n in nodes if n.get("role", {}).get("value") == "heading"]
        for title in ("Why", "The idea", "By hand", "Quiz", "Further reading"):
            assert any(found.startswith(title) for found in titles), titles
        source = (SITE / "lessons" / "03.md").read_text(encoding="utf-8")
        inside = source.partition('data-widget="attention"')[2].partition(">")[2]
        words = inside.partition("<")[0].split()[:4]
        assert words
        assert any(" ".join(words) in " ".join(text.split()) for text in told)


def test_with_less_motion_nothing_moves(site):
    with browser() as driver:
        wish = {"name": "prefers-reduced-motion", "value": "reduce"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [wish]})
        driver.get((site / "lessons" / "09.html").as_uri())
        settle(driver)
        moving = driver.execute_script(
            "return document.getAnimations().filter((one) => one.playState === 'running'"
            " && one.effect.getComputedTiming().duration > 1).length"
        )
        assert moving == 0

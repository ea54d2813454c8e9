"""The windows of lesson 06's page: what it shows is what `solutions.data` computes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from solutions.data import pack, windows

from .browser import DESKTOP, PHONE, browser, complaints, needs_browser, picture

WIDGETS = Path(__file__).parents[2] / "site" / "widgets"
STORIES = ("The old fox slept .", "A dog ran home .", "Mia found the old ball .")


def page(folder: Path) -> str:
    """Write a page that holds the widget alone, and return its address."""
    file = folder / "windows.html"
    file.write_text(
        "<!doctype html><html lang=en><meta charset=utf-8><title>windows</title>"
        '<meta name=viewport content="width=device-width">'
        f'<link rel=stylesheet href="{(WIDGETS / "widgets.css").as_uri()}">'
        "<style>html { font-size: 125% } body { font: 0.8rem sans-serif }</style>"
        "<body><div class=widget data-widget=windows></div>"
        f'<script src="{(WIDGETS / "course.js").as_uri()}"></script>',
        encoding="utf-8",
    )
    return file.as_uri()


def opened(driver: Any, folder: Path) -> Any:
    """Open the page, wait for the widget, and return its row of tokens."""
    from selenium.webdriver.support.ui import WebDriverWait

    driver.get(page(folder))
    WebDriverWait(driver, 10).until(
        lambda page: page.find_elements("css selector", ".widget[data-ready=yes]")
    )
    return driver.find_element("css selector", ".window-row")


SHOWN = """
const row = document.querySelector(".window-row").dataset;
const ids = (name) => row[name].split(" ").filter(Boolean).map(Number);
return {ids: ids("ids"), x: ids("x"), y: ids("y"), start: Number(row.start), allowed: Number(row.allowed),
  crossings: Number(row.crossings), said: document.querySelector(".window-said").textContent,
  lines: document.querySelectorAll("tbody tr").length}"""
SLIDE = """
const label = [...document.querySelectorAll("label")].find((one) => one.textContent === arguments[0]);
const input = document.getElementById(label.htmlFor);
input.value = arguments[1];
input.dispatchEvent(new Event("input", {bubbles: true}));"""


def slide(driver: Any, label: str, value: int) -> dict[str, Any]:
    """Move the slider with this label to a value, as a hand would, and return what is shown."""
    return driver.execute_script(SLIDE + SHOWN, label, value)


@pytest.mark.slow
@needs_browser
def test_every_window_is_the_librarys(tmp_path: Path) -> None:
    """For every start and several sizes: x, y and refusals are those of `windows`."""
    with browser(DESKTOP) as driver:
        opened(driver, tmp_path)
        ids = slide(driver, "start", 0)["ids"]
        words = [story.split() for story in STORIES]
        names = ["<end>", *dict.fromkeys(word for story in words for word in story)]
        assert ids == pack([[names.index(word) for word in story] for story in words], 0)
        document_of = np.cumsum([0, *(np.array(ids[:-1]) == 0)])
        for block in (1, 4, 7, 10, len(ids) - 1):
            slide(driver, "block size", block)
            allowed = 0
            for start in range(len(ids)):
                shown = slide(driver, "start", start)
                try:
                    (x,), (y,) = (part.tolist() for part in windows(np.array(ids), [start], block))
                    allowed += 1
                    span = document_of[start : start + block + 1]
                    assert shown["crossings"] == span[-1] - span[0]
                except ValueError:
                    x, y = [], []
                    assert f"Start {start} is refused" in shown["said"]
                assert (shown["x"], shown["y"], shown["lines"]) == (x, y, len(x)), (start, block)
            assert shown["allowed"] == allowed
        assert not complaints(driver)
        slide(driver, "start", 3)
        slide(driver, "block size", 4)
        picture(driver, "windows-desktop")


@pytest.mark.slow
@needs_browser
def test_keys_clicks_and_draws(tmp_path: Path) -> None:
    """Arrow keys move the window, a token begins it, and drawn starts are allowed ones."""
    from selenium.webdriver.common.keys import Keys

    with browser(PHONE, dark=True) as driver:
        row = opened(driver, tmp_path)
        start = driver.find_element("css selector", "input[type=range]")
        before = int(row.get_attribute("data-start"))
        start.send_keys(Keys.ARROW_RIGHT)
        assert int(row.get_attribute("data-start")) == before + 1
        row.find_elements("tag name", "li")[7].click()
        assert row.get_attribute("data-start") == "7" == start.get_attribute("value")
        cells = driver.find_elements("css selector", "tbody tr:first-of-type td")
        assert [cell.text for cell in cells][:2] == ["dog", "ran"]
        slide(driver, "block size", 10)
        press = driver.find_element("css selector", ".widget-button")
        press.click()
        drawn = driver.execute_script(
            "return Array.from({length: 80}, () => (arguments[0].click(), Number(arguments[1].dataset.start)))",
            press,
            row,
        )
        allowed = int(row.get_attribute("data-allowed"))
        # one of 9 starts is missed in 80 fair draws once in 1,400 times, two once in millions
        assert set(drawn) <= set(range(allowed)) and len(set(drawn)) >= allowed - 1
        assert driver.execute_script("return document.documentElement.scrollWidth") <= PHONE[0]
        driver.execute_script("document.body.dataset.mdColorScheme = 'slate'")
        picture(driver, "windows-phone")
        assert not complaints(driver)

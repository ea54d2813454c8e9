"""A page that holds one widget and its data, without the site around it, for tests in a browser."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WIDGETS = Path(__file__).parents[2] / "site" / "widgets"

# Material's variables, so far as widgets use them, in its two schemes.
_COLOURS = """
:root { --md-default-bg-color: #fff; --md-default-fg-color: #000000de; --md-primary-fg-color: #4051b5;
  --md-default-fg-color--light: #0000008a; --md-default-fg-color--lighter: #00000052;
  --md-accent-fg-color: #526cfe; --md-typeset-a-color: #4051b5; }
[data-md-color-scheme=slate] { --md-default-bg-color: #1e2129; --md-default-fg-color: #e2e4e9d1;
  --md-default-fg-color--light: #e2e4e98f; --md-default-fg-color--lighter: #e2e4e952;
  --md-typeset-a-color: #5e8bde; }
html { font-size: 20px; } body { margin: 0.5rem; font: 0.8rem/1.6 sans-serif;
  background: var(--md-default-bg-color); color: var(--md-default-fg-color); }
"""


def widget_page(
    folder: Path, widget: str, data: dict[str, object], *, dark: bool = False, **options: str
) -> str:
    """Write a page with one place for `widget`, and return its address.

    data: what `course.data` finds, by file. options: the data-* attributes of the place, with
    underscores for hyphens.
    """
    from solutions.explore.for_widgets import delivery

    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(WIDGETS, folder / "widgets", ignore=shutil.ignore_patterns("data"))
    (folder / "widgets" / "data").mkdir()
    for file, value in data.items():
        (folder / "widgets" / "data" / f"{file}.js").write_bytes(delivery(file, value))
    attributes = "".join(f' data-{k.replace("_", "-")}="{v}"' for k, v in options.items())
    page = folder / "page.html"
    page.write_text(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{widget}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_COLOURS}</style>'
        '<link rel="stylesheet" href="widgets/widgets.css"></head>'
        f'<body data-md-color-scheme="{"slate" if dark else "default"}">'
        f'<div class="widget" data-widget="{widget}"{attributes}>Without scripts.</div>'
        '<script src="widgets/course.js"></script></body></html>',
        encoding="utf-8",
    )
    return page.as_uri()


def shared_page(widget: str, data: str | None = None, **options: str) -> Any:
    """Return a fixture: the address of one page with `widget`, which all tests of a module open.

    data: the name of the fixture that makes the widget's data; None where it needs none.
    options: as for `widget_page`.
    """

    @pytest.fixture(scope="module")
    def address(request, tmp_path_factory):
        value = request.getfixturevalue(data) if data else {}
        return widget_page(tmp_path_factory.mktemp(widget), widget, value, **options)

    return address


def open_widget(driver: Any, address: str) -> Any:
    """Open the page, wait until its widget is ready, and return the widget's place."""
    driver.get(address)
    place = driver.find_element("css selector", ".widget")
    wait_for(lambda: place.get_attribute("data-ready"))
    assert place.get_attribute("data-ready") == "yes", place.text
    return place


def wait_for(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait until `condition()` is true, and return what it gave."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def control(place: Any, label: str) -> Any:
    """Return the input, choice or field whose label is `label`."""
    for found in place.find_elements("css selector", "label"):
        if found.get_property("textContent").strip() == label:
            return place.find_element("id", found.get_attribute("for"))
    raise AssertionError(f"no control {label!r}")


def button(place: Any, text: str) -> Any:
    """Return the button that says `text`."""
    for found in place.find_elements("css selector", "button"):
        if found.get_property("textContent").strip() == text:
            return found
    raise AssertionError(f"no button {text!r}")


def put(driver: Any, element: Any, value: object) -> None:
    """Give a slider, choice or field a value at once, as when a person lets go of it."""
    driver.execute_script(
        "arguments[0].value = arguments[1];"
        "arguments[0].dispatchEvent(new Event('input', {bubbles: true}));"
        "arguments[0].dispatchEvent(new Event('change', {bubbles: true}));",
        element,
        value if isinstance(value, str) else str(value),
    )


def too_wide(driver: Any) -> bool:
    """Say whether the page must be scrolled sideways."""
    return driver.execute_script(
        "return document.documentElement.scrollWidth > document.documentElement.clientWidth"
    )

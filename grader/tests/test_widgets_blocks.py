"""The widgets of lessons 00 and 04 show what torch computes; driven in headless Chromium."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from .browser import DESKTOP, PHONE, asked_for, browser, complaints, needs_browser, picture

WIDGETS = Path(__file__).parents[2] / "site" / "widgets"
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{name}</title>
<meta name="viewport" content="width=device-width">
<style>:root {{ --md-default-fg-color: #000000de; --md-default-bg-color: #fff; --md-primary-fg-color: #4051b5;
--md-typeset-a-color: #4051b5 }} html {{ font-size: 125% }} body {{ font: 16px sans-serif; margin: 16px }}</style>
<link rel="stylesheet" href="{home}/widgets.css"></head>
<body><div class="widget" data-widget="{name}">what stands there without scripts</div>
<script src="{home}/course.js"></script></body></html>
"""

pytestmark = [pytest.mark.slow, needs_browser]


@pytest.fixture(scope="module", params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def driver(request):
    with browser(request.param) as driver:
        yield driver


def opened(driver: Any, folder: Path, name: str) -> Any:
    """Open a page that holds one widget; return its place once it has begun."""
    from selenium.webdriver.support.ui import WebDriverWait

    page = folder / f"{name}.html"
    page.write_text(PAGE.format(name=name, home=WIDGETS.as_uri()), encoding="utf-8")
    asked_for(driver), complaints(driver)
    driver.get(page.as_uri())
    place = driver.find_element("css selector", ".widget")
    WebDriverWait(driver, 30).until(lambda _: place.get_attribute("data-ready") == "yes")
    return place


def control(place: Any, label: str) -> Any:
    """Find the input that a label names, as a screen reader does."""
    found = place.find_element("xpath", f".//label[normalize-space()='{label}']")
    return place.find_element("id", found.get_attribute("for"))


def slide(driver: Any, place: Any, label: str, value: float) -> None:
    """Move a slider to a value; a browser tells the page in just this way."""
    driver.execute_script(
        "arguments[0].value = arguments[1];"
        "arguments[0].dispatchEvent(new Event('input', {bubbles: true}))",
        control(place, label),
        value,
    )


def choose(place: Any, label: str, text: str) -> None:
    from selenium.webdriver.support.ui import Select

    Select(control(place, label)).select_by_visible_text(text)


def numbers(place: Any, name: str) -> torch.Tensor:
    """Return the numbers that the widget shows, in full, from its data- attribute."""
    return torch.tensor([float(v) for v in place.get_attribute(f"data-{name}").split()])


def shown(place: Any) -> str:
    """Return the sentences that a screen reader hears, with plain minus signs."""
    live = place.find_elements("css selector", "[aria-live]")
    return " ".join(each.text for each in live).replace("\N{MINUS SIGN}", "-")


def column(place: Any, number: int) -> list[float]:
    """Return the numbers in one column of the widget's table."""
    cells = place.find_elements("css selector", f"tbody td:nth-child({number})")
    return [float(cell.text.replace("\N{MINUS SIGN}", "-")) for cell in cells]


def quiet(driver: Any) -> None:
    """Assert that the page has asked no other host, has no complaint, and fits the window."""
    assert [a for a in asked_for(driver) if not a.startswith(("file:", "data:"))] == []
    assert complaints(driver) == []
    wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert driver.execute_script(wide) <= 0


def test_softmax_shows_torchs_shares(driver, tmp_path):
    place = opened(driver, tmp_path, "softmax")
    for logits, came in [([2, 1, -1], "cat"), ([-3.2, 4.9, 0.3], "owl"), ([0, 0, 0], "dog")]:
        for token, logit in zip(["cat", "dog", "owl"], logits, strict=True):
            slide(driver, place, f"logit of {token}", logit)
        choose(place, "what really came", came)
        right = torch.tensor(logits, dtype=torch.float64)
        target = torch.tensor(["cat", "dog", "owl"].index(came))
        loss = F.cross_entropy(right, target).item()
        torch.testing.assert_close(numbers(place, "shares"), right.softmax(0).float())
        assert float(place.get_attribute("data-nats")) == pytest.approx(loss)
        assert f"{loss:.3f} nats" in shown(place)
        assert f"{loss / 0.6931471805599453:.3f} bits" in shown(place)
        assert column(place, 5) == pytest.approx(right.softmax(0).tolist(), abs=6e-5)
    picture(driver, f"softmax-{driver.get_window_size()['width']}")
    quiet(driver)


def test_adding_to_all_logits_changes_nothing(driver, tmp_path):
    place = opened(driver, tmp_path, "softmax")
    before, nats = numbers(place, "shares"), float(place.get_attribute("data-nats"))
    for number in (100, -100, 37):
        slide(driver, place, "added to all three", number)
        torch.testing.assert_close(numbers(place, "shares"), before)
        assert float(place.get_attribute("data-nats")) == pytest.approx(nats)
        assert column(place, 2) == [2 + number, 1 + number, -1 + number]
        assert f"{number} was added to all three logits" in shown(place)


def test_block_shows_torchs_norm(driver, tmp_path):
    place = opened(driver, tmp_path, "block")
    steps = [("channel 0", 10.0, -5), ("channel 5", -7.3, 0), ("channel 5", 0.2, -6)]
    for channel, value, eps in steps:
        choose(place, "number", channel)
        slide(driver, place, "its value", value)
        slide(driver, place, "eps", eps)
        enters = numbers(place, "enters")
        assert enters[int(channel[-1])] == pytest.approx(value)
        normed = F.layer_norm(enters, (8,), eps=10.0**eps)
        torch.testing.assert_close(numbers(place, "read"), normed)
        leaves = enters + F.gelu(normed, approximate="tanh")
        torch.testing.assert_close(numbers(place, "leaves"), leaves)
        assert column(place, 3) == pytest.approx(normed.tolist(), abs=6e-3)
        cosine = F.cosine_similarity(enters, leaves, dim=0)
        assert shown(place).count(f"what entered: {cosine:.2f}") == 1
    picture(driver, f"block-{driver.get_window_size()['width']}")
    choose(place, "the norm stands", "on the stream (2017)")
    normed = F.layer_norm(enters + F.gelu(enters, approximate="tanh"), (8,), eps=1e-6)
    torch.testing.assert_close(numbers(place, "leaves"), normed)
    quiet(driver)


def test_eps_counts_where_numbers_are_nearly_alike(driver, tmp_path):
    place = opened(driver, tmp_path, "block")
    place.find_element("xpath", ".//button[.='nearly alike']").click()
    enters = numbers(place, "enters")
    lengths = []
    for eps in (-6, -5, -2):
        slide(driver, place, "eps", eps)
        read = numbers(place, "read")
        right = F.layer_norm(enters.double(), (8,), eps=10.0**eps).float()
        torch.testing.assert_close(read, right, atol=1e-3, rtol=1e-3)
        lengths.append(read.norm().item())
    assert lengths[0] > 2 > lengths[1] > 0.2 > lengths[2]


def test_point_on_the_bend(driver, tmp_path):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    place = opened(driver, tmp_path, "block")

    def agrees() -> float:
        x = float(place.get_attribute("data-x"))
        gelu = F.gelu(torch.tensor(x, dtype=torch.float64), approximate="tanh").item()
        assert float(place.get_attribute("data-gelu")) == pytest.approx(gelu)
        assert f"At {x:.2f}: GELU gives {gelu:.3f}, ReLU gives {max(0.0, x):.3f}." in shown(place)
        return x

    assert agrees() == -1
    control(place, "x").send_keys(Keys.ARROW_RIGHT)  # by keyboard
    assert agrees() == pytest.approx(-0.95)
    for x in (-4, 2.5):
        slide(driver, place, "x", x)
        assert agrees() == x
    curve = place.find_element("css selector", ".block-bend")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", curve)
    drag = ActionChains(driver).move_to_element(curve).click_and_hold()
    drag.move_by_offset(int(curve.size["width"] * 0.2), 0).release().perform()
    assert agrees() == pytest.approx(0.2 * 340 / 38, abs=0.2)
    point = place.find_element("css selector", ".block-bend circle[r='7']")
    assert float(point.get_attribute("cx")) == pytest.approx(170 + 38 * agrees(), abs=1)

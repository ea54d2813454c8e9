"""The widget of rotary phases turns as lesson 11's `rotary` does, and says what stays the same."""

import math

import pytest
import torch

from solutions.modern import rotary

from .browser import PHONE, browser, complaints, needs_browser, picture
from .widget_page import button, control, open_widget, put, shared_page, too_wide, widget_page

pytestmark = [needs_browser, pytest.mark.slow]
address = shared_page("rotary")


def numbers(place, name: str) -> list[float]:
    return [float(number) for number in place.get_attribute(f"data-{name}").split(",")]


def wave(n: int, step: float, begin: float) -> torch.Tensor:
    return torch.tensor(
        [round(math.cos(step * c + begin), 2) for c in range(n)], dtype=torch.float64
    )


def turned(vector: torch.Tensor, place: int, theta: float, layout: str) -> torch.Tensor:
    return rotary(vector.view(1, 1, 1, -1), place, theta, layout)[0, 0, 0]


@pytest.mark.parametrize("layout", ["halves", "pairs"])
@pytest.mark.parametrize(
    ("channels", "theta", "query", "key"),
    [(8, 10_000, 7, 4), (4, 10, 3, 60), (16, 500_000, 200, 0), (16, 100, 121, 100)],
)
def test_hands_and_products_are_those_of_the_lesson(
    driver, address, channels, theta, query, key, layout
):
    place = open_widget(driver, address)
    put(driver, control(place, "Channels of a head"), channels)
    put(driver, control(place, "theta"), theta)
    put(driver, control(place, "Which channels make a pair"), layout)
    put(driver, control(place, "Place of the query"), query)
    put(driver, control(place, "Place of the key"), key)
    q = turned(wave(channels, 1.3, 0.4), query, theta, layout)
    k = turned(wave(channels, 0.9, -0.7), key, theta, layout)
    assert numbers(place, "turned-query") == pytest.approx(q.tolist(), abs=2e-4)
    assert numbers(place, "turned-key") == pytest.approx(k.tolist(), abs=2e-4)
    product = float(q @ k)
    assert numbers(place, "score")[0] == pytest.approx(product, abs=2e-3)
    assert sum(numbers(place, "parts")) == pytest.approx(product, abs=2e-3)
    assert int(place.get_attribute("data-distance")) == query - key
    assert f"{abs(query - key)} apart" in place.text
    assert f"{product:.3f}".replace("-", "−")[:-1] in place.text
    assert len(place.find_elements("css selector", ".rotary-dial")) == channels // 2


def test_moving_both_changes_the_hands_and_not_the_product(driver, address):
    place = open_widget(driver, address)
    before, hands = numbers(place, "score")[0], numbers(place, "turned-query")
    button(place, "Both ten on").click()
    assert "Query at place 17, key at place 14" in place.text
    assert "as it was at 7 and 4" in place.text
    assert numbers(place, "score")[0] == pytest.approx(before, abs=1e-9)
    assert numbers(place, "turned-query") != pytest.approx(hands, abs=0.1)
    put(driver, control(place, "Place of the query"), 18)
    assert "as it was" not in place.text
    assert abs(numbers(place, "score")[0] - before) > 0.05
    assert not complaints(driver)


def test_both_stop_together_at_the_ends(driver, address):
    place = open_widget(driver, address)
    button(place, "Both ten back").click()
    assert "Query at place 3, key at place 0" in place.text
    put(driver, control(place, "Place of the query"), 195)
    button(place, "Both ten on").click()
    assert "Query at place 200, key at place 5" in place.text


def test_equal_hands_give_the_number_of_pairs_at_no_distance(driver, address):
    place = open_widget(driver, address)
    put(driver, control(place, "Vectors"), "up")
    for layout in ("halves", "pairs"):
        put(driver, control(place, "Which channels make a pair"), layout)
        put(driver, control(place, "Place of the query"), 40)
        put(driver, control(place, "Place of the key"), 40)
        assert numbers(place, "score")[0] == pytest.approx(4)
        put(driver, control(place, "Place of the query"), 41)
        speeds = [10_000 ** (-2 * i / 8) for i in range(4)]
        assert numbers(place, "parts") == pytest.approx([math.cos(s) for s in speeds])


def test_the_curve_passes_through_the_product(driver, address):
    place = open_widget(driver, address)
    points = place.find_element("css selector", "polyline").get_attribute("points").split()
    q, k = wave(8, 1.3, 0.4), wave(8, 0.9, -0.7)
    curve = [float(turned(q, d, 1e4, "halves") @ k) for d in range(65)]
    most = max(1, *map(abs, curve))
    heights = [float(point.split(",")[1]) for point in points]
    expected = [10 + (1 - value / most) / 2 * (190 - 10 - 42) for value in curve]
    assert heights == pytest.approx(expected, abs=0.11)


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone(tmp_path, dark):
    with browser(PHONE, dark=dark) as phone:
        place = open_widget(phone, widget_page(tmp_path, "rotary", {}, dark=dark))
        put(phone, control(place, "Channels of a head"), 16)
        assert not too_wide(phone)
        phone.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                              {"width": 390, "height": 1700, "deviceScaleFactor": 1, "mobile": True})  # fmt: skip
        picture(phone, f"rotary-phone-{'dark' if dark else 'light'}")
        assert not complaints(phone)

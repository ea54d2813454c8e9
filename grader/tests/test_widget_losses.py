"""The loss-curve explorer shows the run's own numbers, in every unit, and the stories of their step."""

import math

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from solutions.engine.storyteller import storyteller_folder, training_record
from solutions.explore.for_widgets import delivery
from solutions.explore.for_widgets import losses as maker
from solutions.perplexity import bits_per_byte

from .browser import PHONE, browser, complaints, needs_browser, picture
from .widget_page import button, control, open_widget, put, shared_page, too_wide, widget_page

address = shared_page("losses", "invented")

# A run with everything that may happen: losses that were not measured, a story between two points.
RECORD = {
    "steps": [
        {"step": step, "tokens": 1000 * step, "train_loss": train, "valid_loss": valid, "seconds": 2.5 * step}
        for step, train, valid in [
            (1, 8.3, None), (10, 6.25, 6.5), (20, 5.5, None), (50, 4.125, 4.0), (100, None, 3.5), (200, 2.75, 2.875)]
    ],
    "samples": [
        {"step": step, "prompt": prompt, "text": f"{prompt} <b>at</b> {step}\n“quoted”."}
        for step in (15, 100, 200) for prompt in ("Once", "Tom & Lily")
    ],
    "recipe": {"model": {"n_layer": 2, "n_head": 3, "n_embd": 48}, "tokenizer": "bpe:300"},
    "result": {"valid_loss": 2.9, "bits_per_byte": 1.1, "parameters": 123456},
}  # fmt: skip


def units(nats: float, bytes_per_token: float) -> dict[str, float]:
    tokens = 1000
    return {
        "nats": nats,
        "bits": nats / math.log(2),
        "perplexity": math.exp(nats),
        "bpb": bits_per_byte(nats * tokens, 1) / (tokens * bytes_per_token),
    }


@pytest.fixture(scope="module")
def invented():
    return {"losses": maker.curve(RECORD)}


def test_the_data_are_the_runs_own_and_keep_their_budget():
    record = training_record()
    value = maker.make(storyteller_folder())[maker.FILE]
    assert len(delivery(maker.FILE, value)) <= maker.BUDGET[maker.FILE]
    assert [row[:2] for row in value["steps"]] == [
        [r["step"], r["tokens"]] for r in record["steps"]
    ]
    result = record["result"]
    found = result["valid_loss"] / math.log(2) / value["bytesPerToken"]
    assert found == pytest.approx(result["bits_per_byte"], rel=1e-5)
    assert 1 < value["bytesPerToken"] < 10


def shown(place, name: str) -> float | None:
    value = place.get_attribute(f"data-{name}")
    return float(value) if value else None


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("unit", ["nats", "bits", "perplexity", "bpb"])
def test_every_point_in_every_unit(driver, address, unit):
    place = open_widget(driver, address)
    put(driver, control(place, "Loss as"), unit)
    bytes_per_token = 2.9 / math.log(2) / 1.1
    for i, row in enumerate(RECORD["steps"]):
        put(driver, control(place, "Point of the curve"), i)
        assert place.get_attribute("data-step") == str(row["step"])
        for name, key in (("train", "train_loss"), ("valid", "valid_loss")):
            if row[key] is None:
                assert shown(place, name) is None
            else:
                expected = units(row[key], bytes_per_token)[unit]
                assert shown(place, name) == pytest.approx(expected, rel=1e-5)
                assert f"loss {float(f'{expected:.4g}'):,g}" in place.text
        assert f"after {row['tokens']:,} tokens" in place.text
    rows = place.find_elements("css selector", "table tr")
    assert len(rows) == 1 + len(RECORD["steps"])
    assert not complaints(driver)


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("axis", ["linear", "log"])
def test_the_curve_lies_where_the_numbers_are(driver, address, axis):
    place = open_widget(driver, address)
    put(driver, control(place, "Upward axis"), axis)
    put(driver, control(place, "Across axis"), axis)
    lines = [
        [tuple(map(float, point.split(","))) for point in line.get_attribute("points").split()]
        for line in place.find_elements("css selector", "polyline")
    ]
    way = math.log if axis == "log" else float
    for line, key in zip(lines, ("train_loss", "valid_loss"), strict=True):
        rows = [row for row in RECORD["steps"] if row[key] is not None]
        assert len(line) == len(rows)
        for (x, y), row in zip(line, rows, strict=True):
            across = (way(row["step"]) - way(1)) / (way(200) - way(1))
            upward = (way(row[key]) - way(2.75)) / (way(8.3) - way(2.75))
            assert x == pytest.approx(48 + across * 380, abs=0.11)
            assert y == pytest.approx(208 - upward * 198, abs=0.11)


@needs_browser
@pytest.mark.slow
def test_stories_belong_to_their_step(driver, address):
    place = open_widget(driver, address)
    story = place.find_element("css selector", ".story")
    assert place.get_attribute("data-sample") == "200"
    assert story.text == "Once <b>at</b> 200\n“quoted”."
    put(driver, control(place, "Prompt"), 1)
    assert story.text.startswith("Tom & Lily <b>at</b> 200")
    button(place, "Previous story").click()
    assert (place.get_attribute("data-step"), place.get_attribute("data-sample")) == ("100", "100")
    button(place, "Previous story").click()  # written at 15, between the points 10 and 20
    assert (place.get_attribute("data-step"), place.get_attribute("data-sample")) == ("10", "15")
    assert not button(place, "Previous story").is_enabled()
    slider = control(place, "Point of the curve")
    slider.send_keys(Keys.ARROW_RIGHT)
    assert (place.get_attribute("data-step"), place.get_attribute("data-sample")) == ("20", "15")
    slider.send_keys(Keys.HOME)
    assert "No story was kept before step 15" in place.text
    assert not story.is_displayed()
    button(place, "Next story").click()
    assert place.get_attribute("data-sample") == "15"
    svg = place.find_element("css selector", "svg")
    width = svg.size["width"]
    ActionChains(driver).move_to_element_with_offset(svg, width / 2 - 2, 0).click().perform()
    assert place.get_attribute("data-step") == "200"


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_our_own_models_run_on_a_phone(tmp_path, dark):
    data = maker.make(storyteller_folder())
    with browser(PHONE, dark=dark) as phone:
        place = open_widget(phone, widget_page(tmp_path, "losses", data, dark=dark))
        assert not too_wide(phone)
        record = training_record()
        assert place.get_attribute("data-step") == str(record["steps"][-1]["step"])
        for unit in ("perplexity", "bpb"):
            put(phone, control(place, "Loss as"), unit)
            put(phone, control(place, "Upward axis"), "log")
            put(phone, control(place, "Across axis"), "log")
            assert not too_wide(phone)
        assert not complaints(phone)
        picture(phone, f"losses-phone-{'dark' if dark else 'light'}")

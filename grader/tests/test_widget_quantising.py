"""The quantising widget rounds a real weight's rows as lesson 13 does, and states its bounds."""

import pytest
import torch
from selenium.webdriver.common.keys import Keys
from torch import nn

from solutions.compression import QuantizedLinear, quantize_rows
from solutions.engine.pretrained import load_model
from solutions.engine.storyteller import storyteller_folder
from solutions.explore.for_widgets import delivery
from solutions.explore.for_widgets import quantising as maker

from .browser import PHONE, browser, complaints, needs_browser, picture
from .widget_page import control, open_widget, put, shared_page, too_wide, widget_page

address = shared_page("quantising", "data")


@pytest.fixture(scope="module")
def data():
    return maker.make(storyteller_folder())


def test_eight_bits_are_lesson_13s():
    weight = torch.randn(7, 12, generator=torch.Generator().manual_seed(0)) * 0.3
    weight[3] = 0.0
    numbers, scale = quantize_rows(weight)
    torch.testing.assert_close(
        maker.rounded_weight(weight, 8, per_row=True), numbers.float() * scale.unsqueeze(-1)
    )
    whole = maker.rounded_weight(weight, 8, per_row=False)
    assert len((whole / (weight.abs().max() / 127)).round().unique()) > 20
    assert ((whole - weight).abs() <= weight.abs().max() / 254 * 1.0001).all()


@pytest.mark.slow
def test_the_data_are_the_models_rows_and_keep_their_budget(data):
    value = data[maker.FILE]
    assert len(delivery(maker.FILE, value)) <= maker.BUDGET[maker.FILE]
    layer = load_model(storyteller_folder()).transformer.h[maker.LAYER].mlp.c_fc
    for row in value["rows"]:
        theirs = torch.tensor(row["weights"])
        assert (theirs - layer.weight[row["number"]]).abs().max() <= 0.6 * 10**-maker.DIGITS
    sizes = [max(map(abs, row["weights"])) for row in value["rows"]]
    assert sizes == sorted(sizes) and sizes[-1] == pytest.approx(value["largest"])
    measured = value["measured"]
    assert measured["row"][-1] == pytest.approx(measured["full"], abs=0.01)  # 8 bits cost nothing
    assert measured["row"][0] > 1.3 * measured["full"]  # 2 bits cost a lot
    assert measured["tensor"][1] > measured["row"][1]  # one scale for all is worse


def number(place, name: str) -> float:
    return float(place.get_attribute(f"data-{name}"))


@needs_browser
@pytest.mark.slow
def test_it_shows_what_torch_computes(driver, address, data):
    place = open_widget(driver, address)
    value = data[maker.FILE]
    x = torch.tensor(value["x"])
    for i, row in enumerate(value["rows"]):
        put(driver, control(place, "Row"), i)
        weights = torch.tensor(row["weights"])
        for scale_of, largest in (("row", weights.abs().max()), ("tensor", value["largest"])):
            put(driver, control(place, "Scale"), scale_of)
            for at, bits in enumerate(value["widths"]):
                put(driver, control(place, "Bits for each weight"), bits)
                scale = torch.tensor(float(largest)) / (2 ** (bits - 1) - 1)
                numbers = (weights / scale).round()
                shown = [int(n) for n in place.get_attribute("data-numbers").split()]
                assert shown == numbers.int().tolist(), (i, scale_of, bits)
                read = numbers.double() * scale.double()
                error = (read - weights.double()).abs().max().item()
                assert number(place, "scale") == pytest.approx(scale.item(), rel=1e-6)
                assert number(place, "error") == pytest.approx(error, abs=1e-7)
                assert number(place, "error") <= number(place, "bound") * (1 + 1e-6)
                exact = (weights.double() @ x.double()).item()
                assert number(place, "output") == pytest.approx(exact, abs=1e-5)
                assert number(place, "rounded-output") == pytest.approx(
                    (read @ x.double()).item(), abs=1e-5
                )
                off = abs(number(place, "output") - number(place, "rounded-output"))
                assert off <= number(place, "output-bound")
                assert number(place, "measured") == value["measured"][scale_of][at]
                assert f"{value['measured'][scale_of][at]:.2f} bits per byte" in place.text
    assert not complaints(driver)


@needs_browser
@pytest.mark.slow
def test_its_bound_is_lesson_13s(driver, address, data):
    place = open_widget(driver, address)
    value = data[maker.FILE]
    put(driver, control(place, "Bits for each weight"), 8)
    for i, row in enumerate(value["rows"]):
        put(driver, control(place, "Row"), i)
        linear = nn.Linear(len(row["weights"]), 1, bias=False)
        linear.weight.data = torch.tensor([row["weights"]])
        bound = QuantizedLinear(linear).error_bound(torch.tensor([value["x"]])).item()
        assert number(place, "output-bound") == pytest.approx(bound, rel=1e-5)


@needs_browser
@pytest.mark.slow
def test_it_is_used_by_keyboard_and_says_everything_in_words(driver, address):
    place = open_widget(driver, address)
    slider = control(place, "Bits for each weight")
    before = number(place, "scale")
    slider.send_keys(Keys.ARROW_LEFT)
    assert number(place, "scale") > 2 * before  # 3 bits in the place of 4
    drawing = place.find_element("css selector", "svg")
    assert drawing.get_attribute("role") == "img" and drawing.get_attribute("aria-label")
    assert place.find_elements("css selector", "[aria-live=polite]")
    place.find_element("css selector", "summary").click()
    rows = place.find_elements("css selector", "tbody tr")
    shown = [int(n) for n in place.get_attribute("data-numbers").split()]
    for row, wanted in zip(rows, shown, strict=False):
        cell = row.find_elements("css selector", "td")[1].text
        assert int(cell.replace("−", "-")) == wanted
    assert len(rows) == 24
    assert not complaints(driver)
    picture(driver, "quantising")


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone(tmp_path, data, dark):
    with browser(PHONE, dark=dark) as phone:
        open_widget(phone, widget_page(tmp_path, "quantising", data, dark=dark))
        assert not too_wide(phone)
        phone.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                              {"width": 390, "height": 1300, "deviceScaleFactor": 1, "mobile": True})  # fmt: skip
        picture(phone, f"quantising-phone-{'dark' if dark else 'light'}")
        assert not complaints(phone)

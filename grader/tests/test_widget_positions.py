"""The widget of position patterns draws lesson 02's waves and the small model's own table."""

import base64

import numpy as np
import pytest
import torch
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from solutions.embeddings import sinusoidal_positions
from solutions.engine.pretrained import load_model
from solutions.engine.storyteller import storyteller_folder
from solutions.explore.for_widgets import delivery
from solutions.explore.for_widgets import positions as maker

from .browser import PHONE, browser, complaints, needs_browser, picture
from .widget_page import control, open_widget, put, shared_page, too_wide, widget_page

address = shared_page("positions", "data")


@pytest.fixture(scope="module")
def data():
    return maker.make(storyteller_folder())


def learned(data) -> torch.Tensor:
    value = data[maker.FILE]
    whole = np.frombuffer(base64.b64decode(value["values"]), np.int8)
    table = torch.from_numpy(whole.astype(np.float64)).view(value["positions"], value["channels"])
    return table * torch.tensor(value["scales"], dtype=torch.float64)[:, None]


def test_the_data_are_the_models_positions_and_keep_their_budget(data):
    assert len(delivery(maker.FILE, data[maker.FILE])) <= maker.BUDGET[maker.FILE]
    table = load_model(storyteller_folder()).transformer.wpe.weight.detach().double()
    step = table.abs().amax(dim=1, keepdim=True) / 127
    assert ((learned(data) - table).abs() <= 0.51 * step).all()


def number(place, name: str) -> float:
    return float(place.get_attribute(f"data-{name}"))


def cells(place, caption: str) -> list[list[str]]:
    for table in place.find_elements("css selector", "table"):
        rows = [
            [cell.get_property("textContent") for cell in row.find_elements("css selector", "td")]
            for row in table.find_elements("css selector", "tr")
        ]
        if caption in table.get_property("textContent"):
            return [row for row in rows if row]
    raise AssertionError(f"no table {caption!r}")


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "t", "pair", "other"),
    [(64, 20, 4, 24), (2, 255, 0, 0), (7, 13, 3, 200), (128, 100, 63, 100), (256, 255, 127, 1)],
)
def test_values_are_those_of_lesson_02(driver, address, data, width, t, pair, other):
    place = open_widget(driver, address)
    wanted = {"Channels (n_embd)": width, "Position": t, "Pair of channels": pair, "Other position": other}  # fmt: skip
    for label, value in wanted.items():
        put(driver, control(place, label), value)
    table = sinusoidal_positions(256, width).double()
    assert number(place, "sine") == pytest.approx(table[t, 2 * pair].item(), abs=1e-4)
    if 2 * pair + 1 < width:
        assert number(place, "cosine") == pytest.approx(table[t, 2 * pair + 1].item(), abs=1e-4)
    else:
        assert place.get_attribute("data-cosine") == "" and "no cosine" in place.text
    dot = (table[t] @ table[other]).item()
    assert number(place, "dot") == pytest.approx(dot, abs=1e-2)
    assert f"{abs(t - other)} apart: dot product {dot:.1f}"[:-2] in place.text
    cosine = torch.cosine_similarity(table[t], table[other], dim=0).item()
    assert number(place, "alike") == pytest.approx(cosine, abs=1e-3)
    own = learned(data)
    cosine = torch.cosine_similarity(own[t], own[other], dim=0).item()
    assert number(place, "learned") == pytest.approx(cosine, abs=1e-6)
    shown = cells(place, f"Position {t} by formula")
    numbers = [float(cell) for row in shown for cell in row[1:] if cell != "none"]
    assert numbers == pytest.approx(table[t].tolist(), abs=2e-4)


@needs_browser
@pytest.mark.slow
def test_the_maps_are_painted_with_the_values(driver, address):
    """Light where a value is near 0, blue below, orange above: all pixels of the first map."""
    place = open_widget(driver, address)
    put(driver, control(place, "Channels (n_embd)"), 16)
    pixels = driver.execute_script(
        "const c = arguments[0].querySelector('canvas');"
        "return [c.width, c.height, [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]]",
        place,
    )
    width, height, values = pixels
    assert (width, height) == (16, 256)
    image = np.array(values).reshape(height, width, 4).astype(int)
    table = sinusoidal_positions(256, 16).numpy()
    warm = image[..., 0] - image[..., 2]  # red minus blue
    assert ((warm > 0) == (table > 0))[np.abs(table) > 0.02].all()
    assert (image[np.abs(table) < 0.01][:, :3] > 235).all()


@needs_browser
@pytest.mark.slow
def test_the_learned_map_is_painted_with_the_models_numbers(driver, address, data):
    place = open_widget(driver, address)
    values = driver.execute_script(
        "const c = arguments[0].querySelectorAll('canvas')[1];"
        "return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]",
        place,
    )
    own = learned(data).numpy()
    image = np.array(values).reshape(*own.shape, 4)[..., :3]
    share = np.abs(own)[..., None] / np.abs(own).max()  # how far from nearly white to the colour
    end = np.where(own[..., None] < 0, [0, 90, 160], [200, 80, 0])
    assert np.abs(image - (247 + share * (end - 247))).max() <= 1


@needs_browser
@pytest.mark.slow
def test_keys_and_clicks_move_the_sliders(driver, address, data):
    place = open_widget(driver, address)
    position = control(place, "Position")
    position.send_keys(Keys.HOME)
    position.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert "at position 2: sine" in place.text
    control(place, "Channels (n_embd)").send_keys(Keys.HOME)  # two channels: one pair is left
    assert control(place, "Pair of channels").get_property("value") == "0"
    canvas = place.find_element("css selector", "canvas")
    ActionChains(driver).move_to_element_with_offset(canvas, 0, 0).click().perform()
    assert int(position.get_property("value")) in (127, 128)
    assert position.get_attribute("aria-valuetext") == position.get_property("value")
    alike = cells(place, "and those after it")
    own = learned(data)
    t = int(position.get_property("value"))
    for row in alike:
        cosine = torch.cosine_similarity(own[t], own[t + int(row[0])], dim=0).item()
        assert float(row[3]) == pytest.approx(cosine, abs=6e-4)
    assert not complaints(driver)
    picture(driver, "positions")


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone(tmp_path, data, dark):
    with browser(PHONE, dark=dark) as phone:
        open_widget(phone, widget_page(tmp_path, "positions", data, dark=dark))
        assert not too_wide(phone)
        phone.set_window_size(390, 2200)
        phone.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                              {"width": 390, "height": 2000, "deviceScaleFactor": 1, "mobile": True})  # fmt: skip
        picture(phone, f"positions-phone-{'dark' if dark else 'light'}")
        assert not complaints(phone)

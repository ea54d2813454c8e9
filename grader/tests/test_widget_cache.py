"""The cache's widget: what is computed, counted and kept is what lesson 09 computes, counts and keeps."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from solutions.engine.pretrained import load_model
from solutions.engine.storyteller import storyteller_folder
from solutions.engine.tokenizers import load_tokenizer
from solutions.explore.for_widgets import cache as maker
from solutions.explore.for_widgets import delivery
from solutions.generation import KVCache, generate, next_token_logits, writing

from .browser import PHONE, browser, complaints, needs_browser, picture
from .widget_page import (
    button,
    control,
    open_widget,
    put,
    shared_page,
    too_wide,
    wait_for,
    widget_page,
)

address = shared_page("cache", "data")


@pytest.fixture(scope="module")
def model():
    return load_model(storyteller_folder())


@pytest.fixture(scope="module")
def data():
    threads = torch.get_num_threads()
    made = maker.make(storyteller_folder())
    assert torch.get_num_threads() == threads  # it measures with one, and leaves it at that
    return made


@pytest.fixture(scope="module")
def text():
    """The ids of the text that the widget shows."""
    folder = storyteller_folder()
    prompt = load_tokenizer(str(folder)).encode(maker.PROMPT)
    return generate(load_model(folder), torch.tensor([prompt]), maker.LONGEST - len(prompt))


def test_the_text_is_the_models_own_and_the_data_keep_their_budget(data, text):
    value = data["cache"]
    assert len(delivery("cache", value)) <= maker.BUDGET["cache"]
    tokenizer = load_tokenizer(str(storyteller_folder()))
    assert value["tokens"] == [tokenizer.decode([i]) for i in text[0].tolist()]
    assert "".join(value["tokens"][: value["prompt"]]) == maker.PROMPT


def test_the_times_are_real(data, model):
    times = data["cache"]["measured"]["times"]
    assert times[-1][0] == model.config.block_size
    assert all(fast > 0 and slow > 0 for _, fast, slow in times)
    assert times[-1][2] > 2 * times[-1][1], "without a cache a long text takes much longer"
    assert "CPU core" in data["cache"]["measured"]["hardware"]


def states(driver, place) -> list[list[str]]:
    return driver.execute_script(
        "return [...arguments[0].querySelectorAll('.cache-tokens')].map("
        "(row) => [...row.children].map((one) => one.dataset.state))",
        place,
    )


def work(place, kind: str) -> dict[str, int]:
    row = place.find_element("css selector", f'tr[data-kind="{kind}"]')
    return {name: int(row.get_attribute(f"data-{name}")) for name in ("computed", "step", "all")}


def multiplications(model, ids: torch.Tensor, cache: KVCache | None) -> int:
    """Counted by torch while the model works: two operations are one multiplication and one sum."""
    with FlopCounterMode(display=False) as counter, writing(model):
        next_token_logits(model, ids, cache)
    return counter.get_total_flops() // 2


@needs_browser
@pytest.mark.slow
def test_every_step_counts_what_torch_counts(driver, address, data, model, text):
    place = open_widget(driver, address)
    prompt, n = data["cache"]["prompt"], len(data["cache"]["tokens"])
    slider, cache = control(place, "Step"), KVCache(model.config.n_layer)
    in_all = {"without": 0, "cached": 0}
    for step in range(n - prompt):
        put(driver, slider, step)
        ids = text[:, : prompt + step]
        kept = cache.length
        for kind, its_cache, computed in (
            ("without", None, prompt + step),
            ("cached", cache, prompt + step - kept),
        ):
            here = multiplications(model, ids, its_cache)
            in_all[kind] += here
            assert work(place, kind) == {"computed": computed, "step": here, "all": in_all[kind]}
        later = ["chosen"] + ["later"] * (n - prompt - step - 1)
        without, cached = states(driver, place)
        assert without == ["computed"] * (prompt + step) + later
        assert cached == ["kept"] * kept + ["computed"] * (prompt + step - kept) + later
    row = place.find_element("css selector", 'tr[data-kind="cached"]').text
    assert row.endswith(f" {in_all['cached'] / 1e6:,.1f}".removesuffix(".0"))
    assert not complaints(driver)


@needs_browser
@pytest.mark.slow
def test_memory_is_what_a_cache_holds(driver, address, model):
    place = open_widget(driver, address)
    took = place.find_element("css selector", ".cache-memory")
    for length in (1, 100, 256):
        put(driver, control(place, "Tokens in the cache"), length)
        cache = KVCache(model.config.n_layer)
        with writing(model):
            model(torch.arange(length).unsqueeze(0), cache=cache)
        held = sum(
            part[:, :, : layer.length].numel() * part.element_size()
            for layer in cache.layers
            for part in (layer.keys, layer.values)
        )
        assert int(took.get_attribute("data-bytes")) == held
        assert f"= {held:,} bytes" in took.text
    put(driver, control(place, "Model"), 4)  # GPT-3
    put(driver, control(place, "Numbers"), 2)
    assert int(took.get_attribute("data-bytes")) == 2 * 96 * 2048 * 12288 * 2
    assert "96 layers × 2,048 tokens × 12,288 channels × 2 bytes" in took.text
    assert "9.66 GB" in took.text


@needs_browser
@pytest.mark.slow
def test_the_times_shown_are_the_times_measured(driver, address, data):
    place = open_widget(driver, address)
    said = place.find_element("css selector", ".cache-clock")
    times = data["cache"]["measured"]["times"]
    for i, (length, fast, slow) in enumerate(times):
        put(driver, control(place, "Text so far"), i)
        assert f"With {length} tokens" in said.text
        assert f"{fast:.1f} ms with a cache" in said.text or abs(fast * 10 % 1 - 0.5) < 0.01
        assert float(said.get_attribute("data-without")) == pytest.approx(slow)
    assert data["cache"]["measured"]["hardware"] in place.text
    place.find_element("css selector", "summary").click()
    rows = place.find_elements("css selector", "details tbody tr")
    shown = [[float(cell) for cell in row.text.split()] for row in rows]
    assert shown == [pytest.approx(row, abs=6e-3) for row in times]
    lines = place.find_elements("css selector", "polyline")
    for line, column in zip(lines, (2, 1), strict=True):
        points = [point.split(",") for point in line.get_attribute("points").split()]
        heights = [190 - float(y) for _, y in points]
        scale = 165 / max(max(row[1:]) for row in times)
        assert heights == pytest.approx([scale * row[column] for row in times], abs=0.1)


@needs_browser
@pytest.mark.slow
def test_it_plays_pauses_and_steps(driver, address, data):
    place = open_widget(driver, address)
    last = len(data["cache"]["tokens"]) - data["cache"]["prompt"] - 1

    def step() -> int:
        return int(place.get_attribute("data-step"))

    back, on = button(place, "Step back"), button(place, "Step on")
    assert not back.is_enabled()
    on.click()
    on.click()
    back.click()
    assert step() == 1
    said = place.find_element("css selector", ".cache-said").text
    assert said.startswith("Step 1: without a cache all")
    button(place, "Play").click()
    wait_for(lambda: step() >= 3)
    button(place, "Pause").click()
    stopped = step()
    assert button(place, "Play").is_displayed()
    driver.execute_async_script("setTimeout(arguments[0], 2000)")
    assert step() == stopped
    put(driver, control(place, "Step"), last)
    assert not on.is_enabled()
    button(place, "Play").click()  # from the end it begins anew
    wait_for(lambda: step() < last)
    on.click()  # a step by hand ends the play
    assert button(place, "Play").is_displayed()
    picture(driver, "cache")


@needs_browser
@pytest.mark.slow
def test_who_wants_no_motion_gets_no_play_button(tmp_path, data):
    with browser() as driver:
        less = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", less)
        place = open_widget(driver, widget_page(tmp_path, "cache", data))
        assert {"Step back", "Step on"} == {
            one.text for one in place.find_elements("css selector", "button")
        }
        button(place, "Step on").click()
        assert place.get_attribute("data-step") == "1"


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone_nothing_is_too_wide(tmp_path, data, dark):
    with browser(PHONE, dark=dark) as driver:
        place = open_widget(driver, widget_page(tmp_path, "cache", data, dark=dark))
        put(driver, control(place, "Step"), 9)
        put(driver, control(place, "Model"), 4)
        assert not too_wide(driver)
        picture(driver, f"cache-phone-{'dark' if dark else 'light'}")
        assert not complaints(driver)

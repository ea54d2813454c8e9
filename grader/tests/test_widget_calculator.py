"""The calculator's numbers are the library's: parameters, tokens, memory, learning rates."""

import re

import pytest
from selenium.webdriver.common.keys import Keys

from solutions.engine.planning import Plan
from solutions.engine.presets import PRESETS
from solutions.engine.report import GPT3_FLOPS
from solutions.engine.settings import resolve
from solutions.explore.for_widgets import calculator as maker
from solutions.explore.for_widgets import delivery
from solutions.model import GPT, GPTConfig
from solutions.tinystories import batch_budget
from solutions.trainer import learning_rate

from .browser import PHONE, browser, complaints, needs_browser, picture
from .widget_page import control, open_widget, put, shared_page, too_wide, widget_page

address = shared_page("calculator", "data")
LABELS = {
    "n_layer": "Layers",
    "n_head": "Heads",
    "n_embd": "Channels",
    "n_inner": "MLP width (empty: 4 × channels)",
    "vocab_size": "Vocabulary",
    "block_size": "Context, in tokens",
    "batch_size": "Batch, in windows",
    "accumulation": "Accumulation",
    "steps": "Steps",
    "warmup": "Warm-up steps",
    "peak_lr": "Peak learning rate",
    "final_lr": "Final learning rate",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return maker.make(tmp_path_factory.mktemp("none"))


def test_the_data_hold_every_preset_and_keep_their_budget(data):
    value = data[maker.FILE]
    assert len(delivery(maker.FILE, value)) <= maker.BUDGET[maker.FILE]
    assert [preset["name"] for preset in value["presets"]] == list(PRESETS)
    for preset in value["presets"]:
        train = resolve({"preset": preset["name"]}).train
        assert all(preset[key] == train[key] for key in ("steps", "warmup", "peak_lr", "final_lr"))
    assert {preset["name"]: preset["vocab_size"] for preset in value["presets"]} == (
        dict.fromkeys(PRESETS, 50_257) | {"laptop": 4096, "wikipedia": 8000}
    )


def parameters(shape: dict[str, int | None]) -> int:
    """Count with a real model; of its many equal layers two tell the rest."""
    config = {name: shape[name] for name in ("n_head", "n_embd", "n_inner", "block_size")}
    counts = [GPT(GPTConfig(vocab_size=7, n_layer=n, **config)).num_parameters() for n in (1, 2)]
    layer = counts[1] - counts[0]
    return counts[0] + (shape["n_layer"] - 1) * layer + (shape["vocab_size"] - 7) * shape["n_embd"]


def result(place, key: str) -> float:
    row = place.find_element("css selector", f'tr[data-key="{key}"]')
    return float(row.get_attribute("data-value"))


def check_against_the_library(place, shape, train, tflops: float) -> None:
    n_parameters = parameters(shape)
    assert result(place, "parameters") == n_parameters
    plan = Plan(train["steps"], train["batch_size"], train["accumulation"], shape["block_size"], 8, 1.0)  # fmt: skip
    assert result(place, "tokens_per_step") == plan.tokens_per_step
    tokens = plan.steps * plan.tokens_per_step
    assert result(place, "tokens") == tokens
    budget = batch_budget(
        tokens,
        batch_size=train["batch_size"],
        accumulation=train["accumulation"],
        block_size=shape["block_size"],
        n_parameters=n_parameters,
        vocab_size=shape["vocab_size"],
    )
    assert (budget.steps, budget.tokens_per_step) == (plan.steps, plan.tokens_per_step)
    assert result(place, "memory") == budget.memory_bytes
    flops = 6 * n_parameters * tokens
    assert result(place, "flops") == pytest.approx(flops, rel=1e-12)
    assert result(place, "seconds") == pytest.approx(flops / (tflops * 1e12), rel=1e-12)
    assert f"{n_parameters:,}" in place.text and f"{tokens:,}" in place.text


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("name", [*PRESETS])
def test_a_presets_numbers_are_the_librarys(driver, address, data, name):
    place = open_widget(driver, address)
    put(driver, control(place, "Preset"), name)
    settings = resolve({"preset": name})
    vocab_size = next(one["vocab_size"] for one in data[maker.FILE]["presets"] if one["name"] == name)  # fmt: skip
    shape = settings.model | {"vocab_size": vocab_size}
    tflops = data[maker.FILE]["machines"][0]["tflops"]
    check_against_the_library(place, shape, settings.train, tflops)
    for expectation in PRESETS[name].expect:
        assert expectation.hardware in place.text and expectation.basis in place.text


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize(
    "own",
    [
        {"n_layer": 3, "n_head": 5, "n_embd": 64, "n_inner": 100, "vocab_size": 321, "block_size": 17,
         "batch_size": 3, "accumulation": 7, "steps": 11, "warmup": 4, "peak_lr": 0.01, "final_lr": 0.001},
        {"n_layer": 1, "n_head": 1, "n_embd": 1, "n_inner": None, "vocab_size": 1, "block_size": 1,
         "batch_size": 1, "accumulation": 1, "steps": 1, "warmup": 0, "peak_lr": 1.0, "final_lr": 0.0},
        {"n_layer": 9, "n_head": 7, "n_embd": 48, "n_inner": None, "vocab_size": 5000, "block_size": 99,
         "batch_size": 2, "accumulation": 1, "steps": 20, "warmup": 50, "peak_lr": 3e-4, "final_lr": 3e-4},
    ],
)  # fmt: skip
def test_own_numbers_are_the_librarys(driver, address, own):
    place = open_widget(driver, address)
    for key, label in LABELS.items():
        field = control(place, label)
        field.clear()
        field.send_keys("" if own[key] is None else str(own[key]))
    put(driver, control(place, "Speed, in TFLOP/s"), "12.5")
    assert control(place, "Preset").get_property("value") == "own"
    check_against_the_library(place, own, own, 12.5)
    schedule = {key: own[key] for key in ("steps", "warmup", "peak_lr", "final_lr")}
    slider = control(place, "Step")
    for step in {0, own["warmup"] - 1, own["warmup"], own["steps"] // 2, own["steps"] - 1}:
        if 0 <= step < own["steps"]:
            put(driver, slider, step)
            assert place.get_attribute("data-step") == str(step)
            expected = learning_rate(step, **schedule)
            assert float(place.get_attribute("data-rate")) == pytest.approx(expected, rel=1e-12)
            said = re.search(r"learning rate ([-+.e\d]+)\.$", place.text, re.MULTILINE)
            assert said and float(said[1]) == pytest.approx(expected, rel=1e-3)
    assert not complaints(driver)


@needs_browser
@pytest.mark.slow
def test_the_curve_is_the_schedule(driver, address):
    """The polyline, point by point, against the trainer's own learning rates."""
    place = open_widget(driver, address)
    put(driver, control(place, "Steps"), 101)
    put(driver, control(place, "Warm-up steps"), 10)
    points = place.find_element("css selector", "polyline").get_attribute("points").split()
    pairs = [tuple(map(float, point.split(","))) for point in points]
    left, right = pairs[0][0], pairs[-1][0]
    steps = [round((x - left) / (right - left) * 100) for x, _ in pairs]
    rates = [learning_rate(s, steps=101, warmup=10, peak_lr=5e-3, final_lr=0.0) for s in steps]
    top, bottom = min(y for _, y in pairs), max(y for _, y in pairs)
    drawn = [(bottom - y) / (bottom - top) * 5e-3 for _, y in pairs]
    assert steps == list(range(101))
    assert drawn == pytest.approx(rates, abs=5e-5)
    control(place, "Step").send_keys(Keys.END)
    assert place.get_attribute("data-step") == "100"
    assert float(place.get_attribute("data-rate")) == pytest.approx(0, abs=1e-12)


@needs_browser
@pytest.mark.slow
def test_machines_energy_and_gpt3(driver, address, data):
    place = open_widget(driver, address)
    machine = data[maker.FILE]["machines"][3]
    put(driver, control(place, "Machine"), 3)
    put(driver, control(place, "Price of a kWh"), "0.5")
    put(driver, control(place, "Rent per hour"), "4")
    seconds = result(place, "flops") / machine["tflops"] / 1e12
    assert result(place, "seconds") == pytest.approx(seconds)
    kwh = machine["watts"] * seconds / 3.6e6
    assert result(place, "kwh") == pytest.approx(kwh)
    assert result(place, "cost") == pytest.approx(kwh * 0.5 + seconds / 3600 * 4)
    row = place.find_element("css selector", 'tr[data-key="flops"]')
    assert float(row.get_attribute("data-gpt3")) == GPT3_FLOPS
    assert "3.14 × 10^23" in row.text
    assert "175 billion" in place.text and "300 billion" in place.text
    picture(driver, "calculator")


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize(
    ("label", "text", "sentence"),
    [
        ("Layers", "", "Layers: please give a number."),
        ("Layers", "0", "Layers must be at least 1, not 0."),
        ("Layers", "2.5", "Layers must be a whole number, not 2.5."),
        ("Layers", "many", "Layers must be a number, not “many”."),
        ("Heads", "999", "999 heads are too many for 256 channels."),
        ("Channels", "1e400", "Channels: 1e400 is too large."),
        ("Channels", "0x10", "Channels must be a number, not “0x10”."),
        ("Steps", "-3", "Steps must be at least 1, not -3."),
        ("Peak learning rate", "0,005", "please write decimals with a point"),
        ("Peak learning rate", "0", "must be above 0"),
        ("Final learning rate", "1", "must not be above the peak"),
        ("Speed, in TFLOP/s", "0", "Speed, in TFLOP/s must be at least"),
        ("Vocabulary", "1e99", "Vocabulary may be at most 10,000,000 here."),
    ],
)
def test_odd_input_gets_a_sentence(driver, address, label, text, sentence):
    place = open_widget(driver, address)
    put(driver, control(place, label), text)
    assert sentence in place.find_element("css selector", "[role=alert]").text
    assert place.get_attribute("data-valid") == "no"
    put(driver, control(place, "Preset"), "laptop")
    put(driver, control(place, "Machine"), 0)
    assert place.get_attribute("data-valid") == "yes"
    assert not complaints(driver)


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone(tmp_path, data, dark):
    with browser(PHONE, dark=dark) as phone:
        open_widget(phone, widget_page(tmp_path, "calculator", data, dark=dark))
        assert not too_wide(phone)
        picture(phone, f"calculator-phone-{'dark' if dark else 'light'}")

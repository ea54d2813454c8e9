"""The attention explorer shows what the model computes: our own, and transformers as outsider."""

import numpy as np
import pytest
import torch
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from solutions.attention import scaled_dot_product_attention
from solutions.engine.pretrained import load_model
from solutions.engine.storyteller import storyteller_folder
from solutions.engine.tokenizers import load_tokenizer
from solutions.explore.for_widgets import attention as maker
from solutions.explore.for_widgets import delivery

from .browser import PHONE, browser, complaints, needs_browser, picture
from .widget_page import control, open_widget, put, shared_page, too_wide, widget_page

address = shared_page("attention", "data")
HALF = 5.1e-4  # half of a thousandth, and a little rounding


@pytest.fixture(scope="module")
def data():
    return maker.make(storyteller_folder())


@pytest.fixture(scope="module")
def truth() -> list[np.ndarray]:
    """For each sentence the weights by transformers, (layer, head, T, T)."""
    from transformers import GPT2LMHeadModel

    folder = storyteller_folder()
    model = GPT2LMHeadModel.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32
    ).eval()
    tokenizer = load_tokenizer(str(folder))
    tables = []
    for text in maker.SENTENCES:
        ids = torch.tensor([tokenizer.encode(text)[: maker.LONGEST]])
        with torch.no_grad():
            tables.append(torch.cat(model(ids, output_attentions=True).attentions).numpy())
    return tables


def test_the_weights_are_those_of_transformers_and_keep_their_budget(data, truth):
    assert len(delivery("attention", data["attention"])) <= maker.BUDGET["attention"]
    for sentence, table in zip(data["attention"]["sentences"], truth, strict=True):
        n = len(sentence["tokens"])
        seen = np.tril(np.ones((n, n), bool))
        assert np.abs(np.array(sentence["weights"]) / 1000 - table[:, :, seen]).max() < HALF
        assert (table[:, :, ~seen] == 0).all()  # what is left out is hidden


def test_the_model_is_left_as_it_was():
    model = load_model(storyteller_folder())
    before = model(torch.tensor([[1, 2, 3]]))[0]
    maker.attention_weights(model, torch.tensor([[1, 2, 3]]))
    for block in model.transformer.h:
        assert block.attn.attend is scaled_dot_product_attention
    assert torch.equal(model(torch.tensor([[1, 2, 3]]))[0], before)


def cells(driver, place, n: int) -> np.ndarray:
    """The heat map as a table; how dark a cell is drawn must be the number that it carries."""
    shown = np.zeros((n, n))
    found = driver.execute_script(
        "return [...arguments[0].querySelectorAll('rect[data-query]')].map((box) => [box.dataset.query,"
        "box.dataset.key, box.dataset.weight, box.getAttribute('fill-opacity')].map(Number))",
        place,
    )
    assert len(found) == n * (n + 1) // 2
    for i, j, weight, opacity in found:
        assert weight == pytest.approx(opacity, abs=6e-4)
        shown[int(i), int(j)] = weight
    return shown


def bars(driver, place) -> np.ndarray:
    """The weights beside the keys: what the bars carry must be their length, and the text."""
    found = driver.execute_script(
        "return [...arguments[0].querySelectorAll('.attention-bar')].map((bar) => [Number(bar.dataset.weight),"
        "Number(bar.getAttribute('width')), bar.parentNode.querySelectorAll('.attention-share')"
        "[Number(bar.dataset.key)].textContent])",
        place,
    )
    for weight, width, text in found:
        assert width == pytest.approx(144 * weight, abs=0.06)
        assert text == "hidden" or float(text.split()[0]) == pytest.approx(100 * weight, abs=0.06)
    return np.array([weight for weight, _, _ in found])


@needs_browser
@pytest.mark.slow
def test_every_sentence_layer_and_head_as_python_computes_it(driver, address, truth):
    place = open_widget(driver, address)
    for s, table in enumerate(truth):
        put(driver, control(place, "Sentence"), s)
        layers, heads, n, _ = table.shape
        for layer in range(layers):
            put(driver, control(place, "Layer"), layer)
            for head in [*range(heads), "average"]:
                put(driver, control(place, "Head"), head)
                wanted = table[layer].mean(0) if head == "average" else table[layer, head]
                assert np.abs(cells(driver, place, n) - wanted).max() < 6e-4
                i = int(place.get_attribute("data-shown-token"))
                assert np.abs(bars(driver, place) - wanted[i]).max() < 6e-4
    assert not complaints(driver)


@needs_browser
@pytest.mark.slow
def test_keys_and_the_pointer_choose_a_token(driver, address, data, truth):
    place = open_widget(driver, address)
    tokens = data["attention"]["sentences"][0]["tokens"]
    put(driver, control(place, "Layer"), 1)
    put(driver, control(place, "Head"), 2)
    buttons = place.find_elements("css selector", ".token-row button")
    assert [one.text.replace("␣", " ") for one in buttons] == tokens

    def looks(i: int) -> None:
        assert place.get_attribute("data-shown-token") == str(i)
        assert np.abs(bars(driver, place) - truth[0][1, 2, i]).max() < 6e-4
        said = place.find_element("css selector", ".attention-result")
        best = int(truth[0][1, 2, i].argmax())
        name = "itself" if best == i else f"“{tokens[best].replace(' ', '␣')}”"
        assert said.text.startswith(f"Layer 1, head 2: “{tokens[i].replace(' ', '␣')}” looks at ")
        share = float(said.text.split(f"{name} (")[1].split(" %")[0])
        assert share == pytest.approx(100 * truth[0][1, 2, i, best], abs=0.06)
        assert [one.get_attribute("aria-pressed") for one in buttons].count("true") == 1
        assert [one.get_attribute("tabindex") for one in buttons].count("0") == 1
        frame = place.find_element("css selector", ".attention-frame")
        box = place.find_element("css selector", f'rect[data-query="{i}"]')
        assert frame.get_attribute("y") == box.get_attribute("y")

    buttons[0].send_keys(Keys.HOME)
    looks(0)
    buttons[0].send_keys(Keys.ARROW_RIGHT)
    looks(1)
    driver.switch_to.active_element.send_keys(Keys.END)
    looks(len(tokens) - 1)
    driver.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    looks(len(tokens) - 2)
    ActionChains(driver).move_to_element(buttons[3]).perform()
    looks(3)
    box = place.find_element("css selector", 'rect[data-query="6"][data-key="2"]')
    ActionChains(driver).move_to_element(box).perform()
    looks(6)
    weight = truth[0][1, 2, 6, 2]
    title = box.find_element("css selector", "title").get_property("textContent")
    assert float(title.split(": ")[1].split()[0]) == pytest.approx(100 * weight, abs=0.06)
    picture(driver, "attention")


@needs_browser
@pytest.mark.slow
def test_a_small_picture_chooses_its_head_and_the_table_says_all_numbers(driver, address, truth):
    place = open_widget(driver, address)
    small = place.find_element("css selector", '[aria-label="layer 2, head 3"]')
    small.click()
    assert small.get_attribute("aria-pressed") == "true"
    assert control(place, "Layer").get_property("value") == "2"
    assert control(place, "Head").get_property("value") == "3"
    place.find_element("css selector", "summary").click()
    rows = place.find_elements("css selector", ".attention-table tbody tr")
    table = [[cell.text for cell in row.find_elements("css selector", "td")] for row in rows]
    for i, row in enumerate(table):
        assert [float(text) for text in row[: i + 1]] == pytest.approx(
            truth[0][2, 3, i, : i + 1].tolist(), abs=6e-4
        )
        assert not any(row[i + 1 :])
    put(driver, control(place, "Head"), "average")
    cell = place.find_element("css selector", ".attention-table tbody tr:last-child td")
    assert float(cell.text) == pytest.approx(
        truth[0][2, :, -1, 0].mean(), abs=1.1e-3
    )  # rounded twice


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone_nothing_is_too_wide(tmp_path, data, dark):
    with browser(PHONE, dark=dark) as driver:
        place = open_widget(driver, widget_page(tmp_path, "attention", data, dark=dark))
        for s in range(len(maker.SENTENCES)):
            put(driver, control(place, "Sentence"), s)
            assert not too_wide(driver)
        place.find_element("css selector", "summary").click()
        assert not too_wide(driver)
        picture(driver, f"attention-phone-{'dark' if dark else 'light'}")
        assert not complaints(driver)

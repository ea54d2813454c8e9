"""The sampling playground reshapes as lesson 08's `sample` does, and its draws are what they should be."""

import base64
import itertools
import json
import math
from unittest import mock

import numpy as np
import pytest
import torch

from solutions.engine.pretrained import load_model
from solutions.engine.storyteller import storyteller_folder
from solutions.explore.for_widgets import delivery
from solutions.explore.for_widgets import sampling as maker
from solutions.samplers import greedy, repetition_penalty, sample

from .browser import PHONE, browser, complaints, needs_browser, picture
from .widget_page import button, control, open_widget, put, shared_page, too_wide, widget_page

address = shared_page("sampling", "data")


@pytest.fixture(scope="module")
def data():
    return maker.make(storyteller_folder())


def logits_of(data, i: int) -> torch.Tensor:
    raw = base64.b64decode(data["sampling"]["prompts"][i]["logits"])
    return torch.from_numpy(np.frombuffer(raw, "<f4").copy())


def test_the_data_are_the_models_logits_and_keep_their_budget(data):
    assert len(delivery("sampling", data["sampling"])) <= maker.BUDGET["sampling"]
    model = load_model(storyteller_folder())
    assert len(data["sampling"]["tokens"]) == model.config.vocab_size
    for i, prompt in enumerate(data["sampling"]["prompts"]):
        with torch.no_grad():
            logits, _ = model(torch.tensor([prompt["ids"]]))
        assert torch.allclose(logits_of(data, i), logits[0, -1], atol=1e-4)
        text = "".join(data["sampling"]["tokens"][j] for j in prompt["ids"])
        assert text == prompt["text"]


def reshaped(logits: torch.Tensor, ids: list[int], settings: dict) -> torch.Tensor:
    """The probabilities that lesson 08's `sample` hands to `torch.multinomial`."""
    if settings.get("temperature") == 0:  # `sample` has no 0: it says to use greedy
        penalised = repetition_penalty(
            logits[None], torch.tensor([ids]), settings.get("repetition_penalty", 1.0)
        )
        return torch.nn.functional.one_hot(greedy(penalised)[0], len(logits)).float()
    seen = []

    def note(probabilities, **_):
        seen.append(probabilities[0].clone())
        return torch.zeros(1, 1, dtype=torch.long)

    with mock.patch("torch.multinomial", note):
        sample(logits[None], torch.tensor([ids]), **settings)
    return seen[0]


# setting of `sample` -> label of its slider
LABELS = {
    "repetition_penalty": "Repetition penalty",
    "temperature": "Temperature",
    "top_k": "Top-k",
    "top_p": "Top-p",
    "min_p": "Min-p",
}


def choose(driver, place, settings: dict) -> None:
    """Move the sliders. That of top_k goes over a list: move it to where it says the number."""
    button(place, "All off").click()
    for name, value in settings.items():
        slider = control(place, LABELS[name])
        if name == "top_k":
            found = driver.execute_script(
                "const [slider, wanted] = arguments;"
                "for (let i = 0; i <= slider.max; i++) { slider.value = i;"
                " slider.dispatchEvent(new Event('input', {bubbles: true}));"
                " if (slider.getAttribute('aria-valuetext') === wanted) return true; }",
                slider,
                str(value),
            )
            assert found, f"the slider has no {value}"
        else:
            put(driver, slider, value)
            assert float(slider.get_property("value")) == value


def rows_of(driver, place) -> dict[str, dict]:
    rows = driver.execute_script(
        "return [...arguments[0].querySelectorAll('.sampling-table tbody tr')].map((row) => ({...row.dataset,"
        "text: [...row.children].map((cell) => cell.textContent),"
        "widths: [...row.querySelectorAll('.widget-bar')].map((bar) => parseFloat(bar.style.width))}))",
        place,
    )
    numbers = ("before", "after", "count")
    return {row["id"]: row | {name: float(row[name]) for name in numbers} for row in rows}


def agrees(driver, place, logits: torch.Tensor, ids: list[int], settings: dict) -> torch.Tensor:
    """What the page shows is what Python computes; returns the latter."""
    before, after = torch.softmax(logits, 0), reshaped(logits, ids, settings)
    kept = (after > 0).sum().item()
    # a token that is not refused may still have a probability too small for 32 bits
    small = (
        settings.get("temperature", 1) < 0.2 and not {"top_k", "top_p", "min_p"} & settings.keys()
    )
    if not small:
        assert int(place.get_attribute("data-kept")) == kept, settings
    rows = rows_of(driver, place)
    others = rows.pop("others")
    shown = [int(id_) for id_ in rows]
    assert len(set(shown)) == len(shown) >= min(12, len(logits))
    assert set(before.topk(5).indices.tolist()) <= set(shown)
    assert after.argmax().item() in shown
    for id_, row in rows.items():
        i = int(id_)
        assert row["before"] == pytest.approx(before[i].item(), abs=1e-4)
        assert row["after"] == pytest.approx(after[i].item(), abs=1e-4), (settings, i)
        if not small:
            assert (row["kept"] == "yes") == (after[i].item() > 0), (settings, i)
        assert row["widths"][0] == pytest.approx(100 * before[i].item(), abs=0.02)
        if row["kept"] == "yes":
            assert row["widths"][1] == pytest.approx(100 * after[i].item(), abs=0.02)
        else:
            assert row["text"][2] == "refused"
    rest = torch.ones(len(logits), dtype=torch.bool)
    rest[shown] = False
    assert others["before"] == pytest.approx(before[rest].sum().item(), abs=1e-4)
    assert others["after"] == pytest.approx(after[rest].sum().item(), abs=1e-4)
    return after


ONE_BY_ONE = [
    *({"temperature": t} for t in (0, 0.01, 0.1, 0.5, 1.3, 2)),
    *({"top_k": k} for k in (1, 2, 7, 50, 2000)),
    *({"top_p": p} for p in (0.001, 0.1, 0.5, 0.9, 0.999)),
    *({"min_p": p} for p in (0.01, 0.1, 0.5, 1)),
    *({"repetition_penalty": r} for r in (0.5, 0.9, 1.2, 2)),
]
TOGETHER = [
    {"repetition_penalty": r, "temperature": t, "top_k": k, "top_p": p, "min_p": m}
    for r, t, k, p, m in itertools.product(
        (0.8, 1.3), (0.25, 1.7), (3, 40), (0.3, 0.95), (0.02, 0.3)
    )
] + [{"temperature": 0, "repetition_penalty": 2}, {"temperature": 0, "top_k": 5}, {}]


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(maker.PROMPTS)))
def test_each_slider_and_all_together_as_lesson_08(driver, address, data, number):
    place = open_widget(driver, address)
    put(driver, control(place, "Text so far"), number)
    prompt, logits = data["sampling"]["prompts"][number], logits_of(data, number)
    for settings in (ONE_BY_ONE + TOGETHER)[number % 2 :: 2]:  # each with two texts or three
        choose(driver, place, settings)
        agrees(driver, place, logits, prompt["ids"], settings)
    assert not complaints(driver)


@needs_browser
@pytest.mark.slow
def test_ties_go_as_in_lesson_08(driver, tmp_path):
    """Four equal tokens and p = 0.5: ids 0 and 1. The k-th has equals: all stay. Greedy: the first."""
    logits = torch.tensor([3.0, 3.0, 3.0, 3.0, -90.0, -90.0, -95.0, -95.0])
    raw = base64.b64encode(logits.numpy().tobytes()).decode()
    value = {
        "tokens": list("abcdefgh"),
        "prompts": [{"text": "x", "ids": [0, 0, 4], "logits": raw}],
    }
    place = open_widget(driver, widget_page(tmp_path, "sampling", {"sampling": value}))
    for settings, kept in [
        ({"top_k": 2}, "abcd"),
        ({"top_k": 4}, "abcd"),
        ({"top_k": 5}, "abcdef"),
        ({"top_p": 0.5}, "ab"),
        ({"top_p": 0.001}, "a"),
        ({"min_p": 1}, "abcd"),
        ({"temperature": 0}, "a"),
        ({"temperature": 0, "repetition_penalty": 1.05}, "b"),
        ({"temperature": 0.01, "top_p": 0.25}, "a"),
        ({"repetition_penalty": 2, "top_k": 1}, "bcd"),
        ({"repetition_penalty": 2}, "abcdefgh"),
    ]:
        choose(driver, place, settings)
        after = reshaped(logits, [0, 0, 4], settings)
        rows = rows_of(driver, place)
        shown = "".join(
            row["text"][0] for id_, row in rows.items() if row["kept"] == "yes" and id_ != "others"
        )
        assert shown == kept, settings
        for id_, row in rows.items():
            if id_ != "others":
                assert row["after"] == pytest.approx(after[int(id_)].item(), abs=1e-6)


def counted(after: torch.Tensor, seed: int, draws: int) -> dict[int, int]:
    """The same draws in Python: the generator mulberry32, and the running sum of the probabilities."""
    mask, state = 0xFFFFFFFF, seed & 0xFFFFFFFF
    sums = np.cumsum(after.double().numpy())
    counts: dict[int, int] = {}
    for _ in range(draws):
        state = (state + 0x6D2B79F5) & mask
        t = (state ^ (state >> 15)) * (state | 1) & mask
        t ^= (t + ((t ^ (t >> 7)) * (t | 61) & mask)) & mask
        chance = ((t ^ (t >> 14)) & mask) / 2**32 * sums[-1]
        i = int(np.searchsorted(sums, chance, side="right"))
        counts[i] = counts.get(i, 0) + 1
    return counts


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "seed"),
    [({}, 1), ({"top_k": 5}, 7), ({"temperature": 0.5, "top_p": 0.9}, 123456), ({"top_k": 1}, 3)],
)
def test_a_thousand_draws_are_counted_against_what_is_expected(
    driver, address, data, settings, seed
):
    place = open_widget(driver, address)
    choose(driver, place, settings)
    put(driver, control(place, "Seed"), seed)
    after = agrees(
        driver, place, logits_of(data, 0), data["sampling"]["prompts"][0]["ids"], settings
    )
    button(place, "Draw 1000 and count").click()
    wanted = counted(after, seed, 1000)

    def counts() -> dict[str, dict]:
        rows = rows_of(driver, place)
        assert sum(row["count"] for row in rows.values()) == 1000
        for id_, row in rows.items():
            if id_ != "others":
                p = row["after"]
                assert abs(row["count"] - 1000 * p) <= 5 * math.sqrt(1000 * p * (1 - p)) + 1e-6
                if row["kept"] == "no":
                    assert row["count"] == 0
                else:
                    assert float(row["text"][4].split(" ±")[0]) == pytest.approx(1000 * p, abs=0.1)
        return rows

    first = counts()
    # a probability that differs in its last bit may move a draw or two to a neighbour
    different = sum(
        abs(row["count"] - wanted.get(int(id_), 0)) for id_, row in first.items() if id_ != "others"
    )
    assert different <= 4
    button(place, "Forget the draws").click()
    assert "Nothing drawn" in place.text
    button(place, "Draw 1000 and count").click()
    assert counts() == first  # the same seed
    if after.max() < 1:
        others = []
        for other in range(seed + 1, seed + 4):  # two tokens may be counted alike by chance
            put(driver, control(place, "Seed"), other)
            button(place, "Draw 1000 and count").click()
            others.append(counts())
        assert any(drawn != first for drawn in others)


@needs_browser
@pytest.mark.slow
def test_one_draw_is_said_and_a_setting_forgets_the_draws(driver, address, data):
    place = open_widget(driver, address)
    choose(driver, place, {"top_k": 3})
    wanted = counted(reshaped(logits_of(data, 0), [0], {"top_k": 3}), 1, 1)
    button(place, "Draw 1").click()
    said = place.find_element("css selector", ".sampling-counted")
    (token,) = wanted
    assert said.get_attribute("data-last") == str(token)
    prompt = data["sampling"]["prompts"][0]["text"]
    assert said.text.startswith(f"Drawn: “{prompt}{data['sampling']['tokens'][token]}”. One draw")
    button(place, "Draw 1").click()
    assert "2 draws so far" in said.text
    put(driver, control(place, "Temperature"), 0.7)
    assert said.text == "Nothing drawn yet."
    assert not any(row["count"] for row in rows_of(driver, place).values())


@needs_browser
@pytest.mark.slow
def test_the_page_says_how_many_are_left_after_each_part(driver, address, data):
    place = open_widget(driver, address)
    settings = {
        "repetition_penalty": 1.2,
        "temperature": 0.8,
        "top_k": 40,
        "top_p": 0.8,
        "min_p": 0.05,
    }
    choose(driver, place, settings)
    prompt, logits = data["sampling"]["prompts"][0], logits_of(data, 0)
    parts, so_far = [], {}
    for name in ("repetition_penalty", "temperature", "top_k", "top_p", "min_p"):
        so_far[name] = settings[name]
        left = (reshaped(logits, prompt["ids"], so_far) > 0).sum().item()
        parts.append([name.replace("repetition_", "").replace("_", "-"), left])
    assert json.loads(place.get_attribute("data-parts")) == parts
    said = place.find_element("css selector", ".sampling-story").text
    assert said.startswith(f"In this order: penalty: {parts[0][1]:,} left, temperature: ")
    assert f"top-k: 40 left, top-p: {parts[3][1]} left, min-p: {parts[4][1]} left." in said


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone_nothing_is_too_wide(tmp_path, data, dark):
    with browser(PHONE, dark=dark) as driver:
        place = open_widget(driver, widget_page(tmp_path, "sampling", data, dark=dark))
        for number in range(len(maker.PROMPTS)):
            put(driver, control(place, "Text so far"), number)
            button(place, "Draw 1000 and count").click()
            assert not too_wide(driver)
        picture(driver, f"sampling-phone-{'dark' if dark else 'light'}")
        assert not complaints(driver)

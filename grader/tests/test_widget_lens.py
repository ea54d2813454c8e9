"""The stepper shows the stream on its way as the model computes it: ours, and transformers' as outsider."""

import math

import pytest
import torch
from selenium.webdriver.common.keys import Keys

from solutions.engine.pretrained import load_model
from solutions.engine.storyteller import storyteller_folder
from solutions.engine.tokenizers import load_tokenizer
from solutions.explore.for_widgets import delivery, pieces
from solutions.explore.for_widgets import lens as maker

from .browser import PHONE, browser, complaints, needs_browser, picture
from .widget_page import button, control, open_widget, put, shared_page, too_wide, widget_page

address = shared_page("lens", "data")


@pytest.fixture(scope="module")
def data():
    return maker.make(storyteller_folder())


@pytest.fixture(scope="module")
def model():
    return load_model(storyteller_folder())


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(str(storyteller_folder()))


def ids_of(tokenizer, number: int) -> torch.Tensor:
    return torch.tensor([tokenizer.encode(maker.PROMPTS[number])[: maker.LONGEST]])


@torch.no_grad()
def test_the_stages_are_those_of_transformers(model, tokenizer):
    """Caught on its way by hooks: what enters each norm and the end, in somebody else's model."""
    from transformers import GPT2LMHeadModel

    theirs = GPT2LMHeadModel.from_pretrained(storyteller_folder(), dtype=torch.float32).eval()
    for number in range(len(maker.PROMPTS)):
        caught: list[torch.Tensor] = []

        def catch(_, inputs, caught=caught) -> None:
            caught.append(inputs[0][0])

        norms = [norm for block in theirs.transformer.h for norm in (block.ln_1, block.ln_2)]
        norms.append(theirs.transformer.ln_f)
        hooks = [norm.register_forward_pre_hook(catch) for norm in norms]
        ids = ids_of(tokenizer, number)
        logits = theirs(ids).logits[0]
        for hook in hooks:
            hook.remove()
        ours = dict(maker.stages(model, ids))
        assert list(ours)[:3] == ["embedding", "attention 0", "MLP 0"]
        assert len(ours) == len(caught) == 1 + 2 * model.config.n_layer
        for stream, wanted in zip(ours.values(), caught, strict=True):
            assert torch.allclose(stream, wanted, atol=2e-4)
        last = model.lm_head(model.transformer.ln_f(list(ours.values())[-1]))
        assert torch.allclose(last, logits, atol=2e-3)


def test_the_data_keep_their_budget(data):
    assert len(delivery("lens", data["lens"])) <= maker.BUDGET["lens"]


def visible(text: str) -> str:
    return text.replace(" ", "␣").replace("\n", "↵")


def shown(driver, place) -> tuple[list[str], list[float], list[str]]:
    """The tokens and probabilities of the guesses, and how long their bars are."""
    return driver.execute_script(
        "const rows = [...arguments[0].querySelectorAll('.lens-guesses tbody tr')];"
        "return [rows.map((r) => r.dataset.token), rows.map((r) => Number(r.dataset.probability)),"
        "rows.map((r) => r.querySelector('.widget-bar').style.width)]",
        place,
    )


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(maker.PROMPTS)))
@torch.no_grad()
def test_every_stage_and_place_as_the_logit_lens(driver, address, model, tokenizer, number):
    place = open_widget(driver, address)
    put(driver, control(place, "Text"), number)
    ids = ids_of(tokenizer, number)
    lens = model.logit_lens(ids)  # behind the embedding and behind each whole block
    states = model.hidden_states(ids)
    slider = control(place, "Stage")
    buttons = place.find_elements("css selector", ".token-row button")
    assert len(buttons) == ids.shape[1]
    for at in range(ids.shape[1]):
        driver.execute_script("arguments[0].click()", buttons[at])
        for layer in range(model.config.n_layer + 1):
            put(driver, slider, 2 * layer)
            norm = states[layer][0, at].norm().item()
            assert float(place.get_attribute("data-norm")) == pytest.approx(norm, abs=1e-3)
            p = torch.softmax(lens[layer][0, at], 0)
            entropy = torch.special.entr(p).sum().item()
            assert float(place.get_attribute("data-entropy")) == pytest.approx(entropy, abs=2e-3)
            tokens, probabilities, widths = shown(driver, place)
            best = p.topk(6)
            assert probabilities == pytest.approx(best.values[:5].tolist(), abs=2e-5)
            clear = [a - b > 1e-5 for a, b in zip(best.values, best.values[1:], strict=False)]
            if all(clear):
                assert tokens == pieces(tokenizer, best.indices[:5].tolist())
            assert [float(w[:-1]) for w in widths] == pytest.approx(
                [100 * x for x in probabilities], abs=0.01
            )
            if at + 1 < ids.shape[1]:
                chance = p[ids[0, at + 1]].item()
                assert float(place.get_attribute("data-chance")) == pytest.approx(chance, abs=2e-5)
                rank = 1 + (p > chance).sum().item()
                assert abs(int(place.get_attribute("data-rank")) - rank) <= 0.001 * rank
            else:
                assert place.get_attribute("data-chance") == ""
    assert not complaints(driver)


@needs_browser
@pytest.mark.slow
def test_buttons_step_through_and_the_sentence_says_it(driver, address, data, model):
    place = open_widget(driver, address)
    stages, prompt = data["lens"]["stages"], data["lens"]["prompts"][0]
    back, on = button(place, "One part back"), button(place, "One part on")
    assert not back.is_enabled()
    said = place.find_element("css selector", ".lens-sentence")
    tokens = place.find_elements("css selector", ".token-row button")
    tokens[-1].send_keys(Keys.ARROW_LEFT)  # the last but one, where the text goes on
    at = len(tokens) - 2
    for stage, name in enumerate(stages):
        norm, added, entropy, words, *_ = prompt["steps"][stage][at]
        assert place.get_attribute("data-shown-stage") == str(stage)
        assert control(place, "Stage").get_attribute("aria-valuetext") == name
        assert f"length (norm) {norm:.2f}" in said.text
        assert f"would say “{visible(words[0])}”" in said.text
        assert f"entropy is {entropy:.2f} nats" in said.text
        assert f"“{visible(prompt['tokens'][-1])}” follows" in said.text
        assert (f"added has the length {added:.2f}" in said.text) == (stage > 0)
        row = place.find_element("css selector", '.lens-way tr[aria-current="step"]')
        assert row.text.startswith(f"{name} {norm:.2f} {entropy:.2f} {visible(words[0])} ")
        if stage + 1 < len(stages):
            on.click()
    assert "the model's answer" in said.text
    assert not on.is_enabled()
    back.click()
    assert place.get_attribute("data-shown-stage") == str(len(stages) - 2)
    control(place, "Stage").send_keys(Keys.HOME)
    assert "the embedding" in said.text
    assert f"{math.log(model.config.vocab_size):.2f} would be no idea" in place.text
    picture(driver, "lens")


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone_nothing_is_too_wide(tmp_path, data, dark):
    with browser(PHONE, dark=dark) as driver:
        place = open_widget(driver, widget_page(tmp_path, "lens", data, dark=dark))
        for number in range(len(maker.PROMPTS)):
            put(driver, control(place, "Text"), number)
            put(driver, control(place, "Stage"), 5)
            assert not too_wide(driver)
        picture(driver, f"lens-phone-{'dark' if dark else 'light'}")
        assert not complaints(driver)

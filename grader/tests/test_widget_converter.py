"""The converter agrees with lesson 10's measures, whichever field is changed, and refuses nonsense."""

import json
import math
import re

import pytest

from solutions.engine.vocabulary import gpt2_encoding
from solutions.perplexity import bits_per_byte, bits_per_character

from .browser import PHONE, browser, complaints, needs_browser, picture
from .widget_page import WIDGETS, control, open_widget, put, shared_page, too_wide, widget_page

address = shared_page("converter")
LABELS = {
    "nats": "Loss, nats per token",
    "bits": "Bits per token",
    "perplexity": "Perplexity",
    "bytes-per-token": "Bytes per token",
    "characters-per-token": "Characters per token",
    "bpb": "Bits per byte",
    "bpc": "Bits per character",
}


def texts() -> dict[str, tuple[str, int]]:
    """The texts in the script, with the number of tokens that it claims."""
    script = (WIDGETS / "converter.js").read_text(encoding="utf-8")
    found = re.findall(r'name: "(.*?)", tokens: (\d+), text: ("(?:[^"\\]|\\.)*")', script)
    return {name: (json.loads(text), int(tokens)) for name, tokens, text in found}


def test_the_texts_have_as_many_tokens_as_the_script_says():
    assert len(texts()) >= 5
    for name, (text, tokens) in texts().items():
        assert len(gpt2_encoding().encode_ordinary(text)) == tokens, name


def values(place) -> dict[str, float]:
    return {key: float(place.get_attribute(f"data-{key}")) for key in LABELS}


def expected(nats: float, n_bytes: float, n_characters: float) -> dict[str, float]:
    tokens = 10_000_000  # lesson 10 counts whole bytes and characters
    return {
        "nats": nats,
        "bits": nats / math.log(2),
        "perplexity": math.exp(nats),
        "bytes-per-token": n_bytes,
        "characters-per-token": n_characters,
        "bpb": bits_per_byte(nats * tokens, round(n_bytes * tokens)),
        "bpc": bits_per_character(nats * tokens, round(n_characters * tokens)),
    }


@needs_browser
@pytest.mark.slow
def test_each_field_leads_to_all_others(driver, address):
    place = open_widget(driver, address)
    put(driver, control(place, LABELS["bytes-per-token"]), "4.2")
    put(driver, control(place, LABELS["characters-per-token"]), "4.1")
    for nats in (0.0, 0.01, 1.07, 3.2958, 8.318, 300.0):
        wanted = expected(nats, 4.2, 4.1)
        for key in ("nats", "bits", "perplexity", "bpb", "bpc"):
            put(driver, control(place, LABELS["nats"]), "2")
            field = control(place, LABELS[key])
            field.clear()
            field.send_keys(repr(wanted[key]))
            assert values(place) == pytest.approx(wanted, rel=1e-6, abs=1e-12), (key, nats)
            assert field.get_property("value") == repr(wanted[key])  # what one types stays
            for other, label in LABELS.items():
                if other != key:
                    shown = float(control(place, label).get_property("value"))
                    assert shown == pytest.approx(wanted[other], rel=1e-5)
    assert not complaints(driver)


@needs_browser
@pytest.mark.slow
def test_lengths_change_the_bits_and_not_the_loss(driver, address):
    place = open_widget(driver, address)
    put(driver, control(place, LABELS["nats"]), "1.5")
    put(driver, control(place, LABELS["bytes-per-token"]), "2.5")
    put(driver, control(place, LABELS["characters-per-token"]), "1.25")
    assert values(place) == pytest.approx(expected(1.5, 2.5, 1.25))
    put(driver, control(place, LABELS["characters-per-token"]), "3")
    assert "at least one byte" in place.text


@needs_browser
@pytest.mark.slow
def test_presets_are_the_lengths_of_real_texts(driver, address):
    place = open_widget(driver, address)
    put(driver, control(place, LABELS["nats"]), "2.25")
    for number, (text, tokens) in enumerate(texts().values()):
        put(driver, control(place, "Lengths of"), number)
        found = values(place)
        assert found["bytes-per-token"] == len(text.encode()) / tokens
        assert found["characters-per-token"] == len(text) / tokens
        nats = 2.25 * tokens  # of the whole text
        assert found["bpb"] == pytest.approx(bits_per_byte(nats, len(text.encode())))
        assert found["bpc"] == pytest.approx(bits_per_character(nats, len(text)))
    picture(driver, "converter")


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "text", "sentence"),
    [
        ("nats", "", "please give a number"),
        ("nats", "  ", "please give a number"),
        ("nats", "-1", "cannot be below 0"),
        ("nats", "three", "must be a number, not “three”"),
        ("nats", "NaN", "must be a number"),
        ("nats", "Infinity", "must be a number"),
        ("nats", "1e400", "is too large"),
        ("nats", "3,14", "decimals with a point"),
        ("perplexity", "0", "Perplexity is at least 1"),
        ("perplexity", "0.5", "Perplexity is at least 1"),
        ("bytes-per-token", "0", "must be above 0"),
        ("bytes-per-token", "-4", "must be above 0"),
        ("bpb", "-0.1", "cannot be below 0"),
        ("characters-per-token", "1e-400", "must be above 0"),
        ("bpc", "<b>1</b>", "must be a number, not “<b>1</b>”"),
    ],
)
def test_odd_input_gets_a_sentence_and_changes_nothing(driver, address, key, text, sentence):
    place = open_widget(driver, address)
    before = values(place)
    field = control(place, LABELS[key])
    put(driver, field, text)
    assert sentence in place.find_element("css selector", "[role=alert]").text
    assert field.get_attribute("aria-invalid") == "true"
    assert values(place) == before
    put(driver, control(place, LABELS["bits"]), "5")
    assert place.find_element("css selector", "[role=alert]").text == ""
    assert field.get_attribute("aria-invalid") is None
    assert float(field.get_property("value")) >= 0  # the odd text is gone


@needs_browser
@pytest.mark.slow
def test_what_is_too_large_is_said(driver, address):
    place = open_widget(driver, address)
    put(driver, control(place, LABELS["nats"]), "1000")
    assert control(place, "Perplexity").get_property("value") == "too large"
    assert place.get_attribute("data-perplexity") == ""
    assert "Perplexity is too large for a computer's number" in place.text
    assert float(place.get_attribute("data-bits")) == pytest.approx(1000 / math.log(2))
    put(driver, control(place, "Perplexity"), "50257")
    assert float(place.get_attribute("data-nats")) == pytest.approx(math.log(50257))
    assert not complaints(driver)


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone(tmp_path, dark):
    with browser(PHONE, dark=dark) as phone:
        place = open_widget(phone, widget_page(tmp_path, "converter", {}, dark=dark))
        for number in range(len(texts())):
            put(phone, control(place, "Lengths of"), number)
            assert not too_wide(phone)
        picture(phone, f"converter-phone-{'dark' if dark else 'light'}")

"""The tokenizer widget is GPT-2's tokenizer: every text has tiktoken's ids, merges are lesson 01's."""

import json
import random
from itertools import pairwise

import pytest
from selenium.webdriver.common.keys import Keys

from solutions.engine.vocabulary import character_ranges, gpt2_encoding, gpt2_merges, split_text
from solutions.explore.for_widgets import delivery
from solutions.explore.for_widgets import tokenizer as maker
from solutions.tokenizer import BPETokenizer

from .browser import PHONE, browser, complaints, needs_browser, picture
from .widget_page import button, control, open_widget, put, shared_page, too_wide, widget_page

address = shared_page("tokenizer", "data")
TEXTS = [
    "Once upon a time",
    "It's he'll they've I'm we're you'd 'S 'LL ''s '",
    "a  b   c    \n\n  d\t\te \t\n ",
    "trailing space ",
    "trailing spaces   ",
    "  leading",
    "\n",
    " ",
    "\u00a0\u2003x\u3000y\u0085z\u2028\ufeffw \u180e \u200b!",
    "7 42 365 1999 ١٢٣ ½ ² Ⅷ 一二三 12345678901234567890",
    "Straße, être, naïve, e\u0301te\u0301, a\u0300\u0301\u0302, İstanbul",
    "你好,世界。日本語テスト 한국어 नमस्ते שלום مرحبا ไทย",
    "🙂👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 ❤️ 1️⃣ \U0001f6d8",
    "<|endoftext|> and <|endoftext|",
    "!!!...??? --- === ___ ~~~ @#$%^&*()",
    "def f(x):\n    return x ** 2  # square\n\n\n",
    "\ufffd\x00\x01\x1c\x1f\x7f\x80",
    "\U00016ea0\U0001e6c0 \u088f1\ua7ce2",  # letters of Unicode 17, which tiktoken takes for signs
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "",
]
LONE = ["\ud83d", "a\udc00b", "\ude42\ud83d", "x \ud800 y\udfff\udfff"]


def reference(text: str) -> list[int]:
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return gpt2_encoding().encode_ordinary(whole)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return maker.make(tmp_path_factory.mktemp("none"))


def test_the_data_are_the_merges_and_keep_their_budget(data):
    value = data[maker.FILE]
    assert len(delivery(maker.FILE, value)) <= maker.BUDGET[maker.FILE]
    ids = {bytes_: i for i, bytes_ in BPETokenizer.gpt2().token_bytes.items()}
    pairs = [(ids[left], ids[right]) for left, right in gpt2_merges()]
    text = value["merges"]
    assert [(int(text[i : i + 4], 16), int(text[i + 4 : i + 8], 16))
            for i in range(0, len(text), 8)] == pairs  # fmt: skip


def put_text(driver, place, text: str) -> list[int]:
    """Put any text in, half characters too (they cannot cross to the browser but as escapes)."""
    driver.execute_script(
        "arguments[0].value = JSON.parse(arguments[1]);"
        "arguments[0].dispatchEvent(new Event('input', {bubbles: true}));",
        control(place, "Text"),
        json.dumps(text),
    )
    return [int(i) for i in place.get_attribute("data-ids").split()]


@needs_browser
@pytest.mark.slow
def test_every_text_has_tiktokens_ids(driver, address):
    place = open_widget(driver, address)
    for text in TEXTS + LONE:
        typed = text.replace("\r\n", "\n").replace("\r", "\n")  # as text fields do
        assert put_text(driver, place, text) == reference(typed), ascii(text)
        whole = typed.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        assert int(place.get_attribute("data-characters")) == len(whole)
        assert int(place.get_attribute("data-bytes")) == len(whole.encode())
        assert int(place.get_attribute("data-pieces")) == len(split_text(whole))
        assert int(place.get_attribute("data-tokens")) == len(reference(typed))
    assert not complaints(driver)


@needs_browser
@pytest.mark.slow
def test_letters_numbers_and_spaces_begin_and_end_where_tiktokens_do(driver, address):
    """Both sides of each border, between letters, numbers, spaces and each other."""
    place = open_widget(driver, address)
    ends = {int(end, 16) for ranges in character_ranges().values()
            for end in ranges.replace("-", " ").split()}  # fmt: skip
    codes = sorted({end + by for end in ends for by in (-1, 0, 1)} - {13})
    random.Random(1).shuffle(codes)
    for start in range(0, len(codes), 1400):
        text = "".join(f"a{chr(c)}{chr(c)}1 {chr(c)}" for c in codes[start : start + 1400])
        assert put_text(driver, place, text) == reference(text), start


@needs_browser
@pytest.mark.slow
def test_random_texts_have_tiktokens_ids(driver, address):
    place = open_widget(driver, address)
    draw = random.Random(2)
    alphabet = ["a", "B", " ", " ", "\n", "\t", "'", "s", "ll", "1", "½", "é", "\u0301", "好", "🙂", "\u200d", "!", "\u00a0", "of", "the", "ing"]  # fmt: skip
    for _ in range(150):
        text = "".join(draw.choices(alphabet, k=draw.randrange(1, 60)))
        assert put_text(driver, place, text) == reference(text), ascii(text)


@needs_browser
@pytest.mark.slow
def test_the_merges_go_step_by_step_as_in_lesson_01(driver, address):
    place = open_widget(driver, address)
    tokenizer = BPETokenizer.gpt2()
    field = control(place, "Text")
    field.clear()
    field.send_keys("unbelievable stories")
    panel = place.find_element("css selector", ".merges")
    ids = [int(i) for i in panel.get_attribute("data-parts").split()]
    assert tokenizer.decode(ids) == "unbelievable" and len(ids) == 12
    slider = control(place, "Merges made")
    for step in range(1, int(slider.get_attribute("max")) + 1):
        pairs = list(pairwise(ids))
        made = min(tokenizer.merged.get(pair, 10**9) for pair in pairs)
        at = [tokenizer.merged.get(pair) for pair in pairs].index(made)
        button(place, "Next merge").click()
        assert panel.get_attribute("data-pair") == f"{ids[at]} {ids[at + 1]}"
        assert int(panel.get_attribute("data-rank")) == made - 256
        assert f"rank {made - 256}; its id is {made}" in panel.text
        ids[at : at + 2] = [made]
        assert [int(i) for i in panel.get_attribute("data-parts").split()] == ids
        assert panel.get_attribute("data-step") == str(step)
    assert ids == tokenizer.encode("unbelievable")
    assert not button(place, "Next merge").is_enabled()
    button(place, "Back").click()
    slider.send_keys(Keys.HOME)  # the slider follows the keyboard
    assert panel.get_attribute("data-step") == "0"
    slider.send_keys(Keys.ARROW_RIGHT)
    assert panel.get_attribute("data-step") == "1"
    place.find_elements("css selector", ".pieces button")[0].send_keys(Keys.ARROW_RIGHT)
    assert "Piece 2 of 2: “␣stories”" in panel.text
    assert "16 of" not in place.text
    rows = place.find_elements("css selector", ".merges table tr")
    assert len(rows) == 1 + int(slider.get_attribute("max"))
    picture(driver, "tokenizer-merges")


@needs_browser
@pytest.mark.slow
def test_it_counts_and_says_what_is_odd(driver, address):
    place = open_widget(driver, address)
    put_text(driver, place, "Once upon a time")
    assert "16 characters, 16 bytes, 4 pieces, 4 tokens: 4.00 bytes per token." in place.text
    put_text(driver, place, "<|endoftext|>")
    assert "ordinary text" in place.text
    put_text(driver, place, "\ud83d")
    assert "lone surrogate" in place.text
    put_text(driver, place, "")
    assert "No text, no tokens" in place.text
    put_text(driver, place, "a" * 30_000)
    assert "first 10,000 characters" in place.text
    assert place.get_attribute("data-characters") == "10000"


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone(tmp_path, data, dark):
    with browser(PHONE, dark=dark) as phone:
        place = open_widget(phone, widget_page(tmp_path, "tokenizer", data, dark=dark))
        for text in ("Once upon a time, there was a little dragon.", "🙂" * 40, "x" * 300):
            put(phone, control(place, "Text"), text)
            assert not too_wide(phone)
        put(phone, control(place, "Text"), "Once upon a time, there was a dragon 🙂 é")
        picture(phone, f"tokenizer-phone-{'dark' if dark else 'light'}")
        assert not complaints(phone)

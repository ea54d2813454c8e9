"""The model in the page computes what torch computes with the same weights, and writes while one types."""

import base64
import gzip
import json
import time

import numpy as np
import pytest
import torch
from selenium.webdriver.common.by import By

from solutions.engine.page_model import page_data, rounded
from solutions.engine.pretrained import load_model
from solutions.engine.storyteller import storyteller_folder
from solutions.engine.tokenizers import BytePairTokenizer, load_tokenizer
from solutions.explore.for_widgets import delivery
from solutions.explore.for_widgets import story as maker
from solutions.model import GPT, GPTConfig
from solutions.tokenizer import train_bpe

from .browser import PHONE, asked_for, browser, complaints, needs_browser, picture
from .test_widget_tokenizer import LONE, TEXTS
from .widget_page import WIDGETS, button, control, open_widget, put, too_wide, wait_for, widget_page

PAGE_BYTES = 6_000_000
CLOSE = 1e-4  # promised are 1e-3, seen are 2e-5
PROMPTS = [
    "Once upon a time, there was a little girl named Lily.",
    "Tom",
    'The dog said: "Woof!" 42 — naïve 🙂',
    "x" * 50,
]
LOGITS = """
const done = arguments[arguments.length - 1], ids = arguments[0];
const story = document.querySelector(".widget").story;
story.load().then(async ({ model }) => {
  const all = new Float32Array(ids.length * model.config.vocab_size);
  for (let length = 1; length <= ids.length; length++) {
    all.set(await story.run(model.next(ids.slice(0, length))), (length - 1) * model.config.vocab_size);
  }
  let text = "";
  const bytes = new Uint8Array(all.buffer);
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  done(btoa(text));
}).catch((error) => done(`!${error}`));
"""

# From outside, a click takes longer than a short story; in the page it comes at its next turn.
STOP_AT_THE_FIRST_WORDS = """
const [place, stop] = arguments, words = place.querySelector(".story-new");
new MutationObserver((_, observer) => {
  if (!words.textContent) return;  // the story before has been wiped away
  observer.disconnect();
  setTimeout(() => stop.click());
}).observe(words, { childList: true });
"""


def logits_of_page(driver, ids: list[int], vocab_size: int) -> torch.Tensor:
    driver.set_script_timeout(300)
    answer = driver.execute_async_script(LOGITS, ids)
    assert not answer.startswith("!"), answer
    answer = base64.b64decode(answer)
    return torch.from_numpy(np.frombuffer(answer, "<f4").reshape(len(ids), vocab_size).copy())


@torch.no_grad()
def logits_of_torch(model: GPT, ids: list[int]) -> torch.Tensor:
    """At each place the logits from the window that the page says it has: halves of block_size."""
    block_size = model.config.block_size
    half = block_size // 2
    rows = []
    for length in range(1, len(ids) + 1):
        start = 0
        while length - start > block_size:
            start += half
        rows.append((start, length))
    known = {}
    for start in {start for start, _ in rows}:
        behind = max(length for begin, length in rows if begin == start)
        known[start] = model(torch.tensor([ids[start:behind]]))[0][0]
    return torch.stack([known[start][length - start - 1] for start, length in rows])


@pytest.fixture(scope="module")
def own():
    folder = storyteller_folder()
    return load_model(folder), load_tokenizer(str(folder))


@pytest.fixture(scope="module")
def page(tmp_path_factory, own):
    folder = tmp_path_factory.mktemp("story")
    return widget_page(folder, "story", {"story": page_data(*own)}, prompt="Once upon a time")


def state(place) -> str:
    return place.get_attribute("data-state")


def story(place) -> str:
    return place.find_element(By.CSS_SELECTOR, ".story-told").get_property("textContent")


def finish(place) -> None:
    wait_for(lambda: state(place) == "done", 240)


def odd_model() -> tuple[GPT, BytePairTokenizer]:
    """Heads that do not divide the width, a head of its own, an odd inner width, a tiny window."""
    tokenizer = BytePairTokenizer(train_bpe("the cat and the hat and the bat " * 9, 270))
    torch.manual_seed(3)
    config = GPTConfig(tokenizer.vocab_size, 11, 3, 4, 30, n_inner=53, tie_weights=False)
    model = GPT(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model, tokenizer


def test_script_and_data_stay_below_six_million_bytes(own):
    value = maker.make(storyteller_folder())[maker.FILE]
    size = len(delivery(maker.FILE, value))
    assert size <= maker.BUDGET[maker.FILE]
    scripts = [(WIDGETS / name).read_bytes() for name in ("story.js", "course.js")]
    assert size + sum(map(len, scripts)) <= PAGE_BYTES
    assert len(gzip.compress(scripts[0])) < 20_000


@pytest.mark.slow
@needs_browser
def test_logits_are_those_of_torch_at_every_place_and_over_the_windows_edge(page, own):
    model, tokenizer = rounded(own[0]), own[1]
    long = tokenizer.encode("Tom and Lily went to the park. They saw a big dog, and it ran. " * 25)
    worst = {}
    with browser() as driver:
        open_widget(driver, page)
        for ids in [*map(tokenizer.encode, PROMPTS), [tokenizer.end_of_text], long[:420]]:
            found = logits_of_page(driver, ids, model.config.vocab_size)
            worst[len(ids)] = float((found - logits_of_torch(model, ids)).abs().max())
    print("largest difference by length:", worst)
    assert len(long) >= 420 > 256 + 128
    assert max(worst.values()) < CLOSE


@pytest.mark.slow
@needs_browser
def test_logits_of_an_odd_shape(tmp_path):
    model, tokenizer = odd_model()
    ids = torch.randint(0, tokenizer.vocab_size, (40,), generator=torch.Generator().manual_seed(1))
    with browser() as driver:
        open_widget(
            driver, widget_page(tmp_path / "p", "story", {"story": page_data(model, tokenizer)})
        )
        found = logits_of_page(driver, ids.tolist(), tokenizer.vocab_size)
        again = logits_of_page(driver, ids[:7].tolist(), tokenizer.vocab_size)  # the cache is ahead
    expected = logits_of_torch(rounded(model), ids.tolist())
    assert (found - expected).abs().max() < CLOSE / 5
    assert (again - expected[:7]).abs().max() < CLOSE / 5
    assert found.std() > 1  # logits that differ: else anything would be close


@pytest.mark.slow
@needs_browser
def test_it_splits_and_joins_text_as_python_does(page, own):
    script = """
      const done = arguments[arguments.length - 1], texts = JSON.parse(arguments[0]);
      document.querySelector(".widget").story.load().then(({ tokenizer }) =>
        done(JSON.stringify(texts.map((text) => tokenizer.encode(text)))));"""
    every = "".join(chr(c) for c in range(0x20, 0x11000) if not 0xD800 <= c < 0xE000)
    mixed = "".join(chr(c) + " a1!"[i % 4] for i, c in enumerate(range(0x80, 0x3100)))
    texts = [*TEXTS, *LONE, every, mixed, " ".join(PROMPTS)]
    with browser() as driver:
        open_widget(driver, page)
        found = json.loads(driver.execute_async_script(script, json.dumps(texts)))
    for text, ids in zip(texts, found, strict=True):
        whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        assert ids == own[1].encode(whole), text[:50]


@pytest.mark.slow
@needs_browser
def test_it_writes_as_one_types_and_the_same_again(page):
    with browser() as driver:
        place = open_widget(driver, page)
        assert state(place) == "waiting" and not button(place, "Stop").is_enabled()
        assert not [url for url in asked_for(driver) if "data/story.js" in url]  # loaded on demand

        control(place, "Begin a story").clear()
        control(place, "Begin a story").send_keys("The little cat")
        wait_for(lambda: state(place) == "writing", 60)
        wait_for(lambda: len(story(place)) > len("The little cat") + 10, 60)
        assert story(place).startswith("The little cat")
        picture(driver, "story-desktop")
        finish(place)
        first, tokens = story(place), int(place.get_attribute("data-tokens"))
        assert tokens > 1 and float(place.get_attribute("data-speed")) > 0
        print(place.find_element(By.CSS_SELECTOR, "[role=status]").text)

        button(place, "Write").click()  # the same seed tells the same story
        finish(place)
        assert story(place) == first

        driver.execute_script(STOP_AT_THE_FIRST_WORDS, place, button(place, "Stop"))
        button(place, "Write").click()
        wait_for(lambda: state(place) == "stopped")
        told = story(place)
        assert first.startswith(told) and len("The little cat") < len(told) < len(first)
        time.sleep(0.5)  # enough for dozens of tokens
        assert story(place) == told and state(place) == "stopped"
        assert not button(place, "Stop").is_enabled()

        button(place, "Again, another one").click()
        assert control(place, "Seed").get_property("value") == "2"
        finish(place)
        assert story(place) != first

        put(driver, control(place, "Temperature"), 0)  # the likeliest, whatever the seed
        wait_for(lambda: state(place) == "writing", 20)
        finish(place)
        greedy = story(place)
        button(place, "Again, another one").click()
        finish(place)
        assert story(place) == greedy

        assert complaints(driver) == []


@pytest.mark.slow
@needs_browser
def test_it_begins_with_nothing_and_keeps_the_page_awake(page, own):
    """An empty beginning starts behind the end of another story; the page gets its turns meanwhile."""
    watch = """
        window.turns = 0;
        const place = document.querySelector("[data-state]");
        const look = () => {
          if (place.dataset.state === "writing") window.turns++;
          setTimeout(look, 0);
        };
        look();
    """
    with browser() as driver:
        place = open_widget(driver, page)
        driver.execute_script(watch)
        put(driver, control(place, "Temperature"), 0)
        put(driver, control(place, "Begin a story"), "")
        wait_for(lambda: place.get_attribute("data-state") == "writing", 60)
        finish(place)
        turns = driver.execute_script("return window.turns")
        text = story(place)
        tokens = int(place.get_attribute("data-tokens"))
    ids = [own[1].end_of_text]
    twin = rounded(own[0])
    with torch.no_grad():
        for _ in range(10):
            ids.append(int(twin(torch.tensor([ids]))[0][0, -1].argmax()))
    assert text.startswith(own[1].decode(ids[1:]))
    assert turns > tokens / 10  # a token takes 5 ms, and every 12 ms the page gets a turn


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone(tmp_path, own, dark):
    address = widget_page(tmp_path / "p", "story", {"story": page_data(*own)}, dark=dark)
    with browser(PHONE, dark=dark) as driver:
        place = open_widget(driver, address)
        button(place, "Write").click()
        finish(place)
        picture(driver, f"story-phone-{'dark' if dark else 'light'}")
        assert not too_wide(driver)
        spoken = place.find_element(By.CSS_SELECTOR, "[aria-live=polite]").get_property(
            "textContent"
        )
        assert spoken


@pytest.mark.slow
@needs_browser
def test_with_less_motion_it_shows_whole_sentences(page):
    with browser() as driver:
        scheme = {"name": "prefers-reduced-motion", "value": "reduce"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        place = open_widget(driver, page)
        driver.execute_script("""
          window.lengths = new Set();
          new MutationObserver(() => window.lengths.add(document.querySelector(".story-new").textContent))
            .observe(document.querySelector(".story-new"), { childList: true });""")
        button(place, "Write").click()
        finish(place)
        shown = driver.execute_script("return [...window.lengths]")
        tokens = int(place.get_attribute("data-tokens"))
    assert 1 <= len(shown) <= max(2, tokens // 2)

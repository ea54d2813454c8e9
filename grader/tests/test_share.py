"""`report --share`: one file that runs the learner's own model, and asks nobody for anything."""

import shutil

import pytest

from solutions.engine import commands, share
from solutions.engine.errors import CourseError
from solutions.engine.page_model import rounded
from solutions.engine.pretrained import load_model
from solutions.engine.run_folder import RunFolder
from solutions.engine.stories import Storyteller

from .browser import PHONE, asked_for, browser, complaints, needs_browser, picture
from .test_story_widget import CLOSE, finish, logits_of_page, logits_of_torch, story
from .widget_page import button, control, put, too_wide, wait_for

TEXT = "the cat sat on the mat. <b>the</b> dog & the cat ran </script> to the mat.\n"


def command(*arguments: str) -> int:
    return commands.main(list(arguments))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    """A tiny run, whose tokenizer has learned words that could end a script."""
    folder = tmp_path_factory.mktemp("share")
    (folder / "cats.txt").write_text((TEXT * 12 + "<|endoftext|>\n") * 30)
    sizes = "--n-layer 2 --n-head 2 --n-embd 16 --block-size 24 --tokenizer bpe:300 --batch-size 4"
    assert command("run", "--data", str(folder / "cats.txt"), "--out", str(folder / "run"),
                   "--steps", "30", "--quiet", "--device", "cpu", *sizes.split()) == 0  # fmt: skip
    return RunFolder(folder / "run")


def test_the_command_writes_one_page_and_says_its_size(run, capsys):
    assert command("report", "--out", str(run.path), "--share") == 0
    page = run.path / "share.html"
    told = capsys.readouterr().out
    assert f"{page} ({page.stat().st_size / 1e6:.1f} MB)" in told
    content = page.read_text(encoding="utf-8")
    assert content.count("</script>") == 3  # none of them the tokenizer's
    assert "https://" not in content.replace("https://www.w3.org", "")
    assert str(run.path.parent) not in content  # no path of the learner's machine


def test_without_the_option_there_is_no_page(run):
    (run.path / "share.html").unlink(missing_ok=True)
    assert command("report", "--out", str(run.path)) == 0
    assert not (run.path / "share.html").exists()


def test_other_tokenizers_are_refused_with_a_sentence(run, tmp_path):
    class Words:
        name = "sentencepiece:100"
        vocab_size = 300

    teller = Storyteller(load_model(run.best), Words())
    with pytest.raises(CourseError, match="not sentencepiece:100: train with one of these"):
        share.write_share(run, teller)


def test_a_site_without_its_scripts_is_a_sentence(run, monkeypatch, tmp_path):
    monkeypatch.setattr(share, "SCRIPTS", tmp_path)
    with pytest.raises(CourseError, match=r"course.js is missing"):
        share.write_share(run, Storyteller.load(run.best))


def test_the_page_begins_as_the_data_do_and_without_them_as_fairy_tales_do(run, tmp_path):
    teller = Storyteller.load(run.best)
    assert TEXT.startswith(share.first_prompt(run, teller).split(".")[0])
    assert share.first_prompt(RunFolder(tmp_path), teller) == "Once upon a time"


@pytest.mark.slow
@needs_browser
def test_the_page_runs_the_learners_model_and_asks_nobody(run, tmp_path):
    assert command("report", "--out", str(run.path), "--share") == 0
    page = tmp_path / "sent by mail.html"  # it needs nothing beside it
    shutil.copy(run.path / "share.html", page)
    model = load_model(run.best)
    ids = Storyteller.load(run.best).tokenizer.encode(TEXT * 3)[:60]
    with browser() as driver:
        driver.get(page.as_uri())
        place = driver.find_element("css selector", ".widget")
        wait_for(lambda: place.get_attribute("data-ready") == "yes")
        put(driver, control(place, "Begin a story"), "the dog")
        finish(place)
        assert story(place).startswith("the dog") and len(story(place)) > 20
        found = logits_of_page(driver, ids, model.config.vocab_size)
        asked, complained = asked_for(driver), complaints(driver)
        picture(driver, "share-desktop")
    expected = logits_of_torch(rounded(model), ids)
    assert float((found - expected).abs().max()) < CLOSE
    assert asked == [page.as_uri()]
    assert complained == []


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_a_phone(run, dark):
    assert command("report", "--out", str(run.path), "--share") == 0
    with browser(PHONE, dark=dark) as driver:
        driver.get((run.path / "share.html").as_uri())
        place = driver.find_element("css selector", ".widget")
        wait_for(lambda: place.get_attribute("data-ready") == "yes")
        button(place, "Write").click()
        finish(place)
        picture(driver, f"share-phone-{'dark' if dark else 'light'}")
        assert not too_wide(driver)

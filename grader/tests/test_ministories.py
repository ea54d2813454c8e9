"""The embedded stories: same bytes everywhere, no two alike, nothing that a reader stumbles over.

The checks read the text as a picky editor would: articles, quotation marks, who "she" is, whether
what comes back at the end was ever introduced.
"""

import hashlib
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from solutions.engine.ministories import (
    PLOTS,
    finding,
    helping,
    keeping,
    mending,
    people,
    scene,
    sharing,
    stories,
    story,
    trying,
    words,
)

ROOT = Path(__file__).resolve().parents[2]
FIRST_THOUSAND = "fa927284127414ba432308ed9f81741d7b2cd3149ddcc345c79c07b4b57a3e93"

COLOURS = "|".join(colour.name for colour in words.COLOURS)
PEOPLE = {
    person.name: person.female
    for person in (*people.CHILDREN, *people.LITTLE_ANIMALS, *people.GROWN_UPS)
}
SPEECH = re.compile(r'"[^"]*"')
SPOKEN = r'"(?:(?:[A-Z]|and |but ).*[.,!?]|[a-z]+)"'  # the last for a soft "peep"
SAYS = r"(?:(?:s?he|they) )?(?:said|asked|cried|called|shouted|thought)\b"


@pytest.fixture(scope="module")
def sample() -> list[str]:
    """Stories of several seeds."""
    return [text for seed in (0, 1, 2**40) for text in stories(seed, 1000 * (seed > 0), 1500)]


def told(plot: str, count: int = 300) -> list[str]:
    """Stories that follow one plot."""
    tell = next(function for function in PLOTS if function.__name__ == plot)
    return [tell(scene.Dice(7, index)) for index in range(count)]


def find(pattern: str, text: str) -> tuple[str, ...]:
    """The groups of a pattern that the text must contain."""
    match = re.search(pattern, text)
    assert match, f"no {pattern!r} in:\n{text}"
    return match.groups()


def test_the_same_bytes_everywhere() -> None:
    """A change of the generator changes what everybody trains on: it must not happen unseen."""
    text = "\n\n".join(stories(0, 0, 1000))
    assert hashlib.sha256(text.encode("ascii")).hexdigest() == FIRST_THOUSAND


def test_any_range_can_be_made_alone() -> None:
    """A story depends on its seed and number, not on what was made before it or where."""
    some = list(stories(3, 0, 60))
    assert list(stories(3, 20, 15)) == some[20:35]
    assert [story(3, index) for index in reversed(range(60))] == some[::-1]
    code = (
        "from solutions.engine.ministories import stories; print(*stories(3, 0, 60), sep='\\n\\n')"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "123", "LC_ALL": "C"}
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True
    ).stdout
    assert output.decode("ascii").replace("\r\n", "\n") == "\n\n".join(some) + "\n"


def test_seeds_and_numbers_make_different_stories() -> None:
    """20,000 stories of a seed are all different, and no other seed tells them again."""
    first = list(stories(0, 0, 20_000))
    assert len(set(first)) == 20_000
    for seed in (1, -1, 2**32, 2**63):
        assert set(first).isdisjoint(stories(seed, 0, 1000))


def test_there_are_more_than_a_million() -> None:
    """One plot's names, things, colours and places alone make a million; all stand in the text."""
    names = len(people.GIRLS.split()) + len(people.BOYS.split())
    places = len(words.PLACES)
    count = names * (names - 1) * len(words.COLOURS) * len(words.LOSABLE) * places * (places - 1)
    assert count > 50_000_000


def test_every_plot_comes_equally_often() -> None:
    """The dice are fair: no plot crowds out another."""
    counts = Counter(scene.Dice(0, index).pick(PLOTS).__name__ for index in range(16_000))
    assert len(counts) == len(PLOTS) == 16
    assert all(850 < count < 1150 for count in counts.values())


def test_fast_enough() -> None:
    """At least 5 MB/s on one core, so that a run never waits for its stories."""
    rates = []
    for start in range(0, 6000, 2000):
        begin = time.process_time()
        size = sum(map(len, stories(9, start, 2000)))
        rates.append(size / (time.process_time() - begin))
    assert max(rates) > 5e6


def test_form(sample: list[str]) -> None:
    """Plain ASCII, 100 to 250 words, no stray spaces, no empty slot, no word twice in a row."""
    for text in sample:
        assert text.isascii()
        assert 100 <= len(text.split()) <= 250
        assert not re.search(r"  | \n|\n |\n\n|^\s|\s$|[\t\r{}<>_|\\]|None", text), text
        assert not re.search(r"\b(\w+) \1\b", text), text
        assert not re.search(r"[,.!?]{2}| [,.!?]", text), text


def test_sentences(sample: list[str]) -> None:
    """Quotes are balanced, sentences start with a capital and end with a mark."""
    for text in sample:
        for paragraph in text.split("\n"):
            assert paragraph.count('"') % 2 == 0, paragraph
            assert re.match(r'"?[A-Z]', paragraph), paragraph
            assert re.search(r'[.!?]"?$', paragraph), paragraph
            for speech in SPEECH.findall(paragraph):
                assert re.fullmatch(SPOKEN, speech), speech
            for mark, after in re.findall(r'([.!?]"?) (\S+ \w+)', paragraph):
                says = mark.endswith('"') and re.match(SAYS, after)
                assert says or re.match(r'"?[A-Z]', after), (mark, after, paragraph)


def test_articles(sample: list[str]) -> None:
    """ "an" before a vowel, "a" before everything else."""
    for text in sample:
        for article, word in re.findall(r"\b([Aa]n?) (\w+)", text):
            assert (article.lower() == "an") == (word[0] in "aeiou"), f"{article} {word}"


def test_pronouns_fit_the_cast(sample: list[str]) -> None:
    """A story about girls has no "he", one about boys has no "she"."""
    checked = 0
    for text in sample:
        spoken_of = set(re.findall(r"\w+", text))
        cast = {PEOPLE[word] for word in spoken_of if word in PEOPLE}
        pronouns = {word.lower() for word in spoken_of}
        if cast == {True}:
            assert pronouns.isdisjoint({"he", "him", "his", "boy"}), text
        if cast == {False}:
            assert pronouns.isdisjoint({"she", "her", "girl"}), text
        checked += len(cast) == 1
    assert checked > 500


def test_everyone_knows_who_she_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each "he", "she", "his" means whoever of that kind was named last."""

    def mark(person: people.Person) -> people.Person:
        owned = {key: f"{getattr(person, key)}_{person.name}" for key in ("he", "his", "He", "His")}
        kind = f"grown_{person.name}" if person in people.GROWN_UPS else person.kind
        return person._replace(kind=kind, him="THEM", **owned)

    grown_ups = tuple(map(mark, people.GROWN_UPS))
    grandparents = tuple(map(mark, people.GRANDPARENTS))
    for module in (finding, helping, keeping, mending, sharing, trying):
        monkeypatch.setattr(module, "GROWN_UPS", grown_ups, raising=False)
        monkeypatch.setattr(module, "GRANDPARENTS", grandparents, raising=False)
    for table in ("CHILDREN", "LITTLE_ANIMALS"):
        monkeypatch.setattr(scene, table, tuple(map(mark, getattr(scene, table))))
    pronouns = 0
    for text in stories(4, 0, 3000):
        last: dict[bool, str] = {}
        for word, owner in re.findall(r"([A-Za-z]+)(?:_([A-Z][a-z]+))?", SPEECH.sub("", text)):
            if word.lower() in ("he", "she", "his", "her"):
                assert last.get(PEOPLE[owner]) == owner, f"{word} means {owner} in:\n{text}"
                pronouns += 1
            if (owner or word) in PEOPLE:
                last[PEOPLE[owner or word]] = owner or word
    assert pronouns > 5000


def test_what_comes_back_was_introduced(sample: list[str]) -> None:
    """ "the red kite" was "a red kite" before; the last sentence brings nobody and nothing new."""
    definite = re.compile(rf"\b(?:the|my|his|her|your) ((?:{COLOURS}) \w+)")
    names_and_numbers = {*PEOPLE, *words.NUMBERS[1:], *COLOURS.split("|")}
    for text in sample:
        for match in definite.finditer(text):
            thing = match[1].removesuffix("s")
            assert re.search(rf"\b(?:an?|pair of) {thing}", text[: match.start()]), (thing, text)
        before, last = re.split(r'(?<=[.!?"])\s(?=[^.!?]*.$)', text, maxsplit=1)
        new = set(re.findall(r"\w+", last)) - set(re.findall(r"\w+", before))
        assert not new & names_and_numbers, text


def test_lost_things_lie_where_they_were_left() -> None:
    """Two places were visited, and the search goes back to what was done when it was put down."""
    by_doing = {form: place for place in words.PLACES for form in (place.did, place.doing)}
    for text in told("lost_and_found"):
        (doing,) = find(r'I (?:put it down|took \w+ off) when we (?:were )?([^!]+)!"', text)
        place = by_doing[doing]
        visit, _, search = text.partition(f"{doing}!")
        assert place.did in visit and place.to in search, text
        assert any(spot in search for spot in place.spots), text
        (thing,) = find(rf"the ((?:{COLOURS}) \w+)", search)
        assert thing in visit, text


def test_half_of_the_lunch() -> None:
    """Eight pancakes are four for each, and the umbrella has one colour."""
    for text in told("sharing_lunch"):
        colours = set(re.findall(rf"({COLOURS}) umbrella", text))
        assert len(colours) == 1, text
        numbers = {word for word in re.findall(r"\w+", text) if word in words.NUMBERS}
        numbers -= {"two"} if "enough for two" in text or "makes two people" in text else set()
        values = sorted(words.NUMBERS.index(number) + 2 for number in numbers)
        assert values[-1] == 2 * values[0] or values == [4], text


def test_the_way_back_is_the_way_there() -> None:
    """The landmarks come again in the opposite order, up the hill becomes down the hill."""
    turned = {landmark.there: landmark.back for landmark in helping.LANDMARKS}
    for text in told("journey"):
        there = find(r" went ([^.]*?), ([^.]*?) and ([^.]*?)\.", text)
        back = [turned.get(step, step) for step in reversed(there)]
        _, _, after = text.partition("way back")
        positions = [after.find(step) for step in back]
        assert min(positions) >= 0 and positions == sorted(positions), text
        (kind,) = find(r"It was an? (\w+) that", text)
        assert f"It was the {kind}!" in after


def test_birthday_wish_age_and_ribbons() -> None:
    """The present is the one wished for, the candles are the years, the ribbons have one colour."""
    for text in told("birthday"):
        wish = find(rf"(?:wanted|wishing for|it was) (an? (?:{COLOURS}) [\w ]+)\.", text)[0]
        _, _, party = text.rpartition("\n")
        assert re.search(rf"(?:Inside was|found|It was) {wish}\b", party), text
        assert len(set(re.findall(rf"({COLOURS}) ribbon", text))) == 1
        age = find(r"(\w+) candles", text)[0]
        assert re.search(rf"\b{age} years old|turned {age}\b", text), text


def test_the_promised_flower_blooms() -> None:
    """What was said about the seed comes true and is said again, word for word."""
    for text in told("waiting"):
        promised = find(r'"([^"]+),"', text)[0]
        assert text.count(f'"{promised},"') == 2
        flower = find(rf"(an? (?:{COLOURS}) \w+)", promised)[0]
        assert text.count(flower) == 3, text


def test_the_trick_is_passed_on() -> None:
    """What helped the hero is told to the next one, who then does the same."""
    trick_of = {said: did for said, did in trying.TRICKS}
    for text in told("being_afraid"):
        said = next(said for said in trick_of if f'"{said}' in text)
        assert text.count(f'"{said}') == 2 and text.count(trick_of[said]) == 2, text


def test_hiders_are_found_where_they_hid() -> None:
    """Three friends hide in three places and come out of the same ones."""
    for text in told("hide_and_seek"):
        places = [place for place in words.HIDING_PLACES if place in text]
        assert len(places) == 3
        for place in places:
            assert place in text.split("\n")[1] and text.count(place) >= 2, text

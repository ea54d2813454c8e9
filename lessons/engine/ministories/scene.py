"""What all plots share: the dice, the cast, how a story starts and ends."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from .people import CHILDREN, LITTLE_ANIMALS, Person
from .words import COLOURS, HOBBIES, NEAR, TRAITS, Hobby

PARAGRAPH = "\n"
MASK = (1 << 64) - 1
STEP = 0x9E3779B97F4A7C15  # 2 ** 64 divided by the golden ratio, and odd


def mix(number: int) -> int:
    """Scramble 64 bits, one to one."""
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB & MASK
    return number ^ (number >> 31)


class Dice:
    """SplitMix64 (Steele, Lea and Flood 2014): integers only, so alike on every platform.

    The two mixes at the start set the sequences of neighbouring stories and seeds far apart.
    """

    __slots__ = ("state",)

    def __init__(self, seed: int, index: int) -> None:
        self.state = mix(mix(seed * STEP + 1 & MASK) + index & MASK)

    def pick(self, choices: Sequence[Any]) -> Any:
        """One thing of a table."""
        self.state = state = self.state + STEP & MASK
        return choices[mix(state) * len(choices) >> 64]

    def say(self, *sentences: str) -> str:
        """One of several ways to say it; "" stands for leaving it out."""
        self.state = state = self.state + STEP & MASK
        return sentences[mix(state) * len(sentences) >> 64]

    def some(self, count: int, choices: Sequence[Any]) -> list[Any]:
        """`count` different things of a table, in any order."""
        chosen: list[Any] = []
        while len(chosen) < count:
            choice = self.pick(choices)
            if choice not in chosen:
                chosen.append(choice)
        return chosen


class Opening(NamedTuple):
    text: str
    home: str  # "home", or "back to the house with the red door" where that was told
    hobby: Hobby | None  # where one was told


def friends(dice: Dice, count: int = 2) -> list[Person]:
    """Characters of one world, children or animals, with different names."""
    world = dice.pick((CHILDREN, CHILDREN, LITTLE_ANIMALS))
    cast: list[Person] = []
    while len(cast) < count:
        person = dice.pick(world)
        if all(person.name != other.name for other in cast):
            cast.append(person)
    return cast


def pronoun(hero: Person, *others: Person) -> tuple[str, str]:
    """("she", "She"), or the name twice where the pronoun could mean one of the others."""
    if any(other.female == hero.female for other in others):
        return hero.name, hero.name
    return hero.he, hero.He


def opening(dice: Dice, hero: Person, with_hobby: bool = False) -> Opening:
    """Who the story is about, and for some where they live and what they love to do."""
    say, pick = dice.say, dice.pick
    name, he, him, _, He, His = hero[:6]
    size, trait = say("little", "young"), pick(TRAITS)
    who = f"{size} {hero.kind}"
    home = "home"
    if pick((True, False)):
        door = pick(COLOURS)
        place = f"a {say('small', 'cosy', 'tiny')} {hero.home} with {door.a} door {pick(NEAR)}"
        home = f"back to the {hero.home} with the {door.name} door"
        text = say(
            f"Once upon a time, there was a {who} named {name}. {He} lived in {place}.",
            f"{name} was a {who} who lived in {place}.",
            f"In {place} lived a {trait} {who} called {name}.",
            f"A {trait} {who} named {name} lived in {place}.",
            f"{name} lived in {place}. {He} was a {trait} {who}.",
        )
    else:
        text = say(
            f"Once upon a time, there was a {who} named {name}.",
            f"Once upon a time, there lived a {trait} {who} called {name}.",
            f"Once there was a {trait} {who} called {name}.",
            f"There once was a {who} whose name was {name}.",
            f"{name} was a {trait} {who}.",
        )
    if not with_hobby and pick((True, False)):
        return Opening(text, home, None)
    hobby = pick(HOBBIES)
    text += say(
        f" {He} loved to {hobby.do}.",
        f" More than anything, {he} loved to {hobby.do}.",
        f" Every day, {he} liked to {hobby.do}.",
        f" When {he} had time, {he} liked to {hobby.do}.",
        f" {His} friends knew how much {he} liked to {hobby.do}.",
        f" It made {him} happy to {hobby.do}.",
    )
    return Opening(text, home, hobby)


def ending(dice: Dice, hero: Person, start: Opening, subject: str, *lessons: str) -> str:
    """The last sentences: what the hero made of it all (`subject`), what the hero learned."""
    say, name, he = dice.say, hero.name, hero.he
    lesson = dice.pick(lessons)
    if start.hobby:
        did = start.hobby.did
        evening = say(
            f"That evening, {name} {did} {subject}.",
            f"Before bed, {name} {did} {subject}.",
            f"{name} was so happy that {he} {did} {subject}.",
        )
    else:
        evening = say(
            f"That night, {name} dreamed of {subject}.",
            f"That night, {name} fell asleep with a smile, thinking of {subject}.",
            f"In bed, {name} thought of {subject} and smiled.",
        )
    return say(f"{evening} {lesson}", f"{evening} {lesson}", lesson)


def tell(*beats: str) -> str:
    """Join the beats to a story; an empty beat is left out, PARAGRAPH starts a new line."""
    return " ".join([beat for beat in beats if beat]).replace(" \n ", "\n")

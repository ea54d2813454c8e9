"""Plots about help: what is too high for one, and a journey on which kindness comes back."""

from .people import GRANDPARENTS
from .scene import PARAGRAPH, Dice, ending, friends, opening, pronoun, tell
from .situations import CREATURES, LANDMARKS, TRIES
from .words import (
    BLOWN_AWAY,
    COLOURS,
    FOODS,
    FRUITS,
    HIGH_PLACES,
    TIMES,
    WEATHERS,
    with_article,
)


def out_of_reach(dice: Dice) -> str:
    """A fruit or a thing that the wind took is too high up for one, not for two."""
    say, pick = dice.say, dice.pick
    hero, friend = friends(dice)
    name, he, _, his, He, _ = hero[:6]
    _, Who = pronoun(hero, friend)
    start = opening(dice, hero)
    weather = pick(WEATHERS)
    (try_1, but_1), (try_2, but_2) = dice.some(2, TRIES)
    if pick((True, False)):
        thing, where = pick(FRUITS), "at the top of the tall tree"
        a_thing_there = f"{with_article(thing)} at the top of a tall tree"
        day = f"One {weather.adjective} {pick(TIMES)}"
        problem = say(
            f"{day}, {name} saw {a_thing_there}.",
            f"{day}, there was {a_thing_there}, and {name} wanted to eat it.",
            f"{day}, {name} was hungry, and there was {a_thing_there}.",
        ) + say(" It looked so sweet!", " How good it looked!", f" {weather.line}")
        reward = say(
            f"The {thing} was sweet, and they each ate half of it.",
            f"They cut the {thing} in two, and each of them had a piece.",
            f"Together they ate the {thing}, down to the last bite.",
        )
    else:
        colour, what = pick(COLOURS), pick(BLOWN_AWAY)
        thing, where = f"{colour.name} {what}", pick(HIGH_PLACES)
        problem = say(
            f"One windy {pick(TIMES)}, {name} was out with {colour.a} {what}. "
            f"Whoosh! The wind took it away, and it got stuck {where}.",
            f"{He} had {colour.a} {what}. One {pick(TIMES)}, a strong wind took it "
            f"and carried it up and up, until it was {where}.",
            f"One stormy {pick(TIMES)}, the wind blew {colour.a} {what} out of "
            f"{name}'s {hero.hand}s. There it hung, {where}.",
        )
        reward = say(
            f"{name} held the {thing} tight, and the wind could not take it again.",
            f"The {thing} was not even torn.",
            f"{name} hugged the {thing} and then hugged {friend.name}.",
        )
    idea, action = pick(
        (
            (
                "You can stand on my shoulders",
                f"So {name} climbed onto {friend.name}'s shoulders.",
            ),
            (
                "There is a ladder in the shed",
                f"So {friend.name} held the ladder, and {name} climbed up step by step.",
            ),
            (
                "I will hold a bucket, and you can climb on it",
                f"So {friend.name} held the bucket, and it did not wobble at all.",
            ),
            (
                "We can roll the old barrel over here",
                f"Together they rolled the barrel, and {name} climbed up.",
            ),
        )
    )
    return tell(
        start.text,
        PARAGRAPH,
        problem,
        PARAGRAPH,
        f"{name} {try_1}, but {but_1}. Then {he} {try_2}, but {but_2}.",
        say(
            f"The {thing} was still {where}.",
            f"{name} could not reach the {thing}.",
            f"It was no use. The {thing} was too high up.",
        ),
        say(
            f'"I am too small," said {name} sadly.',
            f"{He} was tired and sat down.",
            f'"I will never get it," {name} sighed.',
        ),
        PARAGRAPH,
        say(
            f"Then {his} friend {friend.full} came along.",
            f"Just then, {his} friend {friend.full} came by.",
            f"After a while, {he} saw {his} friend {friend.full}.",
        ),
        say(
            f'"What are you looking at?" asked {friend.name}.',
            f'"Can I help you?" asked {friend.name}.',
            f'"You look sad," said {friend.name}. "What is it?"',
        ),
        say(
            f'"I want to get the {thing}," said {name}, "but I can\'t reach it."',
            f'"It is the {thing} up there," said {name}. "I can\'t reach it."',
            f'"Do you see the {thing} {where}?" asked {name}. "I am too small."',
        ),
        say(
            f"{friend.name} thought for a moment.",
            f"{friend.name} looked up and smiled.",
            "",
        ),
        say(f'"{idea}," said {friend.name}.', f'"I know!" said {friend.name}. "{idea}."'),
        action,
        say(
            f'"A little higher!" called {name}. "Just a little more!"',
            f'"Careful!" called {friend.name}.',
            "",
        ),
        say(
            f"And then {name} had the {thing} in both {hero.hand}s.",
            f"{Who} stretched out one {hero.hand}. There! It was the {thing}.",
            f"{Who} reached up, and down came the {thing}.",
        ),
        PARAGRAPH,
        say(
            f'"Thank you, {friend.name}!" said {name}. "I could not do it alone."',
            '"We did it!" they cried.',
            f'"You are so clever, {friend.name}!" said {name}.',
        ),
        reward,
        ending(
            dice,
            hero,
            start,
            say(f"the {thing}", f"{friend.name} and the {thing}"),
            f"{name} learned that it is good to ask for help.",
            "Two friends can reach what one cannot.",
            f"From then on, {name} asked {friend.name} when something was too hard.",
            f"{name} learned that nobody has to do everything alone.",
        ),
    )


def journey(dice: Dice) -> str:
    """There and back by three landmarks; a small kindness on the way is returned."""
    say, pick = dice.say, dice.pick
    (hero,) = friends(dice, 1)
    name, he, him, his, _, His = hero[:6]
    elder, food, basket = pick(GRANDPARENTS), pick(FOODS), pick(COLOURS)
    start = opening(dice, hero)
    first, second, third = dice.some(3, LANDMARKS)
    met, way_to_met, way_from_met = pick(
        (
            (
                first,
                f"On the way back, {name} went {third.back} and {second.back}.",
                f"They went {first.back}, and there was the path home.",
            ),
            (
                second,
                f"On the way back, {name} went {third.back}.",
                f"They went {second.back} and {first.back}.",
            ),
            (
                third,
                f"{name} waved and started on the way back.",
                f"They went {third.back}, {second.back} and {first.back}.",
            ),
        )
    )
    creature, weather = pick(CREATURES), pick(WEATHERS)
    kind = creature.kind
    return tell(
        start.text,
        say(
            f"{His} {elder.kind} lived far away.",
            f"{His} {elder.kind} lived on the other side of the valley.",
            f"Best of all were the visits to {his} {elder.kind}, who lived far away.",
        ),
        PARAGRAPH,
        f"One {weather.adjective} {say('day', 'morning')}, {name} "
        + say(
            f"put some {food.many} into {basket.a} basket and set off to see {elder.name}.",
            f"packed {basket.a} basket full of {food.many} and went to visit {elder.name}.",
            f"took {basket.a} basket with {food.many} for {elder.name} and set off.",
        ),
        say(weather.line, "", ""),
        f"{name} went {first.there}, {second.there} and {third.there}.",
        say(
            f"Near {met.near}, {he} heard a small voice.",
            f'"Help!" called a small voice near {met.near}.',
            f"But near {met.near}, somebody was crying.",
        ),
        f"It was {with_article(kind)} that {creature.trouble}.",
        say(
            f'"Poor little {kind}," said {name}, and {creature.helped}.',
            f"{name} put down the {basket.name} basket and {creature.helped}.",
            f'"Don\'t be afraid," said {name}, and {creature.helped}.',
        ),
        say(
            f'"Thank you," said the {kind}. "I will not forget it."',
            f"The {kind} thanked {him} and {creature.moved} away.",
            f'"How kind you are!" said the {kind}, and {creature.moved} away.',
        ),
        PARAGRAPH,
        say(
            f"Soon {name} knocked on the door, and {elder.name} opened it.",
            f"At last, {name} saw {elder.name} waving from the window.",
            f"{elder.name} was already waiting at the gate.",
        ),
        say(
            f'"What a lovely surprise!" said {elder.name}.',
            f'"How good to see you, {name}!" said {elder.name}.',
            f'"Is that basket for me?" asked {elder.name} with a smile.',
        ),
        say(
            f"They ate the {food.many} and told each other stories.",
            f"They drank tea and ate all the {food.many}.",
            f"Soon the {food.many} were eaten, and the {basket.name} basket was empty.",
        ),
        say(
            f"Then {elder.name} put a warm loaf into the {basket.name} basket.",
            f'"Go home before it gets dark," said {elder.name}.',
            "Then it was time to leave.",
        ),
        PARAGRAPH,
        way_to_met,
        say(
            f"But near {met.near}, it grew too dark to see the path.",
            f"But near {met.near}, the sun went down, and {name} lost the way.",
            f"But it grew dark, and near {met.near}, {name} was lost.",
        ),
        say(
            f'"Follow me!" said a small voice. It was the {kind}!',
            f'"Don\'t be afraid," said someone. It was the {kind}!',
            f'"I know the way," said a voice that {he} had heard before. It was the {kind}!',
        ),
        say(
            f'"Now I will help you!" The {kind} {creature.moved} ahead.',
            f"It {creature.moved} in front of {name} to show {him} the way.",
            f"The {kind} {creature.moved} ahead, and {name} went after it.",
        ),
        way_from_met,
        say(
            f"So {name} came {start.home}, carrying the {basket.name} basket.",
            f"And so {name} came {start.home} before bedtime.",
            f"Soon {name} was safe and sound and waved to the {kind}.",
        ),
        PARAGRAPH,
        ending(
            dice,
            hero,
            start,
            say(f"the {kind}", f"{elder.name} and the {kind}", f"the {kind} near {met.near}"),
            f"{name} learned that kindness comes back to you.",
            f"Those who help others will find help, and {name} knew it now.",
            f"Since that day, {name} and the {kind} have been friends.",
            f"{name} was glad to have helped the {kind}.",
        ),
    )

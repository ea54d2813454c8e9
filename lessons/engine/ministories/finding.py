"""Plots in which somebody or something is found: a lost thing, a mother, friends who hide."""

from .people import GROWN_UPS
from .scene import PARAGRAPH, Dice, ending, friends, opening, pronoun, tell
from .situations import BABIES, VILLAGERS, WOODLANDERS
from .words import (
    COLOURS,
    FOODS,
    HIDING_PLACES,
    INDOORS,
    LOSABLE,
    NUMBERS,
    OPEN_PLACES,
    PLACES,
    TIMES,
    TRIFLES,
    WEATHERS,
    coloured,
    with_article,
)


def lost_and_found(dice: Dice) -> str:
    """A present stays behind at one of two places; what was done there brings it back."""
    say, pick = dice.say, dice.pick
    hero, friend = friends(dice)
    name, he, him, his, He, His = hero[:6]
    giver = pick(GROWN_UPS)
    start = opening(dice, hero)
    colour, item = pick(COLOURS), pick(LOSABLE)
    thing, a_thing = f"{colour.name} {item.name}", coloured(colour, item)
    it, them, was = item.it, item.them, item.was
    first, second = dice.some(2, PLACES)
    lost = pick((first, second))
    wrong_spot, spot = dice.some(2, lost.spots)
    weather = pick(WEATHERS)
    search_1, search_2 = dice.some(2, INDOORS)
    helper = pick((giver, friend))
    who, Who = pronoun(hero, helper)
    question = f"Where did {'you' if helper is giver else 'we'} go today?"
    return tell(
        start.text,
        say(
            f"{His} {giver.kind} had given {him} {a_thing}, and {name} took {them} everywhere.",
            f"Wherever {he} went, {he} took {a_thing}, a present from {his} {giver.kind}.",
            f"{He} had {a_thing}, a present from {his} {giver.kind}, and {name} loved {them}.",
            f"For {his} birthday, {name} got {a_thing} from {his} {giver.kind}.",
        ),
        PARAGRAPH,
        f"One {weather.adjective} {pick(TIMES)}, "
        + say(
            f"{name} and {his} friend {friend.full} went {first.to}.",
            f"{name} went {first.to} with {his} friend {friend.full}.",
            f"{name} met {his} friend {friend.full}, and they walked {first.to}.",
        ),
        say(weather.line, weather.line, "", f"Of course, {name} took the {thing} along."),
        say(
            f"There they {first.did}. After that, they went {second.to} and {second.did}.",
            f"They {first.did}. Then they walked {second.to} and {second.did}.",
            f'"Let\'s {first.do}!" said {friend.name}. '
            f"After that, they went {second.to} and {second.did}.",
            f"First they {first.did}, and then they went {second.to} and {second.did}.",
        ),
        say("It was a lovely time.", "They laughed a lot.", "", ""),
        PARAGRAPH,
        say(
            f"But when {name} came {start.home}, the {thing} {was} gone!",
            f"When {name} came {start.home}, {he} wanted {his} {thing}. But where {was} {it}?",
            f"Then {name} came {start.home} and stopped. The {thing} {was} missing!",
            f'{name} came {start.home} and cried, "Oh no!" The {thing} {was} gone.',
        ),
        say(
            f"{He} looked {search_1} and {search_2}, but {it} {was} not there.",
            f"{He} looked {search_1}. {He} looked {search_2}. The {thing} {was} not there.",
            f"{He} searched every room. {He} looked {search_1}, but found only {pick(TRIFLES)}.",
            f"{He} even looked {search_1}, but {it} {was} nowhere.",
        ),
        say(
            f"A tear rolled down {his} cheek.",
            f"{name} felt very sad.",
            f"{He} sat down on the floor and sighed.",
            f"{He} wanted to cry.",
        ),
        say(
            f'"What is wrong?" asked {helper.name}.',
            f'"Why are you so sad?" asked {helper.name}.',
            f'{helper.name} sat down beside {him}. "What is the matter?"',
            f'"You look unhappy," said {helper.name}.',
        ),
        say(
            f'"I can\'t find my {thing}," said {name}.',
            f'"My {thing} {item.is_} gone!" cried {name}.',
            f'"I have lost my {thing}," {name} whispered.',
        ),
        PARAGRAPH,
        say(
            f'"Let\'s think," said {helper.name}. "{question}"',
            f'"Don\'t worry," said {helper.name}. "{question}"',
            f'"We will find {them}," said {helper.name}. "{question}"',
            f'"{question}" asked {helper.name}.',
        ),
        f'"First we {first.did} {first.at}," said {name}. "Then we {second.did} {second.at}."',
        say(
            f"{Who} closed both eyes and thought hard.",
            f"Suddenly {who} jumped up.",
            f"{Who} thought and thought.",
            f"Then {who} clapped both {hero.hand}s.",
        ),
        say(
            f'"I know! I {item.left} when we were {lost.doing}!"',
            f'"Now I remember! I {item.left} when we {lost.did}!"',
        ),
        say(
            f"{name} and {helper.name} hurried {lost.to}.",
            f"So {name} ran {lost.to}, and {helper.name} came along.",
            f"Together, {name} and {helper.name} went back {lost.to}.",
            f'"Quick!" said {helper.name}, and they went {lost.to}.',
        ),
        say(
            f"They looked {wrong_spot} and found only {pick(TRIFLES)}.",
            f"The {thing} {was} not {wrong_spot}.",
            "",
            "",
        ),
        say(
            f"Then {name} looked {spot}, and there {was} the {thing}!",
            f'"Over there, {spot}!" cried {helper.name}. There {was} the {thing}.',
            f"And there, {spot}, {was} the {thing}, safe and sound.",
        ),
        PARAGRAPH,
        say(
            f'"Thank you for helping me," said {name}, and {he} hugged {helper.name}.',
            f'{name} danced for joy. "Thank you, {helper.name}!"',
            f'"You are the best!" said {name}, and {helper.name} smiled.',
            f"{name} held the {thing} tight and thanked {helper.name}.",
        ),
        ending(
            dice,
            hero,
            start,
            say(f"the {thing}", f"the {thing} and {helper.name}", f"the {thing} {spot}"),
            f"From that day on, {name} always looked around before leaving a place.",
            f"{name} learned that thinking calmly is better than crying.",
            f"Since that day, {name} has taken good care of the {thing}.",
            f"And {name} never forgot the {thing} again.",
            f"{name} learned that two people find more than one.",
        ),
    )


def little_lost_one(dice: Dice) -> str:
    """A baby animal has lost its mother; one hint leads the way to her."""
    say, pick = dice.say, dice.pick
    hero, friend = friends(dice)
    name, his = hero.name, hero.his
    start = opening(dice, hero)
    young, mother, sound = pick(BABIES)
    a_mother = with_article(mother)
    here, there = dice.some(2, OPEN_PLACES)
    spot = pick(here.spots)
    weather = pick(WEATHERS)
    asked_1, asked_2 = dice.some(2, WOODLANDERS if hero.hand == "paw" else VILLAGERS)
    return tell(
        start.text,
        PARAGRAPH,
        f"One {weather.adjective} {pick(TIMES)}, "
        + say(
            f"{name} and {his} friend {friend.full} went {here.to}.",
            f"{name} was {here.at} with {his} friend {friend.full}.",
            f"{name} took {his} friend {friend.full} {here.to}.",
        ),
        say(weather.line, f"They {here.did} for a while.", ""),
        say(
            f'Suddenly they heard a soft "{sound}". '
            f"There, {spot}, they saw a little {young}, all alone.",
            f"{spot.capitalize()}, they found a lost {young}. "
            f'"{sound.capitalize()}," it said sadly.',
            f'"Look!" said {friend.name}. A tiny {young} was sitting {spot}. '
            f'"{sound.capitalize()}, {sound}," it cried.',
        ),
        PARAGRAPH,
        say(
            f'"Oh dear," said {name}. "Where is your mother?"',
            f'"Are you lost, little one?" asked {name}.',
            f'"Don\'t cry," said {name}. "We will help you."',
            f'"Poor little thing," said {name}.',
        ),
        say(
            f"The {young} looked up with big, sad eyes.",
            f"The {young} hung its head.",
            f"The {young} came closer and shivered.",
            "",
        ),
        say(
            f'"We must find its mother," said {friend.name}.',
            f'"Its mother must be looking for it," said {friend.name}.',
            f'"Let\'s ask if anyone has seen its mother," said {friend.name}.',
        ),
        say(
            f"First they asked {asked_1}, but {asked_1} had not seen {a_mother} that day.",
            f'They asked {asked_1}. "I am sorry," said {asked_1}. "I have not seen {a_mother}."',
            f'"Have you seen {a_mother}?" they asked {asked_1}. But {asked_1} had not.',
        ),
        say(
            f'Then they met {asked_2}. "I heard {a_mother} calling {there.at}," said {asked_2}.',
            f'Then they asked {asked_2}. "Yes," said {asked_2}. '
            f'"There is {a_mother} {there.at}, and it looks very worried."',
            f'Then {asked_2} came by. "I saw {a_mother} {there.at}," said {asked_2}.',
        ),
        PARAGRAPH,
        say(
            f"So they walked all the way {there.to}, and the {young} stayed close to {name}.",
            f"{name} and {friend.name} went {there.to} at once. The {young} followed them.",
            f'"Come with us," said {name} to the {young}, and they all went {there.to}.',
            f"{name} carried the {young} {there.to}, and {friend.name} told it stories.",
        ),
        say("At first, they saw nobody.", "It was very quiet there.", "They waited.", ""),
        say(
            f'Then the {young} gave a loud "{sound}", and a big {mother} came hurrying.',
            f"Then {friend.name} pointed. There was {a_mother}, looking left and right.",
            f'Then someone answered the "{sound}" of the {young}. It was a big {mother}!',
        ),
        say(
            f"The {young} ran as fast as it could and cuddled up to its mother.",
            f'"{sound.capitalize()}!" cried the {young}. It had found its mother.',
            f"The {young} jumped for joy, and its mother kissed it.",
        ),
        say(
            f"The {mother} looked at {name} and {friend.name} as if to say thank you.",
            f"The {mother} bowed its head to thank {name} and {friend.name}.",
            "",
        ),
        PARAGRAPH,
        say(
            f"{name} waved goodbye and went {start.home}.",
            f"{weather.later} when {name} went {start.home}.",
            f'"Goodbye, little {young}!" called {name} and {friend.name}.',
        ),
        ending(
            dice,
            hero,
            start,
            f"the little {young} {there.at}",
            f"{name} learned that even small helpers can do a great thing.",
            f"{name} was glad, because nobody should be lost and alone.",
            f"It felt good to help someone smaller, and {name} never forgot it.",
            f"Often, {name} and {friend.name} went {there.to} to visit the {young}.",
        ),
    )


def hide_and_seek(dice: Dice) -> str:
    """Three friends hide; each is found where they hid, the last by the smell of food."""
    say, pick = dice.say, dice.pick
    hero, *others = friends(dice, 4)
    name, his = hero.name, hero.his
    start = opening(dice, hero)
    a, b, c = others
    places = dice.some(3, HIDING_PLACES)
    hidden = {a.name: places[0], b.name: places[1], c.name: places[2]}
    first, second, last = dice.some(3, (a.name, b.name, c.name))
    elder, food = pick(GROWN_UPS), pick(FOODS)
    weather = pick(WEATHERS)
    return tell(
        start.text,
        PARAGRAPH,
        f"One {weather.adjective} {pick(TIMES)}, {name} "
        + say(
            f"wanted to play hide-and-seek with {a.full}, {b.full} and {c.full}.",
            f"played hide-and-seek with {a.full}, {b.full} and {c.full}.",
        ),
        say(weather.line, f'"I will count," said {name}. "You hide!"', ""),
        f"{name} covered {his} eyes and counted to {pick(NUMBERS[3:])}.",
        say(
            f"{a.name} hid {places[0]}. {b.name} hid {places[1]}. {c.name} hid {places[2]}.",
            f"{a.name} tiptoed away and hid {places[0]}. {b.name} hid {places[1]}, "
            f"and {c.name} hid {places[2]}.",
            f"{a.name} went {places[0]}, {b.name} {places[1]} and {c.name} {places[2]}.",
        ),
        say(
            f'"Ready or not, here I come!" called {name}.',
            f'"I am coming!" shouted {name}.',
            f'"Now I will find you all!" called {name}.',
        ),
        PARAGRAPH,
        say(
            f"First {name} heard a giggle.",
            f"First {name} saw something move.",
            f"Soon {name} heard a sneeze.",
            f"At once {name} heard a whisper.",
        ),
        say(
            f'"I see you {hidden[first]}, {first}!" said {name}.',
            f'It was {first}! "You are {hidden[first]}!" said {name}.',
            f"Who was it? It was {first}, still {hidden[first]}.",
        ),
        say(
            f"Then {name} found {second} {hidden[second]}.",
            f'Then {name} looked {hidden[second]}. "I found you, {second}!"',
            f'Next, {name} tiptoed on. "{second} is {hidden[second]}!"',
        ),
        PARAGRAPH,
        say(
            f"But where was {last}?",
            f"Only {last} was still hiding.",
            f"Now {last} was the only one left.",
        ),
        say(
            f"{name} looked and looked, and {first} and {second} looked too.",
            f"{name} looked everywhere, but there was no sign of {last}.",
            f'"I don\'t know where {last} is," said {second}, and {first} did not know either.',
        ),
        say(
            f'Just then, {elder.name} came out of the {hero.home}. "I have {food.many}!"',
            f'Just then, {elder.name} called, "Who would like {food.a}?"',
            f'Then {elder.name} came with a plate. "Here are some {food.many}!"',
        ),
        say(
            f'"Me!" cried a voice {hidden[last]}.',
            f'"Wait for me!" cried a voice {hidden[last]}.',
            f'"I want {food.a}!" said someone {hidden[last]}.',
        ),
        say(
            f"Out came {last}, and everyone laughed.",
            f"It was {last}! How they all laughed!",
            f"And there was {last}, laughing.",
        ),
        say(
            f"There were four {food.many}, one for each of them.",
            f"Then the four friends sat down and ate {food.many}.",
            f"{elder.name} gave each of the four friends {food.a}.",
        ),
        PARAGRAPH,
        say(
            f'"You hid so well, {last}," said {name}.',
            f'"That was the best game ever," said {last}.',
            f'"Next time I will hide {hidden[last]}," said {name}.',
        ),
        ending(
            dice,
            hero,
            start,
            say(f"{last} {hidden[last]}", f"{first}, {second} and {last}"),
            f"{name} learned that the best part of hiding is being found.",
            f"And {name} learned not to give up when a friend is hard to find.",
            f"Good friends and {food.many} make a perfect day, thought {name}.",
            f"Since that day, nobody has hidden {hidden[last]} when food was near.",
        ),
    )

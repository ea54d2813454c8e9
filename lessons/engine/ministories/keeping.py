"""Plots about what is kept: a promise, and the secret of a birthday."""

from .people import GROWN_UPS
from .scene import PARAGRAPH, Dice, ending, friends, opening, tell
from .situations import CHORES, EXCUSES
from .words import CAKES, COLOURS, NUMBERS, OPEN_PLACES, PRESENTS, WEATHERS, with_article


def promise(dice: Dice) -> str:
    """A promise is kept although a friend has a better idea."""
    say, pick = dice.say, dice.pick
    hero, friend = friends(dice)
    name, he, _, his, _, His = hero[:6]
    start = opening(dice, hero)
    elder, chore, place = pick(GROWN_UPS), pick(CHORES), pick(OPEN_PLACES)
    colour, present = pick(COLOURS), pick(PRESENTS)
    thing, a_thing = f"{colour.name} {present}", f"{colour.a} {present}"
    days, weather = pick(NUMBERS[1:6]), pick(WEATHERS)
    return tell(
        start.text,
        PARAGRAPH,
        say(
            f"One day, {his} {elder.kind} had to go away for {days} days.",
            f"One summer, {his} {elder.kind} went on a trip for {days} days.",
            f"One spring, {his} {elder.kind} had to leave for {days} days.",
        ),
        say(
            f'"Will you {chore.do} every day while I am away?" asked {elder.name}.',
            f'"Please {chore.do} every day until I come back," said {elder.name}.',
            f'"Someone has to {chore.do} every day," said {elder.name}. "Will you do it?"',
        ),
        say(
            f'"I promise," said {name}.',
            f'"I will. You have my word," said {name}.',
            f'"Yes, I promise!" said {name}, and waved goodbye.',
        ),
        say(
            f"On the first day, {name} {chore.did} right after breakfast.",
            f"The first day was easy. {name} {chore.did}.",
            f"On the first morning, {name} {chore.did} at once.",
        ),
        PARAGRAPH,
        f"The second day was {weather.adjective}.",
        say(weather.line, ""),
        say(
            f"{His} friend {friend.full} came running.",
            f"Soon {his} friend {friend.full} was at the door.",
            f"{name} was still in bed when {his} friend {friend.full} knocked.",
        ),
        say(
            f'"Come {place.to}, quick!" said {friend.name}. "Let\'s {place.do}!"',
            f'"I am going {place.to} to {place.do}," said {friend.name}. "Come with me now!"',
            f'"Today we can {place.do}!" said {friend.name}. "Let\'s go {place.to}!"',
        ),
        say(
            f"{name} wanted to go so much!",
            f"{name} already had one foot out of the door.",
            f"How {name} wanted to {place.do}!",
            "",
        ),
        say(
            f'But then {name} stopped. "I promised {elder.name} that I would {chore.do}."',
            f'"First I must {chore.do}," said {name}. "I promised {elder.name}."',
            f'Then {name} remembered. "Wait, I have to {chore.do}. I gave my word."',
        ),
        say(
            f'"You can do that tomorrow," said {friend.name}. "Your {elder.kind} will never know."',
            f'"Nobody will see it if you don\'t," said {friend.name}.',
            f'"Just for one day, it does not matter," said {friend.name}.',
        ),
        say(
            f'"But I will know," said {name}. "A promise is a promise."',
            f'"A promise is a promise," said {name}.',
            f'"It matters to me," said {name}. "A promise is a promise."',
        ),
        PARAGRAPH,
        say(
            f"{friend.name} thought about it and nodded.",
            f"{friend.name} was quiet for a while.",
            "",
        ),
        say(
            f'"Then I will help you," said {friend.name}. Together they {chore.did}.',
            f'"You are right. I will wait for you," said {friend.name}. So {name} {chore.did}.',
            f"So {name} {chore.did}, and {friend.name} sat on the fence and watched.",
        ),
        say(
            f"After that, they ran {place.to} and {place.did} until the evening.",
            f"Then they went {place.to}. They {place.did}, and it was lovely.",
            f"There was still time to go {place.to}, where they {place.did}.",
        ),
        say(
            f"On the other days, {name} {chore.did} as well.",
            f"And {name} did not forget it on the other days.",
            "",
        ),
        PARAGRAPH,
        say(
            f"When the {days} days were over, {elder.name} came back, and {chore.result}.",
            f"After {days} days, {elder.name} came home and saw that {chore.result}.",
            f"Then the {days} days were over. {elder.name} was happy, because {chore.result}.",
        ),
        say(
            f'"You kept your promise!" said {elder.name}, and gave {name} {a_thing}.',
            f'"I knew I could trust you," said {elder.name}. There was a present, too. '
            f"It was {a_thing}!",
            f'"This is for you," said {elder.name}. It was {a_thing}.',
        ),
        say(f"{name} ran to show the {thing} to {friend.name}.", ""),
        ending(
            dice,
            hero,
            start,
            say(f"the {thing}", f"{elder.name} and the {thing}"),
            f"{name} learned how good it feels to keep a promise.",
            f"Whenever {name} saw the {thing}, {he} thought of the promise.",
            "First comes the promise, and then comes the fun.",
            f"Everyone knew now that they could trust {name}.",
        ),
    )


def birthday(dice: Dice) -> str:
    """Everybody seems to have forgotten; ribbons of one colour lead to the wished-for present."""
    say, pick = dice.say, dice.pick
    hero, friend = friends(dice)
    name, he, him, his, He, _ = hero[:6]
    start = opening(dice, hero)
    elder, cake, excuse, place = pick(GROWN_UPS), pick(CAKES), pick(EXCUSES), pick(OPEN_PLACES)
    colour, ribbon = dice.some(2, COLOURS)
    present, age = pick(PRESENTS), pick(NUMBERS[2:7])
    thing, a_thing = f"{colour.name} {present}", f"{colour.a} {present}"
    weather = pick(WEATHERS)
    return tell(
        start.text,
        say(
            f"{name} had one wish. {He} wanted {a_thing}.",
            f"For a long time, {he} had been wishing for {a_thing}.",
            f"There was one thing {he} wished for, and it was {a_thing}.",
        ),
        PARAGRAPH,
        f"One {weather.adjective} morning, "
        + say(
            f"{name} woke up and jumped out of bed. It was {his} birthday, "
            f"and {he} was {age} years old!",
            f"{name} turned {age}. {He} had never been so happy to wake up!",
            f"it was {name}'s birthday. At last {he} was {age} years old!",
        ),
        say(
            f'But {elder.name} only said, "Good morning," and went out of the {hero.home}.',
            f"But {elder.name} was busy and did not say a word about it.",
            f"But there was no present, and {elder.name} was nowhere to be seen.",
        ),
        say(
            f"So {name} went to see {his} friend {friend.full}.",
            f"{name} ran to {his} friend {friend.full}.",
            f"Then {name} knocked on the door of {his} friend {friend.full}.",
        ),
        say(
            f'"I can\'t play today," said {friend.name}. "I have to {excuse}."',
            f'"I am sorry," said {friend.name}. "Today I must {excuse}."',
            f'"Not today," said {friend.name}. "I promised to {excuse}."',
        ),
        PARAGRAPH,
        say(
            f"All alone, {name} went {place.to} and {place.did}, but it was no fun.",
            f"{name} walked {place.to} and sat down {pick(place.spots)}.",
            f"So {name} {place.did} alone {place.at}.",
        ),
        say(
            f'"Everyone has forgotten my birthday," {he} thought.',
            f"{He} felt sad. Had everyone forgotten {him}?",
            f'"Nobody remembers," {he} said, and a tear fell.',
        ),
        say(
            f"Then {name} saw {ribbon.a} ribbon on a branch. A little further on was another one!",
            f"On the way home, {name} found {ribbon.a} ribbon, and then one more, and one more.",
            f"But what was that? On a bush hung {ribbon.a} ribbon, and behind it was another one.",
        ),
        say(
            f"One by one, the {ribbon.name} ribbons led {name} {start.home}.",
            f"{name} followed the {ribbon.name} ribbons all the way {start.home}.",
        ),
        say(
            "Everything was dark and quiet.",
            f"{He} opened the door slowly.",
            f"The {hero.home} was very quiet.",
        ),
        PARAGRAPH,
        say(
            f'"Surprise!" shouted {elder.name} and {friend.name}.',
            f'"Happy birthday!" cried {friend.name} and {elder.name}.',
            f'"Here you are at last!" called {elder.name} and {friend.name}.',
        ),
        say(
            f"On the table was {with_article(cake)} cake with {age} candles.",
            f"There were {age} candles on a big {cake} cake.",
            f"{elder.name} had baked {with_article(cake)} cake and put {age} candles on it.",
        ),
        say(
            f"{friend.name} gave {name} a box with {ribbon.a} ribbon around it.",
            f"Next to the cake lay a box with {ribbon.a} ribbon.",
            f"There was also a box, and {ribbon.a} ribbon was tied around it.",
        ),
        say(
            f"Inside was {a_thing}, just what {name} had wished for!",
            f"{name} opened it and found {a_thing}. The wish had come true!",
            f"What was inside? It was {a_thing}!",
        ),
        say(
            f'"I did not really have to {excuse}," said {friend.name}. '
            f'"I was hanging up the ribbons!"',
            f'"I am sorry that I said I had to {excuse}," said {friend.name}. '
            f'"I was helping your {elder.kind} with the cake!"',
            f'"You did not have to {excuse} at all!" {name} said to {friend.name}, laughing.',
        ),
        say(
            f"Then {name} blew out all {age} candles.",
            f"{name} hugged them both and ate a big piece of {cake} cake.",
            f"They ate the {cake} cake and danced.",
        ),
        ending(
            dice,
            hero,
            start,
            say(f"the {thing}", f"the {cake} cake and the {thing}"),
            f"{name} learned that friends do not forget.",
            f"It was the best birthday {name} had ever had.",
            "Sometimes people are quiet because they are planning something nice.",
            f"{name} was glad to have such friends.",
        ),
    )

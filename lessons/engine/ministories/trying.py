"""Plots about not giving up: being afraid, learning something, waiting for a flower."""

from .people import GROWN_UPS
from .scene import PARAGRAPH, Dice, ending, friends, opening, pronoun, tell
from .situations import FEARS, SKILLS, TRICKS
from .words import COLOURS, FLOWER_COLOURS, FLOWERS, NUMBERS, POT_SPOTS, TIMES, WEATHERS


def being_afraid(dice: Dice) -> str:
    """A friend's trick helps against a fear, and is passed on to someone smaller."""
    say, pick = dice.say, dice.pick
    hero, friend, small = friends(dice, 3)
    name, he, him, his, _, His = hero[:6]
    start = opening(dice, hero)
    fear, (trick, did_trick) = pick(FEARS), pick(TRICKS)
    weather = pick(WEATHERS)
    return tell(
        start.text,
        say(
            f"{name} was afraid of only one thing, and that was {fear.of}.",
            f"But there was one thing {he} did not like. {name} was afraid of {fear.of}.",
            f"Only {fear.of} made {him} afraid.",
        ),
        PARAGRAPH,
        f"One {weather.adjective} {pick(TIMES)}, "
        + say(
            f"{name} was out with {his} friend {friend.full}.",
            f"{name} met {his} friend {friend.full}.",
            f"{name} and {his} friend {friend.full} wanted to play.",
        ),
        say(weather.line, ""),
        say(
            f'"Let\'s {fear.do}!" said {friend.name}.',
            f'"Today I want to {fear.do}," said {friend.name}. "Will you come with me?"',
            f'"I know what we can do," said {friend.name}. "We can {fear.do}!"',
        ),
        say(
            f"{name} stopped. {fear.before}",
            f"{name} took a step back. {fear.before}",
            f"{name} turned pale. {fear.before}"
            if hero.hand == "hand"
            else f"{name} stood still. {fear.before}",
        ),
        say(f"{His} knees shook.", f"{His} heart beat fast.", ""),
        say(
            f'"I can\'t," {name} whispered. "I am afraid of {fear.of}."',
            f'"Not me," said {name}. "I am too scared."',
            f'"You go," said {name}. "I will wait here."',
        ),
        PARAGRAPH,
        say(f"{friend.name} did not laugh.", f"{friend.name} nodded kindly.", ""),
        say(
            f'"I was afraid the first time, too," said {friend.name}. "{trick}. That helps me."',
            f'"Do you know what I do?" said {friend.name}. "{trick}. Then try it."',
            f'"Everyone is afraid sometimes," said {friend.name}. "{trick}. It always works."',
        ),
        say(
            f"{name} went closer, but then {he} turned around again.",
            f"{name} tried, but {he} was still too scared.",
            f"{name} was not sure about that.",
        ),
        say(
            f'"You can do it, {name}!" called {friend.name}.',
            f'"I am right here," said {friend.name}.',
            f'"I will stay with you," said {friend.name}.',
        ),
        say(
            f"So {name} {did_trick}. And then {name} {fear.did}!",
            f"So {name} {did_trick}, and this time {he} {fear.did}.",
            f"{name} {did_trick}. It helped! At last, {he} {fear.did}.",
        ),
        fear.after,
        say(
            f'"I did it!" shouted {name}.',
            f'{name} laughed out loud. "Again!"',
            f"{name} was as happy as could be.",
        ),
        PARAGRAPH,
        say("Some days later,", "A week later,", "Not long after that,"),
        say(
            f"{name} met a little {small.kind} named {small.name}.",
            f"{name} saw a little {small.kind}, whose name was {small.name}.",
            f"there was a little {small.kind} named {small.name}.",
        ),
        say(
            f"{small.name} wanted to {fear.do}, but {small.he} stood there and cried.",
            f"{small.name} wanted to {fear.do}, but did not dare to.",
            f"Everyone wanted to {fear.do}. Only {small.name} was too afraid.",
        ),
        say(
            f'"I was afraid of {fear.of}, too," said {name}. "{trick}. '
            f'{friend.name} taught me that."',
            f'"I know how you feel," said {name}. "{trick}. I learned that from {friend.name}."',
            f'{name} remembered what {friend.name} had said. "{trick}," said {name}.',
        ),
        say(
            f"{small.name} {did_trick}. Then {small.name} {fear.did}, all alone.",
            f"So {small.name} {did_trick} and {fear.did}.",
            f"{small.name} {did_trick}, and it worked. {small.name} {fear.did}!",
        ),
        say(
            f'"Thank you, {name}!" cried {small.name}.',
            f"{name} clapped, and {small.name} beamed with joy.",
            f'"You were very brave, {small.name}," said {name}.',
        ),
        ending(
            dice,
            hero,
            start,
            f"{small.name} and {friend.name}",
            f"{name} learned that being brave means trying even when you are afraid.",
            f"Since that day, {name} has not been afraid of {fear.of}.",
            f"A fear grows smaller when a friend helps, and {name} knew that now.",
        ),
    )


def learning(dice: Dice) -> str:
    """Two tries fail, a tip and some days of practice make it work."""
    say, pick = dice.say, dice.pick
    hero, friend = friends(dice)
    name, he, _, his, _, His = hero[:6]
    who, Who = pronoun(hero, friend)
    start = opening(dice, hero)
    skill, elder, days = pick(SKILLS), pick(GROWN_UPS), pick(NUMBERS[1:6])
    weather = pick(WEATHERS)
    return tell(
        start.text,
        say(
            f"But there was one thing {he} could not do yet. {name} wanted to {skill.do}.",
            f"{His} biggest wish was to {skill.do}.",
            f"There was nothing {he} wanted more than to learn to {skill.do}.",
        ),
        say(
            f"{His} friend {friend.full} could do it already, and it looked so easy.",
            f"{His} friend {friend.full} had learned to {skill.do} long ago.",
            f"{friend.full} was a good friend and knew how to do it.",
        ),
        PARAGRAPH,
        f"One {weather.adjective} {pick(TIMES)}, {name} tried for the first time.",
        say(weather.line, "", ""),
        say(
            f"But {skill.first_fail}. {name} tried again, and {skill.second_fail}.",
            f"Oh dear, {skill.first_fail}! On the second try, {skill.second_fail}.",
            f"First, {skill.first_fail}. Then {skill.second_fail}.",
        ),
        say(
            f'"I will never learn to {skill.do}!" cried {name}.',
            f'"This is much too hard," said {name}, and {he} sat down on the ground.',
            f"{name} stamped {his} foot and wanted to give up.",
            f"{name} felt like crying.",
        ),
        PARAGRAPH,
        say(f"{friend.name} sat down next to {name}.", f"{friend.name} had seen it all.", ""),
        say(
            f'"I could not do it at first, either," said {friend.name}. "{skill.tip}."',
            f'"Don\'t give up," said {friend.name}. "{skill.tip}."',
            f'"Let me tell you a secret," said {friend.name}. "{skill.tip}."',
        ),
        say(
            f"{Who} tried once more. It was already a little better.",
            f"{Who} nodded and tried it that way. It still did not work, but almost.",
            f"So {who} tried it just like that, and this time it was not so bad.",
        ),
        say(
            f"For {days} days, {name} practised every morning.",
            f"Every day, {name} practised, for {days} days in a row.",
            f"{name} did not stop. {days.capitalize()} days went by.",
        ),
        say(
            f'Whenever it went wrong, {he} said, "Never mind," and started again.',
            "Each day it went a little better.",
            f"Sometimes {he} was tired, but that did not matter.",
            "",
        ),
        PARAGRAPH,
        say(
            f"Then, at last, {name} {skill.did}!",
            f"When the {days} days were over, something wonderful happened. {name} {skill.did}!",
            f"And then it happened. {name} {skill.did}!",
        ),
        say(
            f'"Look, {elder.name}, look!" {he} called.',
            f"{name} ran to get {his} {elder.kind} and did it all over again.",
            f'"I can do it!" shouted {name}, and {elder.name} came to see.',
        ),
        say(
            f'"How did you learn to {skill.do}?" asked {elder.name}.',
            f'{elder.name} clapped. "Who taught you that?"',
            f'"How wonderful!" said {elder.name}. "How did you do it?"',
        ),
        say(
            f'"I tried for {days} days," said {name}, "and {friend.name} helped me."',
            f'"{friend.name} gave me good advice," said {name}, "and I tried for {days} days."',
            f'"It took me {days} days," said {name}. "{friend.name} told me what to do."',
        ),
        say(
            f"{friend.name} was proud, too.",
            f'"I knew it," said {friend.name}.',
            f"{name} gave {friend.name} a big hug.",
            "",
        ),
        ending(
            dice,
            hero,
            start,
            say(f"{friend.name} and {elder.name}", "that happy day"),
            f"{name} learned that you get better at things when you keep trying.",
            f"Soon {name} could {skill.do} as well as {friend.name}.",
            "Hard things become easy if you do not give up.",
            f"And whenever something was hard, {name} thought of those {days} days.",
        ),
    )


def waiting(dice: Dice) -> str:
    """A seed needs many days; the flower has the colour that was promised."""
    say, pick = dice.say, dice.pick
    hero, friend = friends(dice)
    name, he, him, his, He, _ = hero[:6]
    start = opening(dice, hero)
    elder, kind = pick(GROWN_UPS), pick(FLOWERS)
    flower_colour, pot_colour = pick(FLOWER_COLOURS), pick(COLOURS)
    flower, a_flower = f"{flower_colour.name} {kind}", f"{flower_colour.a} {kind}"
    pot, spot, days = f"{pot_colour.name} pot", pick(POT_SPOTS), pick(NUMBERS[4:])
    promise = say(
        f'"If you wait, it will become {a_flower},"',
        f'"It will be {a_flower}, if you wait,"',
        f'"There is {a_flower} sleeping inside,"',
        f'"One day, this will be {a_flower},"',
    )
    return tell(
        start.text,
        PARAGRAPH,
        say(
            f"One spring day, {his} {elder.kind} gave {him} a tiny seed.",
            f"One day in spring, {name} got a tiny seed from {his} {elder.kind}.",
            f"In spring, {his} {elder.kind} came with a tiny seed.",
        ),
        say(f"{promise} said {elder.name}.", f'{promise} said {elder.name}. "Be patient."'),
        say(
            f"{name} filled {pot_colour.a} pot with earth and put the seed into it.",
            f"{name} found {pot_colour.a} pot, filled it with earth and planted the seed.",
            f"So {name} planted it in {pot_colour.a} pot full of soft earth.",
        ),
        say(
            f"Then {he} put the {pot} {spot} and gave the seed some water.",
            f"Then {he} watered it and put the {pot} {spot}.",
        ),
        PARAGRAPH,
        say(
            f"The next morning, {name} ran to look. There was only earth in the {pot}.",
            f"Early the next day, {name} looked into the {pot}. Nothing had happened.",
            f"The next day, {name} looked at the {pot} ten times. Nothing was growing there.",
        ),
        say(
            "Another day went by. Still there was nothing but earth.",
            "So it was the next day, and the day after that.",
            "",
        ),
        say(
            f'"My seed does not work," {name} told {his} friend {friend.full}. "I will dig it up!"',
            f'"I want to dig it up and look," {name} said to {his} friend {friend.full}.',
            f'"It takes too long!" {name} said to {his} friend {friend.full}.',
        ),
        say(
            f'"Don\'t do that!" said {friend.name}. "It is growing where you can\'t see it."',
            f'"Wait a little," said {friend.name}. "A seed needs time."',
            f'"What did your {elder.kind} say?" asked {friend.name}. "You have to wait."',
        ),
        PARAGRAPH,
        say(
            f"So {name} waited. Every morning, {he} gave the seed some water.",
            f"{name} sighed, but {he} waited and watered the seed each morning.",
            f"{name} nodded. Day after day, {he} watered the seed and waited.",
        ),
        say(
            f"{He} even told the seed stories.",
            f"Sometimes {he} sang to it.",
            "",
        ),
        say(
            f"After {days} days, a tiny leaf came out of the earth.",
            f"After {days} days, there was a little shoot.",
            f"It took {days} days. Then something small looked out of the earth.",
        ),
        say(
            "It grew as long as a spoon, and then there was a bud.",
            "It grew and grew, and soon there was a round bud.",
            "It grew taller every day, and at the top was a fat little bud.",
        ),
        say(
            f"One morning, the bud was open, and in the {pot} stood {a_flower}.",
            f"Then the bud opened. It was {a_flower}, the loveliest {name} had ever seen.",
            f"When the sun came out, the bud opened, and there was {a_flower}!",
        ),
        say(
            f"It was just as {elder.name} had said.",
            f'"You were right, {elder.name}!" cried {name}.',
            f'"Come quickly, {elder.name}!" called {name}.',
        ),
        PARAGRAPH,
        say(
            f"In autumn, the {flower} had new seeds, and {friend.name} got one.",
            f"When summer was over, {name} gave {friend.name} a seed of the {flower}.",
            f"Later, the {flower} had seeds. {name} gave one to {friend.name}.",
        ),
        f"{promise} said {name}.",
        say(
            f'"I can wait," said {friend.name} with a smile.',
            f"{friend.name} laughed and went to look for a pot.",
            "",
        ),
        ending(
            dice,
            hero,
            start,
            say(f"the {flower} in the {pot}", f"the {flower}"),
            f"{name} learned that good things take time.",
            f"{name} had learned to wait, and it was worth it.",
            "The best things grow slowly.",
            f"And {name} was never in a hurry with a seed again.",
        ),
    )

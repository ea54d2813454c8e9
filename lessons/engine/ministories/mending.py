"""Plots about making good: a broken toy, a broken jug and the truth, a quarrel."""

from .people import GROWN_UPS
from .scene import PARAGRAPH, Dice, ending, friends, opening, pronoun, tell
from .situations import BREAKAGES, PATTERNS, PROJECTS
from .words import COLOURS, INDOORS, NUMBERS, OPEN_PLACES, POTTERY, TIMES, WEATHERS


def mended(dice: Dice) -> str:
    """What is broken can be mended, and who has learned how can help the next one."""
    say, pick = dice.say, dice.pick
    hero, friend = friends(dice)
    name, he, him, his, He, _ = hero[:6]
    start = opening(dice, hero)
    elder, place, weather = pick(GROWN_UPS), pick(OPEN_PLACES), pick(WEATHERS)
    mine, yours = dice.some(2, BREAKAGES)
    colour, colour_2 = dice.some(2, COLOURS)
    thing, thing_2 = f"{colour.name} {mine.item}", f"{colour_2.name} {yours.item}"
    comfort = say(
        "Broken things can be mended",
        "What is broken can be made whole again",
        "Nearly everything can be put right",
        "We will make it as good as new",
    )
    return tell(
        start.text,
        say(
            f"Of all {his} things, {he} liked {colour.a} {mine.item} best.",
            f"{He} had {colour.a} {mine.item} and never went anywhere without it.",
            f"{name} had {colour.a} {mine.item}, and {he} loved it very much.",
        ),
        PARAGRAPH,
        f"One {weather.adjective} {pick(TIMES)}, {name} took the {thing} {place.to}.",
        say(weather.line, ""),
        say(
            f"{name} ran too fast and tripped.",
            f"{name} was in a hurry and fell over a stone.",
            f"On the way, {name} slipped and fell into the grass.",
        ),
        say(
            f"Nothing hurt, but {mine.accident}.",
            f"Nobody was hurt. But oh, the {thing}! It fell down, and {mine.accident}.",
            f"The {mine.item} hit the ground, and {mine.accident}.",
        ),
        say(
            f'"My {mine.item} is broken!" cried {name}.',
            f'"Oh no, my {thing}!" said {name}, and tears ran down {his} cheeks.',
            f'"Now I can throw it away," said {name} sadly.',
        ),
        PARAGRAPH,
        say(
            f"With the {mine.item} in {his} arms, {name} went {start.home} to {his} {elder.kind}.",
            f"{name} carried the {mine.item} {start.home}, where {his} {elder.kind} was waiting.",
            f'{name} came {start.home}. "What happened?" asked {his} {elder.kind}.',
        ),
        say(
            f'"{comfort}," said {elder.name}. "We need {mine.tool}."',
            f'"{comfort}," said {elder.name}, and fetched {mine.tool}.',
        ),
        say(
            f"At first, {name} was too fast, and it did not hold.",
            f'{name} wanted it to be done at once. "Slowly," said {elder.name}.',
            "",
        ),
        say(
            f"Then, very slowly, {name} and {elder.name} {mine.fixed}.",
            f"{elder.name} showed {him} how to do it, and together they {mine.fixed}.",
            f"Then they sat down at the table and {mine.fixed}.",
        ),
        say(
            f"There was {mine.mark}, but {name} liked it that way.",
            f"You could see {mine.mark}, but the {thing} was whole again.",
            f"Only {mine.mark} showed where it had been broken.",
        ),
        PARAGRAPH,
        say("The next week,", "Soon after,", "A few days later,"),
        say(
            f"{name}'s friend {friend.full} came with {colour_2.a} {yours.item}.",
            f"{name} met {his} friend {friend.full}, who had {colour_2.a} {yours.item}.",
        ),
        say(
            f'{friend.name} was crying. "It fell down, and {yours.accident}!"',
            f'"I dropped it, and {yours.accident}," said {friend.name} sadly.',
            f"{friend.name} played with it, and suddenly {yours.accident}.",
        ),
        say(
            f'"{comfort}," said {name}, and went to get {yours.tool}.',
            f'"{comfort}," said {name}. "I only need {yours.tool}."',
        ),
        say(
            f"{name} knew what to do and {yours.fixed}.",
            f"Slowly, they {yours.fixed}.",
            f"Together, {name} and {friend.name} {yours.fixed}.",
        ),
        say(
            f'"Now it has {yours.mark}, and mine has {mine.mark}," said {name}.',
            f"{friend.name} hugged the {thing_2} and laughed.",
            f'"How did you learn that?" asked {friend.name}. "From {elder.name}," said {name}.',
        ),
        ending(
            dice,
            hero,
            start,
            say(f"the {thing} and the {thing_2}", f"{friend.name} and the {thing_2}"),
            f"{name} learned not to give up on broken things.",
            f"Since that day, everyone has brought broken things to {name}.",
            f"From then on, {name} kept {mine.tool} close by, just in case.",
            f"{name} learned that mending is better than crying.",
        ),
    )


def telling_the_truth(dice: Dice) -> str:
    """A jug breaks and is hidden; telling the truth is hard and then a relief."""
    say, pick = dice.say, dice.pick
    (hero,) = friends(dice, 1)
    name, he, _, his, _, His = hero[:6]
    elder, weather = pick(GROWN_UPS), pick(WEATHERS)
    start = opening(dice, hero)
    colour, ball = dice.some(2, COLOURS)
    pot, pieces, hidden = pick(POTTERY), pick(NUMBERS[1:7]), pick(INDOORS)
    thing, a_thing, the_ball = f"{colour.name} {pot}", f"{colour.a} {pot}", f"{ball.name} ball"
    return tell(
        start.text,
        PARAGRAPH,
        say(
            f"{His} {elder.kind} had {a_thing}. It was old, and {elder.name} was very fond of it.",
            f"On the shelf stood {a_thing}. It belonged to {his} {elder.kind}.",
            f"In the kitchen, there was {a_thing}, and {his} {elder.kind} loved it.",
        ),
        say(
            f'"Please do not play ball in the {hero.home}," said {elder.name}.',
            f'"Balls are for outside," {elder.name} always said.',
            f'"Be careful with my {pot}," {elder.name} often said.',
        ),
        f"But one {weather.adjective} {pick(TIMES)}, {name} was alone and had {ball.a} ball.",
        say(
            f"{name} threw it up once, and once more. Crash!",
            f'"Only one little throw," thought {name}. Crash!',
            f"{name} bounced it against the wall. Crash!",
        ),
        say(
            f"The {the_ball} had hit the {thing}, and it broke into {pieces} pieces.",
            f"The {thing} lay on the floor in {pieces} pieces.",
            f"There on the floor was the {thing}, in {pieces} pieces.",
        ),
        PARAGRAPH,
        say(
            f"{name} was frightened. Quickly, {he} hid the pieces {hidden}.",
            f"{name} did not know what to do, and hid all {pieces} pieces {hidden}.",
            f'"Nobody must see this," thought {name}, and hid the pieces {hidden}.',
        ),
        say(
            f"Then {elder.name} came home and looked at the empty shelf.",
            f"At supper, {elder.name} looked around.",
            f"Soon {elder.name} came in.",
        ),
        say(
            f'"Where is my {thing}?" asked {elder.name}.',
            f'"Have you seen my {thing}?" asked {elder.name}.',
            f'"My {thing} is gone," said {elder.name}. "Where can it be?"',
        ),
        say(
            f'"I don\'t know," said {name}, but {his} face grew hot.',
            f"{name} looked at the floor and did not answer.",
            f'{name} only whispered, "I don\'t know."',
        ),
        say(
            f"That night, {name} could not sleep. It was as if there were a stone in {his} tummy.",
            f"{name} could not eat, and in bed {he} could not sleep.",
            f"In bed, {name} lay awake and thought of the {pieces} pieces {hidden}.",
        ),
        PARAGRAPH,
        say(
            f"In the morning, {name} went to {elder.name} and held out the pieces.",
            f"At last, {name} got up, took the {pieces} pieces and went to {elder.name}.",
            f"Early in the morning, {name} put the {pieces} pieces on the table "
            f"and waited for {elder.name}.",
        ),
        say(
            f'"It was me," said {name}. "I broke your {pot} with my {the_ball}. I am so sorry."',
            f'"I broke the {thing}," said {name}, "and I hid it {hidden}. I am sorry."',
            f'"I am sorry. Your {thing} broke when I played with my {the_ball}," said {name}.',
        ),
        say(
            f"{elder.name} was quiet for a moment.",
            f"{elder.name} took a long breath.",
            f"A tear fell on the {pieces} pieces.",
            "",
        ),
        say(
            f'"I am sad about my {pot}," said {elder.name}, "but I am glad that you told me."',
            f'"Thank you for telling me the truth," said {elder.name}. "That was brave."',
            f'"A {pot} is only a {pot}," said {elder.name}. "The truth is worth more."',
        ),
        say(
            f"They sat down with some glue and put the {pieces} pieces together.",
            f"Piece by piece, {name} and {elder.name} glued the {thing} together.",
            f"Then they looked for the glue and mended the {thing}.",
        ),
        say(
            "It had some cracks, but they did not mind.",
            "You could see the cracks, but it was whole again.",
            f"Soon the {thing} stood on the shelf again.",
        ),
        say(
            f"From then on, the {the_ball} stayed outside.",
            f"After that, {name} took the {the_ball} outside.",
            "",
        ),
        ending(
            dice,
            hero,
            start,
            f"the {thing}",
            f"{name} learned that the truth makes the heart light.",
            f"Whenever {name} saw the {thing}, {he} remembered to tell the truth.",
            f"{name} felt happy again, because there was nothing left to hide.",
            f"It is hard to tell the truth, but {name} was glad to have done it.",
        ),
    )


def quarrel(dice: Dice) -> str:
    """Two friends want two colours; alone nothing works, together both colours fit."""
    say, pick = dice.say, dice.pick
    hero, friend = friends(dice)
    name, his = hero.name, hero.his
    who, _ = pronoun(hero, friend)
    start = opening(dice, hero)
    project, part = pick(PROJECTS)
    mine, yours = dice.some(2, COLOURS)
    pattern, place, weather = pick(PATTERNS), pick(OPEN_PLACES), pick(WEATHERS)
    return tell(
        start.text,
        PARAGRAPH,
        f"One {weather.adjective} {pick(TIMES)}, "
        f"{name} and {his} best friend {friend.full} "
        + say(
            f"wanted to build a {project}.",
            f"met {place.at} to build a {project}.",
            f"had an idea. They wanted to build a {project}.",
        ),
        say(weather.line, ""),
        say(
            "They worked hard, and everything went well.",
            f"{name} held the wood, and {friend.name} used the hammer.",
            f"Soon the {project} was almost done.",
        ),
        f"Only the {part} was missing.",
        say(
            f'"I want {mine.a} {part}," said {name}. "No, it must be {yours.name}!" '
            f"said {friend.name}.",
            f'"Let\'s make it {mine.name}," said {name}. '
            f'"I don\'t like {mine.name}," said {friend.name}. "It must be {yours.name}!"',
            f'"It should be {mine.name}," said {name}. "{yours.name.capitalize()} is much better," '
            f"said {friend.name}.",
        ),
        say(
            f'"{mine.name.capitalize()}!" shouted {name}. '
            f'"{yours.name.capitalize()}!" shouted {friend.name}.',
            "They grew louder and louder.",
            "Neither of them wanted to give in.",
        ),
        say(
            f'"Then I will build my own {project}," said {name}.',
            f'"I will never build anything with you again!" cried {name}.',
            f'"Then do it alone!" said {name}.',
        ),
        say(
            f"{friend.name} went away with half of the wood.",
            f"{friend.name} turned around and walked off.",
            f"{friend.name} stamped away angrily.",
        ),
        PARAGRAPH,
        say(
            f"So {name} went on alone. But when one side was up, the other side fell down.",
            "But alone, it did not go well. There was nobody to hold the other end.",
            f"{name} tried to finish the {project}, but it needed four {hero.hand}s, not two.",
        ),
        say(
            f"Not far away, {friend.name} had the same trouble.",
            f"And it was so quiet without {friend.name}.",
            f"{name} missed {friend.name}.",
        ),
        say(
            f'"{friend.name} is more important than any {part}," thought {name}.',
            f'"What is {mine.a} {part} without a friend?" thought {name}.',
            f'"It is only a {part}," thought {name}. "{friend.name} is my friend."',
        ),
        PARAGRAPH,
        say(
            f'{name} went to {friend.name}. "I am sorry that I shouted. '
            f'We can take {yours.a} {part}."',
            f'"I am sorry," {name} told {friend.name}. "Let\'s make the {part} {yours.name}."',
            f'"I was wrong to be so angry," said {name}. "You can have {yours.a} {part}."',
        ),
        say(
            f'"I am sorry, too," said {friend.name}. "We can make it {mine.name}."',
            f'"No, I am sorry," said {friend.name}. "{mine.name.capitalize()} is fine."',
            f'{friend.name} said, "And I wanted to give you {mine.a} {part}!"',
        ),
        say(
            "They looked at each other and began to laugh.",
            'Then they both laughed. "Why not both?"',
            f'"I know what to do!" said {name}.',
        ),
        say(
            f"So they made {mine.a} {part} with {yours.name} {pattern}.",
            f"In the end, it was {yours.a} {part} with {mine.name} {pattern}.",
            f"And so the {project} got {mine.a} {part} with {yours.name} {pattern} on it.",
        ),
        say(
            f"It was the finest {project} they had ever seen.",
            f"Nobody else had such a {project}.",
            f"Now the {project} was ready, and they were friends again.",
            f"{weather.later} when the {project} was ready at last.",
        ),
        ending(
            dice,
            hero,
            start,
            say(f"the {project}", f"{friend.name} and the {project}"),
            f"{name} learned that saying sorry can mend a friendship.",
            "Two ideas together can be better than one.",
            f"{name} and {friend.name} never quarrelled about a colour again.",
            f"And {who} knew that a friend is worth more than any {part}.",
        ),
    )

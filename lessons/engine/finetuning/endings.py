"""The built-in preferences: one beginning of a story, two ends, of which one is the happy one.

Pair number i of a seed depends on the seed and i alone, so its bytes are the same everywhere. A
situation (a lost cat, a race, ...) is told up to the point where it may go either way. Both ends are
about the same people and things and have the same form, so a model cannot tell them apart by their
length. Some situations are never trained on: they are for measuring whether a model has learned to
prefer happy ends, or these very sentences.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..ministories.people import Person
from ..ministories.scene import Dice, friends
from ..ministories.words import with_article

HELD_OUT = 3  # so many situations, the last ones, are kept for measuring


class Pair(NamedTuple):
    """A beginning and two ways to go on, of which `chosen` is the better one."""

    prompt: str
    chosen: str
    rejected: str


class Told(NamedTuple):
    """A situation: up to the turn, and what happens then, happily or sadly."""

    before: str
    happily: str
    sadly: str


def _lost_pet(dice: Dice, hero: Person, friend: Person) -> Told:
    pet = dice.pick(("cat", "puppy", "rabbit", "duck", "pony"))
    where = dice.pick(("in the garden", "behind the barn", "along the river", "in the tall grass"))
    return Told(
        f"{hero.name} had a little {pet}. One day the {pet} was gone. {hero.name} and {friend.name} "
        f"looked for it {where} until it was dark.",
        dice.say(
            f"Then the {pet} came running and jumped into {hero.his} arms.",
            f"At last they heard a small sound, and there was the {pet}, safe and warm.",
        ),
        dice.say(
            f"But the {pet} did not come, and {hero.his} arms stayed cold and empty.",
            f"They heard no sound at all, and the {pet} was lost for good.",
        ),
    )


def _race(dice: Dice, hero: Person, friend: Person) -> Told:
    prize = dice.pick(("red ribbon", "gold star", "big cake", "silver cup"))
    return Told(
        f"There was a race in the village, and the prize was a {prize}. {hero.name} had practised for "
        f"weeks. {hero.He} ran as fast as {hero.he} could, right beside {friend.name}.",
        dice.say(
            f"{hero.name} and {friend.name} came in together and shared the {prize}.",
            f"{hero.name} won the {prize}, and {friend.name} clapped and cheered.",
        ),
        dice.say(
            f"{hero.name} fell and hurt {hero.his} knee, and {friend.name} ran on without a look.",
            f"{hero.name} came in last, and {friend.name} shouted at {hero.him} all the way home.",
        ),
    )


def _seed(dice: Dice, hero: Person, friend: Person) -> Told:
    plant = dice.pick(("sunflower", "pumpkin", "apple tree", "rose", "tomato plant"))
    return Told(
        f"{hero.name} put a seed into the ground. {hero.He} wanted to grow {with_article(plant)}. Every day "
        f"{hero.he} brought water, and {friend.name} came to look.",
        dice.say(
            f"One morning there was a small green leaf, and soon a tall and lovely {plant}.",
            f"The {plant} grew and grew, and it was the finest in the street.",
        ),
        dice.say(
            f"One morning there was ice on the ground, and the poor little {plant} was dead.",
            "Nothing grew, and in the end there was only dry and empty ground.",
        ),
    )


def _tower(dice: Dice, hero: Person, friend: Person) -> Told:
    thing = dice.pick(("tower", "castle", "bridge", "house"))
    stuff = dice.pick(("blocks", "sand", "stones", "boxes"))
    return Told(
        f"{hero.name} and {friend.name} were building a {thing} of {stuff}. It took all day. Now "
        f"{hero.name} put the last piece on top, very slowly.",
        dice.say(
            f"The {thing} stood strong and tall, and everyone came to see it.",
            f"It was the best {thing} they had ever made, and they danced around it.",
        ),
        dice.say(
            f"The {thing} fell down with a loud crash, and nothing was left of it.",
            f"It all broke, and {friend.name} shouted that it was {hero.his} fault.",
        ),
    )


def _grandma(dice: Dice, hero: Person, friend: Person) -> Told:
    gift = dice.pick(("soup", "flowers", "a drawing", "warm bread", "a song"))
    old = dice.pick((("grandma", "she", "her"), ("grandpa", "he", "him")))
    return Told(
        f"{hero.name}'s {old[0]} was ill and had to stay in bed. {hero.name} and {friend.name} walked "
        f"a long way to bring {old[2]} {gift}. They knocked at the door.",
        dice.say(
            f"The {old[0]} opened it, well again, and gave them a big hug.",
            f'"I feel so much better now that you are here!" said the {old[0]} with a smile.',
        ),
        dice.say(
            f"The {old[0]} did not open it, and {old[1]} was too weak to say a word.",
            f'"Go away, I feel worse and worse," said the {old[0]} with a groan.',
        ),
    )


def _boat(dice: Dice, hero: Person, friend: Person) -> Told:
    wood = dice.pick(("paper", "wood", "bark", "an old shoe"))
    return Told(
        f"{hero.name} made a little boat out of {wood}. {hero.He} took it to the river with "
        f"{friend.name}. The water was fast. {hero.name} let the boat go.",
        dice.say(
            "The little boat danced over the waves and came safely to the other side.",
            f"The boat swam like a swan, and {friend.name} caught it further down.",
        ),
        dice.say(
            "The little boat turned over in the waves and sank to the bottom.",
            f"The boat broke on a rock, and {friend.name} could not catch it.",
        ),
    )


def _cake(dice: Dice, hero: Person, friend: Person) -> Told:
    cake = dice.pick(("apple", "carrot", "lemon", "honey", "plum"))
    return Told(
        f"It was {friend.name}'s birthday. {hero.name} wanted to make {dice.say('a', 'a big')} cake "
        f"with {cake} in it. {hero.He} put it into the oven and waited. Then {hero.he} opened the oven.",
        dice.say(
            f"The cake was golden and sweet, and {friend.name} loved every bit of it.",
            f"It smelled wonderful, and {friend.name} said it was the best cake of all.",
        ),
        dice.say(
            f"The cake was all black and burnt, and {friend.name} threw it away.",
            f"It smelled of smoke, and {friend.name} said it was the worst cake of all.",
        ),
    )


def _bird(dice: Dice, hero: Person, friend: Person) -> Told:
    bird = dice.pick(("bird", "owl", "robin", "sparrow"))
    return Told(
        f"{hero.name} found a small {bird} with a hurt wing. {hero.He} took it home and gave it water. "
        f"{friend.name} brought a soft box. In the morning they opened the box.",
        dice.say(
            f"The {bird} sang, spread its wings and flew up to the sun.",
            f"The {bird} was well, and it sat on {hero.his} finger and sang.",
        ),
        dice.say(
            f"The {bird} lay quite still in the box, and it never sang again.",
            f"The {bird} was weak and cold, and it could not open its eyes.",
        ),
    )


def _snow(dice: Dice, hero: Person, friend: Person) -> Told:
    hat = dice.pick(("red hat", "blue scarf", "old coat", "green cap"))
    return Told(
        f"{hero.name} made a snowman and gave it {hero.his} {hat}. {friend.name} gave it a carrot for a "
        f"nose. That night the wind blew hard. In the morning they ran out to look.",
        dice.say(
            f"The snowman was still there, with the {hat} on, and it seemed to smile.",
            "Somebody had made a second snowman, so that the first had a friend.",
        ),
        dice.say(
            f"The snowman was gone, and the {hat} was torn and dirty.",
            "Somebody had kicked the snowman to pieces and taken the carrot.",
        ),
    )


def _letter(dice: Dice, hero: Person, friend: Person) -> Told:
    town = dice.pick(("the city", "an island", "the mountains", "a far land"))
    return Told(
        f"{friend.name} had moved to {town}. {hero.name} missed {friend.him} and wrote a long letter. "
        f"Every day {hero.he} waited for the post. Then there was a knock.",
        dice.say(
            f"It was {friend.name}, back to stay, and they hugged and danced.",
            f"It was a letter from {friend.name}, and it said: we will visit you soon!",
        ),
        dice.say(
            f"It was only the wind, and {friend.name} never wrote back.",
            f"It was {hero.his} own letter that came back, and nobody had read it.",
        ),
    )


def _dark(dice: Dice, hero: Person, friend: Person) -> Told:
    place = dice.pick(("forest", "cave", "old house", "park"))
    return Told(
        f"{hero.name} and {friend.name} had lost their way in the {place}. It was getting dark. "
        f"They held hands and walked on. Then they saw a light.",
        dice.say(
            "It was Mum with a lantern, and she took them home to a warm supper.",
            "It was the window of their own house, and they laughed with joy.",
        ),
        dice.say(
            "It went out again, and they sat alone in the cold all night.",
            f"It was far, far away, and {friend.name} was too tired to go on.",
        ),
    )


def _school(dice: Dice, hero: Person, friend: Person) -> Told:
    game = dice.pick(("ball", "tag", "hide and seek", "chess"))
    return Told(
        f"It was {hero.name}'s first day at a new school. {hero.He} knew nobody. At noon {friend.name} "
        f'and the others played {game}. {hero.name} asked, "May I play too?"',
        dice.say(
            f'"Yes, come and be on my side!" said {friend.name} with a smile.',
            f"{friend.name} took {hero.him} by the hand, and they played until the bell rang.",
        ),
        dice.say(
            f'"No, go and find somebody else!" said {friend.name} with a frown.',
            f"{friend.name} turned away, and {hero.name} stood alone until the bell rang.",
        ),
    )


Situation = Callable[[Dice, Person, Person], Told]
SITUATIONS: tuple[Situation, ...] = (
    *(_lost_pet, _race, _seed, _tower, _grandma, _boat, _cake, _bird, _snow),
    *(_letter, _dark, _school),
)
GLAD = (
    "{name} was very happy.",
    "{name} laughed and felt happy all day.",
    "{name} went to bed with a smile.",
    "It was the best day of all.",
    "They were glad, and they all lived happily.",
)
SAD = (
    "{name} was very sad.",
    "{name} cried and felt sad all day long.",
    "{name} went to bed with many tears.",
    "It was the worst day of all.",
    "They were all alone, and nobody was happy.",
)


def pair(seed: int, index: int, held_out: bool = False) -> Pair:
    """Pair number `index` of `seed`; `held_out` ones are about other situations."""
    dice = Dice(seed, index)
    told_of = SITUATIONS[-HELD_OUT:] if held_out else SITUATIONS[:-HELD_OUT]
    hero, friend = friends(dice)
    told: Told = dice.pick(told_of)(dice, hero, friend)
    which = dice.pick(range(len(GLAD)))
    close_gladly, close_sadly = (
        GLAD[which].format(name=hero.name),
        SAD[which].format(name=hero.name),
    )
    start = (
        dice.say("Once upon a time, ", "One day, ", "") if told.before.startswith(hero.name) else ""
    )
    return Pair(
        f"{start}{told.before}", f" {told.happily} {close_gladly}", f" {told.sadly} {close_sadly}"
    )


def pairs(seed: int, start: int, count: int, held_out: bool = False) -> Iterator[Pair]:
    """Pairs number `start` to `start + count - 1` of `seed`."""
    for index in range(start, start + count):
        yield pair(seed, index, held_out)

"""Plots about having things together: a toy, a lunch, the time with someone new."""

from .people import GROWN_UPS
from .scene import PARAGRAPH, Dice, ending, friends, opening, pronoun, tell
from .words import COLOURS, FOODS, LEFT_AT_HOME, NUMBERS, OPEN_PLACES, TIMES, TOYS, WEATHERS


def sharing_a_toy(dice: Dice) -> str:
    """A new toy is dull alone; the memory of a friend's kindness opens the heart."""
    say, pick = dice.say, dice.pick
    hero, friend = friends(dice)
    name, _, him, his, He, His = hero[:6]
    who, Who = pronoun(hero, friend)
    start = opening(dice, hero)
    giver, colour, toy, food = pick(GROWN_UPS), pick(COLOURS), pick(TOYS), pick(FOODS)
    thing, a_thing = f"{colour.name} {toy.name}", f"{colour.a} {toy.name}"
    place = pick(OPEN_PLACES)
    spot = pick(place.spots)
    weather = pick(WEATHERS)
    return tell(
        start.text,
        say(
            f"For {his} birthday, {name} got {a_thing} from {his} {giver.kind}.",
            f"One day, {his} {giver.kind} gave {him} {a_thing}.",
            f"{His} {giver.kind} had made {a_thing} for {him}.",
            f"{He} had a new toy, {a_thing} from {his} {giver.kind}.",
        ),
        say(f"{name} was very proud of it.", f"It was the finest thing {name} had.", ""),
        PARAGRAPH,
        f"One {weather.adjective} {pick(TIMES)}, {name} took the {thing} {place.to}.",
        say(weather.line, ""),
        say(f"{friend.full} was there too.", f"There {name} met {friend.full}."),
        say(
            f"Only last week, {friend.name} had shared {food.a} with {name}.",
            f"They were friends, and {friend.name} had once given {name} half of {food.a}.",
            f"They knew each other well. Only the day before, {friend.name} "
            f"had given {name} {food.a}.",
        ),
        say(
            f'"What a fine {thing}!" said {friend.name}. "May I {toy.play} too?"',
            f'"Oh, {a_thing}!" cried {friend.name}. "Can we {toy.play} together?"',
            f'"Please, may I {toy.play}?" asked {friend.name}.',
        ),
        say(
            f'"No," said {name}. "It is mine!"',
            f'{name} held on to it. "No, the {toy.name} is only for me!"',
            f'But {name} said, "I don\'t want to share."',
        ),
        say(
            f"{friend.name} walked away slowly and sat down {spot}.",
            f"{friend.name} said nothing and went to sit {spot}.",
            f"Sadly, {friend.name} went off and sat down {spot}.",
        ),
        PARAGRAPH,
        say(
            f"So {name} {toy.played} alone. At first it was fun, "
            f"but there was nobody {toy.missing}.",
            f"Then {name} {toy.played} once, twice, three times. It was a little dull, "
            f"because there was nobody {toy.missing}.",
            f"{name} {toy.played} for a while. But there was nobody {toy.missing}, "
            f"and so it was not much fun.",
        ),
        say(
            f"{Who} saw how sad {friend.name} was.",
            f"{Who} looked over to {friend.name}, who was still sitting {spot}.",
            f"And {friend.name} was still sitting {spot}.",
        ),
        say(
            f"Then {name} thought of the {food.one}. {friend.name} had not kept it all.",
            f"{Who} remembered how good the {food.one} had tasted.",
            f'"{friend.name} shared the {food.one} with me," thought {name}.',
        ),
        say(f"Suddenly {who} felt sorry.", f"{Who} was not proud any more.", ""),
        PARAGRAPH,
        say(
            f"{name} took the {thing} and went to {friend.name}.",
            f"{name} ran over to {friend.name} with the {thing}.",
            f"With the {thing}, {name} sat down next to {friend.name}.",
        ),
        say(
            f'"I am sorry," said {name}. "Please come and {toy.play} with me."',
            f'"I was not kind," said {name}. "Would you like to {toy.play} with me?"',
            f'"You were so good to me," said {name}. "Let\'s {toy.play} together."',
        ),
        say(
            f'"I would love to!" said {friend.name}, jumping up.',
            f'{friend.name} smiled again. "Yes, please!"',
            f'"Hooray!" cried {friend.name}.',
        ),
        say(
            f"First {friend.name} {toy.played}, and then it was {name}'s turn.",
            f"They took turns. When {friend.name} {toy.played}, {name} cheered.",
            f"{friend.name} {toy.played}, and {name} clapped.",
        ),
        say(
            "Now it was twice as much fun.",
            "They played until the sun went down.",
            f"They laughed so loudly that others came {place.to} to see.",
            f"{weather.later} when they went home.",
        ),
        ending(
            dice,
            hero,
            start,
            say(f"the {thing}", f"{friend.name} and the {thing}"),
            f"{name} learned that a toy is more fun when it is shared.",
            f"Since that day, the {thing} has belonged to both of them.",
            f"From then on, {name} always shared the {thing} with {friend.name}.",
        ),
    )


def sharing_lunch(dice: Dice) -> str:
    """Half of a lunch goes to a friend; half of an umbrella comes back."""
    say, pick = dice.say, dice.pick
    hero, friend = friends(dice)
    name, he, his = hero.name, hero.he, hero.his
    start = opening(dice, hero)
    half = pick((2, 3, 4))
    all_of_them, each = NUMBERS[2 * half - 2], NUMBERS[half - 2]
    food, colour, place = pick(FOODS), pick(COLOURS), pick(OPEN_PLACES)
    umbrella, left = f"{colour.name} umbrella", pick(LEFT_AT_HOME)
    return tell(
        start.text,
        PARAGRAPH,
        f"One {say('sunny', 'warm', 'bright')} {say('day', 'morning')}, {name} "
        + say(
            f"wanted to have a picnic {place.at} with {friend.full}.",
            f"and {his} friend {friend.full} went {place.to} to have a picnic.",
            f"met {his} friend {friend.full} for a picnic {place.at}.",
        ),
        say(
            f"{name} had {all_of_them} {food.many} in a bag.",
            f"{name} had packed {all_of_them} {food.many} for lunch.",
            f"In a small bag, {name} carried {all_of_them} {food.many}.",
        ),
        say(
            f"{friend.name} carried {colour.a} umbrella, although the sun was shining.",
            f"{friend.name} came with {colour.a} umbrella, and {name} thought that was funny.",
            f"Over one arm, {friend.name} had {colour.a} umbrella.",
        ),
        say(
            f'"Why did you bring that?" asked {name}. "You never know," said {friend.name}.',
            f'"It will not rain today!" said {name}. "We will see," said {friend.name}.',
            f'"What is that for?" asked {name}. "For later," said {friend.name}.',
            "",
        ),
        PARAGRAPH,
        say(
            f"First they {place.did}. Soon they were hungry.",
            f"They {place.did} until they were hungry.",
            f"They {place.did} for a long time. Then it was time for lunch.",
        ),
        say(
            f"{name} opened the bag and took out the {all_of_them} {food.many}.",
            f"{name} put the {all_of_them} {food.many} on a cloth.",
            f"There lay the {all_of_them} {food.many}, and they smelled so good.",
        ),
        say(
            f'But {friend.name} looked very sad. "Oh no! My lunch is still {left}!"',
            f'"Oh dear," said {friend.name}. "I left my lunch {left}!"',
            f'{friend.name} looked around. "Where is my lunch? It must be {left}!"',
        ),
        say(
            f"{name} was so hungry that {he} could have eaten all the {food.many}.",
            f"{name} looked at the {food.many}. It would be nice to have them all.",
            "",
        ),
        say(
            f"But {friend.name} was hungry too.",
            f"Then there was a rumble. It was {friend.name}'s tummy.",
            f"Then {name} saw {friend.name}'s sad face.",
        ),
        say(
            f'"We can share," said {name}. "That is {each} for you and {each} for me."',
            f'"Don\'t be sad," said {name}. "I have {all_of_them}. You can have {each} of them."',
            f'"Here are {each} for you," said {name}, "and {each} for me."',
        ),
        say(
            f'"Thank you," said {friend.name}. "You are a good friend."',
            f"{friend.name} smiled from ear to ear.",
            f'"That is so kind of you!" said {friend.name}.',
        ),
        say(
            f"They each ate {each} {food.many}, and nobody was hungry any more.",
            f"Never had {each} {food.many} tasted so good.",
            f"After {each} {food.many}, they were both full.",
        ),
        PARAGRAPH,
        say(
            "On the way home, dark clouds came up, and it began to rain.",
            "When they walked home, big drops began to fall.",
            "Later, on the way home, it started to rain.",
        ),
        say(
            f'"I will get wet!" cried {name}.',
            f'"Oh no," said {name}. "I have no coat!"',
            f"{name} did not even have a hat.",
        ),
        say(
            f'{friend.name} opened the {umbrella}. "Now it is my turn to share!"',
            f'"You shared your {food.many}, and I will share this," said {friend.name}, '
            f"and opened the {umbrella}.",
            f'"Come here to me," said {friend.name}, and held the {umbrella} over them both.',
        ),
        say(
            "It was big enough for two.",
            "Side by side, they walked through the puddles and stayed dry.",
            "They sang all the way, and not one drop fell on them.",
        ),
        ending(
            dice,
            hero,
            start,
            say(
                f"the {umbrella} in the rain",
                f"{all_of_them} {food.many} and {colour.a} umbrella",
                f"{friend.name} and the {umbrella}",
            ),
            f"{name} learned that those who share are never alone in the rain.",
            "When friends share, there is always enough.",
            f"{name} was glad, because sharing makes two people happy.",
            f"Since that day, {name} has never laughed at an umbrella again.",
        ),
    )


def new_friend(dice: Dice) -> str:
    """Someone new is lonely; a bite to eat and a shared love make a friend."""
    say, pick = dice.say, dice.pick
    hero, friend = friends(dice)
    name, he = hero.name, hero.he
    start = opening(dice, hero, with_hobby=True)
    assert start.hobby
    love = start.hobby.do
    elder, food, colour, toy = pick(GROWN_UPS), pick(FOODS), pick(COLOURS), pick(TOYS)
    thing, a_thing = f"{colour.name} {toy.name}", f"{colour.a} {toy.name}"
    place, weather = pick(OPEN_PLACES), pick(WEATHERS)
    return tell(
        start.text,
        PARAGRAPH,
        say(
            f"One {weather.adjective} {pick(TIMES)}, "
            f"a young {friend.kind} named {friend.name} moved in next door.",
            f"Next door, a new family moved in, and with them came "
            f"a young {friend.kind} named {friend.name}.",
            f"There was someone new in the village. "
            f"It was a young {friend.kind} called {friend.name}.",
        ),
        say(
            f"{friend.name} did not know anybody.",
            f"Everything was strange to {friend.name}.",
            f"{friend.name} had no friends yet.",
        ),
        say(
            f"{friend.He} sat alone {place.at} with {a_thing} and looked at the ground.",
            f"{friend.He} had {a_thing}, but {friend.he} sat all alone {place.at}.",
            f"{friend.He} went {place.to} with {a_thing}, but there was nobody to play with.",
        ),
        say(f"{weather.line} But {friend.name} did not smile.", ""),
        PARAGRAPH,
        say(
            f"{name} saw {friend.name} there and wanted to say hello, but did not dare to.",
            f"From far away, {name} saw {friend.name}, but was too shy to say hello.",
            f"{name} wanted to talk to {friend.name}, but could not think of a word to say.",
        ),
        say(
            f'"What if nobody likes me?" {name} asked {elder.name}.',
            f'"I don\'t know what to say," {name} told {elder.name}.',
            f"{name} asked {elder.name} for help.",
        ),
        say(
            f'"A kind word is always a good start," said {elder.name}, '
            f"and gave {name} two {food.many}.",
            f'"Start with these," said {elder.name}, and gave {name} two {food.many}.',
            f'"Take these two {food.many} and say your name," said {elder.name}. "That is all."',
        ),
        say(
            f"So {name} took a deep breath and went {place.to}.",
            f"So {name} went {place.to}, step by step.",
            f"With the two {food.many}, {name} went {place.to}.",
        ),
        say(
            f'"Hello, I am {name}. Would you like {food.a}?"',
            f'"My name is {name}," {he} said. "I have {food.a} for you."',
            f'"Hello!" said {name}. "I am {name}, and here is {food.a} for you."',
        ),
        say(
            f'{friend.name} looked up. "Thank you," {friend.he} said quietly.',
            f'"Oh, thank you," said {friend.name}, and the sad look was gone.',
            f'"You are very kind," said {friend.name}.',
        ),
        PARAGRAPH,
        say(
            f"They ate their {food.many} side by side.",
            f"For a while, they sat and ate their {food.many}.",
            f"When the {food.many} were eaten, they began to talk.",
        ),
        say(
            f'"What do you like to do?" asked {name}.',
            f'"Tell me what you like best," said {name}.',
            f'"What shall we do now?" asked {name}.',
        ),
        say(
            f'"I love to {love}," said {friend.name}. "So do I!" cried {name}.',
            f'"I like to {love}," said {friend.name}. "I love to {love} too!" said {name}.',
            f'"Best of all, I like to {love}," said {friend.name}. '
            f'{name} laughed. "That is just like me!"',
        ),
        say(
            f"Then {friend.name} showed {name} the {thing}, and they {toy.played}.",
            f'"Let\'s {toy.play} together," said {friend.name}, holding up the {thing}.',
            f"Then they {toy.played} and {place.did}.",
        ),
        say("They talked until it was dark.", "It was as if they had always been friends.", ""),
        PARAGRAPH,
        say(
            f"The next morning, somebody knocked. It was {friend.name} with {food.a} for {name}.",
            f"The next day, {friend.name} came with the {thing} and {food.a} for {name}.",
            f"Early the next day, {friend.name} stood at the door and held out {food.a}.",
        ),
        say(
            f"Together they {start.hobby.did} the {thing}.",
            f"They sat down and {start.hobby.did} the {thing}.",
            "",
        ),
        say(
            f"{friend.name} was not lonely any more, and {name} had a new friend.",
            f"{name} learned that a kind word can turn a stranger into a friend.",
            f"Since that day, {name} and {friend.name} have been best friends.",
            f"{name} was glad to have been brave enough to say hello.",
        ),
    )

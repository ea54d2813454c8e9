"""The vocabulary: colours, things, foods, places, weather and hobbies.

A table has one row per line. Every entry carries the forms that a plot needs (articles, past
tenses, what is under the slide at the park), so that no plot has to guess them.
"""

from typing import NamedTuple


def rows(table: str) -> list[list[str]]:
    """The cells of a table, a row per line, with | between the cells."""
    return [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]


def with_article(words: str) -> str:
    """ "a red kite", "an orange hat". No word here starts with a silent h or a long u."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


class Colour(NamedTuple):
    name: str
    a: str  # "a red", "an orange"


class Item(NamedTuple):
    """A thing that can be owned and lost. Mittens and the like come in pairs."""

    name: str
    left: str  # how one leaves it somewhere: "put it down", "took them off"
    it: str
    them: str
    was: str
    is_: str


class Toy(NamedTuple):
    name: str
    play: str
    played: str
    missing: str  # what it is like to play alone: there was nobody ...


class Place(NamedTuple):
    at: str
    to: str
    do: str
    did: str
    doing: str
    spots: tuple[str, ...]  # where something may lie there


class Food(NamedTuple):
    one: str  # "plum"
    a: str  # "a plum"
    many: str


class Weather(NamedTuple):
    adjective: str
    line: str
    later: str  # the same weather, at the end of the day


class Hobby(NamedTuple):
    do: str
    did: str  # is followed by a noun: "painted a picture of" the red kite


def place(row: list[str]) -> Place:
    """From the cells at, to, the three verb forms, the rest of the verb, the spots."""
    at, to, verbs, rest, spots = row
    do, did, doing = (f"{verb} {rest}" for verb in verbs.split())
    return Place(at, to, do, did, doing, tuple(spots.split(", ")))


COLOURS = tuple(
    Colour(name, with_article(name))
    for name in [
        "red",
        "blue",
        "green",
        "yellow",
        "orange",
        "purple",
        "pink",
        "brown",
        "white",
        "grey",
        "silver",
    ]
)
FLOWER_COLOURS = tuple(
    colour for colour in COLOURS if colour.name not in ("brown", "grey", "silver", "green")
)
NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

LOSABLE = tuple(
    Item(name, "put it down", "it", "it", "was", "is")
    for name in (
        *("kite", "ball", "drum", "doll", "teddy bear", "toy train", "toy boat", "whistle"),
        *("lantern", "blanket", "bucket", "umbrella", "bag"),
    )
)
LOSABLE += tuple(
    Item(name, "took it off", "it", "it", "was", "is") for name in ("hat", "cap", "scarf", "coat")
)
LOSABLE += tuple(
    Item(name, "took them off", "they", "them", "were", "are")
    for name in ("mittens", "gloves", "boots", "slippers")
)


def coloured(colour: Colour, item: Item) -> str:
    """ "a red kite", "an orange hat", "a pair of red mittens"."""
    if item.it == "they":
        return f"a pair of {colour.name} {item.name}"
    return f"{colour.a} {item.name}"


TOYS = tuple(
    Toy(name, f"{play} {rest}", f"{played} {rest}", missing)
    for name, play, played, rest, missing in rows("""
        kite          | fly   | flew    | the kite         | to hold the string
        ball          | throw | threw   | the ball         | to catch it
        drum          | tap   | tapped  | the drum         | to march along
        toy train     | push  | pushed  | the train        | to build the station
        hoop          | roll  | rolled  | the hoop         | to roll it back
        puppet        | make  | made    | the puppet dance | to watch the show
        wagon         | pull  | pulled  | the wagon        | to ride in it
        skipping rope | swing | swung   | the rope         | to count the jumps
        top           | spin  | spun    | the top          | to count the turns
    """)
)
BLOWN_AWAY = ("kite", "balloon", "hat", "scarf", "paper plane", "ribbon", "cap", "flag")
PRESENTS = (
    *("kite", "ball", "drum", "doll", "teddy bear", "toy train", "toy boat", "hoop", "puppet"),
    *("wagon", "lantern", "umbrella", "bucket", "sledge", "paint box", "bicycle bell"),
)
POTTERY = ("jug", "teapot", "bowl", "vase", "plate", "cup", "milk jug", "flower pot")
FRUITS = tuple(
    f"{colour} {fruit}"
    for fruit, colours in rows("""
        apple | red green yellow
        pear  | yellow green
        plum  | purple yellow
        peach | orange pink
    """)
    for colour in colours.split()
)
FOODS = tuple(
    Food(one, with_article(one), f"{one}s")
    for one in (
        *("apple", "pear", "plum", "waffle", "banana", "muffin", "pancake", "biscuit"),
        *("honey bun", "cherry tart", "cheese roll", "egg roll", "nut cake", "carrot cake"),
    )
)
CAKES = ("apple", "honey", "cherry", "carrot", "lemon", "nut", "plum", "strawberry", "banana")
FLOWERS = ("tulip", "rose", "pansy", "aster", "dahlia", "primrose")
POT_SPOTS = ("beside the door", "on the window sill", "on the steps", "under the kitchen window")
LEFT_AT_HOME = ("on the kitchen table", "beside the door", "on the stairs", "on the garden wall")
INDOORS = (
    *("under the bed", "behind the curtain", "in the toy box", "on the kitchen shelf"),
    *("inside the cupboard", "under the table", "behind the big chair", "in the laundry basket"),
)
TRIFLES = ("an old leaf", "a shiny beetle", "a smooth stone", "a feather", "a sleepy snail")

PLACES = tuple(
    place(row)
    for row in rows("""
        by the pond | to the pond | feed fed feeding | the ducks \
            | behind the reeds, under the wooden bench, next to the flat stone
        at the park | to the park | ride rode riding | on the swings \
            | under the slide, beside the sandpit, behind the bench
        in the meadow | to the meadow | pick picked picking | wild flowers \
            | in the tall grass, beside the gate, next to the mossy log
        on the beach | to the beach | look looked looking | for shells \
            | on the smooth rock, beside the rock pool, behind the pile of driftwood
        in the woods | to the woods | collect collected collecting | acorns \
            | under the old oak tree, on the tree stump, beside the fallen log
        on the hill | to the hill | roll rolled rolling | down the grass \
            | behind the big rock, beside the old fence, under the thorn bush
        by the river | to the river | throw threw throwing | pebbles into the water \
            | near the wooden bridge, among the reeds, on the wide rock
        at the farm | to the farm | feed fed feeding | the hens \
            | next to the hen house, beside the bale of hay, behind the barn door
        in the village garden | to the village garden | water watered watering | the beans \
            | beside the watering can, behind the bean plants, next to the tool shed
        in the orchard | to the orchard | look looked looking | for ladybirds \
            | under the apple tree, beside the tall ladder, behind the empty barrel
        at the market | to the market | listen listened listening | to the band \
            | under the fruit stall, beside the fountain, behind the row of baskets
        at the library | to the library | look looked looking | at picture books \
            | under the reading table, on the low shelf, beside the soft chair
    """)
)
OPEN_PLACES = PLACES[:-2]
NEAR = (
    *("near the river", "at the edge of the village", "at the foot of a hill", "near the woods"),
    *("beside a tall oak tree", "at the end of a long lane", "not far from the sea"),
    *("behind the old mill", "next to a wide field", "on the sunny side of the valley"),
)
HIGH_PLACES = (
    *("on the roof of the barn", "on the high wall", "on the highest branch of the pine tree"),
    *("on top of the old gate", "on the roof of the school", "at the top of the flagpole"),
)
HIDING_PLACES = (
    *("behind the old barn", "under the wooden steps", "inside the empty barrel"),
    *("behind the thick bush", "up in the apple tree", "under the upturned boat"),
    *("behind the stack of logs", "inside the garden shed", "beneath the pile of leaves"),
    *("behind the stone wall", "under the old cart", "between the tall sunflowers"),
)
WEATHERS = tuple(
    Weather(*row)
    for row in rows("""
        sunny  | The air was warm and the shadows were short. | The sun was still shining
        windy  | The wind danced in the trees.                | The wind was still dancing
        cloudy | Soft clouds moved slowly over the hills.     | The clouds were still drifting
        misty  | A thin mist lay over the fields.             | The mist was gone
        bright | Birds were singing in every tree.            | The birds were still singing
        warm   | Bees were humming in the flowers.            | The bees were still humming
        cool   | The leaves were wet with dew.                | The air was cool and fresh
        quiet  | Not a leaf moved in the trees.               | It was still very quiet
    """)
)
TIMES = ("morning", "afternoon", "day")
TRAITS = (
    *("kind", "gentle", "cheerful", "curious", "lively", "thoughtful", "friendly", "playful"),
    *("clever", "helpful"),
)
HOBBIES = tuple(
    Hobby(*row)
    for row in rows("""
        paint            | painted a picture of
        draw             | drew a picture of
        sing             | sang a song about
        tell stories     | told a story about
        make up rhymes   | made up a rhyme about
        write            | wrote a little book about
        put on plays     | put on a little play about
    """)
)

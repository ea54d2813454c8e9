"""Situations: what may break, be feared, be learned, be promised, and the forms a plot needs."""

from typing import NamedTuple

from .words import rows


class Breakage(NamedTuple):
    item: str
    accident: str
    tool: str
    fixed: str
    mark: str  # what one can still see afterwards


class Fear(NamedTuple):
    of: str
    do: str
    did: str
    before: str  # what it looked like to someone afraid
    after: str  # what it turned out to be


class Skill(NamedTuple):
    do: str
    did: str
    first_fail: str
    second_fail: str
    tip: str


class Chore(NamedTuple):
    do: str
    did: str
    result: str


class Creature(NamedTuple):
    """A small animal in trouble: what is wrong, how one helps, how it moves afterwards."""

    kind: str
    trouble: str
    helped: str
    moved: str


class Landmark(NamedTuple):
    there: str
    back: str
    near: str


BREAKAGES = tuple(
    Breakage(item, accident, f"a {tool}", f"{fixed} {what}", f"a {mark}")
    for item, accident, tool, fixed, what, mark in rows("""
        kite | the tail came off | piece of string | tied | the tail back on | little knot
        toy boat | the sail tore | needle and thread | sewed | the sail together | row of stitches
        teddy bear | an arm came off | needle and thread | sewed | the arm back on | row of stitches
        toy train | a wheel fell off | pot of glue | glued | the wheel back on | thin line of glue
        wooden horse | a leg broke off | pot of glue | glued | the leg back on | thin line of glue
        picture book | a page came out | roll of tape | taped | the page back in | strip of tape
        basket | the handle came off | piece of string | tied | the handle back on | little knot
        toy castle | the roof fell off | pot of glue | glued | the roof back on | thin line of glue
        puppet | a string snapped | ball of string | tied | a new string on | little knot
        bag | the pocket came off | needle and thread | sewed | the pocket back on | row of stitches
    """)
)
FEARS = tuple(
    Fear(of, f"{do} {rest}", f"{did} {rest}", before, after)
    for of, do, did, rest, before, after in rows("""
        dark places | walk | walked | through the dark tunnel \
            | The tunnel looked like the mouth of a whale. \
            | The tunnel was short, and there was light at the end.
        high places | go | went | down the high slide \
            | The slide looked as tall as a mountain. | It felt like flying.
        deep water | swim | swam | across the pond \
            | The water looked cold and deep. | The water was as soft as a bed.
        bridges | cross | crossed | the rope bridge \
            | The bridge swung and creaked. | The bridge was as strong as a rock.
        big crowds | sing | sang | at the village fair \
            | The crowd looked as wide as the sea. | Everyone smiled and clapped.
        horses | stroke | stroked | the big horse at the farm \
            | The horse looked as big as a barn. | Its nose was as soft as a pillow.
        tall trees | climb | climbed | the old oak tree \
            | The branches looked thin and far apart. | The branches were as good as stairs.
    """)
)
TRICKS = rows("""
    Take three deep breaths    | took three deep breaths
    Count slowly to five       | counted slowly to five
    Hum a happy tune           | hummed a happy tune
    Think of something funny   | thought of something funny
    Stand as tall as a tree    | stood as tall as a tree
    Look up and smile          | looked up and smiled
    Clap three times           | clapped three times
""")
SKILLS = tuple(
    Skill(*row)
    for row in rows("""
        ride a bicycle | rode the bicycle all the way around the pond \
            | the bicycle wobbled and tipped over | the bicycle rolled into a bush \
            | Look straight ahead and keep your feet moving
        skip with a rope | skipped ten times without stopping \
            | the rope got tangled | the rope went around only once \
            | Jump when you hear the rope tap the ground
        whistle | whistled a clear, happy tune \
            | only air came out | there was only a small hiss \
            | Make your mouth small and round
        skate | skated in a big, smooth circle \
            | the skates slid away | the skates went left and right at once \
            | Bend your knees and go slowly
        bake bread | baked a round, soft loaf \
            | the bread came out flat | the bread came out as hard as a stone \
            | Let the dough rest in a warm place
        play the flute | played a whole song on the flute \
            | the flute only squeaked | the flute made no sound at all \
            | Blow softly, as if you were cooling soup
        juggle | juggled three balls at once \
            | the balls fell on the ground | the balls rolled away \
            | Throw the balls a little higher
        tie a bow | tied a neat bow \
            | the bow fell open | the bow turned into a knot \
            | Make two loops that look like long ears
    """)
)
CHORES = tuple(
    Chore(f"{do} {rest}", f"{did} {rest}", result)
    for do, did, rest, result in rows("""
        feed  | fed     | the geese     | the geese were happy and fat
        water | watered | the tomatoes  | the tomatoes were big and ripe
        brush | brushed | the donkey    | the donkey's coat was soft and clean
        sweep | swept   | the steps     | the steps were clean and tidy
        feed  | fed     | the goldfish  | the goldfish was swimming happily
        fill  | filled  | the bird bath | the bird bath was full of birds
        water | watered | the roses     | the roses were in full bloom
    """)
)
EXCUSES = (
    *("clean the windows", "sort the socks", "sweep the floor", "pick beans"),
    *("wash the dishes", "weed the garden", "fold the laundry"),
)
BABIES = rows("""
    duckling | duck  | peep
    chick    | hen   | cheep
    gosling  | goose | peep
    cygnet   | swan  | peep
    kitten   | cat   | mew
    puppy    | dog   | woof
    piglet   | pig   | squeak
    lamb     | sheep | baa
    owlet    | owl   | hoot
""")
VILLAGERS = (
    *("the baker", "the gardener", "the postman", "the farmer", "the shopkeeper", "the painter"),
)
WOODLANDERS = ("the magpie", "the robin", "the tortoise", "the deer", "the snail", "the frog")
CREATURES = tuple(
    Creature(*row)
    for row in rows("""
        sparrow   | was tangled in a piece of string | untied the string         | flew
        beetle    | was lying on its back            | turned it over            | crawled
        tortoise  | was stuck between two stones     | lifted it out             | walked
        butterfly | had wet wings                    | carried it into the sun   | flew
        frog      | had fallen into a deep hole      | lifted it out             | hopped
        robin     | was caught in a thorn bush       | set it free               | flew
        bee       | was too tired to fly             | gave it a drop of honey   | flew
    """)
)
TRIES = rows("""
    jumped up and down       | that was not high enough
    took a long stick        | it was still too short
    climbed onto a bucket    | it wobbled too much
    stood on tiptoe          | that did not help at all
    piled up some stones     | they slipped away
    asked the wind for help  | the wind did not care
""")
PROJECTS = rows("""
    boat         | sail
    bird house   | roof
    tree house   | door
    doll house   | roof
    wagon        | seat
    puppet stage | curtain
    windmill     | wheel
    swing        | seat
    raft         | flag
""")
PATTERNS = ("stars", "stripes", "dots", "hearts", "moons", "leaves")
LANDMARKS = tuple(
    Landmark(f"{there} {near}", f"{back} {near}", near)
    for there, back, near in rows("""
        over    | over    | the wooden bridge
        past    | past    | the old mill
        through | through | the quiet wood
        across  | across  | the wide field
        around  | around  | the little lake
        up      | down    | the steep hill
        down    | up      | the long lane
        past    | past    | the three tall pines
        over    | over    | the low stone wall
        through | through | the apple orchard
        along   | along   | the sandy path
        past    | past    | the stone well
    """)
)

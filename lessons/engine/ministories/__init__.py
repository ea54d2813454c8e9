"""The embedded default: short stories for small children, made from a seed.

Training a language model needs text, and this text needs no network. Every story follows one of
the plots in this package: a plot chooses who and what it is about, then one of several sentences
for each beat. Names, owners, colours, numbers, places and the order of things come back later in
the story, so a model that sees only the last few words cannot guess well: there is something to
learn.

Story number i of a seed depends on the seed and i alone, so any range can be made by itself, in
any process, and its bytes are the same on every platform.
"""

from collections.abc import Iterator

from .finding import hide_and_seek, little_lost_one, lost_and_found
from .helping import journey, out_of_reach
from .keeping import birthday, promise
from .mending import mended, quarrel, telling_the_truth
from .scene import Dice
from .sharing import new_friend, sharing_a_toy, sharing_lunch
from .trying import being_afraid, learning, waiting

LONGEST = 250  # words; what comes out longer is told again
PLOTS = (
    lost_and_found,
    little_lost_one,
    hide_and_seek,
    out_of_reach,
    journey,
    promise,
    birthday,
    mended,
    telling_the_truth,
    quarrel,
    sharing_a_toy,
    sharing_lunch,
    new_friend,
    being_afraid,
    learning,
    waiting,
)


def story(seed: int, index: int) -> str:
    """Story number `index` of `seed`: 130 to 250 words of ASCII, one paragraph on each line."""
    dice = Dice(seed, index)
    while True:
        text: str = dice.pick(PLOTS)(dice)
        if text.count(" ") + text.count("\n") < LONGEST:
            return text


def stories(seed: int = 0, start: int = 0, count: int = 10_000) -> Iterator[str]:
    """Stories number `start` to `start + count - 1` of `seed`, without separators."""
    for index in range(start, start + count):
        yield story(seed, index)

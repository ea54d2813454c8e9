"""The texts that are looked at where none is given, and what the figures have in common about texts."""

from itertools import islice
from typing import Any

from ..engine.ministories import stories
from .options import TEXT

# Written for this course; one of each kind, so that a model's habits show.
TEXTS = {
    "a children's story": "Once upon a time there was a little girl named Lily. She had a red ball. "
    "One day the ball rolled under a big tree, and Lily could not find it. A kind bird saw it and "
    "helped her. Lily was very happy. She said thank you, and they played until the sun went down.",
    "a news report": "The city council voted on Tuesday to close two of its five public libraries, "
    "citing a fall in visitors and the rising cost of heating. Opponents of the plan said they would "
    "appeal, and handed over a petition with eleven thousand signatures.",
    "a recipe": "Heat two spoons of oil in a large pan. Add the onions and cook them slowly until "
    "they are soft. Stir in the tomatoes, a pinch of salt and half a litre of water, then let the "
    "soup simmer for twenty minutes before you serve it with bread.",
    "a Python program": "def mean(numbers):\n    total = 0\n    for number in numbers:\n"
    "        total += number\n    return total / len(numbers)\n\nprint(mean([3, 1, 4, 1, 5]))\n",
    "the story, words shuffled": "she ball under Lily and One very there happy. a kind the find said "
    "tree, girl it red down. little until thank had bird named it sun was Lily not They helped you, "
    "time big rolled saw went played Once could A day upon her. a.",
    "German": "Es war einmal ein kleines Mädchen, das wohnte am Rand eines großen Waldes. Jeden Morgen "
    "ging es mit seinem Korb über die Brücke, um für die Großmutter frisches Brot zu holen.",
}


def the_text(view: Any) -> str:
    """The text that was given, or the usual one."""
    if view.wishes.text is not None:
        return view.wishes.text
    return next(iter(view.wishes.texts.values())) if view.wishes.texts else TEXT


def the_texts(view: Any) -> dict[str, str]:
    """Several texts by name."""
    if view.wishes.texts:
        return view.wishes.texts
    return {"your text": view.wishes.text} if view.wishes.text is not None else dict(TEXTS)


def corpus(view: Any, count: int = 300) -> tuple[list[str], str]:
    """Documents enough to count in, and what they are."""
    if view.wishes.texts:
        return list(view.wishes.texts.values()), f"your {len(view.wishes.texts)} texts"
    if view.wishes.text is not None and len(view.wishes.text) >= 400:
        return view.wishes.text.split("\n\n"), "your text"
    return list(islice(stories(view.wishes.seed), count)), f"{count} stories that the course made"


def first_tokens(ids: list[int], most: int) -> tuple[list[int], list[str]]:
    """As many tokens as a figure can show, and a note where some are left out."""
    if len(ids) <= most:
        return ids, []
    return ids[:most], [f"Of {len(ids)} tokens the first {most} are drawn."]

"""The cast: children, little animals and grown-ups, each with the pronouns that go with them."""

from typing import NamedTuple


class Person(NamedTuple):
    """A character. `kind` follows "a little ...", `full` is the name as at a first meeting."""

    name: str
    he: str
    him: str
    his: str
    He: str
    His: str
    female: bool
    kind: str  # "girl", "otter"; for grown-ups "mum", as in "her mum"
    full: str  # "Tom", "Pip the otter"
    hand: str  # "hand" or "paw"
    home: str  # "house" or "burrow"


SHE = ("she", "her", "her", "She", "Her", True)
HE = ("he", "him", "his", "He", "His", False)

GIRLS = (
    "Lily Mia Anna Rosie Ella Nora Zoe Ruby Maya Ivy Sara Lucy Emma Alice Freya Amina Priya Mei "
    "Leila Sofia Clara Hana Ada Molly Kate Jane"
)
BOYS = (
    "Tom Ben Max Sam Leo Jack Finn Theo Noah Omar Ravi Kofi Hugo Felix Eli Luca Adam Daniel Milo "
    "Toby Yusuf Kenji Arlo Peter Tim Mark"
)
ANIMAL_GIRLS = "Clover Daisy Hazel Poppy Willow Tilly Dot Mabel Pearl Fern Bella Maisie"
ANIMAL_BOYS = "Pip Bramble Barnaby Bertie Chip Monty Ollie Rusty Button Teddy Alfie Wilf"
ANIMAL_HOMES = {
    "rabbit": "burrow",
    "bear": "den",
    "fox": "den",
    "mouse": "nest",
    "squirrel": "tree house",
    "hedgehog": "nest",
    "badger": "burrow",
    "mole": "burrow",
    "otter": "den",
    "beaver": "lodge",
}

CHILDREN = tuple(
    Person(name, *pronouns, kind, name, "hand", "house")
    for names, pronouns, kind in ((GIRLS, SHE, "girl"), (BOYS, HE, "boy"))
    for name in names.split()
)
LITTLE_ANIMALS = tuple(
    Person(name, *pronouns, kind, f"{name} the {kind}", "paw", home)
    for names, pronouns in ((ANIMAL_GIRLS, SHE), (ANIMAL_BOYS, HE))
    for name in names.split()
    for kind, home in ANIMAL_HOMES.items()
)
GRANDPARENTS = (
    Person("Grandma", *SHE, "grandma", "Grandma", "hand", "house"),
    Person("Grandpa", *HE, "grandpa", "Grandpa", "hand", "house"),
)
GROWN_UPS = (
    Person("Mum", *SHE, "mum", "Mum", "hand", "house"),
    Person("Dad", *HE, "dad", "Dad", "hand", "house"),
    *GRANDPARENTS,
)

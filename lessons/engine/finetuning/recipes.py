"""The built-in text of another subject: short recipes, made from a seed.

A model of stories has never seen one. Each recipe is a prompt (the dish, and for how many) and the
answer to it (what one needs, and what one does). The numbers follow from the prompt and the things
come back in the steps, so that there is something to learn beyond the form.
"""

from collections.abc import Iterator
from typing import NamedTuple

from ..ministories.scene import Dice


class Recipe(NamedTuple):
    """The order, and the recipe itself."""

    prompt: str
    answer: str


COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
GUESTS = (1, 2, 3, 4)
VEGETABLES = (
    *(("carrot", "carrots"), ("potato", "potatoes"), ("tomato", "tomatoes"), ("leek", "leeks")),
    *(("pumpkin", "pumpkins"), ("onion", "onions"), ("pepper", "peppers"), ("turnip", "turnips")),
)
FRUIT = (
    *(("apple", "apples"), ("pear", "pears"), ("plum", "plums"), ("banana", "bananas")),
    *(("peach", "peaches"), ("orange", "oranges"), ("cherry", "cherries"), ("fig", "figs")),
)
HERBS = ("parsley", "mint", "dill", "basil")
SWEETS = ("honey", "sugar", "jam", "syrup")
NUTS = ("nuts", "raisins", "seeds", "oats")


def some(number: int, names: tuple[str, str]) -> str:
    """ "one carrot", "four carrots"."""
    return f"{COUNTS[number]} {names[number != 1]}"


def cups(number: int) -> str:
    """ "one cup", "two cups"."""
    return some(number, ("cup", "cups"))


def _soup(dice: Dice, guests: int) -> tuple[str, list[str], list[str]]:
    thing, herb = dice.pick(VEGETABLES), dice.pick(HERBS)
    minutes = dice.pick((10, 15, 20, 30))
    return (
        f"{thing[0]} soup",
        [some(2 * guests, thing), f"{cups(guests)} of water", f"some {herb}", "a little salt"],
        [
            dice.say(
                f"Wash the {thing[1]} and cut them small.", f"Cut the {thing[1]} into pieces."
            ),
            f"Put them into the water and cook them for {minutes} minutes.",
            f"Add the salt. Put the {herb} on top.",
        ],
    )


def _salad(dice: Dice, guests: int) -> tuple[str, list[str], list[str]]:
    first, second = dice.some(2, VEGETABLES)
    herb = dice.pick(HERBS)
    return (
        f"{first[0]} and {second[0]} salad",
        [some(guests, first), some(2 * guests, second), f"some {herb}", "a spoon of oil"],
        [
            f"Wash the {first[1]} and the {second[1]}.",
            dice.say("Cut them into thin slices.", "Cut everything very small."),
            f"Mix it with the oil and the {herb}. Do not cook it.",
        ],
    )


def _porridge(dice: Dice, guests: int) -> tuple[str, list[str], list[str]]:
    fruit, sweet = dice.pick(FRUIT), dice.pick(SWEETS)
    return (
        f"porridge with {fruit[1]}",
        [
            f"{cups(guests)} of oats",
            f"{cups(2 * guests)} of milk",
            some(guests, fruit),
            f"a spoon of {sweet}",
        ],
        [
            dice.say("Warm the milk, but do not let it boil.", "Put the milk into a pot."),
            f"Add the oats and stir for {dice.pick((5, 8, 10))} minutes.",
            f"Put the {fruit[1]} and the {sweet} on top. Eat it hot.",
        ],
    )


def _pie(dice: Dice, guests: int) -> tuple[str, list[str], list[str]]:
    fruit, sweet = dice.pick(FRUIT), dice.pick(SWEETS)
    return (
        f"{fruit[0]} pie",
        [
            some(2 * guests, fruit),
            f"{cups(guests)} of flour",
            some(guests, ("egg", "eggs")),
            f"a spoon of {sweet}",
        ],
        [
            f"Mix the flour, the {('egg', 'eggs')[guests != 1]} and the {sweet}.",
            f"Put the {fruit[1]} on top.",
            f"Bake it for {dice.pick((20, 30, 40))} minutes. Let it cool.",
        ],
    )


def _pancakes(dice: Dice, guests: int) -> tuple[str, list[str], list[str]]:
    sweet, nuts = dice.pick(SWEETS), dice.pick(NUTS)
    return (
        f"pancakes with {nuts}",
        [
            f"{cups(guests)} of flour",
            f"{cups(guests)} of milk",
            some(2 * guests, ("egg", "eggs")),
            f"some {nuts}",
            f"a spoon of {sweet}",
        ],
        [
            "Mix the flour, the milk and the eggs.",
            dice.say(f"Stir in the {nuts}.", f"Add the {nuts} and stir again."),
            f"Fry each pancake until it is brown. Put the {sweet} on top.",
        ],
    )


DISHES = (_soup, _salad, _porridge, _pie, _pancakes)


def recipe(seed: int, index: int) -> Recipe:
    """Recipe number `index` of `seed`: about 60 words."""
    dice = Dice(seed, index)
    guests = dice.pick(GUESTS)
    dish, needs, steps = dice.pick(DISHES)(dice, guests)
    numbered = "\n".join(f"{number}. {step}" for number, step in enumerate(steps, start=1))
    return Recipe(
        f"Recipe: {dish} for {COUNTS[guests]}\nYou need:", f" {', '.join(needs)}.\n{numbered}"
    )


def recipes(seed: int, start: int, count: int) -> Iterator[Recipe]:
    """Recipes number `start` to `start + count - 1` of `seed`."""
    for index in range(start, start + count):
        yield recipe(seed, index)

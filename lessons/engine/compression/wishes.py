"""What the options of a command come to: checked, and turned into what the work takes."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..devices import check_names, choose_device
from ..errors import CourseError
from .distilling import Recipe
from .material import usual_text
from .saving import FACTS


def check(options: argparse.Namespace) -> None:
    """Refuse numbers that cannot work, each with a sentence."""
    rules: dict[str, tuple[Callable[[Any], bool], str]] = {
        "tokens": (lambda n: n >= 2, "at least 2"),
        "words": (lambda n: n >= 1, "at least 1"),
        "steps": (lambda n: n >= (options.command != "prune"), "at least 1"),
        "teach": (lambda n: n is None or n >= 0, "at least 0"),
        "batch_size": (lambda n: n >= 1, "at least 1"),
        "block_size": (lambda n: n is None or n >= 1, "at least 1"),
        "lr": (lambda x: x > 0, "above 0"),
        "scratch_lr": (lambda x: x > 0, "above 0"),
        "temperature": (lambda x: x > 0, "above 0"),
        "mix": (lambda x: 0 <= x <= 1, "between 0 and 1"),
    }
    for name, (accepts, wanted) in rules.items():
        value = getattr(options, name, None)
        if hasattr(options, name) and not accepts(value):
            raise CourseError(f"--{name.replace('_', '-')} must be {wanted}, not {value}")
    check_names(options.device, getattr(options, "precision", "auto"))


def chosen_device(options: argparse.Namespace) -> Any:
    """The device that was asked for, or the best that works."""
    return choose_device(options.device)


def result_folder(options: argparse.Namespace, kind: str) -> Path:
    """Where a result goes; never over a folder of something else."""
    name = Path(options.model).name if options.model else "small"
    out = Path(options.out or f"runs/{name}-{kind}")
    if out.is_file():
        raise CourseError(f"{out} is a file; --out takes a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / FACTS).is_file():
        raise CourseError(f"{out} holds something else already; choose another --out")
    return out


def recipe_of(options: argparse.Namespace, model: Any) -> Recipe:
    """How to train, for a model of that length of context."""
    longest = model.config.block_size
    if options.block_size is not None and options.block_size > longest:
        raise CourseError(
            f"--block-size is at most the model's {longest}, not {options.block_size}"
        )
    names = ("temperature", "mix")
    distilling = {name: getattr(options, name) for name in names if hasattr(options, name)}
    return Recipe(
        options.steps, options.batch_size, options.block_size or min(longest, 256), options.lr,
        options.scratch_lr, optimizer=options.optimizer, seed=options.seed, **distilling,
    )  # fmt: skip


def chosen_layers(options: argparse.Namespace) -> list[int] | None:
    """The layers that were named, or None."""
    if options.layers is None:
        return None
    try:
        return [int(number) for number in options.layers.split(",")]
    except ValueError:
        raise CourseError(
            f"--layers takes numbers with commas, such as 0,2,4, not {options.layers!r}"
        ) from None


def teaching_steps(options: argparse.Namespace, subject: Any) -> int:
    """How many steps the full model reads the text first."""
    if options.teach is not None:
        return options.teach
    data = options.data or usual_text(subject)[0]
    if subject.is_storyteller and data == "ministories":
        print(
            "(the small model has not read stories of this kind: it reads them first, for as many "
            "steps as the others; --teach 0 leaves that out)",
            flush=True,
        )
        return options.steps
    return 0

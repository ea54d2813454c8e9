"""How long a run is, in steps: decided once, before it begins, and stored with it."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any

from .distribution import World, main_decides
from .errors import CourseError
from .logs import duration

EVALUATIONS_PER_RUN = 10
EVALUATION_WINDOWS = 64  # enough for a curve; the whole text is for `evaluate`
EVALUATION_ROWS = 8  # windows at a time
EVALUATION_SHARE = 0.1  # of a run counted in minutes: all evaluations together take at most that
FEWEST_STEPS = 200  # a run counted in minutes takes smaller batches rather than fewer steps
SMALLEST_BATCH = 4  # windows
BESIDES = 1.06  # reading, logging, saving and telling stories, on top of the steps themselves
LONG_RUN_HOURS = 24.0


@dataclass(frozen=True)
class Plan:
    """What a step is made of, and how many there are."""

    steps: int
    batch_size: int  # windows in a micro-batch, over all processes
    accumulation: int  # micro-batches in a step
    block_size: int
    evaluation_windows: int  # how many windows each evaluation on the way looks at
    seconds_per_step: float

    @property
    def tokens_per_step(self) -> int:
        """Tokens of one optimiser step, over all processes."""
        return self.batch_size * self.accumulation * self.block_size

    @property
    def seconds(self) -> float:
        """The time that all steps will take, evaluations left out."""
        return self.steps * self.seconds_per_step


def make_plan(
    length: dict[str, float],
    recipe: dict[str, Any],
    block_size: int,
    windows_per_epoch: int,
    seconds_of_step: Callable[[int], float],
    seconds_of_evaluation: Callable[[], float],
    world: World,
) -> Plan:
    """Turn a wish ({"steps": n}, {"epochs": n} or {"minutes": n}) into a plan.

    `recipe` gives `batch_size` and `accumulation`; `seconds_of_step(batch_size)` times a step of
    one micro-batch here, `seconds_of_evaluation()` the loss of `EVALUATION_ROWS` windows. Every
    process gets the first one's plan.
    """
    batch_size, accumulation = recipe["batch_size"], recipe["accumulation"]
    evaluation_windows = EVALUATION_WINDOWS
    seconds = main_decides(seconds_of_step(batch_size), world)
    if "minutes" in length:
        time = 60 * length["minutes"]
        one_look = EVALUATIONS_PER_RUN * main_decides(seconds_of_evaluation(), world)
        looks = int(min(EVALUATION_WINDOWS / EVALUATION_ROWS, EVALUATION_SHARE * time / one_look))
        evaluation_windows = max(1, looks) * EVALUATION_ROWS
        time = max(1.0, time - max(1, looks) * one_look)
        longest = time / FEWEST_STEPS
        accumulation = max(1, min(accumulation, int(longest / seconds)))
        if seconds > longest and batch_size > SMALLEST_BATCH:
            wanted = max(SMALLEST_BATCH, int(batch_size * longest / seconds))
            batch_size = ceil(wanted / world.size) * world.size
            seconds = main_decides(seconds_of_step(batch_size), world)
        steps = int(time / (seconds * accumulation * BESIDES))
    elif "epochs" in length:
        steps = ceil(length["epochs"] * windows_per_epoch / (batch_size * accumulation))
    else:
        steps = int(length["steps"])
    return Plan(
        max(1, steps),
        batch_size,
        accumulation,
        block_size,
        evaluation_windows,
        seconds * accumulation,
    )


def announce_plan(plan: Plan, recipe: dict[str, Any], accept_long: bool, device: str) -> None:
    """Say what will be done. Raises CourseError for a run of days that nobody has accepted."""
    tokens = plan.steps * plan.tokens_per_step
    windows = plan.batch_size * plan.accumulation
    usual = recipe["batch_size"] * recipe["accumulation"]
    smaller = f" (the recipe's {usual} would leave too few steps)" if windows < usual else ""
    print(
        f"plan: {plan.steps:,} steps of {windows} x {plan.block_size} tokens{smaller}, "
        f"{tokens:,} in all, about {duration(plan.seconds)} here",
        flush=True,
    )
    if plan.seconds > LONG_RUN_HOURS * 3600 and not accept_long:
        raise CourseError(
            f"{plan.steps:,} steps ({tokens / 1e9:.2f} billion tokens) would take about "
            f"{duration(plan.seconds)} on this machine ({device}); add --yes to start all the "
            f"same, or take what fits: --minutes 60, or --preset laptop"
        )

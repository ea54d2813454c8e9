"""What the audit measures, lesson by lesson."""

import ast
import copy
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import track

from ..bank import Variant, empty_variants, right_variants, solution_of, wrong_variants
from ..checks import Check
from ..judge.answers import PUBLIC_SEED, Answers, read_answers, same_sketch
from ..judge.naming import recognise, steps_up_to
from ..judge.runner import PASSED, load_checks, right_answers
from ..stubs import find_regions
from ..syllabus import Lesson
from .forks import JOB_SECONDS, run_jobs
from .jobs import Right, fingerprint, judge
from .mutants import Mutant, all_mutants, explained, sample
from .recording import reference_variant, sketches_of

STEP_LINES, LESSON_LINES = 25, 110  # "about 100"
RIGHT_MARGIN, WRONG_MARGIN = 0.1, 10.0
NAMED, EXPLAINED = 0.8, 0.05  # at least, and at most


@dataclass(frozen=True)
class Effort:
    """How much is tried."""

    right_seeds: int
    wrong_seeds: int
    mutants: int
    names: int  # mistakes that are made anew to be named; for the others the record is believed


IN_ONE_FORK = 10  # seeds of one variant

QUICK = Effort(right_seeds=3, wrong_seeds=1, mutants=60, names=12)
FULL = Effort(right_seeds=20, wrong_seeds=20, mutants=1_000_000, names=1_000_000)


@dataclass
class Measures:
    """The result for one lesson. Lists hold sentences; all but `survivors` must be empty."""

    lesson: str
    checks: int
    points: int
    wrong: int = 0
    right: int = 0
    mutants: int = 0
    false_accepts: list[str] = field(default_factory=list)
    false_rejects: list[str] = field(default_factory=list)
    survivors: list[str] = field(default_factory=list)  # explained ones
    unexplained: list[str] = field(default_factory=list)
    for_nothing: list[str] = field(default_factory=list)
    unstable: list[str] = field(default_factory=list)
    unequal: list[str] = field(default_factory=list)  # in this process and apart
    stale: list[str] = field(default_factory=list)  # records that are not what is given now
    unnamed: list[str] = field(default_factory=list)
    false_names: list[str] = field(default_factory=list)
    right_margin: float = 0.0
    wrong_margin: float = math.inf
    tight: list[str] = field(default_factory=list)  # tolerances without room
    explained: float = 0.0  # the share of all mutants, tried here or not, that have a reason
    lines: int = 0
    too_long: list[str] = field(default_factory=list)
    seconds: float = 0.0
    check_seconds: float = 0.0  # of the solution's own run, in one thread

    @property
    def named(self) -> float:
        """The share of wrong variants that are named."""
        return 1 - len(self.unnamed) / self.wrong if self.wrong else 1.0

    def faults(self) -> list[str]:
        """Return everything for which CI must be red."""
        return [
            *(f"false accept: {text}" for text in self.false_accepts),
            *(f"false reject: {text}" for text in self.false_rejects),
            *(f"mutant survives: {text}" for text in self.unexplained),
            *(f"points for nothing: {text}" for text in self.for_nothing),
            *(f"unstable: {text}" for text in self.unstable),
            *(f"not the same apart: {text}" for text in self.unequal),
            *(f"stale: {text}; `python -m grader record {self.lesson}`" for text in self.stale),
            *(f"false name: {text}" for text in self.false_names),
            *(f"tolerance: {text}" for text in self.tight),
            *(f"too long: {text}" for text in self.too_long),
            *([f"only {self.named:.0%} of mistakes are named"] if self.named < NAMED else []),
            *([f"{self.explained:.1%} of mutants explained"] if self.explained > EXPLAINED else []),
        ]


def audit_lesson(
    lesson: Lesson, effort: Effort, seeds: Sequence[int], workers: int | None = None
) -> Measures:
    """Run the whole bank and the mutants through a lesson's checks.

    seeds: the first is the public one; as many as `effort` asks for are used.
    """
    start = time.perf_counter()
    trial = _Trial(lesson, seeds[: max(effort.right_seeds, effort.wrong_seeds)], workers)
    measures = trial.measures
    trial.right_variants(effort.right_seeds)
    trial.wrong_variants(effort.wrong_seeds)
    trial.empty_variants()
    trial.mutants(effort.mutants)
    trial.names(effort.names)
    trial.run()
    _count_lines(lesson, measures)
    measures.seconds = time.perf_counter() - start
    return measures


Job = tuple[Callable[[], Any], Callable[[Any], None]]  # what to do, and what becomes of its result


def one_after_the_other(jobs: Sequence[Callable[[], Any]]) -> list[Any]:
    """Return the results of several jobs."""
    return [job() for job in jobs]


class _Trial:
    """Collects jobs with what is to be done with their results, then runs them side by side."""

    def __init__(self, lesson: Lesson, seeds: Sequence[int], workers: int | None) -> None:
        self.lesson = lesson
        self.seeds = seeds
        self.workers = workers or os.cpu_count() or 1
        self.checks: list[Check] = load_checks(lesson)
        self.answers: Answers = read_answers(lesson.number)
        self.right: Right = {
            (check.name, seed): right_answers(check, lesson, self.answers, seed)
            for check in self.checks
            for seed in seeds
        }
        points = sum(check.points for check in self.checks)
        self.measures = Measures(lesson.number, len(self.checks), points)
        self.work: list[list[Job]] = []  # each inner list is done in one fork

    def right_variants(self, n_seeds: int) -> None:
        """Every right variant passes everything, with every seed, also apart."""
        variants = [reference_variant(self.lesson), *right_variants(self.lesson)]
        self.measures.right = len(variants) - 1
        for variant in variants:
            self.add_seeds(variant, self.seeds[:n_seeds], partial(self.accept, variant))
            self.add(variant, PUBLIC_SEED, partial(self.accept, variant, PUBLIC_SEED), apart=True)

    def wrong_variants(self, n_seeds: int) -> None:
        """Every wrong variant is rejected, with every seed, and by the same check apart."""
        variants = wrong_variants(self.lesson)
        self.measures.wrong = len(variants)
        for variant in variants:
            both: dict[bool, Any] = {}
            for apart in (False, True):
                then = partial(self.same_apart, variant, both, apart)
                self.add(variant, PUBLIC_SEED, then, self.telling(variant), apart=apart)
            then = partial(self.reject, variant)
            self.add_seeds(variant, self.seeds[1:n_seeds], then, self.telling(variant))

    def empty_variants(self) -> None:
        """What nobody has written gets nothing."""
        for variant in empty_variants(self.lesson):
            self.add(variant, PUBLIC_SEED, partial(self.nothing, variant))

    def mutants(self, count: int) -> None:
        """A mutant is rejected, or it is explained."""
        reasons, every = explained(self.lesson), all_mutants(self.lesson)
        mutants = sample(every, count)
        self.measures.mutants = len(mutants)
        with_reason = sum(mutant.key in reasons for mutant in every)
        self.measures.explained = with_reason / len(every) if every else 0.0
        for mutant in mutants:
            then = partial(self.killed, mutant, reasons)
            of_step = [check for check in self.checks if check.step == mutant.step]
            self.add(mutant.variant, PUBLIC_SEED, then, of_step)

    def names(self, count: int) -> None:
        """A mistake is named rightly; with its own record taken away, it is not named at all."""
        job = partial(fingerprint, reference_variant(self.lesson), self.lesson, self.checks)
        self.work.append([(job, self.fresh)])
        known = {variant.name for variant in wrong_variants(self.lesson)}
        gone = {name for name in self.answers.wrong if not known.issuperset(name.split("+"))}
        self.measures.stale += [f"{name} is recorded and not in the bank" for name in sorted(gone)]
        variants = wrong_variants(self.lesson)
        made = {variant.name for variant in sample(variants, count)}
        for variant in variants:
            if variant.name in made or variant.name not in self.answers.wrong:
                job = partial(fingerprint, variant, self.lesson, self.checks)
                self.work.append([(job, partial(self.named, variant))])
            else:
                known = {c.name: self.answers.of_mistake(variant.name, c.name) for c in self.checks}
                self.named(variant, known)

    def add(
        self,
        variant: Variant,
        seed: int,
        then: Callable[[Any], None],
        first: Sequence[Check] | None = None,
        apart: bool = False,
    ) -> None:
        """Plan one judgement.

        first: the checks that are likely to reject it; then it ends with the first rejection.
        """
        self.work.append([self.planned(variant, seed, then, first, apart)])

    def add_seeds(
        self,
        variant: Variant,
        seeds: Sequence[int],
        then: Callable[[int, Any], None],
        first: Sequence[Check] | None = None,
    ) -> None:
        """Plan judgements on several seeds, some of them in one fork: a fork takes its time."""
        planned = [self.planned(variant, s, partial(then, s), first, False) for s in seeds]
        self.work += [planned[i : i + IN_ONE_FORK] for i in range(0, len(planned), IN_ONE_FORK)]

    def planned(
        self,
        variant: Variant,
        seed: int,
        then: Callable[[Any], None],
        first: Sequence[Check] | None,
        apart: bool,
    ) -> Job:
        """Return one judgement, and what becomes of its result."""
        checks = list(dict.fromkeys([*(first or ()), *self.checks]))
        whole = first is None
        return partial(judge, variant, self.lesson, checks, self.right, seed, whole, apart), then

    def telling(self, variant: Variant) -> list[Check]:
        """Return the checks that a wrong variant is known to fail, in the order of their file."""
        known = self.answers.wrong.get(variant.name, {})
        return [check for check in self.checks if check.name in known]

    def run(self) -> None:
        """Do all that was planned; what ended its fork together is done again, one by one."""
        died = self.run_groups(self.work)
        self.run_groups([[one] for group in died for one in group])

    def run_groups(self, groups: list[list[Job]]) -> list[list[Job]]:
        """Do what was planned, a fork for each group; return the larger groups that died."""
        died = []
        jobs = [partial(one_after_the_other, [job for job, _ in group]) for group in groups]
        console = Console(stderr=True)
        title = f"lesson {self.lesson.number}"
        for number, results in track(
            run_jobs(jobs, self.workers, [JOB_SECONDS * len(group) for group in groups]),
            title,
            len(jobs),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        ):
            group = groups[number]
            if results is None and len(group) > 1:
                died.append(group)
                continue
            for (_, then), result in zip(group, results or [None], strict=True):
                then(result)
        return died

    # What becomes of the results.

    def accept(self, variant: Variant, seed: int, result: Any) -> None:
        """Note a right variant's verdicts."""
        if result is None:
            self.measures.false_rejects.append(f"{variant.name}, seed {seed}: it ended by itself")
            return
        for check, says in result["says"].items():
            place = self.measures.false_rejects if seed == PUBLIC_SEED else self.measures.unstable
            place.append(f"{variant.name}, seed {seed}: {check}: {says}")
        for check, size in result["margins"].items():
            if result["verdicts"][check] == PASSED:
                self.measures.right_margin = max(self.measures.right_margin, size)
                if size > RIGHT_MARGIN:
                    self.measures.tight.append(
                        f"{check}: {variant.name} (right, seed {seed}) uses {size:.0%} of it"
                    )
        if variant.name == "solution" and seed == PUBLIC_SEED:
            total = sum(result["seconds"].values())
            self.measures.check_seconds = max(self.measures.check_seconds, total)

    def same_apart(self, variant: Variant, both: dict[bool, Any], apart: bool, result: Any) -> None:
        """Note a wrong variant's verdicts in this process and apart, and compare them."""
        both[apart] = result and result["verdicts"]
        if not apart:
            self.reject(variant, PUBLIC_SEED, result)
        if len(both) == 2 and both[False] != both[True]:
            self.measures.unequal.append(f"{variant.name}: {both[False]} and {both[True]}")

    def reject(self, variant: Variant, seed: int, result: Any) -> None:
        """Note whether a wrong variant was rejected, and by how much."""
        if result is None:
            return  # it ended its process: that is a rejection
        bad = [c for c, verdict in result["verdicts"].items() if verdict != PASSED]
        if not bad:
            place = self.measures.false_accepts if seed == PUBLIC_SEED else self.measures.unstable
            place.append(f"{variant.name}, seed {seed} ({variant.says})")
            return
        size = result["margins"][bad[0]]
        self.measures.wrong_margin = min(self.measures.wrong_margin, size)
        if size < WRONG_MARGIN:
            self.measures.tight.append(
                f"{bad[0]}: {variant.name} (wrong, seed {seed}) is off by only {size:.1f} of it"
            )

    def nothing(self, variant: Variant, result: Any) -> None:
        """Note points that an empty module got."""
        passed = [
            c
            for c, verdict in (result or {"verdicts": {}})["verdicts"].items()
            if verdict == PASSED
        ]
        if passed:
            self.measures.for_nothing.append(f"{variant.name}: {', '.join(passed)}")

    def killed(self, mutant: Mutant, reasons: dict[tuple[str, str, str], str], result: Any) -> None:
        """Note a mutant that was accepted."""
        if result is None or any(v != PASSED for v in result["verdicts"].values()):
            return
        text = f"{mutant.step} ({mutant.operator}): {mutant.old} -> {mutant.new}"
        if mutant.key in reasons:
            self.measures.survivors.append(f"{text}: {reasons[mutant.key]}")
        else:
            self.measures.unexplained.append(text)

    def fresh(self, whole: Any) -> None:
        """Note where the reference gives something else than is recorded of it."""
        full = sketches_of(self.answers)
        for check in self.checks:
            now, known = (whole or {}).get(check.name, []), self.answers.sketches.get(check.name)
            needed = [e or given for e, given in zip(full.get(check.name, []), now, strict=False)]
            if not same_sketch(now, known) or not same_sketch(now, needed):
                self.measures.stale.append(f"{check.name}: the recorded answer is another one")

    def named(self, variant: Variant, whole: Any) -> None:
        """Note whether a wrong variant is named, and named falsely once its record is gone."""
        if whole is None:
            self.measures.unnamed.append(f"{variant.name}: it ended by itself")
            return
        texts = self.answers.mistakes.get(variant.name, {})  # none: what follows stops at once
        if any(
            texts.get(key) != getattr(variant, key) for key in ("says", "ask", "look")
        ) or not all(
            same_sketch(self.answers.of_mistake(variant.name, check), given)
            for check, given in whole.items()
        ):
            self.measures.stale.append(f"{variant.name} is recorded otherwise, or not at all")
        found = recognise(self.up_to(self.first_wrong_step(whole), whole), self.answers)
        if found and found["says"] != variant.says:
            self.measures.false_names.append(f"{variant.name} is called {found['name']}")
        elif not found:
            self.measures.unnamed.append(variant.name)
        without = copy.copy(self.answers)
        without.wrong = {
            name: wrong
            for name, wrong in self.answers.wrong.items()
            if variant.name not in name.split("+")
        }
        for step in {check.step for check in self.checks}:
            found = recognise(self.up_to(step, whole), without)
            if found and found["says"] != variant.says:
                self.measures.false_names.append(
                    f"{variant.name}, with its record left out, is called {found['name']}"
                )

    def up_to(self, step: str, whole: dict[str, Any]) -> dict[str, Any]:
        """Return what a variant gives in the checks of a step and of those before it."""
        seen = steps_up_to(step, self.lesson)
        return {check.name: whole[check.name] for check in self.checks if check.step in seen}

    def first_wrong_step(self, whole: dict[str, Any]) -> str:
        """Return the step of the first check that this module fails."""
        for check in self.checks:
            if not same_sketch(whole[check.name], self.answers.sketches.get(check.name, [])):
                return check.step
        return self.checks[0].step


def _count_lines(lesson: Lesson, measures: Measures) -> None:
    """Count the lines that the learner writes, without blank ones and comments."""
    solution = solution_of(lesson)
    lines, kinds = solution.splitlines(), {step.name: step.kind for step in lesson.steps}
    for region in find_regions(solution, ast.parse(solution), lesson):
        inside = [line.strip() for line in lines[region.first : region.last - 1]]
        count = sum(bool(line) and not line.startswith("#") for line in inside)
        if kinds[region.name] == "core":
            measures.lines += count
            if count > STEP_LINES:
                measures.too_long.append(f"{region.name} takes {count} lines, not {STEP_LINES}")
    if measures.lines > LESSON_LINES:
        measures.too_long.append(f"the lesson's core takes {measures.lines} lines")

"""The hidden checks: honest work passes all of them, work fitted to the visible checks does not."""

import ast
import shutil
from collections.abc import Iterator, Sequence
from functools import cache

import pytest
import torch

from grader.audit.jobs import placed
from grader.audit.recording import reference_variant
from grader.bank import Variant, right_variants, solution_of
from grader.checks import Check
from grader.instructor.guards import HIDDEN, load_guards
from grader.judge.answers import read_answers
from grader.judge.backends import InThisProcess
from grader.judge.runner import (
    FAILED,
    NOT_WRITTEN,
    SKIPPED,
    load_checks,
    record,
    reference_target,
    run_check,
)
from grader.stubs import find_regions
from grader.syllabus import Lesson, find_lesson, read_syllabus
from grader.tests.fitted import FITTED
from lessons.engine.errors import CourseError

LESSONS = [lesson.number for lesson in read_syllabus()]
SEEDS = (20261, 20262, 20263)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # a fork of another test after two-thread work would hang
    yield
    torch.set_num_threads(before)


def guards_of(number: str) -> list[Check]:
    lesson = find_lesson(number)
    return [g for guards in load_guards(lesson, load_checks(lesson)).values() for g in guards]


@cache
def right(number: str, name: str, seed: int):
    """What the reference gives in a check or a guard."""
    lesson = find_lesson(number)
    every = {each.name: each for each in [*load_checks(lesson), *guards_of(number)]}
    return record(every[name], reference_target(lesson), seed)


def complaints(
    lesson: Lesson, variant: Variant, checks: Sequence[Check], seed: int
) -> Iterator[str]:
    """Why checks do not pass, one line each."""
    with placed(variant, lesson, InThisProcess()) as target:
        for each in checks:
            result = run_check(each, target, right(lesson.number, each.name, seed), seed)
            if not result.passed and result.verdict != SKIPPED:
                yield f"{variant.name}, {each.name}, seed {seed}: {result.symptom} {result.details}"


@pytest.mark.parametrize("number", ["03", "14"])
def test_a_right_variant_passes(number):
    lesson, guards = find_lesson(number), guards_of(number)
    last = right_variants(lesson)[-1]
    assert list(complaints(lesson, last, guards, SEEDS[0])) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", LESSONS)
def test_all_right_variants_pass(number):
    lesson, guards = find_lesson(number), guards_of(number)
    variants = [reference_variant(lesson), *right_variants(lesson)]
    found = [c for v in variants for seed in SEEDS for c in complaints(lesson, v, guards, seed)]
    assert found == []


@pytest.mark.parametrize("number", LESSONS)
def test_important_checks_are_guarded(number):
    lesson = find_lesson(number)
    checks = load_checks(lesson)
    guarded = load_guards(lesson, checks)
    assert [c.name for c in checks if c.points >= 2 and c.name not in guarded] == []
    guards = [guard for some in guarded.values() for guard in some]
    assert len(guards) >= 4
    assert {guard.points for guard in guards} == {0}
    for name, some in guarded.items():
        step = next(check.step for check in checks if check.name == name)
        assert {guard.step for guard in some} == {step}


def written_up_to(lesson: Lesson, step: str) -> Variant:
    """The solution of somebody who has not come further than this step."""
    source = solution_of(lesson)
    order = [each.name for each in lesson.steps]
    later, lines = order[order.index(step) + 1 :], source.split("\n")
    for region in reversed(find_regions(source, ast.parse(source), lesson)):
        if region.name in later:
            indent = " " * region.given[0].col_offset
            refusal = f'raise NotImplementedError("lesson {lesson.number}: {region.name}")'
            lines[region.first - 1 : region.last] = [indent + refusal]
    return Variant(f"up to {step}", "\n".join(lines))


@pytest.mark.parametrize("number", LESSONS)
def test_reference_passes_and_guards_need_no_later_step(number):
    lesson = find_lesson(number)
    for step in lesson.steps:
        own = [guard for guard in guards_of(number) if guard.step == step.name]
        assert list(complaints(lesson, written_up_to(lesson, step.name), own, SEEDS[0])) == []


FIRST = {case.lesson: case for case in reversed(FITTED)}
CASES = [
    pytest.param(
        case,
        id=f"{case.lesson} {case.name}",
        marks=[] if case is FIRST[case.lesson] else [pytest.mark.slow],
    )
    for case in FITTED
]


@pytest.mark.parametrize("case", CASES)
def test_fitted_work_is_seen_through(case):
    lesson, answers = find_lesson(case.lesson), read_answers(case.lesson)
    variant = Variant(case.name, solution_of(lesson) + case.behind)
    with placed(variant, lesson, InThisProcess()) as target:
        for check in load_checks(lesson):
            if check.points:
                result = run_check(check, target, answers.right(check.name))
                assert result.passed, f"{check.name}: {result.symptom}"
    own = [guard for guard in guards_of(case.lesson) if guard.name == case.guard]
    assert len(own) == 1
    assert list(complaints(lesson, variant, own, SEEDS[0])) != []


def test_a_guard_of_no_check_is_named(tmp_path):
    lesson = find_lesson("03")
    text = (HIDDEN / "guard_03.py").read_text(encoding="utf-8")
    old = '"test_window_is_short"'
    assert text.count(old) == 1
    (tmp_path / "guard_03.py").write_text(text.replace(old, '"test_gone"'), encoding="utf-8")
    with pytest.raises(CourseError, match="guard_windows_of_any_size belongs to test_gone, which"):
        load_guards(lesson, load_checks(lesson), tmp_path)


def test_missing_guards_are_no_guards_in_silence(tmp_path):
    lesson = find_lesson("03")
    with pytest.raises(CourseError, match=r"no file .*guard_03\.py: the hidden checks are missing"):
        load_guards(lesson, load_checks(lesson), tmp_path)


def test_a_broken_file_is_a_sentence(tmp_path):
    lesson = find_lesson("03")
    (tmp_path / "guard_03.py").write_text("import nothing_like_it\n", encoding="utf-8")
    with pytest.raises(CourseError, match=r"guard_03\.py cannot be loaded \(ModuleNotFoundError"):
        load_guards(lesson, load_checks(lesson), tmp_path)


def test_a_corrected_guard_counts_at_once(tmp_path):
    lesson = find_lesson("03")
    shutil.copy(HIDDEN / "guard_03.py", tmp_path)
    before = load_guards(lesson, load_checks(lesson), tmp_path)
    text = (HIDDEN / "guard_03.py").read_text(encoding="utf-8")
    (tmp_path / "guard_03.py").write_text(
        text.replace("def guard_windows_of_any_size", "def guard_any_window"), encoding="utf-8"
    )
    after = load_guards(lesson, load_checks(lesson), tmp_path)
    assert before["test_window_is_short"][0].name == "guard_windows_of_any_size"
    assert after["test_window_is_short"][0].name == "guard_any_window"


def test_every_lesson_has_its_file():
    assert sorted(file.stem for file in HIDDEN.glob("guard_*.py")) == [
        f"guard_{n}" for n in LESSONS
    ]


def test_an_unwritten_step_is_not_written(tmp_path):
    """A guard says of work that is not there what a check says: it blames nobody for fitting."""
    lesson = find_lesson("03")
    guards = [guard for guard in guards_of("03") if guard.step == "merge_heads"]
    with placed(written_up_to(lesson, "causal_mask"), lesson, InThisProcess()) as target:
        for each in guards:
            result = run_check(each, target, right("03", each.name, SEEDS[0]), SEEDS[0])
            assert result.verdict == NOT_WRITTEN
            assert result.verdict != FAILED

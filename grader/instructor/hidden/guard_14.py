"""Hidden checks for lesson 14, the capstone: other budgets, other results, calls that come again."""

import math
import re

from grader.instructor.guards import guard


def found_in(lesson, result):
    """The fields of what came back."""
    return lesson.toy("fields", result).read("found")


@guard("test_tokens_of_a_step")
def guard_budgets_of_any_run(lesson, expect, draw):
    """Tokens, steps and memory of thirty runs, small and large."""
    for number in range(30):
        high = 10 if number % 3 else 300
        batch, accumulation, block = (draw.integer(1, high) for _ in range(3))
        parameters, vocabulary = draw.integer(0, 10**9), draw.integer(1, 10**5)
        step = batch * accumulation * block
        tokens = draw.integer(1, 10**6) * step + draw.integer(-1, 1)
        result = lesson.batch_budget(
            tokens,
            batch_size=batch,
            accumulation=accumulation,
            block_size=block,
            n_parameters=parameters,
            vocab_size=vocabulary,
        )
        found = found_in(lesson, result)
        memory = 16 * parameters + 8 * batch * block * vocabulary
        right = {"tokens_per_step": step, "steps": -(-tokens // step), "memory_bytes": memory}
        mine = {name: found.get(name) for name in right}
        expect(mine, right, of=f"the budget of {tokens} tokens, {step} in a step")


@guard("test_memory_by_hand")
def guard_memory_of_other_models(lesson, expect, draw):
    """Memory hangs on batch, block, vocabulary and parameters, and on nothing else."""
    for _ in range(10):
        batch, block, vocabulary = (draw.integer(1, 2000) for _ in range(3))
        parameters = draw.integer(0, 10**10)
        shape = {"batch_size": batch, "block_size": block, "vocab_size": vocabulary}
        right = 16 * parameters + 8 * batch * block * vocabulary
        for accumulation, tokens in [(1, 10**6), (draw.integer(2, 99), 7)]:
            more = {"accumulation": accumulation, "n_parameters": parameters}
            found = found_in(lesson, lesson.batch_budget(tokens, **shape, **more))
            of = f"memory_bytes for {parameters:,} parameters and {shape}"
            expect(found.get("memory_bytes"), right, of=of)


@guard("test_a_short_run_learns")
def guard_recipe_is_always_the_same(lesson, expect, draw):
    """What is judged is the recipe that everybody gets, whenever they ask."""
    first = lesson.recipe()
    for _ in range(5):
        expect.true(lesson.recipe() == first, "recipe() gives another recipe each time")
    keys = {"peak_lr", "final_lr", "warmup", "weight_decay", "batch_size", "dropout", "optimizer"}
    expect.true(set(first) == keys, "recipe() has other keys than those in the docstring")


@guard("test_bits_of_a_byte")
def guard_bits_of_any_byte(lesson, expect, draw):
    """Thirty comparisons of texts of any length."""
    for _ in range(30):
        ours, other = (float(n) for n in draw.uniform(2, low=1.0, high=10 ** draw.integer(1, 6)))
        n_bytes = draw.integer(1, 10**6)
        right = (ours / math.log(2) / n_bytes, other / math.log(2) / n_bytes, ours / other)
        found = found_in(lesson, lesson.compare(ours, other, n_bytes))
        mine = tuple(found.get(name) for name in ("ours", "other", "ratio"))
        expect(
            mine, right, of=f"the comparison of {ours:.1f} and {other:.1f} nats, {n_bytes} bytes"
        )


@guard("test_two_runs")
def guard_two_runs_whatever_comes_out(lesson, expect, draw):
    """Whatever the results: two runs, the recipe and one with a change, named as it is."""
    recipe = lesson.recipe()
    for _ in range(6):
        before, after = (float(bits) for bits in draw.uniform(2, low=0.5, high=6.0))
        runs = lesson.toy("results", [before, after])
        found = found_in(lesson, lesson.ablation(runs))
        asked = runs.read("asked")
        expect(len(asked), 2, of="how many runs are made")
        expect.true(asked[0] == recipe, "the first run is not your recipe as it is")
        expect.true(asked[1].keys() == recipe.keys(), "the second run has other keys")
        changed = [key for key in recipe if asked[0][key] != asked[1][key]]
        symptom = f"`setting` is {found.get('setting')!r}, what changed is {', '.join(changed)}"
        expect.true(found.get("setting") in changed, symptom)
        expect((found.get("before"), found.get("after")), (before, after), of="before and after")


def is_in(text, number, decimals):
    """Whether a number stands in a text, rounded to so many decimals or to more of them."""
    for written in re.findall(r"\d+(?:[.,]\d+)?", text):
        places = len(re.split("[.,]", written)[1]) if re.search("[.,]", written) else 0
        off = abs(float(written.replace(",", ".")) - abs(number))
        if places >= decimals and off < 10.0**-places:
            return True
    return False


@guard("test_conclusion_hangs_on_the_results")
def guard_conclusions_of_any_results(lesson, expect, draw):
    """Ten pairs of results: each conclusion has numbers of its own pair."""
    for number in range(10):
        before = float(draw.uniform(1, low=0.8, high=3.5))
        low, high = (1.03, 1.9) if number % 2 else (0.4, 0.97)
        factor = float(draw.uniform(1, low=low, high=high))
        after = before * factor
        result = lesson.ablation(lesson.toy("results", [before, after]))
        text = str(found_in(lesson, result).get("conclusion"))
        percents = (100 * (factor - 1), 100 * (1 / factor - 1))
        told = is_in(text, before, 2) and is_in(text, after, 2)
        told = told or any(is_in(text, percent, 0) for percent in percents)
        told = told or is_in(text, factor, 2) or is_in(text, after - before, 2)
        symptom = f"from {before:.3f} to {after:.3f} bits per byte is {percents[0]:+.1f} per cent"
        symptom += ", and the conclusion says neither that nor both results"
        expect.true(told, symptom, details=f'it says: "{text}"')

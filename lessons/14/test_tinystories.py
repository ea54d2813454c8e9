"""Checks for lesson 14, the capstone. Which step turns which check green:

1. batch_budget   test_tokens_of_a_step, test_the_last_step_counts, test_memory_by_hand,
                  test_accumulation_costs_time
2. recipe         test_seven_decisions, test_decisions_make_sense, test_a_short_run_learns
3. compare        test_bits_of_a_byte, test_which_model_is_better, test_texts_of_any_length
4. ablation       test_two_runs, test_what_changed_has_a_name, test_before_and_after,
                  test_conclusion_in_words, test_conclusion_hangs_on_the_results,
                  test_your_own_model

The last one looks at a model that you have trained with `python -m lessons.tinystories run`.
"""

import math
import os
import re
from pathlib import Path

import torch

from grader import checkpoints
from grader.checks import check
from grader.judge.paths import ROOT

# 1. batch_budget


def budget_of(lesson, expect, tokens, batch, accumulation, block, parameters=1000, vocabulary=50):
    """The learner's budget: tokens per step, steps, bytes."""
    result = lesson.batch_budget(
        tokens,
        batch_size=batch,
        accumulation=accumulation,
        block_size=block,
        n_parameters=parameters,
        vocab_size=vocabulary,
    )
    found = lesson.toy("fields", result).read("found")
    expect(found["kind"], "a Budget", of="the kind of the result", ask="Is it Budget(...)?")
    return found["tokens_per_step"], found["steps"], found["memory_bytes"]


@check("batch_budget", points=2)
def test_tokens_of_a_step(lesson, expect, draw):
    """You know how many tokens each step reads: windows, micro-batches and places together."""
    for batch, accumulation, block in [(8, 3, 256), (5, 1, 7), (1, 1, 1), (3, 17, 129)]:
        per_step = budget_of(lesson, expect, 9999, batch, accumulation, block)[0]
        question = "One window holds block_size tokens. How many windows does one step read?"
        of = f"tokens_per_step of {batch} windows, {accumulation} times, of {block} tokens"
        expect(per_step, batch * accumulation * block, of=of, ask=question)


@check("batch_budget", points=1)
def test_the_last_step_counts(lesson, expect, draw):
    """No token is left over: where a part of a step remains, it is one step more."""
    step = 3 * 5 * 11
    large = draw.integer(10**9, 10**10)
    for tokens in [1, step - 1, step, step + 1, 7 * step, 7 * step + 1, large * step - 2]:
        steps = budget_of(lesson, expect, tokens, 3, 5, 11)[1]
        question = "What do 2.01 steps mean: 2 steps or 3? And exactly 2 steps?"
        of = f"steps for train_tokens = {tokens:,}, where one step reads {step}"
        expect(steps, (tokens + step - 1) // step, of=of, ask=question)


@check("batch_budget", points=2)
def test_memory_by_hand(lesson, expect, draw):
    """You know before a run whether it fits: what each weight carries, and the table of logits."""
    for batch, block, parameters, vocabulary in [
        (8, 256, 1001, 50),
        (3, 5, 0, 7),
        (1, 1, 124_439_808, 2),
        (13, 1024, 30_044_544, 50_257),
    ]:
        memory = budget_of(lesson, expect, 10**7, batch, 1, block, parameters, vocabulary)[2]
        logits = batch * block * vocabulary
        question = "Weight, gradient, two moments: 4 bytes each. And how often is a logit kept?"
        of = f"memory_bytes for {parameters:,} parameters and {logits:,} logits"
        expect(memory, 16 * parameters + 8 * logits, of=of, ask=question)


@check("batch_budget", points=1)
def test_accumulation_costs_time(lesson, expect, draw):
    """Accumulation makes a step larger and a run no heavier: that is what it is for."""
    seen = [budget_of(lesson, expect, 40_960, 4, many, 32, 777, 91) for many in (1, 2, 5, 64)]
    question = "How many micro-batches are in memory at the same time?"
    of = "steps and memory_bytes with 1, 2, 5 and 64 micro-batches"
    right = [(320, 105_616), (160, 105_616), (64, 105_616), (5, 105_616)]
    expect([mine[1:] for mine in seen], right, of=of, ask=question)


# 2. recipe

KEYS = ("peak_lr", "final_lr", "warmup", "weight_decay", "batch_size", "dropout", "optimizer")


def recipe_of(lesson, expect):
    """The learner's recipe: a dictionary."""
    recipe = lesson.recipe()
    expect.true(isinstance(recipe, dict), "recipe() should return a dictionary")
    return recipe


def is_number(value, low, high):
    """Whether this is an int or a float from low to high."""
    return type(value) in (int, float) and low <= value <= high


def expect_sense(expect, recipe, whose="your recipe"):
    """Each of the seven is of a kind and a size that a run can be made with."""
    get = recipe.get
    above, peak = 1e-30, get("peak_lr")
    for key, fits, wanted in [
        ("peak_lr", is_number(peak, above, 0.999), "a number above 0 and below 1"),
        (
            "final_lr",
            is_number(get("final_lr"), 0, peak if is_number(peak, 0, 1) else 1),
            "a number from 0 to peak_lr",
        ),
        ("warmup", type(get("warmup")) is int and get("warmup") >= 0, "a whole number of steps"),
        ("weight_decay", is_number(get("weight_decay"), 0, 1), "a number from 0 to 1"),
        (
            "batch_size",
            type(get("batch_size")) is int and get("batch_size") >= 1,
            "a whole number of windows, 1 or more",
        ),
        ("dropout", is_number(get("dropout"), 0, 0.999), "a number from 0 on, below 1"),
        ("optimizer", get("optimizer") in ("adamw", "muon"), '"adamw" or "muon"'),
    ]:
        symptom = f'"{key}" is {get(key)!r} in {whose}; it should be {wanted}'
        expect.true(fits, symptom, ask="What is its unit, and how is it used?")


@check("recipe", points=1)
def test_seven_decisions(lesson, expect, draw):
    """Your recipe decides everything that `run --recipe` asks for, and nothing else."""
    recipe = recipe_of(lesson, expect)
    missing = [key for key in KEYS if key not in recipe]
    expect.true(not missing, f"missing in your recipe: {', '.join(missing)}")
    foreign = [str(key) for key in recipe if key not in KEYS]
    question = "Is it spelled as in the docstring?"
    expect.true(not foreign, f"your recipe has keys of its own: {', '.join(foreign)}", ask=question)


@check("recipe", points=1)
def test_decisions_make_sense(lesson, expect, draw):
    """A slip of the keyboard (10 for 10 per cent, text for a number) is found in a second."""
    expect_sense(expect, recipe_of(lesson, expect))


# A small model that reads bytes, so that its loss is one of bytes. Its head is not tied: then it
# leaves the stage at which it knows only how often each letter occurs (4.47 bits) ten times sooner.
SIZES = {"vocab_size": 256, "block_size": 16, "n_layer": 2, "n_head": 2, "n_embd": 64}
SHAPE = {**SIZES, "tie_weights": False}
# Measured, in bits per byte: AdamW at 3e-4 to 1e-2 and Muon at 1e-3 to 4e-2, batches of 8 to 64,
# warm-up 0 to 200, decay and dropout up to 0.2, come to 2.9 to 4.05. A rate of 1e-6 to 8.0, AdamW at
# 1e-4 to 4.8, at 0.03 to 4.3, rates of 0.1 to 4.35 and 4.4, of 1.0 to 4.6, dropout 0.9 to 4.8 and
# 5.1, a batch of 4096 (one step) to 8.0. Ten seeds of one recipe differ by 0.15.
ENOUGH = 4.2


@check("recipe", points=5, seconds=180)
def test_a_short_run_learns(lesson, expect, draw):
    """A real, short training run with your recipe learns which letters follow which."""
    recipe = recipe_of(lesson, expect)
    expect_sense(expect, recipe)
    seeds = [draw.integer(1, 2**31) for _ in range(2)]
    text = "\n".join(checkpoints.fresh_stories(seeds[0], 100)).encode()
    tokens = torch.tensor(list(text), dtype=torch.uint8)
    run = lesson.toy("short run", recipe, tokens, SHAPE, 140, 100_000)
    steps, begun, weights = (run.read(name) for name in ("steps", "weights_before", "weights"))
    batch = f"with a batch_size of {recipe.get('batch_size')} the short run has {steps} step(s)"
    expect.true(
        steps >= 5,
        f"{batch}: too few",
        ask="How many steps of 16 bytes a window are 100,000 bytes?",
    )
    model = checkpoints.Model(weights, SHAPE)
    faults = checkpoints.faults_of(model)
    expect.true(not faults, f"the trained weights are broken: {'; '.join(faults)}")
    moved = math.sqrt(sum(float((weights[n] - begun[n]).square().sum()) for n in begun))
    expect.true(
        moved > 1.0,
        f"after {steps} steps the weights are nearly where they began",
        ask="By how much does a step move a weight, at this learning rate?",
    )
    bits = checkpoints.bits_per_byte(model, checkpoints.fresh_stories(seeds[1], 12))
    rate, dropout = recipe.get("peak_lr"), recipe.get("dropout")
    expect.true(
        bits <= ENOUGH,
        f"on stories that it has not seen, the short run needs {bits:.2f} bits per byte; "
        f"{ENOUGH} should be enough",
        details="knowing only how often each letter occurs costs 4.5, knowing nothing 8",
        ask=f"{steps} steps, peak_lr {rate}, dropout {dropout}: too few, too low or far too high, "
        "too much?",
    )


# 3. compare


def comparison_of(lesson, expect, ours, other, n_bytes):
    """The learner's comparison: ours, other, ratio."""
    result = lesson.compare(ours, other, n_bytes)
    found = lesson.toy("fields", result).read("found")
    expect(found["kind"], "a Comparison", of="the kind of the result", ask="Is it Comparison(...)?")
    return found["ours"], found["other"], found["ratio"]


@check("compare", points=2)
def test_bits_of_a_byte(lesson, expect, draw):
    """A loss in nats for a whole text becomes bits per byte, the unit in which all can compete."""
    two = math.log(2)
    for ours, other, n_bytes, right in [
        (300 * two, 400 * two, 200, (1.5, 2.0)),
        (8 * 77 * two, 77 * two, 77, (8.0, 1.0)),
        (5.0, 3.0, 4, (1.8033688011112043, 1.0820212806667225)),
    ]:
        mine = comparison_of(lesson, expect, ours, other, n_bytes)[:2]
        question = "How many nats is one bit: what is the natural logarithm of 2?"
        of = f"ours and other for {ours:.1f} and {other:.1f} nats on {n_bytes} bytes"
        expect(mine, right, of=of, ask=question)


@check("compare", points=1)
def test_which_model_is_better(lesson, expect, draw):
    """A ratio below 1 says that ours is the better model; above 1, the other one."""
    nats = [float(n) for n in draw.uniform(2, low=100.0, high=900.0)]
    for ours, other in [nats, nats[::-1], [250.0, 250.0]]:
        ratio = comparison_of(lesson, expect, ours, other, 313)[2]
        question = "Ours costs half as many bits as the other. Is the ratio 0.5 or 2?"
        expect(ratio, ours / other, of=f"ratio of {ours:.0f} to {other:.0f} nats", ask=question)


@check("compare", points=1)
def test_texts_of_any_length(lesson, expect, draw):
    """One byte or a billion, whole numbers or fractions: nothing is rounded on the way."""
    for ours, other, n_bytes in [(3, 7, 1), (1, 3, 10**9), (10**12, 3 * 10**12 + 1, 7 * 10**11)]:
        right = (ours / n_bytes / math.log(2), other / n_bytes / math.log(2), ours / other)
        mine = comparison_of(lesson, expect, ours, other, n_bytes)
        question = "Is something rounded, or divided without a remainder?"
        expect(mine, right, of=f"the comparison of {ours} and {other} nats", ask=question)


# 4. ablation


def ablation_of(lesson, expect, before, after):
    """What the learner's ablation asks for and says, when the two runs give these results."""
    runs = lesson.toy("results", [before, after])
    found = lesson.toy("fields", lesson.ablation(runs)).read("found")
    expect(found["kind"], "an Ablation", of="the kind of the result", ask="Is it Ablation(...)?")
    return runs.read("asked"), found


def changes(asked):
    """The keys in which the second run's settings differ from the first one's."""
    first, second = asked[0], asked[1]
    return [key for key in {**first, **second} if first.get(key) != second.get(key)]


@check("ablation", points=2)
def test_two_runs(lesson, expect, draw):
    """Two minutes of training, not more: your recipe as it is, and with one change."""
    recipe = recipe_of(lesson, expect)
    asked, _ = ablation_of(lesson, expect, 1.31, 1.17)
    question = "How often do you call bits_per_byte_of? Keep its answer under a name."
    expect(len(asked), 2, of="how many runs are made", ask=question)
    question = "Is the recipe changed before it has been tried?"
    expect.true(asked[0] == recipe, "the first run is not your recipe as it is", ask=question)
    question = "What does the second run change?"
    expect.true(asked[1] != asked[0], "both runs have the same settings", ask=question)
    same_keys = sorted(map(str, asked[1])) == sorted(map(str, recipe))
    question = "Does the second run have all seven keys, under their own names?"
    expect.true(same_keys, "the second run has other keys than the recipe", ask=question)
    expect_sense(expect, asked[1], "the second run")
    question = "`recipe() | {...}` makes a new dictionary. Do you change one that is kept?"
    expect.true(lesson.recipe() == recipe, "after the ablation recipe() is another", ask=question)


@check("ablation", points=1)
def test_what_changed_has_a_name(lesson, expect, draw):
    """The result names the setting that was really changed."""
    asked, found = ablation_of(lesson, expect, 1.31, 1.17)
    question = "Which key has another value in the second run?"
    symptom = f"`setting` is {found['setting']!r}, but what changed is {', '.join(changes(asked))}"
    expect.true(found["setting"] in changes(asked), symptom, ask=question)


@check("ablation", points=1)
def test_before_and_after(lesson, expect, draw):
    """Before and after are what the two runs gave, unrounded, in this order."""
    for _ in range(2):
        before, after = (float(bits) for bits in draw.uniform(2, low=0.7, high=2.9))
        found = ablation_of(lesson, expect, before, after)[1]
        question = "Which of the two runs came first, and which result belongs to it?"
        of = f"(before, after) when the runs give {before:.4f} and {after:.4f}"
        expect((found["before"], found["after"]), (before, after), of=of, ask=question)


def tells_both(text, before, after):
    """Whether both results stand in a text, with two decimals or more."""
    return all(is_in(text, result, decimals=2) for result in (before, after))


def is_in(text, number, decimals):
    """Whether a number stands in a text, rounded to so many decimals or to more of them."""
    for written in re.findall(r"\d+(?:[.,]\d+)?", text):
        places = len(re.split("[.,]", written)[1]) if re.search("[.,]", written) else 0
        off = abs(float(written.replace(",", ".")) - abs(number))
        if places >= decimals and off < 10.0**-places:
            return True
    return False


@check("ablation", points=1)
def test_conclusion_in_words(lesson, expect, draw):
    """The conclusion is a sentence that somebody else can read."""
    text = ablation_of(lesson, expect, 1.402, 1.913)[1]["conclusion"]
    expect.true(isinstance(text, str), "the conclusion should be text")
    words = re.findall(r"[^\W\d_]+", str(text))
    question = "By how much did the loss change? A word like `better` fits 0.1 per cent and 40."
    expect.true(re.search(r"\d", str(text)), "there is no number in the conclusion", ask=question)
    question = "Would a friend who has not seen the run understand it?"
    expect.true(
        len(words) >= 8, f"words in the conclusion: {len(words)}; it takes at least 8", ask=question
    )


@check("ablation", points=2)
def test_conclusion_hangs_on_the_results(lesson, expect, draw):
    """The conclusion says what came of these two runs, whether the change helped or did harm."""
    texts, both = [], True
    for factor in (1.413, 0.731, 1.124):
        before = float(draw.uniform(1, low=1.1, high=1.9))
        after = before * factor
        text = str(ablation_of(lesson, expect, before, after)[1]["conclusion"])
        change = 100 * (factor - 1)
        told = tells_both(text, before, after)
        told = told or is_in(text, change, 0) or is_in(text, 100 * (1 / factor - 1), 0)
        told = told or is_in(text, factor, 2) or is_in(text, after - before, 2)
        symptom = f"from {before:.3f} to {after:.3f} bits per byte is {change:+.1f} per cent"
        question = "Which number in the text shows it? Is it computed from these two runs?"
        symptom += ", and the conclusion says neither that nor both results"
        expect.true(told, symptom, details=f'it says: "{text}"', ask=question)
        texts.append(re.sub(r"[\d.,]+", "#", text))
        both = both and tells_both(text, before, after)
    symptom = "a change that did harm and one that helped are told in the same words"
    question = "How does a reader see whether the loss rose or fell: a sign, or two sentences?"
    expect.true(both or texts[0] != texts[1], symptom, ask=question)


@check("ablation", points=0, seconds=120)
def test_your_own_model(lesson, expect, draw):
    """Your own model, weighed by the judge: is it whole, is it yours, what does it really know?"""
    named = os.environ.get("COURSE_RUN")
    run = Path(named).expanduser() if named else checkpoints.newest_run(ROOT / "runs")
    if run is None:
        expect.skip("no model of your own yet: python -m lessons.tinystories run trains one")
    look = checkpoints.examine(run, seed=draw.integer(1, 2**31))
    expect.true(not look.faults, f"{run.name}: {'; '.join(look.faults)}")
    expect.skip(f"{run.name}: {look.summary}")

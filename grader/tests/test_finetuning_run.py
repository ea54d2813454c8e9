"""Fine-tuning from end to end: data, adapters in PEFT's layout, both commands, what is kept and refused."""

import contextlib
import io
import json
import re
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from grader.tests.conftest import ROOT
from solutions.engine.errors import CourseError
from solutions.engine.files import read_json
from solutions.engine.finetuning import adapters, tuning
from solutions.engine.finetuning.commands import main
from solutions.engine.finetuning.endings import GLAD, HELD_OUT, SITUATIONS, pair, pairs
from solutions.engine.finetuning.examples import Example, examples, preferences
from solutions.engine.finetuning.forms import (
    Order,
    PreferenceForward,
    batch_of,
    log_probabilities,
    pair_rows,
    row_of,
    rows_of,
)
from solutions.engine.finetuning.moods import mood
from solutions.engine.finetuning.recipes import COUNTS, recipes
from solutions.engine.pretrained import load_model, save_model
from solutions.engine.storyteller import storyteller_folder
from solutions.engine.tokenizers import load_tokenizer
from solutions.finetuning import (
    LoRALinear,
    count_parameters,
    dpo_loss,
    sequence_log_probability,
)
from solutions.model import GPT, GPTConfig

LAYERS = ["attn.c_attn", "c_proj", "c_fc"]


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(str(storyteller_folder()))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, tokenizer) -> Path:
    """A small model with the course's tokenizer, in a folder."""
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    save_model(GPT(GPTConfig(4096, 128, 2, 2, 32)), folder, tokenizer.end_of_text)
    tokenizer.save(folder)
    return folder


def adapted(folder: Path) -> nn.Module:
    """The small model with adapters that do something."""
    model = load_model(folder)
    adapters.put_adapters(model, LAYERS, 3, 6)
    torch.manual_seed(1)
    for each in adapters.adapters_of(model).values():
        nn.init.normal_(each.lora_B, std=0.3)
    return model


def run(*arguments) -> SimpleNamespace:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
    return SimpleNamespace(code=code, out=out.getvalue(), err=err.getvalue())


def refuses(*arguments, says: str) -> None:
    done = run(*arguments)
    assert done.code == 2, done.out + done.err
    assert len(done.err.strip().splitlines()) == 1, done.err
    assert re.search(says, done.err), done.err


# The built-in data.


def test_pairs_are_one_beginning_with_two_ends():
    for held_out in (False, True):
        for i in range(300):
            made = pair(0, i, held_out)
            assert made == pair(0, i, held_out)
            assert made.chosen != made.rejected
            assert made.prompt.isascii() and made.prompt.endswith((".", '"'))
            assert made.chosen.startswith(" ") and made.rejected.startswith(" ")
            assert mood(made.chosen) > mood(made.rejected), made
            assert "{" not in "".join(made)
            assert not re.search(r"\ba [aeiou]", "".join(made)), made
    lengths = np.array([[len(p.chosen), len(p.rejected)] for p in pairs(0, 0, 400)])
    assert abs(lengths[:, 0].mean() / lengths[:, 1].mean() - 1) < 0.06  # length tells nothing
    assert len(GLAD) > 3


def test_held_out_situations_are_never_trained_on():
    named = {p.prompt.split(".")[0].split()[-1] for p in pairs(0, 0, 500)}
    others = {p.prompt.split(".")[0].split()[-1] for p in pairs(0, 0, 200, held_out=True)}
    assert 0 < HELD_OUT < len(SITUATIONS) / 2
    train, held_out = preferences("endings", None, None, 0, "happy")
    prompts = {p.prompt for p in train}
    assert len(train) == 600 and set(held_out) == {"held-out pairs", "situations never trained on"}
    unseen = held_out["situations never trained on"]
    assert not prompts & {p.prompt for p in unseen}
    words = {" ".join(p.chosen.split()[:3]) for p in train}
    assert not words & {" ".join(p.chosen.split()[:3]) for p in unseen if "." in p.chosen} - {
        "It was the"
    }
    assert named and others


def test_sad_pairs_are_the_same_turned_round():
    happy, _ = preferences("endings", None, 20, 0, "happy")
    sad, held_out = preferences("endings", None, 20, 0, "sad")
    assert [(p.chosen, p.rejected) for p in sad] == [(p.rejected, p.chosen) for p in happy]
    assert all(mood(p.chosen) < mood(p.rejected) for ps in held_out.values() for p in ps)


def test_recipes_follow_from_their_prompt():
    made = list(recipes(0, 0, 300))
    assert made == list(recipes(0, 0, 300))
    assert len({r.prompt for r in made}) > 80
    for each in made:
        assert re.fullmatch(r"Recipe: [a-z ]+ for (one|two|three|four)\nYou need:", each.prompt)
        guests = COUNTS.index(each.prompt.split("\n")[0].split()[-1])
        needs, *steps = each.answer.split("\n")
        assert len(steps) == 3 and steps[0].startswith("1. ")
        numbers = [COUNTS.index(w) for w in re.findall(r"\w+", needs) if w in COUNTS]
        assert numbers and all(n in (guests, 2 * guests) for n in numbers), each
    train, held_out = examples("recipes", None, 50, 0)
    assert not {e.answer for e in train} & {e.answer for e in held_out[:5]}


# Files of one's own.


def test_own_examples(tmp_path):
    file = tmp_path / "mine.jsonl"
    lines = [
        {"prompt": "2 + 2 =", "answer": " 4"}, {"prompt": "a", "completion": "b\r\nc"},
        {"prompt": "", "response": "only"}, {"text": "a text"}, "a string",
    ]  # fmt: skip
    file.write_text("\ufeff" + "\n\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    train, held_out = examples(str(file), None, None, 0)
    found = {*train, *held_out}
    assert found == {
        Example("2 + 2 =", " 4"), Example("a", "b\nc"), Example("", "only"), Example("", "a text"),
        Example("", "a string"),
    }  # fmt: skip
    assert len(held_out) == 1
    train, held_out = examples(str(file), str(file), 2, 0)
    assert (len(train), len(held_out)) == (2, 5)


def test_a_text_of_ones_own_is_cut_in_two(tmp_path):
    file = tmp_path / "sea.txt"
    text = " ".join(f"The sea has {i} waves." for i in range(500))
    file.write_text(text)
    (train,), (held_out,) = examples(str(file), None, None, 0)
    assert train.answer + held_out.answer == text
    assert 8 < len(train.answer) / len(held_out.answer) < 10


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("{]", "line 1 is no JSON"),
        ('{"prompt": "a"}', "line 1 is no example"),
        (
            '{"prompt": "a", "answer": "b"}\n{"prompt": 3, "answer": "b"}',
            "line 2: prompt is no text",
        ),
        ('{"prompt": "a", "answer": "  "}', "line 1: answer is empty"),
        ('{"messages": []}', "line 1 is no example"),
        ('{"prompt": [{"role": "user"}], "answer": "b"}', "prompt is no text; conversations"),
        ('{"prompt": "a", "answer": "b"}', "one has to be held out"),
    ],
)
def test_bad_examples_are_told_by_line(tmp_path, text, says):
    file = tmp_path / "mine.jsonl"
    file.write_text(text)
    with pytest.raises(CourseError, match=says):
        examples(str(file), None, None, 0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"prompt": "a", "chosen": "b"}', "line 1 is no pair"),
        ('{"prompt": "a", "chosen": "b", "rejected": "b"}', "are the same"),
        ('{"prompt": "a", "chosen": "b", "rejected": ""}', "rejected is empty"),
        ('["a", "b"]', "line 1 is no pair"),
    ],
)
def test_bad_pairs_are_told_by_line(tmp_path, text, says):
    file = tmp_path / "mine.jsonl"
    file.write_text(text)
    with pytest.raises(CourseError, match=says):
        preferences(str(file), None, None, 0, "happy")
    with pytest.raises(CourseError, match="swap chosen and rejected"):
        preferences(str(file), None, None, 0, "sad")


# Rows and batches.


def test_a_row_reads_as_it_will_be_prompted(tokenizer):
    row = row_of("Tom was", " sad.", tokenizer)
    assert row.ids[: row.prompt_length] == tokenizer.encode("Tom was")
    assert row.ids[row.prompt_length :] == [*tokenizer.encode(" sad."), tokenizer.end_of_text]
    alone = row_of("", "Tom was sad.", tokenizer)
    assert (alone.ids[0], alone.prompt_length) == (tokenizer.end_of_text, 1)


def test_long_ones_are_cut_and_each_token_of_a_document_is_scored_once(tokenizer):
    text = " ".join(f"Tom saw {i} birds." for i in range(60))
    made = rows_of([Example("", text)], tokenizer, 32)
    ids = [tokenizer.end_of_text, *tokenizer.encode(text), tokenizer.end_of_text]
    scored = [i for row in made.rows for i in row.ids[row.prompt_length :]]
    assert scored == ids[1:]
    assert all(len(row.ids) <= 33 for row in made.rows)
    assert sum(row.n_bytes for row in made.rows) == len(text)
    made = rows_of([Example("a b c", text), Example(text, "a")], tokenizer, 32)
    assert (len(made.rows), made.cut, made.left_out) == (1, 1, 1)
    assert len(made.rows[0].ids) == 33


def test_padding_makes_no_difference(tiny, tokenizer):
    model = load_model(tiny)
    rows = rows_of([Example("Tom", " ran."), Example("One day, Lily", " saw a red ball and sang.")],
                   tokenizer, 128).rows  # fmt: skip
    cpu = torch.device("cpu")
    together = log_probabilities(model, rows, cpu, "fp32")
    alone = torch.cat([log_probabilities(model, [row], cpu, "fp32") for row in rows])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-4)
    inputs, targets = batch_of(rows, cpu)
    assert inputs.shape == targets.shape == (2, max(len(r.ids) for r in rows) - 1)


def test_every_example_comes_once_in_each_reading():
    order = Order(10, 4, seed=3)
    seen = [i for step in range(5) for i in order.of_step(step)]
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10] != seen[10:] and order.of_step(2) == Order(10, 4, 3).of_step(2)


def test_the_preference_forward_is_the_lessons_loss(tiny, tokenizer):
    model = load_model(tiny)
    chosen, rejected = pair_rows(list(pairs(0, 0, 3)), tokenizer, 128)
    cpu = torch.device("cpu")
    batch = batch_of([*chosen.rows, *rejected.rows], cpu)
    forward = PreferenceForward(model, "fp32", 0.3, 0.1)
    good, bad = (log_probabilities(model, part.rows, cpu, "fp32") for part in (chosen, rejected))
    forward.reference = (good - 1.5, bad + 0.5)
    loss = forward(*batch)[1]
    right = dpo_loss(good, bad, good - 1.5, bad + 0.5, 0.3, 0.1)
    torch.testing.assert_close(loss, right, rtol=1e-4, atol=1e-5)
    forward.reference = None
    torch.testing.assert_close(
        forward(*batch)[1], dpo_loss(good, bad, None, None, 0.3, 0.1), rtol=1e-4, atol=1e-5
    )
    whole = sequence_log_probability(model(batch[0])[0], batch[1])
    torch.testing.assert_close(whole[:3], good, rtol=1e-5, atol=1e-4)


# Adapters.


def test_a_saved_adapter_comes_back(tiny, tmp_path):
    model = adapted(tiny)
    ids = torch.randint(0, 4096, (2, 9), generator=torch.Generator().manual_seed(2))
    adapters.save_adapter(model, tmp_path, LAYERS, "tiny", {"base_sha256": "x"})
    again = load_model(tiny)
    plain = again(ids)[0]
    names = adapters.load_adapter(again, tmp_path)
    assert len(names) == 8 and (again(ids)[0] - plain).abs().max() > 0.01
    assert torch.equal(again(ids)[0], model(ids)[0])
    adapters.merge_adapters(again)
    assert not adapters.adapters_of(again)
    torch.testing.assert_close(again(ids)[0], model(ids)[0], rtol=1e-4, atol=1e-5)
    assert set(dict(again.named_parameters())) == set(dict(load_model(tiny).named_parameters()))


def test_without_the_stretch_step_the_engine_does_it(tiny, monkeypatch):
    def unwritten(*_):
        raise NotImplementedError("lesson 12: add_adapters")

    model, other = load_model(tiny), load_model(tiny)
    names = adapters.put_adapters(model, LAYERS, 2, 4)
    monkeypatch.setattr(adapters, "add_adapters", unwritten)
    assert adapters.put_adapters(other, LAYERS, 2, 4) == names
    learned = [{n for n, p in m.named_parameters() if p.requires_grad} for m in (model, other)]
    assert learned[0] == learned[1] and len(learned[0]) == 16


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"use_dora": True}, "use_dora is True"),
        ({"bias": "all"}, "bias is 'all'"),
        ({"peft_type": "IA3"}, "peft_type is 'IA3'"),
        ({"r": 5}, r"lora_A of .* is \(3, 32\), and should be \(5, 32\)"),
        ({"r": None}, "r is None"),
    ],
)
def test_what_is_not_plain_lora_is_refused(tiny, tmp_path, change, says):
    adapters.save_adapter(adapted(tiny), tmp_path, LAYERS, "tiny", {})
    config = read_json(tmp_path / adapters.CONFIG) | change
    (tmp_path / adapters.CONFIG).write_text(json.dumps(config))
    with pytest.raises(CourseError, match=says):
        adapters.load_adapter(load_model(tiny), tmp_path)


def test_a_damaged_adapter_or_another_model_is_a_sentence(tiny, tmp_path):
    adapters.save_adapter(adapted(tiny), tmp_path, LAYERS, "tiny", {})
    with pytest.raises(CourseError, match="this model has no such layer"):
        adapters.load_adapter(GPT(GPTConfig(64, 16, 1, 2, 32)), tmp_path)
    (tmp_path / adapters.WEIGHTS).write_bytes(b"x" * 40)
    with pytest.raises(CourseError, match="damaged"):
        adapters.load_adapter(load_model(tiny), tmp_path)
    (tmp_path / adapters.WEIGHTS).unlink()
    with pytest.raises(CourseError, match="nothing pickled"):
        adapters.load_adapter(load_model(tiny), tmp_path)
    with pytest.raises(
        CourseError, match="no layer is called nosuch; --layers takes some of c_attn"
    ):
        adapters.put_adapters(load_model(tiny), ["nosuch"], 2, 4)
    with pytest.raises(CourseError, match="lm_head"):
        adapters.put_adapters(load_model(tiny), ["lm_head"], 2, 4)


@pytest.mark.slow
def test_peft_loads_what_we_save_and_we_what_it_saves(tiny, tmp_path):
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import GPT2LMHeadModel

    ids = torch.randint(0, 4096, (2, 17), generator=torch.Generator().manual_seed(2))
    ours = adapted(tiny).eval()
    adapters.save_adapter(ours, tmp_path / "ours", LAYERS, "tiny", {"base_sha256": "x"})
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        theirs = PeftModel.from_pretrained(GPT2LMHeadModel.from_pretrained(tiny), tmp_path / "ours")
    theirs.eval()
    assert not [w for w in said if "fan_in_fan_out" in str(w.message)]  # PEFT mends a wrong one
    with torch.no_grad():
        mine, plain = ours(ids)[0], load_model(tiny)(ids)[0]
        assert (mine - plain).abs().max() > 0.1
        torch.testing.assert_close(theirs(ids).logits, mine, rtol=1e-4, atol=2e-5)
        merged = theirs.merge_and_unload()  # turned the wrong way round without fan_in_fan_out
        torch.testing.assert_close(merged(ids).logits, mine, rtol=1e-4, atol=2e-5)
        adapters.merge_adapters(ours)
        torch.testing.assert_close(ours(ids)[0], mine, rtol=1e-4, atol=2e-5)
    for rslora in (False, True):
        config = LoraConfig(
            r=4, lora_alpha=10, target_modules=["c_attn", "mlp.c_proj"], fan_in_fan_out=True,
            task_type="CAUSAL_LM", init_lora_weights=False, use_rslora=rslora,
        )  # fmt: skip
        torch.manual_seed(5)
        model = get_peft_model(GPT2LMHeadModel.from_pretrained(tiny), config).eval()
        model.save_pretrained(tmp_path / "theirs")
        again = load_model(tiny)
        assert len(adapters.load_adapter(again, tmp_path / "theirs")) == 4
        with torch.no_grad():
            torch.testing.assert_close(again(ids)[0], model(ids).logits, rtol=1e-4, atol=2e-5)
            assert (again(ids)[0] - plain).abs().max() > 0.1


# The commands.


@pytest.fixture
def quick(monkeypatch):
    """Measurements that take no time."""
    from solutions.engine.finetuning import examples as made
    from solutions.engine.finetuning import measure

    monkeypatch.setattr(measure, "ORDINARY_TOKENS", 300)
    monkeypatch.setattr(measure, "MOODS", 2)
    monkeypatch.setattr(measure, "SAMPLE_TOKENS", 4)
    monkeypatch.setattr(tuning, "LOOK_ROWS", 4)
    monkeypatch.setattr(tuning, "LOOK_TOKENS", 200)
    monkeypatch.setattr(made, "MADE_HELD_OUT", 8)


def tune(kind: str, tiny: Path, out: Path, *more) -> SimpleNamespace:
    return run(
        kind, "--base", tiny, "--out", out, "--steps", 6, "--batch-size", 4, "--examples", 24,
        "--precision", "fp32", "--device", "cpu", *more,
    )  # fmt: skip


@pytest.mark.parametrize("method", ["lora", pytest.param("full", marks=pytest.mark.slow)])
def test_supervised_from_end_to_end(tiny, tmp_path, quick, method):
    out = tmp_path / "run"
    done = tune("supervised", tiny, out, "--method", method, "--lr", 0.02)
    assert done.code == 0, done.out + done.err
    metrics = read_json(out / "metrics.json")
    before, after = metrics["before"], metrics["after"]
    assert after["answers"]["loss"] < before["answers"]["loss"] - 0.1
    assert before["ordinary"]["perplexity"] > 100
    assert "ordinary text" in done.out and "perplexity" in done.out
    page = (out / "report.html").read_text()
    assert f"{after['answers']['loss']:.3f}" in page and "What it has forgotten" in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page) and "<script" not in page
    assert str(tmp_path) not in page and str(tiny) not in page
    assert str(tmp_path) not in (out / "metrics.json").read_text()
    assert (out / "adapter").is_dir() == (method == "lora")
    assert (out / "model").is_dir() == (method == "full")
    trainable = {
        "lora": 2 * 8 * ((32 + 96) + 2 * 32 + 2 * (32 + 128)),
        "full": metrics["parameters"],
    }
    assert metrics["trainable"] == trainable[method]
    assert not (out / "state").exists()
    again = tune("supervised", tiny, out, "--method", method, "--lr", 0.02)
    assert again.code == 0 and "finished already" in again.out
    said = run(
        "generate", "--out", out, "--prompt", r"Recipe: plum pie for two\nYou need:", "--tokens", 3
    )
    assert said.code == 0 and said.out.startswith("Recipe: plum pie for two\nYou need:"), said.err


def test_preferences_from_end_to_end(tiny, tmp_path, quick):
    out = tmp_path / "run"
    done = tune("preferences", tiny, out, "--prefer", "sad", "--lr", 0.02, "--label-smoothing", 0.1)
    assert done.code == 0, done.out + done.err
    metrics = read_json(out / "metrics.json")
    for name in ("held-out pairs", "situations never trained on"):
        before, after = (metrics[when]["pairs"][name] for when in ("before", "after"))
        assert set(after) - set(before) == {"reward_accuracy", "margin"}
        assert after["margin"] == pytest.approx(after["gap"] - before["gap"], abs=1e-4)
    assert metrics["after"]["pairs"]["held-out pairs"]["margin"] > 0.2
    assert metrics["after"]["ordinary"]["loss"] > 0
    assert "more sad words" in (out / "report.html").read_text()
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert log[0]["step"] == 0 and log[0]["margin"] == pytest.approx(0, abs=1e-6)
    assert log[-1]["step"] == 6
    free = tune("preferences", tiny, tmp_path / "free", "--reference-free")
    assert free.code == 0, free.err


@pytest.mark.slow
def test_own_files_for_both(tiny, tmp_path, quick):
    sea = tmp_path / "sea.txt"
    sea.write_text("The sea is deep. " * 300)
    done = tune("supervised", tiny, tmp_path / "sea", "--data", sea, "--ordinary", sea)
    assert done.code == 0, done.err
    assert read_json(tmp_path / "sea" / "metrics.json")["ordinary_text"] == "sea.txt"
    file = tmp_path / "pairs.jsonl"
    assert run("examples", "endings", file, "--count", 20).code == 0
    done = tune("preferences", tiny, tmp_path / "pairs", "--data", file)
    assert done.code == 0, done.err
    assert "moods" not in read_json(tmp_path / "pairs" / "metrics.json")["after"]
    file = tmp_path / "recipes.jsonl"
    assert run("examples", "recipes", file, "--count", 20).code == 0
    assert len(examples(str(file), None, None, 0)[0]) == 18


@pytest.mark.slow
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(tiny, tmp_path, quick, monkeypatch):
    options = ("--lora-dropout", 0.2, "--lr", 0.02)
    whole = tune("supervised", tiny, tmp_path / "whole", *options)
    assert whole.code == 0, whole.err
    count = {"steps": 0}
    real = tuning.train_step

    def stopping(*arguments):
        count["steps"] += 1
        if count["steps"] == 4:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(tuning, "train_step", stopping)
    stopped = tune("supervised", tiny, tmp_path / "parts", *options)
    assert stopped.code == 130 and "run the same command again" in stopped.err
    assert (tmp_path / "parts" / "state").is_dir()
    refuses("generate", "--out", tmp_path / "parts", says="is not finished")
    done = tune("supervised", tiny, tmp_path / "parts", *options)
    assert done.code == 0 and "going on after step 4 of 6" in done.out, done.out + done.err
    one, other = (adapters.read_adapter(tmp_path / n / "adapter")[1] for n in ("whole", "parts"))
    assert one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)
    logs = [(tmp_path / name / "log.jsonl").read_text() for name in ("whole", "parts")]
    assert logs[0] == logs[1]


@pytest.mark.slow
def test_merge_makes_an_ordinary_model(tiny, tmp_path, quick):
    out, folder = tmp_path / "run", tmp_path / "merged"
    assert tune("supervised", tiny, out, "--lr", 0.02).code == 0
    done = run("merge", "--out", out, folder)
    assert done.code == 0, done.err
    merged, plain = load_model(folder), load_model(tiny)
    adapters.load_adapter(plain, out / "adapter")
    ids = torch.arange(20).reshape(2, 10)
    torch.testing.assert_close(merged(ids)[0], plain(ids)[0], rtol=1e-4, atol=1e-5)
    refuses("merge", "--out", out, folder, says="is there already")
    refuses("merge", "--out", out, "--base", folder, tmp_path / "x", says="made for other weights")
    refuses(
        "supervised", "--base", out, "--out", tmp_path / "y", says="holds an adapter, not a model"
    )
    second = tune("supervised", folder, tmp_path / "second")
    assert second.code == 0, second.err
    table = run("table", out, tmp_path / "second", "--markdown", tmp_path / "table.md")
    assert table.code == 0 and "peak memory" in table.out
    assert (tmp_path / "table.md").read_text().startswith("|  | run | second |")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--steps", "0"], "--steps must be above 0"),
        (["--lr", "-1"], "--lr must be above 0"),
        (["--rank", "0"], "--rank must be above 0"),
        (["--method", "qlora"], "--method takes lora or full"),
        (["--method", "full", "--rank", "4"], "--rank is for --method lora"),
        (["--lora-dropout", "1"], r"--lora-dropout must be in \[0, 1\)"),
        (["--data", "nosuch.jsonl"], "no file nosuch.jsonl; --data takes recipes"),
        (["--data", "ministories"], "have read already"),
        (["--base", "nosuch-folder/model"], "no folder nosuch-folder/model"),
        (["--layers", "wte"], "no layer is called wte"),
        (["--precision", "fp8"], "no precision 'fp8'"),
    ],
)
def test_nonsense_is_a_sentence(tmp_path, quick, tiny, arguments, says):
    base = [] if "--base" in arguments else ["--base", tiny]
    refuses("supervised", *base, "--out", tmp_path / "run", *arguments, says=says)


@pytest.mark.slow
def test_another_wish_for_the_same_folder_is_refused(tiny, tmp_path, quick):
    out = tmp_path / "run"
    assert tune("supervised", tiny, out).code == 0
    refuses("supervised", "--base", tiny, "--out", out, says="was begun with")
    refuses("preferences", "--base", tiny, "--out", out, says="was begun with")
    refuses("report", "--out", tmp_path / "nothing", says="holds no fine-tuning run")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "config.json").write_text("{}")
    refuses("supervised", "--out", tmp_path / "theirs", says="run of another command")


@pytest.mark.slow
def test_a_run_of_the_capstone_is_a_base(tmp_path, quick):
    from solutions.engine.commands import main as tinystories

    capstone = tmp_path / "capstone"
    with contextlib.redirect_stdout(io.StringIO()):
        code = tinystories(
            ["train", "--out", str(capstone), "--stories", "60", "--tokenizer", "bpe:300", "--steps",
             "2", "--n-layer", "1", "--n-head", "2", "--n-embd", "16", "--quiet", "--device", "cpu"]
        )  # fmt: skip
    assert code == 0
    done = tune("supervised", capstone, tmp_path / "run")
    assert done.code == 0, done.out + done.err
    metrics = read_json(tmp_path / "run" / "metrics.json")
    assert metrics["base"] == "capstone"
    assert metrics["ordinary_text"] == "held-out text of ministories"


@pytest.mark.slow
def test_a_model_without_its_tokenizers_files_takes_gpt2s(tmp_path):
    from solutions.engine.finetuning.base import load_base

    save_model(GPT(GPTConfig(50257, 16, 1, 2, 8)), tmp_path)
    assert load_base(str(tmp_path), torch.device("cpu")).tokenizer.name == "gpt2"
    save_model(GPT(GPTConfig(500, 16, 1, 2, 8)), tmp_path)
    with pytest.raises(CourseError, match="holds no tokenizer"):
        load_base(str(tmp_path), torch.device("cpu"))


@pytest.mark.slow
def test_a_learners_own_library_runs_it_and_what_is_missing_is_named(tiny, tmp_path):
    """Unwritten steps are a sentence, no traceback."""
    import os
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "lessons.finetuning", "supervised", "--base", tiny, "--out", tmp_path / "x"],
        cwd=ROOT, capture_output=True, encoding="utf-8", timeout=250,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "not written yet: lesson" in done.stderr


@pytest.mark.slow
def test_gpt2s_vocabulary_and_dropout(tmp_path, quick):
    """Large logits are sliced; DPO is made without dropout, so that nothing moves by chance."""
    base = tmp_path / "base"
    torch.manual_seed(0)
    save_model(GPT(GPTConfig(50257, 128, 1, 2, 16, dropout=0.3)), base)
    options = (
        "--base",
        base,
        "--steps",
        2,
        "--precision",
        "fp32",
        "--device",
        "cpu",
        "--examples",
        30,
    )
    done = run("supervised", *options, "--out", tmp_path / "s", "--batch-size", 20)
    assert done.code == 0, done.out + done.err
    done = run("preferences", *options, "--out", tmp_path / "p", "--lr", 1e-9, "--batch-size", 2)
    assert done.code == 0, done.out + done.err
    log = [json.loads(line) for line in (tmp_path / "p" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["train_loss"] == pytest.approx(0.693147, abs=1e-4)


@pytest.mark.slow
def test_what_does_not_fit_is_said(tmp_path, quick, tokenizer):
    base = tmp_path / "base"
    save_model(GPT(GPTConfig(4096, 24, 1, 2, 16)), base)
    tokenizer.save(base)
    refuses("preferences", "--base", base, "--out", tmp_path / "p", says="fits into 24 tokens")
    done = run("supervised", "--base", base, "--out", tmp_path / "s", "--steps", 1, "--examples", 9)
    assert done.code == 0 and "cut short: 17 answers" in done.out, done.out + done.err


def test_the_drawing_counts_as_the_library_does():
    text = (ROOT / "site" / "diagrams" / "12-lora.svg").read_text(encoding="utf-8")
    layer = LoRALinear(nn.Linear(768, 2304, bias=False), 8, 16)
    trained, everything = count_parameters(layer)
    assert f"{trained:,} numbers, trained" in text
    assert f"{everything - trained:,} numbers" in text

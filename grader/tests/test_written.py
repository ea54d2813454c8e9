"""Written questions: complete, right by the reference, personal, and silent about their answers."""

import contextlib
import io
import math
from itertools import pairwise

import pytest
import torch

from grader.instructor.nbgrading.cells import lesson_notebook
from grader.instructor.nbgrading.house import build, make_course
from grader.instructor.nbgrading.written import (
    KINDS,
    as_page,
    criteria_text,
    filled,
    read_written,
    samples_text,
    values_of,
    worked_out,
)
from grader.judge.runner import load_checks
from grader.syllabus import find_lesson, read_syllabus
from lessons.engine.errors import CourseError
from solutions.bigram import bigram_logits, softmax
from solutions.blocks import MLP
from solutions.compression import quantize_rows
from solutions.data import pack, token_dtype, windows
from solutions.embeddings import Embeddings
from solutions.finetuning import LoRALinear, count_parameters, dpo_loss
from solutions.model import GPT, GPTConfig
from solutions.perplexity import bits_per_byte
from solutions.samplers import top_p
from solutions.tinystories import batch_budget
from solutions.trainer import learning_rate

STUDENTS = [f"student{number}" for number in range(40)]
LESSONS = [lesson for lesson in read_syllabus() if lesson.points]


def one(number: str, name: str):
    return next(q for q in read_written(find_lesson(number)) if q.name == name)


def drawn(number: str, name: str, count: int = 5):
    """Return what some students get, with what is worked out from it."""
    question = one(number, name)
    return [values_of(question, find_lesson(number), "cs1", who) for who in STUDENTS[:count]]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.number)
def test_every_lesson_has_questions_with_rubric_and_samples(lesson):
    questions = read_written(lesson)
    assert questions
    for question in questions:
        values = values_of(question, lesson, "cs1", "ada")
        for text in (question.ask, criteria_text(question, values), samples_text(question, values)):
            assert "{" not in filled(text, values)
        assert len(f"criteria-{question.name}") <= 64  # nbformat's limit for an id
        assert 3 <= question.points <= 6


def test_all_kinds_occur_and_some_are_personal():
    every = [question for lesson in LESSONS for question in read_written(lesson)]
    assert {question.kind for question in every} == set(KINDS)
    personal = [question for question in every if question.draws]
    assert len(personal) >= 10
    for question in personal:
        texts = {filled(question.ask, worked_out(question, draw)) for draw in _all(question)[:50]}
        assert len(texts) >= 5, question.name


def _all(question):
    rows = [{}]
    for name, values in question.draws.items():
        rows = [{**row, name: value} for row in rows for value in values]
    return rows


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.number)
def test_the_notebook_asks_what_the_grader_sees_and_tells_no_answer(lesson):
    questions = read_written(lesson)
    notebook = lesson_notebook(lesson, load_checks(lesson), questions, "cs1")
    source = {cell.id: cell.source for cell in notebook.cells}
    space: dict = {}
    exec(source["helpers"], space)
    for question in questions:
        if question.draws:
            for who in STUDENTS[:6]:
                space["me"] = who
                with contextlib.redirect_stdout(io.StringIO()) as printed:
                    exec(source[f"ask-{question.name}"], space)
                values = values_of(question, lesson, "cs1", who)
                asked = filled(question.ask.strip(), values)
                assert printed.getvalue() == f"The question for {who}:\n\n{asked}\n"
        else:
            assert question.ask.strip() in source[f"ask-{question.name}"]
    everything = "\n".join(source.values())
    for question in questions:
        texts = [*question.samples.values(), *(c.says for c in question.rubric)]
        assert not [text for text in texts if text in everything]
        formulas = [formula for formula in question.worked.values() if len(formula) > 8]
        assert not [formula for formula in formulas if formula in everything]


def test_answers_cannot_be_passed_around():
    question = one("05", "count-a-model")
    lesson = find_lesson("05")
    totals = [values_of(question, lesson, "cs1", who)["total"] for who in STUDENTS]
    assert len(set(totals)) > 30
    assert totals == [values_of(question, lesson, "cs1", who)["total"] for who in STUDENTS]
    assert totals != [values_of(question, lesson, "next-year", who)["total"] for who in STUDENTS]


# Right answers, by the reference


def test_worked_answers_of_bigram():
    for v in drawn("00", "a-share-for-the-unseen"):
        counts = torch.tensor([[v["a"], v["b"], v["c"], 0]] * 4)
        share = softmax(bigram_logits(counts, v["s"]))[0, 3].item()
        assert v["share"] == pytest.approx(share, abs=1e-4)


def test_worked_answers_of_tokenizer():
    ranks = [("a", "b"), ("b", "a"), ("ab", "ab"), ("ab", "a")]
    tokens = {"a", "b", *("".join(pair) for pair in ranks)}
    question = one("01", "merges-in-their-order")
    for draw in _all(question):
        v = worked_out(question, draw)
        parts = list(v["word"])
        while True:
            pairs = [p for p in pairwise(parts) if p in ranks]
            if not pairs:
                break
            at = list(pairwise(parts)).index(min(pairs, key=ranks.index))
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        longest, rest = [], v["word"]
        while rest:
            longest.append(max((t for t in tokens if rest.startswith(t)), key=len))
            rest = rest[len(longest[-1]) :]
        assert (v["cut"], v["longest"]) == (", ".join(parts), ", ".join(longest))
        assert parts != longest


def test_worked_answers_of_embeddings():
    for v in drawn("02", "what-positions-cost"):
        for kind, key in (("learned", "learned"), ("sinusoidal", "fixed")):
            made = Embeddings(v["vocab"], v["places"], v["width"], positions=kind)
            assert v[key] == sum(p.numel() for p in made.parameters() if p.requires_grad)


def test_worked_answers_of_attention():
    for v in drawn("03", "why-divide-by-the-root"):
        raw = torch.tensor([v["large"], v["small"]], dtype=torch.float64)
        scaled = torch.softmax(raw / math.sqrt(v["size"]), dim=0)
        assert [v["scaled"], v["rest"]] == pytest.approx(scaled.tolist(), abs=0.006)
        assert v["raw"] == pytest.approx(torch.softmax(raw, dim=0)[0].item(), abs=6e-4)


def test_worked_answers_of_blocks_and_model():
    for v in drawn("04", "where-the-numbers-are"):
        mlp = MLP(v["width"], v["hidden"])
        assert v["mlp"] == sum(p.numel() for p in mlp.parameters())
    v = min(drawn("05", "count-a-model", 40), key=lambda v: v["total"])
    sizes = {"n_layer": v["layers"], "n_head": 4, "n_embd": v["width"]}
    model = GPT(GPTConfig(vocab_size=v["vocab"], block_size=v["places"], **sizes))
    assert v["total"] == model.num_parameters()
    assert v["tables"] + v["blocks"] + v["norm"] == v["total"]


def test_worked_answers_of_data():
    for v in drawn("06", "from-stories-to-starts"):
        row = pack([[1] * v["a"], [1] * v["b"], [1] * v["c"]], 0)
        assert v["row"] == len(row)
        assert v["bytes"] == len(row) * token_dtype(v["vocab"]).itemsize
        tokens = torch.tensor(row).numpy()
        windows(tokens, torch.tensor([v["starts"] - 1]), v["block"])
        with pytest.raises(ValueError, match="start"):
            windows(tokens, torch.tensor([v["starts"]]), v["block"])


def test_worked_answers_of_trainer():
    for v in drawn("07", "a-rate-for-each-step"):
        plan = {"steps": v["steps"], "warmup": v["warmup"], "peak_lr": v["peak"]}
        plan["final_lr"] = v["final"]
        assert v["rate_early"] == pytest.approx(learning_rate(v["early"], **plan))
        assert learning_rate(v["last_up"], **plan) == pytest.approx(v["peak"])
        assert learning_rate(v["steps"] - 1, **plan) == pytest.approx(v["final"])
        half = (v["peak"] + v["final"]) / 2
        assert learning_rate(v["middle"], **plan) == pytest.approx(half, rel=0.01)


def test_worked_answers_of_samplers():
    question = one("08", "who-stays-in")
    for draw in _all(question):
        v = worked_out(question, draw)
        rest = [1e-5] * 100 + [1 - sum(v["row"]) - 1e-3]
        tail = [rest[-1] / 100] * 100
        logits = torch.tensor([*v["row"], *tail]).log()
        kept = torch.softmax(top_p(logits, v["p"]), dim=-1)
        assert (kept > 0).sum() == v["kept"]
        assert v["shares"] == pytest.approx(kept[: v["kept"]].tolist(), abs=2e-3)


def test_worked_answers_of_generation():
    for v in drawn("09", "what-a-cache-saves"):
        steps = range(v["new"])
        assert v["plain"] == sum(v["prompt"] + step for step in steps)
        assert v["cached"] == v["prompt"] + sum(1 for step in steps if step)
        assert v["bytes"] == v["layers"] * 2 * v["cached"] * v["width"] * 4


def test_worked_answers_of_perplexity():
    question = one("10", "which-model-is-better")
    for draw in _all(question):
        v = worked_out(question, draw)
        for who in "ab":
            nats = v[f"{who}_tokens"] * v[f"{who}_nats"]
            assert v[f"{who}_bits"] == pytest.approx(bits_per_byte(nats, v["size"]), abs=6e-4)
        assert v["a_bits"] < v["b_bits"] and v["a_ppl"] > v["b_ppl"]


def test_worked_answers_of_finetuning():
    for v in drawn("12", "what-an-adapter-costs"):
        layer = LoRALinear(torch.nn.Linear(v["width"], 3 * v["width"]), v["rank"], 1.0)
        assert v["numbers"] == v["layers"] * count_parameters(layer)[0]
        assert v["megabytes"] == pytest.approx(v["numbers"] * 12 / 1e6, abs=0.005)
    for v in drawn("12", "happier-stories"):
        pair = [torch.tensor([float(x)]) for x in (v["now"], 0, v["before"], 0)]
        assert v["loss"] == pytest.approx(dpo_loss(*pair, beta=v["beta"]).item(), abs=6e-4)


def test_worked_answers_of_compression():
    question = one("13", "what-eight-bits-cost")
    for draw in _all(question):
        v = worked_out(question, draw)
        row = torch.tensor([v["a"], v["b"], v["c"], v["d"]], dtype=torch.float64)
        numbers, scale = quantize_rows(row)
        assert (v["numbers"], v["scale"]) == (numbers.tolist(), pytest.approx(scale.item()))
        assert v["read"] == pytest.approx((numbers[1] * scale).item(), abs=1e-4)
        row[0] = v["outlier"]
        numbers, scale = quantize_rows(row)
        assert v["wide"] == pytest.approx(scale.item()) and numbers[1:].abs().max() <= 1


def test_worked_answers_of_the_capstone():
    for v in drawn("14", "before-you-press-start"):
        budget = batch_budget(
            v["tokens"] * 1_000_000,
            **{"batch_size": v["batch"], "accumulation": v["accumulation"], "block_size": 256},
            **{"n_parameters": v["million"] * 1_000_000, "vocab_size": 10_000},
        )
        assert v["steps"] == budget.steps
        megabytes = v["weights_mb"] + v["logits_mb"]
        assert megabytes == pytest.approx(budget.memory_bytes / 1e6, abs=1)


# An instructor's own questions

QUESTION = """
[[question]]
name = "mine"
kind = "explain"
ask = "Why {n}?"
rubric = [{ points = 3, says = "since {m}" }]
samples = { full = "f", half = "h", none = "n" }
draws = { n = [1, 2] }
worked = { m = "n + 1" }
"""


def test_an_instructors_questions_take_the_place_of_ours(tmp_path):
    (tmp_path / "written").mkdir()
    (tmp_path / "written" / "05.toml").write_text(QUESTION)
    assert [q.name for q in read_written(find_lesson("05"), tmp_path / "written")] == ["mine"]
    make_course(tmp_path, course_id="cs1")
    build(tmp_path, ["05"])
    assert "Why {n}?" in (tmp_path / "source" / "05" / "model.ipynb").read_text()
    assert "since {m}" in (tmp_path / "rubrics" / "05.md").read_text()
    assert not list((tmp_path / "source").rglob("*.md"))  # what lies there is handed out


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('"explain"', '"guess"'), "kind is one of explain, predict, compare"),
        (("{m}", "{k}"), "{k} is neither drawn nor worked out"),
        (("Why {n}", "Why {m}"), "{m} is worked out: only graders may see it"),
        (('"n + 1"', '"n + p"'), "name 'p' is not defined"),
        (('"n + 1"', "\"__import__('os')\""), "name '__import__' is not defined"),
        (("[1, 2]", "[1]"), "two values or more"),
        (("points = 3", "points = 0"), "at least one point"),
        ((', none = "n"', ""), "samples are full, half, none"),
        (('"mine"', '"My own"'), "a name has small letters"),
        (("ask =", "asks ="), "asks is no field of a question"),
        (("[[question]]", "[[question]"), "cannot be read"),
    ],
)
def test_a_wrong_question_is_one_sentence(tmp_path, change, says):
    (tmp_path / "05.toml").write_text(QUESTION.replace(*change))
    with pytest.raises(CourseError, match="05.toml") as error:
        read_written(find_lesson("05"), tmp_path)
    assert says in str(error.value)


def test_graders_page_has_everything():
    lesson = find_lesson("05")
    page = as_page(lesson, read_written(lesson))
    assert "tables + blocks + norm" in page and "for graders only" in page

"""Which mistake it is: named where everything agrees, and never falsely. What is then said."""

import pytest

from grader.bank import solution_of
from grader.judge.answers import (
    CHANCE,
    PUBLIC_SEED,
    answers_as_bytes,
    read_answers,
    same_sketch,
    sketch,
    write_answers,
)
from grader.judge.backends import InThisProcess
from grader.judge.naming import name_mistake, recognise, sketches
from grader.judge.paths import judged_path
from grader.judge.report import failure_block, next_line, points_line
from grader.judge.runner import Target, load_checks, record
from grader.syllabus import find_lesson, read_syllabus
from grader.tests.tiny_lesson import (
    CHECKS,
    LESSON,
    RIGHT,
    fingerprint,
    judged,
    place,
    recorded,
    with_double,
    without,
)

MISTAKES = {
    "thrice": ("It is three times x.", with_double("return 3 * x")),
    "once": ("It is x itself.", with_double("return x")),
    "squared": ("It is x squared.", with_double("return x * x")),
    "a_half": ("It is half of x.", with_double("return x / 2")),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    return recorded(tmp_path_factory.mktemp("answers"), MISTAKES)


def named(folder, source, answers) -> str:
    target = place(folder / "own", source)
    return name_mistake("double", CHECKS, target, answers).get("name", "")


@pytest.mark.parametrize("name", MISTAKES)
def test_a_known_mistake_is_named(name, answers, tmp_path):
    assert named(tmp_path, MISTAKES[name][1], answers) == name


@pytest.mark.parametrize("name", MISTAKES)
def test_without_its_record_a_mistake_has_no_name(name, answers, tmp_path):
    whole = fingerprint(tmp_path, MISTAKES[name][1])
    assert recognise(whole, answers)["name"] == name
    assert recognise(whole, without(answers, name)) == {}
    for step in ("double", "names", "Scale.forward"):
        part = {each.name: whole[each.name] for each in CHECKS if each.step == step}
        assert recognise(part, without(answers, name)) == {}


def test_the_same_mistake_in_other_words_is_the_same(answers, tmp_path):
    written_otherwise = with_double("y = torch.zeros_like(x)\nfor _ in range(3): y += x\nreturn y")
    assert named(tmp_path, written_otherwise, answers) == "thrice"


@pytest.mark.parametrize(
    "body",
    [
        "return 2 * x",  # right
        "return 3.001 * x",  # near a known one
        "return 3 * x if x.dim() == 2 else 2 * x",  # known, but not everywhere
        "return 3 * x.double()",
        "raise ValueError('a crash says little')",
        "raise NotImplementedError('lesson 03: double')",
        "return None",
    ],
)
def test_what_is_not_known_has_no_name(body, answers, tmp_path):
    assert named(tmp_path, with_double(body), answers) == ""


def test_two_names_for_the_same_answers_are_none(tmp_path):
    twin = {"tripled": ("Something else.", MISTAKES["thrice"][1])}
    both = recorded(tmp_path, {**MISTAKES, **twin})
    assert named(tmp_path, MISTAKES["thrice"][1], both) == ""
    same = {"tripled": MISTAKES["thrice"]}
    one = recorded(tmp_path, {**MISTAKES, **same})
    assert named(tmp_path, MISTAKES["thrice"][1], one) in ("thrice", "tripled")


def test_a_later_step_that_is_not_written_does_not_hide_a_name(answers, tmp_path):
    unwritten = "        raise NotImplementedError('lesson 03: Scale.forward')\n"
    source = MISTAKES["once"][1].replace("        return double(x) * self.factor / 2\n", unwritten)
    assert named(tmp_path, source, answers) == "once"


def test_answers_survive_the_file(answers, tmp_path, monkeypatch):
    monkeypatch.setattr("grader.judge.answers.FOLDER", tmp_path)
    write_answers("03", answers)
    assert answers_as_bytes(read_answers("03")) == answers_as_bytes(answers)
    assert read_answers("04").reference == {}
    (tmp_path / "03.safetensors").write_bytes(b"damaged")
    with pytest.raises(Exception, match=r"grader/answers/03.safetensors is damaged"):
        read_answers("03")


@pytest.mark.parametrize(
    ("a", "b"),
    [(1, 1.0), (1, True), ([1], (1,)), ([1, 2], [1]), ("a" * 90, "a" * 91), ({1: 2}, {1: 3})],
)
def test_sketches_tell_apart(a, b):
    assert same_sketch(sketch(a), sketch(a))
    assert not same_sketch(sketch(a), sketch(b))


def test_what_hangs_on_chance_is_told_from_what_does_not(tmp_path):
    each = CHECKS[1]
    for source, same in ((RIGHT, True), (with_double("return torch.rand(x.shape)"), False)):
        target = place(tmp_path / "own", source)
        first, again, other = (
            sketches(record(each, target, PUBLIC_SEED, chance=chance)) for chance in (1, 1, 2)
        )
        assert same_sketch(first, again)
        assert same_sketch(first, other) is same
    assert same_sketch([CHANCE, 1], [{"tensor": "2x3"}, 1])
    assert not same_sketch([CHANCE, 1], [{"tensor": "2x3"}, 2])


# lesson 03, as it is


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("divided_by_d", "/ math.sqrt(q.shape[-1])", "* (1 / q.shape[-1])"),
        ("softmax_over_queries", "softmax(scores, dim=-1)", "scores.softmax(dim=scores.dim() - 2)"),
        ("masked_scores_zero", "scores.masked_fill(~mask, -torch.inf)", "scores * mask"),
    ],
)
def test_a_learners_own_way_of_a_known_mistake(name, old, new, tmp_path):
    lesson = find_lesson("03")
    solution = solution_of(lesson)
    assert solution.count(old) == 1
    (tmp_path / "attention.py").write_text(solution.replace(old, new), encoding="utf-8")
    target = Target(lesson, judged_path("03", home=tmp_path), InThisProcess())
    step = "scaled_dot_product_attention"
    found = name_mistake(step, load_checks(lesson), target, read_answers("03"))
    assert found.get("name") == name


def test_a_slip_in_an_earlier_step_is_not_called_a_mistake_of_this_one(tmp_path):
    not_halved = RIGHT.replace("* self.factor / 2", "* self.factor")
    answers = recorded(tmp_path, {"not_halved": ("It is not halved.", not_halved)})
    target = place(tmp_path / "own", not_halved)
    assert name_mistake("Scale.forward", CHECKS, target, answers)["name"] == "not_halved"
    target = place(tmp_path / "own", with_double("return 4 * x"))  # the layer gives the same
    assert name_mistake("Scale.forward", CHECKS, target, answers) == {}


def test_what_two_explanations_share_is_named(tmp_path):
    thrice = MISTAKES["thrice"][1]
    both = thrice.replace('f"a{i}"', 'f"b{i}"')  # seen in a later step only
    known = {"thrice": MISTAKES["thrice"], "thrice+named_b": ("It is both.", both)}
    answers = recorded(tmp_path, known)
    assert named(tmp_path, thrice, answers) == "thrice"
    other = recorded(tmp_path, {"thrice": known["thrice"], "cubed+named_b": ("It is both.", both)})
    assert named(tmp_path, thrice, other) == ""  # either could be it


# what is said


def test_a_failure_is_told_in_layers(answers, tmp_path):
    result = judged(tmp_path, with_double("print('here')\nreturn 3 * x"))
    result.mistake = name_mistake("double", CHECKS, place(tmp_path / "own", None), answers)
    first = failure_block(result.as_dict(), LESSON, 1).splitlines()
    assert first[0] == "not right yet: the double"
    assert first[1].startswith("  12 of 12 numbers differ; first at [0, 0]: yours ")
    assert first[2:] == [
        "  yours is the right answer times 1.5 (1 / 0.66667)",
        "  ? ?",  # the mistake's own question, not the check's
        "  your code printed:",
        "  | here",
        "  tiny.py:6  (double)",
        "  What it is: python -m grader hint 03 --name, or run this check again.",
    ]
    second = failure_block(result.as_dict(), LESSON, 2)
    assert "  ! It is three times x.\n    Look at there.\n" in second
    assert "hint 03 --name" not in second


def test_long_lines_that_were_printed_are_cut(tmp_path):
    result = judged(tmp_path, with_double("for i in range(50): print('a' * 3000)"))
    block = failure_block(result.as_dict(), LESSON).splitlines()
    assert len(block) < 15
    assert max(map(len, block)) < 200


def results(**verdicts: str) -> list[dict]:
    """Return results of the tiny lesson's checks, "passed" where nothing else is said."""
    return [
        {
            **{"check": each.name, "step": each.step, "points": each.points},
            **{"kind": LESSON.step(each.step).kind, "verdict": verdicts.get(each.name, "passed")},
            **{"where": "tiny.py:6", "symptom": "a sentence"},
        }
        for each in CHECKS
    ]


@pytest.mark.parametrize(
    ("open_checks", "points", "line"),
    [
        ({}, 6, "finished. next: lesson 04, Blocks (lessons/04/README.md)"),
        ({"test_double": "failed"}, 4, "next: mend double (tiny.py:6); python -m grader hint 03"),
        ({"test_double": "not written"}, 4, "next: write double (tiny.py:6)"),
        ({"test_scale": "blocked"}, 4, "next: a sentence"),
        ({"test_names": "not written"}, 5, "core finished. next: lesson 04, Blocks"),
        ({"test_names": "failed"}, 5, "next: mend names"),
    ],
)
def test_points_and_what_comes_next(open_checks, points, line):
    here = results(**open_checks)
    assert points_line(LESSON, here).startswith(f"lesson 03: {points}/6 points (core ")
    assert next_line(LESSON, here, read_syllabus()).startswith(line)


def test_some_checks_are_not_all():
    line = next_line(LESSON, results()[:2], read_syllabus())
    assert line == "these checks pass; pytest lessons/03 runs them all"

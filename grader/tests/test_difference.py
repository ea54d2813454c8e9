"""What a learner reads about two answers that differ, and gradients of anything."""

import math

import pytest
import torch

from grader.checks import grad
from grader.judge.difference import compare, deviation
from grader.judge.expecting import Expect
from grader.judge.gradients import NoGradientError, probe
from grader.judge.verdicts import WrongError

A = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, -6.0, 7.0, 8.0], [9.0, 1.0, 2.0, -3.0]])
SQUARE = A[:, :3]
NAN = float("nan")

SAME = [
    *((A, A.clone()), (A, A * (1 + 1e-7)), (torch.zeros(0, 3), torch.zeros(0, 3))),
    (torch.tensor([math.inf, NAN]), torch.tensor([math.inf, NAN])),
    *((1e300, 1e300), (1, 1.0 + 1e-9), (NAN, NAN), (3, 3), ("a", "a"), (b"a", b"a"), (None, None)),
    *(([1, (2.0, "b")], [1, (2.0, "b")]), ({"a": A}, {"a": A}), ({1, 2}, {2, 1}), (True, True)),
]
DIFFERENT = {
    "your shape is (2, 3, 4), the right one (3, 4)": (torch.ones(2, 3, 4), A),
    "your shape is (4, 3), the right one (3, 4) (the same sizes in another order)": (A.T, A),
    "your shape is (12,), the right one (3, 4) (as many numbers, in other dimensions)": (
        A.flatten(),
        A,
    ),
    "your dtype is float64, the right one float32": (A.double(), A),
    "12 of 12 numbers differ; first at [0, 0]: yours 2, right 1": (2 * A, A),
    "1 of 12 numbers differ; first at [2, 3]: yours 3, right -3": (
        torch.where(A == -3, 3.0, A),
        A,
    ),
    "yours is the right answer times 0.5 (1 / 2)": (A / 2, A),
    "yours is the right answer plus 3 everywhere": (A + 3, A),
    "yours is right but for its sign": (-A, A),
    "yours is right with dimensions 0 and 1 swapped": (SQUARE.T, SQUARE),
    "yours is right, but shifted by one along dimension 1": (A.roll(1, 1), A),
    "the numbers are right, but in another order": (A.flip(0, 1), A),
    "yours is all zeros": (A * 0, A),
    "yours has nan (1 of 12 numbers)": (torch.where(A == -3, NAN, A), A),
    "yours has nan (all of 12 numbers)": (A * NAN, A),
    "yours has inf where the right numbers are finite": (A / 0, A),
    "only index 1 of dimension 0 is wrong": (A * torch.tensor([[1.0], [2.0], [1.0]]), A),
    "nearly right: off by 2e-05 of the largest number": (A * 1.00002, A),
    "yours 2, right 1": (2.0, 1.0),
    "a list came back, a tensor is wanted": (A.tolist(), A),
    "None (is the `return` missing?) came back, a tensor is wanted": (None, A),
    "a tensor came back where a plain number is wanted": (torch.tensor(1.0), 1.0),
    "a tuple came back, a list is wanted": ((1, 2), [1, 2]),
    "a float came back, an int is wanted": (1.0, 1),
    "True or False came back, an int is wanted": (True, 1),
    "at [1]: yours 'b', right 'c'": (["a", "b"], ["a", "c"]),
    "yours has 1 items, the right one 2": (["a"], ["a", "b"]),
    "'b' is missing in yours": ({"a": 1}, {"a": 1, "b": 2}),
    "'c' should not be in yours": ({"a": 1, "c": 2}, {"a": 1}),
    "at ['a'][0]: 12 of 12 numbers differ": ({"a": (2 * A,)}, {"a": (A,)}),
    "yours {1}, right {2}": ({1}, {2}),
}


@pytest.mark.parametrize(("mine", "right"), SAME, ids=range(len(SAME)))
def test_what_is_the_same_differs_in_nothing(mine, right):
    assert compare(mine, right, 1e-5) is None


@pytest.mark.parametrize("sentence", DIFFERENT)
def test_what_differs_is_told_in_words(sentence):
    difference = compare(*DIFFERENT[sentence], 1e-5)
    assert difference
    assert sentence in difference.text
    assert difference.size > 1e-5


def test_the_tolerance_is_relative_to_the_largest_right_number():
    right = torch.tensor([1000.0, 0.001])
    assert deviation(right + torch.tensor([0.0, 0.005]), right) == pytest.approx(5e-6, rel=0.01)
    assert compare(right + torch.tensor([0.0, 0.005]), right, 1e-5) is None
    assert compare(right + torch.tensor([0.0, 0.02]), right, 1e-5)
    assert deviation(torch.tensor([1.0]), torch.tensor([math.inf])) == math.inf
    assert deviation(torch.tensor([math.inf]), torch.tensor([1.0])) == math.inf


def test_numbers_that_look_alike_are_shown_with_more_digits():
    difference = compare(torch.tensor([3.0000002]), torch.tensor([3.0]), 1e-9)
    assert "yours 3.00000024, right 3" in difference.text


def test_long_answers_are_cut():
    difference = compare(list(range(1000)), list(range(1, 1001)), 0.0)
    assert len(difference.text) < 500


# gradients


def test_gradients_are_torchs():
    x, y = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    found = grad(lambda x, n, y=None: (x * y * n, "rest"), x, 2, y=y)
    weights = probe(torch.ones(2))
    assert found["arguments"][0].allclose(weights * y * 2)
    assert found["arguments"][1] is None
    assert x.grad is None
    assert len(set(probe(torch.ones(50)).tolist())) == 50
    layer = torch.nn.Linear(2, 1)
    found = grad(layer, x)
    assert set(found["parameters"]) == {"weight", "bias"}
    assert found["parameters"]["weight"].allclose(probe(torch.ones(1)) * x)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda x: x.detach(), "without a gradient"),
        (lambda x: torch.tensor(x.tolist()), "without a gradient"),
        (lambda x: None, "no tensor"),
        (lambda x: [1, {"a": 2}], "no tensor"),
    ],
)
def test_where_no_gradient_can_come_from(function, sentence):
    with pytest.raises(NoGradientError, match=sentence):
        grad(function, torch.ones(2))


# expect


def test_expect_compares_writes_down_and_measures():
    expect = Expect([{}, {"answer": 5.0}])
    expect(1.0, 1.0 + 2e-6)
    expect(5.0)
    assert expect.entries == [{"value": 1.0}, {"answer": 5.0}]
    assert expect.margin == pytest.approx(0.2, rel=0.01)
    with pytest.raises(WrongError) as error:
        expect(1.0, 2.0, of="the mean", ask="Over what?")
    assert (error.value.symptom, error.value.ask) == ("not right yet: the mean", "Over what?")
    assert error.value.size == pytest.approx(0.5 / 1e-5)
    with pytest.raises(WrongError, match="too many"):
        expect.true(False, "too many")


def test_while_recording_nothing_is_compared():
    expect = Expect(None)
    expect(1, 2)
    expect(3)
    expect.true(False, "wrong")
    with expect.raises(ValueError, "for nothing"):
        pass
    expect.complain("a sentence")
    assert expect.entries == [
        *({"value": 1}, {"answer": 3}, {"value": False}, {"raised": None}),
        {"notice": "a sentence"},
    ]

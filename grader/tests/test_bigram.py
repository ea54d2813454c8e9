"""Lesson 00, judged by torch's own functions, plain loops and closed forms."""

import math
import os
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from solutions.bigram import (
    alphabet_of,
    babble,
    babble_text,
    bar_chart,
    bigram_counts,
    bigram_logits,
    cross_entropy,
    cross_entropy_gradient,
    gradient_step,
    softmax,
    to_ids,
    to_text,
)

FALSE_ALARM = 1e-6  # how often a right sampler fails one chi-square test; seeds are fixed besides
DATA = Path(os.environ.get("COURSE_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))


def chi_square_p_value(observed: torch.Tensor, probabilities: torch.Tensor) -> float:
    """The chance that a right sampler strays at least as far: Q(df/2, statistic/2), exactly."""
    expected = probabilities.double() * observed.sum()
    assert expected.min() >= 5, "too few draws for the chi-square approximation"
    statistic = ((observed - expected) ** 2 / expected).sum()
    half_freedom = torch.tensor((len(observed) - 1) / 2, dtype=torch.float64)
    return float(torch.special.gammaincc(half_freedom, statistic / 2))


def random_text_ids(length: int = 400, vocab_size: int = 7, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.tensor([9.0, 1.0, 4.0, 2.0, 0.0, 6.0, 3.0])[:vocab_size]  # token 4 never occurs
    return torch.multinomial(weights, length, replacement=True, generator=generator)


# softmax


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 5), (2, 1, 3, 4)])
def test_softmax_equals_torch_along_every_dimension(shape):
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 5
    for dim in range(-len(shape), len(shape)):
        torch.testing.assert_close(softmax(logits, dim), torch.softmax(logits, dim))
    torch.testing.assert_close(softmax(logits), torch.softmax(logits, -1))


@pytest.mark.parametrize("scale", [1e4, -1e4, 1e30])
def test_softmax_is_stable(scale):
    logits = torch.tensor([[0.0, 1.0, 2.0], [3.0, 3.0, -1.0]]) + scale
    logits[0, 0] += scale
    result = softmax(logits)
    assert result.isfinite().all()
    torch.testing.assert_close(result, torch.softmax(logits, -1))


def test_softmax_takes_each_rows_own_largest():
    # one maximum for the whole tensor would turn the first row into 0 / 0
    logits = torch.tensor([[-1000.0, -1001.0], [1000.0, 999.0]])
    torch.testing.assert_close(softmax(logits), torch.softmax(logits, -1))


def test_softmax_gives_minus_infinity_no_probability():
    logits = torch.tensor([[0.5, -math.inf, 1.5], [-math.inf, 7.0, -math.inf]])
    result = softmax(logits)
    torch.testing.assert_close(result, torch.softmax(logits, -1))
    assert result[0, 1] == 0
    assert result[1].tolist() == [0, 1, 0]


def test_softmax_keeps_input_and_passes_gradients():
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    before = logits.detach().clone()
    assert torch.autograd.gradcheck(softmax, (logits,))
    assert torch.equal(logits, before)


# cross_entropy


def test_cross_entropy_equals_torch():
    generator = torch.Generator().manual_seed(2)
    for rows, vocab_size in [(1, 2), (6, 5), (50, 300)]:
        logits = torch.randn(rows, vocab_size, generator=generator) * 3
        targets = torch.randint(vocab_size, (rows,), generator=generator)
        before = logits.clone()
        result = cross_entropy(logits, targets)
        assert result.shape == ()
        torch.testing.assert_close(result, F.cross_entropy(logits, targets))
        assert torch.equal(logits, before)


def test_cross_entropy_of_knowing_nothing_is_log_v():
    assert cross_entropy(torch.zeros(4, 65), torch.arange(4)).item() == pytest.approx(math.log(65))


def test_cross_entropy_is_stable():
    logits = torch.tensor([[1e4, 0.0, -1e4], [-1e4, -1e4, -1e4 + 1], [0.0, -math.inf, 1.0]])
    for targets in ([0, 2, 0], [1, 0, 2], [2, 1, 2]):
        targets = torch.tensor(targets)
        result = cross_entropy(logits, targets)
        assert result.isfinite()
        torch.testing.assert_close(result, F.cross_entropy(logits, targets))


def test_cross_entropy_gradient_through_autograd():
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(5, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0, 6, 3, 3, 1])
    assert torch.autograd.gradcheck(cross_entropy, (logits, targets))
    for scale in (1.0, 1e4):
        ours = (logits.detach() * scale).requires_grad_()
        theirs = ours.detach().clone().requires_grad_()
        cross_entropy(ours, targets).backward()
        F.cross_entropy(theirs, targets).backward()
        torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("shapes", [((3, 4), (2,)), ((3, 4), (1,)), ((3, 4), (3, 1)), ((4,), (4,))])
def test_cross_entropy_refuses_shapes_that_do_not_fit(shapes):
    logits_shape, targets_shape = shapes
    with pytest.raises(ValueError, match=r"logits must be \(N, V\) and targets \(N,\)"):
        cross_entropy(torch.zeros(logits_shape), torch.zeros(targets_shape, dtype=torch.long))


@pytest.mark.parametrize("target", [-1, 4])
def test_cross_entropy_does_not_score_a_target_outside_the_vocabulary(target):
    with pytest.raises((RuntimeError, IndexError)):
        cross_entropy(torch.zeros(2, 4), torch.tensor([0, target]))


def test_cross_entropy_keeps_at_most_one_big_tensor_for_the_backward_pass():
    logits = torch.randn(64, 5000, requires_grad=True)
    saved = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() != logits.untyped_storage().data_ptr():
            saved[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = cross_entropy(logits, torch.arange(64))
    assert sum(saved.values()) < 1.1 * logits.numel()
    loss.backward()


# bigram_counts, bigram_logits


def test_counts_equal_a_plain_loop():
    ids = random_text_ids()
    loop = Counter(zip(ids[:-1].tolist(), ids[1:].tolist(), strict=True))
    counts = bigram_counts(ids, 7)
    assert counts.dtype == torch.int64
    assert counts.shape == (7, 7)
    for a in range(7):
        for b in range(7):
            assert counts[a, b] == loop[a, b]
    assert not torch.equal(counts, counts.T)


def test_counts_of_short_texts_and_of_a_vocabulary_wider_than_the_text():
    for ids in ([], [3]):
        assert bigram_counts(torch.tensor(ids, dtype=torch.long), 5).tolist() == [[0] * 5] * 5
    counts = bigram_counts(torch.tensor([0, 1]), 9)
    assert counts.shape == (9, 9)
    assert counts.sum() == 1
    assert counts[0, 1] == 1


@pytest.mark.parametrize("ids", [[0, 5, 1], [0, -1, 1], [5]])
def test_counts_refuse_ids_outside_the_vocabulary(ids):
    with pytest.raises(ValueError, match="vocab_size = 5"):
        bigram_counts(torch.tensor(ids), 5)


@pytest.mark.parametrize("smoothing", [1.0, 0.25, 1])
def test_logits_are_log_probabilities_of_smoothed_counts(smoothing):
    counts = bigram_counts(random_text_ids(), 7)
    before = counts.clone()
    logits = bigram_logits(counts, smoothing)
    for a in range(7):
        total = sum(int(c) + smoothing for c in counts[a])
        expected = [math.log((int(c) + smoothing) / total) for c in counts[a]]
        torch.testing.assert_close(logits[a], torch.tensor(expected))
    torch.testing.assert_close(torch.log(softmax(logits)), logits)
    torch.testing.assert_close(logits[4], torch.full((7,), -math.log(7)))  # a row never seen
    assert torch.equal(counts, before)


def test_logits_without_smoothing():
    logits = bigram_logits(torch.tensor([[0, 3], [1, 1]]), smoothing=0)
    torch.testing.assert_close(logits.exp(), torch.tensor([[0.0, 1.0], [0.5, 0.5]]))
    with pytest.raises(ValueError, match="smoothing above 0"):
        bigram_logits(torch.tensor([[0, 3], [0, 0]]), smoothing=0)
    with pytest.raises(ValueError, match="at least 0"):
        bigram_logits(torch.tensor([[0, 3], [1, 1]]), smoothing=-0.5)


def test_counting_is_the_best_table_there_is():
    ids = random_text_ids(vocab_size=4)
    counted = bigram_logits(bigram_counts(ids, 4), smoothing=0)
    best = cross_entropy(counted[ids[:-1]], ids[1:])
    generator = torch.Generator().manual_seed(4)
    for _ in range(20):
        other = counted + 0.1 * torch.randn(4, 4, generator=generator)
        assert cross_entropy(other[ids[:-1]], ids[1:]) > best


# gradient_step


def test_gradient_step_equals_torch_sgd():
    ids = random_text_ids()
    start = torch.randn(7, 7, generator=torch.Generator().manual_seed(5))
    parameter = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.SGD([parameter], lr=0.7)
    table = start
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(parameter[ids[:-1]], ids[1:]).backward()
        optimizer.step()
        table = gradient_step(table, ids[:-1], ids[1:], learning_rate=0.7)
        torch.testing.assert_close(table, parameter.detach())
        assert not table.requires_grad
        assert table.grad is None


@pytest.mark.parametrize("tracked", [False, True])
def test_gradient_step_leaves_its_inputs_alone(tracked):
    table = torch.randn(5, 5, requires_grad=tracked)
    inputs, targets = torch.tensor([0, 3, 3, 1]), torch.tensor([2, 4, 0, 0])
    before = table.detach().clone()
    new = gradient_step(table, inputs, targets, 1.0)
    assert torch.equal(table, before)
    assert table.grad is None
    assert table.requires_grad == tracked
    assert inputs.tolist() == [0, 3, 3, 1]
    assert targets.tolist() == [2, 4, 0, 0]
    assert not torch.equal(new, before)
    assert torch.equal(new[2], before[2])
    assert torch.equal(new[4], before[4])
    new += 1.0
    assert torch.equal(table, before)


def test_gradient_descent_arrives_where_counting_does():
    ids = random_text_ids(vocab_size=3)
    counted = bigram_logits(bigram_counts(ids, 3), smoothing=0)
    table = torch.zeros(3, 3)
    losses = []
    for _ in range(300):
        losses.append(cross_entropy(table[ids[:-1]], ids[1:]).item())
        table = gradient_step(table, ids[:-1], ids[1:], learning_rate=4.0)
    assert losses[0] == pytest.approx(math.log(3))
    assert all(later <= earlier + 1e-6 for earlier, later in pairwise(losses))
    torch.testing.assert_close(softmax(table), softmax(counted), atol=2e-3, rtol=0)


# babble and the given helpers


def test_babble_draws_each_token_from_the_row_of_the_one_before():
    """Chi-square over all transitions out of each token; false alarm 1e-6 in each of 4 tests."""
    generator = torch.Generator().manual_seed(6)
    logits = torch.randn(4, 4, generator=generator)
    ids = babble(logits, start=2, length=8000, generator=generator)
    counts = bigram_counts(torch.tensor(ids), 4)
    for a in range(4):
        assert chi_square_p_value(counts[a], torch.softmax(logits[a], -1)) > FALSE_ALARM


def test_babble_length_start_and_seed():
    logits = torch.randn(6, 6, generator=torch.Generator().manual_seed(7))

    def babble_with(seed: int) -> list[int]:
        return babble(logits, 5, 40, torch.Generator().manual_seed(seed))

    ids = babble_with(1)
    assert len(ids) == 40
    assert ids[0] == 5
    assert all(type(i) is int and 0 <= i < 6 for i in ids)
    assert babble_with(1) == ids != babble_with(2)
    assert babble(logits, 3, 1) == [3]
    with pytest.raises(ValueError, match="at least 1"):
        babble(logits, 3, 0)


def test_babble_never_takes_a_way_of_probability_zero():
    ring = torch.full((4, 4), -math.inf)
    for a, b in [(0, 2), (2, 1), (1, 3), (3, 0)]:
        ring[a, b] = 1e4
    assert babble(ring, 0, 9) == [0, 2, 1, 3, 0, 2, 1, 3, 0]


def test_text_to_ids_and_back():
    text = "Zoë said: 你好 🙂\nZoë said"
    alphabet = alphabet_of(text)
    ids = to_ids(text, alphabet)
    assert ids.dtype == torch.long
    assert ids.shape == (len(text),)
    assert to_text(ids, alphabet) == text == to_text(ids.tolist(), alphabet)
    with pytest.raises(ValueError, match="'q' is not in the alphabet"):
        to_ids("queen", "abc")


def test_bar_chart_is_as_long_as_the_probability():
    chart = bar_chart(torch.tensor([0.5, 0.25, 0.25]), "a\n ", width=40).splitlines()
    assert [line.count("#") for line in chart] == [20, 10, 10]
    assert "'a'" in chart[0]
    assert r"'\n'" in chart[1]


def test_babble_text_writes_in_the_manner_of_the_text():
    text = "the cat sat on the mat. " * 50
    babbled = babble_text(text, length=300, seed=3)
    assert len(babbled) == 300
    assert babbled[0] == "t"
    assert set(babbled) <= set(text)
    seen = {text[i : i + 2] for i in range(len(text) - 1)}
    share = sum(babbled[i : i + 2] in seen for i in range(299)) / 299
    assert share > 0.9
    assert babble_text(text, 300, seed=3) == babbled != babble_text(text, 300, seed=4)
    assert babble_text("x", 5) == "xxxxx"
    with pytest.raises(ValueError, match="empty"):
        babble_text("")


def test_real_text_is_far_less_surprising_than_chance():
    path = DATA / "tinystories-valid.txt"
    if not path.is_file():
        pytest.skip("needs tinystories-valid.txt in COURSE_DATA")
    text = path.read_text(encoding="utf-8")[:200_000]
    alphabet = alphabet_of(text)
    ids = to_ids(text, alphabet)
    logits = bigram_logits(bigram_counts(ids, len(alphabet)))
    loss = cross_entropy(logits[ids[:-1]], ids[1:]).item()
    # English letter pairs: about 3.5 bits a character (Shannon 1951 gives 3.56 for 26 letters)
    assert 3.0 < loss / math.log(2) < 4.0


# stretch


def test_gradient_by_hand_equals_autograd():
    generator = torch.Generator().manual_seed(8)
    for scale in (1.0, 100.0):
        logits = (torch.randn(6, 5, generator=generator) * scale).requires_grad_()
        targets = torch.tensor([4, 0, 0, 2, 1, 4])
        F.cross_entropy(logits, targets).backward()
        before = logits.detach().clone()
        by_hand = cross_entropy_gradient(logits, targets)
        torch.testing.assert_close(by_hand, logits.grad)
        torch.testing.assert_close(by_hand.sum(dim=1), torch.zeros(6))
        assert torch.equal(logits.detach(), before)
        assert not by_hand.requires_grad

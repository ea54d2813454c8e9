"""Lesson 10, judged by torch's cross_entropy in plain loops, closed forms and a transformers GPT2."""

import math
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from solutions.perplexity import (
    bits_per_byte,
    bits_per_character,
    calibration_curve,
    evaluating,
    expected_calibration_error,
    next_token_accuracy,
    perplexity,
    score,
    strided_windows,
    top_predictions,
)

PLANS = [(2, 4, 4), (5, 4, 4), (6, 4, 4), (9, 4, 4), (10, 4, 4), (11, 4, 1), (12, 4, 3)]
PLANS += [(23, 7, 2), (23, 7, 7), (3, 8, 8), (8, 8, 1), (9, 1, 1), (30, 5, 4)]


class Remembering(nn.Module):
    """A toy whose logits depend on everything it has read, and on being in training mode or not."""

    def __init__(self, vocab_size: int = 11, block_size: int = 8):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weight = nn.Parameter(torch.randn(vocab_size, vocab_size, generator=generator))
        self.dropout = nn.Dropout(0.5)
        self.frozen = nn.Dropout(0.5)
        self.block_size = block_size
        self.lengths: list[int] = []

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, None]:
        assert ids.shape[1] <= self.block_size, "read more than a block"
        self.lengths.append(ids.shape[1])
        rows = self.dropout(self.frozen(self.weight[ids]))  # (B, T, V)
        fading = 0.7 ** torch.arange(ids.shape[1]).view(1, -1, 1)
        return (rows * fading.flip(1)).cumsum(1) / fading.flip(1), None


class Fixed(nn.Module):
    """A toy that answers with the row of a table that belongs to the last token."""

    def __init__(self, table: torch.Tensor):
        super().__init__()
        self.table = nn.Parameter(table)

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, None]:
        return self.table[ids], None


def text_of(length: int, vocab_size: int = 11, seed: int = 2) -> torch.Tensor:
    return torch.randint(vocab_size, (length,), generator=torch.Generator().manual_seed(seed))


def plain_loop(model: nn.Module, ids: torch.Tensor, block_size: int, stride: int) -> list:
    """(logits, target) of each token: one call a token, with the context that its window gives it."""
    answers = []
    model.eval()
    with torch.no_grad():
        for target in range(1, len(ids)):
            # the first window that reaches this token: begins at the smallest multiple of stride
            begin = 0
            while begin + block_size < target:
                begin += stride
            answers.append((model(ids[None, begin:target])[0][0, -1], ids[target]))
    model.train()
    return answers


# windows


@pytest.mark.parametrize(("n_tokens", "block_size", "stride"), PLANS)
def test_each_token_after_the_first_is_scored_once(n_tokens, block_size, stride):
    scored: Counter[int] = Counter()
    windows = strided_windows(n_tokens, block_size, stride)
    for number, (begin, end, first) in enumerate(windows):
        assert begin == number * stride
        assert 1 <= end - begin <= block_size
        assert begin < first <= end < n_tokens
        if first > block_size:  # enough text before it: no token sees less than the overlap
            assert first - begin > block_size - stride
        scored.update(range(first, end + 1))
    assert scored == Counter(range(1, n_tokens))


def test_the_windows_of_the_picture():
    assert strided_windows(8, block_size=4, stride=2) == [(0, 4, 1), (2, 6, 5), (4, 7, 7)]
    assert strided_windows(9, block_size=4, stride=4) == [(0, 4, 1), (4, 8, 5)]
    assert strided_windows(3, block_size=4, stride=4) == [(0, 2, 1)]


@pytest.mark.parametrize("stride", [0, -1, 5])
def test_strides_out_of_bounds_are_refused(stride):
    with pytest.raises(ValueError, match=f"between 1 and block_size = 4, not {stride}"):
        score(Fixed(torch.zeros(3, 3)), text_of(4, 3), 4, stride)


def test_blocks_and_texts_that_are_too_small_are_refused():
    with pytest.raises(ValueError, match="block_size must be at least 1"):
        strided_windows(9, 0, 0)
    for length in (0, 1):
        for measure in (score, perplexity, next_token_accuracy):
            with pytest.raises(ValueError, match=f"at least 2 tokens .* not {length}"):
                measure(Fixed(torch.zeros(3, 3)), text_of(length, 3), 4, 2)
    with pytest.raises(ValueError, match="one text"):
        score(Fixed(torch.zeros(3, 3)), text_of(4, 3).view(2, 2), 4, 2)


# score, perplexity, accuracy


@pytest.mark.parametrize(("n_tokens", "block_size", "stride"), PLANS)
def test_measures_equal_a_plain_loop(n_tokens, block_size, stride):
    model, ids = Remembering(block_size=block_size), text_of(n_tokens)
    answers = plain_loop(model, ids, block_size, stride)
    nats = [F.cross_entropy(logits, target).item() for logits, target in answers]
    hits = [int(logits.argmax() == target) for logits, target in answers]

    total, n_scored = score(model, ids, block_size, stride)
    assert n_scored == n_tokens - 1
    assert type(n_scored) is int
    assert type(total) is float
    assert total == pytest.approx(sum(nats), rel=1e-5)
    mean = sum(nats) / len(nats)
    assert perplexity(model, ids, block_size, stride) == pytest.approx(math.exp(mean), rel=1e-5)
    accuracy = next_token_accuracy(model, ids, block_size, stride)
    assert accuracy == pytest.approx(sum(hits) / len(hits))


def test_the_mean_is_over_tokens_not_over_windows():
    # four easy tokens in the first window, one hard one in the ragged last
    table = torch.zeros(2, 2)
    table[0, 0] = 5.0
    model, ids = Fixed(table), torch.tensor([0, 0, 0, 0, 0, 1])
    easy, hard = math.log(1 + math.exp(-5)), 5 + math.log(1 + math.exp(-5))
    expected = math.exp((4 * easy + hard) / 5)
    assert perplexity(model, ids, 4, 4) == pytest.approx(expected, rel=1e-6)


def test_perplexity_of_knowing_nothing_is_the_vocabulary():
    assert perplexity(Fixed(torch.zeros(37, 37)), text_of(50, 37), 8, 3) == pytest.approx(37)


def test_perplexity_of_knowing_everything_is_one_and_of_certain_error_infinite():
    ring = torch.full((3, 3), -1e4)
    for a in range(3):
        ring[a, (a + 1) % 3] = 1e4
    right, wrong = torch.tensor([0, 1, 2, 0, 1]), torch.tensor([0, 2, 1, 0])
    assert perplexity(Fixed(ring), right, 2, 2) == 1.0
    assert perplexity(Fixed(ring), wrong, 2, 2) == math.inf
    assert next_token_accuracy(Fixed(ring), right, 2, 2) == 1.0
    assert next_token_accuracy(Fixed(ring), wrong, 2, 2) == 0.0


def test_accuracy_counts_the_lowest_id_among_equals():
    model = Fixed(torch.tensor([[0.0, 2.0, 2.0], [1.0, 1.0, 1.0], [-1.0, -5.0, -1.0]]))
    ids = torch.tensor(
        [0, 1, 0, 2, 0, 2, 1, 1]
    )  # hits: 0->1, 1->0, 2->0; the highest ids: 0->2 twice
    assert next_token_accuracy(model, ids, 3, 2) == pytest.approx(3 / 7)


def test_a_smaller_stride_gives_more_context():
    model, ids = Remembering(block_size=6), text_of(40)
    for stride, longest in [(6, 6), (1, 6)]:
        model.lengths.clear()
        score(model, ids, 6, stride)
        assert max(model.lengths) == longest
        assert len(model.lengths) == math.ceil((39 - 6) / stride) + 1


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(training):
    model, ids = Remembering(), text_of(20)
    model.train(training)
    model.frozen.eval()  # a part that somebody put to rest stays at rest
    weight, before = model.weight.detach().clone(), ids.clone()
    for measure in (score, perplexity, next_token_accuracy):
        assert measure(model, ids, 8, 4) == measure(model, ids, 8, 4)  # no dropout while measuring
    top_predictions(model, ids[:8], 3)
    calibration_curve(model, ids, 4, 8, 4)
    assert model.training == model.dropout.training == training
    assert not model.frozen.training
    assert torch.equal(model.weight, weight)
    assert model.weight.grad is None
    assert torch.equal(ids, before)
    assert torch.is_grad_enabled()


def test_the_model_is_restored_after_an_error():
    model = Remembering(block_size=4)
    with pytest.raises(AssertionError, match="more than a block"):
        score(model, text_of(20), 8, 8)
    assert model.training
    assert torch.is_grad_enabled()
    with evaluating(model):
        assert not model.training
        assert not torch.is_grad_enabled()


def test_half_precision_logits_are_added_up_in_full_precision():
    class Rounding(Remembering):
        keeps_half = True

        def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, None]:
            logits = super().forward(ids)[0].bfloat16()
            return logits if self.keeps_half else logits.float(), None

    model, ids = Rounding(), text_of(100)
    half, _ = score(model, ids, 8, 8)
    half_choices = top_predictions(model, ids[:8], 3)
    model.keeps_half = False
    assert half == pytest.approx(score(model, ids, 8, 8)[0], rel=1e-6)
    assert half_choices == top_predictions(model, ids[:8], 3)


# bits


def test_bits_count_bytes_or_characters():
    text = "é你🙂a"  # 2 + 3 + 4 + 1 bytes
    total = 10 * math.log(2)
    assert bits_per_byte(total, len(text.encode("utf-8"))) == pytest.approx(1.0)
    assert bits_per_character(total, len(text)) == pytest.approx(2.5)


def test_a_model_of_uniform_bytes_needs_eight_bits():
    ids = torch.tensor([0, *"naïve 你".encode()])
    total, n_scored = score(Fixed(torch.zeros(256, 256)), ids, 4, 4)
    assert n_scored == 10
    assert bits_per_byte(total, 10) == pytest.approx(8.0)


@pytest.mark.parametrize("measure", [bits_per_byte, bits_per_character])
def test_bits_of_no_text_are_refused(measure):
    with pytest.raises(ValueError, match="at least 1, not 0"):
        measure(3.0, 0)


# top_predictions


def test_top_predictions_equal_torch():
    model, ids = Remembering(), text_of(8)
    result = top_predictions(model, ids, 4)
    with evaluating(model):
        expected = torch.softmax(model(ids[None])[0][0, -1], -1).topk(4)
    assert [token for token, _ in result] == expected.indices.tolist()
    assert [p for _, p in result] == pytest.approx(expected.values.tolist(), rel=1e-5)
    assert all(type(token) is int and type(p) is float for token, p in result)


def test_top_predictions_at_the_corners():
    model = Fixed(torch.tensor([[1.0, 2.0, 2.0, -math.inf], *[[0.0] * 4] * 3]))
    everything = top_predictions(model, torch.tensor([3, 0]), 10)
    assert [token for token, _ in everything] == [1, 2, 0, 3]
    assert everything[3][1] == 0.0
    assert sum(p for _, p in everything) == pytest.approx(1.0)
    assert top_predictions(model, torch.tensor([3]), 2) == [(0, 0.25), (1, 0.25)]
    with pytest.raises(ValueError, match="k must be at least 1"):
        top_predictions(model, torch.tensor([0]), 0)
    with pytest.raises(ValueError, match="at least one token"):
        top_predictions(model, torch.tensor([], dtype=torch.long), 1)


# a real GPT2


def test_measures_of_a_gpt2_equal_transformers_own_losses():
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=60, n_positions=16, n_embd=24, n_layer=2, n_head=3, initializer_range=0.5
    )
    torch.manual_seed(3)
    theirs = GPT2LMHeadModel(config).eval()

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = theirs

        def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, None]:
            return self.inner(ids).logits, None

    ids = text_of(75, 60, seed=4)
    # the recipe of transformers' documentation: labels of tokens already scored are -100. Their
    # window reads 16 tokens and predicts 15 of them, so it is our window of 15.
    total, previous_end = 0.0, 0
    for begin in range(0, 64, 5):
        end = min(begin + 16, 75)
        labels = ids[None, begin:end].clone()
        labels[:, : previous_end - begin] = -100
        with torch.no_grad():
            mean = theirs(ids[None, begin:end], labels=labels).loss.item()
        total += mean * int((labels[:, 1:] != -100).sum())
        previous_end = end
    ours, n_scored = score(Wrapped(), ids, block_size=15, stride=5)
    assert n_scored == 74
    assert ours == pytest.approx(total, rel=1e-5)
    with torch.no_grad():
        loss = theirs(ids[None, :16], labels=ids[None, :16]).loss.item()
    assert perplexity(Wrapped(), ids[:16], 16, 16) == pytest.approx(math.exp(loss), rel=1e-5)


# stretch


def test_calibration_equals_a_plain_loop():
    model, ids = Remembering(), text_of(200)
    answers = plain_loop(model, ids, 8, 3)
    bins: list[list[tuple[float, float]]] = [[] for _ in range(20)]
    for logits, target in answers:
        probabilities = torch.softmax(logits, -1)
        part = min(int(probabilities.max().item() * 20), 19)
        hit = float(probabilities.argmax() == target)
        bins[part].append((probabilities.max().item(), hit))
    confidence, accuracy, count = calibration_curve(model, ids, 20, 8, 3)
    assert count.tolist() == [len(inside) for inside in bins]
    assert count.sum() == 199
    assert (count == 0).any()
    assert (count > 0).sum() >= 3
    gap = 0.0
    for part, inside in enumerate(bins):
        if not inside:
            assert confidence[part].isnan()
            assert accuracy[part].isnan()
            continue
        mean = sum(c for c, _ in inside) / len(inside)
        share = sum(hit for _, hit in inside) / len(inside)
        assert confidence[part].item() == pytest.approx(mean, rel=1e-5)
        assert accuracy[part].item() == pytest.approx(share)
        gap += abs(mean - share) * len(inside) / 199
    error = expected_calibration_error(confidence, accuracy, count)
    assert error == pytest.approx(gap, rel=1e-5)


def test_a_confidence_of_one_is_in_the_last_bin():
    sure = Fixed(torch.tensor([[1e4, 0.0], [1e4, 0.0]]))
    confidence, accuracy, count = calibration_curve(sure, torch.tensor([0, 0, 1, 0, 1]), 4, 2, 2)
    assert count.tolist() == [0, 0, 0, 4]
    assert confidence[3] == 1
    assert accuracy[3] == 0.5
    assert expected_calibration_error(confidence, accuracy, count) == pytest.approx(0.5)
    unsure = Fixed(torch.zeros(2, 2))
    assert calibration_curve(unsure, text_of(9, 2), 4, 2, 2)[2].tolist() == [0, 0, 8, 0]
    with pytest.raises(ValueError, match="bins must be at least 1"):
        calibration_curve(sure, text_of(9, 2), 0, 2, 2)


def test_a_model_that_knows_its_own_chances_is_calibrated():
    """Text drawn from the model itself: the error is sampling noise, far below 0.02."""
    generator = torch.Generator().manual_seed(5)
    table = torch.randn(6, 6, generator=generator)
    ids = [0]
    for _ in range(8000):
        ids.append(
            int(torch.multinomial(torch.softmax(table[ids[-1]], -1), 1, generator=generator))
        )
    curve = calibration_curve(Fixed(table), torch.tensor(ids), 10, 500, 500)
    assert expected_calibration_error(*curve) < 0.02
    overconfident = calibration_curve(Fixed(table * 3), torch.tensor(ids), 10, 500, 500)
    assert expected_calibration_error(*overconfident) > 0.1

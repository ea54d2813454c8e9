"""What the engine computes sooner or in less memory is what the lessons' plain forms compute."""

import numpy as np
import pytest
import torch

from solutions.data import windows
from solutions.engine import acceleration
from solutions.engine.acceleration import TrainingForward, linear_of_one_row, use_fast_parts
from solutions.engine.batches import BatchSource, WindowOrder
from solutions.engine.remembered import remember_pieces
from solutions.engine.sliced_loss import SLICE, sliced_loss
from solutions.model import GPT, GPTConfig, next_token_loss
from solutions.tokenizer import BPETokenizer, train_bpe

CPU = torch.device("cpu")


# The loss by slices.


@pytest.mark.parametrize("tokens", [1, 37, SLICE, SLICE + 5])
def test_the_sliced_loss_is_the_plain_one_with_both_gradients(tokens):
    torch.manual_seed(0)
    x = torch.randn(1, tokens, 8, requires_grad=True)
    table = torch.nn.Parameter(torch.randn(50, 8))
    targets = torch.randint(50, (1, tokens))
    if tokens > 1:
        targets[0, ::3] = -1
    plain = next_token_loss(x @ table.T, targets)
    right = torch.autograd.grad(3 * plain, [x, table])
    loss = sliced_loss(x, table, targets)
    found = torch.autograd.grad(3 * loss, [x, table])
    assert loss.item() == pytest.approx(plain.item(), rel=1e-6)
    for mine, theirs in zip(found, right, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-7)


def test_the_sliced_loss_keeps_far_logits_apart():
    x = torch.eye(2)
    table = torch.tensor([[1000.0, 0.0], [0.0, 1000.0]])
    assert sliced_loss(x, table, torch.tensor([1, 1])).item() == pytest.approx(500.0)


def test_where_no_target_counts_there_is_no_mean():
    assert sliced_loss(torch.ones(2, 3), torch.ones(4, 3), torch.tensor([-1, -1])).isnan()


def test_the_sliced_loss_in_half_precision_is_close():
    torch.manual_seed(0)
    x = torch.randn(64, 32, requires_grad=True)
    table = torch.nn.Parameter(torch.randn(200, 32) * 0.1)
    targets = torch.randint(200, (64,))
    (right,) = torch.autograd.grad(next_token_loss((x @ table.T)[None], targets[None]), table)
    with torch.autocast("cpu", torch.bfloat16):
        loss = sliced_loss(x, table, targets)
    (found,) = torch.autograd.grad(loss, table)
    assert found.dtype == torch.float32
    assert ((found - right).norm() / right.norm()).item() < 0.02


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_training_step_is_the_same_by_slices(monkeypatch, precision):
    torch.manual_seed(0)
    model = use_fast_parts(GPT(GPTConfig(90, 8, 2, 2, 16)))
    ids, targets = torch.randint(90, (2, 3, 8))
    results = []
    for large in (2**40, 0):
        monkeypatch.setattr(acceleration, "LARGE_LOGITS", large)
        forward = TrainingForward(model, precision).train()
        logits, loss = forward(ids, targets)
        assert (logits is None) == (large == 0)
        model.zero_grad()
        loss.backward()
        results.append([loss.detach(), *(p.grad.clone() for p in model.parameters())])
    tolerance = 1e-5 if precision == "fp32" else 2e-2
    for plain, sliced in zip(*results, strict=True):
        assert ((sliced - plain).norm() / plain.norm()).item() < tolerance
    assert model(ids)[0].shape == (3, 8, 90)  # outside of training all is as before
    with torch.no_grad():
        assert TrainingForward(model, precision).eval()(ids, targets)[1].isfinite()


# Batches.


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("outputs", [1, 2, 7, 12])
@pytest.mark.parametrize("bias", [True, False])
def test_one_row_by_all_threads_is_the_linear_layer(threads, outputs, bias):
    torch.manual_seed(0)
    layer, before = torch.nn.Linear(5, outputs, bias=bias), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for shape in ((5,), (1, 5), (1, 1, 5), (3, 5), (0, 5)):
            x = torch.randn(shape)
            with torch.no_grad():
                y = linear_of_one_row(layer, x)
            assert y.shape == layer(x).shape
            assert torch.allclose(y, layer(x), atol=1e-6)
        x = torch.randn(1, 5, requires_grad=True)
        linear_of_one_row(layer, x).sum().backward()
        assert torch.allclose(x.grad, layer.weight.sum(dim=0, keepdim=True), atol=1e-6)
    finally:
        torch.set_num_threads(before)


def test_the_heads_forward_is_there_again_after_a_step_by_slices():
    model = use_fast_parts(GPT(GPTConfig(31, 8, 1, 2, 8)))
    forward = model.lm_head.forward
    with acceleration.loss_by_slices(model):
        assert model.lm_head.forward(3) == 3
    assert model.lm_head.forward == forward
    plain = GPT(GPTConfig(31, 8, 1, 2, 8))
    with acceleration.loss_by_slices(plain):
        pass
    assert "forward" not in vars(plain.lm_head)


def test_batches_are_lesson_06s_windows():
    tokens = np.arange(1000, dtype="<u2")
    source = BatchSource(tokens, 16, 6, 2, 0, CPU, slice(1, 5))
    for step in (0, 3, 11):
        for micro, (inputs, targets) in enumerate(source.of_step(step)):
            starts = source.order.starts((2 * step + micro) * 6, 6)[1:5]
            right = windows(tokens, starts, 16)
            assert torch.equal(inputs, right[0])
            assert torch.equal(targets, right[1])
            assert inputs.dtype == targets.dtype == torch.int64


def test_starts_go_on_over_the_end_of_a_reading():
    order = WindowOrder(200, 16, seed=2)
    together = order.starts(0, 40)  # more than three readings
    assert np.array_equal(together, np.concatenate([order.starts(n, 1) for n in range(40)]))


# A memory of words.


def test_remembered_pieces_are_the_tokenizers_own(monkeypatch):
    text = "Once upon a time, Größe 42 and 漢字 once more, once  again.\n\n'll we'll"
    tokenizer = BPETokenizer(train_bpe(text * 3, 300))
    encode = remember_pieces(tokenizer)
    monkeypatch.setattr("solutions.engine.remembered.MOST_PIECES", 3)  # forgets on the way
    for part in (text, text[::-1], "", "new words: zebra", text):
        assert encode(part) == tokenizer.encode(part)
    assert type(encode(text)) is list

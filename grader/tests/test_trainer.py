"""Lesson 07 against torch: AdamW, one big batch, a schedule's corners, and what must not change."""

import itertools
import math

import pytest
import torch
from torch import nn

from solutions import trainer
from solutions.model import GPT, GPTConfig


def tiny_model(dropout: float = 0.0) -> GPT:
    torch.manual_seed(3)
    return GPT(
        GPTConfig(vocab_size=31, block_size=9, n_layer=2, n_head=3, n_embd=12, dropout=dropout)
    )


def random_batch(rows: int, seed: int, ignored: int = 0) -> trainer.Batch:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(31, (rows, 10), generator=generator)
    targets = ids[:, 1:].clone()
    targets[:ignored, :4] = -1
    return ids[:, :-1], targets


PLAN = {"steps": 100, "warmup": 10, "peak_lr": 2.0, "final_lr": 0.5}


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.2),  # not 0, which would waste the step
        (9, 2.0),  # the end of the warm-up
        (54, 0.5 + 1.5 / 2),  # half way down: half of the cosine
        (99, 0.5),
        (100, 0.5),
        (10_000, 0.5),
    ],
)
def test_learning_rate_at_its_corners(step, expected):
    assert trainer.learning_rate(step, **PLAN) == pytest.approx(expected)


def test_learning_rate_only_falls_after_the_warmup():
    rates = [trainer.learning_rate(step, **PLAN) for step in range(9, 120)]
    assert all(a >= b for a, b in itertools.pairwise(rates))


@pytest.mark.parametrize("steps", [1, 2, 10, 11])
def test_learning_rate_of_very_short_runs_is_a_number(steps):
    plan = PLAN | {"steps": steps}
    assert all(0 < trainer.learning_rate(step, **plan) <= 2.0 for step in range(steps + 5))


def test_learning_rate_without_warmup_begins_near_the_peak():
    rate = trainer.learning_rate(0, steps=100, warmup=0, peak_lr=2.0, final_lr=0.0)
    assert 1.99 < rate <= 2.0


def test_learning_rate_equals_torchs_cosine():
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=2.0)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=90, eta_min=0.5)
    for step in range(9, 99):
        assert trainer.learning_rate(step, **PLAN) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        cosine.step()


def test_parameter_groups_hold_every_parameter_once():
    model = tiny_model()
    decayed, free = trainer.parameter_groups(model, 0.3)
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.3, 0.0)
    held = [id(p) for p in decayed["params"] + free["params"]]
    assert sorted(held) == sorted({id(p) for p in model.parameters()})
    assert all(p.dim() >= 2 for p in decayed["params"])
    assert all(p.dim() == 1 for p in free["params"])


def test_parameter_groups_leave_frozen_parameters_out():
    model = tiny_model()
    model.transformer["wpe"].weight.requires_grad_(False)
    groups = trainer.parameter_groups(model, 0.1)
    held = {id(p) for group in groups for p in group["params"]}
    assert id(model.transformer["wpe"].weight) not in held


def one_step_of_torch(model: GPT, batch: trainer.Batch, max_norm: float):
    """The outsider: one big batch, written out with torch alone."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    logits, _ = model(batch[0])
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), batch[1].flatten(), ignore_index=-1)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    return loss.item(), norm.item(), model.state_dict()


def in_parts(batch: trainer.Batch) -> list[trainer.Batch]:
    return [(batch[0][rows], batch[1][rows]) for rows in (slice(0, 2), slice(2, 3), slice(3, 7))]


@pytest.mark.parametrize("max_norm", [0.3, 100.0])
def test_uneven_micro_batches_equal_one_big_batch(max_norm):
    batch = random_batch(7, seed=5, ignored=3)
    loss, norm, expected = one_step_of_torch(tiny_model(), batch, max_norm)
    model = tiny_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    got_loss, got_norm = trainer.train_step(model, optimizer, in_parts(batch), max_norm)
    assert float(got_loss) == pytest.approx(loss, rel=1e-5)
    assert float(got_norm) == pytest.approx(norm, rel=1e-4)
    torch.testing.assert_close(model.state_dict(), expected, rtol=1e-4, atol=1e-6)


def test_mixed_step_is_near_the_exact_one_and_a_scale_changes_nothing():
    batch = random_batch(7, seed=5, ignored=3)
    loss, norm, _ = one_step_of_torch(tiny_model(), batch, 0.3)
    results = []
    for scaler in (None, trainer.LossScaler(scale=2.0**10)):
        model = tiny_model()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        got = trainer.train_step_mixed(model, optimizer, in_parts(batch), 0.3, scaler=scaler)
        assert float(got[0]) == pytest.approx(loss, rel=1e-2)
        assert float(got[1]) == pytest.approx(norm, rel=5e-2)
        results.append(model.state_dict())
    torch.testing.assert_close(results[0], results[1])


def test_train_step_clears_old_gradients():
    batch = random_batch(3, seed=1)
    _, _, expected = one_step_of_torch(tiny_model(), batch, 1.0)
    model = tiny_model()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 9.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    trainer.train_step(model, optimizer, [batch], 1.0)
    torch.testing.assert_close(model.state_dict(), expected)


def test_train_step_returns_the_norm_before_clipping_and_no_graph():
    model = tiny_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    loss, norm = trainer.train_step(model, optimizer, [random_batch(2, 0)], max_norm=1e-3)
    assert float(norm) > 0.1
    assert not loss.requires_grad
    assert not norm.requires_grad
    length = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
    assert float(length) == pytest.approx(1e-3, rel=1e-3)


def test_estimate_loss_weighs_by_targets_and_changes_nothing():
    model = tiny_model(dropout=0.5)
    model.train()
    model.transformer["ln_f"].eval()  # a mixed mode must come back as it was
    modes = [module.training for module in model.modules()]
    batches = [random_batch(5, 1), random_batch(1, 2, ignored=1)]
    state = torch.get_rng_state()
    got = trainer.estimate_loss(model, batches)
    assert torch.equal(state, torch.get_rng_state())
    assert [module.training for module in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())
    model.eval().requires_grad_(False)
    nats = sum(
        float(
            nn.functional.cross_entropy(
                model(x)[0].flatten(0, 1), y.flatten(), ignore_index=-1, reduction="sum"
            )
        )
        for x, y in batches
    )
    assert got == pytest.approx(nats / sum(int((y != -1).sum()) for _, y in batches), rel=1e-5)


def test_estimate_loss_restores_the_mode_after_an_error():
    model = tiny_model()
    model.train()
    with pytest.raises(ValueError, match="token"):
        trainer.estimate_loss(model, [(torch.full((1, 3), 999), torch.zeros(1, 3).long())])
    assert model.training


@pytest.mark.parametrize(
    ("losses", "patience", "stop"),
    [
        ([], 2, False),
        ([3, 2, 1], 0, False),
        ([3.0, 3.1], 2, False),  # too few to say
        ([3.0, 3.1, 3.2], 2, True),
        ([3.0, 3.1, 2.9], 2, False),
        ([3.0, 2.0, 2.5, 2.4], 2, True),
        ([3.0, 3.0, 3.0], 2, True),  # equal is no progress
        ([3.0, math.nan, math.nan], 2, True),
        ([math.nan, 3.0, 2.0], 2, False),
    ],
)
def test_should_stop(losses, patience, stop):
    assert trainer.should_stop(losses, patience) is stop


def test_should_stop_counts_small_gains_as_none():
    assert trainer.should_stop([3.0, 2.999, 2.998], 2, min_delta=0.01)
    assert not trainer.should_stop([3.0, 2.9, 2.8], 2, min_delta=0.01)


def test_fit_learns_and_stops_early():
    torch.manual_seed(0)
    pattern = torch.arange(31).repeat(4)
    windows = pattern.unfold(0, 10, 1)[:32]
    batch = (windows[:, :-1], windows[:, 1:])
    config = trainer.TrainConfig(steps=90, peak_lr=2e-2, final_lr=1e-3, warmup=5)
    history = trainer.fit(tiny_model(), lambda step: [batch], config, [batch], evaluate_every=20)
    assert [row["step"] for row in history] == [20, 40, 60, 80, 90]
    assert history[-1]["val_loss"] < 0.5 < history[0]["val_loss"]
    other = random_batch(8, 99)
    config = trainer.TrainConfig(steps=400, peak_lr=1e-2, warmup=5, patience=2)
    history = trainer.fit(tiny_model(), lambda step: [batch], config, [other], evaluate_every=10)
    assert history[-1]["step"] < 400


def test_mixed_step_skips_an_overflow_and_halves_the_scale():
    model = tiny_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    scaler = trainer.LossScaler(scale=3e38)  # gradients overflow
    trainer.train_step_mixed(
        model, optimizer, [random_batch(2, 0)], dtype=torch.bfloat16, scaler=scaler
    )
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert scaler.scale == 1.5e38


def test_orthogonalize_keeps_singular_vectors_and_levels_values():
    torch.manual_seed(0)
    for shape in [(12, 12), (7, 20), (20, 7)]:
        matrix = torch.randn(shape)
        u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
        got = u.mT @ trainer.orthogonalize(matrix) @ vt.mT
        values = got.diagonal()
        assert float(values.min()) > 0.6
        assert float(values.max()) < 1.25
        torch.testing.assert_close(got, torch.diag(values), atol=1e-4, rtol=0)


def test_muon_equals_torchs():
    torch.manual_seed(1)
    ours = [nn.Parameter(torch.randn(shape) * 0.1) for shape in [(24, 8), (8, 24), (16, 16)]]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    mine = trainer.Muon(ours, lr=0.02, weight_decay=0.1)
    torchs = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, adjust_lr_fn="original")
    for step in range(5):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=torch.Generator().manual_seed(step))
            b.grad = a.grad.clone()
        mine.step()
        torchs.step()
    for a, b in zip(ours, theirs, strict=True):
        # torch iterates in bf16, we in fp32
        assert float((a - b).norm() / b.norm()) < 0.01

"""The engine's pieces held to the lessons' plain forms, and to outsiders."""

import json
import os

import numpy as np
import pytest
import torch
from torch import nn

from solutions.attention import causal_mask, scaled_dot_product_attention
from solutions.data import get_batch, windows
from solutions.engine.acceleration import TrainingForward, fused_causal_attention, use_fast_parts
from solutions.engine.batches import BatchSource, WindowOrder, validation_batches
from solutions.engine.checkpoints import Progress, load_state, load_weights, save_state
from solutions.engine.devices import choose_device, choose_precision
from solutions.engine.errors import CourseError
from solutions.engine.evaluation import score_text
from solutions.engine.files import read_json, recover, write_atomically, write_folder_atomically
from solutions.engine.muon import BatchedMuon
from solutions.engine.optimizers import build_optimizer
from solutions.engine.scaling import ScaledStep
from solutions.model import GPT, GPTConfig
from solutions.perplexity import next_token_accuracy, score
from solutions.trainer import TrainConfig, train_step

CPU = torch.device("cpu")
ALL_ROWS = slice(None)


class Letters:
    """The smallest tokenizer there is, for checkpoints: it saves nothing."""

    def save(self, folder):
        """Nothing to save."""


def tiny_model(**changes) -> GPT:
    torch.manual_seed(2)
    shape = {"vocab_size": 41, "block_size": 12, "n_layer": 2, "n_head": 3, "n_embd": 24}
    return GPT(GPTConfig(**shape | changes))


def batch(rows: int = 4, length: int = 12, seed: int = 0):
    ids = torch.randint(41, (rows, length + 1), generator=torch.Generator().manual_seed(seed))
    return ids[:, :-1], ids[:, 1:].clone()


# Acceleration


@pytest.mark.parametrize("n_head", [1, 3, 5])
def test_fast_parts_compute_the_same_with_the_same_gradients(n_head):
    plain, fast = tiny_model(n_head=n_head), use_fast_parts(tiny_model(n_head=n_head))
    inputs, targets = batch()
    targets[0, :3] = -1
    for model in (plain, fast):
        model(inputs, targets)[1].backward()
    torch.testing.assert_close(fast(inputs)[0], plain(inputs)[0], rtol=1e-4, atol=1e-5)
    for (name, a), b in zip(fast.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-5, msg=name)


def test_fast_parts_with_a_cache_equal_the_plain_model():
    from solutions.generation import KVCache

    plain, fast = tiny_model(), use_fast_parts(tiny_model())
    inputs, _ = batch(2)
    cache = KVCache(2)
    with torch.no_grad():
        parts = [
            fast(inputs[:, a:b], cache=cache)[0] for a, b in ((0, 4), (4, 9), (9, 10), (10, 12))
        ]
        torch.testing.assert_close(torch.cat(parts, 1), plain(inputs)[0], rtol=1e-4, atol=1e-5)


def test_half_precision_is_near_the_full_one():
    model = use_fast_parts(tiny_model())
    inputs, targets = batch()
    exact = model(inputs, targets)[1].item()
    half = TrainingForward(model, "bf16")(inputs, targets)[1].item()
    assert half == pytest.approx(exact, rel=1e-2)
    assert half != exact


def test_scaled_step_equals_the_lessons_step():
    """Loss scaling by a power of two changes nothing in fp32."""
    results = []
    for scaled in (False, True):
        model = tiny_model()
        optimizer = build_optimizer(model, TrainConfig(), "adamw", CPU)
        optimizer.set_learning_rate(1e-3)
        step = ScaledStep(CPU) if scaled else train_step
        for seed in range(3):
            loss, norm = step(model, optimizer, [batch(seed=seed), batch(seed=9 + seed)], 0.5)
        results.append((loss.item(), norm.item(), model.state_dict()))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    assert results[0][1] == pytest.approx(results[1][1], rel=1e-4)
    torch.testing.assert_close(results[0][2], results[1][2], rtol=1e-3, atol=1e-4)


# Devices


def test_a_broken_cuda_falls_back_to_the_cpu_with_a_sentence(monkeypatch, capsys):
    if torch.cuda.is_available():
        pytest.skip("CUDA works here")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # a card that does not answer
    assert choose_device("auto") == CPU
    assert "going on with the CPU" in capsys.readouterr().out


def test_fp16_on_a_cpu_is_a_sentence():
    with pytest.raises(CourseError, match="fp16 needs a GPU"):
        choose_precision("fp16", CPU)
    assert choose_precision("auto", CPU) in ("fp32", "bf16")


# Optimisers


def test_muon_takes_hidden_matrices_only_and_nothing_twice():
    model = tiny_model()
    optimizer = build_optimizer(model, TrainConfig(), "muon", CPU)
    adamw, muon = optimizer.parts
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted({id(p) for p in model.parameters()})
    names = {id(p): name for name, p in model.named_parameters()}
    for group in muon.param_groups:
        assert all(".h." in names[id(p)] and p.dim() == 2 for p in group["params"])
    assert isinstance(adamw, torch.optim.AdamW)


def test_batched_muon_is_torchs_muon():
    torch.manual_seed(1)
    shapes = [(24, 8), (8, 24), (16, 16), (24, 8), (8, 8)]
    ours = [nn.Parameter(torch.randn(shape) * 0.1) for shape in shapes]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    batched = BatchedMuon(ours, lr=0.02, weight_decay=0.1)
    torchs = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    before = [p.detach().clone() for p in ours]
    for _ in range(4):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        batched.step()
        torchs.step()
    for a, b, start in zip(ours, theirs, before, strict=True):
        assert float((a - b).detach().norm() / (b - start).detach().norm()) < 0.02  # bf16 rounding


@pytest.mark.parametrize(("length", "n_head"), [(2, 1), (33, 3), (256, 4)])
def test_short_attention_in_half_precision_is_near_the_exact_one(length, n_head):
    torch.manual_seed(length)
    exact = [torch.randn(2, n_head, length, 24, requires_grad=True) for _ in range(3)]
    half = [x.detach().bfloat16().requires_grad_() for x in exact]
    target = scaled_dot_product_attention(*exact, causal_mask(length))[0]
    got = fused_causal_attention(*half)[0]
    assert float((got.float() - target).norm() / target.norm()) < 0.02
    gradient = torch.randn_like(target)
    target.backward(gradient)
    got.backward(gradient.bfloat16())
    for a, b in zip(half, exact, strict=True):
        assert float((a.grad.float() - b.grad).norm() / b.grad.norm()) < 0.02


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_state_survives_saving_bit_for_bit(tmp_path, kind):
    def steps(model, optimizer, seeds):
        optimizer.set_learning_rate(3e-3)
        for seed in seeds:
            train_step(model, optimizer, [batch(seed=seed)])

    model = tiny_model()
    optimizer = build_optimizer(model, TrainConfig(), kind, CPU)
    steps(model, optimizer, range(3))
    save_state(tmp_path / "last", model, Letters(), optimizer, Progress(step=3, val_losses=[2.0]))
    steps(model, optimizer, range(3, 6))
    other = tiny_model()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.fill_(7.0)
    other_optimizer = build_optimizer(other, TrainConfig(), kind, CPU)
    progress = load_state(tmp_path / "last", other, other_optimizer)
    assert (progress.step, progress.val_losses) == (3, [2.0])
    steps(other, other_optimizer, range(3, 6))
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


# Checkpoints


def test_a_tampered_checkpoint_is_refused(tmp_path):
    model = tiny_model()
    optimizer = build_optimizer(model, TrainConfig(), "adamw", CPU)
    save_state(tmp_path / "last", model, Letters(), optimizer, Progress(step=1))
    file = tmp_path / "last" / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(CourseError, match="damaged"):
        load_weights(tmp_path / "last")
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CourseError, match="damaged"):
        load_weights(tmp_path / "last")


def test_a_checkpoint_of_another_shape_is_refused(tmp_path):
    model = tiny_model()
    optimizer = build_optimizer(model, TrainConfig(), "adamw", CPU)
    save_state(tmp_path / "last", model, Letters(), optimizer, Progress(step=1))
    other = tiny_model(n_embd=30)
    with pytest.raises(CourseError, match="does not fit"):
        load_state(tmp_path / "last", other, build_optimizer(other, TrainConfig(), "adamw", CPU))


def test_nothing_pickled_is_written(tmp_path):
    model = tiny_model()
    optimizer = build_optimizer(model, TrainConfig(), "muon", CPU)
    train_step(model, optimizer, [batch()])
    save_state(tmp_path / "last", model, Letters(), optimizer, Progress())
    kinds = {file.suffix for file in (tmp_path / "last").iterdir()}
    assert kinds <= {".safetensors", ".json"}


# Files


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), write_atomically(path) as file:
        file.write("new")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_is_whole_after_a_kill_between_the_two_moves(tmp_path):
    folder = tmp_path / "last"
    for text in ("one", "two"):
        with write_folder_atomically(folder) as fresh:
            (fresh / "x").write_text(text)
    assert (folder / "x").read_text() == "two"
    folder.rename(tmp_path / ".last.old")  # as if killed right here
    recover(folder)
    assert (folder / "x").read_text() == "two"
    assert os.listdir(tmp_path) == ["last"]


def test_broken_json_is_a_sentence(tmp_path):
    (tmp_path / "x.json").write_text('{"a": ')
    with pytest.raises(CourseError, match="damaged"):
        read_json(tmp_path / "x.json")
    with pytest.raises(CourseError, match="no file"):
        read_json(tmp_path / "y.json")


# Batches


@pytest.mark.parametrize(("n_tokens", "block_size"), [(1000, 7), (1001, 7), (100, 99), (101, 100)])
def test_every_epoch_sees_side_by_side_windows_once(n_tokens, block_size):
    order = WindowOrder(n_tokens, block_size, seed=1)
    offsets = set()
    for epoch in range(5):
        starts = np.sort(order.starts(epoch * order.per_epoch, order.per_epoch))
        assert (np.diff(starts) == block_size).all()
        assert starts[0] >= 0
        assert starts[-1] + block_size + 1 <= n_tokens
        offsets.add(int(starts[0]))
    assert order.per_epoch >= max(1, n_tokens // block_size - 2)
    if n_tokens >= 1000:
        assert len(offsets) > 1


def test_windows_depend_on_their_number_only():
    one, other = WindowOrder(5000, 16, seed=3), WindowOrder(5000, 16, seed=3)
    straight = one.starts(0, 900)
    pieces = np.concatenate([other.starts(a, 100) for a in range(800, -1, -100)][::-1])
    assert (straight == pieces).all()
    assert not (straight == WindowOrder(5000, 16, seed=4).starts(0, 900)).all()


def test_batches_are_the_lessons_windows_and_processes_share_them():
    tokens = np.arange(3000, dtype=np.uint16)
    whole = BatchSource(tokens, 16, 6, 2, 0, CPU, ALL_ROWS)
    shares = [BatchSource(tokens, 16, 6, 2, 0, CPU, slice(a, a + 2)) for a in (0, 2, 4)]
    for step, batches in whole.steps(0, 50):
        for micro, (inputs, targets) in enumerate(batches):
            starts = whole.order.starts((step * 2 + micro) * 6, 6)
            expected = windows(tokens, starts, 16)
            assert torch.equal(inputs, expected[0])
            assert torch.equal(targets, expected[1])
            parts = torch.cat([share.of_step(step)[micro][0] for share in shares])
            assert torch.equal(parts, inputs)
    same = get_batch(tokens, 4, 16, seed=0)
    assert same[0].dtype == inputs.dtype


def test_a_text_shorter_than_a_window_is_a_sentence():
    with pytest.raises(CourseError, match="smaller --block-size"):
        WindowOrder(16, 16, seed=0)
    with pytest.raises(CourseError, match="validation text"):
        validation_batches(np.arange(16), 16, 4, 8, CPU)


# Evaluation


@pytest.mark.parametrize("n_tokens", [2, 5, 12, 13, 14, 24, 25, 26, 97, 120, 121])
@pytest.mark.parametrize("stride", [12, 7, 1])
def test_batched_scores_equal_the_lessons(n_tokens, stride):
    model = tiny_model()
    tokens = np.random.default_rng(n_tokens).integers(0, 41, n_tokens)
    got = score_text(model, tokens, 12, stride)
    nats, count = score(model, torch.from_numpy(tokens), 12, stride)
    assert (got.tokens, count) == (n_tokens - 1, n_tokens - 1)
    assert got.nats == pytest.approx(nats, rel=1e-5)
    accuracy = next_token_accuracy(model, torch.from_numpy(tokens), 12, stride)
    assert got.correct / got.tokens == pytest.approx(accuracy)


def test_evaluation_leaves_the_model_as_it_was():
    model = tiny_model(dropout=0.5).train()
    before = torch.get_rng_state()
    first = score_text(model, np.arange(40) % 41, 12)
    second = score_text(model, np.arange(40) % 41, 12)
    assert first.nats == second.nats
    assert model.training
    assert torch.equal(before, torch.get_rng_state())


def test_perplexity_of_a_model_that_knows_nothing_is_the_vocabulary():
    model = tiny_model()
    nn.init.zeros_(model.lm_head.weight)
    measures = score_text(model, np.arange(40), 12).measures(n_bytes=80, n_chars=40)
    assert measures["perplexity"] == pytest.approx(41, rel=1e-4)
    assert measures["bits_per_byte"] == pytest.approx(39 * np.log2(41) / 80, rel=1e-4)
    assert measures["bits_per_character"] == pytest.approx(39 * np.log2(41) / 40, rel=1e-4)


def test_log_survives_a_line_cut_short(tmp_path):
    from solutions.engine.logs import Log, read_log

    paths = (tmp_path / "log.jsonl", tmp_path / "log.csv", tmp_path / "samples.txt")
    log = Log(*paths, resumed_at=0)
    for step in (10, 20, 30):
        log.numbers(step=step, train_loss=1.0 / step)
        log.story(step, "A", f"A story {step}")
    with open(paths[0], "a") as file:
        file.write('{"step": 40, "tra')
    log = Log(*paths, resumed_at=20)
    assert [r["step"] for r in read_log(paths[0])] == [10, 10, 20, 20]
    assert paths[1].read_text().splitlines()[1:] == ["10,,0.1,,,,,", "20,,0.05,,,,,"]
    assert "A story 30" not in paths[2].read_text()
    assert json.loads(paths[0].read_text().splitlines()[0])["step"] == 10

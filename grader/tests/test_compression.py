"""Lesson 13, judged by torch's own quantisation, pruning and losses, and by its stated bounds."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

from solutions.compression import (
    QuantizedLinear,
    apply_masks,
    distillation_loss,
    prune_by_magnitude,
    prune_n_m,
    quantize_rows,
    size_in_bytes,
    sparsity_report,
)
from solutions.model import GPT, GPTConfig
from solutions.perplexity import score

CONFIG = {"vocab_size": 60, "block_size": 16, "n_layer": 2, "n_head": 2, "n_embd": 16}


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(13)


def small_gpt() -> GPT:
    return GPT(GPTConfig(**CONFIG)).eval()


def quantized(model: nn.Module, activations: bool = False) -> nn.Module:
    """A copy of a GPT with its blocks' linear layers in int8."""
    model = copy.deepcopy(model)
    for block in model.transformer.h:
        for part, names in [(block.attn, ("c_attn", "c_proj")), (block.mlp, ("c_fc", "c_proj"))]:
            for name in names:
                setattr(part, name, QuantizedLinear(getattr(part, name), activations))
    return model


# int8


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (64, 129)])
@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1.0, 1e12])
def test_int8_is_torchs(shape, scale):
    """A rounding may fall to the other side of a half, so two numbers may be one step apart."""
    weight = scale * torch.randn(shape)
    numbers, scales = quantize_rows(weight)
    torch.testing.assert_close(scales, weight.abs().amax(1) / 127, rtol=1e-6, atol=0)
    zeros = torch.zeros(shape[0], dtype=torch.int32)
    read = torch.fake_quantize_per_channel_affine(weight, scales, zeros, 0, -127, 127)
    apart = (numbers - (read / scales[:, None]).round()).abs()
    assert numbers.dtype == torch.int8 and apart.max() <= 1 and apart.mean() < 1e-3
    assert (numbers.abs().amax(1) == 127).all()


def test_int8_is_that_of_torchs_observer():
    observer = torch.ao.quantization.PerChannelMinMaxObserver(
        dtype=torch.qint8, qscheme=torch.per_channel_symmetric, quant_min=-127, quant_max=127, eps=0
    )
    weight = torch.randn(20, 33)
    scales, zeros = observer(weight) is not None and observer.calculate_qparams()
    torch.testing.assert_close(quantize_rows(weight)[1], scales, rtol=1e-6, atol=0)
    assert not zeros.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_no_number_moves_by_more_than_half_a_step(dtype):
    weight = (torch.randn(2, 30, 50) * torch.logspace(-3, 3, 30)[:, None]).to(dtype)
    weight[1, 4] = 0.0
    weight.requires_grad_()
    numbers, scale = quantize_rows(weight)
    assert (numbers.shape, scale.shape) == ((2, 30, 50), (2, 30))
    assert scale.dtype == torch.float32 and not scale.requires_grad
    off = (numbers.double() * scale.double()[..., None] - weight.detach().double()).abs()
    assert (off <= scale.double()[..., None] * 0.50001).all()
    assert scale[1, 4] == 0 and not numbers[1, 4].any() and numbers.min() >= -127


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activations", [False, True])
@pytest.mark.parametrize("shape", [(5,), (1, 5), (2, 3, 5), (0, 5)])
def test_the_layer_is_the_product_of_what_was_rounded(bias, activations, shape):
    linear = nn.Linear(5, 7, bias=bias)
    layer, x = QuantizedLinear(linear, activations), torch.randn(shape)
    read = layer.weight.double() * layer.scale.double()[:, None]
    seen = x.double()
    if activations:
        numbers, scale = quantize_rows(x)
        seen = numbers.double() * scale.double()[..., None]
    expected = F.linear(seen, read, linear.bias.double() if bias else None)
    torch.testing.assert_close(layer(x), expected.float(), rtol=1e-5, atol=1e-6)
    assert layer.error_bound(x).shape == (*shape[:-1], 7)


@pytest.mark.parametrize("activations", [False, True])
@pytest.mark.parametrize("n_in", [1, 3, 64, 768])
@pytest.mark.parametrize("outliers", [False, True])
def test_no_error_is_beyond_its_bound(activations, n_in, outliers):
    linear, x = nn.Linear(n_in, 20), torch.randn(200, n_in)
    if outliers:
        x[:, 0] *= 1000
        linear.weight.data[:5] *= torch.logspace(-4, 4, 5)[:, None]
    layer = QuantizedLinear(linear, activations)
    expected = F.linear(x.double(), linear.weight.double(), linear.bias.double())
    off = (layer(x).double() - expected).abs()
    rounding = 1e-5 * (x.double().abs() @ linear.weight.double().abs().T + 1)
    assert (off <= layer.error_bound(x) + rounding).all()


def test_the_bound_can_be_reached():
    """Weights halfway between two steps, inputs of their errors' signs: a smaller bound would lie."""
    weight = torch.tensor([[127.0, 1.5, -3.5, 8.5, 20.5]])
    layer = QuantizedLinear(nn.Linear(5, 1, bias=False))
    layer = QuantizedLinear(_with_weight(layer, weight))
    off = layer.weight.float() * layer.scale[:, None] - weight
    assert off.abs().tolist() == [[0.0, 0.5, 0.5, 0.5, 0.5]]
    x = 3 * off.sign()
    error = (layer(x) - x @ weight.T).abs()
    torch.testing.assert_close(error, layer.error_bound(x))


def _with_weight(layer: nn.Module, weight: torch.Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.weight.data = weight
    return linear


def test_layers_have_no_parameters_and_load_again():
    layer = QuantizedLinear(nn.Linear(6, 4))
    assert list(layer.parameters()) == []
    assert {name: t.dtype for name, t in layer.state_dict().items()} == {
        "weight": torch.int8, "scale": torch.float32, "bias": torch.float32,
    }  # fmt: skip
    assert "bias" not in QuantizedLinear(nn.Linear(6, 4, bias=False)).state_dict()
    other = QuantizedLinear(nn.Linear(6, 4))
    other.load_state_dict(layer.state_dict())
    x = torch.randn(3, 6)
    assert torch.equal(copy.deepcopy(other)(x), layer(x))


def test_gradients_pass_the_layer_unless_its_inputs_are_rounded():
    layer = QuantizedLinear(nn.Linear(6, 4))
    x = torch.randn(3, 6, requires_grad=True)
    layer(x).sum().backward()
    read = layer.weight.float() * layer.scale[:, None]
    torch.testing.assert_close(x.grad, read.sum(0).expand(3, 6))
    assert not QuantizedLinear(nn.Linear(6, 4), activations=True)(x).requires_grad


def test_a_gpt_in_int8_is_nearly_itself_and_smaller():
    model, ids = small_gpt(), torch.randint(60, (200,))
    before = score(model, ids, 16, 8)[0]
    for activations, tolerance in [(False, 1e-3), (True, 3e-3)]:
        small = quantized(model, activations)
        assert score(small, ids, 16, 8)[0] == pytest.approx(before, rel=tolerance)
        matrices = sum(b.numel() for b in small.buffers() if b.dtype == torch.int8)
        outputs = sum(b.numel() for b in small.buffers() if b.dim() == 1) // 2
        assert size_in_bytes(small) == size_in_bytes(model) - 3 * matrices + 4 * outputs


def test_a_tied_table_counts_once():
    model = small_gpt()
    assert size_in_bytes(model) == 4 * model.num_parameters()
    assert size_in_bytes(model.bfloat16()) == 2 * model.num_parameters()


# pruning


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.33, 0.5, 0.9, 1.0])
def test_pruning_is_torchs(sparsity):
    model = nn.Sequential(nn.Linear(9, 7), nn.Linear(7, 5), nn.Linear(5, 3))
    weights = {n: p for n, p in model.named_parameters() if n.endswith("weight")}
    both = {scope: prune_by_magnitude(weights, sparsity, scope) for scope in ("global", "layer")}
    for scope, masks in both.items():
        theirs = copy.deepcopy(model)
        layers = [(layer, "weight") for layer in theirs]
        if scope == "global":
            prune.global_unstructured(layers, prune.L1Unstructured, amount=sparsity)
        else:
            for layer, name in layers:
                prune.l1_unstructured(layer, name, amount=sparsity)
        for number, layer in enumerate(theirs):
            assert torch.equal(masks[f"{number}.weight"], layer.weight_mask.bool()), scope


def test_counts_are_exact_also_among_equals():
    for sparsity in torch.linspace(0, 1, 21).tolist():
        weights = {"a": torch.ones(5, 4), "b": torch.zeros(3), "c": -torch.ones(7)}
        masks = prune_by_magnitude(weights, sparsity)
        assert sparsity_report(masks)["all"][0] == round(sparsity * 30)
        gone = torch.cat([~masks[n].flatten() for n in ("b", "a", "c")])
        assert torch.equal(gone, gone.sort(descending=True, stable=True).values), "in order"


def test_masks_stay_through_a_training():
    model = small_gpt()
    weights = {
        n: p for n, p in model.named_parameters() if n.endswith(("c_fc.weight", "c_proj.weight"))
    }
    masks = prune_by_magnitude(weights, 0.7)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    ids = torch.randint(60, (4, 9))
    for _ in range(3):
        apply_masks(model, masks)
        assert sparsity_report(weights)["all"][2] == pytest.approx(0.7, abs=1e-3)
        optimizer.zero_grad()
        model(ids[:, :-1], ids[:, 1:])[1].backward()
        optimizer.step()
    assert sparsity_report(weights)["all"][2] < 0.1, "without the mask they learn again"
    apply_masks(model, masks)
    assert all((weights[name][~mask] == 0).all() for name, mask in masks.items())
    assert all(p.requires_grad and p.is_leaf for p in model.parameters())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_two_of_four_is_torchs_sparsifier():
    linear = nn.Linear(16, 6)
    ours = prune_n_m(linear.weight)
    sparsifier = torch.ao.pruning.WeightNormSparsifier(
        sparsity_level=1.0, sparse_block_shape=(1, 4), zeros_per_block=2
    )
    model = nn.Sequential(linear)
    sparsifier.prepare(model, [{"tensor_fqn": "0.weight"}])
    sparsifier.step()
    theirs = model[0].parametrizations.weight[0].mask.bool()
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("n", "m"), [(0, 1), (1, 1), (1, 2), (2, 4), (3, 4), (4, 8), (5, 12)])
def test_every_group_keeps_its_n_largest(n, m):
    weight = torch.randn(24, 7).T  # not in order in memory
    mask = prune_n_m(weight, n, m)
    groups, kept = weight.abs().reshape(7, -1, m), mask.reshape(7, -1, m)
    assert (kept.sum(-1) == n).all()
    largest_gone = groups.masked_fill(kept, -1.0).amax(-1)
    smallest_kept = groups.masked_fill(~kept, math.inf).amin(-1)
    assert (largest_gone <= smallest_kept).all()


# distillation


def some_logits(*shape: int, dtype: torch.dtype = torch.float64):
    student = torch.randn(shape, dtype=dtype, requires_grad=True)
    teacher = 2 * torch.randn(shape, dtype=dtype)
    return student, teacher.requires_grad_(), torch.randint(shape[-1], shape[:-1])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 7.0])
@pytest.mark.parametrize("mix", [0.0, 0.3, 1.0])
def test_the_loss_is_torchs(temperature, mix):
    student, teacher, targets = some_logits(3, 5, 11)
    targets[0, :3] = targets[2, 4] = -1
    mine = distillation_loss(student, teacher, targets, temperature, mix)
    scored = targets >= 0
    soft = nn.KLDivLoss(reduction="batchmean")(
        (student[scored] / temperature).log_softmax(-1), (teacher[scored] / temperature).softmax(-1)
    )
    hard = F.cross_entropy(student.transpose(1, 2), targets, ignore_index=-1)
    expected = mix * temperature**2 * soft + (1 - mix) * hard
    torch.testing.assert_close(mine.double(), expected, rtol=1e-5, atol=1e-6)
    assert mine.dtype == torch.float32
    (gradient,) = torch.autograd.grad(mine, student, retain_graph=True)
    (right,) = torch.autograd.grad(expected, student)
    torch.testing.assert_close(gradient, right, rtol=1e-4, atol=1e-6)
    assert torch.autograd.grad(mine, teacher, allow_unused=True) == (None,)


def test_the_factor_keeps_the_gradient_at_one_size():
    """Hinton et al., section 2: at high temperatures it tends to (student - teacher) / V."""
    student, teacher, targets = some_logits(1, 1, 20)
    student.data -= student.mean()
    teacher.data -= teacher.mean()
    loss = distillation_loss(student, teacher, targets, 300.0, 1.0)
    (gradient,) = torch.autograd.grad(loss, student)
    torch.testing.assert_close(gradient, (student - teacher) / 20, rtol=0.03, atol=2e-3)


def test_the_loss_is_nothing_where_both_agree():
    student, _, targets = some_logits(2, 3, 9)
    hard = F.cross_entropy(student.transpose(1, 2), targets).item()
    for mix in (1.0, 0.5):
        loss = distillation_loss(student, student + 5, targets, 3.0, mix).item()
        assert loss == pytest.approx((1 - mix) * hard, rel=1e-5, abs=1e-6)


def test_impossible_tokens_break_nothing():
    student, teacher, targets = some_logits(2, 3, 9)
    targets.fill_(1)
    never = torch.zeros(9, dtype=torch.bool)
    never[5:] = True
    for pupil in (student, student.masked_fill(never, -math.inf)):
        loss = distillation_loss(pupil, teacher.masked_fill(never, -math.inf), targets)
        (gradient,) = torch.autograd.grad(loss, student)
        assert loss.isfinite() and gradient.isfinite().all()
    assert distillation_loss(student.masked_fill(never, -math.inf), teacher, targets) == math.inf
    empty = distillation_loss(student, teacher, torch.full_like(targets, -1))
    assert empty.isnan()


def test_a_student_learns_from_its_teacher():
    teacher = small_gpt()
    for parameter in teacher.parameters():  # a teacher with opinions
        parameter.data *= 4
    student = GPT(GPTConfig(**{**CONFIG, "n_layer": 1}))
    optimizer = torch.optim.AdamW(student.parameters(), lr=0.01)
    ids = torch.randint(60, (8, 12))
    losses = []
    for _ in range(60):
        with torch.no_grad():
            opinion = teacher(ids)[0]
        loss = distillation_loss(student(ids)[0], opinion, ids, 2.0, 1.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3

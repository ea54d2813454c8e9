"""Hidden checks for lesson 13, compression: other sizes, types, shares and models."""

import math

import torch
import torch.nn.functional as F

from grader.instructor.guards import guard

QUICK = 4  # seconds
PRIMES = [61, 83, 97, 103, 149, 199, 241]


def rows(draw, *shape, low=-10, high=4):
    """Numbers whose rows have a largest magnitude each, and nothing halfway between two steps."""
    primes = torch.tensor(PRIMES)[draw.ids(len(PRIMES), *shape[:-1], 1)]
    numbers = (draw.uniform(*shape, low=-1, high=1) * primes).round()
    sign = 1 - 2 * draw.ids(2, *shape[:-1], 1)
    numbers = numbers.scatter(-1, draw.ids(shape[-1], *shape[:-1], 1), (sign * primes).float())
    return numbers * 2.0 ** (draw.ids(high - low, *shape[:-1], 1) + low)


def in_int8(x):
    """The int8 numbers of the last dimension's rows, and their scales."""
    scale = x.double().abs().amax(-1) / 127
    numbers = (x.double() / scale.masked_fill(scale == 0, 1.0)[..., None]).round()
    return numbers.to(torch.int8), scale.float()


@guard("test_shared_tables_take_room_once")
def guard_other_models_have_a_size(lesson, expect, draw):
    """Tables of any size, shared or not, in any type."""
    for _ in range(4):
        n_rows, width = draw.integer(12, 90), draw.integer(5, 40)
        mask = draw.mask(draw.integer(5, 30), 7)
        for dtype in (torch.float32, torch.bfloat16, torch.float64):
            model = lesson.toy("tied model", draw.normal(n_rows, width).to(dtype), mask)
            right = n_rows * width * dtype.itemsize + mask.numel()
            of = f"the size of a tied table ({n_rows}, {width}) in {dtype}, and a mask"
            expect(lesson.size_in_bytes(model), right, of=of)


@guard("test_every_row_has_its_scale", seconds=QUICK)
def guard_rows_of_other_sizes(lesson, expect, draw):
    """Weights of any size, some rows large, some small, some zero."""
    for _ in range(6):
        weight = rows(draw, draw.integer(8, 30), draw.integer(9, 70), low=-30, high=20)
        weight[draw.integer(0, 7)] = 0.0
        of = f"the int8 of a weight {tuple(weight.shape)}"
        expect(lesson.quantize_rows(weight), in_int8(weight), of=of)
    batch = rows(draw, 2, 3, draw.integer(2, 4), draw.integer(6, 11))
    expect(lesson.quantize_rows(batch), in_int8(batch), of="the int8 of four dimensions")


def layer_of(lesson, draw, n_out, n_in, activations):
    """A learner's layer of a weight on the grid, and what its weight reads as in 64 bits."""
    weight, bias = rows(draw, n_out, n_in), draw.normal(n_out)
    layer = lesson.QuantizedLinear(lesson.toy("linear layer", weight, bias), activations)
    numbers, scale = in_int8(weight)
    return layer, weight, numbers.double() * scale.double()[:, None], bias.double()


@guard("test_layer_reads_its_weight", seconds=QUICK)
def guard_layers_of_other_sizes(lesson, expect, draw):
    """Layers that were made from weights, of any size, on inputs of any shape."""
    for shape in [(), (1,), (draw.integer(8, 20),), (2, 3, 4)]:
        n_out, n_in = draw.integer(9, 40), draw.integer(10, 60)
        layer, _, read, bias = layer_of(lesson, draw, n_out, n_in, False)
        x = draw.normal(*shape, n_in)
        right = F.linear(x.double(), read, bias).float()
        expect(layer(x), right, of=f"the layer ({n_out}, {n_in}) on {tuple(x.shape)}")


@guard("test_every_vector_has_its_scale", seconds=QUICK)
def guard_activations_of_other_sizes(lesson, expect, draw):
    """The same with activations in int8, some vectors zero."""
    for shape in [(), (1,), (draw.integer(8, 20),), (2, 3, 4)]:
        n_out, n_in = draw.integer(9, 40), draw.integer(10, 60)
        layer, _, read, bias = layer_of(lesson, draw, n_out, n_in, True)
        x = rows(draw, *shape, n_in)
        if shape:
            x[..., 0, :] = 0.0
        numbers, scale = in_int8(x)
        right = F.linear(numbers.double() * scale.double()[..., None], read, bias).float()
        of = f"the layer ({n_out}, {n_in}) with activations on {tuple(x.shape)}"
        expect(layer(x), right, of=of)


@guard("test_bound_is_the_worst_case", seconds=QUICK)
def guard_bounds_of_other_layers(lesson, expect, draw):
    """The bound of layers of any size, on inputs of any shape."""
    for activations in (False, True):
        for shape in [(), (draw.integer(8, 20),), (2, 3, 2)]:
            n_out, n_in = draw.integer(9, 40), draw.integer(10, 60)
            layer, weight, read, _ = layer_of(lesson, draw, n_out, n_in, activations)
            x = draw.normal(*shape, n_in, scale=4.0)
            half_steps = weight.double().abs().amax(1) / 254
            right = x.double().abs().sum(-1, keepdim=True) * half_steps
            if activations:
                half_step = x.double().abs().amax(-1, keepdim=True) / 254
                right = right + half_step * read.abs().sum(1)
            of = f"the bound of ({n_out}, {n_in}) on {tuple(x.shape)}, activations {activations}"
            expect(layer.error_bound(x), right.float(), of=of)


def kept(magnitudes, gone):
    """Which stay of a row when so many of the smallest go, the first of equals first."""
    mask = torch.ones(len(magnitudes), dtype=torch.bool)
    order = sorted(range(len(magnitudes)), key=lambda i: (float(magnitudes[i]), i))
    mask[order[:gone]] = False
    return mask


@guard("test_pruning_is_torchs", seconds=QUICK)
def guard_pruning_of_other_models(lesson, expect, draw):
    """Any number of tensors, any shapes, any share, many equals."""
    for n_tensors in (1, draw.integer(2, 5), 7):
        shapes = [(draw.integer(2, 6), draw.integer(1, 7)) for _ in range(n_tensors - 1)]
        shapes += [(draw.integer(11, 23),)]
        drawn = [draw.normal(*shape, scale=2.0) for shape in shapes]
        for coarse in (False, True):
            tensors = [w.round() if coarse else w for w in drawn]
            weights = {f"w{len(shapes) - i}": w for i, w in enumerate(tensors)}
            sparsity = float(draw.uniform(1, low=0.05, high=0.95))
            flat = [w.abs().flatten() for w in tensors]
            together = torch.cat(flat)
            gone = kept(together, round(sparsity * len(together))).split([len(w) for w in flat])
            right = {n: m.view(w.shape) for (n, w), m in zip(weights.items(), gone, strict=True)}
            of = f"the masks of {n_tensors} tensors, sparsity {sparsity:.3f}"
            expect(lesson.prune_by_magnitude(weights, sparsity, "global"), right, of=of)
            right = {
                name: kept(w.abs().flatten(), round(sparsity * w.numel())).view(w.shape)
                for name, w in weights.items()
            }
            expect(lesson.prune_by_magnitude(weights, sparsity, "layer"), right, of=f"{of}, layers")


@guard("test_share_of_all")
def guard_reports_of_other_models(lesson, expect, draw):
    """Any number of tensors of any size."""
    for n_tensors in (1, draw.integer(4, 9)):
        tensors, zeros, numbers = {}, 0, 0
        right = {}
        for i in range(n_tensors):
            shape = (draw.integer(1, 30), draw.integer(1, 30))
            tensors[f"t{i}"] = draw.normal(*shape) * draw.ids(3, *shape)
            z, n = int((tensors[f"t{i}"] == 0).sum()), math.prod(shape)
            right[f"t{i}"] = (z, n, z / n)
            zeros, numbers = zeros + z, numbers + n
        right["all"] = (zeros, numbers, zeros / numbers)
        expect(lesson.sparsity_report(tensors), right, of=f"the report on {n_tensors} tensors")


@guard("test_loss_is_torchs", seconds=QUICK)
def guard_losses_of_other_sizes(lesson, expect, draw):
    """Batches and vocabularies of any size, any temperature and mix, some targets left out."""
    for vocab_size in (2, draw.integer(8, 90)):
        batch, length = draw.integer(2, 5), draw.integer(7, 20)
        shape = (batch, length, vocab_size)
        student, teacher = draw.normal(*shape, scale=3.0), draw.normal(*shape, scale=3.0)
        targets = draw.ids(vocab_size, batch, length)
        targets[~draw.mask(batch, length)] = -1
        temperature = float(draw.uniform(1, low=0.6, high=9.0))
        mix = float(draw.uniform(1))
        scored = targets >= 0
        log_q = (student[scored].double() / temperature).log_softmax(-1)
        log_p = (teacher[scored].double() / temperature).log_softmax(-1)
        soft = (log_p.exp() * (log_p - log_q)).sum(-1).mean()
        hard = F.cross_entropy(student[scored].double(), targets[scored])
        right = (mix * temperature**2 * soft + (1 - mix) * hard).float()
        of = f"the loss of {shape} at temperature {temperature:.2f}, mix {mix:.2f}"
        mine = lesson.distillation_loss(student, teacher, targets, temperature, mix)
        expect(mine, right, of=of)


@guard("test_any_n_of_any_m", seconds=QUICK)
def guard_other_patterns(lesson, expect, draw):
    """Any n of any m, in weights of any size, with equals and without."""
    for _ in range(5):
        m = draw.integer(2, 9)
        n, shape = draw.integer(0, m), (draw.integer(2, 9), m * draw.integer(1, 6))
        drawn = draw.normal(*shape, scale=2.0)
        for weight in (drawn, drawn.round()):
            groups = weight.abs().reshape(-1, m)
            right = torch.stack([kept(group, m - n) for group in groups]).view(shape)
            of = f"what {n} of {m} leave of a weight {shape}"
            expect(lesson.prune_n_m(weight, n, m), right, of=of)

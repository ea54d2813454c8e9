"""Hidden checks for lesson 12, fine-tuning: other sizes, precisions, networks and turns."""

import math

import torch
import torch.nn.functional as F

from grader.checks import grad
from grader.instructor.guards import guard

INF = math.inf
IGNORE = -1


@guard("test_prompts_and_answers_of_any_length")
def guard_rows_of_any_length(lesson, expect, draw):
    """Twenty tables, padded with any id, among them wide ones and single columns of answers."""
    for _ in range(20):
        batch, length = draw.integer(1, 12), draw.integer(2, 40)
        ids = draw.ids(60, batch, length)
        lengths = draw.ids(length + 1, batch)
        prompts = (draw.uniform(batch) * (lengths + 1)).long()
        places = torch.arange(1, length).expand(batch, -1)
        answer = (places >= prompts[:, None]) & (places < lengths[:, None])
        right = (ids[:, :-1], torch.where(answer, ids[:, 1:], torch.tensor(IGNORE)))
        of = f"(inputs, targets) of prompts {prompts.tolist()} in rows of {lengths.tolist()}"
        expect(lesson.mask_prompt(ids, prompts, lengths), right, of=of)
        wrong = lengths.clone()
        wrong[draw.integer(0, batch - 1)] = length + draw.integer(1, 9)
        with expect.raises(ValueError, f"for rows of {wrong.tolist()} with T = {length}"):
            lesson.mask_prompt(ids, prompts, wrong)


def batch_of(draw, share=0.5):
    """Logits and targets of any size, one row of them without targets."""
    batch, length, vocab_size = draw.integer(2, 6), draw.integer(3, 20), draw.integer(2, 30)
    logits = draw.normal(batch, length, vocab_size, scale=3.0)
    targets = draw.ids(vocab_size, batch, length)
    targets = targets.masked_fill(~draw.mask(batch, length, share=share), IGNORE)
    targets[-1] = IGNORE
    return logits, targets


@guard("test_rows_with_gaps")
def guard_answers_of_any_size(lesson, expect, draw):
    """Any sizes, and any precision of the logits."""
    for dtype in (torch.float32, torch.float32, torch.bfloat16, torch.float64):
        logits, targets = batch_of(draw)
        logits = logits.to(dtype)
        rows = logits.double().transpose(1, 2)
        right = -F.cross_entropy(rows, targets, ignore_index=IGNORE, reduction="none").sum(1)
        mine = lesson.sequence_log_probability(logits, targets)
        of = f"the log-probabilities of logits {tuple(logits.shape)}, {dtype}"
        expect(mine, right.float(), of=of)


@guard("test_unscored_places_do_not_matter")
def guard_impossible_tokens(lesson, expect, draw):
    """Impossible tokens at unscored places say nothing, at scored ones they say -inf."""
    logits, targets = batch_of(draw)
    rows = logits.double().transpose(1, 2)
    right = -F.cross_entropy(rows, targets, ignore_index=IGNORE, reduction="none").sum(1).float()
    logits[..., -1] = torch.where(targets == IGNORE, -INF, logits[..., -1])
    expect(lesson.sequence_log_probability(logits, targets), right, of="the log-probabilities")
    row, place = (int(at[0]) for at in torch.nonzero(targets != IGNORE, as_tuple=True))
    logits[row, place, targets[row, place]] = -INF
    right[row] = -INF
    of = "the log-probabilities, one of the targets being impossible"
    expect(lesson.sequence_log_probability(logits, targets), right, of=of)


@guard("test_loss_of_any_batch")
def guard_losses_of_any_batch(lesson, expect, draw):
    """Any sizes and shares of scored tokens, with the gradient."""

    def loss(logits, targets):
        return F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=IGNORE)

    for share in (0.1, 0.5, 1.0):
        logits, targets = batch_of(draw, share)
        expect(lesson.supervised_loss(logits, targets), loss(logits, targets), of="the loss")
        mine = lesson.grad(lesson.supervised_loss, logits, targets)["arguments"][0]
        right = grad(loss, logits, targets)["arguments"][0]
        expect(mine, right, of="the gradient of the logits")
    with expect.raises(ValueError, "for targets that are all IGNORE"):
        lesson.supervised_loss(logits, torch.full_like(targets, IGNORE))


def some_layer(lesson, draw, dropout=0.0):
    """A layer of any size, with a bias or without; returns it, its numbers and its scale."""
    n_inputs, n_outputs, rank = draw.integer(2, 40), draw.integer(2, 40), draw.integer(1, 9)
    alpha = draw.integer(1, 64) / 4
    shapes = {"base__weight": (n_outputs, n_inputs), "base__bias": (n_outputs,)}
    shapes |= {"lora_A": (rank, n_inputs), "lora_B": (n_outputs, rank)}
    if draw.integer(0, 1):
        del shapes["base__bias"]
    weights = draw.weights(**shapes)
    linear = lesson.toy("layer to adapt", weights["base.weight"], weights.get("base.bias"))
    return lesson.LoRALinear(linear, rank, alpha, dropout).load(weights), weights, alpha / rank


def with_detour(x, weights, scale):
    """What a layer and its detour compute, in 64 bits."""
    w = {name: numbers.double() for name, numbers in weights.items()}
    way = F.linear(F.linear(x.double(), w["lora_A"]), w["lora_B"])
    return (F.linear(x.double(), w["base.weight"], w.get("base.bias")) + scale * way).float()


@guard("test_detour_begins_with_nothing")
def guard_first_values(lesson, expect, draw):
    """Layers of any size begin with B = 0, an A of the right spread and their own weight."""
    for _ in range(4):
        n_inputs, n_outputs, rank = draw.integer(50, 300), draw.integer(2, 50), draw.integer(20, 60)
        weight = draw.normal(n_outputs, n_inputs)
        made = lesson.LoRALinear(lesson.toy("layer to adapt", weight), rank, 1.0)
        now = made.weights()
        expect(now["lora_B"], torch.zeros(n_outputs, rank), of="B", tolerance=0)
        expect(now["base.weight"], weight, of="the layer's own weight", tolerance=0)
        spread = float(now["lora_A"].std()) * n_inputs**0.5
        right = abs(spread - 1) < 7 * (2 * rank * n_inputs) ** -0.5
        expect.true(
            right, f"A of {n_inputs} inputs has {spread:.3f} times the spread that it should"
        )
        names = lesson.toy("trained", made).read("names")
        expect(names, ["lora_A", "lora_B"], of="the parameters that are trained")


@guard("test_layer_and_detour")
def guard_layers_of_any_size(lesson, expect, draw):
    """Any width, rank and alpha; x of up to four dimensions."""
    for shape in [(), (4,), (2, 3), (2, 1, 3)]:
        layer, weights, scale = some_layer(lesson, draw)
        x = draw.normal(*shape, weights["base.weight"].shape[1])
        of = f"a layer {tuple(weights['base.weight'].shape)}, scale {scale:.3f}"
        expect(layer(x), with_detour(x, weights, scale), of=of)


@guard("test_merged_layer_says_the_same")
def guard_merged_layers(lesson, expect, draw):
    """Layers of any size say the same when merged, also in training with dropout."""
    for _ in range(4):
        layer, weights, scale = some_layer(lesson, draw, dropout=0.4)
        x = draw.normal(3, weights["base.weight"].shape[1])
        layer.merge()
        merged = weights["base.weight"] + scale * weights["lora_B"] @ weights["lora_A"]
        expect(layer.weights()["base.weight"], merged, of="the merged weight")
        expect(layer(x), with_detour(x, weights, scale), of="the result of a merged layer")


@guard("test_merge_and_unmerge_take_turns")
def guard_turns_in_any_order(lesson, expect, draw):
    """Merge and unmerge in any order: the weight is that of the last turn, to the bit."""
    layer, weights, scale = some_layer(lesson, draw)
    merged = weights["base.weight"] + scale * weights["lora_B"] @ weights["lora_A"]
    for _ in range(12):
        if draw.integer(0, 1):
            layer.merge()
            expect(layer.weights()["base.weight"], merged, of="the weight after a merge")
        else:
            layer.unmerge()
            now = layer.weights()["base.weight"]
            expect(now, weights["base.weight"], of="the weight after unmerge", tolerance=0)


@guard("test_shared_numbers_count_once")
def guard_networks_of_any_size(lesson, expect, draw):
    """Networks of any size, some of their parameters frozen."""
    for _ in range(4):
        vocab_size, width = draw.integer(5, 90), draw.integer(2, 30)
        network = lesson.toy("network to adapt", vocab_size, width)
        branch = (width * 2 * width + 2 * width) + 2 * width * width + 2 * width
        total = vocab_size * width + width * width + width + 2 * branch
        expect(lesson.count_parameters(network), (total, total), of="(trained, all)")
        network.freeze("branches.0.up_proj.weight", "branches.1.norm.bias")
        right = (total - 2 * width * width - width, total)
        expect(lesson.count_parameters(network), right, of="(trained, all), some of it frozen")


def some_pairs(draw, n, scale=9.0):
    """Four times n log-probabilities; eighths, so that differences are exact; one pair is wrong."""
    four = (draw.normal(4, n, scale=scale, shift=-60.0) * 8).round() / 8
    if four[0, 0] - four[1, 0] > four[2, 0] - four[3, 0]:
        four[:, 0] = four[[1, 0, 3, 2], 0]  # so that no loss is nearly 0
    return list(four)


def losses_of(four, beta, smoothing):
    """The mean loss of the pairs, in 64 bits."""
    chosen, rejected, old_chosen, old_rejected = (part.double() for part in four)
    margin = beta * ((chosen - rejected) - (old_chosen - old_rejected))
    losses = (1 - smoothing) * F.softplus(-margin) + smoothing * F.softplus(margin)
    return losses.mean().float()


@guard("test_pairs_of_any_size")
def guard_pairs_of_any_kind(lesson, expect, draw):
    """Any number of pairs, beta and smoothing, with a reference and without."""
    for _ in range(10):
        n, beta, smoothing = draw.integer(1, 20), draw.integer(1, 40) / 32, draw.integer(0, 8) / 16
        four = some_pairs(draw, n)
        of = f"the loss of {n} pairs, beta {beta}, label_smoothing {smoothing}"
        mine = lesson.dpo_loss(*four, beta, smoothing)
        expect(mine, losses_of(four, beta, smoothing), of=of)
        right = losses_of([*four[:2], torch.zeros(n), torch.zeros(n)], beta, smoothing)
        mine = lesson.dpo_loss(*four[:2], None, None, beta, smoothing)
        expect(mine, right, of=f"{of}, without reference")


@guard("test_which_way_it_pushes")
def guard_pushes_of_any_size(lesson, expect, draw):
    """The gradients of all four, also at margins of thousands."""

    def loss(chosen, rejected, old_chosen, old_rejected):
        margin = chosen - rejected - (old_chosen - old_rejected)
        return 0.75 * F.softplus(-0.2 * margin).mean() + 0.25 * F.softplus(0.2 * margin).mean()

    for scale in (5.0, 4000.0):
        four = some_pairs(draw, 7, scale)
        mine = lesson.grad(lesson.dpo_loss, *four, beta=0.2, label_smoothing=0.25)["arguments"]
        right = grad(loss, *four)["arguments"]
        expect(mine[:2], right[:2], of="the gradients of the policy's two")


@guard("test_settings_that_make_no_sense")
def guard_other_settings(lesson, expect, draw):
    """Whatever is outside of what the docstring allows is refused, what is inside is not."""
    four = list(draw.normal(4, 3))
    for beta in (0.0, -draw.integer(1, 9) / 2):
        with expect.raises(ValueError, f"for beta {beta}"):
            lesson.dpo_loss(*four, beta=beta)
    for smoothing in (0.5 + draw.integer(1, 30) / 64, -draw.integer(1, 64) / 64):
        with expect.raises(ValueError, f"for label_smoothing {smoothing}"):
            lesson.dpo_loss(*four, label_smoothing=smoothing)
    for at in (2, 3):
        part = [None if place == at else each for place, each in enumerate(four)]
        with expect.raises(ValueError, "for one reference of two"):
            lesson.dpo_loss(*part)


@guard("test_layers_by_the_end_of_their_names")
def guard_layers_of_a_gpt(lesson, expect, draw):
    """Any layers of a GPT; all else is frozen, and the model says the same."""
    needed = lesson.needed("model")
    kinds = ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"]
    for n_layer in (1, 3):
        shape = {"vocab_size": 17, "block_size": 6, "n_layer": n_layer, "n_head": 2, "n_embd": 8}
        model = needed.GPT(needed.GPTConfig(**shape)).eval()
        ids = draw.ids(17, 2, 5)
        before = model(ids)[0]
        names = [kind for kind, kept in zip(kinds, draw.mask(4).tolist(), strict=True) if kept]
        right = [f"transformer.h.{i}.{kind}" for i in range(n_layer) for kind in names]
        mine = lesson.add_adapters(model, names, 2, 4.0, 0.3)
        expect(mine, right, of=f"the layers replaced for {names}")
        expect(model(ids)[0], before, of="what the model says with new adapters")
        trained = sorted(f"{layer}.{part}" for layer in right for part in ("lora_A", "lora_B"))
        names = lesson.toy("trained", model).read("names")
        expect(names, trained, of="the parameters that are trained")


@guard("test_names_that_no_layer_bears")
def guard_other_unknown_names(lesson, expect, draw):
    """Names that are parts of names, or belong to something else, are refused."""
    for name in ("p_proj", "branches", "rm", "0.norm", "branches.2.proj", "weight", "proj.weight"):
        network = lesson.toy("network to adapt", 7, 4)
        with expect.raises(ValueError, f"for the name {name}"):
            lesson.add_adapters(network, ["head", name], 2, 4.0)
        now = [part for part in network.weights() if "lora" in part]
        expect(now, [], of=f"the adapters in the network after {name} was refused")

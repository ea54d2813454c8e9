"""Lesson 12, judged by closed forms, by transformers, by peft and by TRL's formula for DPO."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from grader.judge.toys.finetuning import Network
from solutions.finetuning import (
    LoRALinear,
    add_adapters,
    count_parameters,
    dpo_loss,
    mask_prompt,
    sequence_log_probability,
    supervised_loss,
)
from solutions.model import GPT, IGNORE, GPTConfig, next_token_loss
from solutions.trainer import parameter_groups, train_step

SHAPE = {"vocab_size": 23, "block_size": 12, "n_layer": 2, "n_head": 2, "n_embd": 16}
KINDS = ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"]


def gpt(seed: int = 0) -> GPT:
    torch.manual_seed(seed)
    return GPT(GPTConfig(**SHAPE)).eval()


def learn(module: nn.Module) -> nn.Module:
    """As if the adapters had learnt something already."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("lora_B"):
                parameter.normal_(std=0.3)
    return module


def layers_of(model: nn.Module) -> list[LoRALinear]:
    return [module for module in model.modules() if isinstance(module, LoRALinear)]


# Supervised


def rows(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids padded with 0 on the right, and the lengths of prompts and of all."""
    torch.manual_seed(seed)
    ids, lengths = torch.randint(1, 23, (5, 12)), torch.tensor([12, 7, 9, 3, 10])
    ids[torch.arange(12) >= lengths[:, None]] = 0
    return ids, torch.tensor([4, 0, 8, 3, 1]), lengths


def test_masked_targets_are_transformers_labels_shifted():
    """Prompt and padding labelled -100, the model shifting by itself: the same mean loss."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(1)
    theirs = GPT2LMHeadModel(
        GPT2Config(vocab_size=23, n_positions=12, n_embd=16, n_layer=1, n_head=2)
    ).eval()
    ids, prompts, lengths = rows()
    places = torch.arange(12)
    labels = ids.masked_fill((places < prompts[:, None]) | (places >= lengths[:, None]), -100)
    with torch.no_grad():
        right = theirs(ids, labels=labels).loss
        inputs, targets = mask_prompt(ids, prompts, lengths)
        logits = theirs(inputs).logits
    torch.testing.assert_close(supervised_loss(logits, targets), right)
    torch.testing.assert_close(supervised_loss(logits, targets), next_token_loss(logits, targets))


def test_mask_prompt_leaves_its_arguments_and_counts_every_answer_token():
    ids, prompts, lengths = rows()
    before = ids.clone()
    inputs, targets = mask_prompt(ids, prompts, lengths)
    assert torch.equal(ids, before)
    assert torch.equal(inputs, ids[:, :-1])
    # the first id of a row is never a target
    expected = lengths - prompts.clamp(min=1)
    assert torch.equal((targets != IGNORE).sum(1), expected)
    whole = mask_prompt(ids, torch.zeros(5).long(), torch.full((5,), 12))[1]
    assert torch.equal(whole, ids[:, 1:])


def test_an_answers_log_probability_is_the_product_of_its_steps():
    """Asked token by token, the model says the same as in one go."""
    model = gpt()
    ids, prompts, lengths = rows()
    inputs, targets = mask_prompt(ids, prompts, lengths)
    with torch.no_grad():
        mine = sequence_log_probability(model(inputs)[0], targets)
        for row in range(5):
            product = 1.0
            for place in range(max(1, int(prompts[row])), int(lengths[row])):
                shares = torch.softmax(model(ids[row : row + 1, :place])[0][0, -1].double(), -1)
                product *= float(shares[ids[row, place]])
            assert mine[row].item() == pytest.approx(math.log(product), rel=1e-5)
    assert mine[3] == 0  # all of it is prompt


def test_sequence_log_probability_has_right_gradients_and_keeps_nan_out():
    logits = torch.randn(2, 3, 5, requires_grad=True)
    targets = torch.tensor([[1, IGNORE, 4], [IGNORE, 0, 2]])
    found = torch.autograd.grad(sequence_log_probability(logits, targets).sum(), logits)[0]
    hot = F.one_hot(targets.clamp(min=0), 5)
    right = (hot - torch.softmax(logits, -1)) * (targets != IGNORE).unsqueeze(-1)
    torch.testing.assert_close(found, right.detach())
    poisoned = logits.detach().clone()
    poisoned[0, 1, 0] = -math.inf
    poisoned.requires_grad_()
    loss = sequence_log_probability(poisoned, targets).sum()
    assert loss.isfinite()
    assert torch.autograd.grad(loss, poisoned)[0].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_losses_are_computed_in_32_bits(dtype):
    logits, targets = torch.randn(3, 50, 9).to(dtype), torch.randint(0, 9, (3, 50))
    sums = sequence_log_probability(logits, targets)
    assert sums.dtype == supervised_loss(logits, targets).dtype == torch.float32
    right = -F.cross_entropy(logits.double().transpose(1, 2), targets, reduction="none").sum(1)
    torch.testing.assert_close(sums, right.float(), rtol=1e-6, atol=1e-4)


def test_nothing_to_score_is_said():
    with pytest.raises(ValueError, match="nothing to score"):
        supervised_loss(torch.randn(2, 3, 4), torch.full((2, 3), IGNORE))


# LoRA


@pytest.mark.parametrize("bias", [True, False])
def test_lora_is_pefts(bias):
    """The same matrices in peft's layer: equal results, gradients and merged weight."""
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    holder = nn.Sequential(nn.Linear(7, 5, bias=bias))
    ours = learn(LoRALinear(copy.deepcopy(holder[0]), 3, 6.0))
    config = peft.LoraConfig(r=3, lora_alpha=6, target_modules=["0"], lora_dropout=0.0)
    theirs = peft.inject_adapter_in_model(config, holder)[0]
    with torch.no_grad():
        theirs.lora_A["default"].weight.copy_(ours.lora_A)
        theirs.lora_B["default"].weight.copy_(ours.lora_B)
    x = torch.randn(4, 2, 7)
    torch.testing.assert_close(ours(x), theirs(x))
    for layer in (ours, theirs):
        (layer(x) ** 2).sum().backward()
    torch.testing.assert_close(ours.lora_A.grad, theirs.lora_A["default"].weight.grad)
    torch.testing.assert_close(ours.lora_B.grad, theirs.lora_B["default"].weight.grad)
    assert ours.base.weight.grad is None
    ours.merge()
    theirs.merge()
    torch.testing.assert_close(ours.base.weight, theirs.base_layer.weight)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("names", [["c_attn"], ["c_proj"], ["attn.c_proj", "c_fc"], KINDS])
def test_adapters_stand_where_peft_puts_them(names):
    """The same names mean the same layers, the same numbers are trained, the logits are equal."""
    peft = pytest.importorskip("peft")
    ours, theirs = gpt(), gpt()
    chosen = add_adapters(ours, names, 4, 8.0)
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=names)
    peft.inject_adapter_in_model(config, theirs)
    meant = [n for n, m in theirs.named_modules() if isinstance(m, peft.tuners.lora.Linear)]
    assert chosen == meant
    assert count_parameters(ours) == count_parameters(theirs)
    learn(ours)
    matrices = {n: p for n, p in ours.named_parameters() if "lora_" in n}
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "lora_" in name:
                parameter.copy_(matrices[name.replace(".default.weight", "")])
    ids = torch.randint(0, 23, (3, 9))
    torch.testing.assert_close(ours(ids)[0], theirs(ids)[0])


def test_merging_changes_no_answer_and_unmerging_no_bit():
    model = gpt()
    add_adapters(model, KINDS, 3, 7.0, dropout=0.5)
    learn(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ids = torch.randint(0, 23, (4, 12))
    plain = model(ids)[0]
    for turn in range(2):
        for layer in layers_of(model):
            layer.merge()
            layer.merge()
        torch.testing.assert_close(model(ids)[0], plain, rtol=1e-4, atol=1e-5)
        assert [p for p in model.parameters() if p.requires_grad] != []
        for layer in layers_of(model):
            for _ in range(turn + 1):
                layer.unmerge()
        after = model.state_dict()
        assert after.keys() == before.keys()
        assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_unmerging_is_exact_in_every_precision(dtype):
    torch.manual_seed(0)
    linear = nn.Linear(33, 21, dtype=dtype)
    weight = linear.weight.detach().clone()
    layer = learn(LoRALinear(linear, 5, 900.0))
    assert {p.dtype for p in layer.parameters()} == {dtype}
    layer.merge()
    assert not torch.equal(layer.base.weight, weight)
    by_subtraction = layer.base.weight - layer.scale * layer.lora_B @ layer.lora_A
    assert not torch.equal(by_subtraction, weight)  # so something has to be kept
    layer.unmerge()
    assert torch.equal(layer.base.weight, weight)
    assert layer.base.weight is linear.weight


def test_a_merged_head_leaves_the_token_table_alone_and_is_tied_again_afterwards():
    model = gpt()
    assert add_adapters(model, ["lm_head"], 2, 4.0) == ["lm_head"]
    learn(model)
    ids = torch.randint(0, 23, (2, 6))
    before, all_ = model(ids)[0], count_parameters(model)[1]
    model.lm_head.merge()
    torch.testing.assert_close(model(ids)[0], before, rtol=1e-4, atol=1e-5)
    model.lm_head.unmerge()
    assert model.lm_head.base.weight is model.transformer.wte.weight
    assert count_parameters(model)[1] == all_


def test_a_copy_of_a_merged_layer_can_be_unmerged():
    layer = learn(LoRALinear(nn.Linear(4, 4), 2, 2.0))
    weight = layer.base.weight.detach().clone()
    layer.merge()
    twin = copy.deepcopy(layer)
    twin.unmerge()
    assert torch.equal(twin.base.weight, weight)
    assert twin.base.weight is not layer.unmerged[0]


def test_dropout_follows_the_layers_mode_from_the_beginning():
    for training in (True, False):
        layer = learn(LoRALinear(nn.Linear(50, 4).train(training), 2, 2.0, dropout=0.5))
        x = torch.randn(3, 50)
        assert torch.equal(layer(x), layer(x)) is not training


def test_ranks_below_one_are_refused_and_leave_a_model_as_it_was():
    model = gpt()
    for rank in (0, -3):
        with pytest.raises(ValueError, match="rank"):
            add_adapters(model, ["c_attn"], rank, 4.0)
    assert not layers_of(model)
    assert count_parameters(model) == (model.num_parameters(), model.num_parameters())


def test_unknown_names_are_all_said():
    network = Network(9, 4)
    with pytest.raises(ValueError, match=r"c_attn, roj$"):
        add_adapters(network, ["proj", "c_attn", "roj"], 2, 4.0)
    assert not layers_of(network)


def test_counts_are_those_of_lesson_05():
    model = gpt()
    assert count_parameters(model) == (model.num_parameters(), model.num_parameters())
    add_adapters(model, ["c_attn"], 2, 4.0)
    trained = 2 * 2 * (16 + 48)
    assert count_parameters(model) == (trained, trained + gpt().num_parameters())


# Both together, with lesson 07's trainer


def train(model: nn.Module, batch, steps: int = 60, lr: float = 2e-2) -> list[float]:
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.0), lr=lr)
    model.train()
    return [float(train_step(model, optimizer, [batch])[0]) for _ in range(steps)]


def test_adapters_learn_answers_and_nothing_else_moves():
    model = gpt()
    model.loss = supervised_loss
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    add_adapters(model, [*KINDS, "lm_head"], 4, 8.0, dropout=0.1)
    batch = mask_prompt(*rows())
    losses = train(model, batch)
    assert losses[-1] < 0.4 * losses[0]
    for name, parameter in model.named_parameters():
        if name.endswith(("lora_A", "lora_B")):
            assert parameter.requires_grad
        else:
            assert torch.equal(parameter, before[name.replace(".base.", ".")]), name


# DPO


def trls_formula(four, beta, smoothing):
    """As in TRL's DPOTrainer, loss_type "sigmoid", spelt out with one sigmoid per pair."""
    chosen, rejected, old_chosen, old_rejected = (part.double() for part in four)
    logits = (chosen - rejected) - (old_chosen - old_rejected)
    ahead = torch.special.expit(beta * logits)
    behind = torch.special.expit(-beta * logits)
    return (-ahead.log() * (1 - smoothing) - behind.log() * smoothing).mean().float()


@pytest.mark.parametrize("beta", [0.01, 0.1, 0.5, 2.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_dpo_loss_is_trls(beta, smoothing):
    torch.manual_seed(0)
    four = list(torch.randn(4, 11) * 4 - 50)
    mine = dpo_loss(*four, beta=beta, label_smoothing=smoothing)
    torch.testing.assert_close(mine, trls_formula(four, beta, smoothing), rtol=1e-5, atol=1e-6)
    nothing = torch.zeros(11)
    free = dpo_loss(*four[:2], None, None, beta=beta, label_smoothing=smoothing)
    right = trls_formula([*four[:2], nothing, nothing], beta, smoothing)
    torch.testing.assert_close(free, right, rtol=1e-5, atol=1e-6)


def test_dpo_gradient_is_the_papers():
    """beta * sigmoid(-margin), up for the chosen, down for the rejected (section 4 of the paper)."""
    torch.manual_seed(1)
    four = [part.requires_grad_() for part in torch.randn(4, 6, dtype=torch.float64)]
    found = torch.autograd.grad(dpo_loss(*four, beta=0.7), four[:2])
    with torch.no_grad():
        margin = 0.7 * ((four[0] - four[1]) - (four[2] - four[3]))
        right = 0.7 * torch.sigmoid(-margin) / 6
    torch.testing.assert_close(found[0], -right)
    torch.testing.assert_close(found[1], right)
    assert torch.autograd.gradcheck(lambda *f: dpo_loss(*f, beta=0.7, label_smoothing=0.2), four)


@pytest.mark.parametrize("margin", [-1e6, -4000.0, 0.0, 4000.0, 1e6])
def test_dpo_is_finite_at_any_margin(margin):
    chosen = torch.tensor([margin], requires_grad=True)
    loss = dpo_loss(chosen, torch.zeros(1), None, None, beta=1.0, label_smoothing=0.1)
    loss.backward()
    right = 0.9 * max(-margin, 0) + 0.1 * max(margin, 0) if margin else math.log(2)
    assert loss.item() == pytest.approx(right)
    assert chosen.grad.isfinite().all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"beta": 0.0},
        {"beta": -1.0},
        {"beta": math.nan},
        {"label_smoothing": -0.01},
        {"label_smoothing": 0.51},
        {"label_smoothing": math.nan},
        {"reference_chosen": None},
        {"reference_rejected": None},
    ],
)
def test_what_makes_no_sense_is_refused(wrong):
    names = ("policy_chosen", "policy_rejected", "reference_chosen", "reference_rejected")
    with pytest.raises(ValueError, match=next(iter(wrong)).partition("_")[0]):
        dpo_loss(**({name: torch.randn(3) for name in names} | wrong))


def test_dpo_makes_a_model_prefer_what_was_chosen():
    """On adapters: the frozen model, with the adapters off, is its own reference."""
    model = gpt()
    torch.manual_seed(2)
    prompts = torch.randint(0, 20, (8, 4))
    answers = torch.tensor([[20, 21], [21, 20]])  # chosen, rejected
    pairs = [
        mask_prompt(
            torch.cat([prompts, answer.expand(8, -1)], 1), torch.full((8,), 4), torch.full((8,), 6)
        )
        for answer in answers
    ]

    def log_probabilities():
        return [sequence_log_probability(model(ids)[0], targets) for ids, targets in pairs]

    with torch.no_grad():
        reference = log_probabilities()
    add_adapters(model, [*KINDS, "lm_head"], 2, 4.0)
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.0), lr=1e-2)
    first = None
    for _ in range(40):
        loss = dpo_loss(*log_probabilities(), *reference, beta=0.2)
        first = loss.item() if first is None else first
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert first == pytest.approx(math.log(2))
    with torch.no_grad():
        chosen, rejected = log_probabilities()
    assert loss.item() < 0.5
    assert ((chosen - rejected) > (reference[0] - reference[1])).all()

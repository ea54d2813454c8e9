"""Checks for lesson 12, fine-tuning. Which step turns which check green:

1. mask_prompt                test_only_the_answer_is_a_target, test_the_end_is_part_of_the_answer,
                              test_prompts_and_answers_of_any_length,
                              test_lengths_that_cannot_be
2. sequence_log_probability   test_probabilities_of_a_row, test_rows_with_gaps,
                              test_unscored_places_do_not_matter, test_far_out_and_in_16_bits,
                              test_log_probabilities_pass_gradients_on
3. supervised_loss            test_every_token_counts_the_same, test_loss_of_any_batch,
                              test_nothing_to_score
4. LoRALinear.begin           test_layer_is_frozen, test_detour_begins_with_nothing
5. LoRALinear.forward         test_detour_by_hand, test_layer_and_detour,
                              test_only_the_detour_learns, test_dropout_is_the_detours_alone
6. LoRALinear.merge           test_merged_weight, test_merged_layer_says_the_same,
                              test_merging_twice_is_merging_once,
                              test_others_keep_the_shared_weight
7. LoRALinear.unmerge         test_every_bit_comes_back, test_merge_and_unmerge_take_turns
8. count_parameters           test_trained_and_all, test_shared_numbers_count_once
9. dpo_loss                   test_two_pairs_by_hand, test_nothing_moved_yet, test_pairs_of_any_size,
                              test_without_a_reference, test_labels_that_may_be_wrong,
                              test_margins_of_thousands, test_which_way_it_pushes,
                              test_settings_that_make_no_sense
stretch  add_adapters         test_layers_by_the_end_of_their_names, test_only_adapters_learn,
                              test_network_says_the_same_at_first,
                              test_names_that_no_layer_bears, test_adapters_of_two_kinds,
                              test_gpt_takes_adapters
"""

import math

import torch
import torch.nn.functional as F

from grader.checks import check, grad

INF = math.inf
IGNORE = -1
SUMS = 2e-5  # relative tolerance where sums of either sign are added up in another order

# 1. mask_prompt


def masked(ids, prompt_lengths, lengths):
    """Inputs and targets, token by token in plain Python."""
    targets = torch.full((ids.shape[0], ids.shape[1] - 1), IGNORE)
    for row, (prompt, end) in enumerate(zip(prompt_lengths, lengths, strict=True)):
        for place in range(1, ids.shape[1]):
            if prompt <= place < end:
                targets[row, place - 1] = ids[row, place]
    return ids[:, :-1], targets


@check("mask_prompt", points=1)
def test_only_the_answer_is_a_target(lesson, expect, draw):
    """The model learns to answer, not to ask: of two rows, only the answers' tokens are targets."""
    ids = torch.tensor([[11, 12, 13, 14, 15, 16, 17], [21, 22, 23, 24, 25, 0, 0]])
    right = (
        torch.tensor([[11, 12, 13, 14, 15, 16], [21, 22, 23, 24, 25, 0]]),
        torch.tensor([[-1, -1, 14, 15, 16, 17], [22, 23, 24, 25, -1, -1]]),
    )
    mine = lesson.mask_prompt(ids, torch.tensor([3, 1]), torch.tensor([7, 5]))
    question = "Which token stands before the answer's first one, and so is the one to predict it?"
    of = "(inputs, targets) of a prompt 11 12 13 and of a prompt 21 with two ids of padding"
    expect(mine, right, of=of, ask=question)


@check("mask_prompt", points=1)
def test_the_end_is_part_of_the_answer(lesson, expect, draw):
    """A model that is to stop must learn its end; the padding looks like it, and is not learnt."""
    ids = torch.tensor([[5, 6, 7, 9, 9, 9], [5, 9, 6, 7, 8, 9]])
    targets = torch.tensor([[-1, 7, 9, -1, -1], [-1, -1, 7, 8, 9]])
    mine = lesson.mask_prompt(ids, torch.tensor([2, 3]), torch.tensor([4, 6]))
    question = "Id 9 ends an answer, and fills up a short row. How do you know which of them it is?"
    of = "(inputs, targets) where 9 is the end and the padding"
    expect(mine, (ids[:, :-1], targets), of=of, ask=question)


@check("mask_prompt", points=1)
def test_prompts_and_answers_of_any_length(lesson, expect, draw):
    """Rows without prompt, without answer, full and nearly empty: each has its own lengths."""
    for batch, length in [(7, 9), (3, 3), (1, 12), (5, 2), (9, 4)]:
        ids = draw.ids(40, batch, length)
        lengths = draw.ids(length + 1, batch)
        lengths[0] = length
        prompts = (draw.uniform(batch) * (lengths + 1)).long()
        right = masked(ids, prompts.tolist(), lengths.tolist())
        question = "Which places of a row are answer: from where on, and up to where?"
        of = f"(inputs, targets) of prompts {prompts.tolist()} in rows of {lengths.tolist()}"
        expect(lesson.mask_prompt(ids, prompts, lengths), right, of=of, ask=question)


@check("mask_prompt", points=1)
def test_lengths_that_cannot_be(lesson, expect, draw):
    """A prompt that is longer than its row is a mistake made before, and should be heard of."""
    ids = draw.ids(30, 3, 6)
    for prompts, lengths in [
        ([2, 5, 1], [6, 4, 3]),
        ([2, 0, 1], [6, 4, 7]),
        ([2, 0, -1], [6, 4, 3]),
        ([2, 7, 1], [6, 7, 3]),
        ([0, -2, 1], [6, -1, 3]),
    ]:
        question = "Which three things must be in order, and what is the smallest and the largest?"
        when = f"for prompts of {prompts} ids in rows of {lengths}, with T = 6"
        with expect.raises(ValueError, when, ask=question):
            lesson.mask_prompt(ids, torch.tensor(prompts), torch.tensor(lengths))


# 2. sequence_log_probability


def targets_of(draw, vocab_size, batch, length, share=0.6):
    """Random targets, about this share of them to be scored and at least one in each row."""
    ids, scored = draw.ids(vocab_size, batch, length), draw.mask(batch, length, share=share)
    return ids.masked_fill(~scored, IGNORE)


def log_probabilities(logits, targets):
    """log p of each target, 0 where none is scored: (B, T), in 64 bits."""
    rows = logits.double().transpose(1, 2)
    return -F.cross_entropy(rows, targets, ignore_index=IGNORE, reduction="none")


@check("sequence_log_probability", points=1)
def test_probabilities_of_a_row(lesson, expect, draw):
    """An answer of two tokens, one as likely as 1/2, one as 1/4, is as likely as 1/8."""
    logits = torch.tensor([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.1, 0.1, 0.8]]).log()
    logits = torch.stack([logits, logits.flip(0)]) + 3.0
    for targets, shares in [
        ([[0, 0, -1], [-1, -1, 2]], [0.5 * 0.25, 0.25]),
        ([[1, 1, 2], [0, 1, 0]], [0.25 * 0.5 * 0.8, 0.1 * 0.5 * 0.5]),
    ]:
        right = torch.tensor(shares).log()
        question = "Which probability has each of the scored tokens? And what is log(a * b)?"
        mine = lesson.sequence_log_probability(logits, torch.tensor(targets))
        expect(mine, right, of=f"the log-probability of {targets}", ask=question)


@check("sequence_log_probability", points=1)
def test_rows_with_gaps(lesson, expect, draw):
    """One number per row, a sum over as many tokens as are scored: none of them, or all."""
    for batch, length, vocab_size in [(3, 5, 7), (1, 8, 4), (6, 1, 9), (4, 4, 4), (2, 9, 3)]:
        logits = draw.normal(batch, length, vocab_size, scale=2.0)
        targets = targets_of(draw, vocab_size, batch, length)
        targets[0] = draw.ids(vocab_size, length)
        if batch > 2:
            targets[2] = IGNORE
        right = log_probabilities(logits, targets).sum(1).float()
        question = "Over which dimension do you sum, and what does an ignored place add?"
        of = f"the log-probabilities of {batch} rows of length {length}"
        expect(lesson.sequence_log_probability(logits, targets), right, of=of, ask=question)


@check("sequence_log_probability", points=1)
def test_unscored_places_do_not_matter(lesson, expect, draw):
    """What the model says about the prompt and the padding changes nothing, not even -inf."""
    logits, targets = draw.normal(4, 6, 5), targets_of(draw, 5, 4, 6, share=0.5)
    right = log_probabilities(logits, targets).sum(1).float()
    unscored = (targets == IGNORE).unsqueeze(-1)
    for tokens in ([0], [4], [0, 2, 4]):
        held_impossible = torch.zeros(5, dtype=torch.bool)
        held_impossible[tokens] = True
        other = torch.where(unscored, draw.normal(4, 6, 5, scale=9.0), logits)
        other = other.masked_fill(unscored & held_impossible, -INF)
        question = "What is 0 times -inf? Do you pick what counts, or multiply by a mask?"
        of = f"log-probabilities where tokens {tokens} of places not scored have -inf"
        expect(lesson.sequence_log_probability(other, targets), right, of=of, ask=question)


@check("sequence_log_probability", points=1)
def test_far_out_and_in_16_bits(lesson, expect, draw):
    """Large logits overflow nowhere, and 16 bits lose no digits in the sum."""
    question = "What is exp(1000), and the logarithm of exp(-1000), in 32 bits?"
    logits = torch.tensor([[[1000.0, 0.0], [0.0, -2000.0]], [[-4.0, -4.0], [5.0, -INF]]])
    mine = lesson.sequence_log_probability(logits, torch.tensor([[1, 1], [0, 1]]))
    expect(mine, torch.tensor([-3000.0, -INF]), of="of tokens held impossible", ask=question)
    mine = lesson.sequence_log_probability(logits, torch.tensor([[0, 0], [1, 0]]))
    expect(mine, torch.tensor([0.0, -math.log(2)]), of="of tokens held certain", ask=question)
    question = "How many digits has a bfloat16? In which precision is the softmax, and the sum?"
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        logits, targets = draw.normal(3, 40, 6).to(dtype), targets_of(draw, 6, 3, 40)
        right = log_probabilities(logits, targets).sum(1).float()
        mine = lesson.sequence_log_probability(logits, targets)
        expect(mine, right, of=f"the log-probabilities of logits of {dtype}", ask=question)


@check("sequence_log_probability", points=1)
def test_log_probabilities_pass_gradients_on(lesson, expect, draw):
    """Training goes through them: scored places pull at their logits, the others do not."""
    logits, targets = draw.normal(3, 5, 6, scale=2.0), targets_of(draw, 6, 3, 5)

    def summed(logits, targets):
        return log_probabilities(logits, targets).sum(1)

    right = grad(summed, logits, targets)["arguments"][0]
    mine = lesson.grad(lesson.sequence_log_probability, logits, targets)["arguments"][0]
    question = "Does the sum of the exponentials learn too, or only the target's logit?"
    expect(mine, right, of="the gradient of the logits", ask=question)


# 3. supervised_loss


@check("supervised_loss", points=1)
def test_every_token_counts_the_same(lesson, expect, draw):
    """A long answer has more to learn from than a short one: the mean is over tokens."""
    easy, hard = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.875, 0.125]).log()
    logits = torch.stack([torch.stack([hard, easy, easy]), torch.stack([easy, easy, easy])])
    targets = torch.tensor([[1, -1, -1], [0, 1, 1]])  # surprises: log 8; three times log 2
    right = torch.tensor((math.log(8) + 3 * math.log(2)) / 4)
    question = "Four tokens are scored, one of them surprises by log(8). By what do you divide?"
    of = "the loss of one hard token and three easy ones"
    expect(lesson.supervised_loss(logits, targets), right, of=of, ask=question)


@check("supervised_loss", points=1)
def test_loss_of_any_batch(lesson, expect, draw):
    """It is the loss of training, on the answers alone, also with 16 bits; gradients go through."""
    for batch, length, vocab_size, dtype in [
        (3, 6, 5, torch.float32),
        (1, 9, 4, torch.float32),
        (5, 30, 7, torch.bfloat16),
    ]:
        logits = draw.normal(batch, length, vocab_size, scale=2.0).to(dtype)
        targets = targets_of(draw, vocab_size, batch, length, share=0.4)
        rows = logits.double().transpose(1, 2)
        right = F.cross_entropy(rows, targets, ignore_index=IGNORE).float()
        question = "Of which places is it the mean: of all, or of those that are scored?"
        of = f"the loss of {batch} rows of length {length}, logits of {dtype}"
        expect(lesson.supervised_loss(logits, targets), right, of=of, ask=question)

    def loss(logits, targets):
        return F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=IGNORE)

    logits, targets = draw.normal(3, 4, 5), targets_of(draw, 5, 3, 4)
    mine = lesson.grad(lesson.supervised_loss, logits, targets)["arguments"][0]
    right = grad(loss, logits, targets)["arguments"][0]
    expect(mine, right, of="the gradient of the logits", ask="Is all of it still one tensor?")


@check("supervised_loss", points=1)
def test_nothing_to_score(lesson, expect, draw):
    """A batch without an answer stops you before it spoils the model."""
    for shape in [(3, 4), (1, 1)]:
        question = "What is 0 / 0, and what does one step along it do to the weights?"
        with expect.raises(ValueError, "for targets that are all IGNORE", ask=question):
            lesson.supervised_loss(draw.normal(*shape, 5), torch.full(shape, IGNORE))
    logits, targets = draw.normal(2, 3, 4), torch.full((2, 3), IGNORE)
    targets[1, 2] = 0
    right = F.cross_entropy(logits[1, 2:].double(), targets[1, 2:]).float()
    question = "One token is scored, and its id is 0. Does it count?"
    expect(lesson.supervised_loss(logits, targets), right, of="the loss of one token", ask=question)


# 4. LoRALinear.begin


def layer_weights(draw, n_inputs, n_outputs, rank, bias=True, scale=0.5):
    """Numbers for a layer with its detour, by name."""
    shapes = {"base__weight": (n_outputs, n_inputs), "base__bias": (n_outputs,)}
    shapes |= {"lora_A": (rank, n_inputs), "lora_B": (n_outputs, rank)}
    if not bias:
        del shapes["base__bias"]
    return draw.weights(scale, **shapes)


def adapted(lesson, weights, alpha, dropout=0.0):
    """Your LoRALinear with these numbers."""
    linear = lesson.toy("layer to adapt", weights["base.weight"], weights.get("base.bias"))
    return lesson.LoRALinear(linear, len(weights["lora_A"]), alpha, dropout).load(weights)


def with_detour(x, weights, scale):
    """What the layer and its detour compute."""
    way = F.linear(F.linear(x, weights["lora_A"]), weights["lora_B"])
    return F.linear(x, weights["base.weight"], weights.get("base.bias")) + scale * way


@check("LoRALinear.begin", points=1)
def test_layer_is_frozen(lesson, expect, draw):
    """Only the two thin matrices learn; the layer stays what it was, with a bias or without."""
    for bias in (draw.normal(5), None):
        weight = draw.normal(5, 7)
        layer = lesson.LoRALinear(lesson.toy("layer to adapt", weight, bias), 2, 4.0)
        of = f"the parameters that are trained, of a layer {'without' if bias is None else 'with'} bias"
        names = lesson.toy("trained", layer).read("names")
        question = "Which parameters has `base`, and which of them may still move?"
        expect(names, ["lora_A", "lora_B"], of=of, ask=question)
        now = layer.weights()
        question = "Which of the matrices did you fill?"
        expect(now["base.weight"], weight, of="the layer's own weight", ask=question, tolerance=0)


@check("LoRALinear.begin", points=1)
def test_detour_begins_with_nothing(lesson, expect, draw):
    """Fine-tuning begins exactly at the model that is there: B is 0, and only B."""
    for n_inputs, n_outputs, rank in [(5, 3, 2), (1, 4, 3000), (60, 60, 50), (400, 6, 8)]:
        linear = lesson.toy("layer to adapt", draw.normal(n_outputs, n_inputs))
        made = lesson.LoRALinear(linear, rank, 8.0).weights()
        right = torch.zeros(n_outputs, rank)
        expect(made["lora_B"], right, of="B", ask="What must B be for B A to be 0 everywhere?")
        if n_inputs == 5:
            continue  # too few numbers to tell
        # of n normal numbers the mean deviates by 1 / sqrt(n), the spread by 1 / sqrt(2 n): 7 sigma
        n, wanted = rank * n_inputs, n_inputs**-0.5
        spread, mean = float(made["lora_A"].std()), float(made["lora_A"].mean())
        details = f"{n_inputs} inputs, standard deviation {spread:.4f}, wanted {wanted:.4f}"
        question = (
            "Does the number of inputs come in? Is it the deviation that you set, or the mean?"
        )
        large, small = (spread / wanted - 1) * n**0.5 > 5, (1 - spread / wanted) * n**0.5 > 5
        expect.true(not large, "the numbers of A are too large", details=details, ask=question)
        expect.true(not small, "the numbers of A are too small", details=details, ask=question)
        expect.true(
            abs(mean / wanted) < 7 * n**-0.5,
            f"the numbers of A have a mean of {mean:.4f}, where 0 is wanted",
            ask="Which argument of `nn.init.normal_` is the mean?",
        )
    again = lesson.LoRALinear(linear, rank, 8.0).weights()["lora_A"]
    expect.true(
        not torch.equal(again, made["lora_A"]),
        "two layers begin with the same A",
        ask="Where do your random numbers come from? Is there a seed in your function?",
    )


# 5. LoRALinear.forward


@check("LoRALinear.forward", points=1)
def test_detour_by_hand(lesson, expect, draw):
    """Two inputs, one output, rank 1: small enough for a sheet of paper."""
    weights = {
        **{"base.weight": torch.tensor([[2.0, -1.0]]), "base.bias": torch.tensor([10.0])},
        **{"lora_A": torch.tensor([[1.0, 3.0]]), "lora_B": torch.tensor([[5.0]])},
    }
    # x = (1, 2): the layer gives 2 - 2 + 10 = 10; A x = 7, B A x = 35, times alpha / rank = 4
    question = "What does the layer say to (1, 2)? What does the detour? By what is it scaled?"
    mine = adapted(lesson, weights, 4.0)(torch.tensor([[1.0, 2.0]]))
    expect(mine, torch.tensor([[10.0 + 4 * 35.0]]), of="the layer at (1, 2), alpha 4", ask=question)


@check("LoRALinear.forward", points=1)
def test_layer_and_detour(lesson, expect, draw):
    """Any width, rank and alpha, a bias or none, and x of any number of dimensions."""
    for n_inputs, n_outputs, rank, alpha, shape in [
        (5, 7, 3, 6.0, (2, 4)),
        (8, 3, 2, 1.0, (3,)),
        (4, 4, 4, 16.0, ()),
        (6, 9, 1, 0.5, (2, 3, 5)),
        (3, 2, 5, 10.0, (1, 1)),
    ]:
        bias = n_inputs != 8
        weights = layer_weights(draw, n_inputs, n_outputs, rank, bias)
        x = draw.normal(*shape, n_inputs)
        right = with_detour(x.double(), {n: w.double() for n, w in weights.items()}, alpha / rank)
        question = "Which of A and B comes first? Is the scale alpha, or alpha / rank?"
        of = f"a layer of {n_inputs} to {n_outputs} with rank {rank}, alpha {alpha}"
        expect(adapted(lesson, weights, alpha)(x), right.float(), of=of, ask=question)


@check("LoRALinear.forward", points=1)
def test_only_the_detour_learns(lesson, expect, draw):
    """Gradients reach A, B and what lies before the layer, and never its own weight."""
    weights, x = layer_weights(draw, 5, 4, 2), draw.normal(3, 5)
    mine = lesson.grad(adapted(lesson, weights, 6.0), x)

    def together(x, a, b):
        return with_detour(x, {**weights, "lora_A": a, "lora_B": b}, 3.0)

    right = grad(together, x, weights["lora_A"], weights["lora_B"])["arguments"]
    question = "Is the way from x to the result one of tensors, through A and through B?"
    expect(mine["arguments"][0], right[0], of="the gradient of x", ask=question)
    for name, gradient in zip(("lora_A", "lora_B"), right[1:], strict=True):
        of = f"the gradient of {name}"
        expect(mine["parameters"].get(name), gradient, of=of, ask=question, tolerance=SUMS)
    for name in ("base.weight", "base.bias"):
        of = f"the gradient of {name}, which is frozen"
        expect(mine["parameters"].get(name), None, of=of, ask="Is `base` frozen?")


@check("LoRALinear.forward", points=1)
def test_dropout_is_the_detours_alone(lesson, expect, draw):
    """In training, inputs of the detour drop out; what the layer knows never does."""
    # three inputs of 1 and A = (1, 2, 4): what comes out tells which of them were dropped
    weights = {
        **{"base.weight": torch.tensor([[32.0, 32.0, 64.0]] * 2), "base.bias": torch.ones(2)},
        **{"lora_A": torch.tensor([[1.0, 2.0, 4.0]]), "lora_B": torch.tensor([[3.0], [5.0]])},
    }
    layer, x = adapted(lesson, weights, 2.0, 0.5), torch.ones(600, 3)
    layer.eval()
    question = "When does dropout work? `self.dropout` knows by itself."
    of = "the layer in evaluation mode"
    expect(layer(x), torch.tensor([[129 + 42.0, 129 + 70.0]] * 600), of=of, ask=question)
    layer.train()
    seen = sorted(map(tuple, layer(x).tolist()))
    seen = [row for row, before in zip(seen, [None, *seen], strict=False) if row != before]
    # each kept input counts twice: scale 2 * (3, 5) * 2 * (0 .. 7)
    right = [(129.0 + 12.0 * kept, 129.0 + 20.0 * kept) for kept in range(8)]
    question = "What drops out: x on its way into A, what comes out of A, or the whole detour?"
    of = "the different results of 600 equal rows, dropout 0.5, in order"
    expect(seen, right, of=of, ask=question)


# 6. LoRALinear.merge


@check("LoRALinear.merge", points=1)
def test_merged_weight(lesson, expect, draw):
    """One matrix holds it all: what the layer knew, and what the detour has learnt."""
    for n_inputs, n_outputs, rank, alpha, bias in [(5, 7, 2, 6.0, True), (4, 4, 3, 1.0, False)]:
        weights = layer_weights(draw, n_inputs, n_outputs, rank, bias)
        layer = adapted(lesson, weights, alpha)
        layer.merge()
        now = layer.weights()
        right = weights["base.weight"] + alpha / rank * weights["lora_B"] @ weights["lora_A"]
        question = "B A or A B: which one is as large as the weight? And what is its scale?"
        of = f"the weight of {n_inputs} inputs and {n_outputs} outputs, merged"
        expect(now["base.weight"], right, of=of, ask=question)
        for name in sorted(weights.keys() - {"base.weight"}):
            expect(now[name], weights[name], of=f"{name} after a merge", tolerance=0)
        of, question = "what `unmerged` keeps", "Did you keep it before you changed it, or after?"
        expect(layer.read("unmerged"), (weights["base.weight"],), of=of, ask=question, tolerance=0)
    of = "the parameters that are trained after a merge"
    names = lesson.toy("trained", layer).read("names")
    expect(names, ["lora_A", "lora_B"], of=of, ask="May the merged weight get gradients?")


@check("LoRALinear.merge", points=1)
def test_merged_layer_says_the_same(lesson, expect, draw):
    """A merged layer answers as before, without a detour and without dropout."""
    weights, x = layer_weights(draw, 6, 5, 2), draw.normal(3, 4, 6)
    layer = adapted(lesson, weights, 3.0, 0.5)
    right = with_detour(x, weights, 1.5)
    layer.merge()
    for training in (False, True):
        layer.train(training)
        question = "The detour is in the weight now. Does `forward` add it once more?"
        of = f"the result of a merged layer with training={training}"
        expect(layer(x), right, of=of, ask=question)


@check("LoRALinear.merge", points=1)
def test_merging_twice_is_merging_once(lesson, expect, draw):
    """Whoever calls it once more, to be sure, has changed nothing."""
    weights = layer_weights(draw, 4, 3, 2)
    layer = adapted(lesson, weights, 2.0)
    for _ in range(3):
        layer.merge()
    right = weights["base.weight"] + weights["lora_B"] @ weights["lora_A"]
    question = "How does the layer know that it is merged already?"
    expect(layer.weights()["base.weight"], right, of="the weight, merged 3 times", ask=question)


@check("LoRALinear.merge", points=1)
def test_others_keep_the_shared_weight(lesson, expect, draw):
    """The head of a GPT is its token table: a merged head must not change what tokens mean."""
    weights = layer_weights(draw, 4, 6, 2, bias=False)
    linear = lesson.toy("layer to adapt", weights["base.weight"])
    table = lesson.toy("table of", linear)
    layer = lesson.LoRALinear(linear, 2, 5.0).load(weights)
    layer.merge()
    merged = weights["base.weight"] + 2.5 * weights["lora_B"] @ weights["lora_A"]
    expect(layer.weights()["base.weight"], merged, of="the layer's own weight, merged")
    of = "the weight of a table that the layer shared its weight with"
    question = "Did you change the numbers in place? Who else has this tensor?"
    right = weights["base.weight"]
    expect(table.weights()["weight"], right, of=of, ask=question, tolerance=0)


# 7. LoRALinear.unmerge


@check("LoRALinear.unmerge", points=1)
def test_every_bit_comes_back(lesson, expect, draw):
    """The model that you began with is there again, and not only nearly."""
    weights, x = layer_weights(draw, 6, 5, 2), draw.normal(4, 6)
    weights["lora_B"] *= 1e9  # beside it, the weight is too small for 32 bits
    layer = adapted(lesson, weights, 3.0)
    layer.merge()
    layer.unmerge()
    question = "Is (a + b) - b always a, for numbers of 32 bits? What could you have kept instead?"
    for name, right in weights.items():
        expect(layer.weights()[name], right, of=f"{name} afterwards", ask=question, tolerance=0)
    right = with_detour(x.double(), {n: w.double() for n, w in weights.items()}, 1.5).float()
    of = "the result after merge and unmerge"
    expect(layer(x), right, of=of, ask="Is the detour at work again?")
    names = lesson.toy("trained", layer).read("names")
    question = "What was the weight before: frozen, or trained?"
    expect(names, ["lora_A", "lora_B"], of="the parameters that are trained", ask=question)


@check("LoRALinear.unmerge", points=1)
def test_merge_and_unmerge_take_turns(lesson, expect, draw):
    """Merge to try it out, go on training, merge again: every time with what is there then."""
    weights = layer_weights(draw, 3, 4, 2)
    layer = adapted(lesson, weights, 4.0)
    layer.unmerge()
    question = "What is there to take out of a layer that was never merged?"
    now = layer.weights()["base.weight"]
    expect(now, weights["base.weight"], of="a weight never merged", ask=question, tolerance=0)
    for turn in (1, 2, 3):
        learnt = draw.weights(lora_A=(2, 3), lora_B=(4, 2))
        layer.load(learnt)
        layer.merge()
        right = weights["base.weight"] + 2.0 * learnt["lora_B"] @ learnt["lora_A"]
        question = "Does `unmerge` leave the layer so that the next merge works from the start?"
        of = f"the weight after merge number {turn}"
        expect(layer.weights()["base.weight"], right, of=of, ask=question)
        for _ in range(turn):
            layer.unmerge()
        now = layer.weights()["base.weight"]
        of = f"the weight after merge number {turn} and {turn} times unmerge"
        expect(now, weights["base.weight"], of=of, ask=question, tolerance=0)


# 8. count_parameters


@check("count_parameters", points=1)
def test_trained_and_all(lesson, expect, draw):
    """You see what LoRA saves: a few numbers are trained, and how many there are in all."""
    for n_inputs, n_outputs, rank, bias in [(10, 20, 2, True), (7, 5, 3, False)]:
        layer = adapted(lesson, layer_weights(draw, n_inputs, n_outputs, rank, bias), 1.0)
        trained = rank * (n_inputs + n_outputs)
        right = (trained, trained + n_inputs * n_outputs + n_outputs * bias)
        of = f"(trained, all) of a layer {n_inputs} to {n_outputs} with rank {rank}"
        question = "Which matrices are there, and how many numbers has each?"
        expect(lesson.count_parameters(layer), right, of=of, ask=question)


@check("count_parameters", points=1)
def test_shared_numbers_count_once(lesson, expect, draw):
    """A head that is the token table is one table; buffers are no parameters."""
    network = lesson.toy("network to adapt", 11, 3)
    # table 33, proj 9 + 3; twice: up_proj 18 + 6, proj 18, norm 3 + 3; the head is the table
    total = 33 + 12 + 2 * (24 + 18 + 6)
    question = "How often do you count the table, which is the head as well?"
    expect(lesson.count_parameters(network), (total, total), of="(trained, all)", ask=question)
    network.freeze("table.weight", "proj.bias", "branches.1.norm.weight")
    question = "Which of the parameters have requires_grad? Do the others still exist?"
    of = "(trained, all) of a network in which table, one bias and one norm's weight are frozen"
    expect(lesson.count_parameters(network), (total - 33 - 3 - 3, total), of=of, ask=question)


# 9. dpo_loss


def log_probabilities_of_pairs(draw, n):
    """Four times n log-probabilities; eighths, so that differences are exact; one pair is wrong."""
    four = (draw.normal(4, n, scale=9.0, shift=-40.0) * 8).round() / 8
    if four[0, 0] - four[1, 0] > four[2, 0] - four[3, 0]:
        four[:, 0] = four[[1, 0, 3, 2], 0]  # so that no loss is nearly 0
    return list(four)


def losses_of(four, beta, smoothing=0.0):
    """The loss of each pair, one by one in plain Python."""
    losses = []
    for chosen, rejected, old_chosen, old_rejected in torch.stack(four).T.tolist():
        margin = beta * ((chosen - rejected) - (old_chosen - old_rejected))
        right, turned = (math.log1p(math.exp(m)) for m in (-margin, margin))
        losses.append((1 - smoothing) * right + smoothing * turned)
    return torch.tensor(losses, dtype=torch.float64)


@check("dpo_loss", points=1)
def test_two_pairs_by_hand(lesson, expect, draw):
    """A pair that moved the right way costs less than one that moved the wrong way."""
    chosen, rejected = torch.tensor([-10.0, -30.0]), torch.tensor([-20.0, -26.0])
    old_chosen, old_rejected = torch.tensor([-14.0, -29.0]), torch.tensor([-19.0, -27.0])
    # log-ratios: 10 against 5 before, and -4 against -2 before: margins of 5 and -2
    right = (math.log1p(math.exp(-0.5)) + math.log1p(math.exp(0.2))) / 2
    mine = lesson.dpo_loss(chosen, rejected, old_chosen, old_rejected, beta=0.1)
    question = "Chosen over rejected was 5 before and is 10 now: by how much has it moved?"
    expect(mine, torch.tensor(right), of="the loss of margins 5 and -2, beta 0.1", ask=question)


@check("dpo_loss", points=1)
def test_nothing_moved_yet(lesson, expect, draw):
    """Training begins at log(2): the model is its own reference, and every pair is a coin."""
    for n, beta, smoothing in [(3, 0.1, 0.0), (1, 5.0, 0.0), (4, 0.5, 0.3)]:
        chosen, rejected, _, _ = log_probabilities_of_pairs(draw, n)
        mine = lesson.dpo_loss(chosen, rejected, chosen, rejected, beta, smoothing)
        question = "What is the margin here, and sigmoid(0), and minus its logarithm?"
        of = f"the loss of a model that is its own reference, beta {beta}"
        expect(mine, torch.tensor(math.log(2)), of=of, ask=question)


@check("dpo_loss", points=1)
def test_pairs_of_any_size(lesson, expect, draw):
    """Any number of pairs, any beta: the mean over the pairs, of the paper's formula."""
    for n, beta in [(4, 0.1), (1, 0.3), (7, 0.05), (3, 1.0)]:
        four = log_probabilities_of_pairs(draw, n)
        mine = lesson.dpo_loss(*four, beta=beta)
        question = "Is beta inside of the sigmoid? And which of the four come with a minus?"
        of = f"the loss of {n} pairs with beta {beta}"
        expect(mine, losses_of(four, beta).mean().float(), of=of, ask=question)
    right = losses_of(four, 0.1).mean().float()
    expect(lesson.dpo_loss(*four), right, of="the loss with the usual beta, 0.1")


@check("dpo_loss", points=1)
def test_without_a_reference(lesson, expect, draw):
    """Without a reference, the model itself should find the better answer more probable."""
    for n, beta, smoothing in [(5, 0.1, 0.0), (2, 0.4, 0.2)]:
        chosen, rejected, _, _ = log_probabilities_of_pairs(draw, n)
        nothing = torch.zeros(n)
        right = losses_of([chosen, rejected, nothing, nothing], beta, smoothing).mean().float()
        mine = lesson.dpo_loss(chosen, rejected, None, None, beta, smoothing)
        question = "A reference that finds both equally probable: what is its log-ratio?"
        expect(mine, right, of=f"the loss of {n} pairs without reference", ask=question)
    with expect.raises(ValueError, "for one reference of two", ask="What would it be compared to?"):
        lesson.dpo_loss(chosen, rejected, chosen, None)
    with expect.raises(ValueError, "for one reference of two", ask="What would it be compared to?"):
        lesson.dpo_loss(chosen, rejected, None, rejected)


@check("dpo_loss", points=1)
def test_labels_that_may_be_wrong(lesson, expect, draw):
    """People err: with smoothing, a few pairs count as if they stood the wrong way round."""
    four = log_probabilities_of_pairs(draw, 5)
    for beta, smoothing in [(0.1, 0.1), (0.1, 0.5), (0.5, 0.25)]:
        mine = lesson.dpo_loss(*four, beta=beta, label_smoothing=smoothing)
        right = losses_of(four, beta, smoothing).mean().float()
        question = "How large is a pair's loss if it is the wrong way round? How often is it?"
        of = f"the loss with beta {beta} and label_smoothing {smoothing}"
        expect(mine, right, of=of, ask=question)


@check("dpo_loss", points=1)
def test_margins_of_thousands(lesson, expect, draw):
    """Long answers have margins of thousands; the loss stays a number, and so does its gradient."""
    chosen = torch.tensor([-9000.0, -1000.0, -50.0, -7000.0])
    rejected = torch.tensor([-1000.0, -9000.0, -50.0, -1000.0])
    old = torch.full((4,), -500.0)
    for smoothing in (0.0, 0.25):
        # margins of -8000, 8000, 0 and -6000 nats, times beta = 0.5
        right = ((1 - smoothing) * 7000 + smoothing * 4000 + math.log(2)) / 4
        mine = lesson.dpo_loss(chosen, rejected, old, old, 0.5, smoothing)
        question = "What is sigmoid(-4000) in 32 bits, and its logarithm?"
        of = f"the loss of large margins, label_smoothing {smoothing}"
        expect(mine, torch.tensor(right), of=of, ask=question)
        found = lesson.grad(lesson.dpo_loss, chosen, rejected, None, None, 0.5, smoothing)
        pull = torch.tensor([smoothing - 1.0, smoothing, smoothing - 0.5, smoothing - 1.0])
        right = pull * 0.5 / 4 * math.cos(0.7)  # `lesson.grad` weighs a single result by this
        expect(found["arguments"][0], right, of="the gradient of policy_chosen", ask=question)


@check("dpo_loss", points=1)
def test_which_way_it_pushes(lesson, expect, draw):
    """A step makes chosen answers more probable and rejected ones less, the wrong pairs most."""
    four = log_probabilities_of_pairs(draw, 4)

    def loss(chosen, rejected, old_chosen, old_rejected):
        margin = chosen - rejected - (old_chosen - old_rejected)
        return F.binary_cross_entropy_with_logits(0.3 * margin, torch.ones(4))

    mine = lesson.grad(lesson.dpo_loss, *four, beta=0.3)["arguments"]
    right = grad(loss, *four)["arguments"]
    for at, name in enumerate(("policy_chosen", "policy_rejected")):
        question = "Is the loss smaller where the chosen answer is more probable?"
        expect(mine[at], right[at], of=f"the gradient of {name}", ask=question)


@check("dpo_loss", points=1)
def test_settings_that_make_no_sense(lesson, expect, draw):
    """A beta of 0 teaches nothing, a negative one the opposite: somebody should hear of it."""
    four = log_probabilities_of_pairs(draw, 3)
    for beta in (0.0, -0.1):
        with expect.raises(ValueError, f"for beta {beta}", ask="Which way would it push?"):
            lesson.dpo_loss(*four, beta=beta)
    for smoothing in (-0.1, 0.6, 1.0):
        question = "If most pairs were the wrong way round, what would be the right way?"
        with expect.raises(ValueError, f"for label_smoothing {smoothing}", ask=question):
            lesson.dpo_loss(*four, label_smoothing=smoothing)


# stretch: add_adapters

LINEARS = ["proj", *(f"branches.{i}.{n}" for i in (0, 1) for n in ("up_proj", "proj")), "head"]


def lora_names(layers):
    """The names of the detours of these layers, in alphabetical order."""
    return sorted(f"{layer}.{part}" for layer in layers for part in ("lora_A", "lora_B"))


@check("add_adapters", points=1)
def test_layers_by_the_end_of_their_names(lesson, expect, draw):
    """You choose which layers learn, by what they are called in every block."""
    for names, right in [
        (["up_proj"], ["branches.0.up_proj", "branches.1.up_proj"]),
        (["proj"], ["proj", "branches.0.proj", "branches.1.proj"]),
        (["1.proj", "head"], ["branches.1.proj", "head"]),
        (["branches.0.proj", "0.up_proj", "0.proj"], ["branches.0.up_proj", "branches.0.proj"]),
        (["head", "proj", "up_proj"], LINEARS),
    ]:
        network = lesson.toy("network to adapt", 9, 4)
        mine = lesson.add_adapters(network, names, 2, 6.0)
        question = "Does `up_proj` end with `proj`? Is it called so? In which order do they come?"
        expect(mine, right, of=f"the layers replaced for {names}", ask=question)
        now = sorted(n for n in network.weights() if n.endswith(("lora_A", "lora_B")))
        question = "Who holds the layer, and under which name?"
        expect(now, lora_names(right), of=f"the detours in the network for {names}", ask=question)


@check("add_adapters", points=1)
def test_only_adapters_learn(lesson, expect, draw):
    """All else is frozen: tables, norms and biases too."""
    network = lesson.toy("network to adapt", 9, 4)
    lesson.add_adapters(network, ["0.proj", "head"], 3, 6.0)
    names = lesson.toy("trained", network).read("names")
    question = "Which parameters belong to no linear layer, and which to layers not chosen?"
    of = "the parameters that are trained"
    expect(names, lora_names(["branches.0.proj", "head"]), of=of, ask=question)


@check("add_adapters", points=1)
def test_network_says_the_same_at_first(lesson, expect, draw):
    """Adapters change nothing until they learn, in training and in evaluation mode."""
    ids = draw.ids(9, 3, 5)
    for training in (False, True):
        network = lesson.toy("network to adapt", 9, 4)
        network.train(training)
        before, weights = network(ids), network.weights()
        lesson.add_adapters(network, ["proj"], 2, 8.0, 0.5)
        of = f"what a network with training={training} says with new adapters"
        expect(network(ids), before, of=of, ask="Did any of the weights change?")
        learnt = {"proj.lora_A": draw.normal(2, 4), "proj.lora_B": draw.normal(4, 2)}
        network.load(learnt).eval()
        shift = 4.0 * learnt["proj.lora_B"] @ learnt["proj.lora_A"]
        plain = lesson.toy("network to adapt", 9, 4)
        plain.load({**weights, "proj.weight": weights["proj.weight"] + shift})
        question = "Are rank, alpha and dropout handed on, each in its place?"
        expect(network.read("proj.dropout.p"), 0.5, of="the adapter's dropout", ask=question)
        of = "what it says in evaluation mode when an adapter has learnt"
        expect(network(ids), plain(ids), of=of, ask=question, tolerance=3e-5)


@check("add_adapters", points=1)
def test_names_that_no_layer_bears(lesson, expect, draw):
    """A slip in a name is said, before anything has changed."""
    for names in (["proj", "c_attn"], ["roj"], ["norm"], ["table", "proj"], ["0"]):
        network = lesson.toy("network to adapt", 9, 4)
        before = network.weights()
        question = "Is there a linear layer of that name? Had you changed something when you knew?"
        with expect.raises(ValueError, f"for the names {names}", ask=question):
            lesson.add_adapters(network, names, 2, 4.0)
        of = f"the weights of the network after {names} was refused"
        expect(network.weights(), before, of=of, ask=question)
        trained = lesson.toy("trained", network).read("names")
        of = "how many of its parameters are trained then"
        expect(len(trained), len(before) - 2, of=of, ask=question)  # a shared one, and a buffer


@check("add_adapters", points=1)
def test_adapters_of_two_kinds(lesson, expect, draw):
    """Adapters may come later, and with another rank; those that are there learn on."""
    network = lesson.toy("network to adapt", 9, 4)
    lesson.add_adapters(network, ["1.proj"], 2, 4.0)
    mine = lesson.add_adapters(network, ["up_proj"], 3, 4.0)
    expect(mine, ["branches.0.up_proj", "branches.1.up_proj"], of="the layers replaced later")
    names = lesson.toy("trained", network).read("names")
    right = lora_names(["branches.0.up_proj", "branches.1.proj", "branches.1.up_proj"])
    question = "Did the second call freeze what the first one had put there?"
    expect(names, right, of="the parameters that are trained", ask=question)
    question = "The part of an adapter that is a linear layer is called `base`. Is it for you?"
    for names in (["base"], ["1.proj"]):
        with expect.raises(ValueError, f"for {names}, an adapter already", ask=question):
            lesson.add_adapters(network, names, 2, 4.0)


@check("add_adapters", points=1)
def test_gpt_takes_adapters(lesson, expect, draw):
    """A GPT learns by its adapters alone, and merged they are a GPT again."""
    needed = lesson.needed("model")
    shape = {"vocab_size": 13, "block_size": 8, "n_layer": 2, "n_head": 2, "n_embd": 8}
    model = needed.GPT(needed.GPTConfig(**shape)).eval()
    mine = lesson.add_adapters(model, ["attn.c_attn", "mlp.c_proj"], 2, 4.0)
    right = [f"transformer.h.{i}.{name}" for i in (0, 1) for name in ("attn.c_attn", "mlp.c_proj")]
    expect(mine, right, of="the layers replaced in a GPT")
    # of each: 2 * (8 + 24) and 2 * (32 + 8)
    expect(lesson.count_parameters(model)[0], 2 * (64 + 80), of="how many numbers are trained")
    found = lesson.grad(model, draw.ids(13, 2, 8))["parameters"]
    moved = sorted(name for name, gradient in found.items() if gradient is not None)
    question = "Does every adapter stand in the way from the ids to the logits?"
    expect(moved, lora_names(right), of="the parameters that get a gradient", ask=question)

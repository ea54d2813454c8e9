"""Lesson 14: the decisions of whoever trains a model, against arithmetic and real short runs."""

import math

import pytest
import torch

from solutions import tinystories
from solutions.engine.evaluation import score_text
from solutions.engine.prepared import load_prepared
from solutions.engine.settings import resolve
from solutions.model import GPT, GPTConfig


def test_batch_budget_by_hand():
    budget = tinystories.batch_budget(
        1_000_000, batch_size=8, accumulation=3, block_size=256, n_parameters=1000, vocab_size=50
    )
    assert budget.tokens_per_step == 6144
    assert budget.steps == 163  # 162.76 rounded up: the last step may see some tokens again
    assert budget.memory_bytes == 16 * 1000 + 8 * (8 * 256 * 50)


def test_accumulation_costs_no_memory():
    sizes = {"block_size": 64, "n_parameters": 10, "vocab_size": 100}
    one = tinystories.batch_budget(4096, batch_size=16, accumulation=1, **sizes)
    four = tinystories.batch_budget(4096, batch_size=4, accumulation=4, **sizes)
    assert one.steps == four.steps == 4
    assert four.memory_bytes < one.memory_bytes


def test_weights_take_the_memory_that_the_budget_says():
    model = GPT(GPTConfig(vocab_size=40, block_size=8, n_layer=2, n_head=2, n_embd=16))
    optimizer = torch.optim.AdamW(model.parameters())
    ids = torch.zeros(1, 8, dtype=torch.long)
    model(ids, ids)[1].backward()
    optimizer.step()
    kept = [p for p in model.parameters()] + [p.grad for p in model.parameters()]
    kept += [s[name] for s in optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    sizes = {"block_size": 8, "vocab_size": 40, "n_parameters": model.num_parameters()}
    budget = tinystories.batch_budget(8, batch_size=1, accumulation=1, **sizes)
    logits_and_gradient = 2 * 4 * 8 * 40
    measured = sum(tensor.numel() * tensor.element_size() for tensor in kept)
    assert measured == budget.memory_bytes - logits_and_gradient


def test_recipe_is_what_the_laptop_preset_does():
    """One fact in two places for the learner's sake; this holds them together."""
    assert resolve(tinystories.recipe()) == resolve({"preset": "laptop"})


def test_compare_is_fair_between_tokenizers():
    comparison = tinystories.compare(math.log(2) * 300, math.log(2) * 400, n_bytes=200)
    assert comparison.ours == pytest.approx(1.5)
    assert comparison.other == pytest.approx(2.0)
    assert comparison.ratio == pytest.approx(0.75)


def test_ablation_runs_two_recipes_and_says_what_came_of_it(tmp_path):
    tried = []

    def bits_per_byte_of(settings):
        tried.append(settings)
        out = tmp_path / f"run{len(tried)}"
        shape = {"n_layer": 1, "n_head": 2, "n_embd": 32, "block_size": 32}
        quick = {"stories": 200, "steps": 30, "tokenizer": "bpe:400", "device": "cpu"}
        teller = tinystories.train(str(out), **settings | shape | quick)
        _, val, meta = load_prepared(out / "data")
        scores = score_text(teller.model, val, 32)
        return scores.measures(meta["val_bytes"], meta["val_chars"])["bits_per_byte"]

    ablation = tinystories.ablation(bits_per_byte_of)
    assert tried[0] == tinystories.recipe()
    assert tried[1] != tried[0]
    assert ablation.before != ablation.after
    assert f"{100 * (ablation.after / ablation.before - 1):+.1f} per cent" in ablation.conclusion

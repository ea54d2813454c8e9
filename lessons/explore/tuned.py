"""The small fine-tuning runs that lesson 12's figures show: seconds, where a real one takes minutes."""

import copy
from typing import Any

import numpy as np
import torch

from ..engine.errors import CourseError
from .gallery import View
from .material import corpus

STEPS, ROWS, LOOK_EVERY = 24, 4, 8
RATES = {"LoRA": 5e-3, "full": 5e-4}
RANK, ALPHA = 8, 16.0
HELD_OUT, ORDINARY_TOKENS = 10, 500
DPO_STEPS, PAIRS, DPO_RATE, BETA = 14, 4, 1e-3, 0.1
MEASURED = 16  # pairs of each kind


def share_of(view: View, count: int) -> int:
    """So many steps or pairs, or half as many with a large model."""
    return count // 2 if view.subject.is_large else count


def tuned(view: View) -> dict[str, Any]:
    """The model tuned on recipes in both ways: {"LoRA": (model, rows of numbers), "full": ...}."""
    return view.once("tuned", lambda: {name: _tune(view, name) for name in RATES})


def _tune(view: View, method: str) -> tuple[Any, list[dict[str, float]]]:
    from ..engine.acceleration import use_fast_parts
    from ..engine.finetuning.adapters import GPT2_LAYERS, put_adapters
    from ..engine.finetuning.examples import examples
    from ..engine.finetuning.forms import Order, batch_of, rows_of
    from ..engine.finetuning.measure import measure_answers, measure_ordinary
    from ..engine.optimizers import build_optimizer
    from ..finetuning import supervised_loss
    from ..trainer import TrainConfig, learning_rate, train_step

    subject, seed = view.subject, view.wishes.seed
    subject.refuse_others()
    steps, look_every = share_of(view, STEPS), share_of(view, LOOK_EVERY)
    found = examples("recipes", None, steps * ROWS, seed)
    train, held_out = (rows_of(part, subject.tokenizer, subject.block_size) for part in found)
    if not train.rows or not held_out.rows:
        raise CourseError(f"a recipe does not fit into {subject.block_size} tokens")
    held_out.rows = held_out.rows[:HELD_OUT]
    ordinary = _ordinary_ids(view)
    torch.manual_seed(seed)
    model = use_fast_parts(copy.deepcopy(subject.ours))
    if method == "LoRA":
        put_adapters(model, GPT2_LAYERS, RANK, ALPHA)
    model.loss = supervised_loss
    config = TrainConfig(steps=steps, peak_lr=RATES[method], warmup=4, weight_decay=0.0)
    cpu = torch.device("cpu")
    optimizer: Any = build_optimizer(model, config, "adamw", cpu)
    order, history = Order(len(train.rows), ROWS, seed), []
    model.train()
    for step in range(steps + 1):
        if step % look_every == 0:
            history.append(
                {
                    "step": step,
                    "answers": measure_answers(model, held_out, cpu, "fp32")["loss"],
                    "ordinary": measure_ordinary(model, ordinary, 1, "fp32")["loss"],
                }
            )
        if step < steps:
            optimizer.set_learning_rate(
                learning_rate(step, steps=steps, warmup=config.warmup, peak_lr=config.peak_lr)
            )
            train_step(
                model, optimizer, [batch_of([train.rows[i] for i in order.of_step(step)], cpu)]
            )
    return model, history


def _ordinary_ids(view: View) -> np.ndarray:
    """Some tokens of ordinary stories."""
    documents, _ = corpus(view, 20)
    end = view.subject.tokenizer.end_of_text
    ids = [end]
    for text in documents:
        ids += [*view.subject.tokenizer.encode(text), end]
    return np.array(ids[: ORDINARY_TOKENS + 1])


def preferred(view: View) -> dict[str, Any]:
    """A few steps of DPO: log-probabilities of held-out pairs before and after."""
    return view.once("preferred", lambda: _prefer(view))


def _prefer(view: View) -> dict[str, Any]:
    from ..engine.acceleration import use_fast_parts
    from ..engine.finetuning.adapters import GPT2_LAYERS, put_adapters
    from ..engine.finetuning.examples import preferences
    from ..engine.finetuning.forms import (
        Order,
        PreferenceForward,
        batch_of,
        log_probabilities,
        pair_rows,
        without_dropout,
    )
    from ..engine.optimizers import build_optimizer
    from ..trainer import TrainConfig, train_step

    subject, seed = view.subject, view.wishes.seed
    subject.refuse_others()
    steps = share_of(view, DPO_STEPS)
    train, held_out = preferences("endings", None, steps * PAIRS, seed, "sad")
    cpu = torch.device("cpu")
    pairs = pair_rows(train, subject.tokenizer, subject.block_size)
    others = pair_rows(
        [p for part in held_out.values() for p in part[: share_of(view, MEASURED)]],
        subject.tokenizer,
        subject.block_size,
    )
    if not pairs[0].rows or not others[0].rows:
        raise CourseError(f"the endings do not fit into {subject.block_size} tokens")
    torch.manual_seed(seed)
    model = use_fast_parts(copy.deepcopy(subject.ours))
    without_dropout(model)
    reference = [log_probabilities(model, part.rows, cpu, "fp32") for part in pairs]
    before = [log_probabilities(model, part.rows, cpu, "fp32") for part in others]
    put_adapters(model, GPT2_LAYERS, RANK, ALPHA)
    forward = PreferenceForward(model, "fp32", BETA, 0.0)
    optimizer: Any = build_optimizer(model, TrainConfig(weight_decay=0.0), "adamw", cpu)
    order = Order(len(pairs[0].rows), PAIRS, seed)
    forward.train()
    for step in range(steps):
        optimizer.set_learning_rate(DPO_RATE * min(1.0, (step + 1) / 4))
        chosen = order.of_step(step)
        forward.reference = (reference[0][chosen], reference[1][chosen])
        rows = [part.rows[i] for part in pairs for i in chosen]
        train_step(forward, optimizer, [batch_of(rows, cpu)])
    after = [log_probabilities(model, part.rows, cpu, "fp32") for part in others]
    return {"before": before, "after": after, "model": model}

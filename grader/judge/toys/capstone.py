"""Toys for the capstone: a short real training run, and somebody who answers without training."""

import copy
import importlib
from dataclasses import fields, is_dataclass
from types import ModuleType
from typing import Any

import torch

from ..border import describe_kind

SEED = 20
LAPTOP_WIDTH = 256  # a recipe is meant for this width


def _lesson(module: str) -> ModuleType:
    """Return a module of the library under judgement: the learner's own, or the reference's."""
    return importlib.import_module(f"lessons.{module}")


class ShortRun:
    """A small model, trained for a moment with somebody's recipe, by the course's own parts.

    recipe: what `recipe()` gives. tokens: (N,) ids to learn from. shape: for GPTConfig. most_steps,
    most_tokens: where it ends, whichever comes first; so a huge batch is left with few steps, or none.
    """

    def __init__(
        self,
        recipe: dict[str, Any],
        tokens: torch.Tensor,
        shape: dict[str, int],
        most_steps: int,
        most_tokens: int,
    ) -> None:
        data, model, trainer = (_lesson(name) for name in ("data", "model", "trainer"))
        batch, text = recipe["batch_size"], tokens.numpy()
        self.steps = min(most_steps, most_tokens // (batch * shape["block_size"]))
        # The narrower a model, the higher the rate that suits its matrices, in proportion
        # (Yang et al. 2022): this one stands for a model of the laptop preset's width.
        factor = LAPTOP_WIDTH / shape["n_embd"]
        schedule = {
            "steps": self.steps,
            "warmup": min(recipe["warmup"], self.steps // 4),
            "peak_lr": factor * recipe["peak_lr"],
            "final_lr": factor * recipe["final_lr"],
        }
        config = trainer.TrainConfig(**schedule, weight_decay=recipe["weight_decay"])
        with torch.random.fork_rng(devices=[]):  # the run's chance is its own
            torch.manual_seed(SEED)
            network = model.GPT(model.GPTConfig(**shape, dropout=recipe["dropout"]))
            _lesson("engine.acceleration").use_fast_parts(network)
            build = _lesson("engine.optimizers").build_optimizer
            optimizer = build(network, config, recipe["optimizer"], torch.device("cpu"))
            self.weights_before = _copies(network)
            network.train()
            for step in range(self.steps):
                optimizer.set_learning_rate(trainer.learning_rate(step, **schedule))
                batch_of_step = data.get_batch(text, batch, shape["block_size"], (SEED, step))
                trainer.train_step(network, optimizer, [batch_of_step], config.max_norm)
        self.weights = _copies(network)


def _copies(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.named_parameters()}


class Results:
    """Stands for `bits_per_byte_of`: gives the next of some results, and remembers the settings."""

    def __init__(self, results: list[float]) -> None:
        self.results = results
        self.asked: list[Any] = []

    def __call__(self, settings: dict[str, Any]) -> float:
        """Return the next result; when all have been given, the last one again."""
        if not isinstance(settings, dict):
            raise TypeError(f"bits_per_byte_of takes settings, not {describe_kind(settings)}")
        self.asked.append(copy.deepcopy(settings))
        return self.results[min(len(self.asked), len(self.results)) - 1]


class Fields:
    """What there is in a result: the fields of a dataclass, and how its kind is called."""

    def __init__(self, result: Any) -> None:
        kind = type(result).__name__
        self.found: dict[str, Any] = {"kind": describe_kind(result)}
        if is_dataclass(result):
            values = {field.name: getattr(result, field.name) for field in fields(result)}
            article = "an" if kind[0] in "AEIOU" else "a"
            self.found = {"kind": f"{article} {kind}", **values}


TOYS = {"short run": ShortRun, "results": Results, "fields": Fields}

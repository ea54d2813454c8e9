"""Toys for the checkpoints: training on the learner's side, with the learner's own parts."""

import importlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn


class LearntByHeart:
    """A model that has seen one row of ids again and again; it has the losses on its way."""

    def __init__(self, model: nn.Module, ids: torch.Tensor, steps: int, lr: float) -> None:
        self.losses: list[float] = []
        optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
        for _ in range(steps):
            optimizer.zero_grad()
            _, loss = model(ids[:, :-1], ids[:, 1:])
            loss.backward()
            optimizer.step()
            self.losses.append(float(loss.detach()))


class FirstRun:
    """The way from documents to a trained model, by `data` and `trainer` of the search path.

    train, valid: ids, as `pack` gives them. train_config: for TrainConfig.
    """

    def __init__(
        self,
        model: nn.Module,
        train: Sequence[int],
        valid: Sequence[int],
        vocab_size: int,
        block_size: int,
        train_config: dict[str, Any],
    ) -> None:
        data = importlib.import_module("lessons.data")
        trainer = importlib.import_module("lessons.trainer")
        with TemporaryDirectory(prefix="course-checkpoint-") as folder:
            tokens = {}
            for name, ids in (("train", train), ("valid", valid)):
                data.write_tokens(ids, Path(folder) / name, vocab_size)
                tokens[name] = data.read_tokens(Path(folder) / name, vocab_size).copy()
        config = trainer.TrainConfig(**train_config)
        batch = partial(data.get_batch, tokens["train"], config.batch_size, block_size)
        starts = range(0, len(tokens["valid"]) - block_size, block_size)
        held_out = [data.windows(tokens["valid"], [start], block_size) for start in starts]
        self.first_loss = trainer.estimate_loss(model, held_out)
        rows = trainer.fit(model, lambda step: [batch(seed=[config.seed, step])], config, held_out)
        self.last_loss = rows[-1]["val_loss"]


TOYS = {"learnt by heart": LearntByHeart, "first run": FirstRun}

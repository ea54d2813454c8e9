"""What the trainer sees: rows of ids cut out of examples, and DPO in the form of a model's loss.

The losses are lesson 12's. Lesson 07's `train_step` asks a model for `model(inputs, targets)`; for
preferences a batch is a pile of chosen answers on a pile of rejected ones, and `PreferenceForward`
takes the two apart again.
"""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from ...finetuning import dpo_loss, mask_prompt, sequence_log_probability
from ..devices import PRECISIONS
from .endings import Pair
from .examples import Example

Batch = tuple[torch.Tensor, torch.Tensor]


class Row(NamedTuple):
    """The ids of a prompt and its answer, and how many of them are the prompt."""

    ids: list[int]
    prompt_length: int
    n_bytes: int  # of the text that is scored


@dataclass
class Rows:
    """The rows of a list of examples, and what did not fit."""

    rows: list[Row]
    left_out: int = 0  # the prompt alone fills the window
    cut: int = 0  # the answer was shortened


def row_of(prompt: str, answer: str, tokenizer: Any) -> Row:
    """A prompt and its answer as ids; the end of the text belongs to the answer.

    Without a prompt the mark of the end stands for it, as it does before every document that such a
    model has read.
    """
    end = tokenizer.end_of_text
    before = tokenizer.encode(prompt) if prompt else [end]
    return Row([*before, *tokenizer.encode(answer), end], len(before), len(answer.encode()))


def rows_of(examples: Iterable[Example], tokenizer: Any, block_size: int) -> Rows:
    """Rows of at most block_size + 1 ids. Documents are cut into several, answers are cut short."""
    made = Rows([])
    for prompt, answer in examples:
        row = row_of(prompt, answer, tokenizer)
        if not prompt:
            made.rows += _windows(row.ids, block_size, tokenizer)
        elif row.prompt_length > block_size:
            made.left_out += 1
        else:
            if len(row.ids) > block_size + 1:
                made.cut += 1
                row = _shorten(row, block_size, tokenizer)
            made.rows.append(row)
    return made


def _shorten(row: Row, block_size: int, tokenizer: Any) -> Row:
    ids = row.ids[: block_size + 1]
    return Row(ids, row.prompt_length, len(tokenizer.decode_bytes(ids[row.prompt_length :])))


def _windows(ids: Sequence[int], block_size: int, tokenizer: Any) -> list[Row]:
    """A document in windows side by side: each id but the first is scored once."""
    rows = []
    for begin in range(0, len(ids) - 1, block_size):
        window = list(ids[begin : begin + block_size + 1])
        text = [i for i in window[1:] if i != tokenizer.end_of_text]
        rows.append(Row(window, 1, len(tokenizer.decode_bytes(text))))
    return rows


def pair_rows(pairs: Iterable[Pair], tokenizer: Any, block_size: int) -> tuple[Rows, Rows]:
    """The chosen and the rejected rows of pairs, side by side; a pair stays or goes as a whole."""
    chosen, rejected = Rows([]), Rows([])
    for pair in pairs:
        good, bad = (row_of(pair.prompt, a, tokenizer) for a in (pair.chosen, pair.rejected))
        if good.prompt_length > block_size:
            chosen.left_out += 1
            continue
        for rows, row in ((chosen, good), (rejected, bad)):
            if len(row.ids) > block_size + 1:
                rows.cut += 1
                row = _shorten(row, block_size, tokenizer)
            rows.rows.append(row)
    return chosen, rejected


def batch_of(rows: Sequence[Row], device: torch.device) -> Batch:
    """Inputs and targets (B, T) of rows, padded on the right, with only the answers to be scored."""
    longest = max(len(row.ids) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row.ids)] = torch.tensor(row.ids)
    prompts = torch.tensor([row.prompt_length for row in rows])
    lengths = torch.tensor([len(row.ids) for row in rows])
    inputs, targets = mask_prompt(ids, prompts, lengths)
    return inputs.to(device), targets.to(device)


class Order:
    """Which examples each step sees: all of them in a random order, and again in another one."""

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed

    def of_step(self, step: int) -> list[int]:
        """The examples of a step; depends on the seed and the step alone, so that a resume sees it."""
        wanted = range(step * self.batch_size, (step + 1) * self.batch_size)
        epochs = {n // self.count for n in wanted}
        orders = {e: np.random.default_rng((self.seed, e)).permutation(self.count) for e in epochs}
        return [int(orders[n // self.count][n % self.count]) for n in wanted]


@torch.no_grad()
def log_probabilities(
    model: nn.Module,
    rows: Sequence[Row],
    device: torch.device,
    precision: str,
    batch_size: int = 16,
) -> torch.Tensor:
    """The log-probability of each row's answer, (N,), on the CPU; the model is left as it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    found = []
    try:
        for begin in range(0, len(rows), batch_size):
            inputs, targets = batch_of(rows[begin : begin + batch_size], device)
            with in_precision(device, precision):
                logits = model(inputs)[0]
            found.append(sequence_log_probability(logits, targets).cpu())
    finally:
        for module, training in modes:
            module.training = training
    return torch.cat(found)


class PreferenceForward(nn.Module):
    """`model(inputs, targets) -> (None, loss)` for DPO, in the form that `train_step` asks for.

    The first half of the rows are chosen answers, the second half the rejected ones of the same
    pairs. `reference`: the log-probabilities of both under the model from which training began, (B,)
    each, to be set before each step; None: without reference.
    """

    def __init__(
        self, model: nn.Module, precision: str, beta: float, label_smoothing: float
    ) -> None:
        super().__init__()
        self.model = model
        self.precision, self.beta, self.label_smoothing = precision, beta, label_smoothing
        self.reference: tuple[torch.Tensor, torch.Tensor] | None = None

    def forward(self, inputs: torch.Tensor, targets: torch.Tensor) -> tuple[None, torch.Tensor]:
        """Inputs and targets (2 B, T) -> the mean loss of the B pairs."""
        with in_precision(inputs.device, self.precision):
            logits = self.model(inputs)[0]
        chosen, rejected = sequence_log_probability(logits, targets).chunk(2)
        good, bad = self.reference or (None, None)
        return None, dpo_loss(chosen, rejected, good, bad, self.beta, self.label_smoothing)


def without_dropout(model: nn.Module) -> None:
    """Switch dropout off for good: the reference was asked without, and so must the policy be."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "dropout", None), float):  # attention keeps its own share
            module.dropout = 0.0  # type: ignore[assignment]


def in_precision(device: torch.device, precision: str) -> Any:
    """The context in which products are made in 16 bits, or none."""
    dtype = PRECISIONS[precision]
    return torch.autocast(device.type, dtype) if dtype else nullcontext()

"""The measures of a finished model on a whole held-out text, in batches.

The definitions are lesson 10's; here windows run many at a time, and a test holds the result to
the lesson's one-by-one form. Windows stand side by side (each token is predicted from what is
before it in its own window), which is what a plain training loop measures too; a smaller `stride`
gives every token more context and a lower loss.
"""

import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ..model import GPT
from ..perplexity import bits_per_byte
from .devices import PRECISIONS
from .errors import CourseError

LOGITS_AT_ONCE = 2**25  # floats, 128 MB: enough rows for a fast product, little enough memory


@dataclass(frozen=True)
class Scores:
    """What a model makes of a text: sums, from which every measure follows."""

    nats: float  # of all scored tokens together
    tokens: int  # scored: all but the first
    correct: int  # of them, predicted as the most probable
    seconds: float

    def measures(self, n_bytes: int, n_chars: int) -> dict[str, float]:
        """The measures by their usual names; bytes and characters are those of the text."""
        loss = self.nats / self.tokens
        return {
            "val_loss": loss,
            "perplexity": math.exp(min(loss, 700.0)),
            "bits_per_byte": bits_per_byte(self.nats, n_bytes),
            "bits_per_character": self.nats / math.log(2) / n_chars,
            "next_token_accuracy": self.correct / self.tokens,
            "evaluated_tokens": self.tokens,
            "evaluation_tokens_per_second": self.tokens / max(self.seconds, 1e-9),
        }


@torch.no_grad()  # not inference_mode, in which autocast would turn the weights every time
def score_text(
    model: GPT,
    tokens: np.ndarray,
    block_size: int,
    stride: int | None = None,
    precision: str = "fp32",
) -> Scores:
    """Score every token of `tokens` (1-D) after the first exactly once.

    Windows of at most `block_size` inputs begin every `stride` tokens (`block_size` where None).
    """
    stride = stride or block_size
    if not 1 <= stride <= block_size:
        raise CourseError(f"--stride must be between 1 and {block_size}, not {stride}")
    if len(tokens) < 2:
        raise CourseError("the text to evaluate on has fewer than two tokens")
    device = next(model.parameters()).device
    rows = max(1, LOGITS_AT_ONCE // (block_size * model.config.vocab_size))
    dtype = PRECISIONS[precision]
    half = torch.autocast(device.type, dtype) if dtype else nullcontext()
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    began = time.perf_counter()
    nats, count, correct = 0.0, 0, 0
    try:
        with half:  # once around all: inside, each weight is turned into half precision only once
            for inputs, targets in _windows(np.asarray(tokens), block_size, stride, rows):
                logits, _ = model(inputs.to(device))
                logits, targets = logits.float().flatten(0, 1), targets.to(device).flatten()
                losses = F.cross_entropy(logits, targets, ignore_index=-1, reduction="none")
                nats += float(losses.double().sum())  # an ignored target's loss is 0
                correct += int((logits.argmax(-1) == targets).sum())
                count += int((targets != -1).sum())
    finally:
        for module, mode in modes:
            module.training = mode
    return Scores(nats, count, correct, time.perf_counter() - began)


def _windows(
    tokens: np.ndarray, block_size: int, stride: int, rows: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield inputs and targets (B, T); a target that an earlier window scored is -1."""
    last = len(tokens) - 1  # how many tokens there are to predict
    starts = list(range(0, max(1, last - block_size + stride), stride))
    full = [s for s in starts if s + block_size <= last]
    groups = [full[i : i + rows] for i in range(0, len(full), rows)]
    groups += [[s] for s in starts if s + block_size > last and s < last]  # the ragged tail
    scored = 0
    for group in groups:
        length = min(block_size, last - group[0])
        index = np.asarray(group)[:, None] + np.arange(length)
        inputs = torch.from_numpy(tokens[index].astype(np.int64))
        targets = torch.from_numpy(tokens[index + 1].astype(np.int64))
        for row, start in enumerate(group):
            targets[row, : max(0, scored - start)] = -1
            scored = start + length
        yield inputs, targets

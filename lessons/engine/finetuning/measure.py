"""What a model is worth before and after: on the new task, and on what it could do before."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import CourseError
from ..evaluation import score_text
from ..prepared import load_prepared
from ..sources import NAMES, documents
from ..stories import Storyteller
from .base import Base
from .endings import pair
from .forms import Row, Rows, log_probabilities
from .moods import mood

ORDINARY_TOKENS = 20_000
ORDINARY_STORIES = 120  # ministories, where nothing else is known of the base
PROMPTS = ("Once upon a time", "One day, Lily found a", "Tom was sad because")
SAMPLE_TOKENS = 100
MOODS = 24  # stories whose ends are counted
SAMPLING: dict[str, Any] = {"temperature": 0.8, "top_p": 0.95}


def ordinary_text(base: Base, wanted: str | None) -> tuple[np.ndarray, int, str]:
    """(ids, bytes of their text, what it is): text of the kind that the base has read before.

    That is what was asked for with --ordinary; else the held-out text of the capstone's run; else
    the course's own stories.
    """
    if wanted is None and base.run is not None and (base.run / "data" / "meta.json").exists():
        _, tokens, meta = load_prepared(base.run / "data", verify=False)
        ids = np.asarray(tokens[:ORDINARY_TOKENS]).astype(np.int64)
        return ids, _bytes_of(ids, base.tokenizer), f"held-out text of {Path(meta['data']).name}"
    spec = wanted or "ministories"
    count = ORDINARY_STORIES if spec in NAMES else None
    end = base.tokenizer.end_of_text
    found: list[int] = [end]
    for text in documents(spec, "valid" if spec in NAMES else "train", count=count and count * 9):
        found += [*base.tokenizer.encode(text), end]
        if len(found) > ORDINARY_TOKENS:
            break
    ids = np.array(found[: ORDINARY_TOKENS + 1])
    if len(ids) < 3:
        raise CourseError(f"--ordinary {spec} holds too little text; give more")
    return ids, _bytes_of(ids, base.tokenizer), Path(spec).name if wanted else spec


def _bytes_of(ids: np.ndarray, tokenizer: Any) -> int:
    return len(tokenizer.decode_bytes([i for i in ids[1:].tolist() if i != tokenizer.end_of_text]))


def measure_ordinary(model: Any, ids: np.ndarray, n_bytes: int, precision: str) -> dict[str, float]:
    """Loss, perplexity and bits per byte of ordinary text."""
    scores = score_text(model, ids, model.config.block_size, precision=precision)
    return _from_nats(scores.nats, scores.tokens, n_bytes)


def measure_answers(
    model: Any, rows: Rows, device: torch.device, precision: str
) -> dict[str, float]:
    """Loss, perplexity and bits per byte of held-out answers."""
    nats = -float(log_probabilities(model, rows.rows, device, precision).double().sum())
    n_tokens = sum(len(row.ids) - row.prompt_length for row in rows.rows)
    return _from_nats(nats, n_tokens, sum(row.n_bytes for row in rows.rows))


def _from_nats(nats: float, n_tokens: int, n_bytes: int) -> dict[str, float]:
    loss = nats / n_tokens
    return {
        "loss": loss,
        "perplexity": math.exp(min(loss, 700.0)),
        "bits_per_byte": nats / math.log(2) / max(1, n_bytes),
        "tokens": n_tokens,
    }


def measure_pairs(
    model: Any,
    rows: tuple[Sequence[Row], Sequence[Row]],
    reference: tuple[torch.Tensor, torch.Tensor] | None,
    device: torch.device,
    precision: str,
) -> dict[str, Any]:
    """How pairs stand: `log_probabilities` of both answers, and what follows from them.

    accuracy: the share of pairs whose chosen answer is the more probable one. reward_accuracy: the
    share in which it has gained on the other since the reference; margin: by how much, in nats.
    """
    chosen, rejected = (log_probabilities(model, part, device, precision) for part in rows)
    found: dict[str, Any] = {
        "pairs": len(chosen),
        "accuracy": float((chosen > rejected).double().mean()),
        "gap": float((chosen - rejected).double().mean()),
        "chosen": float(chosen.double().mean()),
        "rejected": float(rejected.double().mean()),
    }
    if reference is not None:
        gained = (chosen - rejected) - (reference[0] - reference[1])
        found |= {
            "reward_accuracy": float((gained > 0).double().mean()),
            "margin": float(gained.double().mean()),
        }
    return found


def tell(teller: Storyteller, prompts: Sequence[str], tokens: int | None = None) -> list[str]:
    """What the model writes after each prompt, the same dice each time."""
    return [
        teller.generate(prompt, tokens or SAMPLE_TOKENS, seed=seed, **SAMPLING)[len(prompt) :]
        for seed, prompt in enumerate(prompts)
    ]


def beginning(text: str, tokenizer: Any, tokens: int = 8) -> str:
    """The first tokens of a document as a prompt."""
    return tokenizer.decode(tokenizer.encode(text)[:tokens]).rstrip("\ufffd")


def those_that_fit(teller: Storyteller, prompts: Sequence[str]) -> list[str]:
    """The prompts that the model can read at once."""
    most = teller.model.config.block_size
    return [p for p in prompts if 0 < len(teller.tokenizer.encode(p)) <= most]


def measure_moods(teller: Storyteller, seed: int) -> dict[str, float]:
    """The mood of ends that the model writes itself, to beginnings that it has not been trained on."""
    beginnings = [pair(seed, 2_000_000_000 + i, held_out=True).prompt for i in range(MOODS)]
    moods = [mood(text) for text in tell(teller, those_that_fit(teller, beginnings), 40)]
    if not moods:
        return {}
    return {
        "stories": len(moods),
        "glad": sum(m > 0 for m in moods) / len(moods),
        "sad": sum(m < 0 for m in moods) / len(moods),
        "mean": sum(moods) / len(moods),
    }

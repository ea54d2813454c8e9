"""For the stepper of lesson 05: what the stream would say after every part of every block."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from . import load, pieces

BUDGET = {"lens": 80_000}  # bytes; each place of each prompt has 9 stages of about 100 bytes

PROMPTS = (
    "Once upon a time, there was a little",
    "The cat sat on the",
    "Lily was very happy because her mom gave her a",
    "One day, Tom and his dog went to the",
)
LONGEST = 14  # tokens of a prompt, so that they stand in a few lines on a phone
CHOICES = 5  # tokens shown at each stage


def make(folder: Path) -> dict[str, object]:
    """Every prompt with `steps[stage][place]`; the parts of a stage's step stand at `step_of`."""
    model, tokenizer = load(folder)
    prompts, names = [], []
    for text in PROMPTS:
        ids = tokenizer.encode(text)[: min(LONGEST, model.config.block_size)]
        streams = dict(stages(model, torch.tensor([ids])))
        names = list(streams)
        places, before = [], None
        for stream in streams.values():
            places.append(step_of(model, tokenizer, stream, before, ids))
            before = stream
        prompts.append({"tokens": pieces(tokenizer, ids), "steps": places})
    return {"lens": {"stages": names, "vocabulary": model.config.vocab_size, "prompts": prompts}}


@torch.no_grad()
def stages(model: Any, ids: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """The stream on its way, with the name of what was added last: ids (1, T); streams (T, C)."""
    stream = model.embed(ids)
    yield "embedding", stream[0]
    for layer, block in enumerate(model.transformer.h):
        stream = stream + block.attn(block.ln_1(stream))
        yield f"attention {layer}", stream[0]
        stream = stream + block.mlp(block.ln_2(stream))
        yield f"MLP {layer}", stream[0]


@torch.no_grad()
def step_of(
    model: Any,
    tokenizer: Any,
    stream: torch.Tensor,
    before: torch.Tensor | None,
    ids: list[int],
) -> list[list[object]]:
    """One stage, for every place: [norm, norm of what was added, entropy, tokens, probabilities,
    probability of the token that really follows, its rank]; the last two only where one follows."""
    logits = model.lm_head(model.transformer.ln_f(stream))  # (T, V)
    probabilities = torch.softmax(logits, dim=-1)
    entropy = torch.special.entr(probabilities).sum(dim=-1)  # (T,), in nats
    added = stream if before is None else stream - before
    best = probabilities.topk(min(CHOICES, probabilities.shape[-1]), dim=-1)
    steps: list[list[object]] = []
    for place in range(len(ids)):
        step: list[object] = [
            round(stream[place].norm().item(), 3),
            round(added[place].norm().item(), 3),
            round(entropy[place].item(), 3),
            pieces(tokenizer, best.indices[place].tolist()),
            [round(p, 5) for p in best.values[place].tolist()],
        ]
        if place + 1 < len(ids):
            chance = probabilities[place, ids[place + 1]]
            rank = 1 + int((probabilities[place] > chance).sum())
            step += [round(chance.item(), 5), rank]
        steps.append(step)
    return steps

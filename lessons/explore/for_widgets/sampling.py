"""For the sampling playground of lesson 08: the real logits of all tokens after a few prompts."""

import base64
from pathlib import Path

import torch

from . import load, pieces

# Bytes. All logits as they are, since filters look at all of them: 4,096 tokens of 4 bytes, by a
# third longer as base64, are 22,000 for each prompt; the tokens' texts are another 40,000.
BUDGET = {"sampling": 180_000}

PROMPTS = (
    "Once upon a time, there was a little",
    "The cat sat on the",
    "Lily was very",
    "Tom had a ball. Tom liked the ball. Tom",
    "One day, a boy named",
)


@torch.no_grad()
def make(folder: Path) -> dict[str, object]:
    """All tokens, and each prompt with its ids and the logits of what follows it.

    `logits` are 32-bit floats, smallest byte first, in base64.
    """
    model, tokenizer = load(folder)
    prompts = []
    for text in PROMPTS:
        ids = tokenizer.encode(text)[-model.config.block_size :]
        logits = model(torch.tensor([ids]), last_only=True)[0].flatten()  # (V,)
        as_bytes = logits.float().numpy().astype("<f4").tobytes()
        prompts.append(
            {"text": text, "ids": ids, "logits": base64.b64encode(as_bytes).decode("ascii")}
        )
    tokens = pieces(tokenizer, range(model.config.vocab_size))
    return {"sampling": {"tokens": tokens, "prompts": prompts}}

"""For the attention explorer of lesson 03: who looks at whom, in every head, for a few sentences."""

from pathlib import Path
from typing import Any

import torch

from ...attention import scaled_dot_product_attention
from . import load, pieces

BUDGET = {"attention": 100_000}  # bytes; 4 layers of 4 heads need about 15,000 per sentence

SENTENCES = (
    "The dog saw the cat, and the cat ran away.",
    "Once upon a time, there was a little girl named Lily. Lily",
    "Tom gave the ball to Sue because she was sad.",
    "The big bear was sad. The small bear was happy. The big bear",
    "Ben has a red hat and Mia has a blue hat.",
)
LONGEST = 20  # tokens of a sentence: more rows and columns cannot be read on a phone


def make(folder: Path) -> dict[str, object]:
    """Every sentence with its tokens and its weights, `weights[layer][head]`, in thousandths.

    Of each table only what is not 0 for certain: row after row, and of row i the first i + 1.
    """
    model, tokenizer = load(folder)
    sentences = []
    for text in SENTENCES:
        ids = tokenizer.encode(text)[: min(LONGEST, model.config.block_size)]
        weights = attention_weights(model, torch.tensor([ids]))  # (layer, head, T, T)
        seen = torch.ones(len(ids), len(ids), dtype=torch.bool).tril()
        thousandths = (weights[:, :, seen] * 1000).round().int()  # (layer, head, T (T + 1) / 2)
        sentences.append({"tokens": pieces(tokenizer, ids), "weights": thousandths.tolist()})
    sizes = {"layers": model.config.n_layer, "heads": model.config.n_head}
    return {"attention": {**sizes, "sentences": sentences}}


@torch.no_grad()
def attention_weights(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """The weights of every layer and head on one text: ids (1, T); returns (layer, head, T, T).

    Every attention keeps the function that it calls as `attend`; for one forward pass it is one that
    notes the weights down.
    """
    noted: list[torch.Tensor] = []

    def attend(*inputs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        output, weights = scaled_dot_product_attention(*inputs)
        noted.append(weights[0])
        return output, weights

    attentions = [block.attn for block in model.transformer.h]
    before = [attention.attend for attention in attentions]
    try:
        for attention in attentions:
            attention.attend = attend
        model(ids)
    finally:
        for attention, function in zip(attentions, before, strict=True):
            attention.attend = function
    return torch.stack(noted)

"""For the quantising widget of lesson 13: rows of a real weight, and the whole model at every width."""

from copy import deepcopy
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...engine.ministories import stories
from ...perplexity import bits_per_byte, score
from . import load, pieces

FILE = "quantising"
BUDGET = {FILE: 24_000}  # bytes; a row of 256 weights takes about 2,000

LAYER = 1  # of the blocks: neither the first nor the last
ROWS = 5  # from the row with the smallest largest weight to that with the largest
WIDTHS = range(2, 9)  # bits
MEASURED = 400  # tokens: enough to see where it breaks
SENTENCE = "Once upon a time, there was a little dog"
DIGITS = 5


def make(folder: Path) -> dict[str, object]:
    """Return `rows`, `x`, `largest`, `measured` and what they are called.

    rows: of one weight (O, I), each with its number and its I weights. x: what enters that layer at
    the last token of a sentence, (I,). largest: the largest magnitude of the whole weight. measured:
    bits per byte of the whole model with every layer of the blocks at each width, with a scale for
    each row and with one for the whole weight; and in full precision.
    """
    model, tokenizer = load(folder)
    layers = linear_layers(model)
    name = f"transformer.h.{LAYER}.mlp.c_fc"
    ids = tokenizer.encode(SENTENCE)
    x = what_enters(model, layers[name], torch.tensor([ids]))[0, -1]
    weight = layers[name].weight.detach()  # (O, I)
    order = weight.abs().amax(dim=1).argsort()
    places = [round(i * (len(order) - 1) / (ROWS - 1)) for i in range(ROWS)]
    text = [tokenizer.end_of_text]
    for story in islice(stories(0), 20):
        text += [*tokenizer.encode(story), tokenizer.end_of_text]
    text = text[: MEASURED + 1]
    measured = {
        "full": _bits(model, text, tokenizer),
        "row": [_bits(narrow(model, bits, per_row=True), text, tokenizer) for bits in WIDTHS],
        "tensor": [_bits(narrow(model, bits, per_row=False), text, tokenizer) for bits in WIDTHS],
    }
    return {
        FILE: {
            "name": name,
            "outputs": len(weight),
            "layers": len(layers),
            "sentence": SENTENCE,
            "token": pieces(tokenizer, ids[-1:])[0],
            "x": rounded(x),
            "largest": rounded(weight.abs().max().view(1))[0],
            "rows": [
                {"number": int(order[place]), "weights": rounded(weight[order[place]])}
                for place in places
            ],
            "widths": list(WIDTHS),
            "tokens": MEASURED,
            "measured": measured,
        }
    }


def linear_layers(model: nn.Module) -> dict[str, Any]:
    """The linear layers of the blocks by name."""
    return {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear) and ".h." in n}


@torch.no_grad()
def what_enters(model: nn.Module, layer: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """What a layer gets when the model reads ids (B, T): (B, T, I)."""
    heard: list[torch.Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0]))
    try:
        model(ids)
    finally:
        hook.remove()
    return heard[0]


def rounded(numbers: torch.Tensor) -> list[float]:
    """Numbers with as many digits as the widget needs."""
    return [round(value, DIGITS) for value in numbers.tolist()]


def rounded_weight(weight: torch.Tensor, bits: int, per_row: bool) -> torch.Tensor:
    """A weight (O, I) as it is read from whole numbers of that width, by torch's own rounding."""
    most = 2 ** (bits - 1) - 1  # 127 for 8 bits
    spans = weight.abs().amax(dim=1) if per_row else weight.abs().max().expand(len(weight))
    steps = (spans / most).clamp(min=1e-12)  # torch divides by them
    zeros = torch.zeros(len(weight), dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, steps, zeros, 0, -most, most)


@torch.no_grad()
def narrow(model: Any, bits: int, per_row: bool) -> Any:
    """A copy of the model with every linear layer of its blocks at that width."""
    copy = deepcopy(model)
    for layer in linear_layers(copy).values():
        layer.weight.copy_(rounded_weight(layer.weight, bits, per_row))
    return copy


def _bits(model: Any, text: list[int], tokenizer: Any) -> float:
    ids = torch.tensor(text)
    window = min(model.config.block_size, 128)
    nats, _ = score(model, ids, window, window)
    letters = [i for i in text if i != tokenizer.end_of_text]
    return round(bits_per_byte(nats, len(tokenizer.decode_bytes(letters))), 4)

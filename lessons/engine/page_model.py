"""A model as data for a web page: one byte per weight, a scale per row, and its tokenizer.

`page_data` makes what `site/widgets/story.js` runs; `rounded` is the same model in torch with the very
weights that the page computes with, so that both can be compared number by number.

Each row of a matrix w is kept as bytes q between -127 and 127 and a scale s = max |w| / 127, so that
w is about s q; vectors (biases, norms) stay 32-bit floats. Source: symmetric quantisation per row, as
in Dettmers et al., "LLM.int8()" (2022), section 2.
"""

import base64
import copy
from typing import Any

import torch

from ..model import GPT
from .errors import CourseError
from .tokenizers import BytePairTokenizer
from .vocabulary import BYTE_ORDER, character_ranges

LARGEST = 64_000_000  # parameters: a page of about 85 MB, and ten tokens a second on a laptop
PIECE = 3 * 2**18  # bytes in one string of base64; three bytes are four letters, so none is cut


def page_data(model: GPT, tokenizer: Any) -> dict[str, Any]:
    """What story.js needs to be this model. The page computes GPT-2's blocks, whatever the model does.

    Raises CourseError for a model that is too large and for a tokenizer that the page cannot have.
    """
    check_size(model)
    described: list[list[Any]] = []
    content = bytearray()
    for name, tensor in stored(model).items():
        described.append([name, *tensor.shape])
        if tensor.dim() == 2:
            values, scales = quantise(tensor)
            content += little_endian(scales)
            content += values.numpy().tobytes()
            content += bytes(-len(content) % 4)  # what follows begins at a multiple of four
        else:
            content += little_endian(tensor)
    pieces = [content[i : i + PIECE] for i in range(0, len(content), PIECE)]
    config = model.config
    sizes = ("n_layer", "n_head", "n_embd", "block_size", "vocab_size", "layer_norm_epsilon")
    return {
        "config": {name: getattr(config, name) for name in sizes}
        | {"n_inner": config.n_inner or 4 * config.n_embd},
        "tokenizer": page_tokenizer(tokenizer),
        "tensors": described,
        "size": len(content),
        "weights": [base64.b64encode(piece).decode() for piece in pieces],
    }


def stored(model: GPT) -> dict[str, torch.Tensor]:
    """The tensors that the page gets, by name; a tied head is the token table."""
    state = {name: tensor.detach().float().cpu() for name, tensor in model.state_dict().items()}
    if model.config.tie_weights:
        state.pop("lm_head.weight", None)
    return state


def quantise(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Round a matrix to bytes: (values int8 (rows, columns), scales float32 (rows,))."""
    scales = weight.abs().amax(dim=1) / 127
    values = (weight / scales.clamp(min=1e-30).unsqueeze(1)).round().to(torch.int8)
    return values, scales


def rounded(model: GPT) -> GPT:
    """A copy of the model that computes with the weights that the page has."""
    twin = copy.deepcopy(model).float().cpu().eval()
    with torch.no_grad():
        for parameter in twin.parameters():
            if parameter.dim() == 2:
                values, scales = quantise(parameter)
                parameter.copy_(values.float() * scales.unsqueeze(1))
    return twin


def little_endian(vector: torch.Tensor) -> bytes:
    """The bytes of 32-bit floats, as every browser's machine has them."""
    return vector.float().contiguous().numpy().astype("<f4").tobytes()


def page_tokenizer(tokenizer: Any) -> dict[str, Any]:
    """A byte-pair tokenizer for the page. Raises CourseError for any other kind."""
    if not isinstance(tokenizer, BytePairTokenizer):
        raise CourseError(
            "the page can carry GPT-2's tokenizer and the course's own (bpe:N), but not "
            f"{getattr(tokenizer, 'name', 'this one')}: train with one of these to share a model"
        )
    ids = {bytes([byte]): i for i, byte in enumerate(BYTE_ORDER)}
    merges: list[int] = []
    for left, right in tokenizer.merges:
        merges += ids[left], ids[right]
        ids[left + right] = len(ids)
    return {
        "bytes": BYTE_ORDER,
        "merges": merges,
        "special": tokenizer.special_tokens,
        "endOfText": tokenizer.end_of_text,
        **character_ranges(),
    }


def check_size(model: GPT) -> None:
    """Refuse a model that is too large for a page."""
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    if n_parameters > LARGEST:
        raise CourseError(
            f"this model has {n_parameters:,} parameters, and a page can carry {LARGEST:,} at most "
            "(a file of about 85 MB): train a smaller one to share it, --preset laptop for example"
        )

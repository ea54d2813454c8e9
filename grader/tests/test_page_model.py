"""What a page gets of a model: bytes close to the weights, a tokenizer, and a no where it cannot run it."""

import base64
import copy

import pytest
import torch
from torch import nn

from solutions.blocks import Block, PostNormBlock
from solutions.engine import share
from solutions.engine.errors import CourseError
from solutions.engine.page_model import LARGEST, page_data, quantise, rounded
from solutions.engine.tokenizers import BytePairTokenizer
from solutions.engine.vocabulary import character_ranges, gpt2_merges, split_text
from solutions.model import GPT, GPTConfig
from solutions.tokenizer import train_bpe

TOKENIZER = BytePairTokenizer(train_bpe("the cat and the hat and the bat " * 9, 264))


def small(**more) -> GPT:
    torch.manual_seed(0)
    model = GPT(GPTConfig(TOKENIZER.vocab_size, 16, 2, 2, 8, **more)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def test_a_weight_is_off_by_half_a_step_at_most():
    weight = torch.randn(40, 30) * torch.logspace(-6, 3, 40).unsqueeze(1)
    weight[7] = 0
    values, scales = quantise(weight)
    assert values.dtype == torch.int8 and values.abs().max() == 127
    error = (values.float() * scales.unsqueeze(1) - weight).abs()
    assert (error <= 0.501 * scales.unsqueeze(1)).all()
    assert values[7].abs().max() == 0


def test_rounded_leaves_the_model_alone_and_keeps_tied_weights_tied():
    model = small()
    before = copy.deepcopy(model.state_dict())
    twin = rounded(model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert twin.lm_head.weight is twin.transformer.wte.weight
    ids = torch.arange(10).unsqueeze(0)
    with torch.no_grad():
        difference = (twin(ids)[0] - model(ids)[0]).abs().max()
    assert 0 < difference < 1


@pytest.mark.parametrize("tied", [True, False])
def test_all_tensors_are_in_the_bytes(tied):
    model = small(tie_weights=tied, n_inner=13)
    data = page_data(model, TOKENIZER)
    names = [name for name, *_ in data["tensors"]]
    assert ("lm_head.weight" in names) is not tied
    size = sum(4 * shape[0] + (-(-shape[0] * shape[1] // 4) * 4 if shape[1:] else 0)
               for _, *shape in data["tensors"])  # fmt: skip
    assert len(base64.b64decode("".join(data["weights"]))) == size == data["size"]
    assert data["config"]["n_inner"] == 13


def test_the_tokenizer_is_all_there():
    tokenizer = page_data(small(), TOKENIZER)["tokenizer"]
    texts = [bytes([byte]) for byte in tokenizer["bytes"]]
    pairs = zip(*[iter(tokenizer["merges"])] * 2, strict=True)
    for left, right in pairs:
        texts.append(texts[left] + texts[right])
    assert texts == [TOKENIZER.decode_bytes([i]) for i in range(TOKENIZER.end_of_text)]
    assert tokenizer["endOfText"] == tokenizer["special"]["<|endoftext|>"] == 263


def test_gpt2s_tokenizer_can_be_carried():
    gpt2 = BytePairTokenizer(gpt2_merges())
    model = GPT(GPTConfig(50257, 8, 1, 1, 4))
    assert len(page_data(model, gpt2)["tokenizer"]["merges"]) == 2 * 50_000


def test_character_ranges_are_those_of_split_text():
    members = {
        name: {code for part in text.split() for code in range(int(part.split("-")[0], 16),
               int(part.split("-")[-1], 16) + 1)}
        for name, text in character_ranges().items()
    }  # fmt: skip
    for code in [
        *range(0, 0x3100),
        *range(0xA7C0, 0xA800),
        *range(0x16EA0, 0x16EF0),
        0xFEFF,
        0x1F642,
    ]:
        letter = chr(code)
        assert (code in members["letters"]) == (len(split_text(f"a{letter}")) == 1), hex(code)
        assert (code in members["numbers"]) == (len(split_text(f"1{letter}")) == 1), hex(code)


def test_a_model_that_is_too_large_is_a_sentence_that_states_the_limit():
    with torch.device("meta"):
        model = GPT(GPTConfig(50257, 1024, 6, 12, 768))
    with pytest.raises(CourseError, match=f"81,912,576 parameters.*{LARGEST:,}"):
        page_data(model, TOKENIZER)


def test_other_tokenizers_are_a_sentence():
    class Pieces:
        name = "sentencepiece:100"

    with pytest.raises(CourseError, match="but not sentencepiece:100"):
        page_data(small(), Pieces())


def test_gpt2s_architecture_passes_and_others_are_a_sentence():
    share.check_architecture(small())
    share.check_architecture(small(tie_weights=False, n_inner=13))
    share.check_architecture(GPT(GPTConfig(264, 16, 1, 3, 8)))  # heads that do not divide
    post = small()
    for layer in range(2):
        block = PostNormBlock(8, 2)
        block.load_state_dict(post.transformer.h[layer].state_dict())
        post.transformer.h[layer] = block
    with pytest.raises(CourseError, match="its logits would be"):
        share.check_architecture(post)
    more = small()
    more.transformer["extra"] = nn.Linear(3, 3)
    with pytest.raises(CourseError, match="it has other parts .transformer.extra"):
        share.check_architecture(more)
    relu = small()
    for module in relu.modules():
        if isinstance(module, Block):
            module.mlp.activation = torch.relu
    with pytest.raises(CourseError, match="only a GPT as in lesson 05"):
        share.check_architecture(relu)

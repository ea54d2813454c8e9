"""Lesson 04, judged by torch.nn and by transformers' GPT2Block."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers.models.gpt2.modeling_gpt2 import GPT2Block, GPT2Config

from solutions.attention import causal_mask
from solutions.blocks import MLP, Block, LayerNorm, PostNormBlock, gelu


def randomise(module: nn.Module, std: float = 0.3) -> nn.Module:
    """No parameter zero, none one: whatever is left out or swapped shows."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=std)
    return module


@pytest.mark.parametrize("scale", [1.0, 0.01, 1e-4, 1e3])
@pytest.mark.parametrize("eps", [1e-5, 1e-2])
def test_layer_norm_is_torchs_at_every_scale(scale, eps):
    """Vectors that hardly vary tell where epsilon stands, and by what the variance divides."""
    torch.manual_seed(0)
    ours = randomise(LayerNorm(7, eps))
    x = 2 * scale + scale * torch.randn(3, 5, 7)
    expected = F.layer_norm(x, (7,), ours.weight, ours.bias, eps)
    torch.testing.assert_close(ours(x), expected, rtol=1e-5, atol=3e-5)


def test_layer_norm_of_a_constant_is_its_bias():
    ours = randomise(LayerNorm(6))
    torch.testing.assert_close(ours(torch.full((2, 6), 3.0)), ours.bias.expand(2, 6))


def test_layer_norm_starts_as_one_and_zero_and_has_right_gradients():
    ours = LayerNorm(4).double()
    assert ours.weight.tolist() == [1] * 4
    assert ours.bias.tolist() == [0] * 4
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ours, (x,))


def test_gelu_is_the_tanh_form():
    x = torch.cat([torch.linspace(-6, 6, 1001), torch.tensor([-1e4, 1e4, 0.0])])
    torch.testing.assert_close(gelu(x), F.gelu(x, approximate="tanh"), rtol=1e-5, atol=1e-6)
    assert (gelu(x) - F.gelu(x)).abs().max() > 1e-4, "this is the exact form, not GPT-2's"
    y = torch.randn(9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gelu, (y,))


@pytest.mark.parametrize(("n_inner", "width"), [(None, 24), (36, 36), (5, 5)])
def test_mlp_is_two_layers_with_a_bend(n_inner, width):
    torch.manual_seed(0)
    ours = randomise(MLP(6, n_inner))
    assert ours.c_fc.weight.shape == (width, 6)
    theirs = nn.Sequential(nn.Linear(6, width), nn.GELU(approximate="tanh"), nn.Linear(width, 6))
    theirs[0].load_state_dict(ours.c_fc.state_dict())
    theirs[2].load_state_dict(ours.c_proj.state_dict())
    x = torch.randn(2, 3, 6)
    torch.testing.assert_close(ours(x), theirs(x))
    ours.activation = torch.relu
    assert not torch.allclose(ours(x), theirs(x)), "`activation` can be exchanged"


def test_mlp_drops_out_in_training_only():
    torch.manual_seed(0)
    ours = randomise(MLP(50, dropout=0.3))
    x = torch.randn(1, 100, 50)
    assert abs((ours(x) == 0).float().mean().item() - 0.3) < 0.05
    ours.eval()
    assert (ours(x) != 0).all()


@pytest.mark.parametrize(
    ("n_embd", "n_head", "n_inner", "eps"),
    [(12, 3, None, 1e-5), (10, 1, 37, 1e-3), (21, 7, 5, 1e-5)],
)
def test_block_is_transformers_gpt2_block(n_embd, n_head, n_inner, eps):
    torch.manual_seed(0)
    config = GPT2Config(
        n_embd=n_embd, n_head=n_head, n_inner=n_inner, layer_norm_epsilon=eps, use_cache=False
    )
    config._attn_implementation = "eager"
    theirs = randomise(GPT2Block(config, layer_idx=0)).eval()
    state = {
        # their Conv1D keeps its matrices the other way round
        name: tensor.T if tensor.dim() == 2 else tensor
        for name, tensor in theirs.state_dict().items()
    }
    ours = Block(n_embd, n_head, n_inner, eps=eps)
    ours.load_state_dict(state)
    x = torch.randn(2, 9, n_embd)
    mask = torch.zeros(1, 1, 9, 9).masked_fill(~causal_mask(9), -torch.inf)
    expected = theirs(x, attention_mask=mask)
    expected = expected[0] if isinstance(expected, tuple) else expected
    torch.testing.assert_close(ours(x), expected, rtol=1e-5, atol=1e-5)


def test_block_leaves_the_stream_alone_where_its_layers_add_nothing():
    block = Block(8, 2, dropout=0.1)
    for part in (block.attn.c_proj, block.mlp.c_proj):
        nn.init.zeros_(part.weight)
        nn.init.zeros_(part.bias)
    x = 100 * torch.randn(2, 5, 8)
    assert torch.equal(block(x), x)


def test_post_norm_block_is_torchs_encoder_layer():
    torch.manual_seed(0)
    ours = randomise(PostNormBlock(12, 3, n_inner=20))
    theirs = nn.TransformerEncoderLayer(
        12, 3, 20, 0.0, lambda x: F.gelu(x, approximate="tanh"), batch_first=True
    )
    mine = ours.state_dict()
    names = {
        "self_attn.in_proj_weight": "attn.c_attn.weight",
        "self_attn.in_proj_bias": "attn.c_attn.bias",
        "self_attn.out_proj.weight": "attn.c_proj.weight",
        "self_attn.out_proj.bias": "attn.c_proj.bias",
        "linear1.weight": "mlp.c_fc.weight",
        "linear1.bias": "mlp.c_fc.bias",
        "linear2.weight": "mlp.c_proj.weight",
        "linear2.bias": "mlp.c_proj.bias",
        "norm1.weight": "ln_1.weight",
        "norm1.bias": "ln_1.bias",
        "norm2.weight": "ln_2.weight",
        "norm2.bias": "ln_2.bias",
    }
    theirs.load_state_dict({name: mine[of] for name, of in names.items()})
    x = torch.randn(2, 7, 12)
    expected = theirs(x, src_mask=~causal_mask(7))
    torch.testing.assert_close(ours(x), expected, rtol=1e-5, atol=1e-5)


def test_what_post_norm_breaks():
    """Behind twelve blocks, what entered is still in the stream, or it is not."""

    def what_is_left(kind: type[Block]) -> float:
        torch.manual_seed(0)
        stack = nn.Sequential(*(kind(64, 4) for _ in range(12)))
        for layer in stack.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
                nn.init.zeros_(layer.bias)
        x = torch.randn(8, 16, 64)
        return F.cosine_similarity(x.flatten(), stack(x).flatten(), dim=0).item()

    assert what_is_left(Block) > 0.2
    assert abs(what_is_left(PostNormBlock)) < 0.05

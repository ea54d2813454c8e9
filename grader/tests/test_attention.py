"""Lesson 03, judged by torch's own attention (functional and module) and plain loops."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from solutions import attention
from solutions.attention import (
    CausalSelfAttention,
    causal_mask,
    fused_attention,
    merge_heads,
    scaled_dot_product_attention,
    sliding_window_mask,
    split_heads,
)


def random_mask(*shape: int) -> torch.Tensor:
    """A mask with holes anywhere, and at least one key for every query."""
    mask = torch.rand(shape) < 0.5
    one = torch.randint(shape[-1], shape[:-1]).unsqueeze(-1)
    return mask.scatter(-1, one, True)


def random_attention(n_embd: int, n_head: int, **settings) -> CausalSelfAttention:
    """A module whose biases are not zero, so that leaving one out shows."""
    module = CausalSelfAttention(n_embd, n_head, **settings)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.3)
    return module


class ListCache:
    """The simplest thing that keeps keys and values: what lesson 09 does sooner."""

    def __init__(self):
        self.parts = []

    def append(self, k, v):
        self.parts.append((k, v))
        return tuple(torch.cat(part, dim=2) for part in zip(*self.parts, strict=True))


@pytest.mark.parametrize(("n_queries", "n_keys"), [(1, 1), (5, 5), (1, 7), (3, 7), (2, 64)])
def test_causal_mask_by_plain_loops(n_queries, n_keys):
    first = n_keys - n_queries
    expected = [[key <= first + query for key in range(n_keys)] for query in range(n_queries)]
    mask = causal_mask(n_queries, n_keys)
    assert mask.dtype == torch.bool
    assert mask.tolist() == expected
    if n_queries == n_keys:
        assert torch.equal(causal_mask(n_queries), torch.ones(n_keys, n_keys).tril().bool())


def test_causal_mask_refuses_more_queries_than_keys():
    with pytest.raises(ValueError, match="5 queries"):
        causal_mask(5, 4)


@pytest.mark.parametrize("seed", range(12))
def test_attention_is_torchs_for_any_shape_and_mask(seed):
    torch.manual_seed(seed)
    batch, heads, queries, keys, size, value_size = torch.randint(1, 9, (6,)).tolist()
    q = torch.randn(batch, heads, queries, size)
    k = torch.randn(batch, heads, keys, size)
    v = torch.randn(batch, heads, keys, value_size)
    for mask in (None, random_mask(queries, keys), random_mask(batch, 1, queries, keys)):
        output, weights = scaled_dot_product_attention(q, k, v, mask)
        expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-6)
        assert weights.shape == (batch, heads, queries, keys)
        torch.testing.assert_close(weights.sum(-1), torch.ones(batch, heads, queries))
        torch.testing.assert_close(weights @ v, output)
        if mask is not None:
            assert (weights.masked_select(~mask) == 0).all(), "what is masked weighs exactly 0"


def test_attention_works_without_batch_and_heads():
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 4), torch.randn(5, 4), torch.randn(5, 2)
    output, _ = scaled_dot_product_attention(q, k, v, causal_mask(3, 5))
    torch.testing.assert_close(
        output, F.scaled_dot_product_attention(q, k, v, attn_mask=causal_mask(3, 5))
    )


def test_attention_stays_finite_where_scores_are_huge():
    torch.manual_seed(0)
    q, k = 300 * torch.randn(2, 6, 4), 300 * torch.randn(2, 6, 4)
    output, weights = scaled_dot_product_attention(q, k, torch.randn(2, 6, 4), causal_mask(6))
    assert output.isfinite().all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 6))
    # so low that any finite stand-in for -inf would let the masked keys win
    k = -1e6 * torch.ones(1, 2, 1)
    _, weights = scaled_dot_product_attention(torch.ones(1, 2, 1), k, k, causal_mask(2))
    assert weights[0, 0].tolist() == [1, 0]


def test_gradients_of_attention():
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, n, 3, dtype=torch.float64, requires_grad=True) for n in (4, 5, 5))
    mask = random_mask(4, 5)
    assert torch.autograd.gradcheck(
        lambda q, k, v: scaled_dot_product_attention(q, k, v, mask)[0], (q, k, v)
    )


def test_dropout_falls_on_the_weights_and_keeps_their_mean():
    torch.manual_seed(0)
    q, k, v = torch.randn(400, 4), torch.randn(50, 4), torch.eye(50)
    output, weights = scaled_dot_product_attention(q, k, v, dropout_p=0.2)
    # values are the identity: the output shows the weights that were used
    dropped = output == 0
    assert abs(dropped.float().mean().item() - 0.2) < 0.02
    torch.testing.assert_close(output, torch.where(dropped, 0.0, weights / 0.8))
    torch.testing.assert_close(weights, torch.softmax(q @ k.T / math.sqrt(4), dim=-1))


def test_heads_are_neighbouring_channels():
    x = torch.randn(2, 5, 12)
    heads = split_heads(x, 3)
    assert heads.shape == (2, 3, 5, 4)
    for head in range(3):
        assert torch.equal(heads[:, head], x[:, :, 4 * head : 4 * head + 4])
    assert torch.equal(merge_heads(heads), x)
    with pytest.raises(ValueError, match="5 equal heads"):
        split_heads(x, 5)


@pytest.mark.parametrize(("n_embd", "n_head", "length"), [(12, 3, 7), (8, 1, 5), (30, 5, 13)])
def test_module_is_torchs_multihead_attention(n_embd, n_head, length):
    torch.manual_seed(n_embd)
    ours = random_attention(n_embd, n_head)
    theirs = nn.MultiheadAttention(n_embd, n_head, batch_first=True)
    theirs.in_proj_weight.data = ours.c_attn.weight.data
    theirs.in_proj_bias.data = ours.c_attn.bias.data
    theirs.out_proj.weight.data = ours.c_proj.weight.data
    theirs.out_proj.bias.data = ours.c_proj.bias.data
    x = torch.randn(3, length, n_embd)
    expected, _ = theirs(x, x, x, attn_mask=~causal_mask(length))  # there, True forbids
    torch.testing.assert_close(ours(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("n_embd", "n_head"), [(384, 7), (10, 3), (5, 4)])
def test_heads_need_not_divide(n_embd, n_head):
    torch.manual_seed(0)
    size = n_embd // n_head
    ours = random_attention(n_embd, n_head)
    assert ours.head_size == size
    assert ours.c_attn.weight.shape == (3 * n_head * size, n_embd)
    assert ours.c_proj.weight.shape == (n_embd, n_head * size)
    x = torch.randn(2, 6, n_embd)
    q, k, v = F.linear(x, ours.c_attn.weight, ours.c_attn.bias).split(n_head * size, dim=-1)
    heads = [
        F.scaled_dot_product_attention(q[..., cut], k[..., cut], v[..., cut], is_causal=True)
        for cut in (slice(head * size, (head + 1) * size) for head in range(n_head))
    ]
    expected = F.linear(torch.cat(heads, dim=-1), ours.c_proj.weight, ours.c_proj.bias)
    torch.testing.assert_close(ours(x), expected, rtol=1e-5, atol=1e-4)


def test_no_place_sees_the_future():
    torch.manual_seed(0)
    ours = random_attention(12, 3)
    x = torch.randn(1, 8, 12)
    changed = x.clone()
    changed[:, 5:] = torch.randn(1, 3, 12)
    torch.testing.assert_close(ours(x)[:, :5], ours(changed)[:, :5])
    assert not torch.allclose(ours(x)[:, 5:], ours(changed)[:, 5:])


@pytest.mark.parametrize("pieces", [[1] * 9, [4, 1, 1, 3], [9], [2, 7]])
def test_piece_by_piece_through_a_cache_is_the_same(pieces):
    torch.manual_seed(0)
    ours, cache = random_attention(14, 4), ListCache()
    x = torch.randn(2, 9, 14)
    out = torch.cat([ours(piece, cache) for piece in x.split(pieces, dim=1)], dim=1)
    torch.testing.assert_close(out, ours(x), rtol=1e-5, atol=1e-5)


def test_module_drops_out_in_training_only():
    torch.manual_seed(0)
    ours = random_attention(12, 3, dropout=0.5)
    seen = []

    def attend(q, k, v, mask, dropout_p):
        seen.append(dropout_p)
        return scaled_dot_product_attention(q, k, v, mask, dropout_p)

    ours.attend = attend
    x = torch.randn(2, 50, 12)
    share = (ours(x) == 0).float().mean().item()
    assert abs(share - 0.5) < 0.1, "the result of the layer is dropped out too"
    ours.eval()
    assert torch.equal(ours(x), ours(x))
    assert seen[0] == 0.5
    assert seen[1:] == [0, 0]


@pytest.mark.parametrize("seed", range(8))
def test_fused_is_the_plain_form(seed):
    torch.manual_seed(seed)
    batch, heads, queries, more, size = torch.randint(1, 8, (5,)).tolist()
    keys = queries + more - 1
    tensors = [torch.randn(batch, heads, n, size) for n in (queries, keys, keys)]
    cotangent = torch.randn(batch, heads, queries, size)
    masks = [None, causal_mask(queries, keys), random_mask(queries, keys)]
    masks.append(random_mask(batch, 1, queries, keys))
    for mask in masks:
        gradients = []
        for form in (scaled_dot_product_attention, fused_attention):
            q, k, v = (tensor.clone().requires_grad_() for tensor in tensors)
            output, weights = form(q, k, v, mask)
            (output * cotangent).sum().backward()
            gradients.append((output.detach(), q.grad, k.grad, v.grad))
        assert weights is None
        for plain, fused in zip(*gradients, strict=True):
            torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-5)


def test_fused_names_the_causal_mask_only_where_it_is_one(monkeypatch):
    calls = []
    monkeypatch.setattr(
        attention.F,
        "scaled_dot_product_attention",
        lambda q, k, v, attn_mask, dropout_p, is_causal: calls.append((attn_mask, is_causal)) or q,
    )
    x = torch.randn(1, 1, 4, 2)
    other = causal_mask(4)
    other[0, 3] = True
    last_two = causal_mask(2, 4)
    for q, mask in ((x, causal_mask(4)), (x, other), (x[..., :2, :], last_two), (x, None)):
        fused_attention(q, x, x, mask)
    assert calls[0] == (None, True)
    assert calls[1] == (other, False)
    assert calls[2][0] is last_two
    assert not calls[2][1]
    assert calls[3] == (None, False)


def test_fused_serves_the_module():
    torch.manual_seed(0)
    ours = random_attention(20, 3)
    x = torch.randn(2, 11, 20)
    plain = ours(x)
    ours.attend = fused_attention
    torch.testing.assert_close(ours(x), plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("window", [1, 2, 3, 5, 100])
@pytest.mark.parametrize(("n_queries", "n_keys"), [(1, 1), (6, 6), (1, 6), (3, 8)])
def test_sliding_window_mask_by_plain_loops(n_queries, n_keys, window):
    first = n_keys - n_queries
    expected = [
        [first + query - window < key <= first + query for key in range(n_keys)]
        for query in range(n_queries)
    ]
    assert sliding_window_mask(n_queries, n_keys, window).tolist() == expected
    if n_queries == n_keys:
        assert sliding_window_mask(n_queries, window=window).tolist() == expected
    with pytest.raises(ValueError, match="at least 1"):
        sliding_window_mask(n_queries, n_keys, window=0)

"""Lesson 02, judged by torch's own look-up, closed forms and plain loops."""

import math

import pytest
import torch
import torch.nn.functional as F

from solutions.embeddings import Embeddings, TokenEmbedding, nearest_tokens, sinusoidal_positions


def test_look_up_is_torchs_with_its_gradient():
    torch.manual_seed(0)
    table = TokenEmbedding(11, 5)
    ids = torch.tensor([[3, 3, 0], [10, 7, 3]])  # one id thrice: its gradients add up
    cotangent = torch.randn(2, 3, 5)
    (table(ids) * cotangent).sum().backward()
    weight = table.weight.detach().clone().requires_grad_()
    expected = F.embedding(ids, weight)
    (expected * cotangent).sum().backward()
    assert torch.equal(table(ids), expected)
    torch.testing.assert_close(table.weight.grad, weight.grad)


@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (2, 1, 3)])
def test_look_up_takes_ids_of_any_shape(shape):
    table = TokenEmbedding(7, 3)
    assert table(torch.zeros(shape, dtype=torch.long)).shape == (*shape, 3)


def test_look_up_refuses_an_id_without_a_row():
    with pytest.raises(IndexError):
        TokenEmbedding(7, 3)(torch.tensor([7]))


def test_tables_start_as_in_gpt2():
    torch.manual_seed(0)
    weight = TokenEmbedding(1000, 64).weight
    assert abs(weight.std().item() - 0.02) < 2e-4
    assert abs(weight.mean().item()) < 4e-4


@pytest.mark.parametrize(("block_size", "n_embd"), [(1, 1), (7, 2), (13, 5), (64, 32), (1024, 7)])
def test_sinusoidal_positions_are_the_formula(block_size, n_embd):
    table = sinusoidal_positions(block_size, n_embd)
    expected = [
        [
            (math.sin if channel % 2 == 0 else math.cos)(
                place / 10000 ** ((channel - channel % 2) / n_embd)
            )
            for channel in range(n_embd)
        ]
        for place in range(block_size)
    ]
    assert table.dtype == torch.float32
    torch.testing.assert_close(table, torch.tensor(expected), atol=1e-4, rtol=0)


def test_a_step_in_time_turns_every_pair_of_channels_by_the_same_angle():
    """Why waves: the way from t to t + 5 is the same rotation for every t."""
    table = sinusoidal_positions(50, 16).view(50, 8, 2)
    pairs = torch.complex(table[..., 1], table[..., 0])  # cos + i sin
    turns = pairs[5:] / pairs[:-5]
    torch.testing.assert_close(turns, turns[:1].expand_as(turns), atol=1e-4, rtol=0)


def test_embeddings_add_token_and_position():
    torch.manual_seed(1)
    layer = Embeddings(vocab_size=11, block_size=6, n_embd=5)
    ids = torch.tensor([[4, 4, 2], [0, 10, 4]])
    out = layer(ids)
    for row in range(2):
        for place in range(3):
            expected = layer.wte.weight[ids[row, place]] + layer.wpe.weight[place]
            torch.testing.assert_close(out[row, place], expected)
    assert not torch.equal(out[0, 0], out[0, 1]), "the same token at two places looks the same"


def test_sinusoidal_embeddings_do_not_learn_their_positions():
    layer = Embeddings(11, 6, 5, positions="sinusoidal")
    layer(torch.tensor([[1, 2]])).sum().backward()
    assert torch.equal(layer.wpe.weight, sinusoidal_positions(6, 5))
    assert layer.wpe.weight.grad is None
    assert layer.wte.weight.grad is not None
    assert {name for name, _ in layer.named_parameters()} == {"wte.weight", "wpe.weight"}


def test_embeddings_drop_out_in_training_only():
    torch.manual_seed(2)
    layer = Embeddings(11, 200, 50, dropout=0.25)
    ids = torch.randint(11, (1, 200))
    dropped = (layer(ids) == 0).float().mean().item()
    assert abs(dropped - 0.25) < 0.03
    layer.eval()
    assert (layer(ids) != 0).all()


def test_embeddings_refuse_what_does_not_fit():
    layer = Embeddings(11, 6, 5)
    assert layer(torch.zeros(1, 6, dtype=torch.long)).shape == (1, 6, 5)
    with pytest.raises(ValueError, match="only 6 positions"):
        layer(torch.zeros(1, 7, dtype=torch.long))
    with pytest.raises(ValueError, match="'learned' or 'sinusoidal'"):
        Embeddings(11, 6, 5, positions="none")


@pytest.mark.parametrize("seed", range(5))
def test_nearest_tokens_are_those_of_torchs_cosine(seed):
    torch.manual_seed(seed)
    # rows of very different lengths: the product alone would prefer long ones
    weight = torch.randn(37, 6) * torch.logspace(-3, 2, 37).unsqueeze(1)
    token = 5 * seed
    ids, similarities = nearest_tokens(weight, token, k=9)
    cosines = F.cosine_similarity(weight, weight[token].unsqueeze(0), dim=1)
    cosines[token] = -2
    expected, expected_ids = cosines.topk(9)
    assert ids.tolist() == expected_ids.tolist()
    torch.testing.assert_close(similarities, expected)


def test_nearest_tokens_settles_ties_zeros_and_opposites():
    weight = torch.tensor([[1.0, 0], [2, 0], [0, 0], [-3, 0], [0, 5], [1, 0]], requires_grad=True)
    before = weight.detach().clone()
    ids, similarities = nearest_tokens(weight, token=0, k=5)
    assert ids.tolist() == [1, 5, 2, 4, 3]
    assert similarities.tolist() == [1, 1, 0, 0, -1]
    assert torch.equal(weight, before)
    many = torch.ones(500, 2)  # a sort that is not stable shows only in a long row
    assert nearest_tokens(many, token=3, k=5)[0].tolist() == [0, 1, 2, 4, 5]


@pytest.mark.parametrize(("token", "k"), [(-1, 1), (4, 1), (0, 0), (0, 4)])
def test_nearest_tokens_refuses_what_is_not_there(token, k):
    with pytest.raises(ValueError, match=r"token|k must"):
        nearest_tokens(torch.randn(4, 3), token, k)

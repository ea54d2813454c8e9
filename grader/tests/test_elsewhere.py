"""The device that does not exist: code that ignores `device` is found out, other code is not."""

import numpy as np
import pytest
import torch

from grader.judge.elsewhere import Elsewhere, device_of


def compared(n, device):
    places = torch.arange(n, device=device)
    return places <= places.unsqueeze(1)


def moved(n, device):
    return torch.ones(n, n).tril().to(device)


def from_numpy(n, device):
    return torch.from_numpy(np.tril(np.ones((n, n)))).to(device)


def by_loops(n, device):
    mask = torch.zeros(n, n, dtype=torch.bool, device=device)
    for i in range(n):
        for j in range(i + 1):
            mask[i, j] = True
    return mask


def from_lists(n, device):
    return torch.tensor([[j <= i for j in range(n)] for i in range(n)], device=device)


def in_a_context(n, device):
    with torch.device(device):
        return torch.ones(n, n).tril()


def with_numbers(n, device):
    places = torch.arange(n, device=device)
    return torch.where(places <= places[:, None], torch.tensor(1.0), torch.tensor(0.0))


def like_another(n, device):
    return torch.ones_like(torch.zeros(n, n, device=device)).tril()


def asked_for_its_device(n, device):
    places = torch.arange(n, device=device)
    return places <= torch.arange(n, device=places.device).unsqueeze(1)


def put_together(n, device):
    row = torch.ones(n, device=device)
    return torch.stack([torch.cat([row[: i + 1], 0 * row[i + 1 :]]) for i in range(n)])


THERE = [
    *(compared, moved, from_numpy, by_loops, from_lists, in_a_context, with_numbers),
    *(like_another, asked_for_its_device, put_together),
]


@pytest.mark.parametrize("function", THERE, ids=lambda function: function.__name__)
def test_tensors_are_where_they_were_asked_to_be(function):
    with Elsewhere():
        mask, here = function(4, "meta"), function(4, "cpu")
    assert device_of(mask) == "meta"
    assert device_of(here) == "cpu"
    assert mask.float().equal(torch.ones(4, 4).tril())


def test_what_ignores_the_device_stays_here():
    with Elsewhere():
        ignored = torch.ones(3, 3).tril()
        back = torch.ones(3, device="meta").cpu()
        also_back = torch.ones(3, device="meta").to("cpu")
        as_another = torch.ones(3, device="meta").type_as(ignored)
    assert [device_of(t) for t in (ignored, back, also_back, as_another)] == ["cpu"] * 4


def test_two_devices_do_not_mix():
    with Elsewhere():
        there = torch.ones(3, device="meta")
        with pytest.raises(RuntimeError, match="same device"):
            there + torch.ones(3)
        with pytest.raises(TypeError, match="NumPy"):
            there.numpy()
        assert device_of(there + torch.tensor(1.0)) == "meta"
        assert there.device == torch.device("meta")
        assert torch.ones(3).device == torch.device("cpu")


def test_outside_nothing_is_pretended():
    assert torch.ones(2).device.type == "cpu"
    assert device_of(torch.ones(2)) == "cpu"

"""What crosses between a check and the learner's code: copies of plain values, and nothing else."""

import contextlib
import io
import random
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import torch

from grader.judge import border
from grader.judge.answers import sketch
from grader.judge.border import Handle, Packet, RefusedError, Seed, pack, unpack
from grader.judge.proxies import Lesson, brief
from grader.judge.verdicts import WrongError
from grader.judge.wire import LENGTHS, WireError, receive, send

PLAIN = [
    *(None, True, False, 0, -(2**70), 0.1, float("inf"), "", "naïve\n\x00 \U0001f600", "\udc80"),
    *(b"", b"\x00\xff", [], [1, [2, [3]]], (), (1,), {}, {1: "a", "1": "b", (2, 3): [None]}),
    *(set(), {3, 1, 2}, {1, 2}),
    *(Seed(7), [Seed(7), Handle(3, "GPT")]),
]
TENSORS = [
    torch.tensor(1.5),
    torch.zeros(0, 3),
    torch.zeros(0),
    torch.arange(12).view(3, 4).T,
    torch.tensor([True, False]),
    torch.randn(2, 3).to(torch.bfloat16),
    torch.tensor([1.0, float("nan"), -float("inf")], dtype=torch.float64),
    torch.zeros(1).expand(2, 3),
    torch.nn.Parameter(torch.ones(2)),
    *(torch.ones(2).to(dtype) for dtype in border.DTYPES),
]


def over_the_wire(packet: Packet) -> Packet:
    stream = io.BytesIO()
    send(stream, packet)
    return receive(io.BytesIO(stream.getvalue()))


@pytest.mark.parametrize("value", PLAIN, ids=lambda value: repr(value)[:30])
def test_plain_values_come_back_as_they_were(value):
    packet = pack(value)
    for arrived in (unpack(packet), unpack(over_the_wire(packet))):
        assert arrived == value
        assert type(arrived) is type(value)


@pytest.mark.parametrize("tensor", TENSORS, ids=lambda t: f"{tuple(t.shape)} {t.dtype}")
def test_tensors_come_back_as_plain_copies(tensor):
    packet = pack({"a": [tensor, tensor]})
    for arrived in (unpack(packet), unpack(over_the_wire(packet))):
        first, second = arrived["a"]
        assert type(first) is torch.Tensor
        assert (first.shape, first.dtype) == (tensor.shape, tensor.dtype)
        assert border.same_tensor(first, tensor.detach())
        assert first.is_contiguous()
        assert not first.requires_grad
        if first.numel():
            assert len({t.data_ptr() for t in (first, second, tensor)}) == 3


def test_what_was_sent_may_change_afterwards():
    tensor, numbers = torch.zeros(3), [1]
    packet = pack([tensor, numbers])
    tensor += 1
    numbers.append(2)
    arrived = unpack(packet)
    assert arrived[0].tolist() == [0, 0, 0]
    assert arrived[1] == [1]


def test_floats_are_exact_and_nan_is_nan():
    arrived = unpack(over_the_wire(pack([0.1 + 0.2, float("nan"), -0.0])))
    assert arrived[0] == 0.1 + 0.2
    assert arrived[1] != arrived[1]
    assert str(arrived[2]) == "-0.0"


def test_kinds_of_lists_become_the_plain_one():
    Point = namedtuple("Point", "x y")
    assert unpack(pack(Point(1, 2))) == (1, 2)
    assert type(unpack(pack(torch.Size([2])))) is tuple
    assert type(unpack(pack(OrderedDict(a=1)))) is dict
    assert unpack(pack(frozenset({1}))) == {1}


def test_a_subclass_cannot_lie_about_what_it_holds():
    class Liar(list):
        def __iter__(self):
            raise ZeroDivisionError

        def __len__(self):
            return -1

        def __eq__(self, other):
            return True

    class Endless(dict):
        def items(self):
            while True:
                yield 1, 2

    assert unpack(pack(Liar([1, 2]))) == [1, 2]
    assert unpack(pack(Endless(a=1))) == {"a": 1}


def cyclic() -> list:
    inner: list = []
    inner.append(inner)
    return inner


def deep(levels: int) -> list:
    inner: list = []
    for _ in range(levels):
        inner = [inner]
    return inner


class Equal:
    def __eq__(self, other):
        return True

    def __hash__(self):
        return 1


class WholeNumber(int):
    pass


class Tensor2(torch.Tensor):
    pass


REFUSED = {
    "a NumPy array": np.zeros(2),
    "a NumPy number (float64)": np.float64(1),
    "a NumPy number (bool)": [np.bool_(True)],
    "a generator (wrap it in `list(...)`?)": (i for i in range(3)),
    "a map object (wrap it in `list(...)`?)": map(abs, []),
    "a zip object (wrap it in `list(...)`?)": zip([], [], strict=True),
    "a range (wrap it in `list(...)`?)": range(3),
    "a function (are the brackets of the call missing?)": deep,
    "a method (are the brackets of the call missing?)": Equal().__hash__,
    "`...`": ...,
    "an object of the class Equal": {"a": (1, Equal())},
    "an object of the class WholeNumber": WholeNumber(3),
    "an object of the class complex": 1j,
    "an object of the class dtype": torch.float32,
    "a tensor of a class of its own, Tensor2": torch.ones(2).as_subclass(Tensor2),
    "a tensor on the device 'meta', not on the CPU": torch.empty(2, device="meta"),
    "a tensor of an unusual kind, torch.sparse_coo, torch.float32": torch.ones(2).to_sparse(),
    "a tensor of an unusual kind, torch.strided, torch.complex64": torch.ones(2) * 1j,
    "a tensor of 1,099,511,627,776 numbers, which is far too large": torch.ones(1).expand(1 << 40),
    "a list of 3,000,000 items, which is far too many": [0] * 3_000_000,
    "a text of 9,000,000 characters, which is far too long": "a" * 9_000_000,
    "9,000,000 bytes, which is far too long": bytes(9_000_000),
    "a whole number of more than 10,000 bits": 10**5000,
    "a list inside others, more than 100 deep": cyclic(),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_anything_else_is_refused_by_its_name(sentence):
    with pytest.raises(RefusedError) as error:
        pack(REFUSED[sentence])
    assert str(error.value) == sentence


def test_all_tensors_together_have_a_limit(monkeypatch):
    monkeypatch.setattr(border, "MAX_TENSOR_BYTES", 1000)
    pack([torch.zeros(100), torch.zeros(100)])
    with pytest.raises(RefusedError, match="100 numbers, which is far too large"):
        pack([torch.zeros(100), torch.zeros(100), torch.zeros(100)])


def test_depth_is_fine_up_to_the_limit():
    fine = deep(border.MAX_DEPTH - 1)
    assert unpack(over_the_wire(pack(fine))) == fine
    with pytest.raises(RefusedError, match="deep"):
        pack(deep(border.MAX_DEPTH))


def test_an_object_may_be_kept_behind():
    kept = []

    def keep(value):
        kept.append(value)
        return Handle(len(kept), "Equal")

    thing = Equal()
    packet = over_the_wire(pack([1, thing], keep))
    assert kept == [thing]
    assert unpack(packet) == [1, Handle(1, "Equal")]
    assert unpack(packet, lambda handle: kept[handle.number - 1])[1] is thing


def test_equal_packets_hold_the_same_to_the_bit():
    nan = torch.tensor([float("nan"), 1.0])
    assert pack([nan, 2]).equals(pack([nan.clone(), 2]))
    for other in ([nan, 3], [nan], [nan.double(), 2], [torch.tensor([float("nan"), 2.0]), 2]):
        assert not pack([nan, 2]).equals(pack(other))


# damaged packets


def bytes_of(packet: Packet) -> bytes:
    stream = io.BytesIO()
    send(stream, packet)
    return stream.getvalue()


WHOLE = bytes_of(pack({"a": torch.arange(6.0).view(2, 3), "b": ["text", b"bytes", {1, 2}]}))


def test_a_packet_that_ends_too_soon_is_an_error():
    for length in range(len(WHOLE)):
        with pytest.raises(WireError):
            receive(io.BytesIO(WHOLE[:length]))


def test_damage_is_noticed_or_gives_a_packet_and_nothing_else():
    choose = random.Random(0)
    for _ in range(300):
        damaged = bytearray(WHOLE)
        for _ in range(choose.randint(1, 4)):
            damaged[choose.randrange(LENGTHS.size, len(damaged))] = choose.randrange(256)
        with contextlib.suppress(WireError):
            receive(io.BytesIO(bytes(damaged)))


@pytest.mark.parametrize("lengths", [(2**32 - 1, 0), (0, 2**32 - 1), (65 << 20, 8)])
def test_absurd_lengths_are_not_even_read(lengths):
    with pytest.raises(WireError, match="too much"):
        receive(io.BytesIO(LENGTHS.pack(*lengths)))


def test_a_stream_that_is_closed_is_an_error_on_both_sides():
    stream = io.BytesIO()
    stream.close()
    with pytest.raises(WireError):
        send(stream, pack(1))
    with pytest.raises(WireError):
        receive(stream)


class Answers:
    """A backend that answers with whatever it is given."""

    def __init__(self, packet: Packet) -> None:
        self.packet = packet

    def ask(self, request, seconds):
        return self.packet


def endless_tree() -> dict:
    tree: dict = {"list": []}
    tree["list"].append(tree)
    return {"dict": [["value", tree]]}


def deep_tree(depth: int) -> dict:
    tree: dict = {"list": []}
    for _ in range(depth):
        tree = {"list": [tree]}
    return tree


HONEST = {"value": 1, "changed": [], "settings": [], "used": [], "printed": ""}
RAISED = {"kinds": ["ValueError"], "message": "", "where": "", "line": "", "unwritten": None}
NONSENSE = [
    Packet(None, []),
    Packet({}, []),
    Packet({"nonsense": 1}, []),
    Packet({"tensor": 0}, []),
    Packet({"dict": 3}, []),
    Packet({"dict": [[1, 2, 3]]}, []),
    Packet({"dict": [[{"list": []}, 1]]}, []),
    Packet({"bytes": "%"}, []),
    Packet({"object": 1}, []),
    Packet(endless_tree(), []),
    pack({**HONEST, "printed": 3}),
    pack({key: value for key, value in HONEST.items() if key != "value"}),
    pack({"raised": {**RAISED, "inside": "", "loading": "yes"}, **HONEST}),
    pack({"raised": {**RAISED, "kinds": []}, **HONEST}),
    pack({**HONEST, "refused": torch.zeros(3)}),
    pack({**HONEST, "changed": [torch.zeros(3)]}),
    pack({**HONEST, "value": {2**61 - 1: 1}}),
    Packet({"list": [{"tensor": 0}, {"tensor": 0}]}, [torch.zeros(3)]),
    Packet(deep_tree(200), []),
]


@pytest.mark.parametrize("packet", NONSENSE, ids=range(len(NONSENSE)))
def test_an_answer_that_is_none_ends_the_check(packet):
    lesson = Lesson(Answers(packet), 1.0, pytest.fail)
    with pytest.raises(WrongError, match="no answer"):
        lesson.double(1)
    assert Lesson(Answers(pack(HONEST)), 1.0, pytest.fail).double(1) == 1


def test_numbers_whose_hashes_are_all_the_same_cost_no_time():
    """Python's whole numbers begin again at 2**61 - 1: a set of their multiples is a long list."""
    many = Packet({"set": [i * (2**61 - 1) for i in range(100_000)]}, [])
    with pytest.raises(ValueError, match="too large for a key"):
        unpack(many)
    assert unpack(pack({1, 2**40})) == {1, 2**40}


def test_a_header_of_impossible_sizes_is_no_packet():
    header = b'{"0":{"dtype":"F32","shape":[0,18446744073709551615],"data_offsets":[0,0]}}'
    blob = len(header).to_bytes(8, "little") + header
    stream = io.BytesIO(LENGTHS.pack(4, len(blob)) + b"null" + blob)
    with pytest.raises(WireError, match="no packet|impossible shape"):
        receive(stream)


def test_a_tensor_in_a_message_is_its_shape():
    """torch writes dimensions of a few numbers in full, for hours if there are many of them."""
    assert brief([torch.zeros([2] * 24, dtype=torch.uint8)]) == f"[a tensor {(2,) * 24}]"
    assert brief({"b": [1, "x"], "a": (2.5, None, {3})}) == "{'a': (2.5, None, {3}), 'b': [1, 'x']}"


def test_millions_of_numbers_have_a_sketch():
    """32-bit floats round 2**24 + 3 up to 2**24 + 4, which is no place among as many numbers."""
    assert len(sketch(torch.zeros(2**24 + 4, dtype=torch.bool))["numbers"]) == 16

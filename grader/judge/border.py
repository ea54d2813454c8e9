"""The border between a check and the learner's code: what may cross it, and in which form.

A check runs in the judge's process, the learner's module perhaps in another one. So only plain
values cross: numbers, text, bytes, None, tensors on the CPU, and lists, tuples, dicts and sets of
these. Everything is copied, also where both sides share a process: a check that works in one way of
running works in the other. Objects (a model, a tokenizer) stay on the learner's side; the check
holds a number in their place.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

MAX_TENSOR_BYTES = 1 << 30
DTYPES = (
    *(torch.float32, torch.float64, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)
SCALARS = (type(None), bool, int, float, str)


class RefusedError(Exception):
    """Something that may not cross the border. The message names it: "a NumPy array"."""


@dataclass(frozen=True)
class Handle:
    """Stands for an object that stays on the learner's side."""

    number: int
    kind: str  # the name of its class


@dataclass(frozen=True)
class Seed:
    """Becomes a `torch.Generator` with this seed on the learner's side."""

    seed: int


@dataclass
class Packet:
    """A value on its way: a tree for JSON, and the tensors that it mentions by number."""

    tree: Any
    tensors: list[torch.Tensor]

    def equals(self, other: "Packet") -> bool:
        """Say whether both hold the same, to the bit (one nan is as good as another)."""
        return (
            self.tree == other.tree
            and len(self.tensors) == len(other.tensors)
            and all(map(same_tensor, self.tensors, other.tensors))
        )


def same_tensor(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Say whether two tensors have the same dtype, shape and numbers."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return torch.equal(a, b) or bool(((a == b) | ((a != a) & (b != b))).all())


def pack(value: Any, keep: Callable[[Any], Handle | None] = lambda value: None) -> Packet:
    """Copy `value` into a packet. `keep` may take an object in and give a handle for it.

    Raises RefusedError, with the name of the thing, for what may not cross.
    """
    tensors: list[torch.Tensor] = []
    return Packet(_tree(value, tensors, keep), tensors)


def unpack(packet: Packet, fetch: Callable[[Any], Any] = lambda marker: marker) -> Any:
    """Return the value in a packet. `fetch` turns handles and seeds into what they mean."""
    return _value(packet.tree, packet.tensors, fetch)


def _tree(value: Any, tensors: list[torch.Tensor], keep: Callable[[Any], Handle | None]) -> Any:
    if type(value) in SCALARS:
        return value
    if isinstance(value, torch.Tensor):
        tensors.append(_plain(value))
        return {"tensor": len(tensors) - 1}
    if type(value) is bytes:
        return {"bytes": base64.b64encode(value).decode("ascii")}
    if isinstance(value, dict):
        pairs = [[_tree(k, tensors, keep), _tree(v, tensors, keep)] for k, v in value.items()]
        return {"dict": pairs}
    for kind, name in ((list, "list"), (tuple, "tuple"), (set, "set"), (frozenset, "set")):
        if isinstance(value, kind):
            items = sorted(value, key=repr) if name == "set" else value
            return {name: [_tree(item, tensors, keep) for item in items]}
    if isinstance(value, Seed):
        return {"seed": value.seed}
    handle = value if isinstance(value, Handle) else keep(value)
    if handle is not None:
        return {"object": handle.number, "kind": handle.kind}
    raise RefusedError(describe_kind(value))


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        raise RefusedError(f"a tensor of a class of its own, {type(tensor).__name__}")
    if tensor.device.type != "cpu":
        raise RefusedError(f"a tensor on the device {str(tensor.device)!r}, not on the CPU")
    if tensor.layout != torch.strided or tensor.dtype not in DTYPES:
        raise RefusedError(f"a tensor of an unusual kind, {tensor.layout}, {tensor.dtype}")
    if tensor.numel() * tensor.element_size() > MAX_TENSOR_BYTES:
        raise RefusedError(f"a tensor of {tensor.numel():,} numbers, which is far too large")
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def _value(tree: Any, tensors: list[torch.Tensor], fetch: Callable[[Any], Any]) -> Any:
    if not isinstance(tree, dict):
        return tree
    kind = next(iter(tree))
    inside = tree[kind]
    match kind:
        case "tensor":
            return tensors[inside]
        case "bytes":
            return base64.b64decode(inside)
        case "dict":
            return {_value(k, tensors, fetch): _value(v, tensors, fetch) for k, v in inside}
        case "list":
            return [_value(item, tensors, fetch) for item in inside]
        case "tuple":
            return tuple(_value(item, tensors, fetch) for item in inside)
        case "set":
            return {_value(item, tensors, fetch) for item in inside}
        case "seed":
            return fetch(Seed(inside))
        case "object":
            return fetch(Handle(inside, tree["kind"]))
    raise ValueError(f"no such kind of value: {kind!r}")


def describe_kind(value: Any) -> str:
    """Return what a learner would call this: "a NumPy array", "a generator", ..."""
    kind = type(value)
    if kind.__module__.partition(".")[0] == "numpy":
        return (
            "a NumPy array" if kind.__name__ == "ndarray" else f"a NumPy number ({kind.__name__})"
        )
    known = {
        "generator": "a generator (wrap it in `list(...)`?)",
        "function": "a function (are the brackets of the call missing?)",
        "method": "a method (are the brackets of the call missing?)",
        "map": "a map object (wrap it in `list(...)`?)",
        "zip": "a zip object (wrap it in `list(...)`?)",
        "range": "a range (wrap it in `list(...)`?)",
        "ellipsis": "`...`",
    }
    return known.get(kind.__name__, f"an object of the class {kind.__name__}")

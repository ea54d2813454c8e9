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

MAX_TENSOR_BYTES = 1 << 30  # of all tensors in one packet
MAX_ITEMS = 2_000_000  # of all lists, texts' characters aside
MAX_TEXT = 8_000_000  # characters or bytes of one text
MAX_BITS = 10_000  # of one number; Python itself writes no more than 4300 digits
MAX_DEPTH = 100  # of lists in lists
MAX_KEY_BITS = 60  # of a whole number in a set; from 61 on Python's hashes begin again
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
    packing = _Packing(keep)
    return Packet(packing.tree(value), packing.tensors)


def unpack(packet: Packet, fetch: Callable[[Any], Any] = lambda marker: marker) -> Any:
    """Return the value in a packet. `fetch` turns handles and seeds into what they mean.

    Raises ValueError, or what Python raises for a wrong form, for what no `pack` has made.
    """
    return _Opening(packet.tensors, fetch).value(packet.tree)


class _Packing:
    """Builds one packet. Built-in methods are called on the built-in class: a subclass may lie."""

    def __init__(self, keep: Callable[[Any], Handle | None]) -> None:
        self.keep = keep
        self.tensors: list[torch.Tensor] = []
        self.room = MAX_TENSOR_BYTES
        self.items = 0

    def tree(self, value: Any, depth: int = 0) -> Any:
        """Return what JSON can hold of a value; its tensors are put aside."""
        kind = type(value)
        if kind in SCALARS:
            if kind is int and value.bit_length() > MAX_BITS:
                raise RefusedError(f"a whole number of more than {MAX_BITS:,} bits")
            if kind is str and len(value) > MAX_TEXT:
                raise RefusedError(f"a text of {len(value):,} characters, which is far too long")
            return value
        if isinstance(value, torch.Tensor):
            self.tensors.append(self.plain(value))
            return {"tensor": len(self.tensors) - 1}
        if kind is bytes:
            if len(value) > MAX_TEXT:
                raise RefusedError(f"{len(value):,} bytes, which is far too long")
            return {"bytes": base64.b64encode(value).decode("ascii")}
        if isinstance(value, dict):
            self.count(dict.__len__(value), depth, "a dictionary")
            pairs = dict.items(value)
            return {"dict": [[self.tree(k, depth + 1), self.tree(v, depth + 1)] for k, v in pairs]}
        for builtin, name in ((list, "list"), (tuple, "tuple"), (set, "set"), (frozenset, "set")):
            if isinstance(value, builtin):
                self.count(builtin.__len__(value), depth, f"a {name}")
                items = builtin.__iter__(value)  # type: ignore[attr-defined]
                if name == "set":
                    items = iter(sorted(items, key=repr))
                return {name: [self.tree(item, depth + 1) for item in items]}
        if kind is Seed:
            return {"seed": value.seed}
        handle = value if kind is Handle else self.keep(value)
        if handle is not None:
            return {"object": handle.number, "kind": handle.kind}
        raise RefusedError(describe_kind(value))

    def count(self, length: int, depth: int, what: str) -> None:
        """Refuse what never ends, or would fill the memory."""
        self.items += length
        if self.items > MAX_ITEMS:
            raise RefusedError(f"{what} of {length:,} items, which is far too many")
        if depth >= MAX_DEPTH:
            raise RefusedError(f"{what} inside others, more than {MAX_DEPTH} deep")

    def plain(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a copy of a tensor, if it is an ordinary one."""
        if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
            raise RefusedError(f"a tensor of a class of its own, {type(tensor).__name__}")
        if tensor.device.type != "cpu":
            raise RefusedError(f"a tensor on the device {str(tensor.device)!r}, not on the CPU")
        if tensor.layout != torch.strided or tensor.dtype not in DTYPES or tensor.is_nested:
            raise RefusedError(f"a tensor of an unusual kind, {tensor.layout}, {tensor.dtype}")
        self.room -= tensor.numel() * tensor.element_size()
        if self.room < 0:
            raise RefusedError(f"a tensor of {tensor.numel():,} numbers, which is far too large")
        return tensor.detach().clone(memory_format=torch.contiguous_format)


class _Opening:
    """Takes one packet apart. It may come from a stranger, who wants to cost time or memory."""

    def __init__(self, tensors: list[torch.Tensor], fetch: Callable[[Any], Any]) -> None:
        self.tensors = dict(enumerate(tensors))  # each is taken once
        self.fetch = fetch

    def value(self, tree: Any, depth: int = 0) -> Any:
        """Return what a tree stands for."""
        if not isinstance(tree, dict):
            return tree
        if depth > MAX_DEPTH:
            raise ValueError("too deep")
        kind = next(iter(tree))
        inside, deeper = tree[kind], depth + 1
        match kind:
            case "tensor":
                return self.tensors.pop(inside)
            case "bytes":
                return base64.b64decode(inside)
            case "dict":
                return {self.key(k, deeper): self.value(v, deeper) for k, v in inside}
            case "list":
                return [self.value(item, deeper) for item in inside]
            case "tuple":
                return tuple(self.value(item, deeper) for item in inside)
            case "set":
                return {self.key(item, deeper) for item in inside}
            case "seed":
                return self.fetch(Seed(inside))
            case "object":
                return self.fetch(Handle(inside, tree["kind"]))
        raise ValueError(f"no such kind of value: {kind!r}")

    def key(self, tree: Any, depth: int) -> Any:
        """Return what a dictionary or a set finds by its hash; of huge numbers many have the same."""
        if isinstance(tree, int) and tree.bit_length() > MAX_KEY_BITS:
            raise ValueError("a number too large for a key")
        return self.value(tree, depth)


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
        "NoneType": "None (is the `return` missing?)",
        **{"bool": "True or False", "int": "an int", "float": "a float", "str": "text"},
        **{"list": "a list", "tuple": "a tuple", "dict": "a dictionary", "set": "a set"},
        "Tensor": "a tensor",
    }
    return known.get(kind.__name__, f"an object of the class {kind.__name__}")

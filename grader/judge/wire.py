"""Packets as bytes: two lengths, the tree as JSON, the tensors as safetensors. No pickle."""

import json
import struct
from typing import BinaryIO

from safetensors.torch import load, save

from .border import DTYPES, Packet

LENGTHS = struct.Struct("<II")
MAX_TREE_BYTES = 64 << 20
MAX_TENSORS_BYTES = 1 << 30
MAX_HEADER_BYTES = (
    1 << 20
)  # of safetensors: names and shapes; tensors without numbers cost nothing else
MAX_EMPTY_SIZE = 1 << 20  # of a dimension beside one of size 0: a sum over the 0 would fill it


class WireError(Exception):
    """The other side is gone, or it sent what is no packet."""


def send(stream: BinaryIO, packet: Packet) -> None:
    """Write one packet. Raises WireError when nobody reads any more."""
    tree = json.dumps(packet.tree).encode("ascii")
    blob = save({str(i): tensor for i, tensor in enumerate(packet.tensors)})
    try:
        stream.write(LENGTHS.pack(len(tree), len(blob)) + tree + blob)
        stream.flush()
    except (OSError, ValueError):
        raise WireError("the other side is gone") from None


def receive(
    stream: BinaryIO, max_tree: int = MAX_TREE_BYTES, max_tensors: int = MAX_TENSORS_BYTES
) -> Packet:
    """Read one packet. Raises WireError for the end of the stream and for anything else."""
    tree_length, blob_length = LENGTHS.unpack(_read(stream, LENGTHS.size))
    if tree_length > max_tree or blob_length > max_tensors:
        raise WireError("the other side sent far too much")
    text, blob = _read(stream, tree_length), _read(stream, blob_length)
    if int.from_bytes(blob[:8], "little") > MAX_HEADER_BYTES:
        raise WireError("the other side sent far too many tensors")
    try:
        tensors = load(blob)
        if any(tensor.dtype not in DTYPES for tensor in tensors.values()):
            raise WireError("the other side sent a tensor of an unusual kind")
        if any(not t.numel() and max(t.shape) > MAX_EMPTY_SIZE for t in tensors.values()):
            raise WireError("the other side sent a tensor of an impossible shape")
        return Packet(json.loads(text), [tensors[str(i)] for i in range(len(tensors))])
    except WireError:
        raise
    except Exception:  # libraries have many ways to say what is wrong with a stranger's bytes
        raise WireError("the other side sent what is no packet") from None


def _read(stream: BinaryIO, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        try:
            part = stream.read(min(length - len(data), 1 << 20))
        except (OSError, ValueError):
            part = b""
        if not part:
            raise WireError("the other side is gone")
        data += part
    return bytes(data)

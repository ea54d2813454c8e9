"""Everything that a file holds, also packed in another way: what a search for leaks must look at.

Text in UTF-8, UTF-16 or one number a character; what zlib, gzip, bzip2, xz and zip have packed,
wherever it begins; base64, hexadecimal and lists of numbers. Nothing is executed or unpickled.
"""

import base64
import binascii
import bz2
import contextlib
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator

DEEPEST = 4  # a zip in a zip in a ... is followed so far
LARGEST = 64 << 20  # bytes that are looked at after unpacking
SHORTEST = 60  # characters of a code: what is shorter holds no region worth the name

ZLIB = re.compile(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08")
BASE64 = re.compile(rb"(?:[A-Za-z0-9+/_-]{20,}(?:\\n|\r?\n)?)+")  # in one line, or in many
HEXADECIMAL = re.compile(rb"(?:[0-9A-Fa-f]{20,}\s?)+")
NUMBERS = re.compile(rb"(?:\d{1,3}\s*,\s*){30,}\d{1,3}")


def unpacked(data: bytes, depth: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield (how it is packed, content) for a file's bytes and all that is packed in them."""
    yield "", data
    if b"\0" in data:
        yield "wide characters", data.replace(b"\0", b"")
    if depth == DEEPEST:
        return
    for how, inside in _layer(data):
        for further, content in unpacked(inside, depth + 1):
            yield f"{how}, {further}".removesuffix(", "), content


def _layer(data: bytes) -> Iterator[tuple[str, bytes]]:
    for match in ZLIB.finditer(data):
        if content := _inflated(data[match.start() :]):
            yield "compressed", content
    for magic, opener in ((b"BZh", bz2.BZ2Decompressor), (b"\xfd7zXZ\0", lzma.LZMADecompressor)):
        at = data.find(magic)
        while at >= 0:
            with contextlib.suppress(OSError, lzma.LZMAError, EOFError):
                yield "compressed", opener().decompress(data[at:], LARGEST)
            at = data.find(magic, at + 1)
    if b"PK\x03\x04" in data:
        yield from _zipped(data)
    for match in BASE64.finditer(data):
        text = re.sub(rb"\\n|\s", b"", match[0]).translate(bytes.maketrans(b"-_", b"+/"))
        if len(text) >= SHORTEST:
            yield "base64", base64.b64decode(text[: len(text) // 4 * 4])
    for match in HEXADECIMAL.finditer(data):
        text = b"".join(match[0].split())
        if len(text) >= SHORTEST:
            yield "hexadecimal", binascii.unhexlify(text[: len(text) // 2 * 2])
    for match in NUMBERS.finditer(data):
        numbers = [int(number) for number in match[0].split(b",")]
        if max(numbers) < 256:
            yield "numbers", bytes(numbers)


def _inflated(data: bytes) -> bytes:
    """Return what zlib or gzip packed, as far as it is whole; two bytes alike are often chance."""
    engine = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        return engine.decompress(data, LARGEST)
    except zlib.error:
        return b""


def _zipped(data: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                with archive.open(info) as file:
                    yield f"zip: {info.filename}", file.read(LARGEST)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, zlib.error, EOFError, OSError):
        return

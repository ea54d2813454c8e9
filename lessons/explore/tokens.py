"""How a token is written down: as text where it is text that can be shown, else as its bytes."""

import textwrap
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

SPACE = "␣"  # a space at the edge of a token would not be seen
FONTS = ("DejaVu Sans Mono", "DejaVu Sans")  # both come with matplotlib


def token_bytes(tokenizer: Any, ids: Sequence[int]) -> list[bytes]:
    """The bytes of each token by itself."""
    return [tokenizer.decode_bytes([int(i)]) for i in ids]


def written(token: bytes) -> str:
    """A token for a table: its text as Python writes it, or its bytes where it is not whole text."""
    try:
        return repr(token.decode("utf-8"))
    except UnicodeDecodeError:
        return repr(token)


def label(token: bytes | str, longest: int = 12) -> str:
    """A token for a picture: only signs that the fonts have, spaces visible, not too long."""
    if isinstance(token, bytes):
        try:
            token = token.decode("utf-8")
        except UnicodeDecodeError:
            return shorten(repr(token)[2:-1], longest)
    shown = drawable(token.replace("\n", "\\n").replace("\t", "\\t"))
    if shown.startswith(" ") or shown.endswith(" "):
        shown = shown.replace(" ", SPACE)
    return shorten(shown, longest) or "''"


def labels(tokenizer: Any, ids: Sequence[int], longest: int = 12) -> list[str]:
    """A label for each id."""
    return [label(token, longest) for token in token_bytes(tokenizer, ids)]


def drawable(text: str) -> str:
    """The same text with \\u... in place of signs that no font at hand can draw."""
    return "".join(
        sign if sign.isprintable() and _is_in_fonts(sign) else ascii(sign)[1:-1] for sign in text
    )


def shorten(text: str, longest: int) -> str:
    """At most `longest` signs, the last of them an ellipsis where some are left out."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def paragraph(text: str, width: int) -> str:
    """A text for a picture, in lines of at most `width` signs."""
    lines = [part for line in drawable_lines(text) for part in textwrap.wrap(line, width) or [""]]
    return "\n".join(lines)


def drawable_lines(text: str) -> list[str]:
    """The lines of a text, each of signs that can be drawn."""
    return [drawable(line.replace("\t", "    ")) for line in text.splitlines()]


@lru_cache(maxsize=4096)
def _is_in_fonts(sign: str) -> bool:
    return any(face.get_char_index(ord(sign)) for face in _faces())


@lru_cache(maxsize=1)
def _faces() -> list[Any]:
    from matplotlib.font_manager import findfont
    from matplotlib.ft2font import FT2Font

    return [FT2Font(findfont(name)) for name in FONTS]

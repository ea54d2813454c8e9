"""Data for the tokenizer widget: GPT-2's merges, and which characters are letters and numbers."""

from pathlib import Path

from ...engine.vocabulary import END_OF_TEXT, character_ranges, gpt2_merges, token_ranks

FILE = "gpt2"
BUDGET = {FILE: 450_000}


def make(folder: Path) -> dict[str, object]:
    """Return what the widget needs to be GPT-2's tokenizer. `folder` is not looked at.

    letters, numbers, spaces: ranges of code points, as hexadecimal "41-5a 61-7a aa". A browser knows
    these classes too, but each browser those of its own year, and tiktoken those of its own.
    merges: for each merge the ids of its two parts, four hexadecimal digits each; merge number r
    makes the token 256 + r. Raises CourseError where GPT-2's vocabulary is not found.
    """
    merges = gpt2_merges()
    ids = token_ranks(merges)
    return {
        FILE: {
            **character_ranges(),
            "merges": "".join(f"{ids[left]:04x}{ids[right]:04x}" for left, right in merges),
            "endOfText": {"text": END_OF_TEXT, "id": len(ids)},
        }
    }

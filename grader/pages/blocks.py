"""The code that pages show: found, and run.

All ```python blocks of a page run in order in one namespace; a ```text block right after one is what
it prints. ```sh blocks hold commands.
"""

import contextlib
import io
import re
import traceback
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(
    r"^(?P<indent>[ ]*)(?P<marks>```+)[ ]*(?P<language>[\w.-]*)(?P<more>[^\n`]*)\n"
    r"(?P<code>.*?)^(?P=indent)(?P=marks)[ ]*$",
    re.MULTILINE | re.DOTALL,
)
RUN, SHOWN, SHELL = "python", "text", "sh"


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    code: str
    line: int  # where its fence stands, counted from 1
    follows: bool  # nothing but empty lines between the block before and this one


def find_blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a page, in order, without their indentation."""
    blocks, end = [], 0
    for found in FENCE.finditer(text):
        indent = len(found["indent"])
        code = "".join(line[indent:] for line in found["code"].splitlines(keepends=True))
        line = text.count("\n", 0, found.start()) + 1
        follows = bool(blocks) and not text[end : found.start()].strip()
        blocks.append(Block(found["language"], code, line, follows))
        end = found.end()
    return blocks


def command_lines(text: str) -> list[tuple[int, str]]:
    """Return the commands of a page's ```sh blocks with their lines; continued ones are joined."""
    found = []
    for block in find_blocks(text):
        if block.language != SHELL:
            continue
        joined = block.code.replace("\\\n", " ").split("\n")
        for number, line in enumerate(joined, start=block.line + 1):
            if line.strip() and not line.lstrip().startswith("#"):
                found.append((number, line.strip()))
    return found


def run_page(page: Path) -> list[str]:
    """Run a page's Python; returns what is wrong, a sentence each."""
    blocks = find_blocks(page.read_text(encoding="utf-8"))
    names: dict[str, object] = {"__name__": "__page__"}
    wrong = []
    for block, after in zip(blocks, [*blocks[1:], None], strict=True):
        if block.language != RUN:
            continue
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile(block.code, f"{page.name}, line {block.line}", "exec"), names)
        except Exception:
            wrong.append(f"{page.name}, line {block.line}: {traceback.format_exc(limit=-1)}")
            break
        if not (after and after.language == SHOWN and after.follows):
            continue
        if plain(printed.getvalue()) != plain(after.code):
            said = printed.getvalue()
            wrong.append(f"{page.name}, line {after.line}: the block before it prints\n{said}")
    return wrong


def plain(text: str) -> str:
    """Leave out what nobody sees: blanks at the ends of lines, empty lines at the end."""
    return "\n".join(line.rstrip() for line in text.rstrip().split("\n"))


def main(pages: list[str]) -> int:
    """Run pages, one after the other: `python -m grader.pages.blocks site/lessons/03.md`."""
    wrong = [text for page in pages for text in run_page(Path(page))]
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    import sys

    raise SystemExit(main(sys.argv[1:]))

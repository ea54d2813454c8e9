"""The data of the site's widgets: what a real model and real tokenizers say, as small files.

    python -m solutions.explore widgets

writes `site/widgets/data/FILE.js`, each of them one call of `course.deliver("FILE", ...)`, because a
browser refuses to fetch JSON for a page that was opened from a folder. Every module here that has a
`make` is a maker, with

    BUDGET = {"attention": 80_000}                     how many bytes each of its files may have
    def make(folder: Path) -> dict[str, object]: ...   file -> what JSON can hold, or ready bytes

`folder` holds our own small model and its tokenizer. The same folder gives the same bytes, but
for what is measured by the clock. A maker rounds its own numbers to what its widget shows.
"""

import importlib
import json
import pkgutil
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from ...engine.errors import CourseError
from ...engine.files import write_atomically


def makers() -> dict[str, ModuleType]:
    """The modules of this package that make files, by name, in the order of the alphabet."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    return {name: module for name, module in modules.items() if hasattr(module, "make")}


def make_all(
    out: Path, folder: Path | None = None, only: Iterable[str] | None = None
) -> dict[str, int]:
    """Write the files of all widgets, or of those named, and return how many bytes each has.

    out: where FILE.js go. folder: a model of the GPT-2 family with its tokenizer; None: our own.
    only: names of makers. Raises CourseError for a name that there is not, and where a file is
    larger than its maker allows.
    """
    return dict(make_each(out, folder, only))


def make_each(
    out: Path, folder: Path | None = None, only: Iterable[str] | None = None
) -> Iterator[tuple[str, int]]:
    """The same, file by file as they are written: (file, bytes)."""
    if folder is None:
        from ...engine.storyteller import storyteller_folder

        folder = storyteller_folder()
    there = makers()
    for name in there if only is None else only:
        if name not in there:
            raise CourseError(f"no widget data {name!r}; --only takes {', '.join(there)}")
        files = there[name].make(Path(folder))
        if files.keys() != there[name].BUDGET.keys():
            raise ValueError(f"{name} made {sorted(files)}, but has a budget for others")
        for file, value in files.items():
            yield file, write_file(Path(out), file, value, there[name].BUDGET[file])


def write_file(out: Path, file: str, value: Any, budget: int) -> int:
    """Write out/FILE.js, whole or not at all, if it keeps its budget; return how many bytes."""
    content = value if isinstance(value, bytes) else delivery(file, value)
    if len(content) > budget:
        raise CourseError(
            f"{file}.js would be {len(content):,} bytes, and its budget is {budget:,}; "
            "let its maker round more, or raise BUDGET there"
        )
    with write_atomically(out / f"{file}.js", "wb") as written:
        written.write(content)
    return len(content)


def delivery(file: str, value: Any) -> bytes:
    """The script that hands `value` to whoever asks `course.data(FILE)`."""
    content = json.dumps(compact(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # JSON allows these two in a string, old scripts do not
    content = content.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return f"course.deliver({json.dumps(file)},{content});\n".encode()


def compact(value: Any) -> Any:
    """The same value with whole floats as integers: 1.0 is three letters, 1 is one."""
    if isinstance(value, dict):
        return {name: compact(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [compact(part) for part in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


@lru_cache(maxsize=1)
def load(folder: Path) -> tuple[Any, Any]:
    """The model in `folder` and its tokenizer: several makers use the same."""
    from ...engine.pretrained import load_model
    from ...engine.tokenizers import load_tokenizer

    return load_model(folder), load_tokenizer(str(folder))


def pieces(tokenizer: Any, ids: Iterable[int]) -> list[str]:
    """What each token is as text; bytes that are no whole letter as \\xNN, so that none is hidden."""
    return [tokenizer.decode_bytes([i]).decode("utf-8", "backslashreplace") for i in ids]

"""The texts that the benchmark reads: real ones where they are at hand, else our own stories."""

from pathlib import Path

from ..ministories import stories
from .settings import BenchmarkOptions

STORIES = 12_000  # of ours, about as many bytes as the real file
FILES = {"stories": "tinystories-train.txt", "Wikipedia": "wikipedia-sample.txt"}
SEPARATOR = "<|endoftext|>"


def text_files(options: BenchmarkOptions) -> dict[str, Path]:
    """Name -> file, of those that are there; "ministories" alone where none is."""
    found = {}
    if options.data is not None and not options.quick:
        found = {name: options.data / file for name, file in FILES.items()}
        found = {name: file for name, file in found.items() if file.is_file()}
    return found or {"ministories": _ministories(options)}


def _ministories(options: BenchmarkOptions) -> Path:
    count = 100 if options.quick else STORIES
    file = options.out / f"ministories-{count}.txt"
    if not file.exists():
        file.write_text(f"\n{SEPARATOR}\n".join(stories(0, 0, count)), encoding="utf-8")
    return file


def documents_of(file: Path) -> list[str]:
    """The documents of a text file, as our own reading finds them."""
    from ..sources import documents

    return list(documents(str(file)))

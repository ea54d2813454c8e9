"""Documents to learn from: by name, or from anybody's own files.

    documents("ministories")     stories that the course makes itself, the same for the same seed
    documents("tinystories")     TinyStories, streamed from the Hugging Face hub
    documents("wikipedia")       English Wikipedia articles, streamed from the hub
    documents("my/texts")        a .txt, .jsonl or .parquet file, or a folder of such files

Files are read in order of their names, folders within folders too, a piece at a time: no file is
held in memory as a whole, unless it is one document. What a document is:

.txt      What stands between two `<|endoftext|>`. A file without that marker is one document up to
          4 MB; a longer one is cut, at blank lines where there are any, into documents of 64 KB and
          more.
.jsonl    One line: {"text": ...}, or "story", or "content", or a string alone.
.parquet  One row, column "text", "story" or "content".

White space around a document is taken off, line ends become "\\n", empty documents are left out.
"""

import codecs
import io
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from .errors import CourseError
from .hub import hub_documents
from .vocabulary import END_OF_TEXT

MINISTORIES = 20_000  # about 21 MB of stories
# Stories for validation are numbered from here on: never those of training, however many these are.
_VALID_START = 1_000_000_000
WIKIPEDIA_ARTICLES = 20_000  # of 6.4 million: about 60 MB

NAMES = ("ministories", "tinystories", "wikipedia")
SUFFIXES = (".txt", ".jsonl", ".parquet")
FIELDS = ("text", "story", "content")
_CHOICES = f"a file ({', '.join(SUFFIXES)}), a folder, or one of: {', '.join(NAMES)}"

_BLOCK = 1 << 20  # bytes read at a time
_ONE_DOCUMENT = 4 << 20  # a .txt without markers up to this many bytes is one document
_LEAST, _MOST = 1 << 16, 4 << 20  # characters in a document cut from a longer one

Part = Literal["train", "valid"]


def documents(
    spec: str, part: Part = "train", *, count: int | None = None, seed: int = 0, start: int = 0
) -> Iterator[str]:
    """Yield the documents of a named source or a path.

    part: "valid" are the documents that a source keeps for validation (`has_own_validation`).
    count: how much of a named source to take, in documents; a path gives all of its own.
    seed: of ministories. start: how many of these documents to leave out at the beginning. (So that
    this can be counted, an empty document of a hub source is not left out: it comes as "".)
    Raises CourseError, in one sentence, for a wrong name, and for text that is empty or damaged.
    """
    check_source(spec)
    if spec == "ministories":
        from .ministories import stories

        n_stories = count or MINISTORIES
        if part == "valid":
            n_stories, begin = validation_stories(n_stories), _VALID_START
        else:
            begin = 0
        found: Iterable[str] = stories(seed, begin + start, max(0, n_stories - start))
    elif spec == "tinystories":
        split, most = "train", count
        if part == "valid":
            split, most = "validation", count and validation_stories(count)
        found = hub_documents("roneneldan/TinyStories", None, split, start, most)
    elif spec == "wikipedia":
        articles = count or WIKIPEDIA_ARTICLES
        found = hub_documents("wikimedia/wikipedia", "20231101.en", "train", start, articles)
    else:
        found = itertools.islice(_own_documents(Path(spec)), start, None)
    return iter(found)


def validation_stories(stories: int) -> int:
    """How many stories validate a training on so many: a ninth, so that it is 90 to 10."""
    return max(1, stories // 9)


def has_own_validation(spec: str) -> bool:
    """Whether a source keeps documents for validation, so that nothing needs to be split off."""
    return spec in ("ministories", "tinystories")


def is_remote(spec: str) -> bool:
    """Whether the documents come over the network."""
    return spec in ("tinystories", "wikipedia")


def check_source(spec: str) -> None:
    """Raise CourseError where `spec` is neither a name nor a file or folder with text."""
    if spec not in NAMES:
        source_files(Path(spec))


def source_files(path: Path) -> list[Path]:
    """The files of a path, in order. Raises CourseError where there is nothing to read."""
    if path.is_dir():
        files = sorted(
            Path(folder, name)
            for folder, folders, names in os.walk(path)
            for name in names
            if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        )
        files = [file for file in files if file.is_file() and file.stat().st_size]
        if not files:
            raise CourseError(f"no text in {path}; a folder needs {', '.join(SUFFIXES)} files")
        return files
    if not path.exists():
        raise CourseError(f"no file {path}; --data takes {_CHOICES}")
    if path.suffix.lower() not in SUFFIXES:
        raise CourseError(f"{path} is none of {', '.join(SUFFIXES)}; --data takes {_CHOICES}")
    if path.stat().st_size == 0:
        raise CourseError(f"{path} is empty; give a file with text")
    return [path]


def _own_documents(path: Path) -> Iterator[str]:
    readers = {".txt": _txt_documents, ".jsonl": _jsonl_documents, ".parquet": _parquet_documents}
    nothing = True
    for file in source_files(path):
        if not os.access(file, os.R_OK):
            raise CourseError(f"no permission to read {file}")
        for document in readers[file.suffix.lower()](file):
            document = document.strip()
            if document:
                nothing = False
                yield document
    if nothing:
        raise CourseError(f"{path} holds nothing but white space; give a file with text")


# Plain text.


def _txt_documents(path: Path) -> Iterator[str]:
    if _has_marker(path):
        return split_stream(read_text(path), END_OF_TEXT)
    if path.stat().st_size <= _ONE_DOCUMENT:
        return iter(["".join(read_text(path))])
    return cut_stream(read_text(path), _LEAST, _MOST)


def _has_marker(path: Path) -> bool:
    marker = END_OF_TEXT.encode()
    tail = b""
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            block = tail + block
            if marker in block:
                return True
            tail = block[1 - len(marker) :]
    return False


def read_text(path: Path) -> Iterator[str]:
    """Yield a UTF-8 file piece by piece, line ends as "\\n", without a byte order mark.

    Raises CourseError with the place of the first byte that is not UTF-8.
    """
    utf8 = codecs.getincrementaldecoder("utf-8")()
    decoder = io.IncrementalNewlineDecoder(utf8, translate=True)
    consumed = 0
    with open(path, "rb") as file:
        while True:
            block = file.read(_BLOCK)
            begin = consumed - len(utf8.getstate()[0])
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                raise _not_utf8(path, begin + error.start) from None
            yield text.removeprefix("\ufeff") if consumed == 0 else text
            consumed += len(block)
            if not block:
                return


def _not_utf8(path: Path, offset: int) -> CourseError:
    return CourseError(f"{path} is not UTF-8 at byte {offset}; save it as UTF-8 and try again")


def split_stream(parts: Iterable[str], marker: str) -> Iterator[str]:
    """Yield what stands between the markers of a text that comes in parts, however long it is."""
    pending: list[str] = []
    tail = ""  # may hold the beginning of a marker
    for part in parts:
        *whole, rest = (tail + part).split(marker)
        for document in whole:
            yield "".join((*pending, document)) if pending else document
            pending = []
        keep = len(marker) - 1
        pending.append(rest[:-keep])
        tail = rest[-keep:]
    yield "".join((*pending, tail))


def cut_stream(parts: Iterable[str], least: int, most: int) -> Iterator[str]:
    """Cut a text that comes in parts into documents of at least `least` characters.

    Each ends at the first blank line after that; after `most` characters without one, at the last
    line end, or the last space, or just there.
    """
    text = ""
    for part in parts:
        text += part
        begin = 0
        while True:
            end = text.find("\n\n", begin + least)
            if end < 0 or end - begin > most:
                if len(text) - begin <= most:
                    break
                line = text.rfind("\n", begin + least, begin + most)
                space = text.rfind(" ", begin + least, begin + most)
                end = max(line, space) if line < 0 else line
                end = end if end >= 0 else begin + most
            yield text[begin:end]
            begin = end
        text = text[begin:]
    yield text


# One document in a line, or in a row.


def _jsonl_documents(path: Path) -> Iterator[str]:
    offset = 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise _not_utf8(path, offset + error.start) from None
            offset += len(line)
            if text.strip():
                yield _text_of_line(text, f"{path}, line {number}")


def _text_of_line(line: str, where: str) -> str:
    try:
        value = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise CourseError(f"{where} is no JSON ({error}); each line is one document") from None
    text = value
    if isinstance(value, dict):
        text = next((value[field] for field in FIELDS if field in value), None)
    if not isinstance(text, str):
        raise CourseError(
            f'{where} has no text; a line is {{"text": "..."}} (or "story", "content")'
        )
    return _plain_line_ends(with_whole_letters(text))


def _plain_line_ends(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def with_whole_letters(text: str) -> str:
    r"""Put halves of surrogate pairs together, and U+FFFD for one that is alone ("\ud83d")."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _parquet_documents(path: Path) -> Iterator[str]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            texts = [
                field.name
                for field in file.schema_arrow
                if pyarrow.types.is_string(field.type) or pyarrow.types.is_large_string(field.type)
            ]
            column = next((name for name in FIELDS if name in texts), None)
            if column is None:
                raise CourseError(
                    f"{path} has no column of text named {', '.join(FIELDS)}; its columns are "
                    f"{', '.join(file.schema_arrow.names)}"
                )
            for batch in file.iter_batches(batch_size=1000, columns=[column]):
                for text in batch.column(0).to_pylist():
                    if text is not None:
                        yield _plain_line_ends(text)
    except (pyarrow.ArrowException, UnicodeDecodeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise CourseError(f"{path} is no parquet file, or a damaged one ({reason})") from None

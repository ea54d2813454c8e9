"""Tokenising in several processes, so that a kill at any moment loses seconds at most.

The documents are taken in chunks of about 2 MB, and each chunk's tokens are written to files of
their own. The chunks depend on the text alone, so the number of processes changes nothing. A record
beside the files (written last) holds the SHA-256 of the chunk's text, of the settings and of the
files: a chunk whose record fits is not tokenised again, and one whose text, settings or files have
changed is.

tiktoken lets go of Python's lock while it works, so with it a few threads of this one process do as
well, and need no start. For the rest there are helpers. These are not `multiprocessing`: that would
run the program's main file again in each of them, which imports torch for nothing, and breaks for a
script of two lines without a main guard. They are plain child processes (`shard_worker.py`), which
are sent chunks as lines of JSON.
"""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import CourseError
from .files import sha256_of_file, write_json
from .tokenizers import Tokenizer

CHUNK = 2_000_000  # characters
THREADS = 3  # with more of them, what Python does in between would wait for its lock
PARTS = ("train", "val")

# Which documents of a chunk are for training, and which for validation.
Deal = Callable[[list[str]], tuple[list[str], list[str]]]


@dataclass
class Chunk:
    """Some documents that follow each other, dealt out to both parts."""

    stem: str  # of the names of its files
    settings: str  # SHA-256 of all that decides about the tokens but the text
    text: str  # SHA-256 of its documents
    read: int  # how many documents were taken from the source for it
    train: list[str]
    val: list[str]


def make_chunks(
    documents: Iterable[str], source: str, settings: str, deal: Deal, first: int = 0
) -> Iterator[Chunk]:
    """Cut a source's documents into chunks, numbered from `first`."""
    remaining = iter(documents)
    for number in _count_from(first):
        batch: list[str] = []
        size = 0
        for document in remaining:
            batch.append(document)
            size += len(document)
            if size >= CHUNK:
                break
        if not batch:
            return
        train, val = deal([document for document in batch if document])
        digest = hashlib.sha256()
        for part in (train, val):
            digest.update(len(part).to_bytes(8, "big"))
            for document in part:
                encoded = document.encode()
                digest.update(len(encoded).to_bytes(8, "big"))
                digest.update(encoded)
        yield Chunk(f"{source}-{number:06d}", settings, digest.hexdigest(), len(batch), train, val)


def _count_from(first: int) -> Iterator[int]:
    while True:
        yield first
        first += 1


def encode_chunk(chunk: Chunk, tokenizer: Tokenizer, work: Path, dtype: str) -> dict[str, Any]:
    """Write a chunk's tokens, each document followed by <|endoftext|>, and then its record.

    A file that a kill leaves half written does no harm: it has no record, or not that SHA-256.
    """
    encode = getattr(tokenizer, "encode_arrays", tokenizer.encode_batch)
    record: dict[str, Any] = {
        "settings": chunk.settings,
        "text": chunk.text,
        "read": chunk.read,
    }
    for part in PARTS:
        documents: list[str] = getattr(chunk, part)
        rows = encode(documents)
        ids = np.full(sum(map(len, rows)) + len(rows), tokenizer.end_of_text, dtype=dtype)
        begin = 0
        for row in rows:
            ids[begin : begin + len(row)] = row
            begin += len(row) + 1
        content = ids.tobytes()
        _tokens_file(work, chunk.stem, part).write_bytes(content)
        record[part] = {
            "tokens": len(ids),
            "documents": len(documents),
            "bytes": sum(len(document.encode()) for document in documents),
            "chars": sum(map(len, documents)),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    write_json(work / f"{chunk.stem}.json", record)
    return record


def _tokens_file(work: Path, stem: str, part: str) -> Path:
    return work / f"{stem}.{part}.bin"


def find_record(
    work: Path, stem: str, settings: str, text: str | None = None
) -> dict[str, Any] | None:
    """The record of a chunk that needs no work, or None. text: None if it need not be compared."""
    try:
        record = json.loads((work / f"{stem}.json").read_text(encoding="utf-8"))
        if record["settings"] != settings or text not in (None, record["text"]):
            return None
        for part in PARTS:
            if sha256_of_file(_tokens_file(work, stem, part)) != record[part]["sha256"]:
                return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record


def finished_records(work: Path, source: str, settings: str) -> list[dict[str, Any]]:
    """The records of a source's first chunks, as far as they are finished without a gap."""
    records: list[dict[str, Any]] = []
    while record := find_record(work, f"{source}-{len(records):06d}", settings):
        records.append(record)
    return records


def encode_chunks(
    chunks: Iterator[Chunk],
    tokenizer: Tokenizer,
    work: Path,
    dtype: str,
    processes: int,
    advance: Callable[[int], Any],
) -> dict[str, dict[str, Any]]:
    """Tokenise all chunks, in this process and `processes` - 1 others (or threads, where those are
    as good). Returns records by stem.

    work: the folder of the shards, in which the tokenizer is saved as `tokenizer`.
    advance: called with the number of text bytes of each chunk that is finished.
    """
    lock, stop = threading.Lock(), threading.Event()
    records: dict[str, dict[str, Any]] = {}

    def work_through(encode: Callable[[Chunk], dict[str, Any]]) -> None:
        try:
            while not stop.is_set():
                with lock:  # reading is quick; one at a time keeps the chunks in order
                    chunk = next(chunks, None)
                if chunk is None:
                    return
                record = find_record(work, chunk.stem, chunk.settings, chunk.text)
                record = record or encode(chunk)
                with lock:
                    records[chunk.stem] = record
                    advance(record["train"]["bytes"] + record["val"]["bytes"])
        except BaseException:
            stop.set()
            raise

    def encode_here(chunk: Chunk) -> dict[str, Any]:
        return encode_chunk(chunk, tokenizer, work, dtype)

    in_threads = processes <= THREADS and getattr(tokenizer, "works_in_threads", False)
    helpers = [Helper(work, dtype) for _ in range(0 if in_threads else processes - 1)]
    others = [encode_here] * (processes - 1) if in_threads else [h.encode for h in helpers]
    try:
        with ThreadPoolExecutor(max_workers=max(1, len(others))) as threads:
            futures = [threads.submit(work_through, encode) for encode in others]
            try:
                work_through(encode_here)
            except BaseException:
                for helper in helpers:  # or their threads would finish a chunk first
                    helper.kill()
                raise
        for future in futures:
            future.result()
    finally:
        for helper in helpers:
            helper.close()
    return records


class Helper:
    """A child process that tokenises one chunk after the other; started for its first one."""

    def __init__(self, work: Path, dtype: str) -> None:
        self._arguments = [str(work), dtype]
        self._process: subprocess.Popen[str] | None = None

    def _start(self) -> subprocess.Popen[str]:
        assert __package__
        top = Path(__file__).resolve().parents[2]
        paths = [str(top), os.environ.get("PYTHONPATH", "")]
        return subprocess.Popen(
            [sys.executable, "-P", "-m", f"{__package__}.shard_worker", *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )

    def encode(self, chunk: Chunk) -> dict[str, Any]:
        """Have one chunk tokenised. Raises OSError as the child met it (disk full)."""
        self._process = process = self._process or self._start()
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(json.dumps(asdict(chunk)) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise CourseError(
                f"a helper process ended early (exit code {process.wait()}), perhaps for want of "
                "memory; run the same command again with --processes 1"
            )
        record = json.loads(answer)
        if "os_error" in record:
            raise OSError(*record["os_error"])
        return record

    def close(self) -> None:
        """Let it end."""
        if self._process and self._process.stdin:
            self._process.stdin.close()
            self._process.wait()

    def kill(self) -> None:
        """End it in the middle of its work."""
        if self._process:
            self._process.kill()
            self._process.wait()

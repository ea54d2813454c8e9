"""Which text was it? Names that may be shared, quick looks, and SHA-256."""

import hashlib
import json
from pathlib import Path
from typing import Any

from .files import sha256_of_file
from .sources import NAMES, source_files


def name_of(spec: str) -> str:
    """What a source is called in files that may be shared: no folders of this machine."""
    return spec if spec in NAMES else Path(spec).resolve().name


def look_at(spec: str) -> dict[str, int] | None:
    """Number, size and last change of a source's files; None for what is no file."""
    if spec in NAMES:
        return None
    states = [file.stat() for file in source_files(Path(spec))]
    return {
        "files": len(states),
        "bytes": sum(state.st_size for state in states),
        "modified_ns": max(state.st_mtime_ns for state in states),
    }


def sha256_of(spec: str | None) -> str | None:
    """SHA-256 of a file, or of the list that `sha256sum` would print of a folder's files."""
    if spec is None or spec in NAMES:
        return None
    path = Path(spec)
    if path.is_file():
        return sha256_of_file(path)
    lines = [
        f"{sha256_of_file(file)}  {file.relative_to(path).as_posix()}\n"
        for file in source_files(path)
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def digest_of(*values: Any) -> str:
    """SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

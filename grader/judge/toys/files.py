"""Toys for code that writes files, and for the arrays that come out of them."""

import mmap
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..border import describe_kind


class Folder:
    """An empty folder where the learner's code runs. A check ends it with `clear_away`."""

    def __init__(self) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="course-check-")).resolve()
        self._end = weakref.finalize(self, shutil.rmtree, self.place, ignore_errors=True)

    def clear_away(self) -> None:
        """Remove the folder with everything in it."""
        self._end()

    def file(self, name: str) -> str:
        """Return the whole path of a file in it, as text."""
        return str(self.place / name)

    def folder(self, name: str) -> str:
        """Make a folder in it, unless it is there, and return its whole path as text."""
        (self.place / name).mkdir(exist_ok=True)
        return str(self.place / name)

    def path(self, name: str) -> Path:
        """Return the whole path of a file in it; it stays on the learner's side."""
        return self.place / name

    def found(self) -> list[str]:
        """Return the names of all files in it, in order."""
        files = (path for path in self.place.rglob("*") if path.is_file())
        return sorted(path.relative_to(self.place).as_posix() for path in files)

    def write(self, name: str, content: bytes) -> None:
        """Write a file."""
        (self.place / name).write_bytes(content)

    def lengthen(self, name: str, size: int) -> None:
        """Put zeros behind a file's bytes until it has this size."""
        with open(self.place / name, "r+b") as file:
            file.truncate(size)

    def content(self, name: str) -> bytes:
        """Return the bytes of a file."""
        if not (self.place / name).is_file():
            raise FileNotFoundError(f"there should be a file {name} now, and there is none")
        return (self.place / name).read_bytes()

    def called(self, paths: Any) -> list[str]:
        """Return the names of a list of paths, seen from this folder, and what is no path."""
        if not isinstance(paths, list):
            return [f"no list, but {describe_kind(paths)}"]
        return [self._call(path) for path in paths]

    def _call(self, path: Any) -> str:
        if not isinstance(path, Path):
            return f"no Path, but {describe_kind(path)}"
        path = path.resolve()
        inside = path.is_relative_to(self.place)
        return (path.relative_to(self.place) if inside else path).as_posix()


def array(values: torch.Tensor, dtype: str) -> np.ndarray:
    """Return NumPy's array of these numbers. It can be written to."""
    return values.numpy().astype(dtype)


def zeros(length: int, dtype: str) -> np.ndarray:
    """Return a row of zeros, of any length. It takes no memory before somebody writes to it."""
    return np.zeros(length, dtype)


class Look:
    """What there is to say about an array: plain values, which may come to the check."""

    def __init__(self, value: Any) -> None:
        is_array = isinstance(value, np.ndarray)
        self.facts = {
            "kind": "a NumPy array" if is_array else describe_kind(value),
            "dtype": value.dtype.name if is_array else None,
            "shape": list(value.shape) if is_array else None,
        }
        self.values = torch.from_numpy(np.array(value, dtype=np.int64)) if is_array else None
        self.is_on_disk = _is_on_disk(value)
        self.is_read_only = is_array and not value.flags.writeable


def _is_on_disk(value: Any) -> bool:
    """Say whether an array's numbers are those of a file, not a copy in memory."""
    while value is not None and not isinstance(value, mmap.mmap):
        value = value.obj if isinstance(value, memoryview) else getattr(value, "base", None)
    return value is not None


class Types:
    """The types of the tensors of a batch, also of those that may not come to the check."""

    def __init__(self, batch: Sequence[torch.Tensor]) -> None:
        self.names = [str(getattr(x, "dtype", type(x))).removeprefix("torch.") for x in batch]


class Scribbled:
    """What is left of the targets and the text when somebody writes into the inputs."""

    def __init__(self, batch: Sequence[torch.Tensor], text: np.ndarray) -> None:
        inputs, self.targets = batch
        inputs.fill_(-1)
        self.text = Look(text).values


class Encoder:
    """Gives a text's letters as numbers, and remembers the texts. At one of them it breaks, once."""

    def __init__(self, breaks_at: str | None = None) -> None:
        self.breaks_at = breaks_at
        self.texts: list[str] = []

    def __call__(self, text: str) -> list[int]:
        """Return the ids of a text."""
        if text == self.breaks_at:
            self.breaks_at = None
            raise RuntimeError("(the check ends the work here, as if the computer were off)")
        self.texts.append(text)
        return [ord(letter) for letter in text]


TOYS = {
    "folder": Folder,
    "array": array,
    "zeros": zeros,
    "look": Look,
    "types": Types,
    "scribble": Scribbled,
    "encoder": Encoder,
}

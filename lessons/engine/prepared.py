"""Prepared data: a folder with `train.bin`, `val.bin`, `tokenizer/` and `meta.json`.

The two files hold token ids one after the other (uint16 or uint32, little-endian), each document
followed by <|endoftext|>. `meta.json` is written last: where it stands, the rest is whole.

    asked                      what `prepare` was called with: the same call again finds it done
    data, data_sha256          name of the training text, and the SHA-256 of the file
                               (of the list of files, or of the documents, where it is no one file)
    valid, valid_sha256        the same of the validation text
    split                      "separate", "by document" or "by position"
    tokenizer, tokenizer_sha256, vocab_size, end_of_text, dtype
    train_tokens, train_documents, train_bytes, train_chars, train_sha256, and the same for val;
                               bytes (UTF-8) and characters are those of the documents alone
    inputs                     number, bytes and time of change of the files read
"""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from .errors import CourseError
from .files import read_json, sha256_of_file

PARTS = ("train", "val")


def is_prepared(folder: str | Path) -> bool:
    """Whether a folder holds prepared data."""
    return all((Path(folder) / name).is_file() for name in ("meta.json", "train.bin"))


def load_prepared(
    folder: str | Path, verify: bool = False
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Return training tokens and validation tokens, (N,) memory maps, and the meta.

    The tokenizer is beside them: `load_tokenizer(folder / "tokenizer")`. Sizes are always checked;
    verify: check the SHA-256 of both files too. Raises CourseError where something does not fit.
    """
    folder = Path(folder)
    if not is_prepared(folder):
        raise CourseError(
            f"{folder} holds no prepared data; make some with: prepare --out {folder}"
        )
    meta = read_json(folder / "meta.json")
    arrays = []
    for part in PARTS:
        path = folder / f"{part}.bin"
        try:
            dtype, tokens, sha256 = meta["dtype"], meta[f"{part}_tokens"], meta[f"{part}_sha256"]
            expected = tokens * np.dtype(dtype).itemsize
        except (KeyError, TypeError):
            raise CourseError(
                f"{folder / 'meta.json'} is damaged; delete {folder} and prepare it again"
            ) from None
        size = path.stat().st_size if path.is_file() else 0
        if size != expected:
            raise CourseError(
                f"{path} has {size:,} bytes, not {expected:,}; delete {folder} and prepare it again"
            )
        if verify and sha256_of_file(path) != sha256:
            raise CourseError(
                f"{path} has been changed (its SHA-256 differs); "
                f"delete {folder} and prepare it again"
            )
        arrays.append(np.memmap(path, dtype=dtype, mode="r"))
    return arrays[0], arrays[1], meta


def copy_prepared(source: Path, work: Path, out: Path) -> dict[str, Any]:
    """Bring prepared data into another folder: as links where the disk allows, else as copies."""
    _, _, meta = load_prepared(source)
    if source.resolve() == out.resolve():
        return meta
    if is_prepared(out):
        if read_json(out / "meta.json") != meta:
            raise CourseError(f"{out} holds other prepared data; choose another --out")
        return load_prepared(out)[2]
    work.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        copy = work / f"{part}.bin"
        copy.unlink(missing_ok=True)
        try:
            os.link(source / f"{part}.bin", copy)
        except OSError:
            shutil.copyfile(source / f"{part}.bin", copy)
    shutil.copytree(source / "tokenizer", work / "tokenizer", dirs_exist_ok=True)
    shutil.copyfile(source / "meta.json", work / "meta.json")
    put_in_place(work, out)
    return meta


def put_in_place(work: Path, out: Path) -> None:
    """Move what is finished in `work` to its place in `out`, meta.json last; remove `work`."""
    for part in PARTS:
        os.replace(work / f"{part}.bin", out / f"{part}.bin")
    if (out / "tokenizer").exists():
        shutil.rmtree(out / "tokenizer")
    os.replace(work / "tokenizer", out / "tokenizer")
    os.replace(work / "meta.json", out / "meta.json")
    shutil.rmtree(work)

"""From documents to `train.bin` and `val.bin`: tokenised in several processes, resumable.

    meta = prepare("runs/ts/data", "stories.txt", tokenizer="bpe:4096")
    train, val, meta = load_prepared("runs/ts/data")

The result is what lesson 06 computes in three lines (`split_documents`, `pack`, `write_tokens`),
byte for byte, for any number of processes. Unfinished work lies in `OUT/.prepare`: killed at any
moment and called again, `prepare` goes on there. Called again when all is done, it compares sizes.
"""

import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .errors import CourseError, explain_os_error
from .files import read_json, write_atomically, write_json
from .identity import digest_of, look_at, name_of, sha256_of
from .prepared import PARTS, copy_prepared, is_prepared, load_prepared, put_in_place
from .shards import Chunk, Deal, encode_chunks, finished_records, make_chunks
from .sources import NAMES, Part, check_source, documents, has_own_validation, is_remote
from .tokenizers import Tokenizer, load_tokenizer

log = logging.getLogger(__name__)

# A tokenizer learns from this much of the training text, in characters. Ten times as much takes ten
# times as long, and changes the frequent tokens not at all.
TOKENIZER_TEXT = 32_000_000


def prepare(
    out: str | Path,
    data: str = "ministories",
    valid: str | None = None,
    tokenizer: str = "gpt2",
    valid_fraction: float = 0.1,
    processes: int | None = None,
    seed: int = 0,
    stories: int | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Tokenise a text into `out`, unless that is done already. Returns the meta (`prepared.py`).

    data: a name or a path (`sources.py`), or a folder of prepared data, which is then shared.
    valid: the validation text; None: the source's own, or about `valid_fraction` of the documents,
        dealt out by lesson 06's `split_documents` with `seed`. Where that leaves one side empty (a
        single document, or very few), each document's last part validates.
    tokenizer: a name or a path (`tokenizers.py`); a new one learns from the training documents.
    processes: None for as many as there are cores. stories: how much to take of a named source.
    Raises CourseError for anything that a person can put right.
    """
    out, data, valid = Path(out), str(data), valid and str(valid)
    if out.exists() and not out.is_dir():
        raise CourseError(f"{out} is a file; --out takes a folder")
    if not 0 < valid_fraction < 1:
        raise CourseError(f"the validation part must be between 0 and 1, not {valid_fraction}")
    for name, number in (("--processes", processes), ("--stories", stories)):
        if number is not None and number < 1:
            raise CourseError(f"{name} must be at least 1, not {number}")
    work = out / ".prepare"
    try:
        if data not in NAMES and is_prepared(data):
            if valid is not None:
                raise CourseError(f"{data} is prepared already; leave --valid out")
            return copy_prepared(Path(data), work, out)
        job = _Job(out, data, valid, tokenizer, valid_fraction, seed, stories)
        return job.finished() or job.run(processes or _cores(), progress)
    except OSError as error:
        sentence = explain_os_error(error)
        if sentence is None:
            raise
        raise CourseError(sentence) from error
    finally:
        for litter in work.glob(".*.tmp"):  # of helpers that were killed
            litter.unlink(missing_ok=True)


def _cores() -> int:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(usable or 1, 8)  # reading, which one process does, keeps eight busy


class _Job:
    """One call of `prepare`: what was asked, and the steps."""

    def __init__(
        self,
        out: Path,
        data: str,
        valid: str | None,
        tokenizer: str,
        valid_fraction: float,
        seed: int,
        stories: int | None,
    ) -> None:
        self.out, self.work = out, out / ".prepare"
        self.data, self.valid = data, valid
        self.tokenizer_spec = tokenizer
        self.valid_fraction, self.seed, self.stories = valid_fraction, seed, stories
        self.deals = valid is None and not has_own_validation(data)
        is_path = Path(tokenizer).exists() and tokenizer != "gpt2"
        self.asked = {
            "data": name_of(data),
            "valid": name_of(valid) if valid else None,
            "tokenizer": load_tokenizer(tokenizer).fingerprint() if is_path else tokenizer,
            "valid_fraction": valid_fraction if self.deals else None,
            "seed": seed if self.deals or "ministories" in (data, valid) else None,
            "stories": stories if data in NAMES or valid in NAMES else None,
        }

    def finished(self) -> dict[str, Any] | None:
        """The meta of an earlier call that asked the same of the same files, or None."""
        if not is_prepared(self.out):
            return None
        meta = read_json(self.out / "meta.json")
        for what, before in meta.get("asked", {}).items():
            if before != self.asked.get(what):
                raise CourseError(
                    f"{self.out} was prepared with {what} {before}, not {self.asked.get(what)}; "
                    "choose another --out, or delete that folder"
                )
        for role, spec in (("data", self.data), ("valid", self.valid)):
            before = meta.get("inputs", {}).get(role)
            # A file that has gone since is no reason to refuse what was made of it.
            if not (spec and before and Path(spec).exists()) or look_at(spec) == before:
                continue
            if sha256_of(spec) != meta[f"{role}_sha256"]:
                raise CourseError(
                    f"{spec} has changed since {self.out} was prepared from it; "
                    "choose another --out, or delete that folder"
                )
        try:
            load_prepared(self.out)
        except CourseError as error:
            log.warning("%s: that is what happens now", error)
            (self.out / "meta.json").unlink()
            return None
        shutil.rmtree(self.work, ignore_errors=True)  # of a call that was killed at the very end
        return meta

    def run(self, processes: int, progress: bool) -> dict[str, Any]:
        """Do the work, or the rest of it."""
        for spec in filter(None, (self.data, self.valid)):
            check_source(spec)
        self.work.mkdir(parents=True, exist_ok=True)
        inputs = {role: spec and look_at(spec) for role, spec in self._sources().items()}
        sha256 = {role: sha256_of(spec) for role, spec in self._sources().items()}
        self.split, deal = self._choose_split()
        tokenizer = self._make_tokenizer(deal, sha256["data"])
        dtype = "<u2" if tokenizer.vocab_size <= 65536 else "<u4"
        settings = digest_of(self.asked, self.split, tokenizer.fingerprint(), dtype)

        chunks: list[Iterator[Chunk]] = []
        records: dict[str, dict[str, Any]] = {}
        for source in ("data", "valid") if self.split == "separate" else ("data",):
            found, done = self._chunks(source, settings, deal)
            chunks.append(found)
            records |= {f"{source}-{i:06d}": record for i, record in enumerate(done)}
        total = sum(i["bytes"] for i in inputs.values() if i) or None
        bar = tqdm(desc="tokenising", total=total, unit="B", unit_scale=True,
                   disable=None if progress else True)  # fmt: skip
        with bar:
            records |= encode_chunks(
                chain(*chunks), tokenizer, self.work, dtype, processes, bar.update
            )

        meta: dict[str, Any] = {"asked": self.asked, **self._names(records, sha256)}
        meta |= {
            "split": self.split,
            "tokenizer": tokenizer.name,
            "tokenizer_sha256": tokenizer.fingerprint(),
            "vocab_size": tokenizer.vocab_size,
            "end_of_text": tokenizer.end_of_text,
            "dtype": dtype,
        }
        for part in PARTS:
            meta |= self._join(part, records)
        write_json(self.work / "meta.json", meta | {"inputs": inputs})
        put_in_place(self.work, self.out)
        return meta | {"inputs": inputs}

    # Which documents there are.

    def _sources(self) -> dict[str, str | None]:
        return {"data": self.data, "valid": self.valid}

    def _documents(self, source: str, start: int = 0) -> Iterator[str]:
        if source == "data":
            return documents(self.data, count=self.stories, seed=self.seed, start=start)
        if self.valid is None:
            return documents(self.data, "valid", count=self.stories, seed=self.seed, start=start)
        part: Part = "valid" if has_own_validation(self.valid) else "train"
        return documents(self.valid, part, count=self.stories, seed=self.seed, start=start)

    def _chunks(
        self, source: str, settings: str, deal: Deal
    ) -> tuple[Iterator[Chunk], list[dict[str, Any]]]:
        """The chunks of a source that are left to do, and the records of those left out."""
        done: list[dict[str, Any]] = []
        if is_remote(self.data if source == "data" or self.valid is None else self.valid):
            # What is on this disk already is not fetched again just to see that it is the same.
            done = finished_records(self.work, source, settings)
        found = self._documents(source, start=sum(record["read"] for record in done))
        if source == "valid":
            deal = _all_valid
        return make_chunks(found, source, settings, deal, first=len(done)), done

    def _choose_split(self) -> tuple[str, Deal]:
        """How documents are dealt out: by document, unless that leaves one side empty."""
        if not self.deals:
            return "separate", _all_train
        from ..data import split_documents

        by_document = partial(split_documents, valid_fraction=self.valid_fraction, seed=self.seed)
        any_train = any_valid = False
        for document in filter(None, self._documents("data")):
            train, valid = by_document([document])
            any_train, any_valid = any_train or bool(train), any_valid or bool(valid)
            if any_train and any_valid:
                return "by document", by_document
        log.warning(
            "%s has too few documents to keep some for validation; the last %g %% of each are kept",
            name_of(self.data), 100 * self.valid_fraction,
        )  # fmt: skip
        return "by position", partial(cut_documents, valid_fraction=self.valid_fraction)

    # The tokenizer.

    def _make_tokenizer(self, deal: Deal, data_sha256: str | None) -> Tokenizer:
        """The tokenizer in the work folder, if an earlier call made it of the same text, or a new
        one."""
        folder, note = self.work / "tokenizer", self.work / "tokenizer.json"
        made_of = digest_of(self.asked, self.split, data_sha256)
        try:
            tokenizer = load_tokenizer(str(folder))
            if read_json(note) == {"made_of": made_of, "sha256": tokenizer.fingerprint()}:
                return tokenizer
        except (CourseError, OSError):  # not there, or half written
            pass
        shutil.rmtree(folder, ignore_errors=True)
        tokenizer = load_tokenizer(self.tokenizer_spec, self._training_texts(deal))
        tokenizer.save(folder)
        write_json(note, {"made_of": made_of, "sha256": tokenizer.fingerprint()})
        return tokenizer

    def _training_texts(self, deal: Deal) -> Iterator[str]:
        size = 0
        for document in filter(None, self._documents("data")):
            for text in deal([document])[0]:
                yield text[: TOKENIZER_TEXT - size]
                size += len(text)
            if size >= TOKENIZER_TEXT:
                return

    # The result.

    def _join(self, part: str, records: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Put the shards of one part together; returns what the meta says about it."""
        sums = {
            f"{part}_{count}": sum(record[part][count] for record in records.values())
            for count in ("tokens", "documents", "bytes", "chars")
        }
        if not sums[f"{part}_tokens"]:
            raise CourseError(
                f"there is too little text in {self.data} to keep some for validation"
            )
        digest = hashlib.sha256()
        with write_atomically(self.work / f"{part}.bin", "wb") as file:
            for stem in sorted(records):
                content = (self.work / f"{stem}.{part}.bin").read_bytes()
                digest.update(content)
                file.write(content)
        return sums | {f"{part}_sha256": digest.hexdigest()}

    def _names(
        self, records: dict[str, dict[str, Any]], sha256: dict[str, str | None]
    ) -> dict[str, Any]:
        texts = {
            source: digest_of(
                [r["text"] for stem, r in sorted(records.items()) if stem.startswith(source)]
            )
            for source in ("data", "valid")
        }
        names = {"data": name_of(self.data), "data_sha256": sha256["data"] or texts["data"]}
        if self.valid is not None:
            return names | {
                "valid": name_of(self.valid),
                "valid_sha256": sha256["valid"] or texts["valid"],
            }
        if not self.deals:
            return names | {"valid": f"{self.data}, validation", "valid_sha256": texts["valid"]}
        held_out = f"{names['data']}, {self.valid_fraction:.0%} kept {self.split}"
        return names | {"valid": held_out, "valid_sha256": names["data_sha256"]}


# Dealing out. (Helpers get the documents dealt out; these need not be sent anywhere.)


def _all_train(batch: list[str]) -> tuple[list[str], list[str]]:
    return batch, []


def _all_valid(batch: list[str]) -> tuple[list[str], list[str]]:
    return [], batch


def cut_documents(batch: list[str], valid_fraction: float) -> tuple[list[str], list[str]]:
    """Cut each document in two: its last part, about `valid_fraction` of it, is for validation.

    The cut is at the last blank line, else line end, else space in the tenth of the document before
    that place, else just there.
    """
    train, valid = [], []
    for document in batch:
        place = int(len(document) * (1 - valid_fraction))
        for between in ("\n\n", "\n", " "):
            found = document.rfind(between, max(0, place - len(document) // 10), place)
            if found > 0:
                place = found
                break
        train.append(document[:place].strip())
        valid.append(document[place:].strip())
    return [text for text in train if text], [text for text in valid if text]

"""Which model is made small, and on which text that is done and measured."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoints import load_weights
from ..errors import CourseError
from ..prepare import prepare
from ..prepared import is_prepared, load_prepared
from ..pretrained import find_folder
from ..sources import Part, documents, has_own_validation
from ..storyteller import storyteller_folder
from ..tokenizers import Tokenizer, load_tokenizer

TOP = Path(__file__).resolve().parents[3]
REAL_TEXT = ("tinystories-train.txt", "tinystories-valid.txt")  # in COURSE_DATA, where that is set
TOKENIZER_FILES = ({"vocab.json", "merges.txt"}, {"tokenizer.json"}, {"tokenizer.model"})
STORY_TOKENS = 200  # of a ministory at least, for counting how many are needed


@dataclass(frozen=True)
class Subject:
    """A model's folder, and the run that it came from, where there is one."""

    folder: Path
    name: str
    run_data: Path | None
    is_storyteller: bool

    def load(self) -> Any:
        """The model, fresh from its file. Raises CourseError where the tokenizer does not fit it."""
        model, tokens = load_weights(self.folder), self.tokenizer().vocab_size
        if tokens > model.config.vocab_size:
            raise CourseError(
                f"{self.folder}: the tokenizer has {tokens:,} tokens, the model only "
                f"{model.config.vocab_size:,}; they do not belong together"
            )
        return model

    def tokenizer_spec(self) -> str:
        """Where its tokenizer is: in the folder, or, where there is none, GPT-2's."""
        there = {file.name for file in self.folder.iterdir()}
        has_own = any(wanted <= there for wanted in TOKENIZER_FILES)
        return str(self.folder) if has_own else "gpt2"

    def tokenizer(self) -> Tokenizer:
        """Its tokenizer."""
        return load_tokenizer(self.tokenizer_spec())


@dataclass(frozen=True)
class HeldOut:
    """A text to measure on: it begins with <|endoftext|>, so that all its bytes are scored."""

    tokens: np.ndarray  # (N + 1,)
    n_bytes: int
    source: str


def find_subject(name: str | None) -> Subject:
    """The model of that name: a run's folder, a model's folder, a name in the hub's local cache.

    None: the course's own small model. Raises CourseError.
    """
    if name is None:
        return Subject(storyteller_folder(), "the course's own small model", None, True)
    path = Path(name).expanduser()
    best = path / "checkpoints" / "best"
    folder = best if best.is_dir() else find_folder(name, network=False)
    data = folder.parent.parent / "data"  # of the run, where the folder is a run's checkpoint
    known = data if folder.parent.name == "checkpoints" and is_prepared(data) else None
    same = folder.resolve() == storyteller_folder().resolve()
    return Subject(folder, path.name or name, known, same)


def usual_text(subject: Subject) -> tuple[str, str | None]:
    """The text where none is named: training source, and the validation source if it is another.

    A run's own; else the real stories of COURSE_DATA; else stories that the course makes.
    """
    if subject.run_data is not None:
        return str(subject.run_data), None
    folder = Path(os.environ.get("COURSE_DATA") or TOP.parent / "shared" / "data")
    train, valid = (folder / name for name in REAL_TEXT)
    if train.is_file() and valid.is_file():
        return str(train), str(valid)
    return "ministories", None


def name_of_text(source: str) -> str:
    """What a text is called in a table: no folders of this machine."""
    path = Path(source)
    if is_prepared(path) and path.name == "data":
        return f"the text of the run {path.resolve().parent.name}"
    return path.name if path.exists() else source


def held_out(subject: Subject, text: str | None, most: int) -> HeldOut:
    """At most `most` tokens to measure on: of `text`, or of the usual validation text."""
    tokenizer = subject.tokenizer()
    if text is None:
        data, valid = usual_text(subject)
        if is_prepared(data):
            return of_tokens(load_prepared(data)[1][:most], tokenizer, name_of_text(data))
        text = valid or data
    part: Part = "valid" if has_own_validation(text) else "train"
    ids: list[int] = []
    for document in documents(text, part):
        ids += [*tokenizer.encode(document), tokenizer.end_of_text]
        if len(ids) >= most:
            break
    return of_tokens(np.array(ids[:most]), tokenizer, name_of_text(text))


def of_tokens(tokens: np.ndarray, tokenizer: Tokenizer, source: str) -> HeldOut:
    """The same, of tokens that are there already."""
    ids = [int(i) for i in tokens]
    letters = [i for i in ids if i != tokenizer.end_of_text]
    n_bytes = len(tokenizer.decode_bytes(letters))
    if n_bytes < 1:
        raise CourseError(f"{source} holds no text to measure on")
    return HeldOut(np.array([tokenizer.end_of_text, *ids]), n_bytes, source)


def training_text(
    subject: Subject,
    out: Path,
    data: str | None,
    valid: str | None,
    tokens_needed: int,
    seed: int,
    quiet: bool,
) -> tuple[np.ndarray, np.ndarray, tuple[str, str]]:
    """Training tokens, validation tokens, and what both are called; prepared into `out`."""
    usual = usual_text(subject)
    if data is None and valid is None:
        data, valid = usual
    data = data or usual[0]
    if is_prepared(data):
        if valid is not None:
            raise CourseError(f"{data} is prepared already; leave --valid out")
        train, held, meta = load_prepared(data)
        if meta["tokenizer_sha256"] != subject.tokenizer().fingerprint():
            raise CourseError(
                f"{data} was prepared with another tokenizer than that of {subject.name}; name the "
                "text itself with --data"
            )
        name = name_of_text(data)
        return train, held, (name, f"held-out text of {name}")
    stories = max(300, tokens_needed // STORY_TOKENS) if data == "ministories" else None
    prepare(out, data, valid=valid, tokenizer=subject.tokenizer_spec(), seed=seed, stories=stories,
            progress=not quiet)  # fmt: skip
    train, held, _ = load_prepared(out)
    name = name_of_text(data)
    return train, held, (name, name_of_text(valid) if valid else f"held-out text of {name}")

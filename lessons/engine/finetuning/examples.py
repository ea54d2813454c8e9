"""What a model is tuned on: prompts with answers, plain documents, and pairs of answers.

    examples("recipes")           the built-in text of another subject
    examples("mine.jsonl")        lines {"prompt": "...", "answer": "..."} or {"text": "..."}
    examples("mine.txt")          a text of any subject; folders and .parquet as in `sources`
    preferences("endings")        the built-in pairs
    preferences("mine.jsonl")     lines {"prompt": "...", "chosen": "...", "rejected": "..."}

A prompt and its answer are joined as they stand: an answer that goes on in the same line begins with
its space. A document is an answer without a prompt.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import CourseError
from ..sources import NAMES, documents, read_text, with_whole_letters
from .endings import Pair, pairs
from .recipes import recipes

BUILT_IN = {"supervised": "recipes", "preferences": "endings"}
MADE = {"recipes": 600, "endings": 600}  # how many examples to train on
MADE_HELD_OUT = 120
_HELD_OUT_START = 1_000_000_000  # held-out ones are numbered from here: never those of training
ANSWERS = ("answer", "completion", "response", "output")
TEXTS = ("text", "story", "content")


class Example(NamedTuple):
    """A prompt and its answer; a whole document has the prompt ""."""

    prompt: str
    answer: str


def examples(
    spec: str, valid: str | None, count: int | None, seed: int
) -> tuple[list[Example], list[Example]]:
    """Examples to train on, and held-out ones: of their own file, or a tenth of the first.

    Raises CourseError, in one sentence, where there are none or too few.
    """
    if spec == BUILT_IN["supervised"] and valid is None:
        count = count or MADE[spec]
        return (
            [Example(*made) for made in recipes(seed, 0, count)],
            [Example(*made) for made in recipes(seed, _HELD_OUT_START, MADE_HELD_OUT)],
        )
    found = _own_examples(spec)[:count]
    if valid is not None:
        return found, _own_examples(valid)
    if len(found) == 1 and not found[0].prompt:  # one long document: the end of it is held out
        return _cut_document(found[0].answer, spec)
    return _split(found, seed, spec)


def preferences(
    spec: str, valid: str | None, count: int | None, seed: int, prefer: str
) -> tuple[list[Pair], dict[str, list[Pair]]]:
    """Pairs to train on, and held-out ones by name. prefer: "sad" turns the built-in pairs round."""
    if spec == BUILT_IN["preferences"] and valid is None:
        count = count or MADE[spec]

        def made(start: int, count: int, held_out: bool) -> list[Pair]:
            found = pairs(seed, start, count, held_out)
            return [p if prefer == "happy" else Pair(p.prompt, p.rejected, p.chosen) for p in found]

        return made(0, count, False), {
            "held-out pairs": made(_HELD_OUT_START, MADE_HELD_OUT, False),
            "situations never trained on": made(_HELD_OUT_START, MADE_HELD_OUT, True),
        }
    if prefer != "happy":
        raise CourseError("--prefer is for the built-in endings; in a file of your own, swap "
                          "chosen and rejected")  # fmt: skip
    found = _own_pairs(spec)[:count]
    if valid is not None:
        return found, {"held-out pairs": _own_pairs(valid)}
    train, held_out = _split(found, seed, spec)
    return train, {"held-out pairs": held_out}


def write_built_in(name: str, path: Path, count: int, seed: int) -> None:
    """Write built-in examples as .jsonl: to look at, and as a form for one's own."""
    from ..files import write_atomically

    made: Any = recipes(seed, 0, count) if name == "recipes" else pairs(seed, 0, count)
    with write_atomically(path) as file:
        for each in made:
            file.write(json.dumps(each._asdict(), ensure_ascii=False) + "\n")


def _split(found: list[Any], seed: int, spec: str) -> tuple[list[Any], list[Any]]:
    if len(found) < 2:
        raise CourseError(
            f"{spec} holds {len(found)} example(s), and one has to be held out; give more, or a file "
            "of held-out ones with --valid"
        )
    order = np.random.default_rng(seed).permutation(len(found))
    n_held_out = max(1, len(found) // 10)
    return [found[i] for i in order[n_held_out:]], [found[i] for i in order[:n_held_out]]


def _cut_document(text: str, spec: str) -> tuple[list[Example], list[Example]]:
    middle = text.rfind(" ", 0, len(text) * 9 // 10)
    if middle < 1:
        raise CourseError(f"{spec} holds too little text to hold a part of it out; give more")
    return [Example("", text[:middle])], [Example("", text[middle:])]


def _own_examples(spec: str) -> list[Example]:
    if spec in NAMES:
        raise CourseError(
            f"--data {spec} is what such models have read already; give a .jsonl or .txt file, or "
            f"{BUILT_IN['supervised']}"
        )
    path = _own_file(spec, "supervised")
    if path.suffix.lower() != ".jsonl":
        return [Example("", text) for text in documents(spec)]
    return [_example(line, where) for where, line in _json_lines(path)]


def _example(line: Any, where: str) -> Example:
    if isinstance(line, str):
        line = {"text": line}
    if isinstance(line, dict):
        answer = next((line[name] for name in ANSWERS if name in line), None)
        text = next((line[name] for name in TEXTS if name in line), None)
        if "prompt" in line and answer is not None:
            return Example(_text(line["prompt"], "prompt", where), _text(answer, "answer", where))
        if text is not None and "prompt" not in line:
            return Example("", _text(text, "text", where))
    raise CourseError(
        f'{where} is no example; a line is {{"prompt": "...", "answer": "..."}} or {{"text": "..."}}'
    )


def _own_pairs(spec: str) -> list[Pair]:
    path = _own_file(spec, "preferences")
    if path.suffix.lower() != ".jsonl":
        raise CourseError(f"{path} is no .jsonl file; pairs come as lines of JSON")
    found = []
    for where, line in _json_lines(path):
        if not isinstance(line, dict) or not {"prompt", "chosen", "rejected"} <= line.keys():
            raise CourseError(
                f'{where} is no pair; a line is {{"prompt": "...", "chosen": "...", "rejected": "..."}}'
            )
        pair = Pair(*(_text(line[name], name, where) for name in Pair._fields))
        if pair.chosen == pair.rejected:
            raise CourseError(
                f"{where}: chosen and rejected are the same; there is nothing to prefer"
            )
        found.append(pair)
    return found


def _own_file(spec: str, kind: str) -> Path:
    path = Path(spec)
    if not path.exists():
        raise CourseError(
            f"no file {spec}; --data takes {BUILT_IN[kind]} (built in), or a "
            + (".jsonl or .txt file" if kind == "supervised" else ".jsonl file")
        )
    return path


def _json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    if path.is_dir():
        raise CourseError(f"{path} is a folder; name the .jsonl file in it")
    nothing = True
    for number, line in enumerate("".join(read_text(path)).split("\n"), start=1):
        if not line.strip():
            continue
        nothing = False
        where = f"{path}, line {number}"
        try:
            yield where, json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise CourseError(f"{where} is no JSON ({error}); each line is one example") from None
    if nothing:
        raise CourseError(f"{path} is empty; give a file with a line for each example")


def _text(value: Any, name: str, where: str) -> str:
    if not isinstance(value, str):
        raise CourseError(
            f"{where}: {name} is no text; conversations have to be joined to one first"
        )
    text = with_whole_letters(value).replace("\r\n", "\n").replace("\r", "\n")
    if name != "prompt" and not text.strip():
        raise CourseError(f"{where}: {name} is empty; give it some words, or leave the line out")
    return text

"""The options of `python -m lessons.explore`, from the command line and from a small file."""

import argparse
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..engine.errors import CourseError
from .reading import DEFAULT_SETTINGS, line_of, read_settings, read_texts, read_toml

LESSONS = ("00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "14")
TEXT = "The dog bit the man because it was hungry."
PROMPT = "Once upon a time there was a little"

EXAMPLES = """\
examples:
  03                                     the attention maps of a sentence
  03 --text "The cat sat on the mat" --layer 2 --head 1
  08 --prompt "One day" --settings settings.csv
  10 --texts texts.toml --model distilgpt2 --against gpt2
  all                                    every lesson in order, one page

models: distilgpt2, gpt2, microsoft/DialoGPT-small and other models of the GPT-2 family by their name
on the hub, any folder that holds one (a run of your own too: runs/mine), and for the figures that do
not need the course's own forward pass any causal model of transformers, such as facebook/opt-350m.
Only the local cache is looked at, unless you say --download. Without --model: DistilGPT-2 if the cache
has it, else the course's own small model.

--settings FILE, a table of ways to choose the next token, as CSV:    and as TOML:
    name,temperature,top_k,top_p,min_p,repetition_penalty,greedy          [careful]
    careful,0.7,,0.9,,,                                                   temperature = 0.7
    safe,,,,,,true                                                        top_p = 0.9

--texts FILE, several texts: .json {"news": "...", "verse": "..."}, .toml with news = "...", or plain
lines, a text each, with a name and a tab in front if you like.

--config FILE, a TOML file of the same options (top-p is top_p there):
    model = "distilgpt2"
    text = "The dog bit the man"
    tokens = 60

exit code: 0 all drawn, 1 some figures are missing (each with a sentence), 2 a wrong option.
"""


@dataclass
class Wishes:
    """What was asked for."""

    model: str | None = None
    against: str | None = None
    text: str | None = None
    texts: dict[str, str] | None = None
    prompt: str | None = None
    settings: dict[str, dict[str, Any]] = field(default_factory=lambda: dict(DEFAULT_SETTINGS))
    layer: int | None = None
    head: int | None = None
    lens: str | None = None
    tokens: int = 40
    seed: int = 0
    run: str | None = None
    out: Path = Path("explore")
    download: bool = False
    quiet: bool = False


# Options as they are written in a --config file: what each must be.
KINDS: dict[str, tuple[type, str]] = {
    **dict.fromkeys(("model", "against", "text", "texts", "prompt", "settings", "lens", "run", "out"),
                    (str, "a text in quotes")),
    **dict.fromkeys(("layer", "head", "tokens", "seed"), (int, "a whole number")),
    **dict.fromkeys(("download", "quiet"), (bool, "true or false")),
}  # fmt: skip
MOST_TOKENS = 400


def build_parser(program: str) -> argparse.ArgumentParser:
    """The parser. What is not given is absent, so that the file of options can say it."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Draw what a lesson's code does to a real model and text: PNG files, a table of "
        "numbers, and one page to look at.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        usage=f"{program} NN|all [options]      (also: {program} widgets --help)",
    )
    parser.add_argument("lesson", metavar="NN|all", help=f"one of {', '.join(LESSONS)}, or all")
    what = parser.add_argument_group("what to look at")
    add = what.add_argument
    add("--model", metavar="NAME|PATH", help="the model (default: see below)")
    add(
        "--against",
        metavar="NAME|PATH",
        help="the second model of lesson 10; the Llama of lesson 11",
    )
    add("--text", metavar="TEXT", help=f"the text (default: {TEXT!r})")
    add("--texts", metavar="FILE", help="several named texts: JSON, TOML or plain lines")
    add("--prompt", metavar="TEXT", help=f"what is continued (default: {PROMPT!r})")
    add("--settings", metavar="FILE", help="ways to choose the next token: CSV or TOML")
    add("--layer", type=int, metavar="N", help="lesson 03: the layer of the large map, from 0")
    add("--head", type=int, metavar="N", help="lesson 03: and its head, from 0")
    add("--lens", metavar="WORD", help="lesson 05: the word to follow through the layers")
    add("--tokens", type=int, metavar="N", help="lessons 08, 09: how many to write (default: 40)")
    add(
        "--run", metavar="DIR", help="lesson 14: a run of yours (default: the model's own training)"
    )
    add("--seed", type=int, metavar="N", help="of everything random (default: 0)")
    how = parser.add_argument_group("where and how")
    how.add_argument("--out", metavar="DIR", help="where to write (default: explore)")
    how.add_argument("--config", metavar="FILE", help="the same options in a TOML file")
    how.add_argument("--download", action="store_true", help="fetch a model that is not here")
    how.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


def chosen_lessons(word: str) -> list[str]:
    """The lessons that a word names."""
    if word == "all":
        return list(LESSONS)
    number = word.zfill(2)
    if number in LESSONS:
        return [number]
    raise CourseError(f"no pictures for {word!r}; there are {', '.join(LESSONS)}, and all")


def read_wishes(options: argparse.Namespace) -> Wishes:
    """Put the file of options and the command line together (the command line wins)."""
    given = {name: value for name, value in vars(options).items() if name in KINDS}
    if hasattr(options, "config"):
        given = _read_config(options.config) | given
    wishes = Wishes()
    for name, value in given.items():
        setattr(wishes, name, value)
    if "texts" in given:
        wishes.texts = read_texts(given["texts"])
    if "settings" in given:
        wishes.settings = read_settings(given["settings"])
    wishes.out = Path(wishes.out)
    _check(wishes)
    return wishes


def _read_config(path: str) -> dict[str, Any]:
    found, text = read_toml(path, "--config")
    for name, value in found.items():
        where = f"{path}, line {line_of(text, name) if name in text else 1}"
        if isinstance(value, dict):
            where = f"{path}, line {line_of(text, '', name)}"
        if name not in KINDS:
            raise CourseError(f"{where}: no option {name!r}; there are {', '.join(KINDS)}")
        kind, wanted = KINDS[name]
        if type(value) is not kind:
            raise CourseError(f"{where}: {name} must be {wanted}, not {value!r:.60}")
    for name in ("texts", "settings"):  # beside the file that names them
        if name in found and not Path(found[name]).is_absolute():
            found[name] = str(Path(path).parent / found[name])
    return found


def _check(wishes: Wishes) -> None:
    for name in ("text", "prompt"):
        value = getattr(wishes, name)
        if value is None:
            continue
        if not value.strip():
            raise CourseError(f"--{name} is empty; give it some words")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise CourseError(f"--{name} is not text: it holds half a character") from None
    if not 1 <= wishes.tokens <= MOST_TOKENS:
        raise CourseError(f"--tokens must be from 1 to {MOST_TOKENS}, not {wishes.tokens}")
    if not 0 <= wishes.seed < 2**63:
        raise CourseError(f"--seed must be 0 or more, not {wishes.seed}")
    for name in ("layer", "head"):
        value = getattr(wishes, name)
        if value is not None and value < 0:
            raise CourseError(f"--{name} counts from 0; it was {value}")
    if wishes.lens is not None and not wishes.lens:
        raise CourseError("--lens is empty; give it a word")
    assert {f.name for f in fields(Wishes)} == KINDS.keys()

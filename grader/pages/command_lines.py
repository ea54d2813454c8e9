"""The reference of the command lines, read from their parsers: what `--help` says, as tables."""

import argparse
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from lessons.engine.errors import CourseError

from .writing import anchor, table


def _grader() -> argparse.ArgumentParser:
    from grader.__main__ import build_parser

    return build_parser()


def _tinystories() -> argparse.ArgumentParser:
    from lessons.engine.options import build_parser

    return build_parser()


def _explore() -> argparse.ArgumentParser:
    from lessons.explore.options import build_parser

    return build_parser("python -m lessons.explore")


def _modern() -> argparse.ArgumentParser:
    from lessons.engine.smollm import build_parser

    return build_parser()


def _finetuning() -> argparse.ArgumentParser:
    from lessons.engine.finetuning.commands import build_parser

    return build_parser()


def _compression() -> argparse.ArgumentParser:
    from lessons.engine.compression.options import build_parser

    return build_parser()


PARSERS: dict[str, Callable[[], argparse.ArgumentParser]] = {
    "grader": _grader,
    "tinystories": _tinystories,
    "compression": _compression,
    "explore": _explore,
    "modern": _modern,
    "finetuning": _finetuning,
}


def options(arguments: list[str], folder: Path) -> str:
    """Return a section for each command of a program. arguments: one of PARSERS."""
    if len(arguments) != 1 or arguments[0] not in PARSERS:
        raise CourseError(f"command-line takes one of: {', '.join(PARSERS)}")
    parser = PARSERS[arguments[0]]()
    commands = list(subcommands(parser))
    if not commands:
        return _section(parser.prog, parser.description or "", parser)
    return "\n\n".join(
        _section(f"{parser.prog} {name}", text, command) for name, text, command in commands
    )


def subcommands(
    parser: argparse.ArgumentParser,
) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Yield the commands of a parser, those of commands too: name, help, parser."""
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction):
            continue
        said = {choice.dest: choice.help or "" for choice in action._choices_actions}
        for name, command in action.choices.items():
            deeper = list(subcommands(command))
            if not deeper:
                yield name, said.get(name, command.description or ""), command
            for inner, text, parser_of_inner in deeper:
                yield f"{name} {inner}", text, parser_of_inner


def _section(name: str, text: str, parser: argparse.ArgumentParser) -> str:
    parts = [f"### `{name}` {{ #{anchor(name.removeprefix('python -m '))} }}"]
    if text:
        parts.append(plain(text[0].upper() + text[1:].rstrip(".") + "."))
    rows = [
        [f"`{_spelt(action)}`", plain(_help(action))]
        for action in parser._actions
        if not isinstance(action, argparse._HelpAction) and action.help != argparse.SUPPRESS
    ]
    if rows:
        parts.append(table(["option", "what it does"], rows))
    return "\n\n".join(parts)


def _spelt(action: argparse.Action) -> str:
    if not action.option_strings:
        name = action.metavar or (
            "|".join(map(str, action.choices)) if action.choices else action.dest
        )
        name = name if isinstance(name, str) else " ".join(name)
        several = {"*": f"[{name} ...]", "+": f"{name} ...", "?": f"[{name}]"}
        return several.get(str(action.nargs), name)
    spelt = ", ".join(action.option_strings)
    if action.nargs == 0:
        return spelt
    value = action.metavar or action.dest.upper()
    value = value if isinstance(value, str) else " ".join(value)
    return f"{spelt} {value}"


def _help(action: argparse.Action) -> str:
    values = {key: value for key, value in vars(action).items() if value is not argparse.SUPPRESS}
    text = (action.help or "") % (values | {"prog": ""})
    return text or " "


def plain(text: str) -> str:
    """Keep Markdown and HTML out of a help text."""
    return re.sub(r"([<*_\[])", r"\\\1", text)

"""What our programs of several commands share: `python -m solutions.NAME COMMAND [options]`."""

import argparse
from typing import Any

from .errors import CourseError
from .process import keep_freed_memory, wait_politely


class Program:
    """A program's parser, to which commands are added one by one."""

    def __init__(self, name: str, description: str, examples: str):
        """name: of the module, without its package, which is the learner's or ours."""
        self.parser = argparse.ArgumentParser(
            prog=f"python -m {__package__.split('.')[0]}.{name}",
            description=description,
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self._commands = self.parser.add_subparsers(
            title="commands", metavar="COMMAND", required=True
        )

    def add(
        self, name: str, text: str, usage: str = "[options]", **more: Any
    ) -> argparse.ArgumentParser:
        """Add a command; its name will be in `options.command`. more: for its parser."""
        command = self._commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            usage=f"{self.parser.prog} {name} {usage}",
            **more,
        )
        command.set_defaults(command=name)
        return command


def add_machine_options(command: argparse.ArgumentParser, **more: Any) -> "argparse._ArgumentGroup":
    """Add --device and --threads; returns their group. more: for --device, such as a default."""
    group = command.add_argument_group("the machine")
    group.add_argument(
        "--device", metavar="NAME", help="auto, cpu, cuda or mps (default: auto)", **more
    )
    group.add_argument("--threads", type=int, metavar="N", help="CPU threads")
    return group


def prepare_process(options: argparse.Namespace) -> None:
    """Set up the process as a command that computes needs it. Raises CourseError for --threads."""
    wait_politely()
    keep_freed_memory()
    threads = getattr(options, "threads", None)
    if threads is None:
        return
    if threads < 1:
        raise CourseError(f"--threads must be at least 1, not {threads}")
    import torch  # only here: --help needs none

    torch.set_num_threads(threads)

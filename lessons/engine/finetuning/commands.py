"""The command line of lesson 12: `python -m solutions.finetuning COMMAND`."""

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..command_line import Program, add_machine_options, prepare_process
from ..errors import CourseError, run_command
from .wishes import METHODS, Settings, TuningFolder

EXAMPLES = """\
examples:
  supervised                                    learn recipes, which a model of stories never saw
  supervised --data letters.txt --out runs/letters
  supervised --data answers.jsonl --base distilgpt2 --method full
  preferences                                   learn to prefer stories that end happily (DPO)
  preferences --prefer sad --out runs/sad
  table runs/tuned-*                            LoRA beside full: loss, parameters, memory, seconds
  generate --out runs/tuned-supervised-lora --before   what it writes, and what it wrote
  merge --out runs/tuned-supervised-lora my-model      an ordinary model, for everything else
  examples recipes recipes.jsonl                the built-in data, as a form for your own
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 2 for misuse, 130 for Ctrl-C."""
    return run_command(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> None:
    options = build_parser().parse_args(arguments)
    prepare_process(options)
    COMMANDS[options.command](options)


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options. What is not given is absent."""
    program = Program(
        "finetuning",
        "Adapt a model that is there already: to a text or to answers (supervised), or "
        "to a taste (preferences, by DPO). Both say what was forgotten.",
        EXAMPLES,
    )

    def add(name: str, text: str, usage: str = "[options]") -> argparse.ArgumentParser:
        return program.add(name, text, usage, argument_default=argparse.SUPPRESS)

    supervised = add("supervised", "learn to answer prompts, or a text of another subject")
    preferences = add("preferences", "learn which of two answers is the better one, by DPO")
    _data_options(supervised, "recipes (built in), a .jsonl of prompt and answer, or a .txt")
    _data_options(preferences, "endings (built in), or a .jsonl of prompt, chosen and rejected")
    dpo = preferences.add_argument_group("DPO")
    dpo.add_argument("--beta", type=float, metavar="X", help="held to the reference (default: 0.1)")
    dpo.add_argument(
        "--label-smoothing", type=float, metavar="X",
        help="the share of pairs that may stand the wrong way round (default: 0)",
    )  # fmt: skip
    dpo.add_argument("--reference-free", action="store_true", help="no reference model")
    dpo.add_argument("--prefer", metavar="happy|sad", help="of the built-in ends (default: happy)")
    for command in (supervised, preferences):
        _tuning_options(command)
    report = add("report", "write report.html again")
    report.add_argument("--out", metavar="DIR", help="the run's folder", required=True)
    table = add("table", "finished runs side by side", "RUN [RUN ...] [--markdown FILE]")
    table.add_argument("runs", nargs="+", metavar="RUN", help="their folders")
    table.add_argument("--markdown", metavar="FILE", help="also to this file, as Markdown")
    generate = add("generate", "let a tuned model write", "--out RUN [options]")
    generate.add_argument("--out", metavar="RUN", required=True, help="the run's folder")
    generate.add_argument(
        "--prompt",
        action="append",
        metavar="TEXT",
        help="may be given several times; \\n is a new line",
    )
    generate.add_argument("--before", action="store_true", help="the model as it was, too")
    generate.add_argument("--tokens", type=int, metavar="N", help="at most so many (default: 120)")
    generate.add_argument("--temperature", type=float, metavar="X", help="default: 0.8")
    generate.add_argument("--seed", type=int, metavar="N", help="default: 0")
    merge = add("merge", "put an adapter into its model's weights", "--out RUN FOLDER")
    merge.add_argument("--out", metavar="RUN", required=True, help="a run, or an adapter's folder")
    merge.add_argument("--base", metavar="NAME|PATH", help="for an adapter that is in no run")
    merge.add_argument("folder", metavar="FOLDER", help="where the model is written")
    made = add("examples", "write built-in examples as .jsonl", "recipes|endings FILE")
    made.add_argument("name", choices=("recipes", "endings"), help="which")
    made.add_argument("file", metavar="FILE", help="where to")
    made.add_argument("--count", type=int, metavar="N", help="how many (default: 100)")
    made.add_argument("--seed", type=int, metavar="N", help="default: 0")
    return program.parser


def _data_options(command: argparse.ArgumentParser, data: str) -> None:
    group = command.add_argument_group("the run")
    group.add_argument("--out", metavar="DIR", help="its folder (default: runs/tuned-KIND-METHOD)")
    group.add_argument(
        "--base", metavar="NAME|PATH",
        help="the model to begin with: storyteller (the course's small one, default), a run of "
        "tinystories, a folder, or a name in the local cache such as distilgpt2",
    )  # fmt: skip
    group.add_argument("--data", metavar="NAME|PATH", help=data)
    group.add_argument("--valid", metavar="PATH", help="held-out examples (default: a tenth)")
    group.add_argument("--examples", type=int, metavar="N", help="train on at most so many")
    group.add_argument(
        "--ordinary", metavar="PATH",
        help="text of the kind that the model read before, to see what it forgets (default: the "
        "run's held-out text, else stories made here)",
    )  # fmt: skip
    group.add_argument("--seed", type=int, metavar="N", help="of everything random (default: 0)")
    group.add_argument("--quiet", action="store_true", help="no progress")


def _tuning_options(command: argparse.ArgumentParser) -> None:
    how = command.add_argument_group("how")
    how.add_argument("--method", metavar="|".join(METHODS), help="default: lora")
    how.add_argument("--rank", type=int, metavar="N", help="of LoRA (default: 8)")
    how.add_argument("--alpha", type=float, metavar="X", help="LoRA's scale times rank (16)")
    how.add_argument("--lora-dropout", type=float, metavar="X", help="default: 0")
    how.add_argument(
        "--layers", nargs="+", metavar="NAME",
        help="ends of the names of the layers that get LoRA (default: every matrix in the blocks)",
    )  # fmt: skip
    how.add_argument("--steps", type=int, metavar="N", help="default: 200; of DPO 150")
    how.add_argument(
        "--batch-size", type=int, metavar="N", help="examples in a step (16; pairs: 8)"
    )
    how.add_argument("--lr", dest="peak_lr", type=float, metavar="X", help="the highest rate")
    how.add_argument("--weight-decay", type=float, metavar="X", help="default: 0")
    how.add_argument("--max-norm", type=float, metavar="X", help="clip gradients to this length")
    machine = add_machine_options(command)
    machine.add_argument("--precision", metavar="NAME", help="auto, fp32 or bf16 (default: auto)")


def tune(options: argparse.Namespace) -> None:
    """`supervised` and `preferences`."""
    from ..devices import check_names
    from .report import print_measures, write_report

    names = {each.name for each in fields(Settings)}
    wishes = {n: value for n, value in vars(options).items() if n in names}
    wishes["kind"] = options.command
    device = getattr(options, "device", "auto")
    check_names(device, wishes.get("precision", "auto"))
    default = f"runs/tuned-{options.command}-{wishes.get('method', 'lora')}"
    folder = TuningFolder(getattr(options, "out", default))
    settings = folder.begin(wishes)
    quiet = hasattr(options, "quiet")
    if folder.metrics.exists():
        metrics = folder.measured()
        print(f"{folder.path}: finished already")
    else:
        from .tuning import Tuning

        metrics = Tuning(folder, settings, device, quiet).run()
    print_measures(metrics)
    print(f"\nreport: {write_report(folder)}")


def report_only(options: argparse.Namespace) -> None:
    """`report`."""
    from .report import write_report

    print(f"report: {write_report(TuningFolder(options.out))}")


def show_table(options: argparse.Namespace) -> None:
    """`table`."""
    from ..files import write_atomically
    from .report import as_markdown, print_table, table_of

    runs = {Path(run).name: TuningFolder(run).measured() for run in options.runs}
    columns, rows = table_of(runs)
    print_table(columns, rows)
    if hasattr(options, "markdown"):
        with write_atomically(options.markdown) as file:
            file.write(as_markdown(columns, rows))


def generate(options: argparse.Namespace) -> None:
    """`generate`."""
    import torch

    from ..stories import Storyteller
    from .adapters import load_adapter
    from .base import load_base

    run = TuningFolder(options.out)
    metrics = run.measured()
    tokens, temperature = getattr(options, "tokens", 120), getattr(options, "temperature", 0.8)
    if tokens < 1:
        raise CourseError(f"--tokens must be at least 1, not {tokens}")
    how: dict[str, Any] = {
        "temperature": temperature,
        "top_p": 0.95,
        "seed": getattr(options, "seed", 0),
    }
    prompts = [p.replace("\\n", "\n") for p in getattr(options, "prompt", metrics["prompts"][:1])]
    base = load_base(run.settings().base, torch.device("cpu"))
    told = {}
    if hasattr(options, "before"):
        told["before"] = [
            Storyteller(base.model, base.tokenizer).generate(p, tokens, **how) for p in prompts
        ]
    if run.adapter.is_dir():
        load_adapter(base.model, run.adapter)
    else:
        base = load_base(str(run.model), torch.device("cpu"))
    told["after"] = [
        Storyteller(base.model, base.tokenizer).generate(p, tokens, **how) for p in prompts
    ]
    for texts in zip(*told.values(), strict=True):
        for when, text in zip(told, texts, strict=True):
            print(f"{when}:\n{text}\n" if len(told) > 1 else f"{text}\n")


def merge(options: argparse.Namespace) -> None:
    """`merge`."""
    import torch

    from ..files import write_folder_atomically
    from ..pretrained import save_model
    from .adapters import load_adapter, merge_adapters, read_adapter
    from .base import OWN, load_base

    run = TuningFolder(options.out)
    adapter, spec = run.path, getattr(options, "base", None)
    if run.config_file.exists():
        settings, adapter = run.settings(), run.adapter
        spec = spec or settings.base
        if settings.method == "full":
            raise CourseError(f"{run.path} was tuned as a whole: its model is {run.model}")
        if not adapter.is_dir():
            raise CourseError(f"{run.path} is not finished; run its command again to go on")
    _, _, about = read_adapter(adapter)
    base = load_base(spec or OWN, torch.device("cpu"))
    if about.get("base_sha256", base.sha256) != base.sha256:
        raise CourseError(
            f"{adapter} was made for other weights than those of {base.name}; name its model with --base"
        )
    folder = Path(options.folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CourseError(f"{folder} is there already; choose a new folder")
    layers = load_adapter(base.model, adapter)
    merge_adapters(base.model)
    with write_folder_atomically(folder) as fresh:
        save_model(base.model, fresh)
        base.tokenizer.save(fresh)
    package = __package__.split(".")[0]
    print(f"{folder}: {base.name} with {len(layers)} adapters in its weights")
    print(
        f"python -m {package}.tinystories generate --checkpoint {folder} --prompt ... speaks with it"
    )


def write_examples(options: argparse.Namespace) -> None:
    """`examples`."""
    from .examples import write_built_in

    count = getattr(options, "count", 100)
    if count < 1:
        raise CourseError(f"--count must be at least 1, not {count}")
    write_built_in(options.name, Path(options.file), count, getattr(options, "seed", 0))
    print(f"{options.file}: {count} {options.name}")


COMMANDS: dict[str, Any] = {
    "supervised": tune,
    "preferences": tune,
    "report": report_only,
    "table": show_table,
    "generate": generate,
    "merge": merge,
    "examples": write_examples,
}

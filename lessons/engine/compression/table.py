"""The table: one model, made small in several ways, and what each way costs.

Every row is a folder in OUT, saved and loaded again before anything is measured, so that a row is
about the file and not about what was in memory. A row that is there is not made again: a table that
was stopped goes on where it was.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..acceleration import use_fast_parts
from ..checkpoints import load_weights
from ..errors import CourseError
from ..files import read_json, recover, write_atomically, write_json
from ..logs import duration
from .distilling import Recipe, Trained, every_other, make_student, train_small
from .fast import use_fast_int8
from .material import HeldOut, Subject
from .measuring import bits_of, bytes_on_disk, packed_on_disk, speeds
from .pruning import prune_model, sparsities
from .quantising import quantize_model, quantize_tables
from .saving import FACTS, save_int8, save_ordinary

ROWS = (
    "full", "int8", "int8-tables", "int8-activations", "pruned", "pruned-2-4", "pruned-trained",
    "distilled", "half", "scratch",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    what: str
    parameters: int
    mb: float  # of the weights' file
    packed_mb: float  # with zeros left out
    bits_per_byte: float
    reading: float  # tokens per second
    writing: float
    train_seconds: float
    steps: int


@dataclass(frozen=True)
class Work:
    """What every row is made from."""

    subject: Subject
    folder: Path  # of the whole table
    tokens: Any  # training tokens
    recipe: Recipe
    sparsity: str
    layers: list[int] | None
    teach: int  # steps that the full model reads the text first
    device: torch.device
    precision: str
    quiet: bool

    def teacher(self) -> Any:
        """The full model: fresh from its file, or as it was after reading the text."""
        taught = self.folder / "full"
        return load_weights(taught if self.teach else self.subject.folder).to(self.device)

    def chosen_layers(self) -> list[int]:
        """Which of the teacher's layers the student begins with."""
        return self.layers or every_other(self.teacher().config.n_layer)


def make_rows(work: Work, only: tuple[str, ...] = ROWS) -> dict[str, Path]:
    """Make every row's folder that is not there yet; returns the folders in the table's order."""
    folders = {}
    for name in only:
        folder = work.folder / name
        recover(folder)
        if not (folder / FACTS).is_file():
            if not work.quiet:
                print(f"making: {name}", flush=True)
            try:
                MAKERS[name](work, folder)
            except NotImplementedError as error:  # a stretch step, or one still to be written
                print(f"({name} is left out: {error} is not written)", flush=True)
                continue
            except CourseError as error:  # widths that are no multiple of 4
                if name != "pruned-2-4":
                    raise
                print(f"({name} is left out: {error})", flush=True)
                continue
        folders[name] = folder
    return folders


def _full(work: Work, folder: Path) -> None:
    model = load_weights(work.subject.folder).to(work.device)
    what, trained = "as it was", None
    if work.teach:
        what = f"after {work.teach} steps on this text"
        recipe = replace(work.recipe, steps=work.teach)
        trained = _train(work, model, recipe=recipe, label="full")
    _save(work, model, folder, what, trained, steps=work.teach)


def _int8(work: Work, folder: Path, activations: bool = False, tables: bool = False) -> None:
    model = work.teacher()
    kept = quantize_tables(model) if tables else {}
    quantize_model(model, activations)
    what = "int8 weights"
    what += ", tables too" if tables else ""
    what += ", int8 activations" if activations else ""
    save_int8(model, kept, folder, work.subject.tokenizer(), {"what": what, "steps": 0})


def _pruned(work: Work, folder: Path, how: str, train: bool = False) -> None:
    model = work.teacher()
    masks = prune_model(model, how)
    trained = _train(work, model, masks=masks, label=folder.name) if train else None
    share = sparsities(model)["all"][2]
    what = f"{how} of the weights zero" if ":" not in how else f"{how} of the weights left"
    what += f" ({share:.0%})" if ":" in how else ""
    what += ", then trained on" if train else ""
    _save(work, model, folder, what, trained, steps=work.recipe.steps if train else 0)


def _student(work: Work, folder: Path, teacher: bool, layers: bool) -> None:
    full = work.teacher()
    chosen = work.chosen_layers()
    student = make_student(full, chosen if layers else None, work.recipe.seed).to(work.device)
    trained = _train(
        work, student, teacher=use_fast_parts(full) if teacher else None,
        from_scratch=not layers, label=folder.name,
    )  # fmt: skip
    numbers = ", ".join(map(str, chosen))
    begin = f"layers {numbers}" if layers else f"{student.config.n_layer} random layers"
    what = f"{begin}, from {'teacher and text' if teacher else 'the text alone'}"
    _save(work, student, folder, what, trained, steps=work.recipe.steps)


def _train(work: Work, model: Any, *, recipe: Recipe | None = None, **how: Any) -> Trained:
    return train_small(
        model, work.tokens, recipe or work.recipe, precision=work.precision, quiet=work.quiet, **how
    )


def _save(
    work: Work, model: Any, folder: Path, what: str, trained: Trained | None, steps: int
) -> None:
    facts = {"what": what, "steps": steps} | (trained.facts() if trained else {})
    save_ordinary(model.cpu(), folder, work.subject.tokenizer(), facts)


MAKERS: dict[str, Callable[[Work, Path], None]] = {
    "full": _full,
    "int8": _int8,
    "int8-tables": lambda work, folder: _int8(work, folder, tables=True),
    "int8-activations": lambda work, folder: _int8(work, folder, activations=True),
    "pruned": lambda work, folder: _pruned(work, folder, work.sparsity),
    "pruned-2-4": lambda work, folder: _pruned(work, folder, "2:4"),
    "pruned-trained": lambda work, folder: _pruned(work, folder, work.sparsity, train=True),
    "distilled": lambda work, folder: _student(work, folder, teacher=True, layers=True),
    "half": lambda work, folder: _student(work, folder, teacher=False, layers=True),
    "scratch": lambda work, folder: _student(work, folder, teacher=False, layers=False),
}


def measure_rows(
    folders: dict[str, Path], text: HeldOut, device: torch.device, quiet: bool = True
) -> list[Row]:
    """Load every folder again and measure it."""
    models = {
        name: use_fast_int8(use_fast_parts(load_weights(folder).to(device)))
        for name, folder in folders.items()
    }
    bits = {}
    for name, model in models.items():
        if not quiet:
            print(f"measuring: {name}", flush=True)
        bits[name] = bits_of(model, text)
    speed = speeds(models, text)
    rows = []
    for name, model in models.items():
        facts = read_json(folders[name] / FACTS)
        rows.append(
            Row(
                name,
                facts["what"],
                count_numbers(model),
                bytes_on_disk(folders[name]) / 1e6,
                packed_on_disk(model, folders[name]) / 1e6,
                bits[name],
                speed[name].reading,
                speed[name].writing,
                facts.get("seconds", 0.0),
                facts["steps"],
            )
        )
    return rows


def count_numbers(model: Any) -> int:
    """How many numbers a model has learned, those in int8 included, scales not."""
    tensors = [*model.parameters()]
    tensors += [b for n, b in model.named_buffers() if n.endswith((".weight", ".bias"))]
    return sum(tensor.numel() for tensor in tensors)


HEADS = ("", "parameters", "MB", "packed", "bits/byte", "reads", "writes", "trained")


def cells(row: Row) -> tuple[str, ...]:
    """A row as text."""
    return (
        row.name,
        f"{row.parameters / 1e6:.2f} M",
        f"{row.mb:.2f}",
        f"{row.packed_mb:.2f}",
        f"{row.bits_per_byte:.4f}",
        f"{row.reading:,.0f}",
        f"{row.writing:,.0f}",
        f"{row.steps} steps, {duration(row.train_seconds)}" if row.steps else "",
    )


def as_text(rows: list[Row]) -> str:
    """The table for the terminal."""
    lines = [HEADS, *map(cells, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADS))]
    shown = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join(shown)


def as_markdown(rows: list[Row], about: str) -> str:
    """The table for a page, with a line on what each row is."""
    heads = ["model", "what it is", *HEADS[1:]]
    lines = [f"| {' | '.join(heads)} |", "|---|---|" + "---:|" * (len(heads) - 2)]
    for row in rows:
        name, *rest = cells(row)
        lines.append(f"| {name} | {row.what} | {' | '.join(rest)} |")
    return f"{about}\n\n" + "\n".join(lines) + "\n"


LEGEND = (
    "MB: the weights' file, numbers as 16-bit floats where not said otherwise. packed: the same with "
    "zeros left out.\nbits/byte: on held-out text, lower is better. reads, writes: tokens per second "
    "on {device}."
)


def keep_table(work: Work, rows: list[Row], text: HeldOut, about: str) -> None:
    """Write `table.json` and `table.md`."""
    write_json(
        work.folder / "table.json",
        {"model": work.subject.name, "text": text.source, "bytes": text.n_bytes,
         "recipe": asdict(work.recipe), "rows": [asdict(row) for row in rows]},
    )  # fmt: skip
    with write_atomically(work.folder / "table.md") as file:
        file.write(as_markdown(rows, about))


def begin(folder: Path, asked: dict[str, Any]) -> None:
    """Note with what a folder was begun; refuse to go on with something else."""
    if folder.is_file():
        raise CourseError(f"{folder} is a file; --out takes a folder")
    noted = folder / "asked.json"
    if not noted.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(noted, asked)
        return
    before = read_json(noted)
    for name, value in asked.items():
        if before.get(name) != value:
            raise CourseError(
                f"{folder} was begun with {name.replace('_', ' ')} {before.get(name)}, not {value}; "
                "choose another --out"
            )

"""What the commands of `python -m solutions.compression` do."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ..acceleration import use_fast_parts
from ..checkpoints import load_weights
from ..devices import choose_precision, describe_device
from ..errors import CourseError
from ..stories import Storyteller
from . import table as rows_of
from .distilling import every_other, make_student, train_small, weights_of_layers
from .fast import use_fast_int8
from .material import find_subject, held_out, of_tokens, training_text
from .measuring import bits_of, bytes_on_disk, packed_bytes, packed_on_disk, speeds
from .pruning import masks_for, prune_model, sparsities
from .quantising import layer_errors, quantize_model, quantize_tables
from .saving import is_int8, save_int8, save_ordinary
from .wishes import chosen_device, chosen_layers, recipe_of, result_folder, teaching_steps


def _ready(model: Any, device: Any) -> Any:
    """The model on the device, as fast as it gets."""
    return use_fast_int8(use_fast_parts(model.to(device)))


def _text(options: argparse.Namespace, subject: Any) -> Any:
    """The text to measure on; says what it is."""
    text = held_out(subject, options.text, options.tokens)
    print(f"{subject.name}, measured on {text.n_bytes:,} bytes of {text.source}", flush=True)
    return text


def _loaded(subject: Any) -> Any:
    """The model in full precision. Raises CourseError for one that is in int8 already."""
    if is_int8(subject.folder):
        raise CourseError(f"{subject.folder} is in int8 already; begin from the full model")
    return subject.load()


def _compare(options: argparse.Namespace, text: Any, before: Any, out: Path, kind: str) -> None:
    """Load what was saved, and print it beside the model that it was made from."""
    device = chosen_device(options)
    models = {"before": _ready(before, device), kind: _ready(load_weights(out), device)}
    bits = {name: bits_of(model, text) for name, model in models.items()}
    speed = speeds(models, text)
    on_disk = {"before": packed_bytes(models["before"]), kind: bytes_on_disk(out)}
    packed = {"before": on_disk["before"], kind: packed_on_disk(models[kind], out)}
    for name in models:
        print(
            f"{name:<10} {on_disk[name] / 1e6:7.2f} MB (zeros packed: {packed[name] / 1e6:.2f})  "
            f"bits per byte {bits[name]:.4f}   reads {speed[name].reading:,.0f}, writes "
            f"{speed[name].writing:,.0f} tokens/s"
        )
    print(f"saved: {out}")


def quantize(options: argparse.Namespace) -> None:
    """`quantize`."""
    subject = find_subject(options.model)
    out = result_folder(options, "int8")
    full = _loaded(subject)
    text = _text(options, subject)
    window = torch.from_numpy(text.tokens[: full.config.block_size].astype("int64")).view(1, -1)
    errors = layer_errors(full, window, options.activations)
    width = max(map(len, errors))
    print(f"{'layer':<{width}}  largest error  of its bound  error/output")
    for name, error in errors.items():
        print(
            f"{name:<{width}}  {error.largest:13.5f}  {error.of_bound:12.1%}  {error.relative:12.2%}"
        )
    small = subject.load()
    tables = quantize_tables(small) if options.tables else {}
    quantize_model(small, options.activations)
    facts = {
        "what": "int8 weights" + (", int8 activations" if options.activations else "")
        + (", tables too" if options.tables else ""),
        "steps": 0, "errors": {name: asdict(error) for name, error in errors.items()},
    }  # fmt: skip
    save_int8(small, tables, out, subject.tokenizer(), facts)
    _compare(options, text, full, out, "int8")


def prune(options: argparse.Namespace) -> None:
    """`prune`."""
    subject = find_subject(options.model)
    ways = [how if ":" in how else f"{how} {options.scope}" for how in options.sparsity]
    full = _loaded(subject)
    for how in ways:  # a wrong word is found before any work is done
        masks_for(full, how)
    if len(ways) > 1:
        device, text = chosen_device(options), _text(options, subject)
        print(f"{'pruned':<12}  zeros    bits per byte")
        print(f"{'not at all':<12}  {0:6.1%}   {bits_of(_ready(full, device), text):.4f}")
        for how in ways:
            model = subject.load()
            prune_model(model, how)
            share = sparsities(model)["all"][2]
            print(
                f"{how:<12}  {share:6.1%}   {bits_of(_ready(model, device), text):.4f}", flush=True
            )
        return
    out = result_folder(options, "pruned")
    model = subject.load().to(chosen_device(options))
    masks = prune_model(model, ways[0])
    facts: dict[str, Any] = {"what": f"pruned by {ways[0]}", "steps": options.steps}
    if options.steps:
        tokens, text, precision = _training_text(options, subject, out)
        facts |= train_small(
            model, tokens, recipe_of(options, model), masks=masks, precision=precision,
            quiet=options.quiet, label="pruned",
        ).facts()  # fmt: skip
    else:
        text = _text(options, subject)
    facts["zeros"] = {name: share for name, (_, _, share) in sparsities(model).items()}
    for name, share in facts["zeros"].items():
        print(f"{name:<40}  {share:6.1%} zeros")
    save_ordinary(model.cpu(), out, subject.tokenizer(), facts)
    _compare(options, text, full, out, "pruned")


def distill(options: argparse.Namespace) -> None:
    """`distill`."""
    subject = find_subject(options.model)
    out = result_folder(options, "distilled")
    teacher = _loaded(subject).to(chosen_device(options))
    layers = chosen_layers(options) or every_other(teacher.config.n_layer)
    student = make_student(teacher, None if options.scratch else layers, options.seed)
    student.to(chosen_device(options))
    tokens, text, precision = _training_text(options, subject, out)
    print(
        f"teacher: {teacher.config.n_layer} layers, {teacher.num_parameters():,} parameters; student: "
        f"{student.config.n_layer} layers, {student.num_parameters():,}, "
        + ("random" if options.scratch else f"from layers {', '.join(map(str, layers))}"),
        flush=True,
    )
    trained = train_small(
        student, tokens, recipe_of(options, teacher), teacher=use_fast_parts(teacher),
        from_scratch=options.scratch, precision=precision, quiet=options.quiet, label="student",
    )  # fmt: skip
    facts = {"what": "distilled", "layers": layers, "steps": options.steps} | trained.facts()
    save_ordinary(student.cpu(), out, subject.tokenizer(), facts)
    _compare(options, text, teacher, out, "distilled")


def table(options: argparse.Namespace) -> None:
    """`table`."""
    only = tuple(options.rows or rows_of.ROWS)
    for name in only:
        if name not in rows_of.ROWS:
            raise CourseError(f"no row {name!r}; --rows takes some of: {', '.join(rows_of.ROWS)}")
    subject = find_subject(options.model)
    full = _loaded(subject)
    if any(name in only for name in ("pruned", "pruned-trained")):
        masks_for(full, options.sparsity)
    out = Path(
        options.out or f"runs/{Path(options.model).name if options.model else 'small'}-table"
    )
    device, recipe = chosen_device(options), recipe_of(options, full)
    teach = teaching_steps(options, subject)
    if teach and "full" not in only:
        only = ("full", *only)
    layers = chosen_layers(options)
    if layers is not None:
        weights_of_layers(full, layers)  # a wrong number is found before any work is done
    rows_of.begin(
        out,
        {"model": subject.name, "data": options.data, "text": options.text, "teach": teach,
         "sparsity": options.sparsity, "layers": layers, **asdict(recipe)},
    )  # fmt: skip
    tokens, text, precision = _training_text(options, subject, out)
    work = rows_of.Work(
        subject,
        out,
        tokens,
        recipe,
        options.sparsity,
        layers,
        teach,
        device,
        precision,
        options.quiet,
    )
    ordered = tuple(name for name in rows_of.ROWS if name in only)
    folders = rows_of.make_rows(work, ordered)
    rows = rows_of.measure_rows(folders, text, device, options.quiet)
    about = rows_of.LEGEND.format(device=describe_device(device))
    rows_of.keep_table(work, rows, text, about.replace("\n", " "))
    print(f"\n{rows_of.as_text(rows)}\n\n{about}\nkept in {out / 'table.md'} and table.json")


def evaluate(options: argparse.Namespace) -> None:
    """`evaluate`."""
    subject = find_subject(options.model)
    model = _ready(subject.load(), chosen_device(options))
    text = _text(options, subject)
    speed = speeds({"it": model}, text)["it"]
    print(
        f"{bytes_on_disk(subject.folder) / 1e6:.2f} MB (zeros packed: {packed_on_disk(model, subject.folder) / 1e6:.2f})  "
        f"bits per byte {bits_of(model, text):.4f}   reads {speed.reading:,.0f}, writes "
        f"{speed.writing:,.0f} tokens/s"
    )


def generate(options: argparse.Namespace) -> None:
    """`generate`."""
    subject = find_subject(options.model)
    model = _ready(subject.load(), chosen_device(options))
    teller = Storyteller(model, subject.tokenizer())
    print(
        teller.generate(
            options.prompt, options.words, temperature=0.8, top_p=0.95, seed=options.seed
        )
    )


def _training_text(options: argparse.Namespace, subject: Any, out: Path) -> tuple[Any, Any, str]:
    """Training tokens, the held-out text, and the precision of training."""
    block_size = recipe_of(options, subject.load()).block_size
    needed = options.steps * options.batch_size * block_size
    prepared = out / "data" if options.command == "table" else out.parent / f"{out.name}-text"
    tokens, held, (learned, measured) = training_text(
        subject, prepared, options.data, options.text, needed, options.seed, options.quiet
    )
    if options.text is not None:
        text = held_out(subject, options.text, options.tokens)
    else:
        text = of_tokens(held[: options.tokens], subject.tokenizer(), measured)
    print(
        f"{subject.name}; learning from {learned}, {len(tokens):,} tokens; measured on {text.n_bytes:,} "
        f"bytes of {text.source}",
        flush=True,
    )
    return tokens, text, choose_precision(options.precision, chosen_device(options))


COMMANDS = {
    "quantize": quantize,
    "prune": prune,
    "distill": distill,
    "table": table,
    "evaluate": evaluate,
    "generate": generate,
}

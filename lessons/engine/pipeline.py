"""The way from a text to a report, stage by stage. Each stage skips what is done already."""

import statistics
from pathlib import Path
from typing import Any

import torch

from .baseline import compare_with_baseline
from .checkpoints import load_progress
from .devices import check_names, choose_device, describe_device, peak_memory_mb
from .distribution import World, join_world, leave_world, wait_for_all
from .errors import CourseError
from .evaluation import Scores, score_text
from .files import read_json, write_json
from .logs import find_tracker, read_log
from .prepare import prepare
from .prepared import load_prepared
from .report import write_report
from .run_folder import RunFolder
from .settings import Settings
from .sources import documents
from .stories import Storyteller, openings
from .training import Training, is_trained


def prepare_run(run: RunFolder, settings: Settings, processes: int | None, quiet: bool) -> dict:
    """Tokenise the run's text into `data/`, unless it is there already. Returns its meta."""
    return prepare(
        run.data,
        settings.data,
        valid=settings.valid,
        tokenizer=settings.tokenizer,
        processes=processes,
        seed=settings.train["seed"],
        stories=settings.stories,
        progress=not quiet,
    )


def train_run(
    run: RunFolder,
    wishes: dict[str, Any],
    *,
    device: str = "auto",
    tracker: str | None = None,
    processes: int | None = None,
    accept_long: bool = False,
    quiet: bool = False,
) -> World:
    """Prepare and train. Under torchrun every process calls this; rank 0 prepares and writes."""
    check_names(device, wishes.get("precision", "auto"))
    if tracker:
        find_tracker(tracker)
    world = join_world("gloo" if device == "cpu" else None)
    if world.is_main:
        settings = run.begin(wishes)
        prepare_run(run, settings, processes, quiet)
    wait_for_all(world)
    settings = run.settings()
    if is_trained(run):
        if world.is_main and not quiet:
            print(f"{run.path}: training is finished already", flush=True)
        leave_world(world)
        return world
    training = Training(run, settings, world, device)
    progress = training.train(tracker, accept_long, quiet)
    if world.is_main:
        run.decide(
            device=describe_device(training.device),
            precision=training.precision,
            peak_memory_mb=round(peak_memory_mb(training.device), 1),
            train_tokens=progress.step * training.plan(accept_long).tokens_per_step,
            training_seconds=round(progress.seconds, 1),
        )
    leave_world(world)
    return world


def load_teller(run: RunFolder, checkpoint: str, device: str) -> Storyteller:
    """The model of a run: its "best" or "last" checkpoint."""
    run.settings()  # says so where there is no run
    folder = {"best": run.best, "last": run.last}.get(checkpoint, Path(checkpoint))
    teller = Storyteller.load(folder, choose_device(device))
    meta_file = run.data / "meta.json"
    if meta_file.exists() and read_json(meta_file)["vocab_size"] != teller.tokenizer.vocab_size:
        raise CourseError(
            f"{folder} has a vocabulary of {teller.tokenizer.vocab_size} tokens, the data in "
            f"{run.data} one of {read_json(meta_file)['vocab_size']}; they do not belong together"
        )
    return teller


def evaluate_run(
    run: RunFolder, teller: Storyteller, stride: int | None, precision: str, quiet: bool
) -> dict[str, Any]:
    """Measure a model on the whole validation text; writes and returns `metrics.json`."""
    best = load_progress(run.best)
    step = best.step if best else None
    block_size = teller.model.config.block_size
    if run.metrics.exists():
        known = read_json(run.metrics)
        if known["checkpoint_step"] == step and known["stride"] == (stride or block_size):
            return known
    _, val_tokens, meta = load_prepared(run.data, verify=True)
    if not quiet:
        print(f"evaluating on {len(val_tokens):,} held-out tokens", flush=True)
    scores = score_text(teller.model, val_tokens, block_size, stride, precision)
    decided = read_json(run.config_file).get("decided", {})
    speeds = [r["tokens_per_second"] for r in read_log(run.log_jsonl) if "train_loss" in r]
    text = held_out_text(val_tokens, teller.tokenizer, 200_000)
    metrics = {
        **scores.measures(meta["val_bytes"], meta["val_chars"]),
        "stride": stride or block_size,
        "parameters": teller.model.num_parameters(),
        "tokens_per_second": round(statistics.median(speeds), 1) if speeds else 0.0,
        "peak_memory_mb": decided.get("peak_memory_mb", 0.0),
        "train_tokens": decided.get("train_tokens", 0),
        "training_seconds": decided.get("training_seconds", 0.0),
        "device": decided.get("device", ""),
        "precision": decided.get("precision", ""),
        "checkpoint_step": step,
        "data": meta["data"],
        "data_sha256": meta["data_sha256"],
        "valid_data": meta["valid"],
        "valid_sha256": meta["valid_sha256"],
        "tokenizer": meta["tokenizer"],
        "tokenizer_sha256": meta["tokenizer_sha256"],
        "baseline": compare_with_baseline(
            teller.model, teller.tokenizer, text, teller.device, precision
        ),
    }
    write_json(run.metrics, metrics)
    return metrics


def score_own_text(teller: Storyteller, path: str, stride: int | None, precision: str) -> dict:
    """Measure a model on any other text (a file or folder)."""
    ids: list[int] = []
    n_bytes = n_chars = 0
    for text in documents(path):
        ids += [*teller.tokenizer.encode(text), teller.tokenizer.end_of_text]
        n_bytes += len(text.encode())
        n_chars += len(text)
    tokens = torch.tensor(ids).numpy()
    block_size = teller.model.config.block_size
    scores: Scores = score_text(teller.model, tokens, block_size, stride, precision)
    return scores.measures(n_bytes, n_chars)


def held_out_text(val_tokens: Any, tokenizer: Any, most: int) -> str:
    """The first validation documents as text, at most `most` tokens of them."""
    head = val_tokens[:most].tolist()
    return tokenizer.decode([token for token in head if token != tokenizer.end_of_text])


def report_run(run: RunFolder, teller: Storyteller, beside: str | None = None) -> Path:
    """Write `report.html` for an evaluated run. beside: the folder of another one, to compare."""
    if not run.metrics.exists():
        raise CourseError(f"{run.path} has no metrics.json yet; run evaluate first")
    return write_report(run, teller, RunFolder(beside) if beside else None)


def sample_stories(run: RunFolder, teller: Storyteller) -> list[str]:
    """Three stories from the run's fixed prompts."""
    _, val_tokens, _ = load_prepared(run.data)
    prompts = openings(val_tokens, teller.tokenizer)
    return [
        teller.generate(prompt, 200, temperature=0.8, top_p=0.95, seed=seed)
        for seed, prompt in enumerate(prompts)
    ]


def default_out(wishes: dict[str, Any]) -> str:
    """A run's folder where none is named: runs/<preset>-<data>, a Llama's runs/<preset>-llama-<data>."""
    data = Path(str(wishes.get("data", "ministories"))).stem
    kind = "-llama" if wishes.get("arch") == "llama" else ""
    return f"runs/{wishes.get('preset', 'laptop')}{kind}-{data}"


def train_from_python(out: str | None, settings: dict[str, Any]) -> Storyteller:
    """What `tinystories.train` does."""
    run = RunFolder(out or default_out(settings))
    device = settings.pop("device", "auto")
    train_run(run, settings, device=device, accept_long=settings.pop("yes", False))
    return load_teller(run, "best", device)


def load_from_python(folder: str) -> Storyteller:
    """What `tinystories.load` does."""
    run = RunFolder(folder)
    if run.config_file.exists() and run.data.exists():
        return load_teller(run, "best", "auto")
    return Storyteller.load(folder, choose_device("auto"))

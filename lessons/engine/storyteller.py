"""Our own small pretrained model, which lies beside this file: something to look into off line.

    folder = storyteller_folder()
    model, tokenizer = load_model(folder), load_tokenizer(str(folder))

It is a finished run of `python -m solutions.tinystories run`, kept as 16-bit floats in transformers' layout
with its tokenizer, the course of its training (`training.json`) and a card (`CARD.md`) that says what
it was made of. A maintainer who has trained another one puts it there with

    python -m solutions.engine.storyteller RUN [SNAPSHOTS]

SNAPSHOTS: a folder of checkpoints on the way, whose samples are kept beside the curve. A run with
`--arch llama` goes to a folder of its own, `storyteller-llama`: the twin with lesson 11's parts.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from .errors import CourseError, run_command
from .files import read_json, sha256_of_file, write_atomically, write_json
from .logs import read_log
from .weight_files import WEIGHTS, checksum, read_weights

FOLDER = Path(__file__).with_suffix("")
LLAMA_FOLDER = FOLDER.with_name("storyteller-llama")
CURVE_POINTS = 100  # as many as a picture shows
PROMPTS = ("Once upon a time", "One day, Lily found a", "Tom was sad because")
SAMPLE_TOKENS = 120


def storyteller_folder() -> Path:
    """The folder of the small pretrained model. Raises CourseError where it is missing."""
    return _checked(FOLDER)


def llama_folder() -> Path:
    """The folder of its twin with Llama's parts. Raises CourseError where it is missing."""
    return _checked(LLAMA_FOLDER)


def _checked(folder: Path) -> Path:
    if not (folder / WEIGHTS).is_file():
        raise CourseError(
            f"the course's own small model is missing: {folder} holds no {WEIGHTS}; take the folder "
            "from the course's repository again"
        )
    return folder


def training_record() -> dict[str, Any]:
    """How that model was trained: `steps`, `samples`, `recipe`, `data`, `result`."""
    return read_json(storyteller_folder() / "training.json")


def write_half_precision(checkpoint: Path, folder: Path) -> None:
    """Write a checkpoint's weights as 16-bit floats, and its configuration, to `folder`."""
    state = {name: tensor.half() for name, tensor in read_weights(checkpoint).items()}
    if not all(torch.isfinite(tensor).all() for tensor in state.values()):
        raise CourseError(f"{checkpoint} holds numbers that 16-bit floats cannot")
    with write_atomically(folder / WEIGHTS, "wb") as file:
        file.write(save(state, {"format": "pt", "sha256": checksum(state)}))
    write_json(folder / "config.json", read_json(checkpoint / "config.json") | {"dtype": "float16"})


def keep_run(run: Path, snapshots: Path | None = None, folder: Path = FOLDER) -> None:
    """Put the best model of a finished and evaluated run into `folder`."""
    from .tokenizers import load_tokenizer  # the folder is often asked for, a run seldom kept

    best = run / "checkpoints" / "best"
    write_half_precision(best, folder)
    load_tokenizer(str(best)).save(folder)
    write_json(folder / "training.json", record_of(run, snapshots))


def record_of(run: Path, snapshots: Path | None) -> dict[str, Any]:
    """What `training.json` holds. Paths of this machine stay out of it."""
    settings = read_json(run / "config.json")
    metrics, data = read_json(run / "metrics.json"), read_json(run / "data" / "meta.json")
    rows = [row for row in read_log(run / "log.jsonl") if "train_loss" in row]
    plan = settings["decided"]["plan"]
    recipe = settings["settings"] | {
        name: Path(str(settings["settings"][name])).name for name in ("data", "valid")
    }
    measures = ("val_loss", "perplexity", "bits_per_byte", "bits_per_character",
                "next_token_accuracy", "evaluated_tokens", "parameters", "tokens_per_second",
                "train_tokens", "training_seconds", "device", "precision", "checkpoint_step")  # fmt: skip
    result = {name.replace("val_", "valid_"): metrics[name] for name in measures}
    return {
        "steps": thinned(rows),
        "samples": samples_of(run, snapshots),
        "recipe": recipe | {"plan": plan},
        "data": [
            {"name": Path(data["data"]).name, "sha256": data["data_sha256"],
             "bytes": data["train_bytes"], "tokens": data["train_tokens"]},
            {"name": Path(data["valid"]).name, "sha256": data["valid_sha256"],
             "bytes": data["val_bytes"], "tokens": data["val_tokens"]},
        ],
        "result": result,
    }  # fmt: skip


def thinned(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """About CURVE_POINTS rows of a log, and all with a validation loss.

    A row's training loss is the mean over the logged batches since the row before.
    """
    every = max(1, len(rows) // CURVE_POINTS)
    kept: list[dict[str, Any]] = []
    losses: list[float] = []
    for number, row in enumerate(rows):
        losses.append(row["train_loss"])
        if number % every == 0 or "val_loss" in row:
            valid = row.get("val_loss")
            kept.append(
                {
                    "step": row["step"],
                    "tokens": row["tokens"],
                    "train_loss": round(sum(losses) / len(losses), 4),
                    "valid_loss": None if valid is None else round(valid, 4),
                    "seconds": round(row["seconds"], 1),
                }
            )
            losses = []
    return kept


def samples_of(run: Path, snapshots: Path | None) -> list[dict[str, Any]]:
    """A story from each prompt at each checkpoint on the way, and at the end."""
    from .checkpoints import load_progress
    from .stories import Storyteller

    samples = []
    folders = [*(snapshots.iterdir() if snapshots else ()), run / "checkpoints" / "best"]
    found = {}
    for folder in folders:
        progress = load_progress(folder)
        if progress is not None:
            found[progress.step] = folder
    for step, folder in sorted(found.items()):
        teller = Storyteller.load(folder)
        for prompt in PROMPTS:
            text = teller.generate(prompt, SAMPLE_TOKENS, temperature=0.8, top_p=0.95, seed=0)
            samples.append({"step": step, "prompt": prompt, "text": text})
    return samples


def main(arguments: list[str]) -> None:
    """Keep the run that is named."""
    if len(arguments) not in (1, 2) or arguments[0].startswith("-"):
        raise CourseError(
            "name a finished run: python -m solutions.engine.storyteller RUN [SNAPSHOTS]"
        )
    arch = read_json(Path(arguments[0]) / "config.json")["settings"].get("arch", "gpt2")
    folder = LLAMA_FOLDER if arch == "llama" else FOLDER
    keep_run(Path(arguments[0]), Path(arguments[1]) if arguments[1:] else None, folder)
    for file in sorted(folder.iterdir()):
        print(f"{file.stat().st_size:>10,}  {sha256_of_file(file)[:16]}  {file.name}")


if __name__ == "__main__":
    raise SystemExit(run_command(lambda: main(sys.argv[1:])))

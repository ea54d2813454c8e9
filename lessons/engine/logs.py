"""What a run tells while it goes: files that stay, a progress bar, and other people's trackers."""

import csv
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .errors import CourseError
from .files import write_atomically

COLUMNS = (
    "step",
    "tokens",
    "train_loss",
    "val_loss",
    "learning_rate",
    "gradient_norm",
    "tokens_per_second",
    "seconds",
)
TRACKERS = ("tensorboard", "wandb", "trackio")


class Log:
    """`log.jsonl` (a JSON object a line), `log.csv` (the same numbers) and `samples.txt`."""

    def __init__(self, jsonl: Path, table: Path, samples: Path, resumed_at: int) -> None:
        self.jsonl, self.table, self.samples = jsonl, table, samples
        # After a kill the log may be ahead of the checkpoint; those steps will come again.
        self.records = [r for r in read_log(jsonl) if r["step"] <= resumed_at and resumed_at]
        with write_atomically(jsonl) as file:
            file.writelines(json.dumps(record) + "\n" for record in self.records)
        with write_atomically(table) as file:
            writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(r for r in self.records if "train_loss" in r)
        with write_atomically(samples) as file:
            file.writelines(_as_text(r) for r in self.records if "story" in r)

    def numbers(self, **row: Any) -> None:
        """Add a row of numbers; `step` is required, missing columns stay empty."""
        self._append(row)
        with open(self.table, "a", encoding="utf-8", newline="") as file:
            csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(row)

    def story(self, step: int, prompt: str, story: str) -> None:
        """Add a sample story that the model told after `step` steps."""
        record = {"step": step, "prompt": prompt, "story": story}
        self._append(record)
        with open(self.samples, "a", encoding="utf-8", newline="") as file:
            file.write(_as_text(record))

    def _append(self, record: dict[str, Any]) -> None:
        self.records.append(record)
        with open(self.jsonl, "a", encoding="utf-8", newline="") as file:
            file.write(json.dumps(record) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records of a `log.jsonl`; a last line that a kill cut short is left out."""
    records = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return records


def _as_text(record: dict[str, Any]) -> str:
    return f"--- after {record['step']} steps ---\n{record['story']}\n\n"


class ProgressBar:
    """Loss, tokens per second and the time left; plain lines where there is no terminal."""

    def __init__(self, total: int, done: int, quiet: bool) -> None:
        self.is_terminal = sys.stderr.isatty()
        self.quiet = quiet
        self.total = total
        self.bar = tqdm(
            total=total,
            initial=done,
            unit="step",
            desc="training",
            disable=quiet or not self.is_terminal,
            dynamic_ncols=True,
        )

    def step(self) -> None:
        """One step is done."""
        self.bar.update(1)

    def numbers(self, row: dict[str, Any], time_left: float) -> None:
        """Show the newest numbers; in a file or pipe only those with a validation loss."""
        shown = {"loss": f"{row['train_loss']:.3f}", "tok/s": f"{row['tokens_per_second']:,.0f}"}
        if "val_loss" in row:
            shown["val"] = f"{row['val_loss']:.3f}"
        self.bar.set_postfix(shown)
        if not self.quiet and not self.is_terminal and "val_loss" in row:
            print(
                f"step {row['step']}/{self.total}  loss {shown['loss']}  val {shown['val']}  "
                f"{shown['tok/s']} tokens/s  {duration(time_left)} left",
                flush=True,
            )

    def close(self) -> None:
        """Leave the bar as it stands."""
        self.bar.close()


def find_tracker(name: str) -> Any:
    """The library behind `--log NAME`. Raises CourseError where it is unknown or not installed."""
    if name not in TRACKERS:
        raise CourseError(f"no tracker {name!r}; --log takes one of: {', '.join(TRACKERS)}")
    try:
        return importlib.import_module("torch.utils.tensorboard" if name == "tensorboard" else name)
    except ImportError:
        raise CourseError(f"--log {name} needs a package: pip install {name}") from None


class Tracker:
    """Sends the same numbers to TensorBoard, Weights & Biases or trackio, where installed."""

    def __init__(self, name: str | None, folder: Path, settings: dict[str, Any]) -> None:
        self.name = name
        if name is None:
            return
        library = find_tracker(name)
        if name == "tensorboard":
            self.writer = library.SummaryWriter(str(folder / "tensorboard"))
        else:
            self.writer = library
            library.init(project="tinystories", name=folder.name, config=settings)

    def numbers(self, row: dict[str, Any]) -> None:
        """Send one row."""
        values = {key: value for key, value in row.items() if key != "step"}
        if self.name == "tensorboard":
            for key, value in values.items():
                self.writer.add_scalar(key, value, row["step"])
        elif self.name is not None:
            self.writer.log(values, step=row["step"])

    def close(self) -> None:
        """Finish the run there."""
        if self.name == "tensorboard":
            self.writer.close()
        elif self.name is not None:
            self.writer.finish()


def duration(seconds: float) -> str:
    """Seconds in words for people: "40 s", "12 min", "5.0 h", "31 days"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.0f} days"

"""The folder of one run: where everything lies, and the settings with which it was begun.

    config.json  data/  checkpoints/{best,last}/  log.csv  log.jsonl  samples.txt  metrics.json
    report.html

A command that finds its result there does nothing; one that was killed goes on. The settings are
fixed when the folder is begun: the same command works on it any number of times, another one is
refused with the difference named.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from .errors import CourseError
from .files import read_json, write_json
from .settings import LENGTHS, Settings, resolve


class RunFolder:
    """The paths of a run and its `config.json`."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config_file = self.path / "config.json"
        self.data = self.path / "data"
        self.best = self.path / "checkpoints" / "best"
        self.last = self.path / "checkpoints" / "last"
        self.log_csv = self.path / "log.csv"
        self.log_jsonl = self.path / "log.jsonl"
        self.samples = self.path / "samples.txt"
        self.metrics = self.path / "metrics.json"
        self.report = self.path / "report.html"

    def begin(self, wishes: dict[str, Any]) -> Settings:
        """Return the settings of this run: the stored ones, or new ones made from `wishes`.

        Until the first checkpoint a wish may still be changed, and what was wished before holds on
        (`prepare --data X`, then `train --preset small`). From then on a new word is refused.
        """
        if not self.config_file.exists():
            if self.path.is_file():
                raise CourseError(f"{self.path} is a file; --out takes a folder")
            return self._write(wishes)
        config = read_json(self.config_file)
        changed = {
            name: config["wishes"].get(name, _settled(config["settings"], name))
            for name, wish in wishes.items()
            if wish != config["wishes"].get(name, _settled(config["settings"], name))
        }
        if not changed:
            return Settings(**config["settings"])
        if self.last.exists():
            name, before = next(iter(changed.items()))
            raise CourseError(
                f"{self.path} was begun with --{name.replace('_', '-')} {before}, not "
                f"{wishes[name]}; leave the option out, or choose another --out"
            )
        kept = config["wishes"]
        if wishes.keys() & LENGTHS:
            kept = {name: wish for name, wish in kept.items() if name not in LENGTHS}
        return self._write(kept | wishes)

    def _write(self, wishes: dict[str, Any]) -> Settings:
        settings = resolve(wishes)
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.config_file, {"wishes": wishes, "settings": asdict(settings)})
        return settings

    def settings(self) -> Settings:
        """The settings of a run that has been begun."""
        if not self.config_file.exists():
            raise CourseError(f"{self.path} holds no run; begin one with: run --out {self.path}")
        return Settings(**read_json(self.config_file)["settings"])

    def decided(self, name: str) -> Any:
        """A fact that was decided once for the run ("steps", "seconds_per_step"), or None."""
        return read_json(self.config_file).get("decided", {}).get(name)

    def decide(self, **facts: Any) -> None:
        """Fix facts for the rest of the run's life, so that a resume computes the same."""
        config = read_json(self.config_file)
        config["decided"] = config.get("decided", {}) | facts
        write_json(self.config_file, config)


def _settled(settings: dict[str, Any], name: str) -> Any:
    """The value in force of a wish that was not uttered at the beginning."""
    places = [settings["length"]] if name in LENGTHS else []
    for place in (*places, {"arch": "gpt2"} | settings, settings["model"], settings["train"]):
        if name in place:
            return place[name]
    return None

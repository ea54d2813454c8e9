"""One fine-tuning run: measure, tune, measure again. It can be stopped at any step, and goes on.

The learning itself is the lessons': masking, losses and LoRA of lesson 12, schedule and step of
lesson 07. What is kept to go on from is small with LoRA: the trained weights and their optimiser's.
"""

import json
import math
import shutil
import time
from dataclasses import asdict
from typing import Any

import torch

from ...finetuning import count_parameters, supervised_loss
from ...trainer import TrainConfig, learning_rate, train_step
from ..acceleration import TrainingForward
from ..checkpoints import random_state
from ..devices import choose_device, choose_precision, describe_device, peak_memory_mb
from ..distribution import World
from ..errors import CourseError
from ..files import read_json, write_atomically, write_json
from ..logs import ProgressBar, read_log
from ..optimizers import build_optimizer
from ..process import keep_freed_memory
from ..stories import Storyteller
from ..training import finish_step_on_signal
from .adapters import check_layers, default_layers, put_adapters
from .base import load_base
from .examples import BUILT_IN, examples, preferences
from .forms import (
    Order,
    PreferenceForward,
    Row,
    batch_of,
    log_probabilities,
    pair_rows,
    rows_of,
    without_dropout,
)
from .keeping import go_on, keep, save_result
from .measure import (
    PROMPTS,
    beginning,
    measure_answers,
    measure_moods,
    measure_ordinary,
    measure_pairs,
    ordinary_text,
    tell,
    those_that_fit,
)
from .wishes import Settings, TuningFolder

LOOKS = 8  # measurements on the way
LOOK_ROWS = 48  # examples that are looked at then
LOOK_TOKENS = 4_000  # of ordinary text
SAVE_EVERY_SECONDS = 120.0


class Tuning:
    """A run in this process: its model, what it is tuned on, what it is measured on."""

    def __init__(self, folder: TuningFolder, settings: Settings, device: str, quiet: bool) -> None:
        keep_freed_memory()
        self.folder, self.settings, self.quiet = folder, settings, quiet
        self.device = choose_device(device)
        precision = choose_precision(settings.precision, self.device)
        self.precision = "fp32" if precision == "fp16" else precision  # needs no loss scaling
        self.base = load_base(settings.base, self.device)
        self.model, self.tokenizer = self.base.model, self.base.tokenizer
        check_layers(self.model, settings.layers)
        self.teller = Storyteller(self.model, self.tokenizer)
        self.ordinary, self.ordinary_bytes, self.ordinary_name = ordinary_text(
            self.base, settings.ordinary
        )
        self.is_dpo = settings.kind == "preferences"
        self.reference: tuple[torch.Tensor, torch.Tensor] | None = None
        (self._read_pairs if self.is_dpo else self._read_examples)()

    def _read_examples(self) -> None:
        s = self.settings
        train, held_out = examples(s.data, s.valid, s.examples, s.seed)
        self.rows = rows_of(train, self.tokenizer, self.base.block_size)
        self.held_out = rows_of(held_out, self.tokenizer, self.base.block_size)
        prompts = [e.prompt for e in held_out if e.prompt]
        prompts = prompts or [beginning(e.answer, self.tokenizer) for e in held_out]
        self.prompts = those_that_fit(self.teller, prompts)[:3]
        both = (self.rows, self.held_out)
        self._say_what_does_not_fit(sum(r.left_out for r in both), sum(r.cut for r in both))
        if not self.rows.rows or not self.held_out.rows:
            raise CourseError(f"no example of {s.data} fits into {self.base.block_size} tokens")

    def _read_pairs(self) -> None:
        s = self.settings
        train, held_out = preferences(s.data, s.valid, s.examples, s.seed, s.prefer)
        size = self.base.block_size
        chosen, rejected = pair_rows(train, self.tokenizer, size)
        self.pairs = (chosen.rows, rejected.rows)
        self.held_out_pairs: dict[str, tuple[list[Row], list[Row]]] = {}
        for name, found in held_out.items():
            good, bad = pair_rows(found, self.tokenizer, size)
            self.held_out_pairs[name] = (good.rows, bad.rows)
        prompts = [p.prompt for found in held_out.values() for p in found[:2]]
        self.prompts = those_that_fit(self.teller, prompts)[:4]
        self._say_what_does_not_fit(chosen.left_out, chosen.cut + rejected.cut)
        if not chosen.rows or not all(rows[0] for rows in self.held_out_pairs.values()):
            raise CourseError(f"no pair of {s.data} fits into {size} tokens")

    def _say_what_does_not_fit(self, left_out: int, cut: int) -> None:
        if left_out and not self.quiet:
            print(f"left out: {left_out} whose prompt alone fills {self.base.block_size} tokens")
        if cut and not self.quiet:
            print(f"cut short: {cut} answers that are longer than {self.base.block_size} tokens")

    # Measuring.

    def measure(self, tuned: bool) -> dict[str, Any]:
        """Everything about the model as it stands, before it is tuned or after."""
        found: dict[str, Any] = {
            "ordinary": measure_ordinary(
                self.model, self.ordinary, self.ordinary_bytes, self.precision
            ),
            "told": tell(self.teller, [*self.prompts, *PROMPTS]),
        }
        if self.is_dpo:
            found["pairs"] = {
                name: measure_pairs(
                    self.model,
                    rows,
                    self.held_out_reference[name] if tuned else None,
                    self.device,
                    self.precision,
                )
                for name, rows in self.held_out_pairs.items()
            }
            if self.settings.data == BUILT_IN["preferences"]:
                found["moods"] = measure_moods(self.teller, self.settings.seed)
        else:
            found["answers"] = measure_answers(
                self.model, self.held_out, self.device, self.precision
            )
        return found

    def look(self) -> dict[str, float]:
        """A quick measurement for the curve."""
        ids = self.ordinary[:LOOK_TOKENS]
        found = {"ordinary": measure_ordinary(self.model, ids, 1, self.precision)["loss"]}
        if self.is_dpo:
            name, (chosen, rejected) = next(iter(self.held_out_pairs.items()))
            reference = self.held_out_reference[name]
            part = measure_pairs(
                self.model,
                (chosen[:LOOK_ROWS], rejected[:LOOK_ROWS]),
                (reference[0][:LOOK_ROWS], reference[1][:LOOK_ROWS]),
                self.device,
                self.precision,
            )
            return found | {"accuracy": part["accuracy"], "margin": part["margin"]}
        rows = type(self.held_out)(self.held_out.rows[:LOOK_ROWS])
        loss = measure_answers(self.model, rows, self.device, self.precision)["loss"]
        return found | {"answers": loss}

    # Tuning.

    def run(self) -> dict[str, Any]:
        """Measure, tune, measure; returns what `metrics.json` holds."""
        settings, folder = self.settings, self.folder
        if self.is_dpo:
            self._ask_reference()
        before_file = folder.path / "before.json"
        if not before_file.exists():
            write_json(before_file, self.measure(tuned=False))
        before = read_json(before_file)
        self._begin()
        self.announce()
        seconds, tokens = self._tune()
        after = self.measure(tuned=True)
        saved = save_result(folder, self.base, self.layers)
        trainable, everything = count_parameters(self.model)
        metrics = {
            "settings": asdict(settings) | self._names(),
            "base": self.base.name,
            "before": before,
            "after": after,
            "prompts": [*self.prompts, *PROMPTS],
            "ordinary_text": self.ordinary_name,
            "examples": len(self.pairs[0] if self.is_dpo else self.rows.rows),
            "trainable": trainable,
            "parameters": everything,
            "layers": self.layers,
            "seconds": round(seconds, 1),
            "tokens": tokens,
            "tokens_per_second": round(tokens / max(seconds, 1e-9), 1),
            # 4 bytes for each weight; gradient and AdamW's two moments for the trained ones
            "state_mb": round((4 * everything + 12 * trainable) / 1e6, 1),
            "peak_memory_mb": round(peak_memory_mb(self.device), 1),
            "saved_mb": round(saved / 1e6, 3),
            "device": describe_device(self.device),
            "precision": self.precision,
        }
        write_json(folder.metrics, metrics)
        shutil.rmtree(folder.state, ignore_errors=True)
        return metrics

    def _names(self) -> dict[str, str]:
        """What paths are called in files that may be shared."""
        from ..identity import name_of

        s = self.settings
        named = {"base": self.base.name}
        for option in ("data", "valid", "ordinary"):
            if value := getattr(s, option):
                named[option] = name_of(value) if value not in BUILT_IN.values() else value
        return named

    def announce(self) -> None:
        """Say what will be tuned, on what."""
        s = self.settings
        trainable, everything = count_parameters(self.model)
        how = (
            f"LoRA of rank {s.rank} on {' '.join(self.layers)}"
            if s.method == "lora"
            else "all weights"
        )
        n_examples = len(self.pairs[0] if self.is_dpo else self.rows.rows)
        print(
            f"model: {self.base.name}, {everything:,} parameters, {trainable:,} of them trained ({how})\n"
            f"data: {s.data}, {n_examples:,} {'pairs' if self.is_dpo else 'examples'}; "
            f"ordinary text: {self.ordinary_name}, {len(self.ordinary):,} tokens\n"
            f"device: {describe_device(self.device)}, {self.precision}; {s.steps} steps of {s.batch_size}",
            flush=True,
        )

    def _ask_reference(self) -> None:
        """The base's own log-probabilities of all answers, before anything moves."""

        def asked(rows: Any) -> tuple[torch.Tensor, torch.Tensor]:
            chosen, rejected = (
                log_probabilities(self.model, part, self.device, self.precision) for part in rows
            )
            return chosen, rejected

        self.reference = asked(self.pairs)
        self.held_out_reference = {name: asked(rows) for name, rows in self.held_out_pairs.items()}

    def _begin(self) -> None:
        s = self.settings
        torch.manual_seed(s.seed)
        if self.is_dpo:
            without_dropout(self.model)
        self.layers: list[str] = []
        if s.method == "lora":
            self.layers = s.layers or list(default_layers(self.model))
            put_adapters(self.model, self.layers, s.rank, s.alpha, s.lora_dropout)
        self.model.to(self.device)
        self.config = TrainConfig(
            steps=s.steps, batch_size=s.batch_size, peak_lr=s.peak_lr, final_lr=0.0,
            warmup=max(1, s.steps // 10), weight_decay=s.weight_decay, max_norm=s.max_norm,
            beta2=0.999, seed=s.seed,
        )  # fmt: skip
        count = len(self.pairs[0] if self.is_dpo else self.rows.rows)
        self.order = Order(count, s.batch_size, s.seed)
        self.optimizer: Any = build_optimizer(self.model, self.config, "adamw", self.device)
        if self.is_dpo:
            self.forward: Any = PreferenceForward(
                self.model, self.precision, s.beta, s.label_smoothing
            )
        else:
            self.model.loss = supervised_loss
            self.forward = TrainingForward(self.model, self.precision)

    def _batch(self, chosen: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_dpo:
            return batch_of([self.rows.rows[i] for i in chosen], self.device)
        if not self.settings.reference_free:
            assert self.reference is not None
            good, bad = (part[chosen].to(self.device) for part in self.reference)
            self.forward.reference = (good, bad)
        return batch_of([part[i] for part in self.pairs for i in chosen], self.device)

    def _step(self, step: int) -> tuple[float, int]:
        """One step of the optimiser. Returns its loss, and how many tokens it read."""
        s, config = self.settings, self.config
        random_state(s.seed, step, 0)
        rate = learning_rate(step, steps=s.steps, warmup=config.warmup, peak_lr=config.peak_lr)
        self.optimizer.set_learning_rate(rate)
        batch = self._batch(self.order.of_step(step))
        loss = float(train_step(self.forward, self.optimizer, [batch], config.max_norm)[0])
        if not math.isfinite(loss):
            raise CourseError(
                f"the loss is {loss} at step {step + 1} (learning rate {rate:.2g}); begin again in "
                "another --out with a lower --lr"
            )
        return loss, batch[0].numel()

    def _tune(self) -> tuple[float, int]:
        """The loop. Returns the seconds of training, in all sittings, and the tokens read."""
        s = self.settings
        done = go_on(self.folder, self.model, self.optimizer) or {}
        step, seconds = done.get("step", 0), done.get("seconds", 0.0)
        tokens = done.get("tokens", 0)
        if step and not self.quiet:
            print(f"going on after step {step} of {s.steps}", flush=True)
        look_every = max(1, math.ceil(s.steps / LOOKS))
        records = [r for r in read_log(self.folder.log) if r["step"] <= step and step]
        bar = ProgressBar(s.steps, step, self.quiet)
        if step == 0:
            records = [{"step": 0, **self.look()}]
        self.forward.train()
        saved = began = time.perf_counter()
        try:
            with finish_step_on_signal(World()) as interrupted:
                while step < s.steps:
                    loss, n_tokens = self._step(step)
                    step, tokens = step + 1, tokens + n_tokens
                    bar.step()
                    if step % look_every == 0 or step == s.steps:
                        seconds += time.perf_counter() - began
                        records.append({"step": step, "train_loss": loss, **self.look()})
                        self._write_log(records)
                        self._show(bar, records[-1], tokens / max(seconds, 1e-9), seconds)
                        began = time.perf_counter()
                    if interrupted or time.perf_counter() - saved > SAVE_EVERY_SECONDS:
                        seconds += time.perf_counter() - began
                        done = {"step": step, "seconds": seconds, "tokens": tokens}
                        keep(self.folder, self.model, self.optimizer, done)
                        self._write_log(records)
                        saved = began = time.perf_counter()
                    if interrupted:
                        raise KeyboardInterrupt
        finally:
            bar.close()
        return seconds, tokens

    def _show(self, bar: ProgressBar, record: dict[str, Any], speed: float, seconds: float) -> None:
        """One line of what was measured."""
        if self.quiet:
            return
        left = seconds / record["step"] * (self.settings.steps - record["step"])
        new = (
            f"pairs right {record['accuracy']:.0%}  margin {record['margin']:.2f}"
            if self.is_dpo
            else f"held-out answers {record['answers']:.3f}"
        )
        bar.bar.write(
            f"step {record['step']}/{self.settings.steps}  loss {record['train_loss']:.3f}  {new}  "
            f"ordinary text {record['ordinary']:.3f}  {speed:,.0f} tokens/s  {left:.0f} s left"
        )

    def _write_log(self, records: list[dict[str, Any]]) -> None:
        with write_atomically(self.folder.log) as file:
            file.writelines(json.dumps(record) + "\n" for record in records)

"""The training loop of a real run: lesson 07's `fit` with everything that a long run needs.

The learning itself is the lesson's own: `learning_rate`, `train_step`, `estimate_loss` and
`should_stop` are called here, on a model that `acceleration.py` has made fast. Around them stand
checkpoints, an exact resume, several processes, a log, and the promise that a run that will take
days says so before it starts.
"""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from math import ceil
from statistics import median
from typing import Any

import torch
from torch import nn

from ..trainer import estimate_loss, learning_rate, should_stop, train_step
from .acceleration import TrainingForward, use_fast_parts
from .architectures import NAMES, make_model
from .batches import Batch, BatchSource, validation_batches
from .checkpoints import Progress, load_progress, load_state, random_state, save_state, save_weights
from .devices import choose_device, choose_precision, describe_device
from .distribution import World, mean_over_world, share_of_batch, wait_for_all
from .errors import CourseError
from .logs import Log, ProgressBar, Tracker
from .optimizers import Optimizers, build_optimizer
from .planning import EVALUATION_ROWS, EVALUATIONS_PER_RUN, Plan, announce_plan, make_plan
from .prepared import load_prepared
from .process import keep_freed_memory
from .run_folder import RunFolder
from .scaling import ScaledStep
from .settings import Settings
from .stories import Storyteller, openings
from .tokenizers import load_tokenizer

SAVE_EVERY_SECONDS = 300.0  # a kill never costs more than this
UNTIMED_STEPS, TIMED_STEPS = 2, 16  # the first ones allocate and compile
TIMING_SECONDS = 15.0  # large models are timed with fewer steps
LOG_EVERY = 10


class Training:
    """One run in one process: what it needs, and its loop."""

    def __init__(self, run: RunFolder, settings: Settings, world: World, device: str) -> None:
        keep_freed_memory()
        self.run, self.settings, self.world = run, settings, world
        self.train_tokens, self.val_tokens, self.meta = load_prepared(run.data, verify=True)
        self.tokenizer = load_tokenizer(str(run.data / "tokenizer"))
        self.device = choose_device(device, world.local_rank)
        self.precision = choose_precision(settings.precision, self.device)
        self.block_size = settings.model["block_size"]
        self.prompts = openings(self.val_tokens, self.tokenizer)
        self.validation = self._validation(EVALUATION_ROWS)
        torch.manual_seed(settings.train["seed"])
        self.model = make_model(settings.model_config(self.meta["vocab_size"])).to(self.device)
        use_fast_parts(self.model)
        self.forward = self._accelerate(self.model)
        self.optimizer = self._new_optimizer()

    def _accelerate(self, model: nn.Module) -> TrainingForward:
        compiled = self.settings.compile == "yes" or (
            self.settings.compile == "auto" and self.device.type == "cuda"
        )
        if self.world.size > 1:
            ids = [self.device.index] if self.device.type == "cuda" else None
            model = nn.parallel.DistributedDataParallel(model, device_ids=ids)
        return TrainingForward(model, self.precision, compiled)

    def _new_optimizer(self) -> Optimizers:
        config = self.settings.train_config(1)
        return build_optimizer(self.model, config, self.settings.optimizer, self.device)

    def _batches(self, batch_size: int, accumulation: int) -> BatchSource:
        return BatchSource(
            self.train_tokens,
            self.block_size,
            batch_size,
            accumulation,
            self.settings.train["seed"],
            self.device,
            share_of_batch(batch_size, self.world),
        )

    def _validation(self, windows: int) -> list[Batch]:
        return validation_batches(
            self.val_tokens, self.block_size, EVALUATION_ROWS, windows, self.device
        )

    def _step_function(self, scaler_state: dict[str, Any] | None = None) -> Any:
        return ScaledStep(self.device, scaler_state) if self.precision == "fp16" else train_step

    def announce(self) -> None:
        """Say in three lines what will be trained, on what, and with what."""
        processes = f", {self.world.size} processes" if self.world.size > 1 else ""
        print(
            f"model: preset {self.settings.preset}, {NAMES[self.settings.arch]}'s parts, "
            f"{self.model.num_parameters():,} parameters, "
            f"vocabulary {self.meta['vocab_size']:,}\n"
            f"data: {self.settings.data}, {len(self.train_tokens):,} training tokens, "
            f"{len(self.val_tokens):,} validation tokens\n"
            f"device: {describe_device(self.device)}, {self.precision}{processes}",
            flush=True,
        )

    def plan(self, accept_long: bool) -> Plan:
        """The plan of the run: decided once, stored, and the same after a resume."""
        stored = self.run.decided("plan")
        if stored is not None:
            return Plan(**stored)
        recipe = self.settings.train
        plan = make_plan(
            self.settings.length,
            recipe,
            self.block_size,
            self._batches(recipe["batch_size"], 1).order.per_epoch,
            self._seconds_of_step,
            self._seconds_of_evaluation,
            self.world,
        )
        if self.world.is_main:
            announce_plan(plan, recipe, accept_long, describe_device(self.device))
            self.run.decide(plan=asdict(plan))
        wait_for_all(self.world)
        return plan

    def _seconds_of_step(self, batch_size: int) -> float:
        """The median time of a few steps of one micro-batch, whose effect is undone."""
        before = {name: value.clone() for name, value in self.model.state_dict().items()}
        config = self.settings.train_config(1)
        step_once = self._step_function()
        times: list[float] = []
        for _, batches in self._batches(batch_size, 1).steps(0, UNTIMED_STEPS + TIMED_STEPS):
            began = time.perf_counter()
            step_once(self.forward, self.optimizer, batches, config.max_norm)[0].item()
            times.append(time.perf_counter() - began)
            if sum(times) > TIMING_SECONDS and len(times) > UNTIMED_STEPS:
                break
        self.model.load_state_dict(before)
        self.optimizer = self._new_optimizer()
        return median(times[UNTIMED_STEPS:])

    def _seconds_of_evaluation(self) -> float:
        times = []
        for _ in range(2):  # the first one allocates
            began = time.perf_counter()
            estimate_loss(self.forward, self.validation)
            times.append(time.perf_counter() - began)
        return times[-1]

    def train(self, tracker: str | None, accept_long: bool, quiet: bool) -> Progress:
        """Train to the end of the plan, or to an early stop; goes on where a killed run was."""
        quiet = quiet or not self.world.is_main
        if self.world.is_main:
            self.announce()
        plan = self.plan(accept_long)
        self.forward.accumulate(plan.accumulation)
        self.validation = self._validation(plan.evaluation_windows)
        progress = load_state(self.run.last, self.model, self.optimizer) or Progress()
        if progress.step and self.world.is_main:
            print(f"going on after step {progress.step} of {plan.steps}", flush=True)
        log = None
        if self.world.is_main:
            log = Log(self.run.log_jsonl, self.run.log_csv, self.run.samples, progress.step)
        outside = Tracker(
            tracker if self.world.is_main else None, self.run.path, asdict(self.settings)
        )
        bar = ProgressBar(plan.steps, progress.step, quiet)
        try:
            with finish_step_on_signal(self.world) as interrupted:
                self._loop(plan, progress, log, bar, outside, interrupted)
        except torch.OutOfMemoryError:
            raise CourseError(
                "the GPU's memory is full; begin again in another --out with half the "
                "--batch-size and twice the --accumulation, which computes the same"
            ) from None
        finally:
            bar.close()
            outside.close()
        return progress

    def _loop(
        self,
        plan: Plan,
        progress: Progress,
        log: Log | None,
        bar: ProgressBar,
        tracker: Tracker,
        interrupted: list[int],
    ) -> None:
        steps, config = plan.steps, self.settings.train_config(plan.steps)
        evaluate_every = self.settings.evaluate_every or ceil(steps / EVALUATIONS_PER_RUN)
        batches_of = self._batches(plan.batch_size, plan.accumulation)
        step_once = self._step_function(progress.scaler)
        if progress.step == 0:
            self._tell_stories(0, log)
        self.forward.train()
        watch = Stopwatch(progress.seconds)
        for step, batches in batches_of.steps(progress.step, steps):
            if progress.stopped_early:
                break
            random_state(config.seed, step, self.world.rank)
            rate = learning_rate(
                step,
                steps=steps,
                warmup=config.warmup,
                peak_lr=config.peak_lr,
                final_lr=config.final_lr,
            )
            self.optimizer.set_learning_rate(rate)
            loss, norm = step_once(self.forward, self.optimizer, batches, config.max_norm)
            progress.step = step + 1
            bar.step()
            watch.lap_steps += 1
            evaluate = progress.step % evaluate_every == 0 or progress.step == steps
            if evaluate or progress.step % LOG_EVERY == 0 or progress.step == 1:
                row = {
                    "step": progress.step,
                    "tokens": progress.step * plan.tokens_per_step,
                    "train_loss": mean_over_world(self._finite(loss, step, rate), self.world),
                    "learning_rate": rate,
                    "gradient_norm": float(norm),
                    "tokens_per_second": watch.lap() * plan.tokens_per_step,
                    "seconds": watch.seconds,
                }
                if evaluate:
                    row["val_loss"] = estimate_loss(self.forward, self.validation)
                    progress.val_losses.append(row["val_loss"])
                    progress.stopped_early = should_stop(progress.val_losses, config.patience)
                self._record(row, log, bar, tracker, plan)
                watch.start_lap()
            if evaluate or watch.since_save > SAVE_EVERY_SECONDS or interrupted:
                progress.seconds = watch.seconds
                progress.scaler = step_once.state() if isinstance(step_once, ScaledStep) else None
                self._save(progress, evaluated=evaluate)
                watch.saved()
            if evaluate and (
                progress.step - evaluate_every < steps / 2 <= progress.step
                or progress.step == steps
                or progress.stopped_early
            ):
                self._tell_stories(progress.step, log)
            if interrupted:
                raise KeyboardInterrupt

    def _finite(self, loss: torch.Tensor, step: int, rate: float) -> float:
        value = float(loss)
        if not math.isfinite(value):
            raise CourseError(
                f"the loss is {value} at step {step + 1} (learning rate {rate:.2g}): training has "
                "diverged; begin again in another --out with a lower --lr"
            )
        return value

    def _record(
        self, row: dict[str, Any], log: Log | None, bar: ProgressBar, tracker: Tracker, plan: Plan
    ) -> None:
        if log is not None:
            log.numbers(**row)
            tracker.numbers(row)
            left = (plan.steps - row["step"]) * plan.tokens_per_step / row["tokens_per_second"]
            bar.numbers(row, left)

    def _save(self, progress: Progress, evaluated: bool) -> None:
        """Write `last`, and `best` first where the loss just measured is the best so far."""
        if not self.world.is_main:
            return
        if evaluated and progress.val_losses[-1] == progress.best_loss:
            progress.best_step = progress.step
            save_weights(self.run.best, self.model, self.tokenizer, progress)
        save_state(self.run.last, self.model, self.tokenizer, self.optimizer, progress)

    def _tell_stories(self, step: int, log: Log | None) -> None:
        """Let the model tell a story from each fixed prompt, for the samples and the report."""
        if log is None:
            return
        teller = Storyteller(self.model, self.tokenizer)
        for seed, prompt in enumerate(self.prompts):
            length = 120 if step else 40  # before training it is noise, of which a little is enough
            told = teller.generate(prompt, length, temperature=0.8, top_p=0.95, seed=seed)
            log.story(step, prompt, told)


class Stopwatch:
    """Seconds of training in all, steps per second since the last look, time since a save."""

    def __init__(self, seconds_before: float) -> None:
        self.began = time.perf_counter() - seconds_before
        self.saved()
        self.start_lap()

    @property
    def seconds(self) -> float:
        """Seconds since the run began, with those of earlier sittings."""
        return time.perf_counter() - self.began

    @property
    def since_save(self) -> float:
        """Seconds since the last checkpoint."""
        return time.perf_counter() - self.last_save

    def saved(self) -> None:
        """Note that a checkpoint has been written."""
        self.last_save = time.perf_counter()

    def start_lap(self) -> None:
        """Count steps from here; evaluations and saves stay out of the speed."""
        self.lap_began, self.lap_steps = time.perf_counter(), 0

    def lap(self) -> float:
        """Steps per second since `start_lap`."""
        return self.lap_steps / (time.perf_counter() - self.lap_began)


def is_trained(run: RunFolder) -> bool:
    """Whether training has come to its end in this folder."""
    plan = run.decided("plan") if run.config_file.exists() else None
    progress = load_progress(run.last)
    if plan is None or progress is None:
        return False
    return progress.step >= plan["steps"] or progress.stopped_early


@contextmanager
def finish_step_on_signal(world: World) -> Iterator[list[int]]:
    """Turn the first Ctrl-C (or SIGTERM) into a note, so that the step ends and is saved.

    The second one acts at once. With several processes, each would stop at another step, so there
    it acts at once from the beginning and the run goes on from the last checkpoint.
    """
    caught: list[int] = []
    if world.size > 1:
        yield caught
        return

    def note(signum: int, frame: object) -> None:
        caught.append(signum)
        signal.signal(signum, before[signum])

    before: dict[int, Any] = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        for signum in before:
            signal.signal(signum, note)
    except ValueError:  # not the main thread: Python calls no handlers there
        before = {}
    try:
        yield caught
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)

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
from statistics import median
from typing import Any

import torch
from torch import nn

from ..model import GPT
from ..trainer import TrainConfig, estimate_loss, learning_rate, should_stop, train_step
from .acceleration import TrainingForward, use_fast_parts
from .batches import BatchSource, validation_batches
from .checkpoints import Progress, load_progress, load_state, random_state, save_state, save_weights
from .devices import choose_device, choose_precision, describe_device
from .distribution import World, main_decides, mean_over_world, share_of_batch, wait_for_all
from .errors import CourseError
from .logs import Log, ProgressBar, Tracker, duration
from .optimizers import build_optimizer
from .prepared import load_prepared
from .run_folder import RunFolder
from .scaling import ScaledStep
from .settings import Settings
from .stories import Storyteller, openings
from .tokenizers import load_tokenizer

EVALUATION_WINDOWS = 64  # enough for a curve; the whole text is for `evaluate`
EVALUATIONS_PER_RUN = 10
SAVE_EVERY_SECONDS = 300.0  # a kill never costs more than this
TIMED_STEPS = 8
LONG_RUN_HOURS = 24.0
LOG_EVERY = 10


class Training:
    """One run in one process: what it needs, and its loop."""

    def __init__(
        self, run: RunFolder, settings: Settings, world: World, device: str, tracker: str | None
    ) -> None:
        self.run, self.settings, self.world = run, settings, world
        self.train_tokens, self.val_tokens, self.meta = load_prepared(run.data, verify=True)
        self.tokenizer = load_tokenizer(str(run.data / "tokenizer"))
        self.device = choose_device(device, world.local_rank)
        self.precision = choose_precision(settings.precision, self.device)
        self.block_size = settings.model["block_size"]
        torch.manual_seed(settings.train["seed"])
        self.model: GPT = GPT(settings.model_config(self.meta["vocab_size"])).to(self.device)
        use_fast_parts(self.model)
        config = settings.train_config(int(settings.train["steps"]))
        self.batches = BatchSource(
            self.train_tokens,
            self.block_size,
            config.batch_size,
            config.accumulation,
            config.seed,
            self.device,
            share_of_batch(config.batch_size, world),
        )
        self.validation = validation_batches(
            self.val_tokens, self.block_size, config.batch_size, EVALUATION_WINDOWS, self.device
        )
        self.prompts = openings(self.val_tokens, self.tokenizer)
        self.optimizer = build_optimizer(self.model, config, settings.optimizer, self.device)
        self.forward = self._accelerate(self.model, config.accumulation)
        self.tracker_name = tracker

    def _accelerate(self, model: nn.Module, accumulation: int) -> TrainingForward:
        compiled = self.settings.compile == "yes" or (
            self.settings.compile == "auto" and self.device.type == "cuda"
        )
        if self.world.size > 1:
            ids = [self.device.index] if self.device.type == "cuda" else None
            model = nn.parallel.DistributedDataParallel(model, device_ids=ids)
        return TrainingForward(model, self.precision, compiled, accumulation)

    @property
    def tokens_per_step(self) -> int:
        """Tokens of one optimiser step, over all processes."""
        train = self.settings.train
        return train["batch_size"] * train["accumulation"] * self.block_size

    def announce(self) -> None:
        """Say in three lines what will be trained, on what, and with what."""
        if self.world.is_main:
            processes = f", {self.world.size} processes" if self.world.size > 1 else ""
            print(
                f"model: preset {self.settings.preset}, "
                f"{self.model.num_parameters():,} parameters, vocabulary {self.meta['vocab_size']}\n"
                f"data: {self.settings.data}, {len(self.train_tokens):,} training tokens, "
                f"{len(self.val_tokens):,} validation tokens\n"
                f"device: {describe_device(self.device)}, {self.precision}{processes}",
                flush=True,
            )

    def steps_of_run(self, accept_long: bool) -> int:
        """How many steps the run has: decided once, stored, and the same after a resume."""
        steps = self.run.decided("steps")
        if steps is None:
            length = self.settings.length
            seconds = self._seconds_per_step()
            if "steps" in length:
                steps = int(length["steps"])
            elif "epochs" in length:
                windows = length["epochs"] * self.batches.order.per_epoch
                steps = math.ceil(windows * self.block_size / self.tokens_per_step)
            else:
                began = time.perf_counter()
                estimate_loss(self.forward, self.validation)
                evaluations = EVALUATIONS_PER_RUN * (time.perf_counter() - began)
                steps = int((length["minutes"] * 60 - evaluations) / seconds)
            steps = max(1, int(main_decides(steps, self.world)))
            if self.world.is_main:
                self._warn_if_long(steps, seconds, accept_long)
                self.run.decide(steps=steps, seconds_per_step=seconds)
            wait_for_all(self.world)
        return steps

    def _seconds_per_step(self) -> float:
        """The median time of a few steps, whose effect is undone."""
        before = {name: value.clone() for name, value in self.model.state_dict().items()}
        config = self.settings.train_config(1)
        step_once = self._step_function()
        times = []
        for _, batches in self.batches.steps(0, TIMED_STEPS + 3):
            began = time.perf_counter()
            step_once(self.forward, self.optimizer, batches, config.max_norm)[0].item()
            times.append(time.perf_counter() - began)
        self.model.load_state_dict(before)
        self.optimizer = build_optimizer(self.model, config, self.settings.optimizer, self.device)
        return median(times[3:])  # the first ones allocate and compile

    def _warn_if_long(self, steps: int, seconds: float, accept_long: bool) -> None:
        total = steps * seconds
        tokens = steps * self.tokens_per_step
        print(
            f"plan: {steps:,} steps, {tokens:,} tokens, about {duration(total)} here",
            flush=True,
        )
        if total > LONG_RUN_HOURS * 3600 and not accept_long:
            in_an_hour = int(3600 / seconds)
            raise CourseError(
                f"{steps:,} steps ({tokens / 1e9:.2f} billion tokens) would take about "
                f"{duration(total)} on this machine ({describe_device(self.device)}); add --yes to "
                f"start all the same, or take what fits: --minutes 60 ({in_an_hour:,} steps), "
                f"or --preset laptop"
            )

    def _step_function(self, scaler_state: dict[str, Any] | None = None) -> Any:
        return ScaledStep(self.device, scaler_state) if self.precision == "fp16" else train_step

    def train(self, accept_long: bool, quiet: bool) -> Progress:
        """Train to the end of the plan, or to an early stop; goes on where a killed run was."""
        self.announce()
        steps = self.steps_of_run(accept_long)
        config = self.settings.train_config(steps)
        progress = load_state(self.run.last, self.model, self.optimizer) or Progress()
        if progress.step and self.world.is_main:
            print(f"going on after step {progress.step} of {steps}", flush=True)
        log = self._open_log(progress.step)
        bar = ProgressBar(steps, progress.step, quiet or not self.world.is_main)
        try:
            with finish_step_on_signal(self.world) as interrupted:
                self._loop(steps, config, progress, log, bar, interrupted)
        except torch.OutOfMemoryError:
            raise CourseError(
                "the GPU's memory is full; begin again in another --out with half the "
                "--batch-size and twice the --accumulation, which computes the same"
            ) from None
        finally:
            bar.close()
        return progress

    def _open_log(self, step: int) -> Log | None:
        if not self.world.is_main:
            return None
        return Log(self.run.log_jsonl, self.run.log_csv, self.run.samples, step)

    def _loop(
        self,
        steps: int,
        config: TrainConfig,
        progress: Progress,
        log: Log | None,
        bar: ProgressBar,
        interrupted: list[int],
    ) -> None:
        evaluate_every = self.settings.evaluate_every or max(1, steps // EVALUATIONS_PER_RUN)
        tracker = Tracker(
            self.tracker_name if self.world.is_main else None, self.run.path, asdict(self.settings)
        )
        step_once = self._step_function(progress.scaler)
        if progress.step == 0:
            self._tell_stories(0, log)
        self.forward.train()
        watch = Stopwatch(progress.seconds)
        for step, batches in self.batches.steps(progress.step, steps):
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
                    "tokens": progress.step * self.tokens_per_step,
                    "train_loss": mean_over_world(self._finite(loss, step, rate), self.world),
                    "learning_rate": rate,
                    "gradient_norm": float(norm),
                    "tokens_per_second": watch.lap() * self.tokens_per_step,
                    "seconds": watch.seconds,
                }
                if evaluate:
                    row["val_loss"] = estimate_loss(self.forward, self.validation)
                    progress.val_losses.append(row["val_loss"])
                    progress.stopped_early = should_stop(progress.val_losses, config.patience)
                self._record(row, log, bar, tracker, steps)
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
        tracker.close()

    def _finite(self, loss: torch.Tensor, step: int, rate: float) -> float:
        value = float(loss)
        if not math.isfinite(value):
            raise CourseError(
                f"the loss is {value} at step {step + 1} (learning rate {rate:.2g}): training has "
                "diverged; begin again in another --out with a lower --lr"
            )
        return value

    def _record(
        self, row: dict[str, Any], log: Log | None, bar: ProgressBar, tracker: Tracker, steps: int
    ) -> None:
        if log is not None:
            log.numbers(**row)
            tracker.numbers(row)
            left = (steps - row["step"]) * self.tokens_per_step / row["tokens_per_second"]
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
        teller = Storyteller(self.model, self.tokenizer, self.precision)
        for seed, prompt in enumerate(self.prompts):
            told = teller.generate(
                prompt, max_new_tokens=120, temperature=0.8, top_p=0.95, seed=seed
            )
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
    steps = run.decided("steps") if run.config_file.exists() else None
    progress = load_progress(run.last)
    if steps is None or progress is None:
        return False
    return progress.step >= steps or progress.stopped_early


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
